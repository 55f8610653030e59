//! The JSON Schema (2020-12) of the result file. A test holds the two together.

use serde_json::{Value, json};

/// The schema.
#[must_use]
pub fn schema() -> Value {
    let number = || json!({ "type": "number" });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let text = || json!({ "type": "string" });
    let or_null = |of: Value| json!({ "anyOf": [of, { "type": "null" }] });
    let list = |of: Value| json!({ "type": "array", "items": of });
    let parameter = object(&[
        ("value", number(), "The estimate"),
        ("uncertainty", number(), "Half of its 95 % interval"),
    ]);
    let share = object(&[
        (
            "bad",
            count(),
            "Requests that are not as the objective wants them",
        ),
        ("of", count(), "All"),
    ]);
    let ms = || json!({ "type": "number", "minimum": 0 });
    let latency = object(&[
        ("mean", ms(), "In milliseconds, as all here"),
        ("p50", ms(), "Median"),
        ("p90", ms(), "90th percentile"),
        ("p95", ms(), "95th percentile"),
        ("p99", ms(), "99th percentile"),
        ("p999", ms(), "99.9th percentile"),
        ("max", ms(), "Largest"),
    ]);
    let measured = object(&[
        (
            "shares",
            list(share),
            "By objective, in the order of the settings",
        ),
        ("secs", number(), "Judged seconds"),
        ("iterations", count(), "Iterations that ended"),
        ("requests", count(), "Requests that ended"),
        ("dropped", count(), "Iterations that were due and not made"),
        ("cut_off", count(), "Iterations that the drain cut off"),
        ("throughput", number(), "Iterations that ended, a second"),
        ("latency", latency, "From the due moment"),
        (
            "concurrency",
            number(),
            "Iterations in flight, by rate and time",
        ),
        (
            "concurrency_counted",
            or_null(number()),
            "The same, counted",
        ),
        (
            "generator",
            list(text()),
            "Why the generator may have been the bottleneck",
        ),
        (
            "spoilt",
            count(),
            "Requests that the generator may have made fail",
        ),
        (
            "errors",
            list(
                json!({ "type": "array", "prefixItems": [text(), count()], "items": false, "minItems": 2 }),
            ),
            "Kinds and how often",
        ),
        (
            "is_answering",
            json!({ "type": "boolean" }),
            "Whether anything was answered",
        ),
    ]);
    let ask = object(&[
        ("number", count(), "From 1"),
        (
            "phase",
            json!({ "enum": ["double", "close_in", "repeat", "confirm"] }),
            "What it is for",
        ),
        ("rate", number(), "Iterations started each second"),
        ("warm_up_secs", count(), "Seconds that are not judged"),
        ("judged_secs", count(), "Seconds that are"),
    ]);
    let probe = object(&[
        ("ask", ask, "What was asked"),
        ("measured", measured, "What came of it"),
        (
            "verdict",
            json!({ "enum": ["held", "broke", "generator", "dead"] }),
            "What that says; `generator` says nothing of the system",
        ),
        (
            "broken",
            list(count()),
            "Objectives that did not hold, by place",
        ),
        (
            "spoilt",
            list(count()),
            "Those of them that the generator may have broken",
        ),
        (
            "abandoned",
            or_null(text()),
            "Why it was ended before its time",
        ),
    ]);
    let slo = object(&[
        ("text", text(), "As it is written"),
        ("allowed", number(), "The share that may be bad"),
        ("percentile", or_null(number()), "Of one on durations"),
        ("bound_ms", or_null(number()), "Of one on durations"),
        (
            "is_implied",
            json!({ "type": "boolean" }),
            "Whether nobody asked for it",
        ),
    ]);
    let settings = object(&[
        ("slos", list(slo), "What must hold"),
        ("min_rate", number(), "The first rate"),
        ("max_rate", number(), "The highest that is tried"),
        (
            "precision",
            number(),
            "Half the interval's width that is good enough, as a share",
        ),
        ("step_secs", count(), "Judged seconds of a probe"),
        (
            "confirm_secs",
            count(),
            "Judged seconds of the one that confirms",
        ),
        ("probes_max", count(), "The most before it settles"),
    ]);
    let mut root = object(&[
        ("format", json!({ "const": 1 }), "The version of this shape"),
        ("kind", json!({ "const": "capacity" }), "What the file is"),
        ("plan", text(), "The plan's name"),
        ("plan_hash", text(), "Its fingerprint"),
        ("scenario", text(), "Whose flow was driven"),
        ("seed", count(), "Of all random choices"),
        ("started_ms", count(), "Milliseconds since 1970"),
        ("ended_ms", count(), "Milliseconds since 1970"),
        ("notes", list(text()), "What is worth knowing"),
        (
            "ended",
            json!({ "enum": ["found", "fails_at_lowest", "nothing_breaks", "target_down", "target_gone", "not_confirmed",
                             "limited_by_generator", "interrupted", "error"] }),
            "How the search ended",
        ),
        ("exit_code", count(), "What the process exits with"),
        ("sentence", text(), "The paragraph for people"),
        ("settings", settings, "What the search was told"),
        (
            "sustained",
            or_null(object(&[
                ("rate", number(), "Iterations a second"),
                ("requests_per_sec", number(), "Requests a second"),
                ("secs", count(), "For how long it was held"),
                ("probe", count(), "In which probe"),
            ])),
            "The rate that was confirmed",
        ),
        (
            "boundary",
            or_null(object(&[
                ("rate", number(), "From where on an objective breaks"),
                ("low", number(), "The interval's lower end"),
                ("high", number(), "Its upper end"),
                (
                    "confidence",
                    number(),
                    "How often such an interval holds the truth",
                ),
                ("slo", text(), "The objective that breaks first"),
                (
                    "dispersion",
                    number(),
                    "How much more than independent requests the shares vary",
                ),
                ("probes", count(), "Probes that it was estimated from"),
            ])),
            "The estimate",
        ),
        (
            "bracket",
            object(&[
                ("held", or_null(number()), "The highest rate that held"),
                (
                    "broke",
                    or_null(number()),
                    "The lowest above it that did not",
                ),
            ]),
            "What the probes alone say",
        ),
        (
            "requests_per_iteration",
            or_null(number()),
            "Requests that an iteration makes",
        ),
        (
            "knee",
            or_null(object(&[
                ("rate", number(), "Iterations a second"),
                ("latency_ms", number(), "p99 there"),
            ])),
            "The knee of the curve of p99 over rate (Kneedle)",
        ),
        (
            "usl",
            or_null(object(&[
                (
                    "lambda",
                    parameter.clone(),
                    "Throughput of one iteration at a time",
                ),
                ("sigma", parameter.clone(), "Contention"),
                ("kappa", parameter, "Coherency"),
                (
                    "peak",
                    or_null(
                        json!({ "type": "array", "prefixItems": [number(), number()], "items": false, "minItems": 2 }),
                    ),
                    "Concurrency and throughput of the highest throughput",
                ),
                ("probes", count(), "Probes that it was fitted to"),
                ("sentence", text(), "What it means"),
            ])),
            "The Universal Scalability Law",
        ),
        (
            "little",
            object(&[
                ("probes", count(), "Probes that were compared"),
                (
                    "mismatches",
                    list(count()),
                    "Those in which it does not hold, by number",
                ),
                ("sentence", text(), "What it means"),
            ]),
            "Little's law as a cross-check",
        ),
        (
            "headroom",
            or_null(object(&[
                ("target_rate", number(), "The rate that is wanted"),
                ("used", number(), "Its share of what is sustained"),
                ("growth", or_null(number()), "A month, as a share"),
                ("months", or_null(number()), "Until it is full"),
                ("sentence", text(), "What it means"),
            ])),
            "Against the target rate",
        ),
        (
            "generator_limit",
            or_null(object(&[
                (
                    "rate",
                    number(),
                    "The lowest rate at which it was in the way",
                ),
                ("reasons", list(text()), "Why, and what to change"),
            ])),
            "Where the generator was the bottleneck",
        ),
        ("probes", list(probe), "All, in order"),
    ]);
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "loadr-fast capacity result".into();
    root["description"] = "What `loadr-fast capacity --json` writes".into();
    root
}

/// All of its keys are always there, and no others.
fn object(keys: &[(&str, Value, &str)]) -> Value {
    let mut properties = serde_json::Map::new();
    for (name, of, description) in keys {
        let mut of = of.clone();
        of["description"] = (*description).into();
        properties.insert((*name).to_owned(), of);
    }
    let required: Vec<&str> = keys.iter().map(|(name, ..)| *name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}
