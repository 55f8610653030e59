//! What is read from and answered on, with a limit in time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A stream that a request comes on.
pub trait Connection: Read + Write + Send {
    /// How long one read, and one write, may take.
    ///
    /// # Errors
    /// The system's.
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;

    /// Says that nothing more is written.
    ///
    /// # Errors
    /// The system's.
    fn end(&self) -> io::Result<()>;
}

impl Connection for UnixStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Connection for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }

    fn end(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Says that nothing more is written, and reads what the other side still sends for so long: closed before, the connection
/// would be reset, and the answer lost with it.
pub fn close(connection: &mut impl Connection, linger: Duration) {
    let until = Instant::now() + linger;
    let mut rest = [0; 4096];
    if connection.end().is_err() {
        return;
    }
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let can_wait = !left.is_zero() && connection.set_timeout(left).is_ok();
        if !can_wait || !matches!(connection.read(&mut rest), Ok(len) if len > 0) {
            return;
        }
    }
}
