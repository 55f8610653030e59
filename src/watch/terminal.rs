//! The view of the terminal: a thread that draws it, and the care that the terminal is left as it was found, whatever ends
//! the run. It is drawn on standard error, so that standard output has the results alone.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use loadr_engine::{RunState, Steer, cores};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use signal_hook::consts::SIGINT;

use super::About;
use super::frame::{Frame, Point};
use super::view::{self, Theme, View};
use crate::voice::{Buffered, NOTES};

/// Between two drawings: at most ten a second.
const REDRAW: Duration = Duration::from_millis(100);
/// A run that is over before this never takes the screen.
const GRACE: Duration = Duration::from_millis(300);
/// The seconds that are kept for the charts: more than any screen has columns.
const POINTS_MAX: usize = 512;
/// What is said while the view is up is shown and printed below it later; a flood of it is not.
const SAID_MAX: usize = 50;
/// A terminal that takes nothing holds up the end of the process, or of the view, for no longer.
const RESTORE: Duration = Duration::from_millis(500);

/// Whether the view has the terminal, and what was said meanwhile. Never held while the terminal is waited for: what is
/// drawn is handed to [`NOTES`].
static SCREEN: Mutex<State> = Mutex::new(State {
    is_up: false,
    said: Vec::new(),
});
static HOOK: Once = Once::new();

struct State {
    is_up: bool,
    said: Vec<String>,
}

fn screen() -> MutexGuard<'static, State> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether standard error is a terminal on which a view can be drawn now: one that knows more than lines, and that this
/// process has in its foreground.
pub(super) fn can_be_drawn_on() -> bool {
    let knows_more =
        std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    // Changing the mode of a terminal in the background would stop the process.
    let has_foreground = || {
        rustix::termios::tcgetpgrp(stderr()).is_ok_and(|group| group == rustix::process::getpgrp())
    };
    knows_more && stderr().is_terminal() && has_foreground()
}

/// Says a line to the person at the terminal, now or, while the view is up, in it and once more when it has gone.
pub(crate) fn say(line: &str) {
    let mut screen = screen();
    if !screen.is_up {
        NOTES.line(line);
    } else if screen.said.len() < SAID_MAX {
        screen.said.push(line.to_owned());
    }
}

/// Leaves the terminal as it was before the view. Does nothing where there is none, and can be called from anywhere: before
/// the process ends, and when a thread panics.
pub(crate) fn restore() {
    let began = Instant::now();
    let mut screen = loop {
        match SCREEN.try_lock() {
            Ok(screen) => break Some(screen),
            Err(TryLockError::Poisoned(poisoned)) => break Some(poisoned.into_inner()),
            // The thread that draws may be the one that panics.
            Err(TryLockError::WouldBlock) if began.elapsed() > RESTORE => break None,
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
        }
    };
    if screen.as_ref().is_some_and(|screen| !screen.is_up) {
        return;
    }
    let mut out = Buffered::default();
    let _ = execute!(out, Show, LeaveAlternateScreen);
    // Before what is said next, which wants its line ends.
    NOTES.finish_within(RESTORE);
    let _ = disable_raw_mode();
    if let Some(screen) = &mut screen {
        screen.is_up = false;
        for line in screen.said.drain(..) {
            NOTES.line(&line);
        }
    }
    NOTES.finish_within(RESTORE);
}

/// A view that is being drawn.
pub(super) struct Terminal {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    about: About,
    url: Option<String>,
    theme: Theme,
    steer: Arc<dyn Steer>,
    seen: Mutex<Seen>,
    is_over: AtomicBool,
}

/// What has been seen of the run.
#[derive(Default)]
struct Seen {
    frame: Option<Frame>,
    points: VecDeque<Point>,
    is_new: bool,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terminal {
    /// Draws from now on.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn start(
        about: About,
        url: Option<String>,
        theme: Theme,
        steer: &Arc<dyn Steer>,
        cores: &[usize],
    ) -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        let shared = Arc::new(Shared {
            about,
            url,
            theme,
            steer: Arc::clone(steer),
            seen: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let cores = cores.to_vec();
        let thread = thread::Builder::new().name("view".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                let _aside = cores::stand_aside(&cores);
                draw_until_over(&shared);
                restore();
            }
        })?;
        Ok(Self { shared, thread })
    }

    /// A second has passed.
    pub(super) fn see(&self, frame: Frame) {
        let mut seen = self.shared.seen();
        if seen.points.len() == POINTS_MAX {
            seen.points.pop_front();
        }
        seen.points.push_back(frame.point.clone());
        seen.frame = Some(frame);
        seen.is_new = true;
    }

    /// Gives the terminal back.
    pub(super) fn end(self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // It waits for nobody, and has said so itself if it panicked.
        let _ = self.thread.join();
    }
}

