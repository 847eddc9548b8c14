//! The other tier: the real replicated store, consensus library included, on simulated disks, network and time. The runs themselves belong to
//! `tepui_raft_store::simulation`; here many of them are made, and bugs are brought back to see that they are noticed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tepui_raft_store::simulation;
pub use tepui_raft_store::simulation::{Mutant, Report, Settings, Violation};

/// Runs these seeds on so many threads and returns what came of each, in their order. `done` hears of each as it ends.
pub fn campaign(
    seeds: std::ops::Range<u64>,
    threads: usize,
    settings: &Settings,
    done: &(dyn Fn(&Result<Report, Violation>) + Sync),
) -> Vec<Result<Report, Violation>> {
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let result = attempt(seed, settings);
                    done(&result);
                    if let Ok(mut all) = all.lock() {
                        all.push((seed, result));
                    }
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap_or_default();
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, result)| result).collect()
}

/// One seed; a panic is a violation.
fn attempt(seed: u64, settings: &Settings) -> Result<Report, Violation> {
    catch_unwind(AssertUnwindSafe(|| simulation::run(seed, settings))).unwrap_or_else(|_| {
        Err(Violation { seed, at_ms: 0, what: "it panicked".to_owned(), faults: Vec::new() })
    })
}

/// The first violation that a bug leads to within so many seeds.
pub fn hunt(mutant: Mutant, seeds: u64, threads: usize) -> Option<Violation> {
    let settings = Settings { mutant: Some(mutant), ..Settings::default() };
    let threads_u64 = u64::try_from(threads.max(1)).unwrap_or(1);
    let mut first = 1;
    while first <= seeds {
        let end = (first + threads_u64).min(seeds + 1);
        let found = campaign(first..end, threads, &settings, &|_| {}).into_iter().find_map(Result::err);
        if found.is_some() {
            return found;
        }
        first = end;
    }
    None
}

/// The one line that repeats a run.
pub fn reproduction(seed: u64, settings: &Settings) -> String {
    format!(
        "cargo run --release -p tepui-tests --bin sim -- --raft --seed {seed} --milliseconds {}",
        settings.fault_ms
    )
}
