//! Why an engine stops before its input has ended.

use super::probe::Stopped;
use crate::batch::{Inconsistent, SlotFailure};
use crate::files::FileFault;
use crate::register::{CodecError, StoreError};
use crate::source::SourceError;
use crate::state::StateError;

/// A reason to stop. What has been committed is safe with each of them.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("generation {mine} of this driver has been replaced by generation {current}")]
    Fenced { mine: u64, current: u64 },
    #[error("somebody else writes the register of this job (version {version} found)")]
    Superseded { version: u64 },
    #[error(
        "the register was written by another job description (topology {found}, this one is {mine}): \
         its state cannot be continued; use another job name"
    )]
    OtherTopology { found: String, mine: String },
    #[error("the register belongs to job `{0}`")]
    OtherJob(String),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("slot: {0}")]
    Slot(#[from] SlotFailure),
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    File(#[from] FileFault),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("register: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error("a thread for file work has ended: {0}")]
    Thread(String),
}
