//! One file per command: its flags, and what it does with them.

pub mod agent;
pub mod agents;
pub mod config;
mod disk_flags;
pub mod drivers;
pub mod explain;
pub mod fate;
pub mod frameworks;
pub mod kill_driver;
pub mod local;
pub mod logs;
pub mod maintenance;
pub mod master;
mod master_http;
mod offer_flags;
pub mod raft;
mod removal_flags;
pub mod run;
pub(crate) mod signals;
pub mod state;
pub mod stream;
pub mod submit;
pub mod supervise;
mod tally;
pub mod tasks;
