//! A server that says exactly the bytes it is told to, and a run against it.
#![allow(
    clippy::unwrap_used,
    dead_code,
    clippy::needless_pass_by_value,
    unreachable_pub,
    reason = "a failed unwrap is a failed test; each test file uses a part"
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadr_config::Options;
use loadr_engine::{
    Control, LoadedPlugins, Moment, PluginSources, Resolve, RunError, RunSpec, Summary,
    SystemResolver,
};
use loadr_plugin_host::Cache;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The number of its connection, from 0.
    pub connection: usize,
    /// With the empty line.
    pub head: String,
    pub body: Vec<u8>,
    /// Bytes of later requests that had come with it.
    pub behind: usize,
}

impl Seen {
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What the server does with a request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Each is written by itself.
    pub pieces: Vec<Vec<u8>>,
    pub end: End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Stay,
    Close,
    Reset,
    /// Says nothing more and stays open.
    Stall,
    /// Closes after 200 ms.
    Linger,
}

impl Reply {
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            pieces: vec![bytes.into()],
            end: End::Stay,
        }
    }

    /// `200` with fields (each with its line end) and a body.
    pub fn ok(fields: &str, body: &[u8]) -> Self {
        let head = format!(
            "HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n",
            body.len()
        );
        Self::bytes([head.as_bytes(), body].concat())
    }

    /// As it answers HEAD.
    pub fn without_body(mut self) -> Self {
        let bytes = self.pieces.concat();
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        self.pieces = vec![bytes[..end + 4].to_vec()];
        self
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        Self::bytes(format!(
            "HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 4\r\n\r\ngone"
        ))
    }
}

/// A server on a free loopback port, until the process ends.
pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, handler) = (Arc::clone(&seen), Arc::new(handler));
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (log, handler) = (Arc::clone(&log), Arc::clone(&handler));
                let stream = stream.unwrap();
                std::thread::spawn(move || serve(connection, stream, &log, &*handler));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    connection: usize,
    mut stream: TcpStream,
    log: &Mutex<Vec<Seen>>,
    handler: &dyn Fn(&Seen) -> Reply,
) {
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut bytes = Vec::new();
    while let Some(request) = next_request(connection, &mut stream, &mut bytes) {
        let reply = handler(&request);
        log.lock().unwrap().push(request);
        for (i, piece) in reply.pieces.iter().enumerate() {
            if i > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            if stream.write_all(piece).is_err() {
                return;
            }
        }
        match reply.end {
            End::Stay => {}
            End::Close => return,
            End::Linger => {
                std::thread::sleep(Duration::from_millis(200));
                return;
            }
            End::Stall => {
                let _ = stream.read(&mut [0; 1024]);
                return;
            }
            End::Reset => {
                let socket = socket2::Socket::from(stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
        }
    }
}

fn next_request(connection: usize, stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Seen> {
    loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end + 4].to_vec()).unwrap();
            let mut request = Seen {
                connection,
                head,
                body: Vec::new(),
                behind: 0,
            };
            let length = request
                .header("content-length")
                .map_or(0, |n| n.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                request.body = bytes[end + 4..end + 4 + length].to_vec();
                bytes.drain(..end + 4 + length);
                request.behind = bytes.len();
                return Some(request);
            }
        }
        let mut more = [0; 4096];
        match stream.read(&mut more) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&more[..n]),
            _ => return None,
        }
    }
}

/// A plan with one virtual user that goes through the flow once.
pub fn once(http: &str, flow: &str) -> String {
    format!(
        "defaults: {{ http: {{ {http} }} }}\nscenarios:\n  s:\n    executor: per-vu-iterations\n    vus: 1\n    \
         iterations: 1\n    flow:\n{flow}"
    )
}

/// Runs a plan on one core.
pub fn run(plan: &str) -> Summary {
    try_run(plan).unwrap_or_else(|error| panic!("{error}\n{plan}"))
}

/// Runs a plan on one core, or says why it cannot be.
pub fn try_run(plan: &str) -> Result<Summary, RunError> {
    run_watched(plan, Arc::new(SystemResolver), |_| ())
}

/// The same with names of the test's own; `watch` is called about once a second.
pub fn run_watched(
    plan: &str,
    resolver: Arc<dyn Resolve>,
    watch: impl Fn(&Control),
) -> Result<Summary, RunError> {
    let compiled = loadr_config::compile(plan, Path::new("plan.yaml"), &Options::default());
    let program = Arc::new(
        compiled
            .unwrap_or_else(|error| panic!("{error}\n{plan}"))
            .program,
    );
    let sources = PluginSources {
        store: None,
        cache: Cache::none(),
    };
    let plugins = Arc::new(LoadedPlugins::load(&program, &sources).unwrap());
    let spec = RunSpec {
        is_strict: false,
        shows_http: false,
        keeps_seconds: false,
        cores: vec![loadr_engine::cores::available()[0]],
        seed: 1,
        ..RunSpec::default()
    };
    let control = Control::new(program.scenarios.len());
    let on_moment = |_: &Moment<'_>| watch(&control);
    let outcome =
        loadr_engine::run_resolving(program, &plugins, &spec, &control, &resolver, on_moment)?;
    Ok(Summary::new(&outcome))
}

/// Each outcome of each step: name, status, `error_kind`, how many requests.
pub fn outcomes(summary: &Summary) -> Vec<(String, String, String, u64)> {
    let tag = |tags: &std::collections::BTreeMap<String, String>, name: &str| {
        tags.get(name).cloned().unwrap_or_default()
    };
    let requests = summary
        .snapshot
        .series
        .iter()
        .filter(|s| s.metric == "http_reqs");
    requests
        .map(|s| {
            let count = s.agg.count.unwrap_or_default();
            (
                tag(&s.tags, "name"),
                tag(&s.tags, "status"),
                tag(&s.tags, "error_kind"),
                count,
            )
        })
        .collect()
}

/// Panics when any request of a run failed.
pub fn assert_no_failure(summary: &Summary) {
    let rate = summary.metric("http_req_failed").unwrap().rate;
    assert_eq!(rate, Some(0.0), "{:#?}", summary.errors);
}
