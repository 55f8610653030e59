//! `type: json`: a file with a list of objects.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::{Builder, Kind, MAX_COLUMNS, MAX_ROWS, Table, Wrong, too_many_columns};
use crate::diagnostic::shown;
use crate::file::bad_line;

/// Reads all rows: once for the columns there are, once for the cells.
pub(crate) fn read_json(bytes: &[u8]) -> Result<Table, Wrong> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(line) = bad_line(bytes) {
        return Err((format!("line {line} is not UTF-8"), None));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(("is empty".to_owned(), None));
    }
    let mut columns = Columns::default();
    walk(bytes, &mut columns)?;
    if columns.rows == 0 {
        return Err(("has no rows".to_owned(), None));
    }
    let mut cells = Cells {
        row: vec![None; columns.names.len()],
        builder: Builder::new(columns.names)?,
        places: columns.places,
        wrong: None,
    };
    match walk(bytes, &mut cells) {
        Ok(()) => cells.builder.finish(),
        Err(error) => Err(cells.wrong.unwrap_or(error)),
    }
}

fn walk<'b>(bytes: &'b [u8], rows: &mut impl Rows<'b>) -> Result<(), Wrong> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let walked = List(rows).deserialize(&mut reader);
    walked.and_then(|()| reader.end()).map_err(|error| {
        let text = error.to_string();
        let reason = text
            .rfind(" at line ")
            .and_then(|at| text.get(..at))
            .unwrap_or(&text);
        let (line, column) = (error.line(), error.column());
        let help = "write `[ { \"column\": \"value\" }, … ]`".to_owned();
        let reason = shown(reason);
        (
            format!("line {line}, column {column}: {reason}"),
            Some(help),
        )
    })
}

/// What is done with each object of the list.
trait Rows<'b> {
    fn row<A: MapAccess<'b>>(&mut self, row: A) -> Result<(), A::Error>;
}

#[derive(Default)]
struct Columns {
    names: Vec<String>,
    places: HashMap<String, usize>,
    rows: usize,
}

impl<'b> Rows<'b> for Columns {
    fn row<A: MapAccess<'b>>(&mut self, mut row: A) -> Result<(), A::Error> {
        self.rows += 1;
        if self.rows > MAX_ROWS {
            return Err(A::Error::custom(format!("more than {MAX_ROWS} rows")));
        }
        let mut seen = HashSet::new();
        while let Some(name) = row.next_key::<String>()? {
            let next = self.names.len();
            let place = *self.places.entry(name.clone()).or_insert(next);
            if place == next {
                if next == MAX_COLUMNS {
                    return Err(A::Error::custom(too_many_columns()));
                }
                self.names.push(name.clone());
            }
            if !seen.insert(place) {
                let message = format!("the object has `{}` twice", shown(&name));
                return Err(A::Error::custom(message));
            }
            row.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

struct Cells<'b> {
    builder: Builder,
    places: HashMap<String, usize>,
    row: Vec<Option<&'b RawValue>>,
    /// What is wrong beyond the JSON.
    wrong: Option<Wrong>,
}

impl<'b> Rows<'b> for Cells<'b> {
    fn row<A: MapAccess<'b>>(&mut self, mut row: A) -> Result<(), A::Error> {
        self.row.fill(None);
        while let Some(name) = row.next_key::<String>()? {
            let value = row.next_value::<&RawValue>()?;
            if let Some(slot) = self.places.get(&name).and_then(|at| self.row.get_mut(*at)) {
                *slot = Some(value);
            }
        }
        for cell in &self.row {
            let pushed = match cell.map(RawValue::get) {
                None => self.builder.push(Kind::Missing, b""),
                Some(text) if text.starts_with('"') => {
                    let text: String = serde_json::from_str(text).map_err(A::Error::custom)?;
                    self.builder.push(Kind::Text, text.as_bytes())
                }
                Some(json) => self.builder.push(Kind::Json, json.as_bytes()),
            };
            if let Err(wrong) = pushed {
                let message = wrong.0.clone();
                self.wrong = Some(wrong);
                return Err(A::Error::custom(message));
            }
        }
        Ok(())
    }
}

/// The list.
struct List<'r, R>(&'r mut R);
/// One object of it.
struct Object<'r, R>(&'r mut R);

impl<'b, R: Rows<'b>> DeserializeSeed<'b> for List<'_, R> {
    type Value = ();
    fn deserialize<D: Deserializer<'b>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'b, R: Rows<'b>> DeserializeSeed<'b> for Object<'_, R> {
    type Value = ();
    fn deserialize<D: Deserializer<'b>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

/// The visitor's methods for what is not wanted.
macro_rules! refuse {
    ($what:literal: $($method:ident($type:ty) $found:literal)*) => {$(
        fn $method<E: serde::de::Error>(self, _: $type) -> Result<(), E> {
            Err(E::custom(concat!("expected ", $what, ", found ", $found)))
        }
    )*};
}

impl<'b, R: Rows<'b>> Visitor<'b> for List<'_, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Object(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'b>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(
            "expected a list of objects, found an object",
        ))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(E::custom("expected a list of objects, found null"))
    }

    refuse! { "a list of objects":
        visit_bool(bool) "a flag" visit_i64(i64) "a number" visit_u64(u64) "a number" visit_f64(f64) "a number" visit_str(&str) "text"
    }
}

impl<'b, R: Rows<'b>> Visitor<'b> for Object<'_, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'b>>(self, row: A) -> Result<(), A::Error> {
        self.0.row(row)
    }

    fn visit_seq<A: SeqAccess<'b>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom("expected an object, found a list"))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(E::custom("expected an object, found null"))
    }

    refuse! { "an object":
        visit_bool(bool) "a flag" visit_i64(i64) "a number" visit_u64(u64) "a number" visit_f64(f64) "a number" visit_str(&str) "text"
    }
}