fn draw_until_over(shared: &Shared) {
    let is_over = || shared.is_over.load(Ordering::Acquire);
    let began = Instant::now();
    while began.elapsed() < GRACE {
        if is_over() {
            return;
        }
        thread::park_timeout(GRACE.saturating_sub(began.elapsed()));
    }
    let Ok(mut terminal) = take_screen() else {
        return;
    };
    let mut has_keys = true;
    let mut is_due = true;
    let mut state_drawn = None;
    while !is_over() {
        let state = shared.steer.status().state;
        is_due |= std::mem::take(&mut shared.seen().is_new) || Some(state) != state_drawn;
        // A terminal that has not taken the last drawing gets no further one.
        if is_due && NOTES.is_idle() {
            is_due = false;
            state_drawn = Some(state);
            // The terminal is gone, or was given back in a hurry.
            if !matches!(draw(&mut terminal, shared, state), Ok(true)) {
                return;
            }
        }
        let drawn = Instant::now();
        // A terminal whose keys cannot be read is still one to look at.
        while has_keys && !is_over() && drawn.elapsed() < REDRAW {
            match event::poll(REDRAW.saturating_sub(drawn.elapsed())) {
                Ok(true) => match event::read() {
                    Ok(event) => is_due |= asks_for_redraw(&event, &*shared.steer),
                    Err(_) => has_keys = false,
                },
                Ok(false) => {}
                Err(_) => has_keys = false,
            }
        }
        if !has_keys {
            thread::sleep(REDRAW.saturating_sub(drawn.elapsed()));
        }
    }
}

type Backend = ratatui::Terminal<CrosstermBackend<Buffered>>;

fn take_screen() -> io::Result<Backend> {
    let mut screen = screen();
    enable_raw_mode()?;
    screen.is_up = true;
    let mut out = Buffered::default();
    execute!(out, EnterAlternateScreen, Hide)?;
    ratatui::Terminal::new(CrosstermBackend::new(Buffered::default()))
}

/// Draws; `false` when the screen is no longer the view's.
fn draw(terminal: &mut Backend, shared: &Shared, state: RunState) -> io::Result<bool> {
    let (frame, points) = {
        let seen = shared.seen();
        (seen.frame.clone(), seen.points.clone())
    };
    let screen = screen();
    if !screen.is_up {
        return Ok(false);
    }
    let view = View {
        about: &shared.about,
        url: shared.url.as_deref(),
        state,
        frame: frame.as_ref(),
        points: &points,
        said: screen.said.last().map(String::as_str),
        theme: shared.theme,
    };
    terminal.draw(|f| view::draw(f, &view))?;
    Ok(true)
}

/// Does what a key says; whether the screen must be drawn afresh.
fn asks_for_redraw(event: &Event, steer: &dyn Steer) -> bool {
    let key = match event {
        Event::Resize(..) => return true,
        Event::Key(key) if key.kind == KeyEventKind::Press => key,
        _ => return false,
    };
    let has_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        // The terminal gives out keys as they are, so that it makes no signal of this one.
        KeyCode::Char('c') if has_ctrl => {
            let _ = signal_hook::low_level::raise(SIGINT);
        }
        KeyCode::Char('p') if !has_ctrl => {
            let done = if steer.status().state == RunState::Paused {
                steer.resume()
            } else {
                steer.pause()
            };
            if let Err(error) = done {
                say(&error.to_string());
            }
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::sample;
    use std::process::Command;

    /// Run by the test below, in a terminal.
    #[test]
    #[ignore = "takes the terminal and panics"]
    fn panics_while_the_view_is_up() {
        assert!(can_be_drawn_on());
        let theme = Theme { is_colored: true };
        let control: Arc<dyn Steer> = Arc::new(loadr_engine::Control::new(1));
        let view = Terminal::start(sample::about(), None, theme, &control, &[]).unwrap();
        view.see(sample::frame(1.0));
        let is_up = || screen().is_up;
        while !is_up() {
            thread::sleep(Duration::from_millis(10));
        }
        // Seen by the other test before it goes.
        thread::sleep(Duration::from_secs(2));
        say("said while the view was up");
        panic!("on purpose");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_with_its_message() {
        let folder = tempfile::tempdir().unwrap();
        let tmux = |args: &[&str]| {
            let output = Command::new("tmux")
                .arg("-S")
                .arg(folder.path().join("socket"))
                .args(args)
                .env_remove("TMUX")
                .env("LC_ALL", "C.UTF-8")
                .output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let open = [
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "100",
            "-y",
            "40",
            "sh",
        ];
        if tmux(&open).is_err() {
            eprintln!("skipped: tmux is missing (apt-get install tmux)");
            return;
        }
        let type_line = |line: &str| {
            let _ = tmux(&["send-keys", "-l", line]);
            let _ = tmux(&["send-keys", "Enter"]);
        };
        let wait_for = |text: &str| {
            let began = Instant::now();
            loop {
                let screen = tmux(&["capture-pane", "-p"]).unwrap();
                if screen.contains(text) || began.elapsed() > Duration::from_secs(60) {
                    return screen;
                }
                thread::sleep(Duration::from_millis(50));
            }
        };
        let exe = std::env::current_exe().unwrap();
        type_line(&format!(
            "RUST_BACKTRACE=0 {} --ignored --exact watch::terminal::tests::panics_while_the_view_is_up --nocapture; stty -a; echo done-$((1+1))",
            exe.display()
        ));
        let view = wait_for("Ctrl-C stops");
        assert!(view.contains("198,865"), "{view}");
        let after = wait_for("done-2");
        let flags = tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]).unwrap();
        let _ = tmux(&["kill-server"]);
        assert_eq!(flags.trim(), "0 1");
        assert!(
            after.contains("on purpose") && after.contains("said while"),
            "{after}"
        );
        let has = |mode| after.split([' ', ';', '\n']).any(|word| word == mode);
        assert!(has("icanon") && has("echo") && has("isig"), "{after}");
    }
}
