//! Against nginx, the server of most people's first benchmark.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{plan, run_plan, wait_until};

/// nginx on a free port, with its files in a folder of its own; ended on drop.
struct Nginx {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Nginx {
    /// `None`, with a line that says so, when nginx is not installed.
    fn start(test: &str, locations: &str) -> Option<Self> {
        let binary = ["/usr/sbin/nginx", "/usr/bin/nginx"]
            .into_iter()
            .find(|p| Path::new(p).exists());
        let Some(binary) = binary else {
            eprintln!("SKIPPED: {test} (nginx is not installed)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        // For the workers, which run as another user when the test is run by root.
        let mut permissions = fs::metadata(at).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
        fs::set_permissions(at, permissions).unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        fs::write(at.join("page.html"), "abcdefgh".repeat(5000)).unwrap();
        let config = format!(
            "daemon off; worker_processes 1; pid {at}/pid; error_log {at}/error.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{\n  log_format status '$status'; access_log {at}/access.log status;\n  \
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fcgi;\n  \
             uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n  \
             server {{ listen {address}; root {at};\n{locations}\n  }}\n}}\n",
            at = at.display()
        );
        fs::write(at.join("nginx.conf"), config).unwrap();
        let child = Command::new(binary)
            .args(["-e", "stderr", "-c"])
            .arg(at.join("nginx.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self {
            child,
            address,
            folder,
        };
        wait_until(|| TcpStream::connect(address).is_ok());
        Some(nginx)
    }

    fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests it has logged, by status.
    fn logged(&self, status: &str) -> usize {
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        log.lines().filter(|line| *line == status).count()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM, so that the master ends its worker.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

const ITERATIONS: &str = "executor: per-vu-iterations\n    vus: 8\n    iterations: 50";

#[test]
fn files_and_errors_are_counted_as_nginx_logs_them() {
    let test = "files_and_errors_are_counted_as_nginx_logs_them";
    let Some(nginx) = Nginx::start(test, "") else {
        return;
    };
    let flow = r#"
      - request: { url: /page.html, assert: [{ type: status, equals: 200 }, { type: body_matches, pattern: "^(abcdefgh)+$" }] }
      - request: { url: /missing, assert: [{ type: status, equals: 404 }] }
      - request: { url: /page.html, method: HEAD, extract: [{ type: header, name: server, header: server }] }
"#;
    let run = run_plan(
        &plan(&nginx.base(), ITERATIONS, flow),
        &["--cores", "2", "--oversubscribe"],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        (
            run.requests_with("status", "200"),
            run.requests_with("status", "404")
        ),
        (800, 400)
    );
    // The 404s and nothing else.
    assert_eq!(run.failed(), 400, "{:#}", run.summary["errors"]);
    assert_eq!((nginx.logged("200"), nginx.logged("404")), (800, 400));
}

#[test]
fn connections_that_nginx_closes_after_some_requests_cost_no_failure() {
    let test = "connections_that_nginx_closes_after_some_requests_cost_no_failure";
    let Some(nginx) = Nginx::start(test, "keepalive_requests 7;") else {
        return;
    };
    let flow = "      - request: { url: /page.html, assert: [{ type: status, equals: 200 }] }\n";
    let run = run_plan(&plan(&nginx.base(), ITERATIONS, flow), &["--cores", "1"]);
    assert_eq!(
        (run.count("http_reqs"), run.failed()),
        (400, 0),
        "{:#}",
        run.summary["errors"]
    );
    assert_eq!(nginx.logged("200"), 400);
    assert!(run.metric("http_req_connecting", "max") > 0.0);
}

#[test]
fn connections_that_nginx_closes_when_idle_are_made_anew_without_a_failure() {
    let test = "connections_that_nginx_closes_when_idle_are_made_anew_without_a_failure";
    let locations = "keepalive_timeout 1s;";
    let Some(nginx) = Nginx::start(test, locations) else {
        return;
    };
    let target = common::target();
    // While the built-in target delays, the connection to nginx idles past its time.
    let flow = format!(
        "      - request: {{ url: /page.html }}\n      - request: {{ url: \"http://{}/delay/1500\" }}\n",
        target.address()
    );
    let executor = "executor: per-vu-iterations\n    vus: 3\n    iterations: 2";
    let run = run_plan(&plan(&nginx.base(), executor, &flow), &["--cores", "1"]);
    assert_eq!(
        (run.count("http_reqs"), run.failed()),
        (12, 0),
        "{:#}",
        run.summary["errors"]
    );
    assert_eq!(nginx.logged("200"), 6);
}

#[test]
fn chunked_responses_of_nginx_are_read_whole() {
    let test = "chunked_responses_of_nginx_are_read_whole";
    // Server-side includes have no length beforehand.
    let Some(nginx) = Nginx::start(test, "ssi on; location = /ssi.html { }") else {
        return;
    };
    let text = format!(
        "<!--# include file=\"/page.html\" -->{}",
        "z".repeat(50_000)
    );
    fs::write(nginx.folder.path().join("ssi.html"), text).unwrap();
    let flow = r#"
      - request:
          url: /ssi.html
          extract: [{ type: header, name: coding, header: transfer-encoding }]
          assert: [{ type: body_matches, pattern: "^(abcdefgh){500}" }, { type: body_matches, pattern: "[^z]z{500}" }]
"#;
    let run = run_plan(&plan(&nginx.base(), ITERATIONS, flow), &["--cores", "1"]);
    assert_eq!(
        (run.count("http_reqs"), run.failed()),
        (400, 0),
        "{:#}",
        run.summary["errors"]
    );
}
