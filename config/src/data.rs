//! Tables of values: what a source of `data` becomes. Read once before the run, then only looked at, by every shard.

mod csv;
mod inline;
mod json;

pub(crate) use csv::{delimiter, has_odd_quotes, read_csv};
pub(crate) use inline::read_inline;
pub(crate) use json::read_json;

use crate::diagnostic::shown;

/// The largest data file, in bytes.
pub(crate) const MAX_DATA_BYTES: u64 = 256 << 20;
/// The most rows of a source.
const MAX_ROWS: usize = 10_000_000;
/// The most columns of a source.
const MAX_COLUMNS: usize = 1000;
/// The most cells of a source; each takes four bytes beside its text.
const MAX_CELLS: usize = 50_000_000;

/// Why a source cannot be used, and what to do.
pub(crate) type Wrong = (String, Option<String>);

/// Rows of cells, all their text in one piece of memory.
pub struct Table {
    columns: Vec<String>,
    text: Box<[u8]>,
    /// Where each cell ends in `text`, row by row; it begins where the one before ends.
    ends: Box<[u32]>,
    /// What each cell is; empty when all are text.
    kinds: Box<[Kind]>,
}

/// One cell of a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell<'t> {
    /// The text, or JSON's.
    pub bytes: &'t [u8],
    /// Whether it is a JSON value other than text: a number, a flag, `null`, a list, an object.
    pub is_json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Json,
    Missing,
}

impl Table {
    /// How many rows there are; at least 1.
    #[must_use]
    pub fn rows(&self) -> u32 {
        // Bounded by `MAX_ROWS`.
        (self.ends.len() / self.columns.len().max(1)) as u32
    }

    /// The columns' names.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Row and column from 0.
    ///
    /// # Panics
    /// When there is no such cell.
    #[must_use]
    #[inline]
    pub fn cell(&self, row: u32, column: u32) -> Cell<'_> {
        let at = row as usize * self.columns.len() + column as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        Cell {
            bytes: &self.text[start as usize..self.ends[at] as usize],
            is_json: self.kinds.get(at) == Some(&Kind::Json),
        }
    }

    pub(crate) fn column(&self, name: &str) -> Option<u32> {
        let at = self.columns.iter().position(|column| column == name)?;
        u32::try_from(at).ok()
    }

    /// The first row, from 1, that has no such column.
    pub(crate) fn without(&self, column: u32) -> Option<usize> {
        let mut rows = self.kinds.chunks(self.columns.len().max(1));
        let missing = |row: &[Kind]| row.get(column as usize) == Some(&Kind::Missing);
        rows.position(missing).map(|at| at + 1)
    }

    /// Whether every cell is text.
    pub(crate) fn is_text(&self) -> bool {
        self.kinds.is_empty()
    }
}

impl std::fmt::Debug for Table {
    /// Its size: the rows may be many, and passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} × {:?})", self.rows(), self.columns)
    }
}

/// A table in the making.
struct Builder {
    columns: Vec<String>,
    text: Vec<u8>,
    ends: Vec<u32>,
    kinds: Vec<Kind>,
}

impl Builder {
    fn new(columns: Vec<String>) -> Result<Self, Wrong> {
        if columns.is_empty() {
            return Err(("has no columns".to_owned(), None));
        }
        if columns.len() > MAX_COLUMNS {
            return Err((too_many_columns(), None));
        }
        Ok(Self {
            columns,
            text: Vec::new(),
            ends: Vec::new(),
            kinds: Vec::new(),
        })
    }

    /// The next cell.
    fn push(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), Wrong> {
        if self.ends.len() >= MAX_CELLS || self.ends.len() / self.columns.len() >= MAX_ROWS {
            let message = format!("has more than {MAX_ROWS} rows or {MAX_CELLS} cells");
            return Err((message, Some("split it".to_owned())));
        }
        self.text.extend_from_slice(bytes);
        let end = u32::try_from(self.text.len());
        self.ends
            .push(end.map_err(|_| ("has more than 4 GiB of text".to_owned(), None))?);
        self.kinds.push(kind);
        Ok(())
    }

    fn finish(mut self) -> Result<Table, Wrong> {
        if self.ends.is_empty() {
            return Err(("has no rows".to_owned(), None));
        }
        if self.kinds.iter().all(|kind| *kind == Kind::Text) {
            self.kinds = Vec::new();
        }
        Ok(Table {
            columns: self.columns,
            text: self.text.into(),
            ends: self.ends.into(),
            kinds: self.kinds.into(),
        })
    }
}

