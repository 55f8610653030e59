//! The plan with the chosen `env` overlay over it.

use std::collections::HashMap;

use crate::Options;
use crate::diagnostic::{Report, shown};
use crate::node::{Content, Entry, Layer, Node, Path, Pos};

/// Lays the chosen overlay over the plan. The result has no `env` any more; that comes back beside it.
pub(crate) fn apply(
    mut document: Node,
    options: &Options,
    report: &mut Report,
) -> (Node, Option<Entry>) {
    let mut overlays = None;
    if let Content::Map(entries) = &mut document.content
        && let Some(i) = entries.iter().position(|entry| entry.key == "env")
    {
        overlays = Some(entries.remove(i));
    }
    let Some(wanted) = &options.env else {
        return (document, overlays);
    };
    let names: Vec<&str> = overlays
        .iter()
        .flat_map(|entry| entry.value.entries())
        .map(|entry| entry.key.as_str())
        .collect();
    let chosen = overlays
        .as_ref()
        .and_then(|overlays| overlays.value.get(wanted));
    if let Some(chosen) = chosen {
        report.overlay = Some(wanted.clone());
        let mut over = chosen.clone();
        set_layer(&mut over, Layer::Overlay);
        // An empty overlay changes nothing; anything else that is no mapping has been reported.
        if matches!(over.content, Content::Map(_)) {
            document = merge(document, over);
        }
    } else {
        let flag = Pos {
            layer: Layer::Flag("--env"),
            ..Pos::default()
        };
        let pos = overlays.as_ref().map_or(flag, |entry| entry.pos);
        let message = format!("the plan has no environment `{}`", shown(wanted));
        let help = report
            .suggest(wanted, names.iter().copied())
            .unwrap_or_else(|| {
                if overlays.is_none() {
                    "it has no `env`".to_owned()
                } else if names.is_empty() {
                    "its `env` has none".to_owned()
                } else {
                    let names: Vec<String> = names
                        .iter()
                        .map(|name| format!("`{}`", shown(name)))
                        .collect();
                    format!("there are {}", names.join(", "))
                }
            });
        report.error(&Path::Root.key("env").at(pos), message, Some(help));
    }
    (document, overlays)
}

fn set_layer(node: &mut Node, layer: Layer) {
    node.pos.layer = layer;
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::List(items) => items.iter_mut().for_each(|item| set_layer(item, layer)),
        Content::Map(entries) => {
            for entry in entries {
                entry.pos.layer = layer;
                set_layer(&mut entry.value, layer);
            }
        }
    }
}

