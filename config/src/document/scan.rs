//! The first reader: events with positions, as a tree whose plain scalars have no type yet. Hostile input is stopped
//! here, before anything is copied.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::{MAX_DEPTH, MAX_KEY_BYTES, MAX_NODES, MAX_SCALAR_BYTES, position_of};
use crate::diagnostic::{Report, shown};
use crate::node::{At, Content, Entry, Node, Path, Pos, Scalar, Typed};

/// Reads one document, or reports why not.
pub(super) fn scan(text: &str, report: &mut Report) -> Option<Node> {
    Scan {
        report,
        anchors: HashMap::new(),
        nodes: 0,
        scalar_bytes: 0,
        end: position_of(text, usize::MAX),
    }
    .document(text)
}

/// The events as a tree; types of plain scalars are not decided yet.
struct Scan<'r> {
    report: &'r mut Report,
    /// What each finished anchor holds, and how much an alias to it adds.
    anchors: HashMap<usize, Anchored>,
    nodes: usize,
    scalar_bytes: usize,
    /// Where the text ends.
    end: Pos,
}

struct Anchored {
    node: Node,
    nodes: usize,
    scalar_bytes: usize,
}

/// A collection that is still open.
struct Open {
    pos: Pos,
    anchor: usize,
    nodes_before: usize,
    scalar_bytes_before: usize,
    content: OpenContent,
}

enum OpenContent {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        seen: HashSet<String>,
        key: Option<(String, Pos)>,
    },
}

/// Reading cannot go on; the reason has been reported.
struct Stop;

