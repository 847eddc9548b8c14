//! Known bugs, put back one at a time, and whether anybody notices: what a suite finds is known only once it has found it. Each must end in
//! a violated law within its seeds. Owns the table of bugs; where they sit in the code, `mutant!` names them.

use crate::sim::{self, Plan, Settings};

/// Seeds that a bug may take to be noticed.
const SEEDS: u64 = 150;

/// A bug and what it breaks.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    pub name: &'static str,
    pub breaks: &'static str,
    /// Some law notices it; otherwise a gap that is known.
    pub noticed: bool,
}

const fn mutant(name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, breaks, noticed: true }
}

const fn gap(name: &'static str, breaks: &'static str) -> Mutant {
    Mutant { name, breaks, noticed: false }
}

/// All bugs of the cores and of the modelled log.
pub const MUTANTS: &[Mutant] = &[
    mutant("acknowledge-before-sync", "a follower confirms entries that are not on its disk"),
    mutant("elect-anybody", "one that lacks committed entries is elected"),
    mutant("start-from-a-damaged-disk", "a master with a damaged log starts"),
    mutant("apply-without-epoch", "entries of an earlier leadership count"),
    mutant("time-stands-still", "entries do not advance the cluster's time"),
    mutant("write-without-version", "a compare-and-set does not compare"),
    mutant("write-without-generation", "a driver that was replaced writes"),
    mutant("launch-in-flight-not-charged", "what a proposed launch holds is offered again"),
    mutant("released-twice", "the end of a task gives back twice what it held"),
    mutant("executor-not-charged", "what executors use is offered as well"),
    mutant("no-limit", "quota limits are not asked"),
    mutant("no-grace", "after a change of leadership agents get the usual time only"),
    mutant("end-acknowledged-before-its-commit", "agents forget ends that the log does not have"),
    mutant("old-instance-served", "calls of a framework's replaced instance count"),
    mutant("gone-agent-taken-back", "an agent that is gone registers again"),
    mutant("machine-down-and-agent-taken", "an agent registers from a machine that is down"),
    gap("used-volume-destroyed", "resources in use are converted"),
    gap("kill-not-remembered", "a kill is forgotten once it is sent"),
    gap("launch-not-repeated", "a launch that its agent never got is not sent again"),
    gap("agent-obeys-old-masters", "orders of an earlier leadership are carried out"),
    gap("launch-taken-twice", "a repeated launch is a second one"),
    gap("started-before-it-is-durable", "a task starts before its agent would remember it"),
    mutant("newest-update-first", "updates of a task overtake each other"),
    gap("told-before-it-is-durable", "an update is sent that a crash may take back"),
    gap("update-not-repeated", "an update that got lost is lost"),
];

/// What became of a bug.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub mutant: Mutant,
    /// The seed that noticed it, and the law that it broke.
    pub caught: Option<(u64, String)>,
    /// Seeds that were run.
    pub seeds: u64,
    pub cpu_seconds: f64,
}

/// Runs seeds with a bug until one notices it.
pub fn hunt(mutant: Mutant) -> Verdict {
    let settings = Settings::short();
    let plan = Plan { stop_at_failure: true, mutant: Some(mutant.name), ..Plan::exactly(1, SEEDS) };
    let outcome = sim::campaign(&plan, &settings, &|_| {});
    let caught = outcome.violations.first();
    Verdict {
        mutant,
        caught: caught.map(|violation| (violation.seed, violation.what.clone())),
        seeds: (outcome.reports.len() + outcome.violations.len()) as u64,
        cpu_seconds: outcome.cpu.as_secs_f64(),
    }
}
