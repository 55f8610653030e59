//! Texts come from plans, targets and files of anyone: whatever is shown of them goes through a function here.

/// Whether a character would steer a terminal, break a line, turn the direction of writing, not be seen, or be no character of
/// XML: control characters (C0 and C1, terminal escapes begin with one), line and paragraph separators, marks, embeddings,
/// overrides and isolates of direction, characters without width, and what Unicode says is none.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fdd0}'..='\u{fdef}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
        || u32::from(c) & 0xfffe == 0xfffe
}

/// Text from outside on one line, with what [`is_hidden`] made visible as an escape.
#[must_use]
pub fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// [`inert`], for text and quoted attributes of HTML and XML.
#[must_use]
pub fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_hidden(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_hides_is_made_visible() {
        for (text, shown) in [
            ("a\x1b[31mb", "a\\u{1b}[31mb"),
            // C1: the one-character form of the same.
            ("a\u{9b}31m\u{85}", "a\\u{9b}31m\\u{85}"),
            ("two\r\nlines\tof \0", "two\\r\\nlines\\tof \\u{0}"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
            ("\u{202e}txt.exe\u{202c}", "\\u{202e}txt.exe\\u{202c}"),
            (
                "\u{61c}\u{200e}\u{200f}\u{2066}\u{2069}",
                "\\u{61c}\\u{200e}\\u{200f}\\u{2066}\\u{2069}",
            ),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{fffe}\u{1ffff}\u{fdd0}", "\\u{fffe}\\u{1ffff}\\u{fdd0}"),
            // Letters of any script, signs and pictures are text.
            (
                "é ü 漢字 עברית ✓ 😀 \u{fffd}",
                "é ü 漢字 עברית ✓ 😀 \u{fffd}",
            ),
        ] {
            assert_eq!(inert(text), shown);
            assert_eq!(markup(text), shown);
            assert!(!inert(text).chars().any(is_hidden));
        }
    }

    #[test]
    fn markup_is_text() {
        assert_eq!(
            markup("<img src=x onerror='a&b'>\""),
            "&lt;img src=x onerror=&#39;a&amp;b&#39;&gt;&quot;"
        );
    }
}
