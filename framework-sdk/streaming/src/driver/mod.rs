//! The driver: the one process that decides what a job's next batch is, and commits it.
//!
//! ```text
//! engine.rs   claim → recover → (run slots → commit → publish)*: generic over register, executors and probe
//! merge.rs    slots' answers into keyed state and output files
//! probe.rs    the named points between the steps, for crash tests
//! error.rs    why an engine stops
//! ```

mod engine;
mod error;
mod merge;
mod probe;

pub(crate) use engine::{BatchWork, Engine, Setup, Slots};
pub use error::EngineError;
pub use probe::{NoProbe, Point, Probe, Stopped};
