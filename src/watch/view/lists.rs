//! The boxes below the charts: shards, thresholds, errors. Each is a list that may be longer than its room.

use std::borrow::Cow;

use loadr_engine::figures::{count, duration};
use ratatui::Frame as Canvas;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};

use super::View;
use crate::watch::frame::ErrorLine;

/// So many characters of a threshold's metric are always shown.
const METRIC_MIN: usize = 6;

impl View<'_> {
    /// Shards beside thresholds and errors.
    pub(super) fn draw_rest(&self, canvas: &mut Canvas<'_>, area: Rect) {
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
            let of = |e: &'_ ErrorLine| {
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
}

/// At most so many characters of a text, with a mark where some are missing.
fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if text.chars().count() <= max {
        return text.into();
    }
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    format!("{kept}…").into()
}
