//! The plan itself: for each agent, drivers' demands, then whoever deserves it most, until nobody wants what is left.
//!
//! Charges the ledger as it goes, so that each decision sees those before it. Roles that cannot be served any more in this plan
//! (their limit is reached, their guarantee met) are put aside: what they may take only shrinks as a plan goes on, so nobody
//! has to ask them again for each agent. Those at their limit stay there; the others are back when the plan ends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use tepui_proto::resources::Resources;

use super::constraints;
use super::cycle::{Stage, Step};
use super::explain::Reason;
use super::filters::{AgentFilters, ClientKey};
use super::ledger::{Client, Ledger, Node, Place, Traits};
use super::lots;
use super::options::Sorter;
use super::quantities::{GPUS, MAX_KINDS, Quantities};
use super::state::{Agent, Allocator};
use super::supply::{self, Eligible};
use super::{Allocation, Demand};
use crate::ids::AgentId;

/// What things cost, in units of about 50 nanoseconds: looking at an agent, asking one framework, putting a role aside and back,
/// and an offer with all that the master does for it. A slice ends when its budget is used up.
const AGENT_COST: usize = 4;
const QUESTION_COST: usize = 2;
const ASIDE_COST: usize = 20;
const OFFER_COST: usize = 240;

/// The state that a plan works on.
pub(super) struct Scratch<'a> {
    base: &'a Allocator,
    pub(super) ledger: Cow<'a, Ledger>,
    headroom: Quantities,
    /// Whether some role has a guarantee, so that headroom matters.
    guarded: bool,
    demands: Vec<&'a Demand>,
    now_ms: u64,
    /// Roles put aside while guarantees are met, and until the plan ends.
    not_owed: Vec<usize>,
    aside: Vec<usize>,
    /// If roles are drawn by lot: how probable each is.
    chances: Vec<(usize, f64)>,
    /// What lots are drawn from now, and the roles as they were drawn for this.
    lot: u64,
    drawn: Option<Vec<usize>>,
    spent: usize,
}

/// One agent while it is planned.
pub(super) struct Supply<'a> {
    pub(super) agent: &'a Agent,
    pub(super) left: Resources,
    plain: bool,
    /// It stands in another region than the masters.
    remote: bool,
    filters: Option<&'a AgentFilters>,
}

struct Grant {
    place: Place,
    traits: Arc<Traits>,
    resources: Resources,
}

impl Allocator {
    /// Decides who gets what of these agents, in this order, until the budget is used up: at least one step is done. `ledger` is
    /// the allocator's own, lent for this; it comes back with everything charged. Returns how many steps were done.
    pub(super) fn plan_steps<'s>(
        &self,
        ledger: Ledger,
        steps: impl Iterator<Item = Step<'s>>,
        now_ms: u64,
        budget: usize,
    ) -> (Ledger, usize, Vec<Allocation>) {
        let mut scratch = Scratch::with(self, Cow::Owned(ledger), now_ms);
        if self.options.role_sorter == Sorter::Random {
            scratch.chances = scratch.ledger.chances();
        }
        let mut allocations = Vec::new();
        // What the stage of guarantees leaves of an agent, for the second look at it.
        let mut left: BTreeMap<&AgentId, Resources> = BTreeMap::new();
        let mut done = 0;
        for step in steps {
            done += 1;
            scratch.spent = scratch.spent.saturating_add(AGENT_COST);
            if let Some(agent) = self.agents.get(step.agent_id).filter(|agent| agent.offerable()) {
                let mut supply = Supply::new(self, agent);
                if let Some(rest) = left.remove(&agent.id) {
                    supply.left = rest;
                }
                let before = allocations.len();
                (scratch.lot, scratch.drawn) = (step.lot, None);
                scratch.plan_agent(&mut supply, step.stage, &mut allocations);
                if step.stage == Stage::Guarantees && allocations.len() > before {
                    left.insert(&agent.id, supply.left);
                }
            }
            if scratch.spent >= budget {
                break;
            }
        }
        (scratch.finish(), done, allocations)
    }

    /// Whether this demand could be met on this agent, were `offered` of it taken back.
    pub fn would_meet(&self, demand: &Demand, agent: &AgentId, offered: &Resources) -> bool {
        let Some(agent) = self.agents.get(agent).filter(|agent| agent.offerable()) else { return false };
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
            remote: agent.is_remote(base.options.region.as_deref()),
            filters: base.filters.of_agent(agent.id.as_str()),
        }
    }

    /// Until when the last live refusal of this agent by a framework lasts.
    pub(super) fn refused_until(&self, client: &ClientKey, now_ms: u64) -> Option<u64> {
        self.filters.and_then(|filters| filters.last_end(client, now_ms))
    }

    fn eligible(&self, to: Eligible<'_>) -> Resources {
        if self.plain { self.left.clone() } else { supply::eligible(&self.left, to) }
    }
}

