//! The leading master's mind.
//!
//! Owns everything that lives as long as one leadership: connections, offers, filters, timers, pending proposals. Decides on
//! the last applied [`Registry`](crate::registry::Registry) and on what it has proposed since. Refuses to touch the world:
//! it answers with [`Effect`]s.
//!
//! ```text
//! idle ──Elected──► taking the lead ──TakeLead applied──► serving ──Deposed, or a newer epoch──► idle
//! ```

mod accept;
mod acknowledge;
mod agent_calls;
mod agent_news;
mod agents;
mod attach;
mod calls;
mod config;
mod core;
pub mod drivers;
mod effect;
mod explain;
mod fleet;
mod frameworks;
mod holdings;
mod input;
mod invariants;
mod kill;
mod launch_parts;
mod launches;
mod leadership;
mod levels;
mod local_view;
mod mint;
mod numbers;
mod offers;
mod operations;
mod operator;
mod operator_resources;
mod outcomes;
mod pipeline;
mod reconcile;
mod registration;
mod registration_parts;
mod removal;
mod reports;
mod role_list;
mod settings;
mod steps;
mod subscribe;
mod supervise;
mod suppression;
mod timers;
mod updates;
pub mod view;
mod warm;
mod warnings;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use core::Master;
pub use effect::{Effect, Level, LocalChange, Note, Reply};
pub use fleet::{FleetCall, FleetCounters};
pub use input::{ConnectionId, Input, MasterIdentity, Now, OperatorCall, ProposalId, RequestId};
pub use local_view::LocalView;
pub use numbers::{AllocationNumbers, Numbers, OperationNumbers};
