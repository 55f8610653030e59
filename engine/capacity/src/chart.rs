//! The report's pictures, as SVG: axes, ticks, and what is drawn between them. Colours are classes, which the page gives
//! for light and dark; shapes differ too, so that nothing depends on telling colours apart.

use std::fmt::Write;

use loadr_figures::{duration_apart, markup};

use crate::finding::{Finding, rate_text};
use crate::record::{Probe, Verdict};

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 52.0;

/// From figures to places.
struct Axis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    is_log: bool,
}

impl Axis {
    fn at(&self, x: f64) -> f64 {
        let part = if self.is_log {
            (x.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (x - self.from) / (self.to - self.from)
        };
        self.start + part.clamp(0.0, 1.0) * (self.end - self.start)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            let mut ticks = Vec::new();
            let (mut decade, all) = (
                10f64.powf(self.from.log10().floor()),
                (self.to / self.from).log10() < 3.0,
            );
            while decade <= self.to && ticks.len() < 40 {
                let parts: &[f64] = if all { &[1.0, 2.0, 5.0] } else { &[1.0] };
                ticks.extend(parts.iter().map(|part| part * decade));
                decade *= 10.0;
            }
            ticks.retain(|t| (self.from..=self.to).contains(t));
            return ticks;
        }
        let rough = (self.to - self.from) / 6.0;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .iter()
            .map(|m| m * decade)
            .find(|s| *s >= rough)
            .unwrap_or(rough);
        let first = (self.from / step).ceil() as i64;
        let last = (self.to / step).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

struct Frame {
    x: Axis,
    y: Axis,
    out: String,
}

impl Frame {
    fn new(
        id: &str,
        title: &str,
        description: &str,
        x: (f64, f64),
        y: (f64, f64),
        is_log: bool,
    ) -> Self {
        let mut out = String::new();
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
            markup(title),
            markup(description)
        );
        let axis = |(from, to), start, end, is_log| Axis {
            from,
            to,
            start,
            end,
            is_log,
        };
        Self {
            x: axis(x, LEFT, WIDTH - RIGHT, false),
            y: axis(y, HEIGHT - BOTTOM, TOP, is_log),
            out,
        }
    }

    fn axes(&mut self, x_name: &str, y_name: &str, y_text: fn(f64) -> String) {
        let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
        for tick in self.y.ticks() {
            let y = self.y.at(tick);
            let _ = write!(
                self.out,
                "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                y + 4.0,
                y_text(tick)
            );
        }
        for tick in self.x.ticks() {
            let x = self.x.at(tick);
            let _ = write!(
                self.out,
                "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 5.0,
                bottom + 20.0,
                rate_text(tick)
            );
        }
        let _ = write!(
            self.out,
            "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <text x=\"{:.0}\" y=\"{}\" text-anchor=\"middle\">{x_name}</text>\
             <text x=\"{}\" y=\"{}\">{y_name}</text>",
            f64::midpoint(left, right),
            HEIGHT - 10.0,
            6.0,
            top - 10.0
        );
    }

    fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let _ = write!(
                path,
                "{}{:.1} {:.1}",
                if i == 0 { "M" } else { "L" },
                self.x.at(*x),
                self.y.at(*y)
            );
        }
        let _ = write!(self.out, "<path class=\"{class}\" d=\"{path}\"/>");
    }

    fn across(&mut self, class: &str, y: f64, label: &str) {
        let at = self.y.at(y);
        let _ = write!(
            self.out,
            "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"label\" x=\"{}\" y=\"{:.1}\">{}</text>",
            WIDTH - RIGHT,
            LEFT + 6.0,
            at - 5.0,
            markup(label)
        );
    }

    fn down(&mut self, class: &str, x: f64, label: &str, row: usize) {
        let at = self.x.at(x);
        let is_right = at > WIDTH * 0.6;
        let _ = write!(
            self.out,
            "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{}</text>",
            HEIGHT - BOTTOM,
            if is_right { at - 6.0 } else { at + 6.0 },
            TOP + 12.0 + 15.0 * row as f64,
            if is_right { "end" } else { "start" },
            markup(label)
        );
    }

    fn band(&mut self, from: f64, to: f64) {
        let (a, b) = (self.x.at(from), self.x.at(to));
        let _ = write!(
            self.out,
            "<rect class=\"band\" x=\"{a:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"/>",
            (b - a).max(1.0),
            HEIGHT - BOTTOM - TOP
        );
    }

    /// A probe's shape: a disc held, a cross broke, a ring is not counted.
    fn mark(&mut self, probe: &Probe, (x, y): (f64, f64), says: &str) {
        let (x, y) = (self.x.at(x), self.y.at(y));
        let shape = match probe.verdict {
            Verdict::Held => {
                format!("<circle class=\"held\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>")
            }
            Verdict::Broke | Verdict::Dead => format!(
                "<path class=\"broke\" d=\"M{:.1} {:.1}l8 8m0 -8l-8 8\"/>",
                x - 4.0,
                y - 4.0
            ),
            Verdict::Generator => {
                format!("<circle class=\"uncounted\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>")
            }
        };
        let _ = write!(self.out, "<g>{shape}<title>{}</title></g>", markup(says));
    }

    fn end(mut self) -> String {
        self.out.push_str("</svg>");
        self.out
    }
}

