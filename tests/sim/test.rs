//! The simulation as a test: as many seeds as fit in four minutes of processor time, never fewer than 200, the same ones each time and
//! behind them fresh ones. A failing seed is printed as the one line that repeats it. Nothing is judged by time.

use std::process::Command;
use std::time::Duration;

use tepui_tests::sim::{self, Plan, Settings};

/// Never fewer.
const FIXED_SEEDS: u64 = 200;
/// Fresh seeds are added until this much processor time is used.
const BUDGET: Duration = Duration::from_secs(240);

/// What a campaign is for must have happened in it.
const MUST_HAPPEN: [&str; 24] = [
    "leader killed",
    "leader loses power",
    "follower killed",
    "follower loses power",
    "all masters lose power while they write",
    "unsynced writes lost",
    "torn tail",
    "damage refused",
    "master replaced",
    "snapshot sent",
    "leader cut off",
    "leader cut off, one way",
    "leader cut off from one follower",
    "message late",
    "message lost",
    "message twice",
    "leader paused",
    "calendar of a master jumps",
    "clock of a leader jumps",
    "host of an agent lost",
    "agent slow",
    "framework killed",
    "call of an old instance",
    "proposal of an earlier leadership",
];

fn run(seed: u64, settings: &Settings) -> sim::Report {
    match sim::run(seed, settings) {
        Ok(report) => report,
        Err(violation) => panic!("{violation}\nrepeat with: {}", sim::reproduction(seed, settings)),
    }
}

#[test]
fn a_cluster_survives_every_seed() {
    let settings = Settings::short();
    let fresh = u64::from(std::process::id()) * 1_000_003;
    let plan = Plan { fresh, cpu: BUDGET, stop_at_failure: true, ..Plan::exactly(1, FIXED_SEEDS) };
    let outcome = sim::campaign(&plan, &settings, &|_| {});
    if let Some(violation) = outcome.violations.first() {
        panic!("{violation}\nrepeat with: {}", sim::reproduction(violation.seed, &settings));
    }
    let reports = outcome.reports;
    let sum = |count: fn(&sim::Report) -> u64| reports.iter().map(count).sum::<u64>();
    let (count, starts, writes) = (reports.len() as u64, sum(|r| r.task_starts), sum(|r| r.register_writes));
    let (fenced, conversions) = (sum(|r| r.fenced), sum(|r| r.conversions));
    eprintln!(
        "{count} seeds in {} s of processor time: {} faults, {starts} tasks started, {writes} register writes, {fenced} fenced, \
         {conversions} conversions of resources, {} answers to the operator, {} drains, {} agents gone, {} times down, \
         {} inverse offers, {} executors, {} groups",
        outcome.cpu.as_secs(),
        sum(|r| r.faults),
        sum(|r| r.operator_answers),
        sum(|r| r.drains),
        sum(|r| r.gone_agents),
        sum(|r| r.times_down),
        sum(|r| r.inverse_offers),
        sum(|r| r.executors),
        sum(|r| r.groups)
    );
    let counts = sim::counts(&reports);
    eprintln!("{counts:#?}");
    for name in MUST_HAPPEN {
        assert!(counts.contains_key(name), "'{name}' never happened in {count} seeds");
    }
    let fleet = [sum(|r| r.drains), sum(|r| r.gone_agents), sum(|r| r.times_down), sum(|r| r.inverse_offers)];
    assert!(fleet.iter().all(|one| *one > 0), "the operator did next to nothing: {fleet:?}");
    assert!(conversions > count, "nothing was reserved");
    assert!(count >= FIXED_SEEDS && starts > count && writes > count, "the runs did next to nothing");
    assert!(fenced > 0, "no write was ever fenced: the faults do not reach what they are for");
}

/// Equal in one process, on another thread, and in another process.
#[test]
fn the_same_seed_is_the_same_run() {
    let settings = Settings::short();
    for seed in [3, 77] {
        let (one, other) = (run(seed, &settings), run(seed, &settings));
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.entries, other.entries, "seed {seed}");
        let threads = sim::campaign(&Plan::exactly(seed - 1, 3), &settings, &|_| {});
        let again = threads.reports.iter().find(|report| report.seed == seed).map(|report| report.trace);
        assert_eq!(again, Some(one.trace), "seed {seed} on another thread");
        let command = Command::new(env!("CARGO_BIN_EXE_sim")).args(["--seed", &seed.to_string()]).output();
        let output = command.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let line = format!("trace {:016x}", one.trace);
        assert!(output.as_ref().is_ok_and(|text| text.contains(&line)), "seed {seed}: {line} in {output:?}");
    }
    assert_ne!(run(3, &settings).trace, run(4, &settings).trace, "two seeds, one trace");
}
