//! The allocator's indexes: agents with what is free on them, and the way in for everything that changes.
//!
//! Everything here can be rebuilt from the Registry and the master's offers; nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_proto::resources::Resources;
use tepui_proto::v1;

use super::cycle::Cycle;
use super::filters::Filters;
use super::frameworks::Framework;
use super::ledger::Ledger;
use super::options::Options;
use super::planner::Scratch;
use super::quantities::{Kinds, Quantities};
use super::room::Room;
use super::supply::Minimum;
use super::{Allocation, Demand, Plan, supply};
use crate::ids::{AgentId, FrameworkId};

/// An agent as the planner sees it.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    /// Whether it is connected: others are not planned.
    pub(super) active: bool,
    /// Whether its host may be offered.
    pub(super) listed: bool,
    pub(super) hostname: String,
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
    /// Of `total`: what is reserved, by top-level role.
    reserved: Vec<(Arc<str>, Quantities)>,
    pub(super) attributes: Vec<v1::Attribute>,
    pub(super) domain: Option<v1::DomainInfo>,
    /// Something of `total` may be taken back from who holds it.
    revocable: bool,
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
    pub(super) totals: Quantities,
    pub(super) options: Options,
    /// The cluster's minimum, ready to be asked.
    pub(super) minimum: Minimum,
    pub(super) whitelist: Option<Arc<BTreeSet<String>>>,
    /// Agents with something revocable.
    pub(super) revocables: usize,
    pub(super) room: Room,
    cycle: Cycle,
}

impl Allocator {
    /// `seed` decides the order in which agents are looked at.
    pub fn new(seed: u64) -> Allocator {
        Allocator::with(seed, Options::default())
    }

