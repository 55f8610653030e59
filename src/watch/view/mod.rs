//! What the view of the terminal looks like: a function of what was seen of the run and the size of the screen.

mod charts;
mod lists;
mod theme;

use std::collections::VecDeque;

use loadr_engine::RunState;
use loadr_engine::figures::{count, duration};
use ratatui::Frame as Canvas;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::symbols;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, LineGauge, Paragraph};

use self::theme::BOLD;
pub(super) use self::theme::Theme;
use super::About;
use super::frame::{Frame, Point};

/// On a smaller screen there are only the figures.
const BOXES_MIN: (u16, u16) = (60, 16);
/// Three lines of text, a chart of three, the frame around them.
const CHARTS_HEIGHT: u16 = 8;

/// What is drawn.
pub(super) struct View<'a> {
    pub(super) about: &'a About,
    /// Of the page.
    pub(super) url: Option<&'a str>,
    pub(super) state: RunState,
    /// The latest second.
    pub(super) frame: Option<&'a Frame>,
    /// The latest seconds, oldest first.
    pub(super) points: &'a VecDeque<Point>,
    /// The last thing that was said to the person.
    pub(super) said: Option<&'a str>,
    pub(super) theme: Theme,
}

/// Draws the view on whatever room there is.
pub(super) fn draw(canvas: &mut Canvas<'_>, view: &View<'_>) {
    let area = canvas.area();
    if area.width < BOXES_MIN.0 || area.height < BOXES_MIN.1 {
        return view.draw_figures(canvas, area);
    }
    let [head, bar, charts, rest, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(CHARTS_HEIGHT),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    view.draw_head(canvas, head);
    view.draw_bar(canvas, bar);
    view.draw_charts(canvas, charts);
    view.draw_rest(canvas, rest);
    view.draw_foot(canvas, foot);
}

impl View<'_> {
    fn state(&self) -> Span<'static> {
        match self.state {
            RunState::Starting => Span::styled(" starting ", BOLD),
            RunState::Running => Span::styled(" running ", self.theme.good()),
            RunState::Paused => Span::styled(" paused ", self.theme.warning()),
            RunState::Stopping => Span::styled(" stopping ", self.theme.warning()),
            RunState::Ended => Span::styled(" ended ", BOLD),
        }
    }

    fn clock(&self) -> String {
        let secs = |secs: f64| {
            let secs = secs.round().max(0.0) as u64;
            match (secs / 3600, secs / 60 % 60, secs % 60) {
                (0, 0, s) => format!("{s}s"),
                (0, m, s) => format!("{m}m{s:02}s"),
                (h, m, s) => format!("{h}h{m:02}m{s:02}s"),
            }
        };
        let Some(frame) = self.frame else {
            return self
                .about
                .length_secs
                .map_or_else(String::new, |all| format!("at most {}", secs(all)));
        };
        let at = secs(frame.point.at_secs);
        match (frame.iterations_planned, frame.left_secs) {
            // What is left of the plan is not what is waited for any more.
            _ if self.state == RunState::Stopping => at,
            (Some(all), _) => format!(
                "{at} · {} of {} iterations",
                count(frame.iterations),
                count(all)
            ),
            (None, None) => format!("{at} · until it is stopped"),
            (None, Some(left)) if left > 0.0 => format!("{at} · {} left", secs(left)),
            (None, Some(_)) => format!("{at} · the last iterations may finish"),
        }
    }

    fn draw_head(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let scenarios = match self.about.scenarios.as_slice() {
            [one] => format!(" · scenario {one}"),
            many => format!(" · {} scenarios", many.len()),
        };
        let right = Line::from(vec![self.state(), Span::raw(self.clock()), Span::raw(" ")]);
        let [left_area, right_area] =
            Layout::horizontal([Constraint::Min(0), Constraint::Length(right.width() as u16)])
                .areas(area);
        let left = Line::from(vec![
            Span::raw(" "),
            Span::styled(self.about.name.as_str(), BOLD),
            Span::raw(scenarios),
        ]);
        canvas.render_widget(left, left_area);
        canvas.render_widget(right, right_area);
    }

    fn draw_bar(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let share = self.frame.map_or(0.0, |frame| frame.share_done);
        let [_, area, _] = Layout::horizontal([
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(area);
        let bar = LineGauge::default()
            .ratio(share)
            .filled_symbol(symbols::line::THICK_HORIZONTAL)
            .unfilled_symbol(symbols::line::HORIZONTAL)
            .filled_style(self.theme.chart())
            .unfilled_style(self.theme.faint());
        canvas.render_widget(bar, area);
    }

    fn boxed(&self, title: &str) -> Block<'static> {
        Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(self.theme.faint())
            .title(Span::styled(format!(" {title} "), BOLD))
    }

    fn draw_foot(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let keys = match self.state {
            RunState::Stopping => " Ctrl-C once more stops at once",
            RunState::Paused => " Ctrl-C stops · p goes on",
            _ => " Ctrl-C stops · p pauses",
        };
        let right = match (self.said, self.url) {
            (Some(said), _) => Line::styled(said.trim(), self.theme.warning()),
            (None, Some(url)) => Line::from(vec![
                Span::styled("live page: ", self.theme.faint()),
                Span::raw(url),
            ]),
            (None, None) => Line::default(),
        };
        let [left, right_area] = Layout::horizontal([
            Constraint::Length(keys.len() as u16 + 2),
            Constraint::Min(0),
        ])
        .areas(area);
        canvas.render_widget(Line::styled(keys, self.theme.faint()), left);
        // What has no room is cut at its end, never at its beginning.
        let has_room = right.width() <= usize::from(right_area.width);
        let right = if has_room {
            right.right_aligned()
        } else {
            right
        };
        canvas.render_widget(right, right_area);
    }

    /// The figures that matter most, as many as there is room for.
    fn draw_figures(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let mut lines = vec![Line::from(vec![self.state(), Span::raw(self.clock())])];
        if let Some(frame) = self.frame {
            let failed = format!(
                " {} of {} failed",
                count(frame.failed),
                count(frame.requests)
            );
            let failed_style = if frame.failed > 0 {
                self.theme.bad()
            } else {
                Style::new()
            };
            lines.push(Line::raw(format!(
                " {} req/s",
                count(frame.point.rps.round() as u64)
            )));
            if let Some(l) = frame.point.response.or(frame.point.latency) {
                let text = format!(" p50 {} p99 {}", duration(l.p50), duration(l.p99));
                lines.push(Line::raw(text));
            }
            lines.push(Line::styled(failed, failed_style));
            lines.push(Line::raw(format!(" {} VUs", count(frame.point.vus.into()))));
            let busiest = frame.point.shards.iter().map(|s| s.cpu).fold(0.0, f64::max);
            lines.push(Line::raw(format!(" busiest core {:.0} %", busiest * 100.0)));
            let missed = frame.thresholds.iter().filter(|t| !t.passed).count();
            if missed > 0 {
                let text = format!(" {missed} thresholds fail");
                lines.push(Line::styled(text, self.theme.bad()));
            }
        }
        canvas.render_widget(Paragraph::new(lines), area);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::sample;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(width: u16, height: u16, frame: Option<&Frame>, state: RunState) -> String {
        let points: VecDeque<Point> = frame.map(|f| f.point.clone()).into_iter().collect();
        let view = View {
            about: &sample::about(),
            url: Some("http://127.0.0.1:7070/"),
            state,
            frame,
            points: &points,
            said: None,
            theme: Theme { is_colored: true },
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|canvas| draw(canvas, &view)).unwrap();
        // A screen without width has no lines to show.
        if width == 0 {
            return String::new();
        }
        terminal.backend().to_string()
    }

    #[test]
    fn every_figure_has_its_place_on_a_usual_screen() {
        let frame = sample::frame(12.0);
        let screen = drawn(100, 30, Some(&frame), RunState::Running);
        for text in [
            "shop · scenario buyers",
            "running 12s · 48s left",
            "198,865",
            "994,468 in all",
            "12 failed, 25.00 % now",
            "p50 136µs",
            "p99 808µs",
            "32 of 32 wanted",
            "97 %",
            "27.0µs",
            "✓ http_req_duration: p(99)<250  0.808",
            "✗ http_req_failed: rate<0.01  0.250",
            "12 × timeout  no answer in 1s",
            "live page: http://127.0.0.1:7070/",
        ] {
            assert!(screen.contains(text), "`{text}`:\n{screen}");
        }
        assert!(drawn(100, 30, None, RunState::Starting).contains("starting"));
        assert!(
            drawn(100, 30, Some(&frame), RunState::Stopping).contains("once more stops at once")
        );
        assert!(!drawn(100, 30, Some(&frame), RunState::Stopping).contains("left"));
    }

    #[test]
    fn eighty_columns_have_room_for_what_thresholds_saw() {
        let screen = drawn(80, 24, Some(&sample::frame(12.0)), RunState::Running);
        for text in [
            "http_req_du…: p(99)<250  0.808│",
            "http_req_fa…: rate<0.01  0.250│",
        ] {
            assert!(screen.contains(text), "`{text}`:\n{screen}");
        }
        assert!(screen.contains("99,432 iter/s"), "{screen}");
    }

    #[test]
    fn a_small_screen_has_the_figures_that_matter() {
        let screen = drawn(40, 10, Some(&sample::frame(12.0)), RunState::Running);
        for text in [
            "198,865 req/s",
            "p99 808µs",
            "12 of 994,468 failed",
            "1 thresholds fail",
        ] {
            assert!(screen.contains(text), "`{text}`:\n{screen}");
        }
    }

    #[test]
    fn no_size_is_too_small_or_too_large() {
        let mut frame = sample::frame(3.0);
        // More of everything than there is room for.
        frame.point.shards = vec![frame.point.shards[0]; 64];
        frame.errors = vec![frame.errors[0].clone(); 30];
        for width in (0..70).chain([80, 200]) {
            for height in (0..30).chain([60]) {
                drawn(width, height, Some(&frame), RunState::Running);
                drawn(width, height, None, RunState::Stopping);
            }
        }
        let screen = drawn(100, 24, Some(&frame), RunState::Running);
        assert!(screen.contains("less busy ones"), "{screen}");
    }
}
