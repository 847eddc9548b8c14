//! The description of a job: TOML in, checked [`Job`] out.
//!
//! A job is checked as a whole before it is submitted: every problem names its key (`source.path: …`), and a key that
//! nobody knows is refused. Inside the package only the checked form exists.
//!
//! ```text
//! TOML ── section.rs: typed access with key paths ── check.rs: rules and limits ──▶ Job
//!                                                     ├─ expr.rs: filter expressions
//!                                                     └─ units.rs: "500ms", "8MiB"
//! ```

mod check;
mod edit;
mod error;
pub(crate) mod expr;
mod section;
mod spec;
#[cfg(test)]
mod tests;
mod topology;
mod units;

pub use edit::edit;
pub use error::{JobError, Problem};
pub use expr::Expr;
pub use spec::{
    Aggregate, AggregateFunction, AggregateValue, BackPressure, Batch, Checkpoint, Compression, EventTime,
    Executors, Job, OnBadRecord, Operator, Projection, Sink, SinkFormat, Source, TimeFormat, Window,
};
