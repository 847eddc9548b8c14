//! The simulation as a test: at least 200 seeds, the same ones each time and some fresh ones. A failing seed is printed as the one line that
//! repeats it.

use std::time::{Duration, Instant};

use tepui_tests::sim::{self, Settings};

/// Never fewer.
const FIXED_SEEDS: u64 = 200;
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
    let seeds = (1..=FIXED_SEEDS).chain((0..).map(|offset| fresh + offset));
    let (mut count, mut faults, mut starts, mut writes, mut fenced) = (0, 0, 0, 0, 0);
    for (number, seed) in (1..).zip(seeds) {
        if number > FIXED_SEEDS && began.elapsed() > BUDGET {
            break;
        }
        let report = run(seed, &settings);
        count = number;
        faults += report.faults;
        starts += report.task_starts;
        writes += report.register_writes;
        fenced += report.fenced;
    }
    eprintln!(
        "{count} seeds: {faults} faults, {starts} tasks started, {writes} register writes, {fenced} fenced"
    );
    assert!(starts > count && writes > count, "the runs did next to nothing");
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
