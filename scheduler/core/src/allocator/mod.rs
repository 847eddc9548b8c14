//! Who is offered what: shares, quotas, filters and explanations.
//!
//! ```text
//! agents, frameworks, charges ──► Allocator (indexes only, rebuilt for each leadership)
//!                                     │ changes mark agents dirty
//!            plan(now, budget): dirty agents in seeded order, a slice at a time
//!                                     │ for each agent: drivers' demands, then the most deserving framework
//!                                     ▼
//!                               [Allocation], charged ──► the master gives back what it makes no offer of
//! ```
//!
//! Owns fairness. A plan takes agents off the list of dirty ones, charges what it gives away, and counts how often each framework
//! was served, for ties. It is computed with integers only: the same inputs give the same plan, in slices of whatever size.

pub(crate) mod constraints;
mod cycle;
mod explain;
mod filter_counts;
mod filters;
mod frameworks;
mod ledger;
mod lots;
mod options;
mod planner;
mod quantities;
mod quota;
mod room;
mod settings;
mod share;
mod state;
mod supply;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod scenarios;

use std::sync::Arc;

use tepui_proto::resources::Resources;

pub use constraints::excluded as excluded_by_constraints;
pub use explain::{Explanation, Group, Reason, RoleView};
pub use filters::{DEFAULT_REFUSE_MS, MAX_REFUSE_MS, refuse_ms};
pub use options::{Minimums, Options, Sorter};
pub use settings::{Amounts, BadSetting};
pub use state::Allocator;

use crate::ids::{AgentId, FrameworkId};

/// Something that a framework, or a driver, should get.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    pub agent: AgentId,
    pub framework: FrameworkId,
    pub role: Arc<str>,
    /// Without allocation.
    pub resources: Resources,
    /// The driver whose demand this meets.
    pub driver: Option<String>,
}

/// Exactly so much, on one agent: what a driver needs for its next launch.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    pub driver: String,
    /// On whose account it goes.
    pub framework: FrameworkId,
    pub role: Arc<str>,
    /// Without allocation.
    pub resources: Resources,
    /// Not on this agent.
    pub elsewhere: Option<AgentId>,
}

/// What came of one slice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub allocations: Vec<Allocation>,
    /// Dirty agents are left: plan again.
    pub more: bool,
}
