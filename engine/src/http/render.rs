//! Requests from templates.

use loadr_config::{Cell, DataId, Escape, Made, Piece, Source, Template};

use crate::error_kind::ErrorKind;

/// Where a template's values come from.
pub(crate) trait Values {
    /// A variable, or `None` while it is unset.
    fn var(&self, var: loadr_config::VarId) -> Option<Cell<'_>>;
    /// `${vu}`
    fn vu(&self) -> u64;
    /// `${iteration}`
    fn iteration(&self) -> u64;
    /// A cell of the row that the iteration has of a source, which is taken now if it has none yet; `None` when there is no
    /// row left.
    fn cell(&self, source: DataId, column: u32) -> Option<Cell<'_>>;
    /// Appends a fresh value, of ASCII.
    fn make(&self, made: Made, out: &mut Vec<u8>);
}

/// Why a request cannot be rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RenderError {
    /// A variable is not set.
    Unset(loadr_config::VarId),
    /// A variable's bytes cannot stand in a header field.
    Header(loadr_config::VarId),
    /// A source has no row left: the virtual user ends.
    NoRow(DataId),
    /// A cell's bytes cannot stand in a header field.
    HeaderCell(DataId),
}

impl RenderError {
    /// For people.
    pub(crate) fn text(self, program: &loadr_config::Program) -> String {
        match self {
            Self::Unset(var) => format!("variable `{}` is not set", program.vars[var.at()]),
            Self::Header(var) => {
                format!(
                    "variable `{}` has a line break or NUL in a header",
                    program.vars[var.at()]
                )
            }
            Self::NoRow(source) => {
                format!("`{}` has no row left", program.data[source.at()].name)
            }
            Self::HeaderCell(source) => {
                format!(
                    "a row of `{}` has a line break or NUL in a header",
                    program.data[source.at()].name
                )
            }
        }
    }

    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Self::Unset(_) => ErrorKind::UnsetVariable,
            Self::Header(_) | Self::HeaderCell(_) => ErrorKind::InvalidHeader,
            Self::NoRow(_) => ErrorKind::Flow,
        }
    }
}

/// Appends the rendered template. `body_len` stands for [`Piece::BodyLength`].
pub(crate) fn render(
    template: &Template,
    values: &impl Values,
    body_len: usize,
    out: &mut Vec<u8>,
) -> Result<(), RenderError> {
    for piece in &template.pieces {
        match piece {
            Piece::Literal(bytes) => out.extend_from_slice(bytes),
            Piece::Secret(secret) => out.extend_from_slice(secret.bytes()),
            Piece::File(bytes) => out.extend_from_slice(bytes),
            Piece::BodyLength => decimal(body_len as u64, out),
            Piece::Value { source, escape } => match *source {
                Source::Vu => decimal(values.vu(), out),
                Source::Iteration => decimal(values.iteration(), out),
                Source::Var(var) => {
                    let value = values.var(var).ok_or(RenderError::Unset(var))?;
                    if !write(value, *escape, out) {
                        return Err(RenderError::Header(var));
                    }
                }
                Source::Data { source, column } => {
                    let cell = values
                        .cell(source, column)
                        .ok_or(RenderError::NoRow(source))?;
                    if !write(cell, *escape, out) {
                        return Err(RenderError::HeaderCell(source));
                    }
                }
                Source::Made(made) => {
                    let start = out.len();
                    values.make(made, out);
                    // The colons of a time are all that any of them has to escape.
                    if made == Made::Iso && *escape == Escape::Component {
                        encode_colons(out, start);
                    }
                }
            },
        }
    }
    Ok(())
}

/// Appends a value as it must stand there; false when it may not.
#[inline]
fn write(value: Cell<'_>, escape: Escape, out: &mut Vec<u8>) -> bool {
    if value.is_json && escape == Escape::JsonValue {
        out.extend_from_slice(value.bytes);
    } else if escape.allows(value.bytes) {
        escape.write(value.bytes, out);
    } else {
        return false;
    }
    true
}

fn encode_colons(out: &mut Vec<u8>, mut from: usize) {
    while let Some(at) = out[from..].iter().position(|b| *b == b':') {
        from += at;
        out.splice(from..=from, *b"%3A");
    }
}

