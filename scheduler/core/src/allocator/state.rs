//! The allocator's indexes: agents with what is free on them, and the way in for everything that changes.
//!
//! Everything here can be rebuilt from the Registry and the master's offers; nothing is decided here.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_proto::resources::{Millis, Resources};
use tepui_proto::v1;

use super::cycle::Cycle;
use super::filters::Filters;
use super::frameworks::Framework;
use super::ledger::Ledger;
use super::quantities::{Kinds, Quantities};
use super::quota::Quota;
use super::share::Weight;
use super::{Allocation, Demand, Plan, supply};
use crate::ids::{AgentId, FrameworkId};

/// An agent as the planner sees it.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    /// Whether it is connected: others are not planned.
    pub(super) active: bool,
    total: Resources,
    pub(super) total_amounts: Quantities,
    /// Held by each framework in each role: tasks, offers and pending launches.
    holders: BTreeMap<(FrameworkId, Arc<str>), Resources>,
    held: Resources,
    pub(super) free: Resources,
    /// Nothing of `free` is reserved, revocable or shared.
    pub(super) plain: bool,
    /// Of `free`: what guarantees can be met from.
    headroom: Quantities,
    attributes: Vec<v1::Attribute>,
}

/// A weight or quota that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSetting {
    #[error("weight is not a number between 0.001 and 1000000")]
    Weight,
    #[error("quota of '{0}' is negative, not finite or too large")]
    Quota(String),
    #[error("only top-level roles have a quota")]
    NestedQuota,
}

/// Indexes for planning; held by a leading master and dropped with its leadership.
#[derive(Clone, Debug)]
pub struct Allocator {
    pub(super) kinds: Kinds,
    pub(super) agents: BTreeMap<AgentId, Agent>,
    pub(super) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(super) ledger: Ledger,
    pub(super) filters: Filters,
    pub(super) demands: Arc<[Demand]>,
    /// What is free in all for guarantees.
    pub(super) headroom: Quantities,
    totals: Quantities,
    cycle: Cycle,
}

impl Allocator {
    /// `seed` decides the order in which agents are looked at.
    pub fn new(seed: u64) -> Allocator {
        Allocator {
            kinds: Kinds::new(),
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            ledger: Ledger::new(),
            filters: Filters::default(),
            demands: Arc::from([]),
            headroom: Quantities::default(),
            totals: Quantities::default(),
            cycle: Cycle::new(seed),
        }
    }

    /// Adds a connected agent, or replaces what is known of it. If its resources or attributes are other ones than before,
    /// all refusals of it are forgotten.
    pub fn set_agent(&mut self, id: &AgentId, info: &v1::AgentInfo) {
        // What cannot be read was refused when the agent registered; an empty agent is never offered.
        let total = Resources::from_proto(&info.resources).unwrap_or_default().unallocated();
        let total_amounts = supply::quantities(&total, &mut self.kinds);
        let mut agent = match self.agents.remove(id) {
            Some(old) => {
                self.totals = self.totals.minus(&old.total_amounts);
                self.headroom = self.headroom.minus(&old.headroom);
                if old.total != total || old.attributes != info.attributes {
                    self.filters.remove_agent(id.as_str());
                }
                old
            }
            None => Agent {
                id: id.clone(),
                active: true,
                total: Resources::new(),
                total_amounts,
                holders: BTreeMap::new(),
                held: Resources::new(),
                free: Resources::new(),
                plain: true,
                headroom: Quantities::default(),
                attributes: Vec::new(),
            },
        };
        agent.active = true;
        agent.total = total;
        agent.total_amounts = total_amounts;
        agent.attributes.clone_from(&info.attributes);
        agent.recount(&self.kinds);
        self.totals = self.totals.plus(&agent.total_amounts);
        self.headroom = self.headroom.plus(&agent.headroom);
        self.ledger.set_totals(self.totals);
        self.agents.insert(id.clone(), agent);
        self.cycle.mark(id);
    }

