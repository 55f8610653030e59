//! Sources of data: rows, and who takes which of them.

use crate::data::Table;

/// One source of `data`: rows that iterations take.
#[derive(Debug)]
pub struct DataSource {
    /// Its key in the plan.
    pub name: String,
    /// The rows.
    pub table: Table,
    /// Who goes through the rows.
    pub mode: DataMode,
    /// Which row is next.
    pub pick: DataPick,
    /// What happens after the last row.
    pub on_eof: OnEof,
}

/// Who goes through a source's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DataMode {
    /// All virtual users of the run together: a row taken by one is not taken by another in the same lap.
    #[default]
    Shared,
    /// Each virtual user all of them.
    PerVu,
}

/// Which row is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DataPick {
    /// In their order.
    #[default]
    Sequential,
    /// Any, each time anew: there is no end.
    Random,
    /// In an order drawn once: for the run when shared, for each virtual user else.
    Shuffle,
}

/// What happens after the last row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnEof {
    /// The first one is next.
    #[default]
    Recycle,
    /// A virtual user that finds no row ends.
    Stop,
}
