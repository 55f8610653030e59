//! Chains: what is done with a value after it was found.

use std::io::Write;

use loadr_config::{Cast, Escape, Program, Refine, Template, Transform, ValueCheck};

use super::condition::shortened;
use crate::error_kind::ErrorKind;
use crate::http::render;
use crate::json::number_of;
use crate::shard::tools::Tools;
use crate::shard::vars::Vars;

/// Why a value is not taken.
pub(super) enum Refused {
    /// It cannot be transformed, or is not what it must be.
    Unusable(String),
    /// The check does not hold.
    Check(String),
    /// A template of the chain cannot be rendered.
    Render(ErrorKind, String),
}

/// Transforms, casts and checks a value.
pub(super) fn refine(
    refine: &Refine,
    value: &mut Vec<u8>,
    program: &Program,
    vars: &Vars,
    tools: &mut Tools,
) -> Result<(), Refused> {
    let mut scratch = std::mem::take(&mut tools.scratch);
    let rendered = |template: &Template, out: &mut Vec<u8>| {
        render(template, vars, 0, out)
            .map_err(|error| Refused::Render(error.kind(), error.text(program)))
    };
    let mut steps = || {
        for transform in &refine.transforms {
            scratch.clear();
            match transform {
                Transform::Append(template) => {
                    rendered(template, value)?;
                    continue;
                }
                Transform::Prepend(template) => {
                    rendered(template, &mut scratch)?;
                    scratch.extend_from_slice(value);
                }
                other => apply(other, value, &mut scratch).map_err(Refused::Unusable)?,
            }
            std::mem::swap(value, &mut scratch);
        }
        if let Some(as_what) = refine.cast {
            scratch.clear();
            cast(as_what, value, &mut scratch).map_err(Refused::Unusable)?;
            std::mem::swap(value, &mut scratch);
        }
        let Some(check) = &refine.check else {
            return Ok(());
        };
        scratch.clear();
        if let Some(equals) = &check.equals {
            rendered(equals, &mut scratch)?;
            if *value != scratch {
                return Err(Refused::Check(format!(
                    "`{}` is not `{}`",
                    shortened(value),
                    shortened(&scratch)
                )));
            }
        }
        if let Some(regex) = check.matches
            && !tools.regexes[regex.at()].0.is_match(value)
        {
            return Err(Refused::Check(format!(
                "`{}` does not match",
                shortened(value)
            )));
        }
        holds(check, value).map_err(Refused::Check)
    };
    let refined = steps();
    tools.scratch = scratch;
    refined
}

/// Writes the transformed value to `out`, which is empty.
fn apply(transform: &Transform, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let text = || String::from_utf8_lossy(value);
    match transform {
        Transform::Trim => out.extend_from_slice(text().trim().as_bytes()),
        Transform::Lowercase => out.extend_from_slice(text().to_lowercase().as_bytes()),
        Transform::Uppercase => out.extend_from_slice(text().to_uppercase().as_bytes()),
        Transform::UrlEncode => Escape::Component.write(value, out),
        Transform::UrlDecode => url_decode(value, out)?,
        Transform::Base64Encode => base64_encode(value, out),
        Transform::Base64Decode => base64_decode(value, out)?,
        Transform::Replace { from, to } => {
            out.extend_from_slice(text().replace(&**from, to).as_bytes());
        }
        Transform::Substring { start, len } => {
            let text = text();
            let chars = text.chars().skip(*start).take(len.unwrap_or(usize::MAX));
            out.extend_from_slice(chars.collect::<String>().as_bytes());
        }
        // Their templates are rendered by the caller.
        Transform::Append(_) | Transform::Prepend(_) => out.extend_from_slice(value),
    }
    Ok(())
}

fn url_decode(value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let digit = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        if byte != b'%' {
            out.push(byte);
            at += 1;
            continue;
        }
        let (Some(high), Some(low)) = (digit(value.get(at + 1)), digit(value.get(at + 2))) else {
            return Err(format!(
                "`{}` has a `%` without two hexadecimal digits",
                shortened(value)
            ));
        };
        out.push((high * 16 + low) as u8);
        at += 3;
    }
    Ok(())
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64_encode(value: &[u8], out: &mut Vec<u8>) {
    for group in value.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            out.push(if i <= group.len() {
                BASE64[(bits >> (18 - 6 * i)) as usize & 63]
            } else {
                b'='
            });
        }
    }
}

fn base64_decode(value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("`{}` is not base64", shortened(value));
    let value_end = value.trim_ascii_end();
    let digits = value_end
        .strip_suffix(b"==")
        .or(value_end.strip_suffix(b"="));
    let (mut bits, mut count) = (0_u32, 0_u32);
    for &byte in digits.unwrap_or(value_end) {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'\r' | b'\n' => continue,
            _ => return Err(wrong()),
        };
        bits = bits << 6 | u32::from(digit);
        count += 1;
        if count.is_multiple_of(4) {
            out.extend_from_slice(&bits.to_be_bytes()[1..]);
            bits = 0;
        }
    }
    match count % 4 {
        0 => {}
        2 => out.push((bits >> 4) as u8),
        3 => out.extend_from_slice(&((bits >> 2) as u16).to_be_bytes()),
        _ => return Err(wrong()),
    }
    Ok(())
}