    /// The agent's stream ended: nothing of it is planned, but it still counts as a part of the cluster.
    pub fn deactivate_agent(&mut self, id: &AgentId) {
        if let Some(agent) = self.agents.get_mut(id) {
            agent.active = false;
            self.headroom = self.headroom.minus(&agent.headroom);
            agent.headroom = Quantities::default();
            self.cycle.forget(id.as_str());
        }
    }

    /// The agent is unreachable or gone: with it go what was held on it and all refusals of it.
    pub fn remove_agent(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.remove(id) else { return };
        for ((framework, role), resources) in &agent.holders {
            self.give_back(framework, role, resources);
        }
        self.totals = self.totals.minus(&agent.total_amounts);
        self.headroom = self.headroom.minus(&agent.headroom);
        self.ledger.set_totals(self.totals);
        self.filters.remove_agent(id.as_str());
        self.cycle.forget(id.as_str());
    }

    /// Somebody holds this: a task, an executor, an offer or a pending launch. An unknown agent is ignored.
    pub fn charge(&mut self, framework: &FrameworkId, role: &str, agent: &AgentId, amounts: &Resources) {
        let amounts = amounts.unallocated();
        if amounts.is_empty() || !self.agents.contains_key(agent) {
            return;
        }
        let place = self.place(framework, role);
        let counted = supply::quantities(&amounts, &mut self.kinds);
        self.ledger.charge(place, &counted, 0);
        self.edit_agent(agent, |at| {
            *at.holders.entry((framework.clone(), Arc::from(role))).or_default() += &amounts;
            at.held += &amounts;
        });
    }

    /// What was charged is free again. More than was charged is ignored.
    pub fn recover(&mut self, framework: &FrameworkId, role: &str, agent: &AgentId, amounts: &Resources) {
        let amounts = amounts.unallocated();
        let Some(at) = self.agents.get_mut(agent) else { return };
        let key = (framework.clone(), Arc::from(role));
        let Some(held) = at.holders.get_mut(&key) else { return };
        let left = held.saturating_sub(&amounts);
        let returned = held.saturating_sub(&left);
        if left.is_empty() {
            at.holders.remove(&key);
        } else {
            *held = left;
        }
        self.edit_agent(agent, |at| at.held = at.held.saturating_sub(&returned));
        self.give_back(framework, role, &returned);
        self.cycle.mark(agent);
    }

    /// What drivers want; replaces what they wanted before. Costs nothing if it is the very same list.
    pub fn set_demands(&mut self, demands: impl Into<Arc<[Demand]>>) {
        let demands = demands.into();
        if Arc::ptr_eq(&demands, &self.demands) {
            return;
        }
        let new = demands.iter().any(|demand| !self.demands.contains(demand));
        self.demands = demands;
        if new {
            self.mark_all();
        }
    }

    /// Sets how much more than others a role is entitled to.
    ///
    /// # Errors
    /// See [`BadSetting`].
    pub fn set_weight(&mut self, role: &str, weight: f64) -> Result<(), BadSetting> {
        let weight = Weight::from_f64(weight).ok_or(BadSetting::Weight)?;
        self.ledger.set_weight(role, weight);
        self.mark_all();
        Ok(())
    }

    /// Sets the quota of a role, in units by resource name. Nothing in both removes it.
    ///
    /// # Errors
    /// See [`BadSetting`].
    pub fn set_quota(
        &mut self,
        role: &str,
        guarantees: &BTreeMap<String, f64>,
        limits: &BTreeMap<String, f64>,
    ) -> Result<(), BadSetting> {
        if role.contains('/') {
            return Err(BadSetting::NestedQuota);
        }
        let mut quota = Quota { guarantees: Quantities::default(), limits: Quota::UNLIMITED };
        for (given, amounts) in [(guarantees, &mut quota.guarantees), (limits, &mut quota.limits)] {
            for (name, units) in given {
                let milli = Millis::from_f64(*units).and_then(|milli| u64::try_from(milli.0).ok());
                let milli = milli.ok_or_else(|| BadSetting::Quota(name.clone()))?;
                let kind = self.kinds.intern(name).ok_or_else(|| BadSetting::Quota(name.clone()))?;
                amounts.0[kind] = milli;
            }
        }
        let none = guarantees.is_empty() && limits.is_empty();
        self.ledger.set_quota(role, (!none).then_some(quota));
        self.mark_all();
        Ok(())
    }

