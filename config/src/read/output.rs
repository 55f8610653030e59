//! Reads `outputs`.

use super::reader::Reader;
use crate::language;
use crate::plan::{InfluxDb, Output, OutputTo, Receiver};

pub(super) fn read_outputs(root: &Reader<'_>) -> Vec<Output> {
    let mut outputs = Vec::new();
    root.items("outputs", |reader| {
        let at = reader.path.at(reader.node.pos);
        let kind = reader.node.get("type").map(language::text);
        if let Some(Ok(kind)) = kind
            && let Some(to) = read_to(kind, &reader)
        {
            outputs.push(Output { at, to });
        }
    });
    outputs
}

fn read_to(kind: &str, reader: &Reader<'_>) -> Option<OutputTo> {
    let is = |key: &str, word: &str| reader.text(key).is_some_and(|text| text.text == word);
    Some(match kind {
        "json" => OutputTo::Json {
            path: reader.text("path")?,
            samples: reader.flag("samples").unwrap_or(false),
        },
        "csv" => OutputTo::Csv {
            path: reader.text("path")?,
        },
        "prometheus" => OutputTo::Prometheus {
            listen: reader.text("listen"),
            is_native: is("histograms", "native"),
            linger: reader.duration("linger"),
            url: reader.text("url"),
            receiver: receiver(reader),
        },
        "otlp" => OutputTo::Otlp {
            url: reader.text("url")?,
            receiver: receiver(reader),
        },
        "influxdb" => OutputTo::InfluxDb(Box::new(InfluxDb {
            url: reader.text("url")?,
            database: reader.text("database"),
            username: reader.text("username"),
            password: reader.text("password"),
            org: reader.text("org"),
            bucket: reader.text("bucket"),
            token: reader.text("token"),
            receiver: receiver(reader),
        })),
        "statsd" => OutputTo::Statsd {
            address: reader.text("address")?,
            prefix: reader.text("prefix"),
            by_name: is("tags", "name"),
        },
        _ => return None,
    })
}

fn receiver(reader: &Reader<'_>) -> Receiver {
    Receiver {
        headers: reader.pairs("headers"),
        timeout: reader.duration("timeout"),
        ca_file: reader.text("ca_file"),
        insecure_skip_verify: reader.flag("insecure_skip_verify").unwrap_or(false),
    }
}
