//! The plan itself: for each agent, drivers' demands, then whoever deserves it most, until nobody wants what is left.
//!
//! Works on a copy of the ledger, so that each decision sees those before it, and throws the copy away.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use tepui_proto::resources::Resources;

use super::cycle::{Stage, Step};
use super::explain::Reason;
use super::filters::AgentFilters;
use super::ledger::{Client, Ledger, Node, Place, Traits};
use super::quantities::{GPUS, MAX_KINDS, Quantities};
use super::state::{Agent, Allocator};
use super::supply::{self, Eligible};
use super::{Allocation, Demand};
use crate::ids::AgentId;

/// The state that a plan works on.
pub(super) struct Scratch<'a> {
    base: &'a Allocator,
    pub(super) ledger: Ledger,
    headroom: Quantities,
    /// Whether some role has a guarantee, so that headroom matters.
    guarded: bool,
    demands: Vec<&'a Demand>,
    now_ms: u64,
}

/// One agent while it is planned.
pub(super) struct Supply<'a> {
    pub(super) agent: &'a Agent,
    pub(super) left: Resources,
    plain: bool,
    filters: Option<&'a AgentFilters>,
}

struct Grant {
    place: Place,
    traits: Arc<Traits>,
    resources: Resources,
}

impl Allocator {
    /// Decides who gets what of these agents, in this order. Changes nothing.
    pub(super) fn plan_steps(&self, steps: &[Step], now_ms: u64) -> Vec<Allocation> {
        let mut scratch = Scratch::new(self, now_ms);
        let mut allocations = Vec::new();
        // What the stage of guarantees leaves of an agent, for the second look at it.
        let mut left: BTreeMap<AgentId, Resources> = BTreeMap::new();
        for step in steps {
            let Some(agent) = self.agents.get(&step.agent_id).filter(|agent| agent.active) else { continue };
            let mut supply = Supply::new(self, agent);
            if let Some(rest) = left.remove(&agent.id) {
                supply.left = rest;
            }
            scratch.plan_agent(&mut supply, step.stage, &mut allocations);
            if step.stage == Stage::Guarantees {
                left.insert(agent.id.clone(), supply.left);
            }
        }
        allocations
    }
}

impl Allocator {
    /// Whether this demand could be met on this agent, were `offered` of it taken back.
    pub fn would_meet(&self, demand: &Demand, agent: &AgentId, offered: &Resources) -> bool {
        let Some(agent) = self.agents.get(agent).filter(|agent| agent.active) else { return false };
        let mut supply = Supply::new(self, agent);
        supply.left += offered;
        supply.plain = false;
        Scratch::new(self, 0).fits(&supply, demand)
    }
}

impl<'a> Supply<'a> {
    pub(super) fn new(base: &'a Allocator, agent: &'a Agent) -> Supply<'a> {
        Supply {
            agent,
            left: agent.free.clone(),
            plain: agent.plain,
            filters: base.filters.of_agent(agent.id.as_str()),
        }
    }

    fn eligible(&self, to: Eligible<'_>) -> Resources {
        if self.plain { self.left.clone() } else { supply::eligible(&self.left, to) }
    }
}

