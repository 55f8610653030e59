//! Outputs that are fetched: a Prometheus that scrapes, comes once more at the end, or never.

use std::fs;
use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::common::{interrupt, loadr, run_plan, wait_until};
use super::hostile_plan;

#[test]
fn a_scrape_sees_the_run_and_a_last_one_its_end() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let list = format!("  - {{ type: prometheus, listen: '{port}', linger: 30s }}");
    let (_target, plan) = hostile_plan("2300ms", &list);
    let scraper = thread::spawn(move || {
        let mut last = String::new();
        let mut scrapes = 0;
        let began = Instant::now();
        let mut was_there = false;
        while began.elapsed() < Duration::from_secs(60) {
            match scrape(port) {
                Some(text) => {
                    was_there = true;
                    scrapes += 1;
                    last = text;
                }
                None if was_there => break,
                None => {}
            }
            thread::sleep(Duration::from_millis(100));
        }
        (scrapes, last)
    });
    let began = Instant::now();
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let (scrapes, last) = scraper.join().unwrap();
    assert!(scrapes > 2 && began.elapsed() < Duration::from_secs(30));
    let requests: f64 = last
        .lines()
        .filter(|line| line.starts_with("loadr_http_reqs_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert_eq!(requests, run.count("http_reqs") as f64);
}

fn scrape(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}

#[test]
fn a_run_without_a_scraper_waits_for_none() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (_target, plan) = hostile_plan(
        "300ms",
        &format!("  - {{ type: prometheus, listen: '{port}', linger: 10m }}"),
    );
    let run = run_plan(&plan, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr
            .contains(&format!("metrics are at http://{port}/metrics"))
    );
}

/// Does not outlive a test that fails.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_page_hears_of_the_end_at_once_and_ctrl_c_ends_the_wait_for_a_scrape_whatever_ended_the_run() {
    let free = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (scraped, page) = (free(), free());
    let list = format!("  - {{ type: prometheus, listen: '{scraped}', linger: 10m }}");
    let (_target, plan) = hostile_plan("10m", &list);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    // It is over for a reason of its own before anybody presses a key.
    let threshold = "thresholds: { http_req_failed: [ { threshold: 'rate<0.01', abort_on_fail: true, delay_abort_eval: 2s } ] }\n";
    fs::write(&path, format!("{plan}{threshold}")).unwrap();
    let child = loadr()
        .args(["run", "--cores", "1", "--no-tui"])
        .arg(format!("--ui={page}"))
        .arg(&path)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut child = Killed(child.unwrap());
    // What was scraped in the run is waited for at its end.
    wait_until(|| scrape(scraped).is_some());
    let mut reader = TcpStream::connect(page).unwrap();
    reader
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    write!(reader, "GET /events HTTP/1.1\r\nHost: {page}\r\n\r\n").unwrap();
    let mut events = Vec::new();
    let began = Instant::now();
    // The stream ends behind the end of the run.
    let mut some = [0; 4096];
    while let Ok(len) = reader.read(&mut some)
        && len > 0
        && began.elapsed() < Duration::from_secs(60)
    {
        events.extend_from_slice(&some[..len]);
    }
    let events = String::from_utf8(events).unwrap();
    assert!(events.contains("event: end"), "{events}");
    assert!(events.contains("\"exit_code\": 99"), "{events}");
    let child = &mut child.0;
    assert!(
        child.try_wait().unwrap().is_none(),
        "nobody has scraped the end"
    );
    // The page comes before the wait begins, which it says on standard error.
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("waiting up to 600 s") {
        line.clear();
        assert_ne!(
            said.read_line(&mut line).unwrap(),
            0,
            "it waits for a scrape"
        );
    }
    interrupt(child.id());
    let mut code = None;
    wait_until(|| {
        code = child.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.and_then(|code| code.code()), Some(99));
}
