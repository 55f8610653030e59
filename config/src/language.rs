//! The plan language as data: every key there is, what it takes, and whether this version does it. Reading, the errors
//! for unknown and not yet available keys, and a schema all come from these tables, so that they cannot contradict each
//! other. `plan`, `engine`, `data`, `output`, `scenario`, `request` and
//! `response` hold the tables, `check` holds a document against them.

mod chain;
mod check;
mod data;
mod engine;
mod forms;
mod output;
mod plan;
mod request;
mod response;
mod scenario;
mod schema;

use std::time::Duration;

pub(crate) use chain::TRANSFORM_WORDS;
pub(crate) use check::check_plan;
pub(crate) use plan::PLAN;
pub(crate) use scenario::{A_STEP, MAX_RATE, THINK_TIME, a_step, executor_keys, executors_with};
pub(crate) use schema::schema;

use crate::node::{Content, Node, Typed};
use crate::units::{parse_duration, parse_size};

/// A mapping with known keys.
#[derive(Debug)]
pub(crate) struct Table {
    /// What it is, for messages: `a request`.
    pub(crate) what: &'static str,
    /// Its keys, in groups so that tables can share some.
    pub(crate) groups: &'static [&'static [Key]],
}

impl Table {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.groups.iter().copied().flatten()
    }

    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// A key of the language.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) status: Status,
    /// One sentence for people, without its full stop; also the schema's description. One word after a last `; ` is the
    /// default.
    pub(crate) doc: &'static str,
}

/// Whether this version does what a key says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Status {
    Ready,
    /// Part of the language, refused until it exists; the sentence says what works instead.
    NotYet(&'static str),
    /// Only these values, as written, are what this version does; the sentence says what the others would need.
    Only(&'static [&'static str], &'static str),
}

/// What a key takes.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Any scalar, taken as it is written.
    Text,
    /// The same, with `${…}` in it.
    Template,
    /// Text that is not empty.
    Name,
    /// `true` or `false`.
    Flag,
    /// A number in these bounds.
    Number(f64, f64),
    /// A whole number in these bounds.
    Count(u64, u64),
    /// A duration in these bounds.
    Duration(Duration, Duration),
    /// A size in bytes in these bounds.
    Size(u64, u64),
    /// One of these words.
    Word(&'static [Choice]),
    /// Anything.
    Any,
    /// A mapping with any content.
    Object,
    /// A mapping from any key to scalars.
    Map(&'static Kind),
    /// The same with something in it.
    SomeMap(&'static Kind),
    /// A list.
    List(&'static Kind),
    /// A list with something in it.
    Some(&'static Kind),
    /// One value, or a list of them.
    OneOrMore(&'static Kind),
    /// A scalar, or a mapping.
    TextOr(&'static Kind),
    /// A flow: a list of steps with something in it. A kind of its own, because steps have steps in them.
    Steps,
    /// A mapping with known keys.
    Table(&'static Table),
    /// A mapping of which exactly one key must be there.
    OneKey(&'static Table),
    /// A mapping whose keys depend on one of them.
    Union(&'static Union),
    /// A partial plan: [`PLAN`] with nothing required.
    Overlay,
    /// A kind whose table says it is not available, so that nothing inside is looked at.
    Opaque,
}

/// One word of [`Kind::Word`].
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) name: &'static str,
    pub(crate) status: Status,
}

/// A mapping whose `tag` key says which table holds.
#[derive(Debug)]
pub(crate) struct Union {
    pub(crate) what: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) variants: &'static [Variant],
    /// Whether a key of another variant is only worth a warning: overlays cannot take keys away, so one that changes
    /// the tag leaves some behind.
    pub(crate) lenient: bool,
    /// Keys that mark a form without the tag. One that is ready has the table of the whole mapping as its kind.
    pub(crate) forms: &'static [Key],
}

/// One form of a [`Union`].
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) table: &'static Table,
    pub(crate) status: Status,
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        required: false,
        status: Status::Ready,
        doc,
    }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        required: true,
        status: Status::Ready,
        doc,
    }
}

const fn not_yet(name: &'static str, instead: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Opaque,
        required: false,
        status: Status::NotYet(instead),
        doc,
    }
}

const fn only(
    name: &'static str,
    kind: Kind,
    values: &'static [&'static str],
    otherwise: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        required: false,
        status: Status::Only(values, otherwise),
        doc,
    }
}

const fn word(name: &'static str) -> Choice {
    Choice {
        name,
        status: Status::Ready,
    }
}

