//! The operators, compiled from a checked job: filter, project, window, aggregate.
//!
//! Pure: rows in, rows or mergeable partial results out. Everything is exact and ordered, so that a slot gives the same
//! result wherever and however often it runs.

mod accumulate;
mod groups;
mod pipeline;

pub(crate) use accumulate::Accumulator;
pub use accumulate::Overflow;
pub(crate) use groups::{Aggregator, GroupKey, Groups, Observed, watermark_ms};
pub(crate) use pipeline::Pipeline;
