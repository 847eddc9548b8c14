//! The job's register: the one small document in the masters' log that says what has been committed, and what runs next.
//!
//! ```text
//! committed N ── plan N+1 (durable) ── slots run ── one compare-and-set ──▶ committed N+1, plan N+2
//! ```
//!
//! Holds data only: positions, references, names; never code, and never a framework id.

mod codec;
mod document;
mod store;

pub use codec::{CodecError, FORMAT, MAX_REGISTER_BYTES};
pub(crate) use codec::{decode, encode};
pub use document::{
    BatchStats, Committed, DriverAddress, OutputFile, Plan, Register, SlotRanges, StateRefs, Totals,
};
pub use store::{CasOutcome, RegisterStore, StoreError, Versioned};

/// Key of the register within the scope of the job's name.
pub const REGISTER_KEY: &str = "stream";
