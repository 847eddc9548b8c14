//! The live event stream of every master, standbys included: a snapshot of all objects, then whatever changes.
//!
//! Owns pacing (one object at most five times a second), bounds (subscribers, backlog, tasks in a snapshot) and the order
//! snapshot → live. A subscriber that cannot keep up is disconnected; it comes back and gets a snapshot.
//!
//! ```text
//!   Board ─▶ ChangeFeed ─▶ Hub::run ─▶ render once ─▶ broadcast ─▶ each subscriber
//!                               └──── every second: masters, leadership, counts
//! ```

mod hub;
mod objects;
mod render;

pub(crate) use hub::{Hub, Parts};
