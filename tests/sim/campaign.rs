//! Many seeds on all cores of the machine, until there are enough of them or enough processor time is used. What a seed does depends on
//! nothing but itself: threads only take turns in fetching numbers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::checks::Violation;
use super::trace::{Lines, Trace};
use super::world::World;
use super::{Report, Settings};

/// Which seeds, and how many.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first seed; the others follow.
    pub first: u64,
    /// Never fewer, unless one fails and `stop_at_failure` is set.
    pub at_least: u64,
    /// Seeds beyond these are numbered from here.
    pub fresh: u64,
    /// More seeds are taken until this much processor time is used.
    pub cpu: Duration,
    pub threads: usize,
    pub stop_at_failure: bool,
    /// A known bug that is switched on; needs the feature `mutants`.
    pub mutant: Option<&'static str>,
}

impl Plan {
    /// Exactly these seeds.
    pub fn exactly(first: u64, count: u64) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Plan {
            first,
            at_least: count,
            fresh: 0,
            cpu: Duration::ZERO,
            threads,
            stop_at_failure: false,
            mutant: None,
        }
    }

    fn seed(&self, number: u64) -> u64 {
        let base = if number < self.at_least { self.first } else { self.fresh };
        base + number
    }
}

/// What came of a campaign, in the order of seeds.
#[derive(Debug, Default)]
pub struct Outcome {
    pub reports: Vec<Report>,
    pub violations: Vec<Violation>,
    /// Processor time of all threads.
    pub cpu: Duration,
}

/// Runs all seeds of a plan.
pub fn campaign(
    plan: &Plan,
    settings: &Settings,
    done: &(dyn Fn(&Result<Report, Violation>) + Sync),
) -> Outcome {
    let next = AtomicU64::new(0);
    let used = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let work = || {
        #[cfg(feature = "mutants")]
        tepui_mutants::switch(plan.mutant);
        let mut outcome = Outcome::default();
        let mut before = thread_time();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let enough = number >= plan.at_least && used.load(Ordering::Relaxed) >= nanos(plan.cpu);
            if enough || (plan.stop_at_failure && failed.load(Ordering::Relaxed)) {
                return outcome;
            }
            let result = run(plan.seed(number), settings);
            let now = thread_time();
            used.fetch_add(nanos(now.saturating_sub(before)), Ordering::Relaxed);
            before = now;
            done(&result);
            match result {
                Ok(report) => outcome.reports.push(report),
                Err(violation) => {
                    failed.store(true, Ordering::Relaxed);
                    outcome.violations.push(violation);
                }
            }
        }
    };
    let mut whole = Outcome::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..plan.threads.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in running {
            let Ok(part) = thread.join() else { continue };
            whole.reports.extend(part.reports);
            whole.violations.extend(part.violations);
        }
    });
    whole.reports.sort_by_key(|report| report.seed);
    whole.violations.sort_by_key(|violation| violation.seed);
    whole.cpu = Duration::from_nanos(used.load(Ordering::Relaxed));
    whole
}

/// Runs one seed.
///
/// # Errors
/// The first violation of an invariant, with the time and what led to it; a panic is one.
pub fn run(seed: u64, settings: &Settings) -> Result<Report, Violation> {
    if std::env::var_os("TEPUI_SIM_TRACE").is_some() {
        return attempt(seed, settings, Trace::telling(Lines::default()));
    }
    let first = match attempt(seed, settings, Trace::default()) {
        Ok(report) => return Ok(report),
        Err(first) => first,
    };
    // Words cost time, so they are written only when somebody wants to read them: in a second run, which must be the same.
    let lines = Lines::default();
    let again = attempt(seed, settings, Trace::telling(lines.clone()));
    let history = lines.borrow().iter().cloned().collect();
    match again {
        Err(second) if second.what == first.what => Err(Violation { history, ..second }),
        _other => {
            Err(Violation { what: format!("{}; a second run was another one", first.what), history, ..first })
        }
    }
}

fn attempt(seed: u64, settings: &Settings, trace: Trace) -> Result<Report, Violation> {
    let run = || World::new(seed, settings.clone(), trace).run();
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(Violation { seed, at_ms: 0, what: format!("panic: {text}"), history: Vec::new() })
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}
