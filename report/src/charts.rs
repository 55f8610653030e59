//! The charts' data, for the page's script: lines over time, and percentile curves.

use loadr_engine::{Point, Summary};
use serde_json::{Value, json};

/// The most points of a line: more than a screen has columns for.
const POINTS_MAX: usize = 1200;

/// A run as it is drawn.
pub(crate) struct Run<'s> {
    /// What the legend calls it, when there are two.
    pub(crate) label: &'static str,
    pub(crate) summary: &'s Summary,
}

/// One point of a chart, which may be of several seconds.
struct Spot {
    t: f64,
    rps: f64,
    iterations: f64,
    vus: f64,
    errors: f64,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

/// What of a point is drawn.
type Pick<'a> = &'a dyn Fn(&Spot) -> Option<f64>;
/// A line's name, its colour, and what it is of.
type LineOf<'a> = (&'a str, &'a str, Pick<'a>);

/// How many points of the timeline are one of the chart.
pub(crate) fn points_per_spot(summary: &Summary) -> usize {
    summary.timeline.len().div_ceil(POINTS_MAX).max(1)
}

/// Means of what is per second; of latencies the largest, so that no peak is hidden.
fn spots(summary: &Summary) -> Vec<Spot> {
    let spot = |points: &[Point]| {
        let n = points.len() as f64;
        let mean = |f: fn(&Point) -> f64| points.iter().map(f).sum::<f64>() / n;
        let most = |f: fn(&Point) -> Option<f64>| points.iter().filter_map(f).reduce(f64::max);
        let rps = mean(|p| p.rps);
        Spot {
            t: points.last().map_or(0.0, |p| p.elapsed_secs),
            rps,
            iterations: mean(|p| p.iterations_ps),
            vus: points.iter().map(|p| p.active_vus).fold(0.0, f64::max),
            errors: if rps > 0.0 {
                mean(|p| p.error_rate * p.rps) / rps * 100.0
            } else {
                0.0
            },
            p50: most(|p| p.latency_p50),
            p95: most(|p| p.latency_p95),
            p99: most(|p| p.latency_p99),
        }
    };
    summary
        .timeline
        .chunks(points_per_spot(summary))
        .map(spot)
        .collect()
}

/// What the script reads.
pub(crate) fn data(runs: &[Run<'_>]) -> Value {
    json!({ "charts": charts(runs) })
}

fn charts(runs: &[Run<'_>]) -> Vec<Value> {
    let drawn: Vec<(&Run<'_>, Vec<Spot>)> =
        runs.iter().map(|run| (run, spots(run.summary))).collect();
    let is_one = runs.len() == 1;
    let line = |name: &str, color: &str, spots: &[Spot], f: Pick<'_>| {
        let x: Vec<Value> = spots.iter().map(|spot| short(Some(spot.t))).collect();
        let y: Vec<Value> = spots.iter().map(|spot| short(f(spot))).collect();
        json!({ "name": name, "color": color, "x": x, "y": y })
    };
    // One run: its lines. Two: the same line of both.
    let over_time = |id: &str, unit: &str, lines: &[LineOf<'_>]| {
        let lines: Vec<Value> = if is_one {
            let spots = drawn.first().map_or(&[][..], |(_, spots)| spots);
            lines
                .iter()
                .map(|(name, color, f)| line(name, color, spots, f))
                .collect()
        } else {
            let both = drawn.iter().zip(["a", "b"]);
            let mut all = Vec::new();
            for ((run, spots), color) in both {
                all.extend(
                    lines
                        .iter()
                        .map(|(_, _, f)| line(run.label, color, spots, f)),
                );
            }
            all
        };
        json!({ "id": id, "unit": unit, "scale": "time", "lines": lines })
    };
    let rps: Pick<'_> = &|spot| Some(spot.rps);
    let iterations: Pick<'_> = &|spot| Some(spot.iterations);
    let p50: Pick<'_> = &|spot| spot.p50;
    let p95: Pick<'_> = &|spot| spot.p95;
    let p99: Pick<'_> = &|spot| spot.p99;
    let vus: Pick<'_> = &|spot| Some(spot.vus);
    let errors: Pick<'_> = &|spot| Some(spot.errors);
    let mut all = if is_one {
        vec![
            over_time(
                "rps",
                "/s",
                &[("requests", "a", rps), ("iterations", "b", iterations)],
            ),
            over_time(
                "latency",
                "ms",
                &[("p50", "q1", p50), ("p95", "q2", p95), ("p99", "q3", p99)],
            ),
        ]
    } else {
        vec![
            over_time("rps", "/s", &[("", "", rps)]),
            over_time("p50", "ms", &[("", "", p50)]),
            over_time("p99", "ms", &[("", "", p99)]),
        ]
    };
    all.push(over_time("vus", "", &[("virtual users", "a", vus)]));
    all.push(over_time(
        "errors",
        "%",
        &[("failed requests", "bad", errors)],
    ));
    all.push(curves(runs));
    all
}

/// Which metrics have a curve, and what it is called.
const CURVES: [(&str, &str, &str); 2] = [
    ("http_req_duration", "service time", "a"),
    ("http_req_response", "from when it was due", "b"),
];

fn curves(runs: &[Run<'_>]) -> Value {
    let mut lines = Vec::new();
    for (run, color) in runs.iter().zip(["a", "b"]) {
        let distribution = &run.summary.distribution;
        let service = distribution.metrics.get(CURVES[0].0);
        for (metric, name, own_color) in CURVES {
            let Some(values) = distribution.metrics.get(metric) else {
                continue;
            };
            // In a closed model the two are the same.
            let is_second = metric != CURVES[0].0;
            if is_second && (runs.len() > 1 || Some(values) == service) {
                continue;
            }
            let count = run
                .summary
                .metric(metric)
                .and_then(|agg| agg.count)
                .unwrap_or(0);
            // Closer to 100 % than one in all there is only the maximum.
            let last = 100.0 - 100.0 / (count as f64).max(1.0);
            let points = distribution.percentiles.iter().zip(values);
            let within: Vec<_> = points.filter(|(p, _)| **p <= last || **p == 0.0).collect();
            lines.push(json!({
                "name": if runs.len() > 1 { run.label } else { name },
                "color": if runs.len() > 1 { color } else { own_color },
                "x": within.iter().map(|(p, _)| **p).collect::<Vec<f64>>(),
                "y": within.iter().map(|(_, value)| short(Some(**value))).collect::<Vec<_>>(),
            }));
        }
    }
    json!({ "id": "percentiles", "unit": "ms", "scale": "percentile", "lines": lines })
}

/// Five significant digits are more than a screen shows.
fn short(value: Option<f64>) -> Value {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return Value::Null;
    };
    if value == 0.0 {
        return json!(0);
    }
    let scale = 10f64.powf(4.0 - value.abs().log10().floor());
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() {
        json!(rounded)
    } else {
        json!(value)
    }
}
