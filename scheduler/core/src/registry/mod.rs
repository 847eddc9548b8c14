//! The replicated tables: everything that must outlive a leading master.
//!
//! Owns the tables, the operations that change them, and their bytes. Changes only by [`Registry::apply`] of committed
//! envelopes, total and deterministic: any decodable envelope gives the same result on every replica. Knows no connections,
//! offers or timers.

mod operation;
mod outcome;
mod records;
mod tables;

pub use operation::*;
pub use outcome::{CasResult, Change, Kind, Outcome, Refusal};
pub use records::*;
pub use tables::{RegisterKey, Registry};