impl<'a> Scratch<'a> {
    /// For questions.
    pub(super) fn new(base: &'a Allocator, now_ms: u64) -> Scratch<'a> {
        Scratch::with(base, Cow::Borrowed(&base.ledger), now_ms)
    }

    fn with(base: &'a Allocator, ledger: Cow<'a, Ledger>, now_ms: u64) -> Scratch<'a> {
        Scratch {
            base,
            headroom: base.headroom,
            guarded: ledger.has_guarantees(),
            ledger,
            demands: base.demands.iter().collect(),
            now_ms,
            not_owed: Vec::new(),
            aside: Vec::new(),
            chances: Vec::new(),
            lot: 0,
            drawn: None,
            spent: 0,
        }
    }

    /// Brings back who was put aside for this plan only.
    fn finish(self) -> Ledger {
        let mut ledger = self.ledger.into_owned();
        for role in self.not_owed.into_iter().chain(self.aside) {
            ledger.bench(role, false);
        }
        ledger
    }

    fn plan_agent(&mut self, supply: &mut Supply<'_>, stage: Stage, allocations: &mut Vec<Allocation>) {
        if stage == Stage::All {
            for role in std::mem::take(&mut self.not_owed) {
                self.ledger.to_mut().bench(role, false);
            }
        }
        self.meet_demands(supply, allocations);
        while self.is_worth_asking(supply) {
            let Some(grant) = self.next_grant(supply, stage) else { return };
            self.take(supply, &grant);
            self.spent = self.spent.saturating_add(OFFER_COST);
            let (framework, role) = grant.traits.key.clone();
            let agent = supply.agent.id.clone();
            allocations.push(Allocation { agent, framework, role, resources: grant.resources, driver: None });
        }
    }

    /// Whether anybody could take what is left: leftovers are not worth a round of questions.
    fn is_worth_asking(&self, supply: &Supply<'_>) -> bool {
        !supply.left.is_empty()
            && (!supply.plain || self.ledger.has_own_minimums() || self.base.minimum.met_by(&supply.left))
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
            let counted = supply::counted(&demand.resources, &self.base.kinds, &supply.agent.id);
            self.headroom = self.headroom.minus(&counted.unreserved);
            if let Some(place) = self.ledger.find(demand.framework.as_str(), &demand.role) {
                self.ledger.to_mut().charge(place, &counted, 0);
            }
            supply.left = supply.left.less(&demand.resources);
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
        let to = Eligible { role: &demand.role, revocable: false, shared: false, refined: true };
        if !supply.eligible(to).contains(&demand.resources) {
            return false;
        }
        let Some(node) = self.ledger.top_of(&demand.role) else { return true };
        let Some((top, quota)) = self.ledger.quota_of(node) else { return true };
        let wanted = supply::headroom(&demand.resources, &self.base.kinds);
        quota.below_limit(&top.consumed()).contains(&wanted)
    }

    /// The first in the queue who may have something of this agent and does not mind.
    fn next_grant(&mut self, supply: &Supply<'_>, stage: Stage) -> Option<Grant> {
        self.draw_roles();
        let (mut questions, mut aside) = (0, Vec::new());
        let here = match stage {
            Stage::Guarantees => supply::headroom(&supply.left, &self.base.kinds),
            Stage::All => Quantities::default(),
        };
        let visit = |index: usize, node: &Node| {
            questions += 1;
            if stage == Stage::Guarantees {
                let owed = self.owed(index);
                if owed.is_zero() {
                    aside.push(index);
                }
                if owed.at_most(&here).is_zero() {
                    return ControlFlow::Continue(());
                }
            }
            let allowance = self.allowance(index);
            let mut ask = |(slot, client): (usize, &Client)| {
                questions += 1;
                let resources = self.offerable(supply, node, client, allowance.as_ref()).ok()?;
                Some(Grant { place: Place { node: index, slot }, traits: client.traits.clone(), resources })
            };
            let grant = match self.base.options.framework_sorter {
                Sorter::Drf => node.queue().find_map(&mut ask),
                Sorter::Random => {
                    let seed = lots::mix(self.lot ^ lots::mix(index as u64));
                    lots::equal(seed, node.queue()).into_iter().find_map(&mut ask)
                }
            };
            if let Some(grant) = grant {
                return ControlFlow::Break(grant);
            }
            if allowance.is_some_and(|most| self.is_spent(index, node, &most)) {
                aside.push(index);
            }
            ControlFlow::Continue(())
        };
        let grant = match &self.drawn {
            None => self.ledger.walk(visit),
            Some(roles) => self.ledger.visit(roles, visit),
        };
        self.spent = self.spent.saturating_add(questions * QUESTION_COST + aside.len() * ASIDE_COST);
        for role in aside {
            if self.is_at_limit(role) {
                self.ledger.to_mut().bench_spent(role);
                continue;
            }
            self.ledger.to_mut().bench(role, true);
            match stage {
                Stage::Guarantees => self.not_owed.push(role),
                Stage::All => self.aside.push(role),
            }
        }
        grant
    }

