//! The figures of `docs/benchmarks.md`: each has an id, a target, and a way to measure it. Prints; judges nothing.

mod allocator;
mod elections;
mod failover;
mod fleet;
mod launches;
mod machine;
mod memory;
mod raft;
mod reads;
mod registry;
mod registry_cluster;
mod registry_lead;
mod snapshots;
mod storm;

use serde::Serialize;

/// What every benchmark gets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A smoke run: few repetitions.
    pub short: bool,
    /// How long each part of a soak lasts.
    pub minutes: f64,
    /// The masters' `--raft-profile`, where the benchmark runs masters; their default without it.
    pub profile: Option<String>,
    /// The executable that acts as `tepui`.
    pub executable: std::path::PathBuf,
}

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub id: &'static str,
    pub what: String,
    /// The figure to compare with the target: a median, a rate, a size.
    pub value: f64,
    pub unit: &'static str,
    pub target: &'static str,
    pub n: usize,
    pub min: f64,
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
    pub machine: String,
}

impl Figure {
    /// A figure whose value is the median of samples.
    pub fn of(
        id: &'static str,
        what: &str,
        unit: &'static str,
        target: &'static str,
        mut samples: Vec<f64>,
    ) -> Self {
        samples.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = (samples.len() as f64 * part).ceil() as usize;
            samples.get(place.clamp(1, samples.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
        };
        Figure {
            id,
            what: what.to_owned(),
            value: at(0.5),
            unit,
            target,
            n: samples.len(),
            min: at(0.0),
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
            machine: machine::describe(),
        }
    }
}

/// All ids, in order. Those without a benchmark answer "not yet".
pub const IDS: [&str; 18] = [
    "P1",
    "P2",
    "P3",
    "P4",
    "P5",
    "P6",
    "P7",
    "P8",
    "P9",
    "P10",
    "P11",
    "P12",
    "P13",
    "P14",
    "P15",
    "elections",
    "registry",
    "snapshots",
];

/// Measures one id. None: there is no benchmark for it yet.
///
/// # Errors
/// When the measurement could not be carried out.
pub async fn measure(id: &str, settings: &Settings) -> anyhow::Result<Option<Vec<Figure>>> {
    Ok(Some(match id {
        "P1" => alone(settings, allocator::full_cycles).await?,
        "P2" => alone(settings, allocator::quotas).await?,
        "P3" => alone(settings, allocator::one_end).await?,
        "P4" => failover::kill(settings).await?,
        "P5" => storm::storm(settings).await?,
        "P6" => failover::hand_over(settings).await?,
        "elections" => elections::spurious(settings).await?,
        "P7" => launches::rate(settings).await?,
        "P11" => reads::state(settings).await?,
        "P12" => memory::idle(settings).await?,
        "P13" => raft::throughput(settings).await?,
        "registry" => alone(settings, registry::registry).await?,
        "snapshots" => snapshots::pauses(settings).await?,
        _later => return Ok(None),
    }))
}

impl Settings {
    /// What masters are started with.
    fn master_args(&self) -> Vec<String> {
        self.profile.iter().flat_map(|name| ["--raft-profile".to_owned(), name.clone()]).collect()
    }

    /// The profile of the masters, for people.
    fn profile_name(&self) -> &str {
        self.profile.as_deref().unwrap_or("default")
    }
}

/// What needs a thread and nothing else.
async fn alone(settings: &Settings, measure: fn(&Settings) -> Vec<Figure>) -> anyhow::Result<Vec<Figure>> {
    let settings = settings.clone();
    Ok(tokio::task::spawn_blocking(move || measure(&settings)).await?)
}

pub use allocator::peak as allocator_peak;
pub use fleet::simulated_agents;
pub use raft::node as raft_node;
pub use snapshots::node as snapshot_node;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let figure = Figure::of("P0", "test", "ms", "", (1..=100).map(f64::from).collect());
        assert_eq!((figure.min, figure.p50, figure.p99, figure.max), (1.0, 50.0, 99.0, 100.0));
        let one = Figure::of("P0", "test", "ms", "", vec![7.0]);
        assert_eq!((one.min, one.value, one.max), (7.0, 7.0, 7.0));
    }
}
