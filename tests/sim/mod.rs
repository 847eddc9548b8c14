//! A whole cluster in one thread under one seed: the real cores of masters and agents, a modelled replicated log, modelled
//! processes, frameworks and drivers, a network that delays, breaks and partitions, and a scheduler of faults. Same seed, same run.
//!
//! ```text
//!   faults ──▶ ┌────────────┐   calls   ┌─────────────────────┐  envelopes  ┌─────┐
//!              │ agents     │ ────────▶ │ masters (real core) │ ──────────▶ │ log │
//!   agenda ──▶ │ frameworks │ ◀──────── │ + registry replica  │ ◀────────── │     │
//!              │ drivers    │  events   └─────────────────────┘   applied   └─────┘
//!              └────────────┘
//! ```
//!
//! Owns the models and the checks. Refuses real time, threads, files and sockets.

mod agenda;
mod agents;
mod campaign;
mod checks;
mod drivers;
mod event;
mod executors;
mod faults;
mod fleet;
mod frameworks;
mod graces;
mod keepers;
mod log;
mod masters;
mod members;
mod network;
mod operators;
mod quotas;
pub mod raft;
mod replicas;
mod streams;
mod tasks;
mod trace;
mod truth;
mod volumes;
mod world;

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub use campaign::{Outcome, Plan, campaign, run};
pub use checks::Violation;

/// How large and how long a run is.
#[derive(Clone, Debug)]
pub struct Settings {
    pub masters: usize,
    pub agents: usize,
    pub frameworks: usize,
    /// Frameworks that reserve and keep volumes.
    pub keepers: usize,
    pub tasks_per_framework: usize,
    /// Simulated time with faults, milliseconds.
    pub fault_ms: u64,
    /// Simulated time after which everything must have settled once faults have stopped, milliseconds.
    pub settle_ms: u64,
    /// Mean time between faults, milliseconds.
    pub fault_interval_ms: u64,
}

impl Settings {
    /// A run for the test suite: one minute of faults.
    pub fn short() -> Self {
        Settings {
            masters: 3,
            agents: 4,
            frameworks: 2,
            keepers: 1,
            tasks_per_framework: 25,
            fault_ms: 60_000,
            settle_ms: 1_800_000,
            fault_interval_ms: 2_500,
        }
    }

    /// A run of this many simulated minutes.
    pub fn minutes(minutes: u64) -> Self {
        Settings {
            fault_ms: minutes * 60_000,
            tasks_per_framework: 25 * usize::try_from(minutes.max(1)).unwrap_or(1),
            ..Settings::short()
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub seed: u64,
    /// Simulated time, milliseconds.
    pub simulated_ms: u64,
    pub inputs: u64,
    pub entries: u64,
    pub leaderships: u64,
    pub faults: u64,
    pub task_starts: u64,
    pub register_writes: u64,
    pub fenced: u64,
    pub generations: u64,
    /// Reservations and volumes made or unmade.
    pub conversions: u64,
    pub operator_answers: u64,
    pub executors: u64,
    pub groups: u64,
    pub drains: u64,
    pub gone_agents: u64,
    pub times_down: u64,
    pub inverse_offers: u64,
    /// What was done to the cluster, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Hash of everything that happened, in order.
    pub trace: u64,
}

impl Report {
    pub(crate) fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }
}

/// What was done to all clusters, by name.
pub fn counts(reports: &[Report]) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    for (name, count) in reports.iter().flat_map(|report| &report.counts) {
        *sums.entry(*name).or_default() += count;
    }
    sums
}

/// The one line that repeats a run.
pub fn reproduction(seed: u64, settings: &Settings) -> String {
    format!(
        "cargo run -p tepui-tests --bin sim -- --seed {seed} --milliseconds {} --agents {} --frameworks {}",
        settings.fault_ms, settings.agents, settings.frameworks
    )
}

/// The run's only source of chance.
#[derive(Clone, Debug)]
pub(crate) struct Chance(SmallRng);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Chance(SmallRng::seed_from_u64(seed))
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high.max(low))
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.0.random_range(0..length.max(1))
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }

    pub(crate) fn seed(&mut self) -> [u8; 32] {
        self.0.random()
    }

    pub(crate) fn uuid(&mut self) -> String {
        uuid::Builder::from_random_bytes(self.0.random()).into_uuid().to_string()
    }
}
