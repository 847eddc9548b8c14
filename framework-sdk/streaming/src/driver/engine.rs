//! The driver's engine: one batch after the other, each committed by one compare-and-set.
//!
//! ```text
//! claim ─▶ recover ─▶ plan ─▶ run slots ─▶ merge, stage ─▶ commit N, plan N+1 ─▶ publish ─▶ sweep ─┐
//!                               ▲                                                                 │
//!                               └───────────────────────── pace ◀─────────────────────────────────┘
//! ```
//!
//! Holds nothing that is not in the register or computable from it, and never touches published output before the register
//! says so. Knows neither sockets nor masters: the register, the executors and the probe are given.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::error::EngineError;
use super::merge::{Merged, Merger};
use super::probe::{Point, Probe};
use crate::batch::{self, Outcome, SlotDone, SlotFailure, SlotTask, plan_next, pressure};
use crate::files::Disk;
use crate::job::Job;
use crate::names;
use crate::ops::{Aggregator, Groups, watermark_ms};
use crate::register::{
    self, BatchStats, CasOutcome, DriverAddress, Plan, Register, RegisterStore, StateRefs, StoreError,
};
use crate::sink::files::FileSink;
use crate::source::scout::ScanLimits;
use crate::source::{Position, Scan, Scout};
use crate::state;

/// Attempts to claim a register that somebody else keeps writing.
const MAX_CLAIMS: u32 = 100;

/// The slots of one planned batch, to be run by whoever can.
#[derive(Clone, Debug)]
pub(crate) struct BatchWork {
    pub(crate) batch: u64,
    /// One per slot, without attempt names.
    pub(crate) tasks: Vec<SlotTask>,
}

/// Runs slots somewhere, again and elsewhere if need be.
pub(crate) trait Slots: Send {
    /// Returns one answer per task, or the failure that no further attempt will mend.
    fn run(&mut self, work: BatchWork) -> impl Future<Output = Result<Vec<SlotDone>, SlotFailure>> + Send;
}

/// What an engine is made of.
pub(crate) struct Setup<S, X, P> {
    pub(crate) job: Job,
    pub(crate) store: S,
    pub(crate) slots: X,
    pub(crate) probe: P,
    pub(crate) disk: Disk,
    pub(crate) generation: u64,
    /// Where executors find this driver.
    pub(crate) address: Option<String>,
}

/// Runs one job as one driver generation.
pub(crate) struct Engine<S, X, P> {
    setup: Setup<S, X, P>,
    sink: FileSink,
    aggregator: Option<Aggregator>,
    scout: Option<Scout>,
    groups: Groups,
    register: Register,
    version: u64,
    /// Files that the register's last encoding refers to.
    spilled: Vec<String>,
}

impl<S: RegisterStore, X: Slots, P: Probe> Engine<S, X, P> {
    pub(crate) fn new(setup: Setup<S, X, P>) -> Self {
        let job = &setup.job;
        Self {
            sink: FileSink::new(job, setup.disk),
            aggregator: Aggregator::new(job),
            scout: Some(Scout::new(&job.source)),
            groups: Groups::new(),
            register: Register::new(job),
            version: 0,
            spilled: Vec::new(),
            setup,
        }
    }

    /// Makes the register name this driver, so that older generations can no longer write it. Returns whether the job has
    /// finished already.
    ///
    /// # Errors
    /// If a newer generation exists, or the register belongs to another job.
    pub(crate) async fn claim(&mut self) -> Result<bool, EngineError> {
        let (sink, disk, folder) =
            (self.sink.clone(), self.setup.disk, self.setup.job.checkpoint.state_folder());
        blocking(move || {
            sink.prepare()?;
            disk.make_folder(&folder)
        })
        .await??;
        for _ in 0..MAX_CLAIMS {
            let (version, mut register) = match self.setup.store.get().await? {
                None => (0, Register::new(&self.setup.job)),
                Some(found) => (found.version, self.decode(found.value).await?),
            };
            let mine = self.setup.generation;
            if register.generation > mine {
                return Err(EngineError::Fenced { mine, current: register.generation });
            }
            register.generation = mine;
            register.driver =
                self.setup.address.clone().map(|address| DriverAddress { address, generation: mine });
            let (bytes, spilled) = self.encode(&register).await?;
            match self.setup.store.cas(version, bytes).await? {
                CasOutcome::Ok { version } => {
                    info!(generation = mine, batch = register.committed.batch, "register claimed");
                    self.adopt(register, version, spilled);
                    return Ok(self.register.finished);
                }
                CasOutcome::Conflict { version } => {
                    debug!(version, "register changed while it was being claimed")
                }
                CasOutcome::Fenced { generation } => {
                    return Err(EngineError::Fenced { mine, current: generation });
                }
            }
        }
        Err(StoreError("it changes faster than it can be claimed".to_owned()).into())
    }

