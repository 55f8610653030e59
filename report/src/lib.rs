//! What a summary looks like: an HTML page, Markdown, JUnit XML; one run, or two side by side. Takes a
//! [`loadr_engine::Summary`], which may have been read from anywhere: every text in it is shown inert.

mod charts;
mod compare;
mod elements;
mod generator;
mod html;
mod junit;
mod markdown;
mod page;
mod show;
mod tables;

pub use compare::{compare_html, compare_markdown};
pub use html::html;
pub use junit::junit;
pub use markdown::markdown;
