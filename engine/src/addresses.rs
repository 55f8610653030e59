//! Where origins are reached: names are looked up before the run, and again on a thread of their own whenever the plan's
//! `dns.ttl` has passed, so that no shard waits for a name.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use loadr_config::Program;

/// By [`OriginId`](loadr_config::OriginId).
pub(crate) type Addresses = Arc<[SocketAddr]>;

/// What looks names up. It may block: it is asked before the run, and then on threads of its own.
pub trait Resolve: Debug + Send + Sync {
    /// The addresses of a host, the one to prefer first.
    ///
    /// # Errors
    /// When there is no answer, or none with an address.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's own: `/etc/hosts`, then the name servers of `/etc/resolv.conf`, as `/etc/nsswitch.conf` has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }
}

/// Where connections to a host really go: to the proxy, or where the plan's `hosts` lead.
pub(crate) fn route<'p>(program: &'p Program, host: &'p str, port: u16) -> (&'p str, u16) {
    match &program.proxy {
        Some(proxy) => program.route(&proxy.host, proxy.port),
        None => program.route(host, port),
    }
}

/// The addresses of a host: an address is its own, and no resolver is asked for it.
pub(crate) fn look_up(
    resolver: &dyn Resolve,
    host: &str,
    port: u16,
) -> io::Result<Vec<SocketAddr>> {
    match host.parse::<IpAddr>() {
        Ok(ip) => Ok(vec![SocketAddr::new(ip, port)]),
        Err(_) => resolver.resolve(host, port),
    }
}

/// Whether a connection can go there from one of the addresses that the plan dials from.
pub(crate) fn can_dial(source_ips: &[IpAddr], address: SocketAddr) -> bool {
    source_ips.is_empty()
        || source_ips
            .iter()
            .any(|ip| ip.is_ipv4() == address.is_ipv4())
}

/// Looks names up again until it is dropped.
#[derive(Debug)]
pub(crate) struct Refresher {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_over: bool,
    /// Look-ups that brought no address, with the first of their errors.
    failed: u64,
    error: Option<String>,
}

impl Refresher {
    /// Begins, when the plan says how long names are good and has any; each of `shards` gets every change.
    pub(crate) fn start(
        program: &Arc<Program>,
        resolver: &Arc<dyn Resolve>,
        addresses: Addresses,
        shards: Vec<Sender<Addresses>>,
    ) -> Option<Self> {
        let ttl = program.dns_ttl?;
        let has_names = program.origins.iter().any(|origin| {
            let (host, _) = route(program, &origin.host, origin.port);
            host.parse::<IpAddr>().is_err()
        });
        if !has_names {
            return None;
        }
        let shared = Arc::new(Shared::default());
        let mut work = Work {
            program: Arc::clone(program),
            resolver: Arc::clone(resolver),
            addresses,
            shards,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new().name("names".to_owned());
        // It is not waited for at the end of the run: a look-up may take longer than anybody has patience for.
        if let Err(error) = thread.spawn(move || while work.wait(ttl) && work.refresh() {}) {
            let mut state = shared.lock();
            (state.failed, state.error) = (1, Some(format!("cannot start a thread: {error}")));
        }
        Some(Self { shared })
    }

    /// How many look-ups failed, and why the first did.
    pub(crate) fn failures(&self) -> Option<(u64, String)> {
        let state = self.shared.lock();
        state.error.clone().map(|error| (state.failed, error))
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Work {
    program: Arc<Program>,
    resolver: Arc<dyn Resolve>,
    addresses: Addresses,
    shards: Vec<Sender<Addresses>>,
    shared: Arc<Shared>,
}

impl Work {
    /// False when the run is over before the time is up.
    fn wait(&self, ttl: Duration) -> bool {
        let state = self.shared.lock();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, ttl, |state| !state.is_over);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_over
    }

    /// Looks every name up once; false when nobody wants to know any more.
    fn refresh(&mut self) -> bool {
        let mut found: Vec<((&str, u16), SocketAddr)> = Vec::new();
        let mut addresses = self.addresses.to_vec();
        for (origin, address) in self.program.origins.iter().zip(&mut addresses) {
            let place = route(&self.program, &origin.host, origin.port);
            if place.0.parse::<IpAddr>().is_ok() {
                continue;
            }
            if let Some((_, known)) = found.iter().find(|(known, _)| *known == place) {
                *address = *known;
                continue;
            }
            let sources = &self.program.engine.source_ips;
            match self.resolver.resolve(place.0, place.1) {
                Ok(candidates) => match choose(&candidates, *address, sources) {
                    Some(chosen) => *address = chosen,
                    None => self.failed(&format!("the host `{}` has no address", place.0)),
                },
                Err(error) => {
                    self.failed(&format!("cannot resolve the host `{}`: {error}", place.0));
                }
            }
            found.push((place, *address));
        }
        if *addresses == *self.addresses {
            return true;
        }
        self.addresses = addresses.into();
        let mut is_wanted = false;
        for shard in &self.shards {
            is_wanted |= shard.send(Arc::clone(&self.addresses)).is_ok();
        }
        is_wanted
    }

    fn failed(&self, error: &str) {
        let mut state = self.shared.lock();
        state.failed += 1;
        state.error.get_or_insert_with(|| error.to_owned());
    }
}

/// The resolver's first address of the family that was in use: that one is known to be reachable. Else its first one.
fn choose(
    candidates: &[SocketAddr],
    used: SocketAddr,
    source_ips: &[IpAddr],
) -> Option<SocketAddr> {
    let mut usable = candidates.iter().filter(|a| can_dial(source_ips, **a));
    let first = usable.clone().next();
    usable
        .find(|a| a.is_ipv4() == used.is_ipv4())
        .or(first)
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_in_use_is_kept_where_it_can_be() {
        let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let (v4, other_v4, v6) = (
            address("10.0.0.1:80"),
            address("10.0.0.2:80"),
            address("[fd00::1]:80"),
        );
        assert_eq!(choose(&[v6, other_v4, v4], v4, &[]), Some(other_v4));
        assert_eq!(choose(&[v6], v4, &[]), Some(v6));
        assert_eq!(choose(&[], v4, &[]), None);
        let source = ["10.0.0.9".parse().unwrap()];
        assert_eq!(choose(&[v6, v4], v6, &source), Some(v4));
        assert_eq!(choose(&[v6], v6, &source), None);
    }
}
