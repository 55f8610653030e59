//! `outputs`: what each kind compiles to, and what is said of those that are wrong.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use loadr_config::{Histograms, Options, OutputTo, StatsdTags};
use support::{errors, good, lines, options, plan_with_request, schema_errors, warnings};

fn plan(outputs: &str) -> String {
    plan_with_request("url: http://h/") + &format!("outputs: [ {outputs} ]\n")
}

fn url(receiver: &loadr_config::Receiver) -> String {
    String::from_utf8(receiver.url.bytes().to_vec()).unwrap()
}

fn header(receiver: &loadr_config::Receiver, name: &str) -> Option<String> {
    let found = receiver.headers.iter().find(|(n, _)| n == name)?;
    Some(String::from_utf8(found.1.bytes().to_vec()).unwrap())
}

fn one(output: &str) -> (String, OutputTo) {
    let mut outputs = good(&plan(output)).program.outputs;
    assert_eq!(outputs.len(), 1, "{output}");
    let output = outputs.remove(0);
    (output.shown, output.to)
}

#[test]
fn files_are_from_the_plans_folder() {
    let (shown, to) = one("{ type: json, path: a.json, samples: false }");
    assert_eq!(shown, "json a.json");
    assert!(
        matches!(to, OutputTo::Json { path, samples: false } if path == Path::new("/plans/a.json"))
    );
    let (_, to) = one("{ type: csv, path: '/x/${env.HOST}.csv' }");
    assert!(matches!(to, OutputTo::Csv { path } if path == Path::new("/x/env.test.csv")));
}

#[test]
fn prometheus_is_scraped_or_written_to() {
    let (shown, to) =
        one("{ type: prometheus, listen: '127.0.0.1:0', histograms: native, linger: 2s }");
    assert_eq!(shown, "prometheus at 127.0.0.1:0");
    let OutputTo::PrometheusScrape {
        histograms, linger, ..
    } = to
    else {
        panic!("{to:?}")
    };
    assert_eq!((histograms, linger.as_secs()), (Histograms::Native, 2));
    for (given, whole) in [
        ("http://p:9090", "http://p:9090/api/v1/write"),
        ("https://p/x/write?a=b", "https://p/x/write?a=b"),
    ] {
        let (_, to) = one(&format!("{{ type: prometheus, url: '{given}' }}"));
        let OutputTo::PrometheusWrite {
            receiver,
            histograms,
        } = to
        else {
            panic!("{to:?}")
        };
        assert_eq!(
            (url(&receiver).as_str(), histograms),
            (whole, Histograms::Classic)
        );
    }
}

#[test]
fn influxdb_has_the_forms_of_both_versions() {
    for (keys, whole, create, authorization) in [
        (
            "url: 'http://i:8086', database: 'd\"b', username: u, password: p",
            "http://i:8086/write?precision=ms&db=d%22b",
            Some("http://i:8086/query?q=CREATE%20DATABASE%20%22d%5C%22b%22"),
            Some("Basic dTpw"),
        ),
        (
            "url: 'http://i:8086/k6'",
            "http://i:8086/write?precision=ms&db=k6",
            Some("http://i:8086/query?q=CREATE%20DATABASE%20%22k6%22"),
            None,
        ),
        (
            "url: 'http://i/write?db=x&rp=y'",
            "http://i/write?db=x&rp=y&precision=ms",
            None,
            None,
        ),
        (
            "url: 'http://i:8086', org: my org, bucket: b, token: '${env.TOKEN}'",
            "http://i:8086/api/v2/write?precision=ms&org=my%20org&bucket=b",
            None,
            Some("Token t0k"),
        ),
        (
            "url: 'http://i/api/v2/write?org=o&bucket=b'",
            "http://i/api/v2/write?org=o&bucket=b&precision=ms",
            None,
            None,
        ),
    ] {
        let (shown, to) = one(&format!("{{ type: influxdb, {keys} }}"));
        let OutputTo::InfluxDb {
            receiver,
            create: made,
        } = to
        else {
            panic!("{to:?}")
        };
        assert_eq!(url(&receiver), whole);
        let made = made.map(|url| String::from_utf8(url.bytes().to_vec()).unwrap());
        assert_eq!(made.as_deref(), create);
        assert_eq!(header(&receiver, "authorization").as_deref(), authorization);
        assert!(!shown.contains("t0k") && !shown.contains('?'), "{shown}");
    }
    let mut options = options();
    options
        .environment
        .insert("INFLUX_TOKEN".to_owned(), "from-env".to_owned());
    let text = plan("{ type: influxdb, url: 'http://i', org: o, bucket: b }");
    let compiled = loadr_config::compile(&text, Path::new("plan.yaml"), &options).unwrap();
    let OutputTo::InfluxDb { receiver, .. } = &compiled.program.outputs[0].to else {
        panic!()
    };
    assert_eq!(
        header(receiver, "authorization").as_deref(),
        Some("Token from-env")
    );
}

