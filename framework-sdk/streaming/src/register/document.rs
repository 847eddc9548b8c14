//! What stands in the register. Field names are read by dashboards and command lines, so they change only with the format.

use serde::{Deserialize, Serialize};

use super::codec::FORMAT;
use crate::files::{FileRef, hex_sha256};
use crate::job::Job;
use crate::source::{Position, Range};

/// Batches whose figures are kept.
pub(crate) const MAX_STATS: usize = 60;

/// The whole document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    pub format: u32,
    pub job: String,
    pub topology_hash: String,
    /// The driver that wrote it.
    pub generation: u64,
    /// Where executors find the driver; absent before the first one runs.
    pub driver: Option<DriverAddress>,
    /// The input has ended, every window is closed and every file is published or about to be.
    pub finished: bool,
    pub committed: Committed,
    /// The batch that is allowed to run next; absent while there is no input.
    pub plan: Option<Plan>,
    /// Batch size that back-pressure has arrived at.
    pub limit_records: u64,
    pub totals: Totals,
    /// The newest batches, oldest first. A batch's figures are complete when it is committed, so they stand in the register from
    /// the next write on.
    pub stats: Vec<BatchStats>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverAddress {
    /// `host:port`.
    pub address: String,
    pub generation: u64,
}

/// Everything that is true after the last committed batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Committed {
    /// 0 before the first.
    pub batch: u64,
    pub position: Position,
    pub max_event_ms: Option<i64>,
    pub watermark_ms: Option<i64>,
    pub state: StateRefs,
    /// Files of this batch, published right after it was committed. Those of older batches are published for certain.
    pub outputs: Vec<OutputFile>,
}

/// Files whose merger is the keyed state. Groups whose window has ended at the watermark are no longer part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRefs {
    pub base: Option<FileRef>,
    /// Batch after which the base was written.
    pub base_batch: u64,
    pub deltas: Vec<FileRef>,
}

impl StateRefs {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.base.iter().chain(&self.deltas).map(|reference| reference.name.as_str())
    }
}

/// A batch that is allowed to run: exactly what is read, and by which slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub batch: u64,
    /// Wall clock when it was planned, milliseconds since 1970.
    pub batch_time_ms: i64,
    pub records: u64,
    /// The source has ended: the batch has no input, and closes every window.
    pub end_of_input: bool,
    pub slots: Vec<SlotRanges>,
    /// Positions of the touched files once the batch is committed.
    pub after: Position,
}

/// What one slot reads, in this order.
pub type SlotRanges = Vec<Range>;

impl Plan {
    /// Identifies the plan: answers to another one are not counted.
    pub fn hash(&self) -> String {
        let bytes = serde_json::to_vec(self).expect("plain data with text keys always has a JSON form");
        hex_sha256(&bytes)[..16].to_owned()
    }
}

/// A file of a batch: written under its staged name, then moved to its published one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Name in the staging folder.
    pub staged: String,
    /// Path below the sink's folder.
    pub published: String,
    pub rows: u64,
    pub bytes: u64,
    pub sha256: String,
}

/// Sums over all committed batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Records read, each once.
    pub records: u64,
    /// Records that a filter held back.
    pub filtered: u64,
    /// Records whose window had ended.
    pub dropped_late: u64,
    /// Records that did not fit the declared types, and were left out.
    pub bad_records: u64,
    pub windows_closed: u64,
    pub output_rows: u64,
    pub output_files: u64,
}

/// Figures of one batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchStats {
    pub batch: u64,
    pub records: u64,
    /// From the start of the slots to the last answer, milliseconds.
    pub ms: u64,
    /// Duration of the compare-and-set, milliseconds.
    pub commit_ms: u64,
    /// Wall clock when the commit was answered, milliseconds since 1970.
    pub at: i64,
    pub generation: u64,
}

impl Register {
    /// The register of a job that has never run.
    pub fn new(job: &Job) -> Self {
        Self {
            format: FORMAT,
            job: job.name.clone(),
            topology_hash: job.topology_hash(),
            generation: 0,
            driver: None,
            finished: false,
            committed: Committed::default(),
            plan: None,
            limit_records: job.batch.max_records,
            totals: Totals::default(),
            stats: Vec::new(),
        }
    }

    /// Position once the planned batch is committed.
    pub(crate) fn planned_position(&self) -> Position {
        let mut position = self.committed.position.clone();
        if let Some(plan) = &self.plan {
            position.extend(plan.after.clone());
        }
        position
    }

    /// Adds the figures of a batch, and forgets the oldest beyond the limit.
    pub(crate) fn push_stats(&mut self, stats: BatchStats) {
        self.stats.push(stats);
        let excess = self.stats.len().saturating_sub(MAX_STATS);
        self.stats.drain(..excess);
    }
}
