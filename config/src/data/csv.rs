//! `type: csv`: RFC 4180, with any one-byte delimiter.

use csv::{ByteRecord, ReaderBuilder};

use super::{Builder, Kind, MAX_COLUMNS, Table, Wrong, too_many_columns, twice};
use crate::diagnostic::shown;
use crate::file::bad_line;

/// The delimiter that was written, or what is wrong with it.
pub(crate) fn delimiter(text: &str) -> Result<u8, Wrong> {
    match text.as_bytes() {
        // What YAML makes of `\t` without double quotes.
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n' | 0) => Ok(*byte),
        _ => {
            let message = format!("`{}` is not a delimiter", shown(text));
            let help = "write one ASCII character, such as `,`, `;` or `\"\\t\"`".to_owned();
            Err((message, Some(help)))
        }
    }
}

/// Reads all rows. Without a header the columns are `col0`, `col1` and so on.
pub(crate) fn read_csv(bytes: &[u8], delimiter: u8, has_header: bool) -> Result<Table, Wrong> {
    // Spreadsheets put a byte order mark before the first name.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(line) = bad_line(bytes) {
        let help = "save it as UTF-8".to_owned();
        return Err((format!("line {line} is not UTF-8"), Some(help)));
    }
    // Rows of another length are told below, with what was expected.
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let mut row = ByteRecord::new();
    let mut builder: Option<Builder> = None;
    loop {
        match reader.read_byte_record(&mut row) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err((error.to_string(), None)),
        }
        let builder = match &mut builder {
            Some(builder) => builder,
            None if has_header => {
                builder = Some(Builder::new(names(&row)?)?);
                continue;
            }
            None if row.len() > MAX_COLUMNS => return Err((too_many_columns(), None)),
            None => {
                let names = (0..row.len()).map(|at| format!("col{at}")).collect();
                builder.insert(Builder::new(names)?)
            }
        };
        if row.len() != builder.columns.len() {
            let line = line_of(bytes, row.position());
            let plural = if row.len() == 1 { "" } else { "s" };
            let message = format!(
                "line {line} has {} column{plural}, the first row has {}",
                row.len(),
                builder.columns.len()
            );
            let help = "a cell with the delimiter or a line break in it stands in double quotes";
            return Err((message, Some(help.to_owned())));
        }
        for cell in &row {
            builder.push(Kind::Text, cell)?;
        }
    }
    builder
        .ok_or_else(|| ("is empty".to_owned(), None))?
        .finish()
}

/// The line that a row is on, from 1. What the reader says is where it began to look, so before any empty lines.
fn line_of(bytes: &[u8], position: Option<&csv::Position>) -> usize {
    let from = position.map_or(0, |position| position.byte() as usize);
    let empty = bytes
        .iter()
        .skip(from)
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    let before = bytes.iter().take(from + empty);
    1 + before.filter(|byte| **byte == b'\n').count()
}

fn names(row: &ByteRecord) -> Result<Vec<String>, Wrong> {
    if row.len() > MAX_COLUMNS {
        return Err((too_many_columns(), None));
    }
    let mut names: Vec<String> = Vec::new();
    for name in row {
        let name = String::from_utf8_lossy(name).trim().to_owned();
        // A column without a name cannot be asked for.
        if !name.is_empty() && names.contains(&name) {
            return Err(twice(&name));
        }
        names.push(name);
    }
    Ok(names)
}

/// Whether a quote may not be closed, and has swallowed the rows after it.
pub(crate) fn has_odd_quotes(bytes: &[u8]) -> bool {
    bytes.iter().filter(|byte| **byte == b'"').count() % 2 == 1
}
