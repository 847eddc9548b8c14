//! The replicated tables: everything that must outlive a leading master.
//!
//! Owns the tables, the operations that change them, and their bytes. Changes only by [`Registry::apply`] of committed
//! envelopes, total and deterministic: any decodable envelope gives the same result on every replica. Knows no connections,
//! offers or timers.

mod agent_index;
mod amounts;
mod apply;
mod audit;
mod charges;
mod codec;
mod fleet;
mod invariants;
mod lineage;
mod operation;
mod outcome;
mod records;
mod settings;
mod standing;
mod state_hash;
mod tables;

#[cfg(test)]
mod tests;

pub use agent_index::AgentIndex;
pub use amounts::unallocated;
pub use apply::{
    MAX_COMPLETED_FRAMEWORKS, MAX_GONE_AGENTS, MAX_HISTORY, MAX_STATUSES, MAX_UNREACHABLE_TASKS,
    conversions::MAX_AGENT_RESOURCES, conversions::MAX_DESTROYED_VOLUMES, conversions::MAX_OPERATIONS,
    drivers::MAX_ATTEMPTS, drivers::MAX_DRIVERS, frameworks::failover_timeout_ms, state_store::MAX_KEY_BYTES,
    state_store::MAX_REGISTER_BYTES, state_store::MAX_REGISTERS,
};
pub use audit::{Checkpoint, HashWord, Verdict};
pub use charges::{AgentCharges, Client, role_of};
pub use codec::{CodecError, decode_envelope, encode_envelope};
pub use fleet::*;
pub use lineage::*;
pub use operation::*;
pub use outcome::{CasResult, Change, Kind, Outcome, Refusal, Reregistered};
pub use records::*;
pub use settings::*;
pub use state_hash::{STATE_HASH_VERSION, StateDigest, StateHash};
pub use tables::{OperationKey, RegisterKey, Registry};
