//! What the view of the terminal looks like: a function of what was seen of the run and the size of the screen.

use std::borrow::Cow;
use std::collections::VecDeque;

use loadr_engine::RunState;
use loadr_engine::figures::{count, duration, rate};
use ratatui::Frame as Canvas;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols;
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Block, BorderType, LineGauge, Paragraph, RenderDirection, Row, Sparkline, Table,
};

use super::About;
use super::frame::{Frame, Latency, Point};

/// On a smaller screen there are only the figures.
const BOXES_MIN: (u16, u16) = (60, 16);
/// Three lines of text, a chart of three, the frame around them.
const CHARTS_HEIGHT: u16 = 8;

/// How the view is painted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) is_colored: bool,
}

impl Theme {
    fn paint(self, color: Color) -> Style {
        if self.is_colored {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    fn good(self) -> Style {
        self.paint(Color::Green)
    }

    fn bad(self) -> Style {
        self.paint(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn warning(self) -> Style {
        self.paint(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    fn chart(self) -> Style {
        self.paint(Color::Cyan)
    }

    fn faint(self) -> Style {
        if self.is_colored {
            self.paint(Color::DarkGray)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
    }
}

/// So many characters of a threshold's metric are always shown.
const METRIC_MIN: usize = 6;
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

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

    fn draw_charts(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let columns: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3]).areas(area);
        let rps = |p: &Point| p.rps;
        self.draw_chart(
            canvas,
            columns[0],
            "requests/s",
            self.lines_of_requests(),
            rps,
        );
        let (title, p99): (_, fn(&Point) -> f64) = if self.about.is_open {
            ("response p99", |p| p.response.map_or(0.0, |l| l.p99))
        } else {
            ("latency p99", |p| p.latency.map_or(0.0, |l| l.p99))
        };
        self.draw_chart(canvas, columns[1], title, self.lines_of_latency(), p99);
        let vus = |p: &Point| f64::from(p.vus);
        self.draw_chart(
            canvas,
            columns[2],
            "virtual users",
            self.lines_of_users(),
            vus,
        );
    }

    /// Text above the seconds of one figure, the latest at the right.
    fn draw_chart(
        &self,
        canvas: &mut Canvas<'_>,
        area: Rect,
        title: &str,
        lines: Vec<Line<'_>>,
        figure: impl Fn(&Point) -> f64,
    ) {
        let block = self.boxed(title);
        let inner = block.inner(area);
        canvas.render_widget(block, area);
        let [text, chart] =
            Layout::vertical([Constraint::Length(lines.len() as u16), Constraint::Min(0)])
                .areas(inner);
        canvas.render_widget(Paragraph::new(lines), text);
        let newest_first = self.points.iter().rev().take(chart.width.into());
        // In thousandths, because a bar is a whole number.
        let data: Vec<u64> = newest_first.map(|p| (figure(p) * 1e3) as u64).collect();
        let bars = Sparkline::default()
            .direction(RenderDirection::RightToLeft)
            .style(self.theme.chart())
            .data(data);
        canvas.render_widget(bars, chart);
    }

    fn lines_of_requests(&self) -> Vec<Line<'static>> {
        let Some(frame) = self.frame else {
            return vec![Line::raw("-"), Line::raw(""), Line::raw("")];
        };
        let failed = format!(
            "{} failed, {:.2} % now",
            count(frame.failed),
            frame.point.error_rate * 100.0
        );
        let style = if frame.failed > 0 {
            self.theme.bad()
        } else {
            self.theme.good()
        };
        vec![
            Line::styled(count(frame.point.rps.round() as u64), BOLD),
            Line::raw(format!("{} in all", count(frame.requests))),
            Line::styled(failed, style),
        ]
    }

    fn lines_of_latency(&self) -> Vec<Line<'static>> {
        let pair = |a: (&str, f64), b: (&str, f64)| {
            Line::from(vec![
                Span::styled(format!("{} ", a.0), self.theme.faint()),
                Span::raw(format!("{:<7} ", duration(a.1))),
                Span::styled(format!("{} ", b.0), self.theme.faint()),
                Span::raw(duration(b.1)),
            ])
        };
        let last = self.frame.map(|frame| &frame.point);
        let main = |p: &Point| {
            if self.about.is_open {
                p.response
            } else {
                p.latency
            }
        };
        let Some(l) = last.and_then(main) else {
            return vec![Line::raw("nothing finished"), Line::raw(""), Line::raw("")];
        };
        let service = last.and_then(|p| p.latency).unwrap_or(l);
        let Latency {
            p50,
            p90,
            p95,
            p99,
            max,
        } = l;
        let third = if self.about.is_open {
            pair(("max", max), ("service p99", service.p99))
        } else {
            Line::from(vec![
                Span::styled("max ", self.theme.faint()),
                Span::raw(duration(max)),
            ])
        };
        vec![
            pair(("p50", p50), ("p90", p90)),
            pair(("p95", p95), ("p99", p99)),
            third,
        ]
    }

    fn lines_of_users(&self) -> Vec<Line<'static>> {
        let Some(frame) = self.frame else {
            return vec![Line::raw("-"), Line::raw(""), Line::raw("")];
        };
        let p = &frame.point;
        let now = Span::styled(count(p.vus.into()), BOLD);
        let of = match p.vus_wanted {
            Some(wanted) => format!(" of {} wanted", count(wanted.into())),
            None => format!(" of {} at most", count(frame.vus_max.into())),
        };
        let iterations = match p.iterations_wanted_ps {
            Some(wanted) => format!("{} of {} iter/s", grouped(p.iterations_ps), grouped(wanted)),
            None => format!("{} iter/s", grouped(p.iterations_ps)),
        };
        let dropped = match frame.dropped {
            Some(0) => Line::styled("0 dropped", self.theme.good()),
            Some(n) => Line::styled(format!("{} dropped", count(n)), self.theme.bad()),
            None => Line::raw(format!("{} iterations", count(frame.iterations))),
        };
        vec![
            Line::from(vec![now, Span::raw(of)]),
            Line::raw(iterations),
            dropped,
        ]
    }

    /// Shards beside thresholds and errors.
    fn draw_rest(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let [left, right] =
            Layout::horizontal([Constraint::Length(46), Constraint::Min(0)]).areas(area);
        if right.width < 30 {
            let shards = (self.about.cores.len() as u16 + 3).min(area.height.div_ceil(2));
            let [top, bottom] =
                Layout::vertical([Constraint::Length(shards), Constraint::Min(0)]).areas(area);
            self.draw_shards(canvas, top);
            self.draw_judgements(canvas, bottom);
        } else {
            self.draw_shards(canvas, left);
            self.draw_judgements(canvas, right);
        }
    }

    fn draw_shards(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let is_fleet = self.about.core_is != "core";
        let block = self.boxed(if is_fleet { "segments" } else { "shards" });
        let room = usize::from(block.inner(area).height.saturating_sub(1));
        let shards = self.frame.map_or(&[][..], |frame| &frame.point.shards);
        let mut order: Vec<usize> = (0..shards.len()).collect();
        // Where there is no room for all, the busiest are what one wants to see.
        if order.len() > room {
            order.sort_by(|&a, &b| shards[b].cpu.total_cmp(&shards[a].cpu));
            order.truncate(room);
        }
        let bar_width = 16;
        let rows = order.into_iter().map(|index| {
            let shard = &shards[index];
            let full = (shard.cpu * f64::from(bar_width)).round() as usize;
            let style = if shard.cpu > 0.95 {
                self.theme.warning()
            } else {
                self.theme.chart()
            };
            let bar = Line::from(vec![
                Span::styled("█".repeat(full), style),
                Span::styled("░".repeat(bar_width as usize - full), self.theme.faint()),
                Span::raw(format!("{:>4.0} %", shard.cpu * 100.0)),
            ]);
            let core = self.about.cores.get(index).copied().unwrap_or(index);
            Row::new(vec![
                Line::raw(core.to_string()).right_aligned(),
                bar,
                Line::raw(duration(shard.lag_p99_ms)).right_aligned(),
                Line::raw(count(shard.vus.into())).right_aligned(),
            ])
        });
        let widths = [
            Constraint::Length(self.about.core_is.len() as u16),
            Constraint::Length(22),
            Constraint::Length(8),
            Constraint::Length(6),
        ];
        let head = Row::new(vec![
            Line::raw(self.about.core_is).right_aligned(),
            Line::raw("CPU"),
            Line::raw("lag p99").right_aligned(),
            Line::raw("VUs").right_aligned(),
        ])
        .style(self.theme.faint());
        let hidden = shards.len().saturating_sub(room);
        let block = if hidden > 0 {
            block.title_bottom(format!(" {hidden} less busy ones "))
        } else {
            block
        };
        canvas.render_widget(Table::new(rows, widths).header(head).block(block), area);
    }

    fn draw_judgements(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let thresholds = self.frame.map_or(&[][..], |frame| &frame.thresholds);
        let errors = self.frame.map_or(&[][..], |frame| &frame.errors);
        let lines: Vec<Line<'_>> = thresholds
            .iter()
            .map(|t| {
                let mark = if t.passed {
                    Span::styled("✓ ", self.theme.good())
                } else {
                    Span::styled("✗ ", self.theme.bad())
                };
                let observed = t
                    .observed
                    .map_or_else(|| "no samples".to_owned(), |value| format!("{value:.3}"));
                // Of what has no room for all of it, the metric's end is what is missed least.
                let beside = format!("✓ : {}  {observed}", t.expression);
                let room = usize::from(area.width.saturating_sub(2))
                    .saturating_sub(beside.chars().count());
                let metric = shortened(&t.metric, room.max(METRIC_MIN));
                Line::from(vec![
                    mark,
                    Span::raw(format!("{metric}: {}", t.expression)),
                    Span::styled(format!("  {observed}"), self.theme.faint()),
                ])
            })
            .collect();
        // Both have a part of the room, and what one leaves goes to the other.
        let wanted = (lines.len() as u16).saturating_add(2);
        let wanted = if lines.is_empty() { 0 } else { wanted };
        let errors_wanted = (errors.len().max(1) as u16).saturating_add(2);
        let half = area.height / 2;
        let top = wanted.min(half.max(area.height.saturating_sub(errors_wanted)));
        let [top, bottom] =
            Layout::vertical([Constraint::Length(top), Constraint::Min(0)]).areas(area);
        if !lines.is_empty() {
            self.draw_list(canvas, top, "thresholds", lines);
        }
        let lines = if errors.is_empty() {
            // A status from 400 on fails a request and is no error of its own.
            let text = match self.frame.map_or(0, |frame| frame.failed) {
                0 => "none".to_owned(),
                failed => format!("none; {} failed by their status", count(failed)),
            };
            vec![Line::styled(text, self.theme.faint())]
        } else {
            let of = |e: &'_ super::frame::ErrorLine| {
                Line::from(vec![
                    Span::raw(format!("{} × ", count(e.count))),
                    Span::styled(e.kind.clone(), self.theme.bad()),
                    Span::raw(format!("  {}", e.example)),
                ])
            };
            errors.iter().map(of).collect()
        };
        self.draw_list(canvas, bottom, "errors", lines);
    }

    /// As many lines as there is room for; the frame says how many more there are.
    fn draw_list(&self, canvas: &mut Canvas<'_>, area: Rect, title: &str, lines: Vec<Line<'_>>) {
        let mut block = self.boxed(title);
        let room = usize::from(block.inner(area).height);
        if lines.len() > room {
            block = block.title_bottom(format!(" {} more ", lines.len() - room));
        }
        canvas.render_widget(Paragraph::new(lines).block(block), area);
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

/// A rate, with its thousands apart as in all other counts of the view.
fn grouped(per_second: f64) -> String {
    if per_second < 1000.0 {
        rate(per_second)
    } else {
        count(per_second.round() as u64)
    }
}

/// At most so many characters of a text, with a mark where some are missing.
fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if text.chars().count() <= max {
        return text.into();
    }
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    format!("{kept}…").into()
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