fn too_many_columns() -> String {
    format!("has more than {MAX_COLUMNS} columns")
}

fn twice(column: &str) -> Wrong {
    let message = format!("has the column `{}` twice", shown(column));
    (message, Some("columns are found by their names".to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rows(table: &Table) -> Vec<Vec<String>> {
        let cell = |row, column| {
            let cell = table.cell(row, column);
            let text = String::from_utf8(cell.bytes.to_vec()).unwrap();
            if cell.is_json {
                format!("<{text}>")
            } else {
                text
            }
        };
        let columns = table.columns().len() as u32;
        let row = |row| (0..columns).map(|column| cell(row, column)).collect();
        (0..table.rows()).map(row).collect()
    }

    #[test]
    fn csv_cells_come_out_as_rfc_4180_has_them() {
        let text = b"\xef\xbb\xbfuser,pass word\r\nann,\"a,\"\"b\"\"\n\"\n\nbob,\n";
        let table = read_csv(text, b',', true).unwrap();
        assert_eq!(table.columns(), ["user", "pass word"]);
        assert_eq!(rows(&table), [["ann", "a,\"b\"\n"], ["bob", ""]]);
        assert_eq!(table.column("pass word"), Some(1));
        assert!(table.is_text());
        let table = read_csv(b"1;2\n3;4", b';', false).unwrap();
        assert_eq!(table.columns(), ["col0", "col1"]);
        assert_eq!(rows(&table), [["1", "2"], ["3", "4"]]);
    }

    #[test]
    fn csv_mistakes_are_named_with_their_line() {
        for (text, message) in [
            (&b""[..], "is empty"),
            (b"\n\n", "is empty"),
            (b"a,b\n", "has no rows"),
            (
                b"a,b\n1,2\n\n3\n",
                "line 4 has 1 column, the first row has 2",
            ),
            (b"a\n1\n1,2\n", "line 3 has 2 columns, the first row has 1"),
            (b"a,b\n1,2\n\xff,2\n", "line 3 is not UTF-8"),
            (b"a,b,a\n1,2,3\n", "has the column `a` twice"),
        ] {
            let (found, _) = read_csv(text, b',', true).unwrap_err();
            assert_eq!(found, message, "{:?}", String::from_utf8_lossy(text));
        }
        let wide = "c,".repeat(1001);
        let (found, _) = read_csv(wide.as_bytes(), b',', false).unwrap_err();
        assert_eq!(found, "has more than 1000 columns");
    }

    #[test]
    fn json_values_keep_their_type_and_their_digits() {
        let text = br#"[ {"a": 1.10, "b": "x\n\u00e9"}, {"b": null, "a": {"k": [1, "two"]}}, {"a": true, "c": 12345678901234567890} ]"#;
        let table = read_json(text).unwrap();
        assert_eq!(table.columns(), ["a", "b", "c"]);
        assert_eq!(
            rows(&table),
            [
                ["<1.10>", "x\né", ""],
                [r#"<{"k": [1, "two"]}>"#, "<null>", ""],
                ["<true>", "", "<12345678901234567890>"],
            ]
        );
        assert_eq!((table.without(0), table.without(1)), (None, Some(3)));
        assert_eq!(table.without(2), Some(1));
    }

    #[test]
    fn json_of_another_shape_is_named_with_its_place() {
        for (text, message) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("[]", "has no rows"),
            ("[{}]", "has no columns"),
            (
                "{\"a\": 1}",
                "line 1, column 1: expected a list of objects, found an object",
            ),
            (
                "[\n{\"a\": 1},\n7]",
                "line 3, column 1: expected an object, found a number",
            ),
            ("[{\"a\": 1}", "line 1, column 9: EOF while parsing a list"),
            ("[{\"a\": 1}] x", "line 1, column 12: trailing characters"),
            (
                "[{\"a\": 1, \"a\": 2}]",
                "line 1, column 13: the object has `a` twice",
            ),
        ] {
            let (found, _) = read_json(text.as_bytes()).unwrap_err();
            assert_eq!(found, message, "{text}");
        }
        // Cells are kept as they are written and not taken apart, so their depth costs nothing.
        let deep = format!(
            "[{{\"a\": {}1{}}}]",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let table = read_json(deep.as_bytes()).unwrap();
        assert_eq!(table.cell(0, 0).bytes.len(), 200_001);
    }
}
