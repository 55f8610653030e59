//! Against servers that others wrote, with and without pipelining: every response whole, none lost, counted as the server
//! counts it. A server that is not installed is skipped, with a line that says so.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Run, run_plan, wait_until};
use rcgen::{CertificateParams, KeyPair};

/// A server on a free port, with its files in a folder of its own; ended on drop.
struct Served {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Served {
    /// `None`, with a line that says so, when none of the programs is there. `command` gets the program, the folder and
    /// the address.
    fn start(
        test: &str,
        programs: &[&str],
        command: impl Fn(&Path, &Path, SocketAddr) -> Command,
    ) -> Option<Self> {
        let found = programs.iter().find_map(|program| which(program));
        let Some(program) = found else {
            eprintln!("SKIPPED: {test} ({} is not installed)", programs[0]);
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // For workers, which run as another user when the test is run by root.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("page.html"), page()).unwrap();
        fs::write(folder.path().join("empty.html"), "").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let child = command(&program, folder.path(), address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let served = Self {
            child,
            address,
            folder,
        };
        wait_until(|| TcpStream::connect(address).is_ok());
        Some(served)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // SIGTERM, so that a master ends its workers.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

fn page() -> String {
    "abcdefgh".repeat(5000)
}

const PAGE: &str = r#"assert: [ { type: status, equals: 200 }, { type: size, equals: 40000 }, { type: body_matches, pattern: "^(abcdefgh)+$" } ]"#;

/// Runs `flow` in 8 users of 40 iterations each, with so many requests in flight.
fn load(base: &str, pipeline: u32, http: &str, flow: &str) -> Run {
    let plan = format!(
        "engine: {{ pipeline: {pipeline} }}\ndefaults: {{ http: {{ base_url: \"{base}\"{http} }} }}\n\
         scenarios:\n  s:\n    executor: per-vu-iterations\n    vus: 8\n    iterations: 40\n    flow:\n{flow}"
    );
    run_plan(&plan, &["--cores", "2", "--oversubscribe"])
}

/// So many requests, none of them failed.
fn assert_all(run: &Run, requests: u64, what: &str) {
    assert_eq!(run.code, 0, "{what}: {}", run.stderr);
    let found = (
        run.count("http_reqs"),
        run.failed(),
        run.count("iterations"),
    );
    assert_eq!(
        found,
        (requests, 0, 320),
        "{what}: {:#}",
        run.summary["errors"]
    );
}

fn nginx(test: &str, server: &str) -> Option<Served> {
    Served::start(test, &["nginx"], |program, at, address| {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        fs::write(at.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(at.join("key.pem"), key.serialize_pem()).unwrap();
        let at = at.display();
        let server = server
            .replace(
                "CERTIFIED",
                &format!("ssl; ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem"),
            )
            .replace("ADDRESS", &address.to_string());
        let config = format!(
            "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/error.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{\n  log_format status '$status'; access_log {at}/access.log status;\n  \
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fcgi;\n  \
             uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n  default_type text/html;\n  \
             server {{ root {at};\n{server}\n  }}\n}}\n"
        );
        let path = Path::new(&at.to_string()).join("nginx.conf");
        fs::write(&path, config).unwrap();
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-c"]).arg(path);
        command
    })
}

#[test]
fn nginx_files_short_answers_and_compressed_ones() {
    let test = "nginx_files_short_answers_and_compressed_ones";
    let locations = "listen ADDRESS; gzip on; gzip_min_length 1; gzip_types *;\n\
                     location = /short { return 200 \"short\"; } location = /none { return 204; }\n\
                     location = /old { return 301 /short; }";
    let Some(server) = nginx(test, locations) else {
        return;
    };
    let flow = format!(
        "      - request: {{ url: /page.html, {PAGE}, extract: [ {{ type: header, name: coding, header: content-encoding }} ] }}\n\
         \x20     - request: {{ url: /short, assert: [ {{ type: body_matches, pattern: '^short$' }} ] }}\n\
         \x20     - request: {{ url: /none, assert: [ {{ type: status, equals: 204 }} ] }}\n\
         \x20     - request: {{ url: /page.html, method: HEAD, assert: [ {{ type: size, equals: 0 }} ] }}\n\
         \x20     - request: {{ url: /empty.html, assert: [ {{ type: size, equals: 0 }} ] }}\n\
         \x20     - request: {{ url: /old, assert: [ {{ type: body_matches, pattern: '^short$' }} ] }}\n"
    );
    let base = format!("http://{}", server.address);
    for pipeline in [1, 16] {
        let run = load(&base, pipeline, "", &flow);
        assert_all(&run, 320 * 7, &format!("pipeline {pipeline}"));
        // Each page came compressed: far fewer bytes than it has.
        assert!(run.metric("data_received", "sum") < 320.0 * 8000.0);
    }
    let log = fs::read_to_string(server.folder.path().join("access.log")).unwrap();
    let logged = |status: &str| log.lines().filter(|line| *line == status).count();
    assert_eq!(
        (logged("200"), logged("204"), logged("301")),
        (2 * 320 * 5, 640, 640)
    );
}

#[test]
fn nginx_over_tls() {
    let test = "nginx_over_tls";
    let Some(server) = nginx(
        test,
        "listen ADDRESS CERTIFIED; ssl_protocols TLSv1.2 TLSv1.3;",
    ) else {
        return;
    };
    let flow = format!("      - request: {{ url: /page.html, {PAGE} }}\n");
    let base = format!("https://{}", server.address);
    for (pipeline, version) in [(1, "1.2"), (1, "1.3"), (16, "1.2"), (16, "1.3")] {
        let http = format!(
            ", tls: {{ insecure_skip_verify: true, min_version: '{version}', max_version: '{version}' }}"
        );
        assert_all(
            &load(&base, pipeline, &http, &flow),
            320,
            &format!("pipeline {pipeline}, TLS {version}"),
        );
    }
}

#[test]
fn nginx_that_ends_connections_after_some_requests() {
    let test = "nginx_that_ends_connections_after_some_requests";
    let Some(server) = nginx(test, "listen ADDRESS; keepalive_requests 7;") else {
        return;
    };
    let flow = format!("      - request: {{ url: /page.html, {PAGE} }}\n");
    let base = format!("http://{}", server.address);
    for pipeline in [1, 3, 16] {
        assert_all(
            &load(&base, pipeline, "", &flow),
            320,
            &format!("pipeline {pipeline}"),
        );
    }
    // It answers none of those that are sent once more.
    let log = fs::read_to_string(server.folder.path().join("access.log")).unwrap();
    assert_eq!(log.lines().filter(|line| *line == "200").count(), 3 * 320);
}

#[test]
fn apache_files_and_compressed_ones() {
    let test = "apache_files_and_compressed_ones";
    let served = Served::start(test, &["apache2"], |program, at, address| {
        let modules = "/usr/lib/apache2/modules";
        let load: String = ["mpm_event", "authz_core", "filter", "deflate"]
            .map(|name| format!("LoadModule {name}_module {modules}/mod_{name}.so\n"))
            .concat();
        let at = at.display();
        let config = format!(
            "{load}ServerRoot \"{at}\"\nServerName localhost\nListen {address}\nPidFile {at}/pid\nErrorLog {at}/error.log\n\
             User www-data\nGroup www-data\nDefaultRuntimeDir {at}\nDocumentRoot \"{at}\"\n\
             MaxKeepAliveRequests 50\n<Directory \"{at}\">\nRequire all granted\n</Directory>\nSetOutputFilter DEFLATE\n"
        );
        let path = format!("{at}/apache.conf");
        fs::write(&path, config).unwrap();
        let mut command = Command::new(program);
        command.args(["-DFOREGROUND", "-f", &path]);
        command
    });
    let Some(server) = served else { return };
    let flow = format!(
        "      - request: {{ url: /page.html, {PAGE} }}\n\
         \x20     - request: {{ url: /empty.html, assert: [ {{ type: size, equals: 0 }} ] }}\n"
    );
    let base = format!("http://{}", server.address);
    for pipeline in [1, 16] {
        assert_all(
            &load(&base, pipeline, "", &flow),
            640,
            &format!("pipeline {pipeline}"),
        );
    }
}

#[test]
fn haproxy_answers_of_its_own() {
    let test = "haproxy_answers_of_its_own";
    let served = Served::start(test, &["haproxy"], |program, at, address| {
        let config = format!(
            "global\n  maxconn 200\ndefaults\n  mode http\n  timeout client 10s\n  timeout connect 1s\n  timeout server 10s\n\
             frontend f\n  bind {address}\n  http-request return status 404 if {{ path /missing }}\n  \
             http-request return status 200 content-type text/plain string \"short\"\n"
        );
        let path = at.join("haproxy.cfg");
        fs::write(&path, config).unwrap();
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(path);
        command
    });
    let Some(server) = served else { return };
    let flow = "      - request: { url: /, assert: [ { type: body_matches, pattern: '^short$' } ] }\n\
                \x20     - request: { url: /, method: HEAD, assert: [ { type: size, equals: 0 } ] }\n\
                \x20     - request: { url: /, body: hello, assert: [ { type: body_matches, pattern: '^short$' } ] }\n";
    let base = format!("http://{}", server.address);
    for pipeline in [1, 16] {
        assert_all(
            &load(&base, pipeline, "", flow),
            960,
            &format!("pipeline {pipeline}"),
        );
    }
}

#[test]
fn pythons_http_server() {
    for (protocol, pipeline) in [
        ("HTTP/1.0", 1),
        ("HTTP/1.1", 1),
        ("HTTP/1.0", 4),
        ("HTTP/1.1", 4),
    ] {
        let served = Served::start(
            "pythons_http_server",
            &["python3"],
            |program, at, address| {
                let mut command = Command::new(program);
                command
                    .args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"])
                    .arg(at);
                // It has the option since Python 3.11; HTTP/1.0 is what it speaks without.
                if protocol == "HTTP/1.1" {
                    command.args(["--protocol", protocol]);
                }
                command.arg(address.port().to_string());
                command
            },
        );
        let Some(server) = served else { return };
        let flow = format!(
            "      - request: {{ url: /page.html, {PAGE} }}\n\
             \x20     - request: {{ url: /empty.html, assert: [ {{ type: size, equals: 0 }} ] }}\n"
        );
        let run = load(&format!("http://{}", server.address), pipeline, "", &flow);
        assert_all(&run, 640, &format!("{protocol}, pipeline {pipeline}"));
    }
}

#[test]
fn nodes_http_server() {
    const SCRIPT: &str = "
        const http = require('http'), page = 'abcdefgh'.repeat(5000);
        http.createServer((request, response) => {
            request.resume().on('end', () => {
                if (request.url === '/chunks') {
                    for (let i = 0; i < 8; i++) response.write(page.slice(0, 5000));
                    response.addTrailers({ sum: '1' });
                    response.end();
                } else if (request.url === '/none') {
                    response.writeHead(204).end();
                } else if (request.url === '/early') {
                    response.writeEarlyHints({ link: '</x>; rel=preload' });
                    response.end('short');
                } else if (request.url === '/last') {
                    response.setHeader('connection', 'close').end('short');
                } else response.end(page);
            });
        }).listen(Number(process.argv[1]), '127.0.0.1');";
    let served = Served::start("nodes_http_server", &["node"], |program, _, address| {
        let mut command = Command::new(program);
        command.args(["-e", SCRIPT, &address.port().to_string()]);
        command
    });
    let Some(server) = served else { return };
    let flow = format!(
        "      - request: {{ url: /page, {PAGE} }}\n\
         \x20     - request: {{ url: /chunks, {PAGE} }}\n\
         \x20     - request: {{ url: /page, body: hello, method: PUT, {PAGE} }}\n\
         \x20     - request: {{ url: /none, assert: [ {{ type: status, equals: 204 }} ] }}\n\
         \x20     - request: {{ url: /early, assert: [ {{ type: body_matches, pattern: '^short$' }} ] }}\n\
         \x20     - request: {{ url: /page, method: HEAD, assert: [ {{ type: size, equals: 0 }} ] }}\n"
    );
    let base = format!("http://{}", server.address);
    for pipeline in [1, 8] {
        let what = format!("pipeline {pipeline}");
        assert_all(&load(&base, pipeline, "", &flow), 320 * 6, &what);
        let last = flow.clone() + "      - request: { url: /last }\n";
        assert_all(&load(&base, pipeline, "", &last), 320 * 7, &what);
    }
}