    /// Runs until the input has ended and everything is published. [`Engine::claim`] comes first.
    ///
    /// # Errors
    /// Whatever makes it impossible, or wrong, to go on.
    pub(crate) async fn run(&mut self) -> Result<(), EngineError> {
        self.setup.probe.reach(Point::Claimed, self.register.committed.batch).await?;
        self.load_state().await?;
        self.publish().await?;
        self.setup.probe.reach(Point::Recovered, self.register.committed.batch).await?;
        while !self.register.finished {
            let started = Instant::now();
            match self.register.plan.clone() {
                Some(plan) => self.batch(plan).await?,
                None => self.plan_first().await?,
            }
            if !self.register.finished {
                tokio::time::sleep_until(started + self.pause()).await;
            }
        }
        self.sweep().await;
        info!(batch = self.register.committed.batch, records = self.register.totals.records, "job finished");
        Ok(())
    }

    pub(crate) fn register(&self) -> &Register {
        &self.register
    }

    // A plan that has just been made is run at once; without input the source is looked at once per interval.
    fn pause(&self) -> Duration {
        let fresh = self.register.plan.as_ref().is_some_and(|plan| plan.batch == 1);
        if fresh { Duration::ZERO } else { self.setup.job.batch.interval }
    }

    async fn plan_first(&mut self) -> Result<(), EngineError> {
        let scan = self.scan(self.register.committed.position.clone()).await?;
        let Some(plan) = self.plan(self.register.committed.batch + 1, &scan) else { return Ok(()) };
        let planned = Register { plan: Some(plan), ..self.register.clone() };
        self.write(planned).await.map(drop)
    }

    fn plan(&self, batch: u64, scan: &Scan) -> Option<Plan> {
        let job = &self.setup.job;
        plan_next(batch, scan, job.slots, job.source.finite, now_ms())
    }

    async fn batch(&mut self, plan: Plan) -> Result<(), EngineError> {
        let batch = plan.batch;
        self.setup.probe.reach(Point::Planned, batch).await?;
        let started = Instant::now();
        let ahead = self.register.planned_position();
        let work = self.work(&plan);
        // The input of the batch after is looked for while this one runs.
        let (mut scout, limits) = (self.take_scout(), self.limits());
        let look = !plan.end_of_input;
        let scanning = blocking(move || {
            let scan = if look { scout.scan(&ahead, limits) } else { Ok(Scan::default()) };
            (scout, scan)
        });
        let (scanned, done) = tokio::join!(scanning, self.setup.slots.run(work));
        let (scout, scan) = scanned?;
        self.scout = Some(scout);
        let (done, scan) = (done?, scan?);
        batch::check_done(&plan, &done)?;
        let outcome = self.merge(&plan, done).await?;
        let ms = millis(started.elapsed());
        let next = if plan.end_of_input { None } else { self.plan(batch + 1, &scan) };
        let mut register = batch::next_register(&self.register, outcome, next)?;
        register.limit_records =
            pressure::next_limit(&self.setup.job, self.register.limit_records, plan.records, ms);
        self.setup.probe.reach(Point::BeforeCommit, batch).await?;
        let commit_ms = self.write(register).await?;
        // Known only now, so it reaches the register with the next write.
        let generation = self.setup.generation;
        self.register.push_stats(BatchStats {
            batch,
            records: plan.records,
            ms,
            commit_ms,
            at: now_ms(),
            generation,
        });
        debug!(batch, records = plan.records, ms, commit_ms, "batch committed");
        self.setup.probe.reach(Point::Committed, batch).await?;
        self.publish().await?;
        self.setup.probe.reach(Point::Published, batch).await?;
        self.sweep().await;
        Ok(())
    }

    fn work(&self, plan: &Plan) -> BatchWork {
        let plan_hash = plan.hash();
        let task = |(slot, ranges): (usize, &Vec<_>)| SlotTask {
            generation: self.setup.generation,
            batch: plan.batch,
            plan_hash: plan_hash.clone(),
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            attempt: String::new(),
            ranges: ranges.clone(),
            watermark_ms: self.register.committed.watermark_ms,
        };
        BatchWork { batch: plan.batch, tasks: plan.slots.iter().enumerate().map(task).collect() }
    }

    async fn merge(&mut self, plan: &Plan, done: Vec<SlotDone>) -> Result<Outcome, EngineError> {
        let committed = &self.register.committed;
        let seen = done.iter().map(|answer| answer.max_event_ms).max().flatten().max(committed.max_event_ms);
        let watermark_ms = committed.watermark_ms.max(watermark_ms(&self.setup.job, seen, plan.end_of_input));
        let Some(aggregator) = self.aggregator.clone() else {
            let state = StateRefs::default();
            return Ok(Outcome { done, state, closed_output: None, windows_closed: 0, watermark_ms });
        };
        let merger = Merger {
            aggregator,
            sink: self.sink.clone(),
            state_folder: self.setup.job.checkpoint.state_folder(),
            disk: self.setup.disk,
            batch: plan.batch,
            generation: self.setup.generation,
            watermark_ms,
        };
        let (groups, refs) = (std::mem::take(&mut self.groups), committed.state.clone());
        let (merged, done) = blocking(move || {
            let merged = merger.merge(groups, refs, &done);
            (merged, done)
        })
        .await?;
        let Merged { groups, refs, closed_output, windows_closed } = merged?;
        self.groups = groups;
        Ok(Outcome { done, state: refs, closed_output, windows_closed, watermark_ms })
    }