    /// Whether there is anything to plan.
    pub fn dirty(&self) -> bool {
        self.cycle.has_work()
    }

    /// Plans the next dirty agents, at most `budget`. Charges nothing.
    pub fn plan(&mut self, now_ms: u64, budget: usize) -> Plan {
        for Demand { framework, role, .. } in self.demands.clone().iter() {
            // So that what a driver gets counts for its role from the first moment.
            self.place(framework, role);
        }
        self.ledger.refresh();
        let giving = || {
            let agents = self.agents.values().filter(|agent| agent.active && !agent.free.is_empty());
            agents.map(|agent| agent.id.clone())
        };
        let steps = self.cycle.next_slice(budget, self.ledger.has_guarantees(), giving);
        let allocations = self.plan_steps(&steps, now_ms);
        for Allocation { framework, role, driver, .. } in &allocations {
            if driver.is_none() {
                let place = self.place(framework, role);
                self.ledger.charge(place, &Quantities::default(), 1);
            }
        }
        Plan { allocations, more: self.cycle.has_work() }
    }

    /// Returns what is neither held nor offered on an agent.
    pub fn free(&self, agent: &AgentId) -> Resources {
        self.agents.get(agent).map(|at| at.free.clone()).unwrap_or_default()
    }

    /// Every connected agent with something to give is looked at again.
    pub(super) fn mark_all(&mut self) {
        self.cycle.mark_all();
    }

    pub(super) fn mark(&mut self, agent: &AgentId) {
        if self.agents.contains_key(agent) {
            self.cycle.mark(agent);
        }
    }

    fn edit_agent(&mut self, id: &AgentId, edit: impl FnOnce(&mut Agent)) {
        if let Some(agent) = self.agents.get_mut(id) {
            self.headroom = self.headroom.minus(&agent.headroom);
            edit(agent);
            agent.recount(&self.kinds);
            self.headroom = self.headroom.plus(&agent.headroom);
        }
    }

    fn give_back(&mut self, framework: &FrameworkId, role: &str, resources: &Resources) {
        let counted = supply::known_quantities(resources, &self.kinds);
        if let Some(place) = self.ledger.find(framework.as_str(), role) {
            self.ledger.release(place, &counted);
            self.forget_if_idle(framework, role);
        }
    }

    /// Panics if the indexes contradict each other. For tests.
    pub fn check_invariants(&self) {
        let mut by_client: BTreeMap<(FrameworkId, Arc<str>), Quantities> = BTreeMap::new();
        let (mut totals, mut headroom) = (Quantities::default(), Quantities::default());
        for agent in self.agents.values() {
            let mut held = Resources::new();
            for (client, resources) in &agent.holders {
                assert!(!resources.is_empty(), "{}: {client:?} holds nothing", agent.id);
                held += resources;
                let sum = by_client.entry(client.clone()).or_default();
                *sum = sum.plus(&supply::known_quantities(resources, &self.kinds));
            }
            assert_eq!(held, agent.held, "{}: sum of what is held", agent.id);
            assert_eq!(agent.free, agent.total.saturating_sub(&held), "{}: free", agent.id);
            totals = totals.plus(&agent.total_amounts);
            headroom = headroom.plus(&agent.headroom);
        }
        assert_eq!(totals, self.totals, "totals");
        assert_eq!(headroom, self.headroom, "headroom");
        for (client, amounts) in &by_client {
            let place = self.ledger.find(client.0.as_str(), &client.1).expect("who holds something is known");
            let known = self.ledger.node(place.node).client(place.slot).expect("a place has a client");
            assert_eq!(known.allocated, *amounts, "{client:?}");
        }
        self.ledger.check_invariants();
    }
}

impl Agent {
    fn recount(&mut self, kinds: &Kinds) {
        self.free = self.total.saturating_sub(&self.held);
        self.plain = supply::is_plain(&self.free);
        self.headroom = if self.active { supply::headroom(&self.free, kinds) } else { Quantities::default() };
    }
}