impl Scan<'_> {
    fn document(&mut self, text: &str) -> Option<Node> {
        let mut parser = Parser::new_from_str(text);
        let mut open: Vec<Open> = Vec::new();
        let mut root: Option<Node> = None;
        while let Some(event) = parser.next_event() {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => {
                    let at = place(&open, position_of(text, error.marker().index()));
                    let message = format!("not valid YAML: {}", shown(error.info()));
                    let help = tab_help(text, at.pos);
                    self.report.error(&at, message, help);
                    return None;
                }
            };
            self.event(event, span, &mut open, &mut root).ok()?;
        }
        if root.is_none() {
            let at = At {
                path: String::new(),
                pos: Pos {
                    line: 1,
                    column: 1,
                    ..Pos::default()
                },
            };
            self.report.error(
                &at,
                "the plan is empty".to_owned(),
                Some(START_HELP.to_owned()),
            );
        }
        root
    }

    fn event(
        &mut self,
        event: Event<'_>,
        span: Span,
        open: &mut Vec<Open>,
        root: &mut Option<Node>,
    ) -> Result<(), Stop> {
        // At the end of a text without a last line break the reader counts one line too many.
        let pos = match position(&span.start) {
            pos if pos.line > self.end.line => self.end,
            pos => pos,
        };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                if root.is_some() {
                    let at = At {
                        path: String::new(),
                        pos,
                    };
                    let help = "one file is one plan; put the second document in a file of its own";
                    self.report
                        .error(&at, "a second document".to_owned(), Some(help.to_owned()));
                    return Err(Stop);
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.tag(tag.as_deref(), open, pos)?;
                self.grow(1, text.len(), open, pos)?;
                let is_key = expects_key(open);
                // Plain scalars get their type when the second reader's value is known.
                let typed = match style {
                    ScalarStyle::Plain if tag.is_none() => Typed::Null,
                    _ => Typed::Text,
                };
                let scalar = Scalar {
                    text: text.into_owned(),
                    typed,
                };
                if is_key {
                    return self.key(scalar.text, pos, open);
                }
                let node = Node {
                    pos,
                    content: Content::Scalar(scalar),
                };
                self.anchor(anchor, &node, 1)?;
                place_value(node, open, root)?;
            }
            Event::Alias(id) => {
                let Some(anchored) = self.anchors.get(&id) else {
                    let at = place(open, pos);
                    let message = "an alias to something that contains it";
                    self.report.error(&at, message.to_owned(), None);
                    return Err(Stop);
                };
                let (nodes, bytes) = (anchored.nodes, anchored.scalar_bytes);
                // Counted before it is copied: the copies are what a YAML bomb is made of.
                self.grow(nodes, bytes, open, pos)?;
                let node = self.anchors.get(&id).map(|anchored| anchored.node.clone());
                let Some(node) = node else { return Err(Stop) };
                if expects_key(open) {
                    return match node.content {
                        Content::Scalar(scalar) => self.key(scalar.text, pos, open),
                        Content::List(_) | Content::Map(_) => self.bad_key(open, pos),
                    };
                }
                place_value(node, open, root)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.as_deref(), open, pos)?;
                self.enter(anchor, pos, open, OpenContent::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.as_deref(), open, pos)?;
                let content = OpenContent::Map {
                    entries: Vec::new(),
                    seen: HashSet::new(),
                    key: None,
                };
                self.enter(anchor, pos, open, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(done) = open.pop() else {
                    return Err(Stop);
                };
                let content = match done.content {
                    OpenContent::List(items) => Content::List(items),
                    OpenContent::Map { entries, .. } => Content::Map(entries),
                };
                let node = Node {
                    pos: done.pos,
                    content,
                };
                if done.anchor != 0 {
                    let nodes = self.nodes - done.nodes_before;
                    let scalar_bytes = self.scalar_bytes - done.scalar_bytes_before;
                    // The copy that is kept counts too.
                    self.grow(nodes, scalar_bytes, open, done.pos)?;
                    let anchored = Anchored {
                        node: node.clone(),
                        nodes,
                        scalar_bytes,
                    };
                    self.anchors.insert(done.anchor, anchored);
                }
                place_value(node, open, root)?;
            }
        }
        Ok(())
    }

    fn enter(
        &mut self,
        anchor: usize,
        pos: Pos,
        open: &mut Vec<Open>,
        content: OpenContent,
    ) -> Result<(), Stop> {
        if expects_key(open) {
            return self.bad_key(open, pos);
        }
        if open.len() >= MAX_DEPTH {
            let at = At {
                path: String::new(),
                pos,
            };
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            self.report.error(&at, message, None);
            return Err(Stop);
        }
        let (nodes_before, scalar_bytes_before) = (self.nodes, self.scalar_bytes);
        self.grow(1, 0, open, pos)?;
        open.push(Open {
            pos,
            anchor,
            nodes_before,
            scalar_bytes_before,
            content,
        });
        Ok(())
    }

    fn key(&mut self, key: String, pos: Pos, open: &mut [Open]) -> Result<(), Stop> {
        let at = place_of_key(open, &key, pos);
        let Some(Open {
            content: OpenContent::Map {
                seen, key: slot, ..
            },
            ..
        }) = open.last_mut()
        else {
            return Err(Stop);
        };
        if key == "<<" {
            let help = "write the keys out, or put an alias (`*name`) where a whole value goes";
            self.report.error(
                &at,
                "merge keys (`<<`) are not supported".to_owned(),
                Some(help.to_owned()),
            );
        } else if key.len() > MAX_KEY_BYTES {
            let message = format!("a key of more than {MAX_KEY_BYTES} bytes");
            self.report.error(&at, message, None);
            return Err(Stop);
        } else if !seen.insert(key.clone()) {
            let message = format!("duplicate key `{}`", shown(&key));
            self.report
                .error(&at, message, Some("keep one of the two".to_owned()));
        }
        *slot = Some((key, pos));
        Ok(())
    }

    fn bad_key(&mut self, open: &[Open], pos: Pos) -> Result<(), Stop> {
        let help = "a `{` at the start of a value must be in quotes when it is meant as text";
        let message = "a key must be text, not a list or a mapping".to_owned();
        self.report
            .error(&place(open, pos), message, Some(help.to_owned()));
        Err(Stop)
    }

    fn anchor(&mut self, id: usize, node: &Node, nodes: usize) -> Result<(), Stop> {
        if id != 0 {
            let scalar_bytes = node.scalar().map_or(0, |scalar| scalar.text.len());
            self.grow(nodes, scalar_bytes, &[], node.pos)?;
            self.anchors.insert(
                id,
                Anchored {
                    node: node.clone(),
                    nodes,
                    scalar_bytes,
                },
            );
        }
        Ok(())
    }

    /// Counts what is about to be kept and stops when it is too much.
    fn grow(&mut self, nodes: usize, bytes: usize, open: &[Open], pos: Pos) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.scalar_bytes = self.scalar_bytes.saturating_add(bytes);
        if self.nodes > MAX_NODES || self.scalar_bytes > MAX_SCALAR_BYTES {
            let help = "aliases count as often as they are used; a plan this size is hardly meant";
            let message = format!(
                "the document grows past {MAX_NODES} values or {} MiB here",
                MAX_SCALAR_BYTES >> 20
            );
            self.report
                .error(&place(open, pos), message, Some(help.to_owned()));
            return Err(Stop);
        }
        Ok(())
    }

    /// Tags change what a value is; only the ones that say what YAML would think anyway are let through.
    fn tag(&mut self, tag: Option<&Tag>, open: &[Open], pos: Pos) -> Result<(), Stop> {
        match tag {
            None => Ok(()),
            Some(tag) if tag.is_yaml_core_schema() && KNOWN_TAGS.contains(&tag.suffix.as_str()) => {
                Ok(())
            }
            Some(tag) => {
                let message = format!("the tag `{}` means nothing here", shown(&tag.to_string()));
                let help = "a value that begins with `!` must be in quotes".to_owned();
                self.report.error(&place(open, pos), message, Some(help));
                Err(Stop)
            }
        }
    }
}

