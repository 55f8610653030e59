//! A real NATS server on a free port, and somebody who says to it whatever comes to mind.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::wait_until;

/// Ended on drop, also when it is stopped.
pub(crate) struct Nats {
    child: Child,
    binary: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) folder: tempfile::TempDir,
}

impl Nats {
    /// `None`, with a line that says so, when the server is not installed; in checks of the whole it must be.
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::with(test, |_| String::new())
    }

    /// With more in its configuration, which may name files of the server's folder.
    pub(crate) fn with(test: &str, more: impl Fn(&Path) -> String) -> Option<Self> {
        let places = [
            "/usr/sbin/nats-server",
            "/usr/bin/nats-server",
            "/usr/local/bin/nats-server",
        ];
        let Some(binary) = places.into_iter().map(PathBuf::from).find(|p| p.exists()) else {
            assert!(
                std::env::var_os("LOADR_REQUIRE_TOOLS").is_none(),
                "nats-server is not installed"
            );
            eprintln!("SKIPPED: {test} (nats-server is not installed)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = format!(
            "host: 127.0.0.1\nport: {}\n{}",
            address.port(),
            more(folder.path())
        );
        fs::write(folder.path().join("nats.conf"), config).unwrap();
        let child = Self::spawn(&binary, folder.path());
        let nats = Self {
            child,
            binary,
            address,
            folder,
        };
        nats.wait();
        Some(nats)
    }

    fn spawn(binary: &Path, folder: &Path) -> Child {
        Command::new(binary)
            .arg("-c")
            .arg(folder.join("nats.conf"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("nats.log")).unwrap())
            .spawn()
            .unwrap()
    }

    fn wait(&self) {
        wait_until(|| TcpStream::connect(self.address).is_ok());
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// As with a machine that hangs: connections stay, and nothing moves.
    pub(crate) fn freeze(&self) {
        signal(self.child.id(), "-STOP");
    }

    pub(crate) fn thaw(&self) {
        signal(self.child.id(), "-CONT");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.child = Self::spawn(&self.binary, self.folder.path());
        self.wait();
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(pid: u32, which: &str) {
    let status = Command::new("kill")
        .args([which, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// Speaks the server's protocol by hand.
pub(crate) struct Stranger(TcpStream);

impl Stranger {
    pub(crate) fn come(nats: &Nats) -> Self {
        let mut stream = TcpStream::connect(nats.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut info = String::new();
        BufReader::new(stream.try_clone().unwrap())
            .read_line(&mut info)
            .unwrap();
        assert!(info.starts_with("INFO"), "{info}");
        stream
            .write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")
            .unwrap();
        Self(stream)
    }

    pub(crate) fn say(&mut self, subject: &str, bytes: &[u8]) {
        let head = format!("PUB {subject} {}\r\n", bytes.len());
        self.0.write_all(head.as_bytes()).unwrap();
        self.0.write_all(bytes).unwrap();
        self.0.write_all(b"\r\n").unwrap();
    }
}
