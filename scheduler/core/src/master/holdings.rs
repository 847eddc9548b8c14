//! Who holds what on each agent: tasks in the Registry, launches in flight, offers. The allocator is told the differences.
//!
//! One function computes the truth of an agent from its sources, so that no path can charge or recover twice: whatever happens,
//! the agent is touched, and at the end of the turn the difference goes to the allocator. An offer that became a launch, or a
//! launch that became a task, makes no difference.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::resources::Resources;

use super::core::Master;
use crate::allocator::Allocation;
use crate::ids::{AgentId, ExecutorId, FrameworkId};
use crate::registry::Client;

/// Amounts by framework and role, without allocation.
pub(super) type Held = BTreeMap<Client, Resources>;

#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Agents that the allocator knows.
    known: BTreeSet<AgentId>,
    /// What the allocator was told is held on them.
    told: BTreeMap<AgentId, Held>,
    touched: BTreeSet<AgentId>,
}

impl Holdings {
    /// Something on this agent may have changed.
    pub(super) fn touch(&mut self, agent: &AgentId) {
        if !self.touched.contains(agent) {
            self.touched.insert(agent.clone());
        }
    }

    /// Agents on which this framework holds something, as far as the allocator was told.
    pub(super) fn agents_of(&self, framework: &FrameworkId) -> Vec<AgentId> {
        let holds = |held: &Held| held.keys().any(|(holder, _)| holder == framework);
        self.told.iter().filter(|(_, held)| holds(held)).map(|(agent, _)| agent.clone()).collect()
    }

    /// The allocator has this agent now.
    pub(super) fn know(&mut self, agent: &AgentId) {
        if self.known.insert(agent.clone()) {
            self.touch(agent);
        }
    }

    pub(super) fn knows(&self, agent: &AgentId) -> bool {
        self.known.contains(agent)
    }

    /// The allocator gave this to somebody and counts it as held; whether it is, shows when the agent is settled.
    pub(super) fn given(&mut self, one: &Allocation) {
        let held = self.told.entry(one.agent.clone()).or_default();
        add(held, &one.framework, &one.role, &one.resources);
        self.touch(&one.agent);
    }

    pub(super) fn told(&self) -> &BTreeMap<AgentId, Held> {
        &self.told
    }
}

impl Master {
    /// Tells the allocator what changed on the agents that were touched.
    pub(super) fn settle_holdings(&mut self) {
        for agent in std::mem::take(&mut self.holdings.touched) {
            if self.holdings.knows(&agent) {
                self.settle_agent(&agent);
                self.ask_inverse(&agent);
            }
        }
    }

    fn settle_agent(&mut self, agent: &AgentId) {
        let now = self.held_on(agent);
        let before = self.holdings.told.remove(agent).unwrap_or_default();
        for (client, old) in &before {
            let less = match now.get(client) {
                Some(new) => old.saturating_sub(new),
                None => old.clone(),
            };
            if !less.is_empty() {
                self.allocator.recover(&client.0, &client.1, agent, &less);
            }
        }
        for (client, new) in &now {
            let more = match before.get(client) {
                Some(old) => new.saturating_sub(old),
                None => new.clone(),
            };
            if !more.is_empty() {
                self.allocator.charge(&client.0, &client.1, agent, &more);
            }
        }
        if !now.is_empty() {
            self.holdings.told.insert(agent.clone(), now);
        }
    }

    /// The agent counts no longer: it leaves the allocator with everything held there.
    pub(super) fn forget_holdings(&mut self, agent: &AgentId) {
        self.holdings.known.remove(agent);
        self.holdings.told.remove(agent);
        self.allocator.remove_agent(agent);
    }

    /// Computes what is held on an agent; nothing on one that does not count.
    pub(super) fn held_on(&self, agent: &AgentId) -> Held {
        let counts = self.registry.agents.get(agent).is_some_and(|record| record.unreachable_ms.is_none());
        if !counts {
            return Held::new();
        }
        let mut held = match self.registry.charges.get(agent) {
            None => Held::new(),
            Some(charges) => {
                let mut charges = charges.clone();
                for key in self.reports.ended_on(agent) {
                    if let Some(record) = self.registry.tasks.get(key)
                        && record.agent_id() == *agent
                    {
                        std::sync::Arc::make_mut(&mut charges).release_if_charged(record);
                    }
                }
                charges.by_client.clone()
            }
        };
        self.add_pending(agent, &mut held);
        for offered in self.offers.on_agent(agent) {
            add(&mut held, &offered.framework, &offered.role, &offered.resources);
        }
        held
    }

    /// Adds what launches in flight hold. Whichever of them are committed, and in whatever way the others end, each of their
    /// executors is held once: by the Registry, by the launch that brings it, or else by one that relies on it.
    fn add_pending(&self, agent: &AgentId, held: &mut Held) {
        if mutant!("launch-in-flight-not-charged") {
            return;
        }
        let charges = self.registry.charges.get(agent);
        let charged = |framework: &FrameworkId, executor: &ExecutorId| {
            charges.is_some_and(|charges| charges.holds_executor(framework, executor))
        };
        let mut paid = BTreeSet::new();
        let mut unpaid = Vec::new();
        for launch in self.pipeline.launches_on(agent) {
            let mut amounts = launch.amounts.clone();
            for (executor, needs) in launch.executors() {
                let brings = launch.brings.contains(&executor);
                match (charged(&launch.framework, &executor), brings) {
                    (true, true) => amounts = amounts.saturating_sub(&needs),
                    (true, false) => {}
                    (false, true) => _ = paid.insert((launch.framework.clone(), executor)),
                    (false, false) => unpaid.push((launch, executor, needs)),
                }
            }
            add(held, &launch.framework, &launch.role, &amounts);
        }
        for (launch, executor, needs) in unpaid {
            if paid.insert((launch.framework.clone(), executor)) {
                add(held, &launch.framework, &launch.role, &needs);
            }
        }
    }
}

fn add(held: &mut Held, framework: &FrameworkId, role: &std::sync::Arc<str>, amounts: &Resources) {
    if !amounts.is_empty() {
        *held.entry((framework.clone(), role.clone())).or_default() += amounts;
    }
}
