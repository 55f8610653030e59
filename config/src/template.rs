//! Text with `${…}` in it, split into its parts. What a placeholder stands for is decided in `compile::scope`.

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// As it is. `$${` has become `${`.
    Literal(&'a str),
    /// What stands between `${` and `}`, without the spaces around it.
    Slot(&'a str),
}

/// Splits `text`. The error is the placeholder that has no end, to the end of the text.
pub(crate) fn parse(text: &str) -> Result<Vec<Part<'_>>, &str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, slot) = rest.split_at(at);
        let inner = &slot["${".len()..];
        // `$${` is the literal `${`: the first dollar goes.
        if let Some(before) = before.strip_suffix('$') {
            push_literal(&mut parts, before);
            push_literal(&mut parts, "${");
            rest = inner;
            continue;
        }
        push_literal(&mut parts, before);
        let (name, after) = inner.split_once('}').ok_or(slot)?;
        parts.push(Part::Slot(name.trim()));
        rest = after;
    }
    push_literal(&mut parts, rest);
    Ok(parts)
}

fn push_literal<'a>(parts: &mut Vec<Part<'a>>, text: &'a str) {
    if !text.is_empty() {
        parts.push(Part::Literal(text));
    }
}

#[cfg(test)]
mod tests {
    use super::Part::{Literal, Slot};
    use super::*;

    #[test]
    fn placeholders_are_split_from_the_text_around_them() {
        for (text, parts) in [
            ("", vec![]),
            ("plain $5 {x}", vec![Literal("plain $5 {x}")]),
            ("${a}", vec![Slot("a")]),
            (
                "x${ a }y${b}",
                vec![Literal("x"), Slot("a"), Literal("y"), Slot("b")],
            ),
            ("$${a}", vec![Literal("${"), Literal("a}")]),
            ("$$${a}", vec![Literal("$"), Literal("${"), Literal("a}")]),
            ("${}", vec![Slot("")]),
            ("é${ü}", vec![Literal("é"), Slot("ü")]),
        ] {
            assert_eq!(parse(text), Ok(parts), "{text}");
        }
    }

    #[test]
    fn a_placeholder_without_end_is_the_error() {
        assert_eq!(parse("a${b"), Err("${b"));
        assert_eq!(parse("${a}${"), Err("${"));
    }
}
