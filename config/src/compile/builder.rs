//! Text with holes on its way to a [`Template`].

use crate::program::{Escape, Piece, Source, Template};

/// A folded text's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fragment {
    Text(String),
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
                Fragment::Value(source) => self.piece(Piece::Value {
                    source: *source,
                    escape,
                }),
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
