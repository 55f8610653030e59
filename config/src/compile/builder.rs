//! Text with holes on its way to a [`Template`].

use std::rc::Rc;
use std::sync::Arc;

use crate::program::{Escape, Hidden, Piece, Source, Template};

/// A folded text's part.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Fragment {
    Text(String),
    /// Known like text, but kept apart so that no message shows it.
    Secret(Rc<str>),
    Value(Source),
}

/// Adds text, merging it with text before it.
pub(super) fn push_text(fragments: &mut Vec<Fragment>, text: &str) {
    match fragments.last_mut() {
        _ if text.is_empty() => {}
        Some(Fragment::Text(last)) => last.push_str(text),
        _ => fragments.push(Fragment::Text(text.to_owned())),
    }
}

/// Makes a [`Template`] piece by piece, merging what is adjacent.
#[derive(Default)]
pub(super) struct Builder {
    pieces: Vec<Piece>,
    literal: Vec<u8>,
}

impl Builder {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.literal.extend_from_slice(bytes);
    }

    pub(super) fn fragments(&mut self, fragments: &[Fragment], escape: Escape) {
        for fragment in fragments {
            match fragment {
                Fragment::Text(text) => escape.write(text.as_bytes(), &mut self.literal),
                Fragment::Secret(secret) => {
                    let mut bytes = Vec::new();
                    escape.write(secret.as_bytes(), &mut bytes);
                    self.piece(Piece::Secret(Hidden::new(bytes)));
                }
                Fragment::Value(source) => self.piece(Piece::Value {
                    source: *source,
                    escape,
                }),
            }
        }
    }

    pub(super) fn file(&mut self, content: Arc<[u8]>) {
        if !content.is_empty() {
            self.piece(Piece::File(content));
        }
    }

    /// All of another one.
    pub(super) fn template(&mut self, template: Template) {
        for piece in template.pieces {
            match piece {
                Piece::Literal(bytes) => self.bytes(&bytes),
                piece => self.piece(piece),
            }
        }
    }

    pub(super) fn piece(&mut self, piece: Piece) {
        self.flush();
        self.pieces.push(piece);
    }

    fn flush(&mut self) {
        if !self.literal.is_empty() {
            self.pieces
                .push(Piece::Literal(std::mem::take(&mut self.literal).into()));
        }
    }

    pub(super) fn finish(mut self) -> Template {
        self.flush();
        Template {
            pieces: self.pieces,
        }
    }
}
