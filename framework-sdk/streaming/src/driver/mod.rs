//! The driver: the one process that decides what a job's next batch is, and commits it.
//!
//! ```text
//! main.rs       the process: everything below side by side
//! engine.rs     claim → recover → (run slots → commit → publish)*: generic over register, executors and probe
//! merge.rs      slots' answers into keyed state and output files
//! masters_register.rs  the register in the masters' log
//! pool/         executors' connections, and which slot runs where
//! framework.rs  offers, launches, reconciliation; fleet.rs counts
//! probe.rs      the named points between the steps, for crash tests
//! error.rs      why an engine stops
//! ```

mod engine;
mod error;
mod fleet;
mod framework;
mod main;
mod masters_register;
mod merge;
pub(crate) mod pool;
mod probe;
mod resources;
#[cfg(test)]
mod tests;

pub(crate) use engine::{BatchWork, Engine, Setup, Slots};
pub use error::EngineError;
pub use main::{EXIT_ABANDONED, EXIT_DATA, EXIT_FAILED, EXIT_FINISHED, EXIT_REPLACED, driver_main};
pub use probe::{NoProbe, Point, Probe, Stopped};
pub(crate) use resources::scalars;
