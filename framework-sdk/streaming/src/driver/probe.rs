//! The named points between the steps of a batch: a driver may die at, or wake up late from, each of them.

use std::future::Future;

/// Where the engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The register names this driver; nothing has been done yet.
    Claimed,
    /// Files of the last committed batch are published again.
    Recovered,
    /// The batch to run is durable in the register.
    Planned,
    /// Some slots have answered.
    MidSlots,
    /// Everything is staged.
    BeforeCommit,
    /// The register has the batch; nothing of it is published.
    Committed,
    /// Some files are published.
    MidPublish,
    Published,
}

impl Point {
    pub const ALL: [Self; 8] = [
        Self::Claimed,
        Self::Recovered,
        Self::Planned,
        Self::MidSlots,
        Self::BeforeCommit,
        Self::Committed,
        Self::MidPublish,
        Self::Published,
    ];
}

/// The engine has to stop where it is, as if its process had died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped at {0:?}")]
pub struct Stopped(pub Point);

/// Is told of every point that is reached, and may hold the engine there or stop it.
pub trait Probe: Send + Sync {
    fn reach(&self, point: Point, batch: u64) -> impl Future<Output = Result<(), Stopped>> + Send;
}

/// The probe of production: nothing happens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    async fn reach(&self, _: Point, _: u64) -> Result<(), Stopped> {
        Ok(())
    }
}
