//! The simulation as a test: at least 50 seeds, the same ones each time and some fresh ones. A failing seed is printed as the one line that
//! repeats it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tepui_tests::sim::{self, Settings};

/// Never fewer.
const FIXED_SEEDS: u64 = 50;
/// Fresh seeds are added until this much time is used, so that slow machines are not held up.
const BUDGET: Duration = Duration::from_secs(60);

fn run(seed: u64, settings: &Settings) -> sim::Report {
    match std::panic::catch_unwind(|| sim::run(seed, settings)) {
        Ok(Ok(report)) => report,
        Ok(Err(violation)) => panic!("{violation}\nrepeat with: {}", sim::reproduction(seed, settings)),
        Err(_panic) => panic!("seed {seed} panicked\nrepeat with: {}", sim::reproduction(seed, settings)),
    }
}

#[test]
fn a_cluster_survives_every_seed() {
    let settings = Settings::short();
    let began = Instant::now();
    let fresh = u64::from(std::process::id()) * 1_000_003;
    let next = AtomicU64::new(1);
    let work = || {
        let mut reports = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number > FIXED_SEEDS && began.elapsed() > BUDGET {
                return reports;
            }
            let seed = if number <= FIXED_SEEDS { number } else { fresh + number };
            reports.push(run(seed, &settings));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let reports: Vec<sim::Report> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("a seed failed")).collect()
    });
    let sum = |count: fn(&sim::Report) -> u64| reports.iter().map(count).sum::<u64>();
    let (count, starts, writes) = (reports.len() as u64, sum(|r| r.task_starts), sum(|r| r.register_writes));
    let (fenced, conversions) = (sum(|r| r.fenced), sum(|r| r.conversions));
    eprintln!(
        "{count} seeds: {} faults, {starts} tasks started, {writes} register writes, {fenced} fenced, \
         {conversions} conversions of resources, {} answers to the operator, {} drains, {} agents gone, {} times down, \
         {} inverse offers, {} executors, {} groups",
        sum(|r| r.faults),
        sum(|r| r.operator_answers),
        sum(|r| r.drains),
        sum(|r| r.gone_agents),
        sum(|r| r.times_down),
        sum(|r| r.inverse_offers),
        sum(|r| r.executors),
        sum(|r| r.groups)
    );
    let fleet = [sum(|r| r.drains), sum(|r| r.gone_agents), sum(|r| r.times_down), sum(|r| r.inverse_offers)];
    assert!(fleet.iter().all(|one| *one > 0), "the operator did next to nothing: {fleet:?}");
    assert!(conversions > count, "nothing was reserved");
    assert!(count >= FIXED_SEEDS && starts > count && writes > count, "the runs did next to nothing");
    assert!(fenced > 0, "no write was ever fenced: the faults do not reach what they are for");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let settings = Settings::short();
    for seed in [3, 77] {
        let (one, other) = (run(seed, &settings), run(seed, &settings));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.entries, other.entries, "seed {seed}");
    }
}
