//! An assertion: a JSON body has the fields it should have, of the right types.
//!
//! Configured by `{"fields": {"order": "string", "state": ["confirmed", "shipped"]}}`; the README has the whole language.

mod judge;
mod shape;

use std::cell::RefCell;

use shape::Shape;

wit_bindgen::generate!({ path: "../../../plugin-host/wit", world: "loadr-assertion-plugin" });

use exports::loadr::plugin::{assertion, meta};

struct JsonShape;

export!(JsonShape);

/// How many configs are remembered. A plan has one for each place that uses the plugin.
const SHAPES_MAX: usize = 16;

thread_local! {
    /// The configs seen so far as they were read. Comparing the text is a twentieth of reading it again.
    static SHAPES: RefCell<Vec<(String, Result<Shape, String>)>> = const { RefCell::new(Vec::new()) };
}

impl meta::Guest for JsonShape {
    fn describe() -> meta::Info {
        meta::Info {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: "assertion".into(),
            description: env!("CARGO_PKG_DESCRIPTION").into(),
        }
    }
}

impl assertion::Guest for JsonShape {
    fn check(
        _status: i64,
        body: Vec<u8>,
        _headers: Vec<(String, String)>,
        _duration_ms: f64,
        config: String,
    ) -> assertion::Verdict {
        let failure = with_shape(config, |shape| match shape {
            Ok(shape) => judge::fault(&body, shape),
            Err(error) => Some(format!("the config cannot be used: {error}")),
        });
        assertion::Verdict {
            pass: failure.is_none(),
            detail: failure.unwrap_or_default(),
        }
    }
}

fn with_shape<R>(config: String, then: impl FnOnce(&Result<Shape, String>) -> R) -> R {
    SHAPES.with_borrow_mut(|shapes| {
        let at = shapes
            .iter()
            .position(|(seen, _)| *seen == config)
            .unwrap_or_else(|| {
                if shapes.len() == SHAPES_MAX {
                    shapes.clear();
                }
                let shape = shape::read(&config);
                shapes.push((config, shape));
                shapes.len() - 1
            });
        then(&shapes[at].1)
    })
}
