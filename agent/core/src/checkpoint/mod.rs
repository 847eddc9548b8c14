//! What must outlive the agent's process.
//!
//! A checkpoint is a sequence of [`Record`]s; its meaning is the fold of them, [`State`]. The shell keeps the sequence in a
//! file, the simulator in memory. Nothing here opens a file.

mod record;
mod state;

pub use record::{
    Accepted, AcceptedGroup, Acknowledged, DecodeError, Drain, ExecutorEnded, ExecutorLaunched, FORMAT,
    Forgotten, Kind, Masters, Record, Registered, Resources, Updated,
};
pub use state::{ExecutorRecord, State, TaskRecord};