/// The number in a node, or what is wrong with it.
pub(crate) fn count(node: &Node, least: u64, most: u64) -> Result<u64, String> {
    let wanted = || format!("expected a whole number, found {}", node.described());
    let Content::Scalar(scalar) = &node.content else {
        return Err(wanted());
    };
    let number = match scalar.typed {
        Typed::Integer(number) => number,
        // 1e3 and 5.0 are floats to YAML.
        #[allow(clippy::cast_possible_truncation)]
        Typed::Float(x) if x.fract() == 0.0 && x.abs() < 1e15 => x as i128,
        _ => return Err(wanted()),
    };
    match u64::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ if number < i128::from(least) => Err(format!(
            "`{number}` is less than {least}, the least there is"
        )),
        _ => Err(format!("`{number}` is more than {most}, the most there is")),
    }
}

/// The number in a node, whole or not, or what is wrong with it.
pub(crate) fn number(node: &Node, least: f64, most: f64) -> Result<f64, String> {
    let number = match node.scalar().map(|scalar| &scalar.typed) {
        #[allow(clippy::cast_precision_loss)]
        Some(Typed::Integer(number)) => *number as f64,
        Some(Typed::Float(number)) => *number,
        _ => return Err(format!("expected a number, found {}", node.described())),
    };
    if number.is_nan() || number < least || number > most {
        return Err(format!("`{number}` is not between {least} and {most}"));
    }
    Ok(number)
}

/// The duration in a node, or what is wrong with it.
pub(crate) fn duration(node: &Node, least: Duration, most: Duration) -> Result<Duration, String> {
    let wanted = || {
        format!(
            "expected a duration such as `30s`, found {}",
            node.described()
        )
    };
    let Content::Scalar(scalar) = &node.content else {
        return Err(wanted());
    };
    if matches!(scalar.typed, Typed::Null | Typed::Flag(_)) {
        return Err(wanted());
    }
    let duration = parse_duration(&scalar.text)?;
    if duration < least {
        return Err(if least <= Duration::from_nanos(1) {
            "the duration must be more than zero".to_owned()
        } else {
            format!("the duration must be at least {least:?}")
        });
    }
    if duration > most {
        return Err(format!("the duration must be at most {most:?}"));
    }
    Ok(duration)
}

/// The size in a node, or what is wrong with it.
pub(crate) fn size(node: &Node, least: u64, most: u64) -> Result<u64, String> {
    let wanted = || {
        format!(
            "expected a size such as `64MiB`, found {}",
            node.described()
        )
    };
    let Content::Scalar(scalar) = &node.content else {
        return Err(wanted());
    };
    if matches!(scalar.typed, Typed::Null | Typed::Flag(_)) {
        return Err(wanted());
    }
    match parse_size(&scalar.text)? {
        size if size < least => Err(format!("the size must be at least {least} bytes")),
        size if size > most => Err(format!("the size must be at most {most} bytes")),
        size => Ok(size),
    }
}

/// The flag in a node, or what is wrong with it.
pub(crate) fn flag(node: &Node) -> Result<bool, String> {
    match node.scalar().map(|scalar| &scalar.typed) {
        Some(Typed::Flag(flag)) => Ok(*flag),
        _ => Err(format!(
            "expected `true` or `false`, found {}",
            node.described()
        )),
    }
}

/// The text in a node, or what is wrong with it.
pub(crate) fn text(node: &Node) -> Result<&str, String> {
    match node.scalar() {
        Some(scalar) if scalar.typed != Typed::Null => Ok(&scalar.text),
        _ => Err(format!("expected text, found {}", node.described())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Every table that can be reached from `kind`.
    fn tables(kind: &'static Kind, out: &mut Vec<&'static Table>) {
        match kind {
            Kind::Map(inner)
            | Kind::SomeMap(inner)
            | Kind::List(inner)
            | Kind::Some(inner)
            | Kind::OneOrMore(inner)
            | Kind::TextOr(inner) => tables(inner, out),
            Kind::Table(table) | Kind::OneKey(table) => {
                out.push(table);
                table.keys().for_each(|key| tables(&key.kind, out));
            }
            Kind::Union(union) => {
                for variant in union.variants {
                    out.push(variant.table);
                    variant.table.keys().for_each(|key| tables(&key.kind, out));
                }
                union.forms.iter().for_each(|form| tables(&form.kind, out));
            }
            _ => {}
        }
    }

    #[test]
    fn every_key_is_described_once() {
        static ROOT: Kind = Kind::Table(&PLAN);
        let mut all = Vec::new();
        tables(&ROOT, &mut all);
        assert!(all.len() > 20, "the walk reaches the tables");
        for table in all {
            let mut names = HashSet::new();
            for key in table.keys() {
                assert!(
                    names.insert(key.name),
                    "{}: `{}` twice",
                    table.what,
                    key.name
                );
                assert!(
                    !key.doc.is_empty(),
                    "{}: `{}` has no description",
                    table.what,
                    key.name
                );
                let required_later = key.required && !matches!(key.status, Status::Ready);
                assert!(
                    !required_later,
                    "{}: `{}` cannot be given",
                    table.what, key.name
                );
            }
        }
    }
}
