//! A virtual user's own values.

use std::cell::Cell;
use std::rc::Rc;

use loadr_config::{DataId, Made, VarId};

use super::feed::{Feed, Place};
use crate::http::{Values, decimal};

/// A variable keeps its memory when it is unset, so that setting it again allocates nothing.
#[derive(Clone, Debug, Default)]
struct Var {
    is_set: bool,
    /// Whether it is a JSON value other than text.
    is_json: bool,
    bytes: Vec<u8>,
}

/// What a virtual user's templates can see.
#[derive(Debug)]
pub(crate) struct Vars {
    vars: Box<[Var]>,
    /// From 1, unique over the scenario.
    pub(crate) vu: u64,
    /// From 0.
    pub(crate) iteration: u64,
    feed: Rc<Feed>,
    /// By [`DataId`].
    places: Box<[Place]>,
    /// What its own orders are drawn by.
    key: u64,
    has_ended: Cell<bool>,
}

impl Vars {
    pub(crate) fn of(feed: &Rc<Feed>, vu: u64) -> Self {
        let (places, key) = feed.places();
        Self {
            vars: vec![Var::default(); feed.program.vars.len()].into(),
            vu,
            iteration: 0,
            feed: Rc::clone(feed),
            places,
            key,
            has_ended: Cell::new(false),
        }
    }

    /// Whether a source had no row left for it: it ends.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    /// Sets a variable; `is_json` when it is a JSON value other than text.
    pub(crate) fn set(&mut self, var: VarId, bytes: &[u8], is_json: bool) {
        let var = &mut self.vars[var.at()];
        (var.is_set, var.is_json) = (true, is_json);
        var.bytes.clear();
        var.bytes.extend_from_slice(bytes);
    }

    /// Sets a variable to a number in decimal digits.
    pub(crate) fn set_number(&mut self, var: VarId, number: u64) {
        let var = &mut self.vars[var.at()];
        (var.is_set, var.is_json) = (true, true);
        var.bytes.clear();
        decimal(number, &mut var.bytes);
    }

    /// The variable's memory, to be filled and given back with [`Vars::put`]; the variable is unset until then.
    pub(crate) fn take(&mut self, var: VarId) -> Vec<u8> {
        let var = &mut self.vars[var.at()];
        var.is_set = false;
        std::mem::take(&mut var.bytes)
    }

    /// Sets a variable; `is_json` as in [`Vars::set`].
    pub(crate) fn put(&mut self, var: VarId, bytes: Vec<u8>, is_json: bool) {
        self.vars[var.at()] = Var {
            is_set: true,
            is_json,
            bytes,
        };
    }

    pub(crate) fn unset(&mut self, var: VarId) {
        self.vars[var.at()].is_set = false;
    }
}

impl Values for Vars {
    #[inline]
    fn var(&self, var: VarId) -> Option<loadr_config::Cell<'_>> {
        let var = &self.vars[var.at()];
        var.is_set.then_some(loadr_config::Cell {
            bytes: &var.bytes,
            is_json: var.is_json,
        })
    }

    fn vu(&self) -> u64 {
        self.vu
    }

    fn iteration(&self) -> u64 {
        self.iteration
    }

    #[inline]
    fn cell(&self, source: DataId, column: u32) -> Option<loadr_config::Cell<'_>> {
        let place = &self.places[source.at()];
        let row = self.feed.row(source, place, self.key, self.iteration + 1);
        if row.is_none() {
            self.has_ended.set(true);
        }
        let table = &self.feed.program.data[source.at()].table;
        row.map(|row| table.cell(row, column))
    }

    #[inline]
    fn make(&self, made: Made, out: &mut Vec<u8>) {
        self.feed.make(made, out);
    }
}
