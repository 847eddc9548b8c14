//! Feeds a target until it fails or has had enough. Owns the order of inputs, which follows from the seed alone.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use super::corpus::Corpus;
use super::random::Chance;
use super::{Target, mutate};

/// No input takes nearly as long, even on a slow machine: beyond this something is not bounded.
const LONGEST: Duration = Duration::from_secs(20);
/// The process may grow by this much over a run.
const MAX_GROWTH_KB: u64 = 1 << 20;
/// Inputs between two looks at the size of the process.
const LOOK_EVERY: u64 = 4096;

/// A run without a failure.
#[derive(Clone, Debug)]
pub struct Report {
    pub inputs: u64,
    /// Different kinds of answers.
    pub shapes: usize,
    pub elapsed: Duration,
    pub slowest: Duration,
}

/// A property that did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    pub target: String,
    pub seed: u64,
    /// Number of the input in its run.
    pub number: u64,
    pub input: Vec<u8>,
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = "cargo run --release -p tepui-tests --bin fuzz --";
        let (target, count) = (&self.target, self.number + 1);
        writeln!(f, "{target}: {}", self.what)?;
        writeln!(f, "repeat the run: {command} --target {target} --seed {} --inputs {count}", self.seed)?;
        write!(f, "repeat the input: {command} --target {target} --input ")?;
        self.input.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Feeds so many inputs to a target. Each is also written to `trace`, for failures that end the process.
///
/// # Errors
/// The first property that does not hold.
pub fn run(target: &mut dyn Target, seed: u64, inputs: u64, trace: Option<&Path>) -> Result<Report, Failure> {
    let name = target.name().to_owned();
    let mut chance = Chance::new(seed);
    let mut corpus = Corpus::default();
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut size_kb = None;
    for number in 0..inputs {
        let input = next(target, &corpus, &mut chance);
        let fail = |what: String, input: &[u8]| Failure {
            target: name.clone(),
            seed,
            number,
            input: input.to_vec(),
            what,
        };
        if let Some(path) = trace {
            std::fs::write(path, &input)
                .map_err(|error| fail(format!("write the trace: {error}"), &input))?;
        }
        let fed = Instant::now();
        let answer = match feed(target, &input) {
            Ok(answer) => answer,
            Err(what) => return Err(fail(what, &input)),
        };
        let took = fed.elapsed();
        slowest = slowest.max(took);
        if took > LONGEST {
            return Err(fail(format!("took {took:?}"), &input));
        }
        if number % LOOK_EVERY == 0
            && let Some(now_kb) = peak_kb()
        {
            let first_kb = *size_kb.get_or_insert(now_kb);
            if now_kb > first_kb + MAX_GROWTH_KB {
                return Err(fail(format!("the process grew from {first_kb} to {now_kb} kB"), &input));
            }
        }
        corpus.offer(&input, &answer, &mut chance);
    }
    Ok(Report { inputs, shapes: corpus.len(), elapsed: began.elapsed(), slowest })
}

/// Feeds one input.
///
/// # Errors
/// What does not hold.
pub fn replay(target: &mut dyn Target, input: &[u8]) -> Result<String, String> {
    feed(target, input)
}

fn next(target: &mut dyn Target, corpus: &Corpus, chance: &mut Chance) -> Vec<u8> {
    let seed = chance.seed();
    if !target.takes_damage() || chance.percent(25) {
        return target.fresh(seed);
    }
    let Some(base) = corpus.any(chance) else { return target.fresh(seed) };
    let mut input = base.to_vec();
    let other = corpus.any(chance).unwrap_or_default();
    mutate::damage(&mut input, other, target.words(), chance);
    input
}

fn feed(target: &mut dyn Target, input: &[u8]) -> Result<String, String> {
    match catch_unwind(AssertUnwindSafe(|| target.feed(input))) {
        Ok(answer) => answer,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of something else");
            Err(format!("panic: {text}"))
        }
    }
}

/// The most that this process ever held, where the system tells.
fn peak_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}
