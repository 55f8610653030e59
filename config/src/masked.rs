//! A plan as people may see it: without a proxy's password that is spelled out in it.

use crate::node::{Content, Node};

/// What stands in the password's place.
const MASK: &str = "***";

/// The same document with every such password masked, in overlays as well. One that is taken from elsewhere (`${secrets.pw}`)
/// is not in it.
pub(crate) fn masked(document: &Node) -> Node {
    let mut document = document.clone();
    mask_within(&mut document);
    document
}

fn mask_within(node: &mut Node) {
    match &mut node.content {
        Content::Map(entries) => {
            for entry in entries {
                match &mut entry.value.content {
                    Content::Scalar(scalar) if entry.key == "proxy" => {
                        if let Some(text) = without_password(&scalar.text) {
                            scalar.text = text;
                        }
                    }
                    _ => mask_within(&mut entry.value),
                }
            }
        }
        Content::List(items) => items.iter_mut().for_each(mask_within),
        Content::Scalar(_) => {}
    }
}

/// `http://USER:***@HOST:PORT`; `None` when there is nothing to hide.
fn without_password(url: &str) -> Option<String> {
    let begin = url.find("://")? + 3;
    // A password may have an `@` that somebody forgot to write as `%40`.
    let end = begin + url[begin..].rfind('@')?;
    let references = hide_references(&url[begin..end]);
    let colon = begin + references.find(':')? + 1;
    let password = references[colon - begin..].trim_matches('\0');
    (!password.is_empty()).then(|| format!("{}{MASK}{}", &url[..colon], &url[end..]))
}

/// With as many zero bytes in the place of each `${…}`, so that a colon in one is none of the URL's.
fn hide_references(text: &str) -> String {
    let mut out = text.to_owned();
    let mut at = 0;
    while let Some(begin) = out[at..].find("${").map(|found| at + found) {
        let Some(len) = out[begin..].find('}') else {
            break;
        };
        out.replace_range(begin..=begin + len, &"\0".repeat(len + 1));
        at = begin + len + 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hidden_and_a_reference_to_one_is_not() {
        for (url, masked) in [
            ("http://me:pw@h:80", Some("http://me:***@h:80")),
            ("http://me:p@ss@h:80/", Some("http://me:***@h:80/")),
            ("http://me:a${secrets.b}@h:80", Some("http://me:***@h:80")),
            (
                "http://${env.A:-x}:pw@h:80",
                Some("http://${env.A:-x}:***@h:80"),
            ),
            ("http://me:${secrets.pw}@h:80", None),
            ("http://me@h:80", None),
            ("http://me:@h:80", None),
            ("http://h:80", None),
            ("h:80", None),
            ("http://é:ü@h", Some("http://é:***@h")),
            ("http://me:${open@h", Some("http://me:***@h")),
        ] {
            assert_eq!(without_password(url).as_deref(), masked, "{url}");
        }
    }
}
