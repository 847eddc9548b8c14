//! The master's core: decides everything about agents, frameworks, offers, tasks and drivers, and never touches the world.
//!
//! One entrance, [`Master::handle`]: no async, no clock, no randomness, no files. What must outlive a leading master is the
//! [`Registry`], which changes only by [`Registry::apply`] of a committed [`Envelope`], the same way on every replica.

/// Whether a known bug is switched on; never, and without any cost, in builds without the feature `mutants`.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($name:literal) => {
        ::tepui_mutants::active($name)
    };
}
#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($name:literal) => {
        false
    };
}

mod abridged;
pub mod allocator;
pub mod conversion;
pub mod digest;
pub mod ids;
pub mod master;
pub mod rate_limits;
pub mod registry;
pub mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod validation;

pub use master::{AllocationNumbers, FleetCall, FleetCounters, OperationNumbers};
pub use master::{
    Config, ConnectionId, Effect, Input, LocalChange, LocalView, Master, MasterIdentity, Now, OperatorCall,
    ProposalId, Reply, RequestId,
};
pub use registry::{Change, Envelope, Kind, Operation, Outcome, Registry};
