//! Sinks. A sink says where in a batch it takes effect:
//!
//! * *register-first* (files): staged before the commit, published after it, again on recovery; publishing is idempotent.
//! * *marker-first* (planned: Kafka, PostgreSQL): commits its own transaction, which holds the batch number, before it.

pub mod files;
mod format;
pub mod kafka;

pub(crate) use format::encode_rows;