/// Writes what the value is as another type to `out`, which is empty.
fn cast(cast: Cast, value: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = |what: &str| format!("`{}` is not {what}", shortened(value));
    let text = value.trim_ascii();
    let number = || number_of(text).filter(|number| number.is_finite());
    match cast {
        Cast::Text => out.extend_from_slice(value),
        Cast::Int => {
            if let Some(whole) = std::str::from_utf8(text)
                .ok()
                .and_then(|t| t.parse::<i128>().ok())
            {
                return digits(out, format_args!("{whole}"));
            }
            match number() {
                // Beyond that an f64 does not hold every whole number.
                Some(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
                    return digits(out, format_args!("{number:.0}"));
                }
                _ => return Err(wrong("an int")),
            }
        }
        Cast::Float => match number() {
            Some(number) => return digits(out, format_args!("{number}")),
            None => return Err(wrong("a float")),
        },
        Cast::Bool => {
            let is = |words: [&str; 3]| {
                words
                    .iter()
                    .any(|word| word.as_bytes().eq_ignore_ascii_case(text))
            };
            let word: &[u8] = if is(["true", "yes", "1"]) {
                b"true"
            } else if is(["false", "no", "0"]) {
                b"false"
            } else {
                return Err(wrong("a bool"));
            };
            out.extend_from_slice(word);
        }
    }
    Ok(())
}

fn digits(out: &mut Vec<u8>, number: std::fmt::Arguments<'_>) -> Result<(), String> {
    // Writing to memory does not fail.
    out.write_fmt(number).map_err(|error| error.to_string())
}

/// What of a check needs no template and no pattern.
fn holds(check: &ValueCheck, value: &[u8]) -> Result<(), String> {
    let shown = || shortened(value);
    if check.not_empty && value.is_empty() {
        return Err("the value is empty".to_owned());
    }
    if !check.one_of.is_empty() && !check.one_of.iter().any(|one| **one == *value) {
        return Err(format!("`{}` is none of those it must be", shown()));
    }
    if check.min.is_none() && check.max.is_none() {
        return Ok(());
    }
    let number = number_of(value.trim_ascii()).filter(|number| !number.is_nan());
    let Some(number) = number else {
        return Err(format!("`{}` is not a number", shown()));
    };
    match (check.min, check.max) {
        (Some(min), _) if number < min => Err(format!("`{}` is less than {min}", shown())),
        (_, Some(max)) if number > max => Err(format!("`{}` is more than {max}", shown())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(transform: &Transform, value: &str) -> Result<String, String> {
        let mut out = Vec::new();
        apply(transform, value.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn transforms_do_what_their_names_say() {
        let substring = |start, len| Transform::Substring { start, len };
        for (transform, value, expected) in [
            (Transform::Trim, " \ta b\n", "a b"),
            (Transform::Lowercase, "ÄB", "äb"),
            (Transform::Uppercase, "äb", "ÄB"),
            (Transform::UrlEncode, "a b&é~", "a%20b%26%C3%A9~"),
            (Transform::UrlDecode, "a%20b+%c3%A9", "a b+é"),
            (substring(1, Some(2)), "äöüß", "öü"),
            (substring(2, None), "äöüß", "üß"),
            (substring(9, Some(1)), "äöüß", ""),
            (
                Transform::Replace {
                    from: "a".into(),
                    to: "bb".into(),
                },
                "banana",
                "bbbnbbnbb",
            ),
        ] {
            assert_eq!(
                applied(&transform, value).as_deref(),
                Ok(expected),
                "{transform:?}"
            );
        }
        assert!(applied(&Transform::UrlDecode, "a%2").is_err());
        assert!(applied(&Transform::UrlDecode, "%zz").is_err());
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648 section 10.
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
            ("???>>>", "Pz8/Pj4+"),
        ] {
            assert_eq!(
                applied(&Transform::Base64Encode, plain).as_deref(),
                Ok(encoded)
            );
            let bare = encoded
                .trim_end_matches('=')
                .replace('+', "-")
                .replace('/', "_");
            for encoded in [encoded, bare.as_str()] {
                assert_eq!(
                    applied(&Transform::Base64Decode, encoded).as_deref(),
                    Ok(plain)
                );
            }
        }
        for bad in ["Z", "Zg=a", "Zm9*", "ä"] {
            assert!(applied(&Transform::Base64Decode, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn casts_take_what_means_the_same() {
        let casted = |what, value: &str| {
            let mut out = Vec::new();
            cast(what, value.as_bytes(), &mut out).ok()?;
            String::from_utf8(out).ok()
        };
        for (what, value, expected) in [
            (Cast::Int, " 42 ", Some("42")),
            (Cast::Int, "-7.0", Some("-7")),
            (Cast::Int, "1e3", Some("1000")),
            (
                Cast::Int,
                "123456789012345678901",
                Some("123456789012345678901"),
            ),
            (Cast::Int, "4.2", None),
            (Cast::Int, "1e400", None),
            (Cast::Int, "", None),
            (Cast::Float, "4.20", Some("4.2")),
            (Cast::Float, "NaN", None),
            (Cast::Float, "x", None),
            (Cast::Bool, "TRUE", Some("true")),
            (Cast::Bool, "0", Some("false")),
            (Cast::Bool, "maybe", None),
            (Cast::Text, " x ", Some(" x ")),
        ] {
            assert_eq!(casted(what, value).as_deref(), expected, "{what:?} {value}");
        }
    }
}
