//! From where and to where connections are made.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};

use loadr_config::OriginId;
use loadr_ring::Slot;

use super::state::{Owner, Shard};
use super::tasks::TaskId;
use crate::addresses::Addresses;
use crate::schedule::nanos;

/// The addresses that a shard dials from, each in its turn.
#[derive(Debug, Default)]
pub(super) struct Sources {
    v4: Turn,
    v6: Turn,
}

#[derive(Debug, Default)]
struct Turn {
    all: Box<[IpAddr]>,
    next: Cell<usize>,
}

impl Turn {
    fn new(all: Vec<IpAddr>, (index, count): (u32, u32)) -> Self {
        // Shards begin apart, so that few connections are spread over the addresses too.
        let next = all.len() * index as usize / count.max(1) as usize;
        Self {
            all: all.into(),
            next: Cell::new(next),
        }
    }

    fn take(&self) -> Option<IpAddr> {
        let at = self.next.get();
        let ip = self.all.get(at).copied()?;
        self.next.set((at + 1) % self.all.len());
        Some(ip)
    }
}

impl Sources {
    /// For a shard: which of how many.
    pub(super) fn new(all: &[IpAddr], place: (u32, u32)) -> Self {
        let (v4, v6) = all.iter().copied().partition(IpAddr::is_ipv4);
        Self {
            v4: Turn::new(v4, place),
            v6: Turn::new(v6, place),
        }
    }

    /// Where the next connection to `address` begins; `None`: the system chooses.
    fn take(&self, address: SocketAddr) -> Option<IpAddr> {
        if address.is_ipv4() {
            self.v4.take()
        } else {
            self.v6.take()
        }
    }
}

impl Shard {
    /// Begins a connection that signals `task`; on failure the system's error number.
    pub(crate) fn connect(&self, origin: OriginId, task: TaskId) -> Result<Slot, i32> {
        if self.program.dns_ttl.is_some() {
            self.take_fresh_addresses();
            self.refresh_foreign(origin);
        }
        let address = self.address(origin);
        let source = self.sources.take(address);
        let slot = self
            .ring
            .borrow_mut()
            .connect(address, source)
            .map_err(|error| error.raw_os_error().unwrap_or(0))?;
        let mut owners = self.owners.borrow_mut();
        if owners.len() <= slot.at() {
            owners.resize(slot.at() + 1, Owner::NOBODY);
        }
        owners[slot.at()] = Owner { task, errno: 0 };
        drop(owners);
        Ok(slot)
    }

    /// Until [`Shard::unlimit`] the plan's `connect_timeout` holds, from when the connection began.
    pub(super) fn limit_connecting(&self, task: TaskId, begun_ns: u64) {
        if let Some(timeout) = self.program.connect_timeout {
            let until_ns = begun_ns.saturating_add(nanos(timeout));
            self.tasks.borrow_mut().limit(task, until_ns);
        }
    }

    pub(super) fn unlimit(&self, task: TaskId) {
        if self.program.connect_timeout.is_some() {
            self.tasks.borrow_mut().unlimit(task);
        }
    }

    /// The addresses that were looked up since the last connection.
    fn take_fresh_addresses(&self) {
        while let Ok(fresh) = self.fresh_addresses.try_recv() {
            let _: Addresses = self.addresses.replace(fresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_take_turns_by_family_and_shards_begin_apart() {
        let all: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2", "fd00::1", "10.0.0.3", "10.0.0.4"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let (v4, v6): (SocketAddr, SocketAddr) =
            ("10.9.9.9:80".parse().unwrap(), "[::1]:80".parse().unwrap());
        let sources = Sources::new(&all, (1, 2));
        let got: Vec<String> = (0..5)
            .map(|_| sources.take(v4).unwrap().to_string())
            .collect();
        assert_eq!(
            got,
            ["10.0.0.3", "10.0.0.4", "10.0.0.1", "10.0.0.2", "10.0.0.3"]
        );
        assert_eq!(sources.take(v6), Some(all[2]));
        assert_eq!(sources.take(v6), Some(all[2]));
        assert_eq!(Sources::default().take(v4), None);
    }
}
