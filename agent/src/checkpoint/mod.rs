//! The agent's checkpoint on disk: one file of appended batches, read at start, rewritten when it has grown.
//!
//! Owns durability. What the records mean is the core's ([`tepui_agent_core::checkpoint`]).

mod file;
mod writer;

pub(crate) use file::JournalFile;
pub(crate) use writer::Journal;
