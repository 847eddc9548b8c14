//! An executor: a command task that runs slots for whatever driver generation is the newest, and outlives its driver.
//!
//! ```text
//! locate.rs     where is the driver: the job's register
//! generation.rs the highest generation seen, kept in the sandbox
//! session.rs    one connection: prove, run slots, answer
//! main.rs       locate, connect, serve, again
//! ```

mod generation;
mod locate;
mod main;
mod session;

use generation::HighestGeneration;
use locate::{Locate, Location};
pub use main::executor_main;

#[cfg(test)]
pub(crate) use {
    generation::HighestGeneration as TestGeneration,
    locate::MastersLocate,
    main::{ExecutorEnd, serve_driver},
};

#[cfg(test)]
mod tests;
