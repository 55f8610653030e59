//! Figures and texts as people read them, on a terminal and on a page: the one home of how a duration is written and of what
//! makes a text from a plan, a target or a file inert where it is shown.

mod number;
mod text;

pub use number::{bytes, count, duration, duration_apart, percent, rate};
pub use text::{inert, is_hidden, markup};
