//! What values come from: `secrets` and `data`, and the files that bodies are made of. All are read here, once.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::{Compiler, MAX_TEMPLATE_BYTES, index};
use crate::data::{
    MAX_DATA_BYTES, Table, delimiter, has_odd_quotes, read_csv, read_inline, read_json,
};
use crate::diagnostic::shown;
use crate::file;
use crate::node::At;
use crate::plan::{Data, Rows, SecretFrom, Text};
use crate::program::{DataId, DataSource, Source};

/// The longest secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;
/// The most bytes of all data files together.
const MAX_ALL_DATA_BYTES: u64 = 1 << 30;

/// A source of `data`, or only its name when it could not be read.
pub(super) type KnownSource = Option<DataId>;

impl<'a> Compiler<'a> {
    /// Reads every secret, whether or not something uses it: one that is not there shows before the run.
    pub(super) fn secrets(&mut self) {
        for secret in &self.plan.secrets {
            self.check_key(&secret.name, "secret");
            let value = match &secret.from {
                SecretFrom::Env(name) => self.environment(&name.text, &name.at),
                SecretFrom::File(path) => self.secret_file(path),
            };
            if value.as_ref().is_some_and(String::is_empty) {
                let name = shown(&secret.name.text);
                let message = format!("the secret `{name}` is empty");
                self.report.error(&secret.name.at, message, None);
            }
            self.secrets.insert(
                &secret.name.text,
                value.map(|value| Rc::from(value.as_str())),
            );
        }
    }

