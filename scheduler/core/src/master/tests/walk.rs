//! Random walks over the whole core: anything happens in any order, and laws hold after every step.
//!
//! | Law | Where |
//! |---|---|
//! | allocated + offered + free = total on every agent, and never more than there is | `account`, `laws::amounts` |
//! | nothing is in two live offers, as frameworks see them | `laws::amounts` |
//! | no role gets anything beyond its limit | `laws::quotas` |
//! | nothing is offered of agents that must not be offered, nor to those who cannot have it | `laws::offers` |
//! | inverse offers only for scheduled machines, one for a framework and an agent | `laws::inverse` |
//! | the log gives the same Registry again | `laws::replay` |
//! | once everybody is back, masters and agents agree | `peace` |
//!
//! A walk is its seed. One that fails is run again without some of its steps, as long as it still fails, and printed. A longer run:
//! `TEPUI_WALK_SEEDS=500`, `TEPUI_WALK_STEPS=200`, which also checks that the walks met everything they are for; the same walk again: `TEPUI_WALK_SEED=17`.

mod accepts;
mod account;
mod agents;
mod chance;
mod frameworks;
mod laws;
mod operators;
mod peace;
mod step;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chance::Chance;
use step::Step;
use world::World;

/// Most walks that look for a shorter one that fails.
const MAX_TRIALS: usize = 150;

fn steps(seed: u64, count: u64) -> Vec<Step> {
    let mut chance = Chance::new(seed);
    (0..count).map(|_| Step::draw(&mut chance)).collect()
}

/// How often things were met.
type Met = BTreeMap<&'static str, u64>;

/// Walks; returns what it met, or at which step a law was broken, and how.
fn walk(seed: u64, steps: &[Step]) -> Result<Met, (usize, String)> {
    let mut taken = 0;
    let walked = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed);
        for step in steps {
            taken += 1;
            world.take(step);
        }
        world.replay_all();
        world.met
    }));
    walked.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        (taken, text.unwrap_or_default())
    })
}

/// Leaves out whatever is not needed for a law to be broken.
fn shorten(seed: u64, mut steps: Vec<Step>) -> Vec<Step> {
    let mut trials = 0;
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < steps.len() && trials < MAX_TRIALS {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(fewer.len()));
            trials += 1;
            match walk(seed, &fewer) {
                Err((taken, _)) => {
                    fewer.truncate(taken);
                    steps = fewer;
                }
                Ok(_) => at += size,
            }
        }
        size /= 2;
    }
    steps
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says how long the walks are")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: '{text}' is not a number")))
}

#[test]
fn laws_hold_whatever_happens() {
    let count = number("TEPUI_WALK_STEPS").unwrap_or(150);
    let seeds = match number("TEPUI_WALK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TEPUI_WALK_SEEDS").unwrap_or(5),
    };
    let many = seeds.end - seeds.start >= 30 && count >= 200;
    let mut met = Met::new();
    for seed in seeds {
        let mut all = steps(seed, count);
        let (taken, how) = match walk(seed, &all) {
            Ok(more) => {
                more.into_iter().for_each(|(what, times)| *met.entry(what).or_default() += times);
                continue;
            }
            Err(broken) => broken,
        };
        all.truncate(taken);
        let short = shorten(seed, all);
        let again = walk(seed, &short).err().map_or_else(String::new, |(_, how)| how);
        panic!(
            "TEPUI_WALK_SEED={seed}: {how}\nbroken at step {taken}; these are enough: {short:#?}\nwith them: {again}"
        );
    }
    // A few walks need not meet everything.
    if many {
        let never: Vec<_> = met.iter().filter(|(_, times)| **times == 0).collect();
        assert!(never.is_empty(), "no walk met {never:?}, of {met:#?}");
    }
}