/// Appends the number in decimal digits.
pub(crate) fn decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadr_config::VarId;

    struct One(&'static [u8]);
    impl Values for One {
        /// Variable 0 has text, 1 has JSON, others are unset.
        fn var(&self, var: VarId) -> Option<Cell<'_>> {
            let bytes = self.0;
            (var.0 < 2).then_some(Cell {
                bytes,
                is_json: var.0 == 1,
            })
        }
        fn vu(&self) -> u64 {
            18_446_744_073_709_551_615
        }
        fn iteration(&self) -> u64 {
            0
        }
        /// Source 0 has text, 1 has JSON, others are at their end.
        fn cell(&self, source: DataId, _: u32) -> Option<Cell<'_>> {
            let bytes = self.0;
            (source.0 < 2).then_some(Cell {
                bytes,
                is_json: source.0 == 1,
            })
        }
        fn make(&self, made: Made, out: &mut Vec<u8>) {
            assert_eq!(made, Made::Iso);
            out.extend(b"01:02:03Z");
        }
    }

    fn rendered(
        source: Source,
        escape: Escape,
        value: &'static [u8],
    ) -> Result<String, RenderError> {
        let template = Template {
            pieces: vec![
                Piece::Literal((*b"<").into()),
                Piece::Value { source, escape },
                Piece::Literal((*b">").into()),
                Piece::BodyLength,
            ],
        };
        let mut out = Vec::new();
        render(&template, &One(value), 1234, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn values_are_escaped_for_where_they_stand() {
        let var = Source::Var(VarId(0));
        assert_eq!(
            rendered(var, Escape::None, b"a\r\nb").unwrap(),
            "<a\r\nb>1234"
        );
        assert_eq!(
            rendered(var, Escape::Url, b"a b\r\n/?x=\xc3\xa9%20#").unwrap(),
            "<a%20b%0D%0A/?x=%C3%A9%20%23>1234"
        );
        assert_eq!(
            rendered(var, Escape::Json, b"\"\\\n\x01z").unwrap(),
            "<\\\"\\\\\\n\\u0001z>1234"
        );
        assert_eq!(rendered(var, Escape::Header, b"a b").unwrap(), "<a b>1234");
        assert_eq!(
            rendered(var, Escape::JsonValue, b"7").unwrap(),
            "<\"7\">1234"
        );
        let json = Source::Var(VarId(1));
        assert_eq!(rendered(json, Escape::JsonValue, b"7").unwrap(), "<7>1234");
        assert_eq!(
            rendered(var, Escape::Component, b"a b&c=d%").unwrap(),
            "<a%20b%26c%3Dd%25>1234"
        );
        assert_eq!(
            rendered(Source::Vu, Escape::Url, b"").unwrap(),
            "<18446744073709551615>1234"
        );
        assert_eq!(
            rendered(Source::Iteration, Escape::None, b"").unwrap(),
            "<0>1234"
        );
    }

    #[test]
    fn cells_and_made_values_are_escaped_for_where_they_stand() {
        let cell = |source| Source::Data {
            source: DataId(source),
            column: 0,
        };
        let json = Escape::JsonValue;
        assert_eq!(rendered(cell(0), json, b"a\"").unwrap(), "<\"a\\\"\">1234");
        assert_eq!(rendered(cell(1), json, b"[1]").unwrap(), "<[1]>1234");
        assert_eq!(
            rendered(cell(1), Escape::Component, b"[1]").unwrap(),
            "<%5B1%5D>1234"
        );
        assert_eq!(
            rendered(cell(0), Escape::PartName, b"a \"b\"\r\n%").unwrap(),
            "<a %22b%22%0D%0A%>1234"
        );
        assert_eq!(
            rendered(cell(1), Escape::Header, b"a\nb"),
            Err(RenderError::HeaderCell(DataId(1)))
        );
        assert_eq!(
            rendered(cell(2), Escape::None, b""),
            Err(RenderError::NoRow(DataId(2)))
        );
        let iso = Source::Made(Made::Iso);
        assert_eq!(
            rendered(iso, Escape::Component, b"").unwrap(),
            "<01%3A02%3A03Z>1234"
        );
        assert_eq!(rendered(iso, Escape::Url, b"").unwrap(), "<01:02:03Z>1234");
    }

    #[test]
    fn a_value_that_would_split_a_header_is_refused() {
        for bad in [b"a\rb".as_slice(), b"\n", b"a\0"] {
            let got = rendered(Source::Var(VarId(0)), Escape::Header, bad);
            assert_eq!(got, Err(RenderError::Header(VarId(0))));
        }
    }

    #[test]
    fn an_unset_variable_is_told_by_its_number() {
        let got = rendered(Source::Var(VarId(7)), Escape::None, b"");
        assert_eq!(got, Err(RenderError::Unset(VarId(7))));
    }
}
