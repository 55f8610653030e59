//! How a ring's sockets come to be: connected, or accepted from a listener.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use io_uring::types::Fixed;
use io_uring::{opcode, squeue};
use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, Protocol, SockAddr, Socket as OsSocket, Type};

use super::{Ring, op, user_data};
use crate::socket::{Listener, Port, Slot, Socket, State};

impl Ring {
    /// Begins a connection to `address`, from `source` if given. [`crate::Event::Connected`] or
    /// [`crate::Event::Failed`] follows.
    ///
    /// # Errors
    /// The system's, when there is no socket, descriptor or slot to be had.
    ///
    /// # Panics
    /// On a ring that listens: the kernel chooses the slots of accepted sockets from the same table.
    pub fn connect(&mut self, address: SocketAddr, source: Option<IpAddr>) -> io::Result<Slot> {
        assert!(
            self.listeners.is_empty(),
            "a ring listens or connects, not both"
        );
        let index = self
            .free
            .pop()
            .or_else(|| self.new_slot(self.sockets.len() as u32))
            .ok_or_else(|| io::Error::from(Errno::ENOBUFS))?;
        match self.connect_in(index, address, source) {
            Ok(()) => Ok(Slot(index)),
            Err(error) => {
                self.free.push(index);
                Err(error)
            }
        }
    }

    /// A slot that is used for the first time, and those below it; `None` when the table has none such.
    pub(super) fn new_slot(&mut self, index: u32) -> Option<u32> {
        if index >= self.sockets_max {
            return None;
        }
        if self.sockets.len() <= index as usize {
            self.sockets
                .resize_with(index as usize + 1, || Socket::FREE);
        }
        Some(index)
    }

    fn connect_in(
        &mut self,
        index: u32,
        address: SocketAddr,
        source: Option<IpAddr>,
    ) -> io::Result<()> {
        let socket = OsSocket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            // The port is chosen when the destination is known: one port serves a connection to each.
            setsockopt(&socket, IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        // The table keeps the file; the descriptor itself is closed with `socket` at the end of this function.
        self.ring
            .submitter()
            .register_files_update(index, &[socket.as_raw_fd()])?;
        let known = self.addresses.iter().find(|(known, _)| *known == address);
        let entry = match known {
            Some((_, address)) => connect_entry(index, address),
            None => {
                let named = Box::new(SockAddr::from(address));
                let entry = connect_entry(index, &named);
                self.addresses.push((address, named));
                entry
            }
        };
        let socket = &mut self.sockets[index as usize];
        socket.renew(State::Connecting);
        socket.connecting = true;
        let generation = socket.generation;
        self.push(&entry.user_data(user_data(op::CONNECT, index, generation)));
        Ok(())
    }

    /// Accepts connections on `address`; port 0 lets the system choose.
    ///
    /// # Errors
    /// The system's, when the address cannot be bound.
    ///
    /// # Panics
    /// On a ring that connects, as [`Ring::connect`] does on one that listens.
    pub fn listen(
        &mut self,
        address: SocketAddr,
        port: Port,
    ) -> io::Result<(Listener, SocketAddr)> {
        assert!(
            self.sockets.is_empty() || !self.listeners.is_empty(),
            "a ring listens or connects, not both"
        );
        let socket = OsSocket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if port != Port::Own {
            socket.set_reuse_port(true)?;
        }
        if let Port::SharedByCore(core) = port {
            socket.set_cpu_affinity(core)?;
        }
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        let bound = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("the bound address is no IP address"))?;
        let listener = Listener(self.listeners.len() as u32);
        self.listeners.push(socket);
        self.relisten.push(listener);
        Ok((listener, bound))
    }
}

fn connect_entry(index: u32, address: &SockAddr) -> squeue::Entry {
    opcode::Connect::new(Fixed(index), address.as_ptr().cast(), address.len()).build()
}
