//! Whole clusters of this very store in one thread under one seed, in virtual time: consensus library, log store, snapshots, proposer,
//! leadership watch, hand-over and membership are the real ones; disks, network, clocks and clients are models.
//!
//! ```text
//!            faults      ┌───────────── replica: a runtime of its own, time that is stepped ─────────────┐
//!   clients ───┬───────▶ │ RaftStore ─ proposer ─ raft ─ log store ─ writer ─┬─ routes ─ greeting ─ wire │
//!              │         └───────────────────────────────────────────────────┼──────────────────┼────────┘
//!              └──────────────────────────────────────────────────▶ simulated disk     simulated network
//! ```
//!
//! Owns the models, the faults and the checks. Refuses real time, threads and sockets. For tests: the feature `simulation` is off in programs.

mod agenda;
mod checks;
mod clients;
mod context;
mod dice;
mod disk;
mod machine;
mod network;
mod orders;
mod replica;
#[cfg(test)]
mod tests;
mod trace;
mod world;

pub use self::checks::Violation;
pub(crate) use self::context::{chance, is_simulated, mutant};
use self::world::World;
pub use crate::mutants::Mutant;

/// How large and how long a run is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Voters at the beginning: three or five; by the seed if none.
    pub replicas: Option<u64>,
    /// Clients, each with one command at a time.
    pub clients: usize,
    /// Virtual time with faults, in milliseconds.
    pub fault_ms: u64,
    /// Virtual time after which everything must have recovered once faults have stopped, in milliseconds.
    pub settle_ms: u64,
    /// Mean time between faults, in milliseconds.
    pub fault_interval_ms: u64,
    /// A bug to bring back, which a check must notice.
    pub mutant: Option<Mutant>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            replicas: None,
            clients: 6,
            fault_ms: 20_000,
            settle_ms: 10_000,
            fault_interval_ms: 900,
            mutant: None,
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Virtual time, in milliseconds.
    pub simulated_ms: u64,
    /// Faults that were begun.
    pub faults: u64,
    /// Processes that ended and were started again.
    pub crashes: u64,
    /// Messages that arrived.
    pub messages: u64,
    /// Commits to disks.
    pub commits: u64,
    /// Leaderships that were reported.
    pub leads: u64,
    /// Commands that were acknowledged.
    pub acknowledged: u64,
    /// Commands that were surely refused.
    pub refused: u64,
    /// Commands whose outcome stayed unknown.
    pub unknown: u64,
    /// Linearizable reads that were answered.
    pub reads: u64,
    /// Snapshots that were installed, from a peer or at a start.
    pub installs: u64,
    /// Changes of membership that were confirmed.
    pub member_changes: u64,
    /// Hand-overs that were confirmed.
    pub hand_overs: u64,
    /// Replicas that refused to start on a damaged disk.
    pub damaged: u64,
    /// Time from the end of all faults until everything was well, in milliseconds.
    pub recovered_ms: u64,
    /// Hash of everything that happened, in order.
    pub trace: u64,
}

/// Runs one seed.
///
/// # Errors
/// The first violation of an invariant, with the time and what led to it.
pub fn run(seed: u64, settings: &Settings) -> Result<Report, Violation> {
    let _context = context::enter(seed, settings.mutant);
    World::new(seed, settings.clone()).run()
}
