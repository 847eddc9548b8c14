//! The connection between a driver and its executors.
//!
//! ```text
//! executor ── connects to the address in the job's register
//!    Hello { job, topology, executor, capacity, highest generation, nonce } ──▶
//!    ◀── Welcome { generation, nonce, mac }        the driver knows the job's key and speaks for this generation
//!    Proof { mac } ──▶                             the executor knows it too
//!    ◀── Run / Ping / Stop        Done / Failed / Pong ──▶
//! ```
//!
//! Frames: length (u32, big endian) of what follows, format version (u8), JSON. Data never travels here, only references.

pub(crate) mod auth;
mod frame;
mod message;

pub(crate) use frame::{FrameError, read_frame, write_frame};
pub(crate) use message::{FromExecutor, ToExecutor};

use std::time::Duration;

/// A ping is sent this often.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(1);
/// A peer that says nothing for this long is gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(4);
/// The handshake may take this long.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
