//! The simulation itself: seeds pass, equal seeds are equal runs, and bugs that are brought back are noticed.

use super::{Mutant, Settings, run};

/// One seed with `TEPUI_RAFT_SEED=17`, many with `TEPUI_RAFT_SEEDS=100`.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("TEPUI_RAFT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..number("TEPUI_RAFT_SEEDS").unwrap_or(8) + 1,
    }
}

/// Shorter than by command: without optimisation a second takes a third of a second.
fn short() -> Settings {
    Settings { fault_ms: 5_000, ..Settings::default() }
}

#[test]
fn seeds_pass() {
    for seed in seeds() {
        if let Err(violation) = run(seed, &short()) {
            panic!("{violation}");
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in seeds().take(1) {
        let first = run(seed, &short()).unwrap();
        assert_eq!(first, run(seed, &short()).unwrap());
        assert_ne!(first.trace, run(seed + 100, &short()).unwrap().trace);
    }
}

/// All of them by command: `sim --raft --mutants`.
#[test]
fn a_bug_that_is_brought_back_is_noticed() {
    let settings = Settings { mutant: Some(Mutant::TellBeforeSync), ..Settings::default() };
    assert!((1..=60).any(|seed| run(seed, &settings).is_err()));
    assert!(Mutant::ALL.iter().any(|(mutant, _)| *mutant == Mutant::TellBeforeSync));
}
