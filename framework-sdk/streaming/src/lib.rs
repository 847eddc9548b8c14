//! Tepui's streaming framework: micro-batches with a durable plan, committed by one compare-and-set, exactly once.
//!
//! Owns the job description, the file source, the operators, keyed state, the file sink, the driver and its executors. Decides
//! nothing about the cluster: it is a framework like any other, whose driver the masters happen to supervise.
//!
//! ```text
//! job       TOML → checked job          batch     plan, run, commit one batch (pure parts)
//! source    replayable inputs           register  the document in the masters' log
//! ops       filter … aggregate          driver    the engine, the framework, executors' connections
//! state     keyed state files           executor  runs slots for the driver
//! sink      exactly-once outputs        local     the same engine in one process, and its tests
//! submit    job → driver specification
//! ```

mod batch;
pub mod driver;
mod environment;
pub mod executor;
mod files;
pub mod job;
pub mod local;
mod names;
mod ops;
pub mod receiver;
pub mod register;
pub mod sink;
pub mod source;
pub mod sql;
mod state;
pub mod submit;
mod time;
pub mod value;
mod wire;

pub use batch::{Inconsistent, SlotFailure};
pub use driver::driver_main;
pub use executor::executor_main;
pub use files::{Disk, FileFault, FileRef};
pub use job::Job;
pub use ops::Overflow;
pub use state::StateError;
