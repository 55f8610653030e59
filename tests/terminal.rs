//! The view of the terminal in a real one (tmux), and what is printed where there is none.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{loadr, plan, run_plan, target};
use tempfile::TempDir;

/// A loaded machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with a shell in it, on a server of its own.
struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// `None`, with a line that says so, where there is no tmux (an error where there must be).
    fn open(width: u32, height: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let terminal = Self { folder };
        let size = [width.to_string(), height.to_string()];
        let made = terminal
            .tmux()
            .args([
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-x",
                &size[0],
                "-y",
                &size[1],
            ])
            .arg("env PS1='$ ' sh")
            .status();
        if !made.is_ok_and(|status| status.success()) {
            assert!(
                std::env::var_os("LOADR_REQUIRE_GUESTS").is_none(),
                "tmux is missing"
            );
            eprintln!("skipped: tmux is missing (apt-get install tmux)");
            return None;
        }
        Some(terminal)
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.folder.path().join("socket"));
        command
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn say(&self, args: &[&str]) -> String {
        let output = self.tmux().args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a line.
    fn line(&self, text: &str) {
        self.say(&["send-keys", "-l", text]);
        self.key("Enter");
    }

    fn key(&self, key: &str) {
        self.say(&["send-keys", key]);
    }

    fn screen(&self) -> String {
        self.say(&["capture-pane", "-p"])
    }

    /// With its colours.
    fn painted(&self) -> String {
        self.say(&["capture-pane", "-p", "-e"])
    }

    fn wait_for(&self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(began.elapsed() < PATIENCE, "never `{text}`:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The screen is the shell's, with its cursor, its echo and its lines.
    fn assert_is_as_it_was(&self) {
        let flags = self.say(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        assert_eq!(flags.trim(), "0 1");
        self.line("clear; stty -a; echo done-$((1+1))");
        let modes = self.wait_for("done-2");
        for mode in ["icanon", "isig", "echo", "icrnl", "opost"] {
            let has = modes.split([' ', ';', '\n']).any(|word| word == mode);
            assert!(has, "{mode} is off:\n{modes}");
        }
    }

    fn write_plan(&self, text: &str) -> String {
        let path = self.folder.path().join("plan.yaml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.say(&["kill-server"]);
    }
}

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_loadr-fast")
}

fn endless(address: std::net::SocketAddr, url: &str) -> String {
    plan(
        &format!("http://{address}"),
        "executor: constant-vus\n    vus: 4\n    duration: 10m\n    graceful_stop: 10m",
        &format!("      - request: {{ url: {url} }}\n"),
    )
}

#[test]
fn the_view_shows_the_run_follows_the_size_and_ctrl_c_gives_the_terminal_back_with_the_summary() {
    let Some(terminal) = Terminal::open(120, 36) else {
        return;
    };
    let target = target();
    let mut text = endless(target.address(), "/delay/2");
    text += "thresholds: { http_req_failed: [\"rate<0.01\"], http_reqs: [\"count<5\"] }\n";
    let path = terminal.write_plan(&format!("name: \"a\\u001b[31mb\\u202ec\"\n{text}"));
    terminal.line(&format!("{} run --cores 1 {path}; echo code=$?", binary()));
    terminal.wait_for("✗ http_reqs: count<5");
    let screen = terminal.wait_for("of 4 wanted");
    for text in [
        "a\\u{1b}[31mb\\u{202e}c · scenario s",
        "running",
        "left",
        "requests/s",
        "0 failed, 0.00 % now",
        "p50",
        "shards",
        "lag p99",
        "✓ http_req_failed: rate<0.01",
        "errors",
        "Ctrl-C stops",
    ] {
        assert!(screen.contains(text), "`{text}`:\n{screen}");
    }
    assert!(terminal.painted().contains("\x1b[3"), "no colours");
    for (width, height) in [("60", "16"), ("40", "10"), ("12", "3"), ("120", "36")] {
        terminal.say(&["resize-window", "-x", width, "-y", height]);
        terminal.wait_for(if width == "12" { "running" } else { "failed" });
    }
    terminal.wait_for("Ctrl-C stops");
    terminal.key("C-c");
    let screen = terminal.wait_for("code=130");
    assert!(
        screen.contains("http_reqs") && screen.contains("GENERATOR"),
        "{screen}"
    );
    terminal.assert_is_as_it_was();
}

#[test]
fn a_second_ctrl_c_stops_at_once_and_gives_the_terminal_back() {
    let Some(terminal) = Terminal::open(100, 30) else {
        return;
    };
    let target = target();
    let path = terminal.write_plan(&endless(target.address(), "/delay/50000"));
    terminal.line(&format!("{} run --cores 1 {path}; echo code=$?", binary()));
    terminal.wait_for("Ctrl-C stops");
    terminal.key("C-c");
    terminal.wait_for("stopping");
    terminal.wait_for("Ctrl-C once more stops at once");
    terminal.key("C-c");
    let screen = terminal.wait_for("code=130");
    assert!(!screen.contains("http_reqs"), "{screen}");
    terminal.assert_is_as_it_was();
}

#[test]
fn a_termination_gives_the_terminal_back_too() {
    let Some(terminal) = Terminal::open(100, 30) else {
        return;
    };
    let target = target();
    let path = terminal.write_plan(&endless(target.address(), "/delay/5"));
    let pid = terminal.folder.path().join("pid");
    terminal.line(&format!(
        "sh -c 'echo $$ >{}; exec {} run --cores 1 {path}'; echo code=$?",
        pid.display(),
        binary()
    ));
    terminal.wait_for("running");
    let pid = std::fs::read_to_string(&pid).unwrap();
    let killed = Command::new("kill").args(["-TERM", pid.trim()]).status();
    assert!(killed.unwrap().success());
    terminal.wait_for("code=130");
    terminal.assert_is_as_it_was();
}

#[test]
fn no_view_is_drawn_where_it_is_not_wanted_or_cannot_be() {
    let Some(terminal) = Terminal::open(150, 40) else {
        return;
    };
    let target = target();
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: constant-vus\n    vus: 2\n    duration: 1500ms",
        "      - request: { url: /delay/2 }\n",
    );
    let path = terminal.write_plan(&text);
    for (before, flag) in [("TERM=dumb", ""), ("", "--no-tui"), ("TERM=", "")] {
        terminal.line(&format!(
            "clear; {before} {} run --cores 1 {flag} {path}; echo code=$?",
            binary()
        ));
        terminal.wait_for("1s ");
        let flags = terminal.say(&["display-message", "-p", "#{alternate_on}"]);
        assert_eq!(flags.trim(), "0", "{before} {flag}");
        let screen = terminal.wait_for("code=0");
        assert!(screen.contains(" req/s  2 VUs  p50 "), "{screen}");
        terminal.line("clear; echo again-$((1+1))");
        terminal.wait_for("again-2");
    }
    // In the background, where a change of the terminal's mode would stop it.
    terminal.line(&format!(
        "{} run --cores 1 {path} & wait; echo code=$?",
        binary()
    ));
    terminal.wait_for("code=0");
    // Without colours: neither the view nor the summary has any.
    terminal.line(&format!(
        "clear; NO_COLOR=1 {} run --cores 1 -d 3s {path}; echo code=$?",
        binary()
    ));
    terminal.wait_for("of 2 wanted");
    let is_colored = |painted: &str| (0..8).any(|c| painted.contains(&format!("\x1b[3{c}m")));
    let painted = terminal.painted();
    assert!(!is_colored(&painted), "{painted:?}");
    terminal.wait_for("code=0");
    let painted = terminal.painted();
    assert!(
        !is_colored(&painted) && !painted.contains("\x1b[1m"),
        "{painted:?}"
    );
    terminal.line(&format!(
        "clear; {} run --cores 1 {path}; echo code=$?",
        binary()
    ));
    terminal.wait_for("code=0");
    assert!(is_colored(&terminal.painted()));
}

#[test]
fn without_a_terminal_there_is_a_plain_line_a_second_and_results_are_on_standard_output() {
    let target = target();
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: constant-vus\n    vus: 2\n    duration: 2500ms",
        "      - request: { name: quick, url: / }\n      - request: { name: slow, url: /delay/20 }\n",
    );
    let run = run_plan(&text, &["--cores", "1"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let lines: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.contains(" req/s "))
        .collect();
    assert!((2..=4).contains(&lines.len()), "{}", run.stderr);
    assert!(
        lines[0].contains("2 VUs") && lines[0].ends_with("requests, 0 failed"),
        "{lines:?}"
    );
    let all = run.stderr + &run.stdout;
    assert!(!all.contains('\x1b') && !all.contains('\r'), "{all:?}");
    // The slow one comes first.
    let slowest = run.stdout.split("REQUESTS, SLOWEST FIRST").nth(1).unwrap();
    let at = |name: &str| slowest.find(name).unwrap();
    assert!(at("GET slow 200") < at("GET quick 200"), "{slowest}");
    assert!(!run.stdout.contains("--seed"));

    let run = run_plan(
        &text,
        &[
            "--cores",
            "1",
            "-d",
            "300ms",
            "--verbose",
            "--color",
            "always",
            "--seed",
            "77",
        ],
    );
    assert!(run.stdout.contains("\x1b[1mMETRICS\x1b[0m") && run.stdout.contains("--seed 77"));
    assert!(run.stdout.contains("p(99.9)="), "{}", run.stdout);
    let run = run_plan(&text, &["--cores", "1", "-d", "1200ms", "--quiet"]);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
}

#[test]
fn bad_news_about_the_generator_is_the_first_thing_that_is_said() {
    let target = target();
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: constant-arrival-rate\n    rate: 400\n    duration: 1s\n    pre_allocated_vus: 1\n    max_vus: 1",
        "      - request: { url: /delay/50 }\n",
    );
    let run = run_plan(&text, &["--cores", "1"]);
    let first = run
        .stdout
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap();
    assert_eq!(first, "  ! The generator may have been the bottleneck:");
    assert!(run.stdout.contains("dropped iterations"), "{}", run.stdout);
}

#[test]
fn readers_that_have_gone_away_cost_the_run_nothing() {
    let target = target();
    let path = tempfile::tempdir().unwrap();
    let plan_path = path.path().join("plan.yaml");
    let text = plan(
        &format!("http://{}", target.address()),
        "executor: constant-vus\n    vus: 1\n    duration: 1500ms",
        "      - request: { url: / }\n",
    );
    std::fs::write(&plan_path, text).unwrap();
    let summary = path.path().join("summary.json");
    let mut child = loadr()
        .args(["run", "--cores", "1", "--summary-export"])
        .args([&summary, &plan_path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((child.stdout.take(), child.stderr.take()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(Path::new(&summary).exists());
}

#[test]
fn every_command_says_in_its_help_how_it_is_used() {
    fn commands_of(help: &str) -> Vec<String> {
        let Some(list) = help.split("\nCommands:\n").nth(1) else {
            return Vec::new();
        };
        list.lines()
            .take_while(|line| !line.is_empty())
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| *name != "help")
            .map(str::to_owned)
            .collect()
    }
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(command) = waiting.pop() {
        let output = loadr().args(&command).arg("--help").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(
            help.contains("Example:\n  loadr-fast") || help.contains("Examples:\n  loadr-fast"),
            "{command:?} has no example:\n{help}"
        );
        assert!(help.contains("--color <WHEN>"), "{command:?}");
        for name in commands_of(&help) {
            waiting.push([command.as_slice(), &[name]].concat());
        }
        seen += 1;
    }
    assert!(seen > 12, "{seen}");
}

/// A terminal that has no room for another byte and is not read; what is started in it has it as its own.
struct Stalled {
    master: std::fs::File,
    slave: std::os::fd::OwnedFd,
}

impl Stalled {
    fn open() -> Self {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        use nix::pty::{Winsize, openpty};
        let size = Winsize {
            ws_row: 30,
            ws_col: 100,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).unwrap();
        let flags = OFlag::from_bits_retain(fcntl(&pty.slave, FcntlArg::F_GETFL).unwrap());
        let set = |flags| fcntl(&pty.slave, FcntlArg::F_SETFL(flags)).unwrap();
        set(flags | OFlag::O_NONBLOCK);
        let mut bytes = 4096;
        while bytes > 0 {
            if nix::unistd::write(&pty.slave, &vec![b'x'; bytes]).is_err() {
                bytes /= 2;
            }
        }
        set(flags);
        Self {
            master: pty.master.into(),
            slave: pty.slave,
        }
    }

    /// Starts the program with its standard streams in it.
    fn start(&self, arguments: &[&str]) -> std::process::Child {
        let stream = || Stdio::from(self.slave.try_clone().unwrap());
        Command::new("setsid")
            .arg("--ctty")
            .arg(binary())
            .args(arguments)
            .env("TERM", "xterm")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap()
    }

    fn type_ctrl_c(&self) {
        use std::io::Write;
        (&self.master).write_all(b"\x03").unwrap();
    }
}

fn wait_for_end(child: &mut std::process::Child) -> Option<i32> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn a_run_in_a_terminal_that_takes_nothing_ends_with_its_files() {
    let target = target();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    let text = endless(target.address(), "/").replace("duration: 10m", "duration: 2s");
    std::fs::write(&path, text).unwrap();
    for flags in [&[][..], &["--no-tui"]] {
        let terminal = Stalled::open();
        let summary = folder.path().join("summary.json");
        let _ = std::fs::remove_file(&summary);
        let fixed = [
            "run",
            "--cores",
            "1",
            "--summary-export",
            summary.to_str().unwrap(),
            path.to_str().unwrap(),
        ];
        let mut child = terminal.start(&[&fixed[..], flags].concat());
        assert_eq!(wait_for_end(&mut child), Some(0), "{flags:?}");
        let summary = std::fs::read_to_string(&summary).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
        assert!(summary["duration_secs"].as_f64().unwrap() >= 2.0);
    }
}

#[test]
fn ctrl_c_works_in_a_terminal_that_takes_nothing() {
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    // The second one is needed: what is in flight would take ten minutes.
    std::fs::write(&path, endless(silent.local_addr().unwrap(), "/")).unwrap();
    for flags in [&[][..], &["--no-tui"]] {
        let terminal = Stalled::open();
        let fixed = ["run", "--cores", "1", path.to_str().unwrap()];
        let mut child = terminal.start(&[&fixed[..], flags].concat());
        // Until its view, if there is one, has the terminal.
        std::thread::sleep(Duration::from_secs(2));
        terminal.type_ctrl_c();
        std::thread::sleep(Duration::from_millis(500));
        assert!(child.try_wait().unwrap().is_none(), "{flags:?}");
        terminal.type_ctrl_c();
        assert_eq!(wait_for_end(&mut child), Some(130), "{flags:?}");
    }
}
