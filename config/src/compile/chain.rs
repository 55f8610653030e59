//! What a chain does with its value: transforms, a cast, a check.

use super::Compiler;
use super::builder::Builder;
use crate::diagnostic::{did_you_mean, shown};
use crate::language::TRANSFORM_WORDS;
use crate::node::At;
use crate::plan::{self, Text};
use crate::program::{Escape, Refine, Template, Transform, ValueCheck};

impl Compiler<'_> {
    pub(super) fn refine(&mut self, refine: &plan::Refine) -> Option<Refine> {
        // All of them, so that every error is found.
        let transforms: Vec<_> = refine
            .transforms
            .iter()
            .map(|transform| self.transform(transform))
            .collect();
        let check = match &refine.check {
            Some(check) => Some(self.value_check(check)?),
            None => None,
        };
        Some(Refine {
            transforms: transforms.into_iter().collect::<Option<_>>()?,
            cast: refine.cast,
            check,
        })
    }

    fn transform(&mut self, transform: &plan::Transform) -> Option<Transform> {
        match transform {
            plan::Transform::Word(word) => self.transform_word(word),
            plan::Transform::Append(text) => self.raw_template(text).map(Transform::Append),
            plan::Transform::Prepend(text) => self.raw_template(text).map(Transform::Prepend),
            plan::Transform::Replace(texts, at) => match texts.as_slice() {
                [from, to] if !from.is_empty() => Some(Transform::Replace {
                    from: from.as_str().into(),
                    to: to.as_str().into(),
                }),
                [_, _] => self.wrong_transform("`replace` cannot replace an empty text", at),
                _ => self.wrong_transform(
                    "`replace` takes two texts: what is replaced, and by what",
                    at,
                ),
            },
            plan::Transform::Substring(numbers, at) => {
                let number = |n: u64| usize::try_from(n).ok();
                match *numbers.as_slice() {
                    [start] => Some(Transform::Substring {
                        start: number(start)?,
                        len: None,
                    }),
                    [start, len] => Some(Transform::Substring {
                        start: number(start)?,
                        len: Some(number(len)?),
                    }),
                    _ => self.wrong_transform(
                        "`substring` takes the first character, from 0, and how many",
                        at,
                    ),
                }
            }
        }
    }

    fn transform_word(&mut self, word: &Text) -> Option<Transform> {
        Some(match word.text.as_str() {
            "trim" => Transform::Trim,
            "lowercase" => Transform::Lowercase,
            "uppercase" => Transform::Uppercase,
            "url_encode" => Transform::UrlEncode,
            "url_decode" => Transform::UrlDecode,
            "base64_encode" => Transform::Base64Encode,
            "base64_decode" => Transform::Base64Decode,
            text => {
                let takes = ["append", "prepend", "replace", "substring"];
                let message = format!("unknown transform `{}`", shown(text));
                let help = if takes.contains(&text) {
                    format!("write `{{ {text}: … }}`: it takes something")
                } else {
                    did_you_mean(text, TRANSFORM_WORDS.into_iter().chain(takes))
                        .unwrap_or_else(|| format!("there are {}", TRANSFORM_WORDS.join(", ")))
                };
                self.report.error(&word.at, message, Some(help));
                return None;
            }
        })
    }

    fn wrong_transform<T>(&mut self, message: &str, at: &At) -> Option<T> {
        self.report.error(at, message.to_owned(), None);
        None
    }

    fn value_check(&mut self, check: &plan::ValueCheck) -> Option<ValueCheck> {
        let equals = check.equals.as_ref().map(|text| self.raw_template(text));
        let matches = check
            .matches
            .as_ref()
            .map(|pattern| self.regex(&pattern.text, &pattern.at));
        let message = if equals.is_none()
            && matches.is_none()
            && check.one_of.is_empty()
            && check.min.is_none()
            && check.max.is_none()
            && !check.not_empty
        {
            "a chain's `check` needs `equals`, `matches`, `one_of`, `min`, `max` or `not_empty`"
        } else if let (Some(min), Some(max)) = (check.min, check.max)
            && min > max
        {
            "`min` is more than `max`: nothing passes"
        } else {
            return Some(ValueCheck {
                equals: flip(equals)?,
                matches: flip(matches)?,
                one_of: check.one_of.iter().map(|v| v.as_bytes().into()).collect(),
                min: check.min,
                max: check.max,
                not_empty: check.not_empty,
                on_failure: check.on_failure,
            });
        };
        self.wrong_transform(message, &check.at)
    }

    /// A text with placeholders, whose values are put in as they are.
    pub(super) fn raw_template(&mut self, text: &Text) -> Option<Template> {
        let mut template = Builder::default();
        template.fragments(&self.fold(text)?, Escape::None);
        Some(template.finish())
    }
}

/// What is given must be sound; what is not given is.
pub(super) fn flip<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    match given {
        None => Some(None),
        Some(sound) => sound.map(Some),
    }
}
