//! Origins that no plan names: redirects lead to them. They are looked up when they are met, away from the shard's
//! thread, and numbered on from the plan's own.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};

use loadr_config::{Authority, OriginId};

use super::client::Client;
use super::exchange::Broken;
use super::state::Shard;
use super::tasks::signal;
use crate::clock::now_ns;

/// The most origins that the redirects of a run may lead a shard to.
const FOREIGN_MAX: usize = 64;
/// How often a look-up is asked whether it is done, in nanoseconds.
const LOOK_NS: u64 = 1_000_000;

/// What a look-up found, when it is done.
type Found = Arc<OnceLock<Result<SocketAddr, String>>>;

/// Origins met in the run.
#[derive(Default)]
pub(super) struct Foreign {
    known: Vec<(Authority, Found)>,
}

impl Foreign {
    fn find(&self, authority: &Authority) -> Option<usize> {
        self.known
            .iter()
            .position(|(known, _)| known.same_origin(authority))
    }
}

impl Shard {
    /// The address of an origin that was looked up.
    #[inline]
    pub(crate) fn address(&self, origin: OriginId) -> SocketAddr {
        match self.addresses.get(origin.at()) {
            Some(address) => *address,
            None => self.foreign_address(origin),
        }
    }

    #[cold]
    fn foreign_address(&self, origin: OriginId) -> SocketAddr {
        let foreign = self.foreign.borrow();
        let found = &foreign.known[origin.at() - self.addresses.len()].1;
        match found.get() {
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
            None => self.foreign.borrow().known[origin.at() - self.addresses.len()]
                .0
                .clone(),
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
                let (host, port) = self.program.route(&authority.host, authority.port);
                match host.parse::<IpAddr>() {
                    Ok(address) => {
                        let _ = found.set(Ok(SocketAddr::new(address, port)));
                    }
                    Err(_) => begin(host.to_owned(), port, &found),
                }
                foreign.known.push((authority.clone(), found));
                foreign.known.len() - 1
            }
        };
        let id = OriginId((self.addresses.len() + at) as u32);
        Ok((id, Arc::clone(&foreign.known[at].1)))
    }
}

/// Looks a name up on a thread of its own: the system's resolver blocks.
fn begin(host: String, port: u16, found: &Found) {
    let result = Arc::clone(found);
    let work = move || {
        let address = match (host.as_str(), port).to_socket_addrs() {
            Ok(mut addresses) => addresses
                .next()
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