/// Latency over rate: percentiles, objectives, the boundary's interval, the knee, the target. `None` without probes.
pub(crate) fn latency(finding: &Finding) -> Option<String> {
    let edge = finding
        .boundary
        .as_ref()
        .map_or(f64::INFINITY, |b| b.rate * 1.5);
    let probes: Vec<&Probe> = finding
        .probes
        .iter()
        .filter(|p| p.measured.requests > 0 && p.measured.latency.p50 > 0.0)
        .filter(|p| p.ask.rate <= edge)
        .collect();
    let most = probes.iter().map(|p| p.ask.rate).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let target = finding
        .headroom
        .as_ref()
        .map(|h| h.target_rate)
        .filter(|t| *t < most * 2.0);
    let right = target.unwrap_or(0.0).max(most) * 1.05;
    let bounds: Vec<f64> = finding
        .settings
        .slos
        .iter()
        .filter_map(|slo| slo.bound_ms)
        .collect();
    let lows = probes.iter().map(|p| p.measured.latency.p50);
    let low = lows
        .chain(bounds.iter().copied())
        .fold(f64::INFINITY, f64::min)
        / 1.6;
    let highs = probes.iter().map(|p| p.measured.latency.p99);
    let high = highs.chain(bounds.iter().copied()).fold(0.0, f64::max) * 1.6;
    let description = format!(
        "Response times of {} probes by rate, with a logarithmic axis. {}",
        probes.len(),
        finding.sentence
    );
    let mut frame = Frame::new(
        "latency",
        "Response time by rate",
        &description,
        (0.0, right),
        (low.max(1e-3), high.max(1e-2)),
        true,
    );
    if let Some(boundary) = &finding.boundary {
        frame.band(boundary.low, boundary.high);
    }
    frame.axes(
        "iterations a second",
        "response time from the due moment",
        duration_apart,
    );
    for slo in &finding.settings.slos {
        if let Some(bound) = slo.bound_ms {
            frame.across("slo", bound, &slo.text);
        }
    }
    let mut sorted: Vec<&&Probe> = probes
        .iter()
        .filter(|p| p.verdict != Verdict::Generator)
        .collect();
    sorted.sort_by(|a, b| a.ask.rate.total_cmp(&b.ask.rate));
    for (class, of) in [
        ("p50", (|p| p.measured.latency.p50) as fn(&Probe) -> f64),
        ("p99", |p| p.measured.latency.p99),
    ] {
        let points: Vec<(f64, f64)> = sorted.iter().map(|p| (p.ask.rate, of(p))).collect();
        frame.line(class, &points);
    }
    for probe in &probes {
        let l = &probe.measured.latency;
        let says = format!(
            "probe {}: {}/s, p50 {}, p99 {}",
            probe.ask.number,
            rate_text(probe.ask.rate),
            duration_apart(l.p50),
            duration_apart(l.p99)
        );
        frame.mark(probe, (probe.ask.rate, l.p99), &says);
    }
    if let Some(sustained) = &finding.sustained {
        let label = format!("sustained {}/s", rate_text(sustained.rate));
        frame.down("sustained", sustained.rate, &label, 0);
    }
    if let Some(knee) = finding.knee {
        let label = format!("knee {}/s", rate_text(knee.rate));
        frame.down("knee", knee.rate, &label, 1);
    }
    if let Some(target) = target {
        let label = format!("target {}/s", rate_text(target));
        frame.down("target", target, &label, 2);
    }
    Some(frame.end())
}

/// Throughput over concurrency, with the fitted law. `None` where it was not fitted.
pub(crate) fn scalability(finding: &Finding) -> Option<String> {
    let usl = finding.usl.as_ref()?;
    let probes: Vec<&Probe> = finding
        .probes
        .iter()
        .filter(|p| p.measured.concurrency > 0.0 && p.measured.throughput > 0.0)
        .filter(|p| p.measured.cut_off + p.measured.dropped == 0)
        .collect();
    let most = probes
        .iter()
        .map(|p| p.measured.concurrency)
        .fold(1.0, f64::max);
    let top = probes
        .iter()
        .map(|p| p.measured.throughput)
        .fold(1.0, f64::max);
    let mut frame = Frame::new(
        "usl",
        "Throughput by concurrency",
        &usl.sentence,
        (0.0, most * 1.05),
        (0.0, top * 1.15),
        false,
    );
    frame.axes("iterations in flight", "iterations a second", rate_text);
    let curve: Vec<(f64, f64)> = (1..=120)
        .map(|i| most * f64::from(i) / 120.0)
        .map(|n| {
            let below = 1.0 + usl.sigma.value * (n - 1.0) + usl.kappa.value * n * (n - 1.0);
            (n, usl.lambda.value * n / below.max(1e-9))
        })
        .collect();
    frame.line("p50", &curve);
    for probe in probes {
        let (n, x) = (probe.measured.concurrency, probe.measured.throughput);
        let says = format!("{n:.1} in flight: {}/s", rate_text(x));
        frame.mark(probe, (n, x), &says);
    }
    Some(frame.end())
}
