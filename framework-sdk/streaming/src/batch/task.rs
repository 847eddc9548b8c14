//! What a slot is told to do, and what it answers. Travels between driver and executors as JSON.

use serde::{Deserialize, Serialize};

use crate::files::FileRef;
use crate::register::{OutputFile, SlotRanges};

/// One attempt at one slot of a planned batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlotTask {
    pub(crate) generation: u64,
    pub(crate) batch: u64,
    pub(crate) plan_hash: String,
    pub(crate) slot: u32,
    /// Unique; the answer names it.
    pub(crate) attempt: String,
    pub(crate) ranges: SlotRanges,
    /// Watermark of the whole batch.
    pub(crate) watermark_ms: Option<i64>,
}

/// The answer of a successful attempt. Only the answers that a commit names ever count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlotDone {
    pub(crate) generation: u64,
    pub(crate) batch: u64,
    pub(crate) plan_hash: String,
    pub(crate) slot: u32,
    pub(crate) attempt: String,
    /// Records read, including those that were filtered, late or bad.
    pub(crate) records: u64,
    pub(crate) filtered: u64,
    pub(crate) late: u64,
    pub(crate) bad: u64,
    pub(crate) max_event_ms: Option<i64>,
    /// Partial results, for a job that aggregates.
    pub(crate) delta: Option<FileRef>,
    /// Staged output, for a job that does not.
    pub(crate) output: Option<OutputFile>,
}

/// The answer of a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct SlotFailure {
    pub message: String,
    /// Another attempt may succeed.
    pub transient: bool,
}

impl SlotFailure {
    pub(crate) fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: true }
    }

    pub(crate) fn fatal(message: impl Into<String>) -> Self {
        Self { message: message.into(), transient: false }
    }
}