    /// Like [`Allocator::new`], with other settings than the house's.
    pub fn with(seed: u64, options: Options) -> Allocator {
        let minimum = options.minimum.minimum();
        Allocator {
            kinds: Kinds::new(),
            agents: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            ledger: Ledger::new(),
            filters: Filters::default(),
            demands: Arc::from([]),
            headroom: Quantities::default(),
            totals: Quantities::default(),
            options,
            minimum,
            whitelist: None,
            revocables: 0,
            room: Room::default(),
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
                self.revocables -= usize::from(old.revocable);
                if old.total != total || old.attributes != info.attributes {
                    self.filters.remove_agent(id.as_str());
                }
                old
            }
            None => Agent {
                id: id.clone(),
                active: true,
                listed: true,
                hostname: String::new(),
                total: Resources::new(),
                total_amounts,
                holders: BTreeMap::new(),
                held: Resources::new(),
                free: Resources::new(),
                plain: true,
                headroom: Quantities::default(),
                reserved: Vec::new(),
                attributes: Vec::new(),
                domain: None,
                revocable: false,
            },
        };
        agent.active = true;
        agent.listed = self.whitelist.as_ref().is_none_or(|hosts| hosts.contains(info.hostname()));
        info.hostname().clone_into(&mut agent.hostname);
        agent.domain.clone_from(&info.domain);
        agent.revocable = total.iter().any(|(identity, _)| identity.is_revocable());
        self.revocables += usize::from(agent.revocable);
        if agent.revocable && self.revocables == 1 {
            // What is revocable counts for no limit.
            self.ledger.wake_all();
        }
        let reserved = supply::reservations(&total, &mut self.kinds);
        for (role, amounts) in &reserved {
            self.ledger.add_reserved(role, amounts);
        }
        for (role, amounts) in std::mem::replace(&mut agent.reserved, reserved) {
            self.ledger.remove_reserved(&role, &amounts);
        }
        agent.total = total;
        agent.total_amounts = total_amounts;
        agent.attributes.clone_from(&info.attributes);
        agent.recount(&self.kinds);
        self.totals = self.totals.plus(&agent.total_amounts);
        self.headroom = self.headroom.plus(&agent.headroom);
        self.tell_totals();
        self.agents.insert(id.clone(), agent);
        self.cycle.mark(id);
    }

    /// Operations made the agent's resources into others: nobody's refusals end by that.
    pub fn convert_agent(&mut self, id: &AgentId, total: &Resources) {
        let total = total.unallocated();
        let total_amounts = supply::quantities(&total, &mut self.kinds);
        let reserved = supply::reservations(&total, &mut self.kinds);
        let Some(agent) = self.agents.get_mut(id) else { return };
        for (role, amounts) in &reserved {
            self.ledger.add_reserved(role, amounts);
        }
        for (role, amounts) in std::mem::replace(&mut agent.reserved, reserved) {
            self.ledger.remove_reserved(&role, &amounts);
        }
        let before = std::mem::replace(&mut agent.total_amounts, total_amounts);
        self.totals = self.totals.minus(&before).plus(&total_amounts);
        self.tell_totals();
        self.edit_agent(id, |agent| agent.total = total);
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
            self.give_back(framework, role, id, resources);
        }
        self.totals = self.totals.minus(&agent.total_amounts);
        self.headroom = self.headroom.minus(&agent.headroom);
        self.revocables -= usize::from(agent.revocable);
        for (role, amounts) in &agent.reserved {
            self.ledger.remove_reserved(role, amounts);
        }
        self.tell_totals();
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
        let counted = supply::counted(&amounts, &self.kinds, agent);
        self.ledger.charge(place, &counted, 0);
        self.hold(framework, &Arc::from(role), agent, &amounts);
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
        self.give_back(framework, role, agent, &returned);
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

    /// Whether there is anything to plan.
    pub fn dirty(&self) -> bool {
        self.cycle.has_work()
    }

    /// About how many agents wait to be looked at.
    pub fn waiting(&self) -> usize {
        self.cycle.waiting(self.agents.len())
    }

    /// Plans the next dirty agents, until about `budget` units of 50 nanoseconds are used up, at least one. What comes
    /// of it is charged: who makes nothing of an allocation must give it back.
    pub fn plan(&mut self, now_ms: u64, budget: usize) -> Plan {
        for Demand { framework, role, .. } in self.demands.clone().iter() {
            // So that what a driver gets counts for its role from the first moment.
            self.place(framework, role);
        }
        self.ledger.refresh();
        if self.cycle.is_new() && self.room_grew() {
            self.room.note_grown();
        }
        let giving = |dirty: &BTreeSet<AgentId>| {
            let gives = |agent: &&Agent| agent.offerable() && !agent.free.is_empty();
            let agents = self.agents.values().filter(|agent| gives(agent) || dirty.contains(&agent.id));
            agents.map(|agent| agent.id.clone()).collect()
        };
        self.cycle.begin(self.ledger.owes(), giving);
        let ledger = std::mem::replace(&mut self.ledger, Ledger::new());
        let (ledger, done, allocations) = self.plan_steps(ledger, self.cycle.steps(), now_ms, budget);
        self.ledger = ledger;
        self.cycle.done(done);
        for Allocation { agent, framework, role, resources, .. } in &allocations {
            self.hold(framework, role, agent, resources);
        }
        if !self.cycle.has_work() {
            self.room.planned(self.headroom, self.ledger.required_headroom());
        }
        Plan { allocations, more: self.cycle.has_work() }
    }

    /// Returns what is neither held nor offered on an agent.
    pub fn free(&self, agent: &AgentId) -> Resources {
        self.agents.get(agent).map(|at| at.free.clone()).unwrap_or_default()
    }

    /// What shares are parts of.
    fn tell_totals(&mut self) {
        let mut totals = self.totals;
        for name in &self.options.excluded_from_shares {
            if let Some(kind) = self.kinds.index_of(name) {
                totals.0[kind] = 0;
            }
        }
        self.ledger.set_totals(totals);
    }

    /// Looks anew which agents may be offered.
    pub(super) fn relist(&mut self) {
        let mut headroom = Quantities::default();
        for agent in self.agents.values_mut() {
            agent.listed = self.whitelist.as_ref().is_none_or(|hosts| hosts.contains(&agent.hostname));
            agent.recount(&self.kinds);
            headroom = headroom.plus(&agent.headroom);
        }
        self.headroom = headroom;
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

    fn hold(&mut self, framework: &FrameworkId, role: &Arc<str>, agent: &AgentId, amounts: &Resources) {
        self.edit_agent(agent, |at| {
            *at.holders.entry((framework.clone(), role.clone())).or_default() += amounts;
            at.held += amounts;
        });
    }

    fn edit_agent(&mut self, id: &AgentId, edit: impl FnOnce(&mut Agent)) {
        if let Some(agent) = self.agents.get_mut(id) {
            self.headroom = self.headroom.minus(&agent.headroom);
            edit(agent);
            agent.recount(&self.kinds);
            self.headroom = self.headroom.plus(&agent.headroom);
        }
    }

    fn give_back(&mut self, framework: &FrameworkId, role: &str, agent: &AgentId, resources: &Resources) {
        let counted = supply::counted(resources, &self.kinds, agent);
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
                *sum = sum.plus(&supply::held_quantities(resources, &self.kinds));
            }
            assert_eq!(held, agent.held, "{}: sum of what is held", agent.id);
            assert_eq!(agent.free, agent.total.less(&held), "{}: free", agent.id);
            totals = totals.plus(&agent.total_amounts);
            headroom = headroom.plus(&agent.headroom);
        }
        assert_eq!(totals, self.totals, "totals");
        assert_eq!(headroom, self.headroom, "headroom");
        for (client, amounts) in &by_client {
            let Some(place) = self.ledger.find(client.0.as_str(), &client.1) else {
                // Whoever left a role with nothing but ports, which no share counts, need not be remembered.
                assert!(amounts.is_zero(), "{client:?} holds {amounts:?} and is not known");
                continue;
            };
            let known = self.ledger.node(place.node).client(place.slot).expect("a place has a client");
            assert_eq!(known.allocated, *amounts, "{client:?}");
        }
        self.ledger.check_invariants();
        let scratch = Scratch::new(self, 0);
        for role in self.ledger.benched() {
            assert!(scratch.is_at_limit(role), "'{}' is put aside", self.ledger.node(role).path);
        }
        self.filters.check_invariants();
    }
}

impl Agent {
    /// Whether anything of it may be offered at all.
    pub(super) fn offerable(&self) -> bool {
        self.active && self.listed
    }

    fn recount(&mut self, kinds: &Kinds) {
        self.free = self.total.less(&self.held);
        self.plain = supply::is_plain(&self.free);
        self.headroom =
            if self.offerable() { supply::headroom(&self.free, kinds) } else { Quantities::default() };
    }
}
