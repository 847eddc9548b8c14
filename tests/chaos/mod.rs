//! Fault campaigns on real processes: masters, drivers and agents are killed, paused and stopped under load, and every promise is
//! checked after each cycle.
//!
//! ```text
//!   seed ─► faults ─► run ──► cluster of real processes
//!                      │  ├─► drivers ─► writer (one a launch) ─► ledger: which writes were acknowledged
//!                      │  ├─► tasks: a framework whose tasks leave a line each
//!                      │  └─► gateways: the network between the masters
//!                      └──► after each cycle: ledger, file and cluster must agree
//! ```
//! Owns no product code. Judges by what was promised, never by how long it took.

mod drivers;
mod faults;
pub(crate) mod gateways;
mod ledger;
mod run;
mod tasks;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

pub use faults::{Fault, Way};
pub use run::run;

use crate::benches::Figure;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The executable that acts as `tepui`.
    pub executable: PathBuf,
    pub cycles: u64,
    pub seed: u64,
    pub masters: usize,
    pub agents: usize,
    /// Further arguments of the masters.
    pub master_args: Vec<String>,
    /// Faults of the first cycles instead of drawn ones.
    pub first: Vec<Fault>,
}

/// One cycle.
#[derive(Clone, Debug)]
pub struct Cycle {
    pub number: u64,
    pub fault: Fault,
    /// From the fault to the first write that was acknowledged after it.
    pub recovery: Duration,
    pub tasks: usize,
    pub dropped: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub cycles: Vec<Cycle>,
    /// Register writes that were acknowledged.
    pub writes: usize,
    pub generations: usize,
    pub zombies_fenced: usize,
    pub tasks: usize,
    /// Tasks that were reported as not run; they are not lost, since their framework knows.
    pub dropped: usize,
    /// Promises that were broken. Empty is what is wanted.
    pub losses: Vec<String>,
}

impl Report {
    /// Recovery times by kind of fault, and over all.
    pub fn figures(&self) -> Vec<Figure> {
        let mut kinds: Vec<&str> = self.cycles.iter().map(|cycle| cycle.fault.kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let milliseconds = |kind: &str| {
            let of_kind = self.cycles.iter().filter(|cycle| cycle.fault.kind() == kind);
            of_kind.map(|cycle| cycle.recovery.as_secs_f64() * 1_000.0).collect::<Vec<_>>()
        };
        let figure = |kind: &&str| {
            let what = format!("{kind} to the first acknowledged write after it");
            Figure::of("R4", &what, "ms", "published", milliseconds(kind))
        };
        kinds.iter().map(figure).collect()
    }
}