impl<'a> Scratch<'a> {
    pub(super) fn new(base: &'a Allocator, now_ms: u64) -> Scratch<'a> {
        Scratch {
            base,
            ledger: base.ledger.clone(),
            headroom: base.headroom,
            guarded: base.ledger.has_guarantees(),
            demands: base.demands.iter().collect(),
            now_ms,
        }
    }

    fn plan_agent(&mut self, supply: &mut Supply<'_>, stage: Stage, allocations: &mut Vec<Allocation>) {
        self.meet_demands(supply, allocations);
        while !supply.left.is_empty() {
            let Some(grant) = self.next_grant(supply, stage) else { return };
            self.take(supply, &grant);
            let (framework, role) = grant.traits.key.clone();
            let agent = supply.agent.id.clone();
            allocations.push(Allocation { agent, framework, role, resources: grant.resources, driver: None });
        }
    }

    /// Drivers come first: they are few and ask for no more than they need, and would never be served behind frameworks
    /// that are offered whole agents.
    fn meet_demands(&mut self, supply: &mut Supply<'_>, allocations: &mut Vec<Allocation>) {
        let mut next = 0;
        while let Some(demand) = self.demands.get(next).copied() {
            if !self.fits(supply, demand) {
                next += 1;
                continue;
            }
            self.demands.remove(next);
            let wanted = supply::headroom(&demand.resources, &self.base.kinds);
            self.headroom = self.headroom.minus(&wanted);
            if let Some(place) = self.ledger.find(demand.framework.as_str(), &demand.role) {
                let all = supply::known_quantities(&demand.resources, &self.base.kinds);
                self.ledger.charge(place, &all, 0);
            }
            supply.left = supply.left.saturating_sub(&demand.resources);
            allocations.push(Allocation {
                agent: supply.agent.id.clone(),
                framework: demand.framework.clone(),
                role: demand.role.clone(),
                resources: demand.resources.clone(),
                driver: Some(demand.driver.clone()),
            });
        }
    }

    fn fits(&self, supply: &Supply<'_>, demand: &Demand) -> bool {
        if demand.elsewhere.as_ref() == Some(&supply.agent.id) {
            return false;
        }
        let to = Eligible { role: &demand.role, revocable: false, shared: false };
        if !supply.eligible(to).contains(&demand.resources) {
            return false;
        }
        let Some(node) = self.ledger.top_of(&demand.role) else { return true };
        let Some((top, quota)) = self.ledger.quota_of(node) else { return true };
        let wanted = supply::known_quantities(&demand.resources, &self.base.kinds);
        quota.below_limit(&top.allocated).contains(&wanted)
    }

    /// The first in the queue who may have something of this agent and does not mind.
    fn next_grant(&self, supply: &Supply<'_>, stage: Stage) -> Option<Grant> {
        self.ledger.walk(|index, node| {
            if stage == Stage::Guarantees && !self.is_owed(supply, index) {
                return ControlFlow::Continue(());
            }
            for (slot, client) in node.queue() {
                if let Ok(resources) = self.offerable(supply, index, node, client) {
                    let place = Place { node: index, slot };
                    return ControlFlow::Break(Grant { place, traits: client.traits.clone(), resources });
                }
            }
            ControlFlow::Continue(())
        })
    }

    /// Returns what this framework would be offered of the agent now, or what stands against it.
    pub(super) fn offerable(
        &self,
        supply: &Supply<'_>,
        index: usize,
        node: &Node,
        client: &Client,
    ) -> Result<Resources, Reason> {
        let traits = &*client.traits;
        if !traits.gpus && supply.agent.total_amounts.get(GPUS) > 0 {
            return Err(Reason::GpuAgent);
        }
        if supply.left.is_empty() {
            return Err(Reason::NothingFree);
        }
        let to = Eligible { role: &node.path, revocable: traits.revocable, shared: traits.shared };
        let mut resources = supply.eligible(to);
        if resources.is_empty() {
            return Err(Reason::ReservedForOthers);
        }
        if let Some(most) = self.allowance(index) {
            resources = supply::cut(&resources, &most, &self.base.kinds);
            if !traits.minimum.met_by(&resources) {
                return Err(Reason::Quota);
            }
        } else if !traits.minimum.met_by(&resources) {
            return Err(Reason::TooSmall);
        }
        let hidden = supply.filters.and_then(|filters| filters.hides(&traits.key, &resources, self.now_ms));
        match hidden {
            Some(until_ms) => Err(Reason::Refused { until_ms }),
            None => Ok(resources),
        }
    }

    /// How much of unreserved scalars a role may take, if quotas have anything to say.
    fn allowance(&self, index: usize) -> Option<Quantities> {
        let quota = self.ledger.quota_of(index);
        if quota.is_none() && !self.guarded {
            return None;
        }
        let mut most = Quantities([u64::MAX; MAX_KINDS]);
        if self.guarded {
            let owed = quota.map(|(top, quota)| quota.unsatisfied(&top.allocated)).unwrap_or_default();
            let required = self.ledger.required_headroom();
            let surplus = self.headroom.minus(&required).plus(&owed);
            for kind in (0..MAX_KINDS).filter(|kind| required.get(*kind) > 0) {
                most.0[kind] = surplus.get(kind);
            }
        }
        if let Some((top, quota)) = quota {
            most = most.at_most(&quota.below_limit(&top.allocated));
        }
        Some(most)
    }

    /// Whether the role's guarantee is not met and this agent has something of what is missing.
    fn is_owed(&self, supply: &Supply<'_>, index: usize) -> bool {
        let Some((top, quota)) = self.ledger.quota_of(index) else { return false };
        let owed = quota.unsatisfied(&top.allocated);
        let here = supply::known_quantities(&supply.left, &self.base.kinds);
        !owed.at_most(&here).is_zero()
    }

    fn take(&mut self, supply: &mut Supply<'_>, grant: &Grant) {
        let kinds = &self.base.kinds;
        self.ledger.charge(grant.place, &supply::known_quantities(&grant.resources, kinds), 1);
        self.headroom = self.headroom.minus(&supply::headroom(&grant.resources, kinds));
        supply.left = if supply.left == grant.resources {
            Resources::new()
        } else {
            supply.left.saturating_sub(&grant.resources)
        };
    }
}
