//! The whole agent against a scripted master on loopback, with real processes.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod commands;
mod connections;
mod endpoints;
mod executor;
mod executors;
mod hostile;
mod inherited;
mod kills;
mod links;
mod master;
mod news;
mod operator;
mod restarts;
mod rig;
mod sdk_executor;
mod shown;
mod tokens;
mod unchecked;