    /// Draws the order of roles for the agent that is planned, if that is how they are sorted and it is not done.
    fn draw_roles(&mut self) {
        if self.base.options.role_sorter == Sorter::Random && self.drawn.is_none() {
            self.drawn = Some(lots::weighted(self.lot, &self.chances));
            self.spent = self.spent.saturating_add(self.chances.len() * QUESTION_COST);
        }
    }

    /// Returns what this framework would be offered of the agent now, or what stands against it. `most` is its role's
    /// allowance.
    pub(super) fn offerable(
        &self,
        supply: &Supply<'_>,
        node: &Node,
        client: &Client,
        most: Option<&Quantities>,
    ) -> Result<Resources, Reason> {
        let traits = &*client.traits;
        if !traits.gpus && self.base.options.filter_gpus && supply.agent.total_amounts.get(GPUS) > 0 {
            return Err(Reason::GpuAgent);
        }
        if supply.remote && !traits.region_aware {
            return Err(Reason::OtherRegion);
        }
        if supply.left.is_empty() {
            return Err(Reason::NothingFree);
        }
        let to = Eligible {
            role: &node.path,
            revocable: traits.revocable,
            shared: traits.shared,
            refined: traits.refined,
        };
        let mut resources = supply.eligible(to);
        if resources.is_empty() {
            return Err(Reason::ReservedForOthers);
        }
        // What is shared is there for ever, and alone would be offered without end.
        let only_shared =
            |part: &Resources| !supply.plain && part.iter().all(|(identity, _)| identity.is_shared());
        if only_shared(&resources) || !traits.minimum.met_by(&resources) {
            return Err(Reason::TooSmall);
        }
        if let Some(most) = most {
            resources = supply::cut(&resources, most, &self.base.kinds);
            if only_shared(&resources) || !traits.minimum.met_by(&resources) {
                return Err(Reason::Quota);
            }
        }
        if traits.constraints.as_ref().is_some_and(|wanted| !wanted.admit(&supply.agent.place())) {
            return Err(Reason::Constraints);
        }
        let hidden = supply.filters.and_then(|filters| filters.hides(&traits.key, &resources, self.now_ms));
        match hidden {
            Some(_) => Err(Reason::Refused),
            None => Ok(resources),
        }
    }

    /// How much of unreserved scalars a role may take, if quotas have anything to say.
    pub(super) fn allowance(&self, index: usize) -> Option<Quantities> {
        let quota = self.ledger.quota_of(index);
        if quota.is_none() && !self.guarded {
            return None;
        }
        let mut most = Quantities([u64::MAX; MAX_KINDS]);
        if self.guarded {
            let required = self.ledger.required_headroom();
            let surplus = self.headroom.minus(&required).plus(&self.owed(index));
            for kind in (0..MAX_KINDS).filter(|kind| required.get(*kind) > 0) {
                most.0[kind] = surplus.get(kind);
            }
        }
        if let Some((top, quota)) = quota {
            most = most.at_most(&quota.below_limit(&top.consumed()));
        }
        Some(most)
    }

    /// What the role's guarantee lacks.
    fn owed(&self, index: usize) -> Quantities {
        let quota = self.ledger.quota_of(index);
        quota.map(|(top, quota)| quota.unsatisfied(&top.consumed())).unwrap_or_default()
    }

    /// Whether no agent could serve anybody of this role any more, as long as no more than `most` may be taken: nothing is
    /// reserved for it or revocable, so everything that it may take counts.
    fn is_spent(&self, index: usize, node: &Node, most: &Quantities) -> bool {
        self.base.revocables == 0
            && !self.ledger.top(index).has_reservations()
            && node.queue().all(|(_, client)| !client.traits.minimum.within(most, &self.base.kinds))
    }

    /// Whether the role's limit alone is reason enough that no agent could serve anybody of it.
    pub(super) fn is_at_limit(&self, index: usize) -> bool {
        self.ledger.quota_of(index).is_some_and(|(top, quota)| {
            self.is_spent(index, self.ledger.node(index), &quota.below_limit(&top.consumed()))
        })
    }

    fn take(&mut self, supply: &mut Supply<'_>, grant: &Grant) {
        let counted = supply::counted(&grant.resources, &self.base.kinds, &supply.agent.id);
        self.ledger.to_mut().charge(grant.place, &counted, 1);
        self.headroom = self.headroom.minus(&counted.unreserved);
        // What is shared stays, as it does when the offer is out: a plan may be cut here.
        supply.left = supply.left.less(&grant.resources);
    }
}

impl Agent {
    /// What constraints can look at.
    fn place(&self) -> constraints::Place<'_> {
        let (hostname, domain) = (self.hostname.as_str(), self.domain.as_ref());
        constraints::Place { hostname, domain, attributes: &self.attributes }
    }

    fn is_remote(&self, here: Option<&str>) -> bool {
        let Some(here) = here else { return false };
        let fault = self.domain.as_ref().and_then(|domain| domain.fault_domain.as_ref());
        fault.and_then(|fault| fault.region.as_ref()).is_some_and(|region| region.name() != here)
    }
}
