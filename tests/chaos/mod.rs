//! Fault campaigns on real processes: masters, drivers and agents are killed, paused, cut off and starved under load, and every promise
//! is checked after each cycle.
//!
//! ```text
//!   seed ─► faults ─► run ──► cluster of real processes
//!                      │  ├─► drivers ─► writer (one a launch) ─► ledger: which writes were acknowledged
//!                      │  ├─► clients ─► history: are the registers linearizable
//!                      │  ├─► tasks: a framework whose tasks leave a line each
//!                      │  ├─► stream: a job whose output is counted again
//!                      │  ├─► watch: what agents and masters say is in use, epochs
//!                      │  └─► disturb ─► network: gateways on loopback, or namespaces
//!                      │            └──► hosts: disks, clocks, files
//!                      └──► after each cycle: ledger, histories, file, agents and masters must agree
//! ```
//! Owns no product code. Judges by what was promised, never by how long it took.

mod brief;
mod clients;
mod disturb;
mod drivers;
mod faults;
pub(crate) mod gateways;
mod health;
mod history;
mod hosts;
pub mod inside;
mod ledger;
mod namespaces;
pub(crate) mod network;
mod report;
mod run;
mod stream;
mod tasks;
mod watch;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

pub use brief::{Brief, interrupt};
pub use faults::{Fault, Way};
pub use history::Counts;
pub use report::{Cycle, Report, Sum};
pub use run::run;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The executable that acts as `tepui`.
    pub executable: PathBuf,
    /// Ends after so many cycles, or after this time, whichever is first.
    pub cycles: u64,
    pub within: Option<Duration>,
    pub seed: u64,
    pub masters: usize,
    pub agents: usize,
    /// Further arguments of the masters.
    pub master_args: Vec<String>,
    /// Faults of the first cycles instead of drawn ones.
    pub first: Vec<Fault>,
    /// Draws only faults whose kind has this text in it.
    pub only: Option<String>,
    /// Leaves the folder with all logs and data. The next campaign takes it away.
    pub keep: bool,
    /// Network namespaces instead of gateways on loopback: only in a process that [`inside::go`] has put apart.
    pub full: bool,
    /// Launches a second, all the time.
    pub launches: u32,
    /// Runs a streaming job beside the rest.
    pub stream: bool,
    /// Where each operation on a register is written down, one JSON object a line.
    pub record: Option<PathBuf>,
}

impl Settings {
    /// The usual campaign with an executable: three masters, two agents, on loopback.
    pub fn new(executable: impl Into<PathBuf>) -> Self {
        Settings {
            executable: executable.into(),
            cycles: 20,
            within: None,
            seed: 1,
            masters: 3,
            agents: 2,
            master_args: Vec::new(),
            first: Vec::new(),
            only: None,
            keep: false,
            full: false,
            launches: 5,
            stream: false,
            record: None,
        }
    }
}
