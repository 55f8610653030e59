//! A body of several parts: RFC 7578, names as browsers escape them (WHATWG HTML, multipart/form-data encoding algorithm).

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::Compiler;
use super::builder::{Builder, Fragment};
use super::head::value_error;
use crate::diagnostic::shown;
use crate::plan::{Part, Text};
use crate::program::{Escape, Template};

/// What a file is when the plan does not say it.
const ANY_FILE: &str = "application/octet-stream";

/// One part, from its first header line to the end of its content.
struct Compiled {
    head: Template,
    content: Template,
}

impl Compiler<'_> {
    /// Writes the parts and says what separates them. Goes on after an error, so that all are found.
    pub(super) fn multipart(&mut self, parts: &[Part], out: &mut Builder) -> Option<String> {
        let compiled: Vec<_> = parts.iter().map(|part| self.part(part)).collect();
        let compiled: Vec<Compiled> = compiled.into_iter().collect::<Option<_>>()?;
        let boundary = boundary(&compiled);
        for part in compiled {
            out.bytes(format!("--{boundary}\r\n").as_bytes());
            out.template(part.head);
            out.bytes(b"\r\n\r\n");
            out.template(part.content);
            out.bytes(b"\r\n");
        }
        out.bytes(format!("--{boundary}--\r\n").as_bytes());
        Some(boundary)
    }

    fn part(&mut self, part: &Part) -> Option<Compiled> {
        let name = part.name.as_ref().map(|name| self.fold(name));
        let mut content = Builder::default();
        let (filled, is_file) = match (&part.value, &part.file) {
            (Some(value), None) => {
                let value = self.fold(value);
                (
                    value.map(|value| content.fragments(&value, Escape::None)),
                    false,
                )
            }
            (None, Some(file)) => (self.content(file).map(|bytes| content.file(bytes)), true),
            (value, _) => {
                let message = if value.is_some() {
                    "a part has either `value` or `file`, not both"
                } else {
                    "a part needs `value` or `file`"
                };
                self.report.error(&part.at, message.to_owned(), None);
                (None, false)
            }
        };
        let filename = match (&part.filename, &part.file) {
            (Some(name), _) => Some(self.fold(name)),
            (None, Some(file)) => Some(self.file_name(file)),
            (None, None) => None,
        };
        let content_type = match &part.content_type {
            Some(text) => Some(self.content_type(text)),
            None if is_file => Some(Some(vec![Fragment::Text(ANY_FILE.to_owned())])),
            None => None,
        };
        // All have been looked at: now what is wrong can end it.
        filled?;
        let mut head = Builder::default();
        head.bytes(b"content-disposition: form-data; name=\"");
        head.fragments(&name??, Escape::PartName);
        if let Some(filename) = filename {
            head.bytes(b"\"; filename=\"");
            head.fragments(&filename?, Escape::PartName);
        }
        head.bytes(b"\"");
        if let Some(content_type) = content_type {
            head.bytes(b"\r\ncontent-type: ");
            head.fragments(&content_type?, Escape::Header);
        }
        Some(Compiled {
            head: head.finish(),
            content: content.finish(),
        })
    }

    /// The last part of a file's path.
    fn file_name(&mut self, file: &Text) -> Option<Vec<Fragment>> {
        let path = self.constant_text(file, "the path of a file")?;
        let name = Path::new(&path).file_name().unwrap_or_default();
        Some(vec![Fragment::Text(name.to_string_lossy().into_owned())])
    }

    fn content_type(&mut self, text: &Text) -> Option<Vec<Fragment>> {
        let fragments = self.fold(text)?;
        let wrong = match fragments.iter().find_map(value_error) {
            None if fragments.is_empty() => {
                Some(format!("`{}` is not a content type", shown(&text.text)))
            }
            wrong => wrong,
        };
        match wrong {
            None => Some(fragments),
            Some(message) => {
                self.report.error(&text.at, message, None);
                None
            }
        }
    }
}

/// A line that stands in none of the parts: a fingerprint of them cannot be in them.
fn boundary(parts: &[Compiled]) -> String {
    let mut hash = Sha256::new();
    for template in parts.iter().flat_map(|part| [&part.head, &part.content]) {
        for piece in &template.pieces {
            match piece.constant() {
                Some(bytes) => hash.update(bytes),
                None => hash.update(format!("{piece:?}")),
            }
        }
    }
    let mut boundary = String::from("loadr-fast-");
    for byte in hash.finalize().iter().take(16) {
        let _ = write!(boundary, "{byte:02x}");
    }
    boundary
}