/// Puts a finished value where it belongs.
fn place_value(node: Node, open: &mut [Open], root: &mut Option<Node>) -> Result<(), Stop> {
    match open.last_mut().map(|open| &mut open.content) {
        None => *root = Some(node),
        Some(OpenContent::List(items)) => items.push(node),
        Some(OpenContent::Map { entries, key, .. }) => {
            let Some((key, pos)) = key.take() else {
                return Err(Stop);
            };
            entries.push(Entry {
                key,
                pos,
                value: node,
            });
        }
    }
    Ok(())
}

const KNOWN_TAGS: [&str; 7] = ["str", "int", "float", "bool", "null", "seq", "map"];

const START_HELP: &str = "a plan needs at least `scenarios:`";

/// Whether the next node is a mapping's key.
fn expects_key(open: &[Open]) -> bool {
    matches!(
        open.last(),
        Some(Open {
            content: OpenContent::Map { key: None, .. },
            ..
        })
    )
}

/// The path of what comes next inside the open collections.
fn place(open: &[Open], pos: Pos) -> At {
    path_in(open, &Path::Root, None, pos)
}

/// The same for `key` in the innermost mapping.
fn place_of_key(open: &[Open], key: &str, pos: Pos) -> At {
    path_in(open, &Path::Root, Some(key), pos)
}

fn path_in(open: &[Open], path: &Path<'_>, last: Option<&str>, pos: Pos) -> At {
    let Some((first, rest)) = open.split_first() else {
        return last.map_or(*path, |key| path.key(key)).at(pos);
    };
    match &first.content {
        OpenContent::List(items) => path_in(rest, &path.item(items.len()), last, pos),
        OpenContent::Map {
            key: Some((key, _)),
            ..
        } => path_in(rest, &path.key(key), last, pos),
        OpenContent::Map { key: None, .. } => path_in(rest, path, last, pos),
    }
}

fn position(marker: &Marker) -> Pos {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Pos {
        line: count(marker.line()).max(1),
        column: count(marker.col()).saturating_add(1),
        ..Pos::default()
    }
}

/// The commonest cause of a YAML error that its message does not name.
fn tab_help(text: &str, pos: Pos) -> Option<String> {
    let line = text
        .lines()
        .nth(usize::try_from(pos.line).ok()?.checked_sub(1)?)?;
    let indent = line.len() - line.trim_start().len();
    line[..indent]
        .contains('\t')
        .then(|| "indent with spaces: YAML takes no tabs there".to_owned())
}
