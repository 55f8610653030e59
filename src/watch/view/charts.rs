//! The three charts: requests, latency and virtual users, each with its figures of the last second above it.

use loadr_engine::figures::{count, duration, rate};
use ratatui::Frame as Canvas;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, RenderDirection, Sparkline};

use super::View;
use super::theme::BOLD;
use crate::watch::frame::{Latency, Point};

impl View<'_> {
    pub(super) fn draw_charts(&self, canvas: &mut Canvas<'_>, area: Rect) {
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
}

/// A rate, with its thousands apart as in all other counts of the view.
fn grouped(per_second: f64) -> String {
    if per_second < 1000.0 {
        rate(per_second)
    } else {
        count(per_second.round() as u64)
    }
}
