//! The public API of a master: routes, admission and the form of answers. Handlers are thin: take apart, convert, one call,
//! convert. No rule about agents, frameworks or tasks stands here.

pub(crate) mod admission;
pub(crate) mod agent_link;
pub(crate) mod answer;
pub(crate) mod apart;
pub(crate) mod app;
pub(crate) mod auth;
pub(crate) mod backup;
pub(crate) mod dashboard;
mod each;
pub(crate) mod error;
pub(crate) mod events;
mod exposition;
pub(crate) mod files;
pub(crate) mod fleet;
pub(crate) mod flow;
pub(crate) mod gzip;
mod help;
pub(crate) mod legacy;
pub(crate) mod listener;
mod long_reads;
pub(crate) mod masters;
pub(crate) mod metrics;
pub(crate) mod operator_api;
pub(crate) mod operator_changes;
pub(crate) mod plain;
mod process;
mod raft_calls;
pub(crate) mod rate;
pub(crate) mod record_body;
pub(crate) mod redirect;
pub(crate) mod resources;
mod route;
pub(crate) mod router;
pub(crate) mod scheduler_api;
mod storage_metrics;
pub(crate) mod teardown;
pub(crate) mod tepui_api;
pub(crate) mod terms;

#[cfg(test)]
mod tests;

pub(crate) use app::{App, Info};
