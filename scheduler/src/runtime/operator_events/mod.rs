//! The operator API's event stream, on the leading master: a snapshot, then every change of agents, frameworks and tasks.
//!
//! Owns its subscribers and the Registry that they were last told about; what happened is the difference to the newest one.
//! Two changes of one task within one applied batch are told as one.

mod diff;
mod task;

pub(crate) use task::{Handle, OperatorEvents, Parts};
