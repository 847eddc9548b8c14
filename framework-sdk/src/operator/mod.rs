//! Operators' calls: Mesos' v1 operator API and our own.
//!
//! [`Client`] asks any master, follows redirects and keeps asking until a deadline.

mod client;
mod fleet;
mod raft;
pub(crate) mod tepui_client;

pub use client::{Client, OperatorError};
