//! What came of a campaign, and the sum of several: figures, counts, losses. Prints nothing.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::history::Counts;
use super::{Fault, Settings};
use crate::benches::Figure;

/// One cycle.
#[derive(Clone, Debug)]
pub struct Cycle {
    pub number: u64,
    pub fault: Fault,
    /// From the fault to the first write that was acknowledged after it.
    pub recovery: Duration,
    pub tasks: usize,
    pub dropped: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub cycles: Vec<Cycle>,
    /// Register writes of the drivers that were acknowledged.
    pub writes: usize,
    pub generations: usize,
    pub zombies_fenced: usize,
    pub tasks: usize,
    /// Tasks that were reported as not run; they are not lost, since their framework knows.
    pub dropped: usize,
    /// Operations of the clients that were judged for linearizability.
    pub operations: Counts,
    /// How often agents and masters were asked what is in use.
    pub looks: u64,
    /// Streams that ended and were counted again, and how often the position of one went forward.
    pub streams: u64,
    pub batches: u64,
    /// What was left out, and why.
    pub without: Vec<String>,
    /// Promises that were broken. Empty is what is wanted.
    pub losses: Vec<String>,
}

/// One cycle of a sum, as it is kept in a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    seed: u64,
    masters: usize,
    form: String,
    fault: String,
    recovery_ms: f64,
    tasks: usize,
    loss: bool,
}

/// The cycles of several runs.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    entries: Vec<Entry>,
    file: Option<PathBuf>,
}

impl Sum {
    /// The sum in a file, which need not be there yet; without a file, that of one run.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut sum = Sum { entries: Vec::new(), file: file.map(Path::to_path_buf) };
        if let Some(file) = file.filter(|file| file.exists()) {
            for line in std::fs::read_to_string(file)?.lines() {
                let entry = serde_json::from_str(line).with_context(|| format!("read {}", file.display()))?;
                sum.entries.push(entry);
            }
        }
        Ok(sum)
    }

    /// Adds a cycle, which stays in the file whatever happens next.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, settings: &Settings, cycle: &Cycle, loss: bool) -> anyhow::Result<()> {
        let entry = Entry {
            seed: settings.seed,
            masters: settings.masters,
            form: if settings.full { "full" } else { "reduced" }.to_owned(),
            fault: cycle.fault.kind().to_owned(),
            recovery_ms: cycle.recovery.as_secs_f64() * 1_000.0,
            tasks: cycle.tasks,
            loss,
        };
        if let Some(path) = &self.file {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{}", serde_json::to_string(&entry)?)?;
        }
        self.entries.push(entry);
        Ok(())
    }

    /// How many cycles there are.
    pub fn cycles(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The seeds, in the order of their runs, each with its count of cycles.
    pub fn seeds(&self) -> Vec<(u64, usize)> {
        let mut seeds: Vec<(u64, usize)> = Vec::new();
        for entry in &self.entries {
            match seeds.last_mut().filter(|(seed, _)| *seed == entry.seed) {
                Some((_, count)) => *count += 1,
                None => seeds.push((entry.seed, 1)),
            }
        }
        seeds
    }

    /// Cycles without loss, and recovery times: over all and by kind of fault.
    pub fn figures(&self) -> Vec<Figure> {
        let mut kinds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for entry in &self.entries {
            kinds.entry(&entry.fault).or_default().push(entry.recovery_ms);
        }
        let good = self.entries.iter().filter(|entry| !entry.loss).count();
        let all = self.entries.iter().map(|entry| entry.recovery_ms).collect();
        let survived = Figure {
            n: self.entries.len(),
            ..Figure::of("R4", "cycles without loss", "cycles", ">= 1000, 0 losses", vec![good as f64])
        };
        let recovery = |what: &str, times| {
            let what = format!("{what} to the first acknowledged write after it");
            Figure::of("R4", &what, "ms", "published", times)
        };
        let by_kind = kinds.into_iter().map(|(kind, times)| recovery(kind, times));
        [survived, recovery("any fault", all)].into_iter().chain(by_kind).collect()
    }

    /// How many recoveries took how long: upper bounds in milliseconds, each twice the one before.
    pub fn histogram(&self) -> Vec<(u64, usize)> {
        let mut bounds: BTreeMap<u64, usize> = BTreeMap::new();
        for entry in &self.entries {
            let mut bound = 8;
            while entry.recovery_ms > bound as f64 {
                bound *= 2;
            }
            *bounds.entry(bound).or_default() += 1;
        }
        bounds.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle(fault: Fault, milliseconds: u64) -> Cycle {
        Cycle { number: 1, fault, recovery: Duration::from_millis(milliseconds), tasks: 2, dropped: 0 }
    }

    #[test]
    fn a_sum_goes_on_where_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sum");
        let mut settings = Settings::new("x");
        let mut first = Sum::open(Some(&file)).unwrap();
        first.add(&settings, &cycle(Fault::KillLeader, 300), false).unwrap();
        first.add(&settings, &cycle(Fault::KillDriver, 9), false).unwrap();
        let mut second = Sum::open(Some(&file)).unwrap();
        settings.seed = 2;
        second.add(&settings, &cycle(Fault::KillLeader, 500), true).unwrap();
        let sum = Sum::open(Some(&file)).unwrap();
        assert_eq!((sum.cycles(), sum.seeds()), (3, vec![(1, 2), (2, 1)]));
        let figures = sum.figures();
        assert_eq!((figures[0].value, figures[0].n), (2.0, 3));
        assert_eq!((figures[1].n, figures[1].max), (3, 500.0));
        assert!(figures[3].what.starts_with("leader kill -9"), "{}", figures[3].what);
        assert_eq!(sum.histogram(), vec![(16, 1), (512, 2)]);
    }
}