#[test]
fn the_others_have_their_defaults() {
    let (_, to) = one("{ type: otlp, url: 'http://c:4318', headers: { api-key: k }, timeout: 1s }");
    let OutputTo::Otlp(receiver) = to else {
        panic!("{to:?}")
    };
    assert_eq!(url(&receiver), "http://c:4318/v1/metrics");
    assert_eq!(
        (receiver.host.as_str(), receiver.port, receiver.tls),
        ("c", 4318, false)
    );
    assert_eq!(header(&receiver, "api-key").as_deref(), Some("k"));
    let (_, to) = one("{ type: statsd, address: 'localhost:8125' }");
    let OutputTo::Statsd { prefix, tags, .. } = to else {
        panic!("{to:?}")
    };
    assert_eq!((prefix.as_str(), tags), ("loadr.", StatsdTags::Dogstatsd));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (output, wanted) in [
        (
            "{ type: jsn, path: a }",
            "11:20: outputs[0].type: unknown type `jsn` | did you mean `json`?",
        ),
        (
            "{ type: json }",
            "11:12: outputs[0]: a `json` output needs `path`",
        ),
        (
            "{ type: json, pth: a }",
            "11:26: outputs[0].pth: unknown key `pth` | did you mean `path`?",
        ),
        ("{ path: a }", "11:12: outputs[0]: an output needs `type`"),
        (
            "{ type: json, path: '${vu}' }",
            "11:32: outputs[0].path: an output cannot depend on what is known only in the run",
        ),
        (
            "{ type: json, path: '' }",
            "11:32: outputs[0].path: `` is empty",
        ),
        (
            "{ type: prometheus }",
            "11:12: outputs[0]: a `prometheus` output needs `listen` or `url`",
        ),
        (
            "{ type: prometheus, listen: '1.2.3.4:1', url: 'http://h' }",
            "11:58: outputs[0].url: a `prometheus` output has `listen` or `url`, not both",
        ),
        (
            "{ type: prometheus, listen: nowhere }",
            "11:40: outputs[0].listen: `nowhere`: expected a host and a port",
        ),
        (
            "{ type: prometheus, listen: 'h:1', histograms: nativ }",
            "outputs[0].histograms: unknown value `nativ` | did you mean `native`?",
        ),
        (
            "{ type: otlp, url: 'h:4318' }",
            "11:31: outputs[0].url: `h:4318`: it is no URL",
        ),
        (
            "{ type: otlp, url: 'ftp://h' }",
            "`ftp://` is not available in this version",
        ),
        (
            "{ type: otlp, url: 'http://u:p@h' }",
            "a user name in the URL is not supported",
        ),
        (
            "{ type: otlp, url: 'http://h', headers: { host: x } }",
            "outputs[0].headers.host: the output itself sets `host`",
        ),
        (
            "{ type: otlp, url: 'http://h', headers: { 'a b': x } }",
            "`a b` is not a header name",
        ),
        (
            "{ type: otlp, url: 'http://h', timeout: 0 }",
            "outputs[0].timeout: the duration must be at least",
        ),
        (
            "{ type: influxdb, url: 'http://h' }",
            "the `influxdb` output does not say where to write to",
        ),
        (
            "{ type: influxdb, url: 'http://h', org: o }",
            "an `influxdb` output with an `org` needs a `bucket`",
        ),
        (
            "{ type: influxdb, url: 'http://h', database: d, bucket: b }",
            "`database` is of a server of version 1",
        ),
        (
            "{ type: statsd, address: 'h:0' }",
            "`h:0`: expected a host and a port",
        ),
        (
            "{ type: json, path: a }, { type: csv, path: a }",
            "two outputs write to /plans/a",
        ),
    ] {
        let found = errors(&plan(output));
        assert!(
            found.len() == 1 && found[0].contains(wanted),
            "expected {wanted:?}, found {found:#?} for {output}"
        );
    }
}