    /// The file's text. Nothing of it is in any message.
    fn secret_file(&mut self, text: &Text) -> Option<String> {
        let path = self.path(text)?;
        let read = file::read(&path, MAX_SECRET_BYTES)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned()));
        match read {
            Ok(mut value) => {
                // Editors and `echo` end a file with a line break, which is not part of the secret.
                let kept = value
                    .strip_suffix("\r\n")
                    .or(value.strip_suffix('\n'))
                    .map_or(value.len(), str::len);
                value.truncate(kept);
                Some(value)
            }
            Err(error) => {
                self.file_error(text, "the secret's file", &error, None);
                None
            }
        }
    }

    /// Reads every source of `data`.
    pub(super) fn data(&mut self) {
        for source in &self.plan.data {
            self.check_key(&source.name, "data source");
            let table = source.rows.as_ref().and_then(|rows| self.table(rows));
            let id = table.and_then(|table| self.add_source(source, table));
            self.source_ids.insert(&source.name.text, id);
        }
    }

    fn add_source(&mut self, source: &Data, table: Table) -> Option<DataId> {
        let id = DataId(index(self.sources.len())?);
        self.sources.push(DataSource {
            name: source.name.text.clone(),
            table,
            mode: source.mode,
            pick: source.pick,
            on_eof: source.on_eof,
        });
        Some(id)
    }

    fn table(&mut self, rows: &Rows) -> Option<Table> {
        let (text, what, read) = match rows {
            Rows::Csv {
                path,
                delimiter: written,
                has_header,
            } => {
                let delimiter = match written.as_ref().map(|text| delimiter(&text.text)) {
                    None => b',',
                    Some(Ok(delimiter)) => delimiter,
                    Some(Err((message, help))) => {
                        let at = written.as_ref().map_or(&path.at, |text| &text.at);
                        self.report.error(at, message, help);
                        return None;
                    }
                };
                let bytes = self.data_file(path)?;
                let read = read_csv(&bytes, delimiter, *has_header);
                if read.is_ok() && has_odd_quotes(&bytes) {
                    let message = format!(
                        "`{}` has an odd number of double quotes: one of them may not be closed",
                        shown(&path.text)
                    );
                    let help = "a quote inside a quoted cell is written twice".to_owned();
                    self.report.warning(&path.at, message, Some(help));
                }
                (Some(path), &path.at, read)
            }
            Rows::Json { path } => {
                let read = read_json(&self.data_file(path)?);
                (Some(path), &path.at, read)
            }
            Rows::Inline { rows, at } => (None, at, read_inline(rows)),
        };
        match read {
            Ok(table) => Some(table),
            Err((message, help)) => {
                let subject = text.map_or_else(
                    || "the source".to_owned(),
                    |path| format!("`{}`", shown(&path.text)),
                );
                let message = if message.starts_with("line ") {
                    format!("{subject}: {message}")
                } else {
                    format!("{subject} {message}")
                };
                self.report.error(what, message, help);
                None
            }
        }
    }

    fn data_file(&mut self, text: &Text) -> Option<Vec<u8>> {
        let path = self.path(text)?;
        let bytes = match file::read(&path, MAX_DATA_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.file_error(text, "the data file", &error, looked_for(&path, text));
                return None;
            }
        };
        self.data_bytes = self.data_bytes.saturating_add(bytes.len() as u64);
        if self.data_bytes > MAX_ALL_DATA_BYTES {
            let message = format!(
                "the data files come to more than {} MiB",
                MAX_ALL_DATA_BYTES >> 20
            );
            self.report.error(&text.at, message, None);
            return None;
        }
        self.inputs.file(&text.text, &bytes);
        Some(bytes)
    }

    /// A file that is sent. One that is named more than once is read and kept once.
    pub(super) fn content(&mut self, text: &Text) -> Option<Arc<[u8]>> {
        let path = self.path(text)?;
        if let Some(known) = self.files.get(&path) {
            return known.clone();
        }
        let content: Option<Arc<[u8]>> = match file::read(&path, MAX_TEMPLATE_BYTES as u64) {
            Ok(bytes) => {
                self.inputs.file(&text.text, &bytes);
                self.spend(bytes.len(), &text.at).map(|()| bytes.into())
            }
            Err(error) => {
                self.file_error(text, "the file", &error, looked_for(&path, text));
                None
            }
        };
        self.files.insert(path, content.clone());
        content
    }

    /// Where a file is: constants are folded, and what is relative begins at the plan's folder.
    fn path(&mut self, text: &Text) -> Option<PathBuf> {
        let path = self.constant_text(text, "the path of a file")?;
        Some(self.folder.join(path))
    }

    fn file_error(&mut self, text: &Text, what: &str, error: &str, help: Option<String>) {
        let message = format!("{what} `{}` {error}", shown(&text.text));
        self.report.error(&text.at, message, help);
    }

    fn check_key(&mut self, name: &Text, what: &str) {
        if !super::scope::is_name(&name.text) {
            let message = format!("`{}` is not a name for a {what}", shown(&name.text));
            let help = "letters, digits, `_` and `-` make one".to_owned();
            self.report.error(&name.at, message, Some(help));
        }
    }

    /// The secret of this name.
    pub(super) fn secret(&mut self, name: &str, at: &At) -> Option<Rc<str>> {
        if let Some(known) = self.secrets.get(name) {
            return known.clone();
        }
        let message = format!("there is no secret `{}`", shown(name));
        let help = self
            .report
            .suggest(name, self.secrets.keys().copied())
            .unwrap_or_else(|| "secrets are listed under `secrets` at the top level".to_owned());
        self.report.error(at, message, Some(help));
        None
    }

    /// What `${data.<name>}` stands for.
    pub(super) fn cell(&mut self, name: &str, at: &At) -> Option<Source> {
        let Some((name, column)) = name.split_once('.') else {
            let message = format!("`${{data.{}}}` names no column", shown(name));
            let help = "write `${data.SOURCE.COLUMN}`".to_owned();
            self.report.error(at, message, Some(help));
            return None;
        };
        let Some(known) = self.source_ids.get(name) else {
            let message = format!("there is no data source `{}`", shown(name));
            let help = self
                .report
                .suggest(name, self.source_ids.keys().copied())
                .unwrap_or_else(|| "sources are listed under `data` at the top level".to_owned());
            self.report.error(at, message, Some(help));
            return None;
        };
        let id = (*known)?;
        let table = &self.sources.get(id.at())?.table;
        let Some(found) = table.column(column) else {
            let message = format!("`{}` has no column `{}`", shown(name), shown(column));
            let names = table.columns().iter().map(String::as_str);
            let help = self
                .report
                .suggest(column, names.clone())
                .unwrap_or_else(|| {
                    let names: Vec<String> = names
                        .take(20)
                        .map(|name| format!("`{}`", shown(name)))
                        .collect();
                    format!("there are {}", names.join(", "))
                });
            self.report.error(at, message, Some(help));
            return None;
        };
        if let Some(row) = table.without(found) {
            let message = format!("row {row} of `{}` has no `{}`", shown(name), shown(column));
            let help = "every row needs it, if only as `\"\"`".to_owned();
            self.report.error(at, message, Some(help));
            return None;
        }
        self.scope.data.insert(id);
        Some(Source::Data {
            source: id,
            column: found,
        })
    }
}

/// Where a file was looked for, when that is not what the plan says.
fn looked_for(path: &Path, text: &Text) -> Option<String> {
    let path = path.to_string_lossy();
    (path != text.text.as_str()).then(|| format!("it was looked for as `{}`", shown(&path)))
}
