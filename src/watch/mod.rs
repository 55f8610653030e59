//! What shows a run while it goes on: a view of the terminal or a line a second, and a page. All of it lives on the
//! housekeeping side: a moment of the run is looked at once, and what is shown of it handed on to threads that stand aside
//! of the shards' cores.

mod frame;
mod line;
pub(crate) mod terminal;
mod view;
mod wanted;

use loadr_config::{Executor, Program};
use loadr_engine::figures::inert;
use loadr_engine::{Moment, Steer, Summary};
use serde::Serialize;
use std::sync::Arc;

use crate::page::{Page, UiArgs};
use crate::signals::Signals;
pub(crate) use frame::Frame;

/// What is known of a run before it begins.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct About {
    /// The plan's name; inert, as the others.
    name: String,
    scenarios: Vec<String>,
    /// What makes the load: its shards by their cores, or segments by their numbers; and what one of them is called.
    cores: Vec<usize>,
    core_is: &'static str,
    /// How long the schedule is at most.
    length_secs: Option<f64>,
    is_open: bool,
    /// Whether there is a number of virtual users, or a rate, that the plan or whoever steers the run wants.
    wants_vus: bool,
    wants_rate: bool,
}

impl About {
    fn of(program: &Program, cores: &[usize], core_is: &'static str) -> Self {
        Self {
            name: inert(&program.name),
            scenarios: program.scenarios.iter().map(|s| inert(&s.name)).collect(),
            cores: cores.to_vec(),
            core_is,
            length_secs: wanted::length(program),
            is_open: program.scenarios.iter().any(|s| s.executor.is_open()),
            wants_vus: program
                .scenarios
                .iter()
                .any(|s| !matches!(s.executor, Executor::ArrivalRate { .. })),
            wants_rate: program.scenarios.iter().any(|s| s.executor.is_open()),
        }
    }
}

/// Those that watch a run.
pub(crate) struct Watch {
    screen: Screen,
    page: Option<Page>,
    steer: Arc<dyn Steer>,
}

/// What is to be opened for those who watch.
pub(crate) struct Wanted<'a> {
    /// The page.
    pub(crate) ui: &'a UiArgs,
    pub(crate) is_quiet: bool,
    /// Lines instead of a view.
    pub(crate) has_lines: bool,
    pub(crate) is_colored: bool,
    /// What makes the load: cores of this machine, or segments of a fleet.
    pub(crate) rows: &'a [usize],
    pub(crate) row_is: &'static str,
    /// The shards' cores, which watching stays away from.
    pub(crate) cores: &'a [usize],
}

enum Screen {
    None,
    Lines,
    View(terminal::Terminal),
}

impl Watch {
    /// Opens what the arguments ask for.
    ///
    /// # Errors
    /// When the page cannot be served.
    pub(crate) fn start(
        wanted: &Wanted<'_>,
        program: &Program,
        steer: &Arc<dyn Steer>,
    ) -> Result<Self, String> {
        let about = About::of(program, wanted.rows, wanted.row_is);
        let page = wanted
            .ui
            .settings(wanted.is_quiet)?
            .map(|settings| Page::start(&settings, &about, steer, wanted.cores))
            .transpose()?;
        let url = page.as_ref().map(|page| page.url().to_owned());
        if let Some(url) = &url
            && !wanted.is_quiet
        {
            terminal::say(&format!("live page: {url}"));
        }
        let screen = if wanted.is_quiet {
            Screen::None
        } else if wanted.has_lines || !terminal::can_be_drawn_on() {
            Screen::Lines
        } else {
            let theme = view::Theme {
                is_colored: wanted.is_colored,
            };
            terminal::Terminal::start(about, url, theme, steer, wanted.cores)
                .map_or(Screen::Lines, Screen::View)
        };
        Ok(Self {
            screen,
            page,
            steer: Arc::clone(steer),
        })
    }

    /// Shows a moment.
    pub(crate) fn see(&mut self, moment: &Moment<'_>) {
        if matches!(self.screen, Screen::Lines) {
            line::write(moment.progress());
        }
        if self.page.is_none() && !matches!(self.screen, Screen::View(_)) {
            return;
        }
        let status = self.steer.status();
        let frame = Frame::of(moment, &status);
        if let Some(page) = &self.page {
            page.see(&frame, &status);
        }
        if let Screen::View(view) = &self.screen {
            view.see(frame);
        }
    }

    /// The run is over: the terminal is as it was, for what is printed next.
    pub(crate) fn end_screen(&mut self) {
        if let Screen::View(view) = std::mem::replace(&mut self.screen, Screen::None) {
            view.end();
        }
    }

    /// Nobody looks any more, and the run is not over: the page goes without an end.
    pub(crate) fn leave_page(&mut self) {
        self.page = None;
    }

    /// Shows the page's readers how the run ended.
    pub(crate) fn tell_page(&self, summary: &Summary) {
        if let Some(page) = &self.page {
            page.tell(summary);
        }
    }

    /// Waits until the page's readers have the end; with `--ui-keep` until a person ends it.
    pub(crate) fn end_page(&mut self, signals: &Signals) {
        if let Some(page) = self.page.take() {
            page.end(signals);
        }
    }
}

#[cfg(test)]
pub(crate) mod sample {
    //! Something to show.

    use super::About;
    use super::frame::{ErrorLine, Frame, Latency, Point, ShardPoint, ThresholdLine};
    use loadr_engine::{Control, RunState, Status};

    pub(crate) fn about() -> About {
        About {
            name: "shop".to_owned(),
            scenarios: vec!["buyers".to_owned()],
            cores: vec![4, 5],
            core_is: "core",
            length_secs: Some(60.0),
            is_open: false,
            wants_vus: true,
            wants_rate: false,
        }
    }

    pub(crate) fn frame(at_secs: f64) -> Frame {
        let latency = Latency {
            p50: 0.136,
            p90: 0.229,
            p95: 0.262,
            p99: 0.808,
            max: 11.9,
        };
        let shard = |cpu| ShardPoint {
            cpu,
            lag_p99_ms: 0.027,
            vus: 16,
        };
        Frame {
            point: Point {
                at_secs,
                rps: 198_865.0,
                iterations_ps: 99_432.0,
                iterations_wanted_ps: None,
                vus: 32,
                vus_wanted: Some(32),
                error_rate: 0.25,
                latency: Some(latency),
                response: None,
                shards: vec![shard(0.72), shard(0.97)],
            },
            left_secs: Some(60.0 - at_secs),
            share_done: at_secs / 60.0,
            requests: 994_468,
            failed: 12,
            iterations: 497_234,
            iterations_planned: None,
            dropped: None,
            vus_max: 32,
            errors: vec![ErrorLine {
                kind: "timeout".into(),
                count: 12,
                example: "no answer in 1s".to_owned(),
            }],
            thresholds: vec![
                ThresholdLine {
                    metric: "http_req_duration".to_owned(),
                    expression: "p(99)<250".to_owned(),
                    observed: Some(0.808),
                    passed: true,
                },
                ThresholdLine {
                    metric: "http_req_failed".to_owned(),
                    expression: "rate<0.01".to_owned(),
                    observed: Some(0.25),
                    passed: false,
                },
            ],
        }
    }

    pub(crate) fn status(state: RunState) -> Status {
        Status {
            state,
            ..Control::new(1).status()
        }
    }
}
