//! The agent's core, driven from outside: scenarios that read like stories, and random histories with laws.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod attach;
mod executors;
mod news;
mod random;
mod resources;
mod rig;
mod scenarios;