    /// Writes the register; returns how many milliseconds that took.
    async fn write(&mut self, register: Register) -> Result<u64, EngineError> {
        let (bytes, spilled) = self.encode(&register).await?;
        let started = Instant::now();
        let version = match self.setup.store.cas(self.version, bytes.clone()).await? {
            CasOutcome::Ok { version } => version,
            CasOutcome::Fenced { generation } => {
                return Err(EngineError::Fenced { mine: self.setup.generation, current: generation });
            }
            CasOutcome::Conflict { version } => match self.setup.store.get().await? {
                // The very bytes that were to be written: an earlier attempt of this write has been applied.
                Some(found) if found.value == bytes => found.version,
                _ => return Err(EngineError::Superseded { version }),
            },
        };
        self.adopt(register, version, spilled);
        Ok(millis(started.elapsed()))
    }

    fn adopt(&mut self, register: Register, version: u64, spilled: Vec<String>) {
        self.register = register;
        self.version = version;
        self.spilled = spilled;
    }

    async fn load_state(&mut self) -> Result<(), EngineError> {
        let Some(aggregator) = self.aggregator.clone() else { return Ok(()) };
        let folder = self.setup.job.checkpoint.state_folder();
        let (refs, watermark_ms) =
            (self.register.committed.state.clone(), self.register.committed.watermark_ms);
        self.groups = blocking(move || state::load(&folder, &refs, &aggregator, watermark_ms)).await??;
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), EngineError> {
        let batch = self.register.committed.batch;
        for (index, file) in self.register.committed.outputs.clone().into_iter().enumerate() {
            if index == 1 {
                self.setup.probe.reach(Point::MidPublish, batch).await?;
            }
            let sink = self.sink.clone();
            blocking(move || sink.publish(&file)).await??;
        }
        Ok(())
    }

    // Staged files are safe to remove two commits after their batch; all of them once the job has finished.
    async fn sweep(&mut self) {
        let committed = &self.register.committed;
        let batch = if self.register.finished { committed.batch } else { committed.batch.saturating_sub(2) };
        let keep: BTreeSet<String> = committed
            .state
            .names()
            .chain(self.spilled.iter().map(String::as_str))
            .map(str::to_owned)
            .collect();
        let (staging, state) = (self.sink.staging().to_owned(), self.setup.job.checkpoint.state_folder());
        let swept = blocking(move || {
            let staged = names::sweep(&staging, batch, &BTreeSet::new())?;
            Ok::<_, EngineError>(staged + names::sweep(&state, batch, &keep)?)
        });
        match swept.await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => debug!(count, "left-over files removed"),
            Ok(Err(error)) | Err(error) => warn!(%error, "cannot remove left-over files"),
        }
    }

    async fn scan(&mut self, position: Position) -> Result<Scan, EngineError> {
        let (mut scout, limits) = (self.take_scout(), self.limits());
        let (scout, scan) = blocking(move || {
            let scan = scout.scan(&position, limits);
            (scout, scan)
        })
        .await?;
        self.scout = Some(scout);
        Ok(scan?)
    }

    fn take_scout(&mut self) -> Scout {
        self.scout.take().unwrap_or_else(|| Scout::new(&self.setup.job.source))
    }

    fn limits(&self) -> ScanLimits {
        let batch = &self.setup.job.batch;
        let records = if self.setup.job.back_pressure.enabled {
            self.register.limit_records
        } else {
            batch.max_records
        };
        ScanLimits { records: records.clamp(1, batch.max_records), bytes: batch.max_bytes }
    }

    async fn encode(&self, register: &Register) -> Result<(Vec<u8>, Vec<String>), EngineError> {
        let (register, disk) = (register.clone(), self.setup.disk);
        let folder = self.setup.job.checkpoint.state_folder();
        let (batch, generation) = (register.committed.batch, self.setup.generation);
        let encoded = blocking(move || {
            let mut names = Vec::new();
            let bytes = register::encode(&register, disk, &folder, || {
                names.push(names::unique(batch, generation, "register"));
                names.last().cloned().unwrap_or_default()
            })?;
            Ok::<_, EngineError>((bytes, names))
        });
        encoded.await?
    }

    async fn decode(&self, bytes: Vec<u8>) -> Result<Register, EngineError> {
        let folder = self.setup.job.checkpoint.state_folder();
        let register = blocking(move || register::decode(&bytes, &folder)).await??;
        let mine = self.setup.job.topology_hash();
        if register.job != self.setup.job.name {
            return Err(EngineError::OtherJob(register.job));
        }
        if register.topology_hash != mine {
            return Err(EngineError::OtherTopology { found: register.topology_hash, mine });
        }
        Ok(register)
    }
}

// File work runs on threads of its own, so that leases, heartbeats and connections go on beside it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| EngineError::Thread(error.to_string()))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
