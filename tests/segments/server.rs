//! A server that keeps what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A server that answers everything and keeps the target of each request, in order, with when it came.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let mut writer = stream.try_clone().unwrap();
                    let mut lines = BufReader::new(stream).lines();
                    let mut target = None;
                    while let Some(Ok(line)) = lines.next() {
                        if let Some(rest) = line.strip_prefix("GET ") {
                            let path = rest.split(' ').next().unwrap_or_default();
                            target = Some((Instant::now(), path.to_owned()));
                        } else if line.is_empty() {
                            log.lock().unwrap().extend(target.take());
                            if writer
                                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                                .is_err()
                            {
                                break;
                            }
                        }
                    }
                });
            }
        });
        Self { address, log }
    }

    /// The targets of all requests of a scenario, split at their slashes.
    pub(crate) fn of(&self, scenario: &str) -> Vec<Vec<String>> {
        let log = self.log.lock().unwrap();
        let parts = log
            .iter()
            .map(|(_, target)| target.split('/').skip(1).map(str::to_owned).collect());
        parts
            .filter(|parts: &Vec<String>| parts[0] == scenario)
            .map(|parts| parts[1..].to_vec())
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.log.lock().unwrap().len()
    }
}
