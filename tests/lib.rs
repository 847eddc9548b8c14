//! Everything that proves Tepui: the harness for real clusters, the seeded simulation, the conformance scenarios, the
//! fault campaigns and the benchmarks. Owns no product code and is imported by nothing.

/// Whether a known bug is switched on; never, and without any cost, in builds without the feature `mutants`.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($name:literal) => {
        ::tepui_mutants::active($name)
    };
}
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($name:literal) => {
        false
    };
}

pub mod benches;
pub mod chaos;
pub mod conformance;
pub mod fuzz;
pub mod harness;
#[cfg(feature = "mutants")]
pub mod mutants_run;
pub mod sim;

/// The subcommands by which a process of a test cluster is started.
const SUBCOMMANDS: [&str; 7] =
    ["master", "agent", "supervise", "stream-driver", "stream-executor", "local", "demo"];

/// Tells whether this process was started as the `tepui` binary.
///
/// Each measuring binary also serves as the binary under test, so that `cargo run --bin chaos` needs no second build and no path:
/// the clusters that it starts run its own executable.
pub fn acts_as_tepui() -> bool {
    std::env::args().nth(1).is_some_and(|first| SUBCOMMANDS.contains(&first.as_str()))
}

/// Runs a campaign until it ends, or until somebody wants this process to end: then it is dropped, and with it every process that
/// it has started.
///
/// # Errors
/// Those of the campaign; an interruption is one.
pub async fn unless_interrupted<T>(campaign: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = campaign => result,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            anyhow::bail!("interrupted")
        }
        _told = terminate.recv() => anyhow::bail!("told to end"),
    }
}