/// Mappings merge key by key, everything else is replaced. The keys of `under` keep their order, new ones follow.
pub(crate) fn merge(under: Node, over: Node) -> Node {
    match (under.content, over.content) {
        (Content::Map(mut entries), Content::Map(overs)) => {
            let places: HashMap<String, usize> = entries
                .iter()
                .enumerate()
                .map(|(i, entry)| (entry.key.clone(), i))
                .collect();
            for over in overs {
                match places.get(&over.key).and_then(|i| entries.get_mut(*i)) {
                    Some(entry) => {
                        let nothing = Node {
                            pos: over.pos,
                            content: Content::Map(Vec::new()),
                        };
                        let under = std::mem::replace(&mut entry.value, nothing);
                        entry.value = merge(under, over.value);
                        entry.pos = over.pos;
                    }
                    None => entries.push(over),
                }
            }
            // What is still missing in it is missing where the plan wrote it.
            Node {
                pos: under.pos,
                content: Content::Map(entries),
            }
        }
        (_, content) => Node {
            pos: over.pos,
            content,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;
    use crate::node::{Scalar, Typed};

    fn node() -> impl Strategy<Value = Node> {
        let of = |content| Node {
            pos: Pos::default(),
            content,
        };
        let leaf = "[ab]".prop_map(|text| {
            Content::Scalar(Scalar {
                text,
                typed: Typed::Text,
            })
        });
        leaf.prop_map(of).prop_recursive(4, 30, 4, move |inner| {
            let map = proptest::collection::btree_map("[a-d]", inner.clone(), 0..4);
            prop_oneof![
                proptest::collection::vec(inner, 0..3)
                    .prop_map(move |items| of(Content::List(items))),
                map.prop_map(move |map| {
                    let entry = |(key, value)| Entry {
                        key,
                        pos: Pos::default(),
                        value,
                    };
                    of(Content::Map(map.into_iter().map(entry).collect()))
                }),
            ]
        })
    }

    /// A mapping in which a key leads to a mapping or to something else by its name alone.
    fn map_node() -> impl Strategy<Value = Node> {
        let of = |content| Node {
            pos: Pos::default(),
            content,
        };
        let leaf = "[ab]".prop_map(move |text| {
            of(Content::Scalar(Scalar {
                text,
                typed: Typed::Text,
            }))
        });
        let leaf = proptest::collection::btree_map("[a-d]", leaf, 0..4);
        let map = move |map: std::collections::BTreeMap<String, Node>| {
            let entry = |(key, value)| Entry {
                key,
                pos: Pos::default(),
                value,
            };
            of(Content::Map(map.into_iter().map(entry).collect()))
        };
        leaf.prop_map(map).prop_recursive(4, 30, 4, move |inner| {
            let scalars = proptest::collection::btree_map("[a-d]", "[ab]", 0..3);
            let inner = proptest::collection::btree_map("[A-D]", inner, 0..4);
            (scalars, inner).prop_map(move |(scalars, mut both)| {
                both.extend(scalars.into_iter().map(|(key, text)| {
                    let typed = Typed::Text;
                    (key, of(Content::Scalar(Scalar { text, typed })))
                }));
                map(both)
            })
        })
    }

    /// The rule as the language states it: mappings merge, scalars and lists replace.
    fn naive(under: Json, over: Json) -> Json {
        match (under, over) {
            (Json::Object(mut under), Json::Object(over)) => {
                for (key, over) in over {
                    let merged = match under.remove(&key) {
                        Some(under) => naive(under, over),
                        None => over,
                    };
                    under.insert(key, merged);
                }
                Json::Object(under)
            }
            (_, over) => over,
        }
    }

    proptest! {
        #[test]
        fn merging_is_what_the_language_says(under in node(), over in node()) {
            let expected = naive(under.to_json(), over.to_json());
            prop_assert_eq!(merge(under, over).to_json(), expected);
        }

        /// Layers can be put together first and then laid on, as long as the keys that meet are mappings in all: a scalar or
        /// list between two mappings replaces the one and is replaced by the other.
        #[test]
        fn layers_of_mappings_can_be_grouped_either_way(a in map_node(), b in map_node(), c in map_node()) {
            let one_by_one = merge(merge(a.clone(), b.clone()), c.clone()).to_json();
            prop_assert_eq!(merge(a, merge(b, c)).to_json(), one_by_one);
        }

        #[test]
        fn a_list_is_replaced_whole(under in node(), items in proptest::collection::vec(node(), 0..3)) {
            let over = Node { pos: Pos::default(), content: Content::List(items) };
            prop_assert_eq!(merge(under, over.clone()).to_json(), over.to_json());
        }

        #[test]
        fn an_overlay_laid_on_twice_changes_nothing_more(under in node(), over in node()) {
            let once = merge(under, over.clone());
            prop_assert_eq!(merge(once.clone(), over).to_json(), once.to_json());
        }

        #[test]
        fn an_empty_overlay_changes_no_mapping(under in node()) {
            prop_assume!(matches!(under.content, Content::Map(_)));
            let nothing = Node { pos: Pos::default(), content: Content::Map(Vec::new()) };
            prop_assert_eq!(merge(under.clone(), nothing).to_json(), under.to_json());
        }
    }
}
