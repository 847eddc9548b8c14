//! Why a framework is, or is not, offered something: asked by people who wait for offers.
//!
//! Asks the planner's own question of every agent, so that an explanation cannot drift away from what is done.

use std::collections::BTreeMap;

use super::planner::{Scratch, Supply};
use super::quantities::Quantities;
use super::settings::Amounts;
use super::state::Allocator;
use super::supply;
use crate::ids::{AgentId, FrameworkId};

/// Agents named for each reason; the rest is counted.
const MAX_EXAMPLES: usize = 5;

/// What stands against an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing: it is a matter of whose turn it is.
    Waiting,
    /// The framework is not known.
    UnknownFramework,
    /// The framework does not subscribe to the role.
    NotSubscribed,
    /// The framework is not connected.
    NotConnected,
    /// The framework suppressed the role.
    Suppressed,
    /// The agent is not connected.
    AgentNotConnected,
    /// An operator wants nothing of the agent to be offered.
    AgentDeactivated,
    /// An operator has the agent emptied.
    AgentDraining,
    /// The agent was emptied, and stays so until an operator reactivates it.
    AgentDrained,
    /// The agent has graphics processors and the framework does not say that it wants any.
    GpuAgent,
    /// The agent stands in another region than the masters, and the framework does not know regions.
    OtherRegion,
    /// The host is not on the list of those that may be offered.
    NotListed,
    /// The framework's own offer constraints.
    Constraints,
    /// Everything is held or offered.
    NothingFree,
    /// What is free is reserved for other roles, or of a sort that the framework does not know.
    ReservedForOthers,
    /// What is free is below the smallest offer.
    TooSmall,
    /// The role's limit is reached, or what is free is kept for other roles' guarantees.
    Quota,
    /// The framework refused it for a while.
    Refused,
}

impl Reason {
    /// A word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::UnknownFramework => "UNKNOWN_FRAMEWORK",
            Self::NotSubscribed => "NOT_SUBSCRIBED",
            Self::NotConnected => "NOT_CONNECTED",
            Self::Suppressed => "SUPPRESSED",
            Self::AgentNotConnected => "AGENT_NOT_CONNECTED",
            Self::AgentDeactivated => "AGENT_DEACTIVATED",
            Self::AgentDraining => "AGENT_DRAINING",
            Self::AgentDrained => "AGENT_DRAINED",
            Self::GpuAgent => "GPU_AGENT",
            Self::OtherRegion => "OTHER_REGION",
            Self::NotListed => "NOT_LISTED",
            Self::Constraints => "OFFER_CONSTRAINTS",
            Self::NothingFree => "NOTHING_FREE",
            Self::ReservedForOthers => "RESERVED_FOR_OTHERS",
            Self::TooSmall => "TOO_SMALL",
            Self::Quota => "QUOTA",
            Self::Refused => "REFUSED",
        }
    }

    /// A sentence for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Waiting => "could be offered: it is a matter of whose turn it is",
            Self::UnknownFramework => "the framework is not known",
            Self::NotSubscribed => "the framework does not subscribe to this role",
            Self::NotConnected => "the framework is not connected",
            Self::Suppressed => "the framework suppressed this role; REVIVE ends that",
            Self::AgentNotConnected => "the agent is not connected",
            Self::AgentDeactivated => {
                "an operator deactivated the agent; `tepui agents reactivate` ends that"
            }
            Self::AgentDraining => "an operator has the agent drained, and it is not empty yet",
            Self::AgentDrained => "the agent is drained; `tepui agents reactivate` brings it back",
            Self::GpuAgent => "the agent has GPUs and the framework lacks the capability GPU_RESOURCES",
            Self::OtherRegion => {
                "the agent is in another region and the framework lacks the capability REGION_AWARE"
            }
            Self::NotListed => "the agent's host is not on the whitelist",
            Self::Constraints => "the framework's offer constraints exclude the agent",
            Self::NothingFree => "everything is held by tasks or out in offers",
            Self::ReservedForOthers => "what is free is reserved for other roles, or needs a capability",
            Self::TooSmall => "what is free is less than the smallest offer",
            Self::Quota => "the role's quota limit is reached, or what is free is kept for guarantees",
            Self::Refused => "the framework declined it; REVIVE ends that",
        }
    }
}

