//! The small process that stands between the agent and one command, and outlives the agent unless it is told not to.
//!
//! ```text
//! agent ──spawn──► supervise <folder> ──lock, started──► command (process group of its own, in the sandbox)
//!         SIGTERM, or the end of an agent that it must not outlive ─► TERM to the group, after the grace KILL ─┘
//!                                      └── exit (whole, durable) when nothing of the command is left
//! ```
//! Owns the wait for the command and the end of everything that it started. Synchronous, no network. It refuses
//! to start a command twice: the lock and the exit record in its folder are the proof.

mod descriptors;
pub(crate) mod processes;
pub(crate) mod records;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;

/// Supervises the command that is described in the folder named by the only argument. Returns the exit code for the process.
///
/// The binary calls this, and nothing else, for its hidden subcommand `supervise`.
pub fn supervise_main(arguments: impl IntoIterator<Item = OsString>) -> i32 {
    let mut arguments = arguments.into_iter();
    match (arguments.next(), arguments.next()) {
        (Some(folder), None) => run::run(&PathBuf::from(folder)),
        _ => run::USAGE,
    }
}
