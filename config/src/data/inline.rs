//! `type: inline`: rows in the plan itself.

use serde_json::Value as Json;

use super::{Builder, Kind, MAX_COLUMNS, Table, Wrong, too_many_columns};
use crate::node::{Content, Node};

/// Reads the rows, each a mapping from columns to values.
pub(crate) fn read_inline(rows: &[Node]) -> Result<Table, Wrong> {
    let mut columns: Vec<String> = Vec::new();
    for entry in rows.iter().flat_map(Node::entries) {
        if !columns.contains(&entry.key) {
            columns.push(entry.key.clone());
        }
        if columns.len() > MAX_COLUMNS {
            return Err((too_many_columns(), None));
        }
    }
    let mut builder = Builder::new(columns.clone())?;
    for row in rows {
        for column in &columns {
            let (kind, text) = match row.get(column) {
                None => (Kind::Missing, String::new()),
                Some(value) => cell(value),
            };
            builder.push(kind, text.as_bytes())?;
        }
    }
    builder.finish()
}

/// What a value is, and its text: numbers as they are written, where JSON can write them so.
fn cell(value: &Node) -> (Kind, String) {
    match (value.to_json(), &value.content) {
        (Json::String(text), _) => (Kind::Text, text),
        (Json::Number(number), Content::Scalar(scalar)) => {
            let is_json = serde_json::from_str::<serde_json::Number>(&scalar.text).is_ok();
            let text = if is_json {
                scalar.text.clone()
            } else {
                number.to_string()
            };
            (Kind::Json, text)
        }
        (json, _) => (Kind::Json, json.to_string()),
    }
}