/// The agents for which one reason holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub agents: usize,
    /// The first few of them.
    pub examples: Vec<AgentId>,
    /// Of refusals: when the last of them ends, cluster time.
    pub until_ms: Option<u64>,
}

/// All reasons for one framework in one role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What holds for all agents; if there is anything, `agents` is empty.
    pub framework: Vec<Reason>,
    pub agents: BTreeMap<Reason, Group>,
}

/// How a framework stands in a role, in figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoleView {
    pub weight: f64,
    /// Part of the cluster that the role holds, by its dominant resource.
    pub share: f64,
    /// What counts for the quota of the top-level role, in thousandths.
    pub consumed: Amounts,
    /// The least that is offered, as text.
    pub minimum: String,
    /// The largest free amount on any one agent that can be offered, kind by kind, in thousandths.
    pub largest: Amounts,
    /// Live refusals, and when the last of them ends, cluster time.
    pub filters: usize,
    pub filters_end_ms: Option<u64>,
}

impl Allocator {
    /// Tells what stands against offers to this framework in this role. `inactive` says why nothing of an agent is planned: the
    /// planner knows only that it is so.
    pub fn explain(
        &self,
        framework: &FrameworkId,
        role: &str,
        now_ms: u64,
        inactive: impl Fn(&AgentId) -> Reason,
    ) -> Explanation {
        let mut explanation = Explanation::default();
        let Some(known) = self.frameworks.get(framework) else {
            explanation.framework.push(Reason::UnknownFramework);
            return explanation;
        };
        let conditions = [
            (known.roles.contains(role), Reason::NotSubscribed),
            (known.active, Reason::NotConnected),
            (!known.suppressed.contains(role), Reason::Suppressed),
        ];
        explanation.framework.extend(conditions.iter().filter(|(met, _)| !met).map(|(_, reason)| *reason));
        let scratch = Scratch::new(self, now_ms);
        let Some(place) = self.ledger.find(framework.as_str(), role) else { return explanation };
        let node = scratch.ledger.node(place.node);
        let Some(client) = node.client(place.slot) else { return explanation };
        if !explanation.framework.is_empty() {
            return explanation;
        }
        let allowance = scratch.allowance(place.node);
        for agent in self.agents.values() {
            let supply = Supply::new(self, agent);
            let reason = if !agent.active {
                inactive(&agent.id)
            } else if !agent.listed {
                Reason::NotListed
            } else {
                let answer = scratch.offerable(&supply, node, client, allowance.as_ref());
                answer.err().unwrap_or(Reason::Waiting)
            };
            let group = explanation.agents.entry(reason).or_default();
            group.agents += 1;
            if reason == Reason::Refused {
                group.until_ms = group.until_ms.max(supply.refused_until(&client.traits.key, now_ms));
            }
            if group.examples.len() < MAX_EXAMPLES {
                group.examples.push(agent.id.clone());
            }
        }
        explanation
    }

    /// Tells how a framework stands in a role.
    pub fn role_view(&self, framework: &FrameworkId, role: &str, now_ms: u64) -> RoleView {
        let mut largest = Quantities::default();
        for agent in self.agents.values().filter(|agent| agent.offerable()) {
            largest = largest.at_least(&supply::known_quantities(&agent.free, &self.kinds));
        }
        let (filters, filters_end_ms) = self.filters.summary(framework.as_str(), role, now_ms);
        let place = self.ledger.find(framework.as_str(), role);
        let client = place.and_then(|place| self.ledger.node(place.node).client(place.slot));
        let minimum = client.map_or(&self.minimum, |client| &client.traits.minimum);
        let (weight, share) = self.ledger.standing(role);
        RoleView {
            weight,
            share,
            consumed: self.consumed(role.split('/').next().unwrap_or(role)),
            minimum: minimum.to_string(),
            largest: self.named(&largest),
            filters,
            filters_end_ms,
        }
    }
}
