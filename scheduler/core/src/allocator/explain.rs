//! Why a framework is, or is not, offered something: asked by people who wait for offers.
//!
//! Asks the planner's own question of every agent, so that an explanation cannot drift away from what is done.

use std::collections::BTreeMap;

use super::planner::{Scratch, Supply};
use super::state::Allocator;
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
    /// The agent has graphics processors and the framework does not say that it wants any.
    GpuAgent,
    /// Everything is held or offered.
    NothingFree,
    /// What is free is reserved for other roles, or of a sort that the framework does not know.
    ReservedForOthers,
    /// What is free is below the smallest offer.
    TooSmall,
    /// The role's limit is reached, or what is free is kept for other roles' guarantees.
    Quota,
    /// The framework refused it, until this cluster time.
    Refused { until_ms: u64 },
}

/// The agents for which one reason holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub agents: usize,
    /// The first few of them.
    pub examples: Vec<AgentId>,
}

/// All reasons for one framework in one role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What holds for all agents; if there is anything, `agents` is empty.
    pub framework: Vec<Reason>,
    pub agents: BTreeMap<Reason, Group>,
}

impl Allocator {
    /// Tells what stands against offers to this framework in this role.
    pub fn explain(&self, framework: &FrameworkId, role: &str, now_ms: u64) -> Explanation {
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
        for agent in self.agents.values() {
            let reason = if agent.active {
                let supply = Supply::new(self, agent);
                scratch.offerable(&supply, place.node, node, client).err().unwrap_or(Reason::Waiting)
            } else {
                Reason::AgentNotConnected
            };
            let group = explanation.agents.entry(reason).or_default();
            group.agents += 1;
            if group.examples.len() < MAX_EXAMPLES {
                group.examples.push(agent.id.clone());
            }
        }
        explanation
    }
}
