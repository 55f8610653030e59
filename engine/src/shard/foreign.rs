//! Origins that no plan names: redirects lead to them. They are looked up when they are met, away from the shard's
//! thread, and numbered on from the plan's own.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use loadr_config::{Authority, OriginId};

use super::client::Client;
use super::exchange::Broken;
use super::state::Shard;
use super::tasks::signal;
use crate::addresses::{Resolve, can_dial, route};
use crate::clock::now_ns;
use crate::schedule::nanos;

/// The most origins that the redirects of a run may lead a shard to.
const FOREIGN_MAX: usize = 64;
/// How often a look-up is asked whether it is done, in nanoseconds.
const LOOK_NS: u64 = 1_000_000;

/// What a look-up found, when it is done.
type Found = Arc<OnceLock<Result<SocketAddr, String>>>;

/// Origins met in the run.
#[derive(Default)]
pub(super) struct Foreign {
    known: Vec<Known>,
}

/// One of them.
struct Known {
    authority: Authority,
    found: Found,
    /// When its look-up began.
    asked_ns: u64,
    /// The look-up of an address whose time is up; until it is done the old one is good.
    again: Option<Found>,
}

impl Foreign {
    fn find(&self, authority: &Authority) -> Option<usize> {
        self.known
            .iter()
            .position(|known| known.authority.same_origin(authority))
    }
}

impl Shard {
    /// The address of an origin that was looked up.
    #[inline]
    pub(crate) fn address(&self, origin: OriginId) -> SocketAddr {
        match self.addresses.borrow().get(origin.at()) {
            Some(address) => *address,
            None => self.foreign_address(origin),
        }
    }

    #[cold]
    fn foreign_address(&self, origin: OriginId) -> SocketAddr {
        if self.program.proxy.is_some()
            && let Some(proxy) = self.addresses.borrow().first()
        {
            return *proxy;
        }
        let foreign = self.foreign.borrow();
        let known = &foreign.known[origin.at() - self.program.origins.len()];
        match known.found.get() {
            Some(Ok(address)) => *address,
            // Nobody gets the number of an origin without an address.
            _ => SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }

    /// Whether an origin is reached over TLS.
    #[inline]
    pub(super) fn is_tls(&self, origin: OriginId) -> bool {
        match self.program.origins.get(origin.at()) {
            Some(origin) => origin.tls,
            None => self.authority(origin).tls,
        }
    }

    pub(super) fn authority(&self, origin: OriginId) -> Authority {
        match self.program.origins.get(origin.at()) {
            Some(origin) => Authority {
                tls: origin.tls,
                host: origin.host.clone(),
                port: origin.port,
                text: origin.authority.clone(),
            },
            None => self.foreign.borrow().known[origin.at() - self.program.origins.len()]
                .authority
                .clone(),
        }
    }

    /// Has an origin met in the run looked up again when its time is up.
    pub(super) fn refresh_foreign(&self, origin: OriginId) {
        let Some(at) = origin.at().checked_sub(self.program.origins.len()) else {
            return;
        };
        let ttl_ns = self.program.dns_ttl.map_or(u64::MAX, nanos);
        let mut foreign = self.foreign.borrow_mut();
        let known = &mut foreign.known[at];
        match known.again.take() {
            Some(again) if again.get().is_none() => known.again = Some(again),
            Some(again) => {
                // One that failed leaves the old address in use.
                if matches!(again.get(), Some(Ok(_))) {
                    known.found = again;
                }
            }
            None if now_ns().saturating_sub(known.asked_ns) >= ttl_ns => {
                known.asked_ns = now_ns();
                let again = Found::default();
                self.find(&known.authority, &again);
                known.again = Some(again);
            }
            None => {}
        }
    }

    /// Finds an origin's address, at once or when the resolver has it.
    fn find(&self, authority: &Authority, found: &Found) {
        let (host, port) = route(&self.program, &authority.host, authority.port);
        if self.program.proxy.is_some() {
            // The proxy's address is known, and no other is wanted.
            let _ = found.set(Ok(SocketAddr::from(([0, 0, 0, 0], 0))));
        } else if let Ok(address) = host.parse::<IpAddr>() {
            let _ = found.set(Ok(SocketAddr::new(address, port)));
        } else {
            let sources = self.program.engine.source_ips.clone();
            begin((host.to_owned(), port), &self.resolver, sources, found);
        }
    }

    /// The look-up of an origin, begun if nobody met it before; its number is good once it is found.
    fn look_up(&self, authority: &Authority) -> Result<(OriginId, Found), String> {
        let mut foreign = self.foreign.borrow_mut();
        let at = match foreign.find(authority) {
            Some(at) => at,
            None if foreign.known.len() == FOREIGN_MAX => {
                return Err(format!(
                    "`{}` is one origin more than the {FOREIGN_MAX} that redirects may lead to",
                    authority.text
                ));
            }
            None => {
                let found = Found::default();
                self.find(authority, &found);
                foreign.known.push(Known {
                    authority: authority.clone(),
                    found,
                    asked_ns: now_ns(),
                    again: None,
                });
                foreign.known.len() - 1
            }
        };
        let id = OriginId((self.program.origins.len() + at) as u32);
        Ok((id, Arc::clone(&foreign.known[at].found)))
    }
}

/// Looks a name up on a thread of its own: the system's resolver blocks.
fn begin(
    (host, port): (String, u16),
    resolver: &Arc<dyn Resolve>,
    sources: Vec<IpAddr>,
    found: &Found,
) {
    let (result, resolver) = (Arc::clone(found), Arc::clone(resolver));
    let work = move || {
        let address = match resolver.resolve(&host, port) {
            Ok(addresses) => addresses
                .into_iter()
                .find(|address| can_dial(&sources, *address))
                .ok_or_else(|| format!("the host `{host}` has no address")),
            Err(error) => Err(format!("cannot resolve the host `{host}`: {error}")),
        };
        let _ = result.set(address);
    };
    let spawned = std::thread::Builder::new()
        .name("look-up".to_owned())
        .spawn(work);
    if let Err(error) = spawned {
        let _ = found.set(Err(format!("cannot look up a host: {error}")));
    }
}

impl Client {
    /// The number of the origin that a redirect leads to.
    pub(super) async fn origin(&mut self, authority: &Authority) -> Result<OriginId, Broken> {
        let known = self.shard.program.origins.iter().position(|origin| {
            (origin.tls, origin.port) == (authority.tls, authority.port)
                && origin.host == authority.host
        });
        if let Some(at) = known {
            return Ok(OriginId(at as u32));
        }
        let (id, found) = self.shard.look_up(authority).map_err(Broken::Redirect)?;
        loop {
            match found.get() {
                Some(Ok(_)) => return Ok(id),
                Some(Err(why)) => return Err(Broken::Redirect(why.clone())),
                None => {}
            }
            self.shard
                .tasks
                .borrow_mut()
                .set_sleep(self.task, now_ns() + LOOK_NS);
            let mask = signal::SLEPT | signal::TIMEOUT | signal::CANCEL;
            let signals = self.shard.wait(self.task, mask).await;
            if signals & signal::CANCEL != 0 {
                return Err(Broken::Cancelled);
            }
            if signals & signal::TIMEOUT != 0 {
                let why = format!("the host `{}` was not resolved in time", authority.host);
                return Err(Broken::Redirect(why));
            }
        }
    }
}
