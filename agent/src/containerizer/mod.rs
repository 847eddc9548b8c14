//! Containers: how commands and executors are prepared, started, watched, ended, and found again.
//!
//! ```text
//! launch ─► isolators prepare ─► launcher forks a supervising process ─► it runs the command ─► exit record ─► isolators clean up
//! ```
//! Owns everything that touches processes. Decides nothing about tasks: it does what the core asked for and reports.

mod container;
mod environment;
mod isolators;
mod launcher;
mod recovery;
mod signals;
mod start;
mod usage;
mod watch;

pub(crate) use container::{Containerizer, Settings};
pub(crate) use recovery::{Recovered, recover};
pub(crate) use signals::signal_container;
pub(crate) use start::Owner;
pub(crate) use usage::{Sample, Sampler};
