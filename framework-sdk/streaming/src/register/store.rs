//! Where the register lives, as the driver's engine sees it: the masters' log in production, memory in tests.

use std::future::Future;

/// A value and the number of writes that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    pub version: u64,
    pub value: Vec<u8>,
}

/// The answer to a compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasOutcome {
    Ok {
        version: u64,
    },
    /// Somebody else has written since.
    Conflict {
        version: u64,
    },
    /// A newer driver generation exists: the caller is a left-over and must stop.
    Fenced {
        generation: u64,
    },
}

/// The register could not be reached, in the time that the store allows itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A register with compare-and-set, fenced by the driver's generation.
pub trait RegisterStore: Send + Sync {
    /// Returns the newest committed value; `None` if it was never written.
    fn get(&self) -> impl Future<Output = Result<Option<Versioned>, StoreError>> + Send;

    /// Writes `value` if the register still has version `expected` (0: does not exist) and the caller's generation is the
    /// current one. Retries unknown outcomes by itself: the same write of the same generation counts once.
    fn cas(
        &self,
        expected: u64,
        value: Vec<u8>,
    ) -> impl Future<Output = Result<CasOutcome, StoreError>> + Send;
}
