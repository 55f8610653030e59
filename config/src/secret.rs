//! Values that no output may show: how they are kept, and how they are taken out of a text that may hold them.

use std::borrow::Cow;
use std::fmt;

use crate::program::Escape;

/// What stands where a secret was.
const MASK: &str = "***";
/// The fewest bytes of a secret's beginning that are taken out where a text was cut in the middle of it.
const CUT_BYTES_MIN: usize = 4;

/// Bytes that are sent and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Box<[u8]>);

impl Hidden {
    pub(crate) fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the target's eyes alone.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// The values of a plan's `secrets`, in every form in which a target could send them back.
#[derive(Default)]
pub struct Secrets {
    /// Longest first, so that a secret that holds another is taken out whole.
    forms: Vec<String>,
}

impl Secrets {
    pub(crate) fn new<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut forms = Vec::new();
        for value in values {
            for escape in [Escape::None, Escape::Url, Escape::Component, Escape::Json] {
                let mut form = Vec::new();
                escape.write(value.as_bytes(), &mut form);
                // No escape makes anything but UTF-8 of UTF-8.
                forms.extend(String::from_utf8(form));
            }
        }
        forms.retain(|form| !form.is_empty());
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms }
    }

    /// The text without the secrets in it, also where it was cut (at its end or before a `…`) in the middle of one.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut out = Cow::Borrowed(text);
        for form in &self.forms {
            if out.contains(form.as_str()) {
                out = Cow::Owned(out.replace(form.as_str(), MASK));
            }
        }
        for form in &self.forms {
            cut_ends(form, &mut out);
        }
        out
    }
}

/// Takes out the beginnings of `form` at which `text` was cut.
fn cut_ends(form: &str, text: &mut Cow<'_, str>) {
    let ends: Vec<usize> = text
        .match_indices('…')
        .map(|(at, _)| at)
        .chain([text.len()])
        .collect();
    // From the back, so that the places before stay where they are.
    for end in ends.into_iter().rev() {
        let longest = (CUT_BYTES_MIN..form.len())
            .rev()
            .filter(|len| form.is_char_boundary(*len))
            .find(|len| text[..end].ends_with(&form[..*len]));
        if let Some(len) = longest {
            text.to_mut().replace_range(end - len..end, MASK);
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({MASK})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_secret_is_taken_out_of_a_text() {
        let secrets = Secrets::new(["p\"ss word", "key", "keyring"]);
        for (text, redacted) in [
            ("nothing here", "nothing here"),
            ("a p\"ss word, twice: p\"ss word", "a ***, twice: ***"),
            (r#"{"a":"p\"ss word"}"#, r#"{"a":"***"}"#),
            ("?a=p%22ss%20word&b=key", "?a=***&b=***"),
            ("keyring", "***"),
            ("cut in the middle: p\"ss w", "cut in the middle: ***"),
            ("found `p\"ss…` and `keyr… ", "found `***…` and `***r… "),
            ("p\"s", "p\"s"),
        ] {
            assert_eq!(secrets.redact(text), redacted, "{text}");
        }
        assert_eq!(Secrets::default().redact("key"), "key");
    }

    #[test]
    fn a_debug_print_shows_nothing() {
        let shown = format!("{:?} {:?}", Hidden::new(*b"abc"), Secrets::new(["abc"]));
        assert_eq!(shown, "*** Secrets(***)");
    }
}
