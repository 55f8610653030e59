//! Reads `secrets` and `data`.

use super::reader::{Reader, variant};
use crate::language::Kind;
use crate::node::{Content, Path};
use crate::plan::{Data, Rows, Secret, SecretFrom, Text};
use crate::program::{DataMode, DataPick, OnEof};

pub(super) fn read_secrets(root: &Reader<'_>) -> Vec<Secret> {
    let mut secrets = Vec::new();
    let Some(Kind::OneKey(table)) = root.inner("secrets") else {
        return secrets;
    };
    root.entries("secrets", |entry, path| {
        let reader = Reader {
            node: &entry.value,
            path,
            table,
        };
        let from = match (reader.text("env"), reader.text("file")) {
            (Some(name), _) => SecretFrom::Env(name),
            (None, Some(path)) => SecretFrom::File(path),
            (None, None) => return,
        };
        let name = Text {
            text: entry.key.clone(),
            at: path.at(entry.pos),
        };
        secrets.push(Secret { name, from });
    });
    secrets
}

pub(super) fn read_sources(root: &Reader<'_>) -> Vec<Data> {
    let mut sources = Vec::new();
    let Some(Kind::Union(union)) = root.inner("data") else {
        return sources;
    };
    root.entries("data", |entry, path| {
        let name = Text {
            text: entry.key.clone(),
            at: path.at(entry.pos),
        };
        let mut source = Data {
            name,
            rows: None,
            mode: DataMode::Shared,
            pick: DataPick::Sequential,
            on_eof: OnEof::Recycle,
        };
        if let Some((kind, table)) = variant(&entry.value, union) {
            let reader = Reader {
                node: &entry.value,
                path,
                table,
            };
            source.rows = rows(kind, &reader, path);
            let is = |key: &str, word: &str| reader.text(key).is_some_and(|text| text.text == word);
            if is("mode", "per_vu") {
                source.mode = DataMode::PerVu;
            }
            if is("pick", "random") {
                source.pick = DataPick::Random;
            } else if is("pick", "shuffle") {
                source.pick = DataPick::Shuffle;
            }
            if is("on_eof", "stop") {
                source.on_eof = OnEof::Stop;
            }
        }
        sources.push(source);
    });
    sources
}

fn rows(kind: &str, reader: &Reader<'_>, path: &Path<'_>) -> Option<Rows> {
    match kind {
        "csv" => Some(Rows::Csv {
            path: reader.text("path")?,
            delimiter: reader.text("delimiter"),
            has_header: reader.flag("has_header").unwrap_or(true),
        }),
        "json" => Some(Rows::Json {
            path: reader.text("path")?,
        }),
        "inline" => {
            let node = reader.node.get("rows")?;
            let Content::List(rows) = &node.content else {
                return None;
            };
            Some(Rows::Inline {
                rows: rows.clone(),
                at: path.key("rows").at(node.pos),
            })
        }
        _ => None,
    }
}
