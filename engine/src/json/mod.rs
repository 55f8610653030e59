//! JSON bodies: parsed once into a flat list of nodes whose memory is used again, and queried there. No tree is built
//! and no number or string is converted before something asks for it.

mod query;
mod tape;
mod text;

pub(crate) use query::{Finder, TooLong};
pub(crate) use tape::{JsonError, Kind, NodeId, Tape};
pub(crate) use text::{decode, number_of, write_compact, write_text};

#[cfg(test)]
mod tests;