#[test]
fn what_does_not_exist_is_refused_by_name_and_says_what_does() {
    for (kind, instead) in [
        ("kafka", "there are `json`, `csv`"),
        ("datadog", "type: statsd"),
        ("opentelemetry", "type: otlp"),
        ("experimental-prometheus-rw", "type: prometheus"),
        ("html", "--summary-export"),
    ] {
        let plan = plan(&format!("{{ type: {kind} }}"));
        let found = errors(&plan);
        let start =
            format!("11:20: outputs[0].type: `type: {kind}` is not available in this version | ");
        assert!(
            found.len() == 1 && found[0].starts_with(&start) && found[0].contains(instead),
            "{found:#?}"
        );
        assert!(!schema_errors(&plan).is_empty(), "an editor offers it");
    }
}

#[test]
fn a_key_of_another_kind_does_nothing_and_is_said() {
    let found = warnings(&plan("{ type: otlp, url: 'http://h' }"));
    assert!(found.is_empty(), "{found:?}");
    let text = plan("{ type: otlp, url: 'http://h', prefix: x }");
    let found = lines(&support::compile(&text).unwrap().warnings);
    assert!(
        found.len() == 1 && found[0].contains("`prefix` does nothing in an `otlp` output"),
        "{found:?}"
    );
}

#[test]
fn flags_are_laid_over_the_plan() {
    let with = |outputs: &[&str]| Options {
        outputs: outputs.iter().map(|o| (*o).to_owned()).collect(),
        ..options()
    };
    let flags = [
        "json=/x/${a}.json",
        "csv=a.csv",
        "prometheus=127.0.0.1:9464",
        "prometheus=http://p:9090",
        "otlp=http://c:4318",
        "influxdb=http://i:8086/k6",
        "statsd=127.0.0.1:8125",
    ];
    for outputs in ["", "{ type: csv, path: of-the-plan.csv }"] {
        let text = plan(outputs);
        let compiled =
            loadr_config::compile(&text, Path::new("/plans/plan.yaml"), &with(&flags)).unwrap();
        let of_plan = usize::from(!outputs.is_empty());
        let outputs = &compiled.program.outputs[of_plan..];
        assert_eq!(outputs.len(), flags.len());
        assert!(
            matches!(&outputs[0].to, OutputTo::Json { path, .. } if path == Path::new("/x/${a}.json"))
        );
        let here = std::env::current_dir().unwrap().join("a.csv");
        assert!(matches!(&outputs[1].to, OutputTo::Csv { path } if *path == here));
        // What is printed runs as it does.
        let again = loadr_config::compile(
            &compiled.effective_plan(),
            Path::new("/plans/plan.yaml"),
            &options(),
        )
        .unwrap();
        let shown = |c: &loadr_config::Compiled| {
            c.program
                .outputs
                .iter()
                .map(|o| format!("{:?}", o.to))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(&again), shown(&compiled));
    }
    let text = plan_with_request("url: http://h/");
    let failure = loadr_config::compile(&text, Path::new("p"), &with(&["kafka=x", "csv", "otlp="]))
        .unwrap_err();
    let found = lines(&failure.diagnostics);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found.iter().all(|line| line.starts_with("--output: ")),
        "{found:#?}"
    );
}
