//! Offers: minted from the allocator's plan, leader-local, never logged, each with a deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message;
use tepui_proto::resources::{ReservationFormat, Resources};
use tepui_proto::v1;
use tepui_proto::v1::framework_info::capability::Type as Capability;
use tepui_proto::v1::scheduler::{Event, call, event};

use super::core::Master;
use super::effect::LocalChange;
use super::timers::Timer;
use crate::allocator::{Allocation, refuse_ms};
use crate::ids::{AgentId, FrameworkId, OfferId};

/// Work of one turn in units of the allocator, about 50 nanoseconds: so that no turn is long.
const SLICE: usize = 60_000;
/// Largest OFFERS event, bytes of protobuf: in JSON it is several times as long, and there are readers that refuse records of
/// more than 4 MiB.
const MAX_EVENT_BYTES: usize = 512 * 1024;
/// Longest refusal.
const MAX_REFUSE_SECONDS: f64 = 365.0 * 24.0 * 3600.0;

/// An offer that is out.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) offer: Arc<v1::Offer>,
    pub(super) framework: FrameworkId,
    pub(super) agent: AgentId,
    pub(super) role: Arc<str>,
    /// Without allocation.
    pub(super) resources: Resources,
}

/// All offers that are out.
#[derive(Debug, Default)]
pub(super) struct Book {
    minted: u64,
    offers: BTreeMap<OfferId, Offered>,
    by_framework: BTreeMap<FrameworkId, BTreeSet<OfferId>>,
    by_agent: BTreeMap<AgentId, BTreeSet<OfferId>>,
    counts: BTreeMap<(FrameworkId, Arc<str>), OfferCounts>,
}

/// What became of the offers to a framework in a role, in this leadership.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OfferCounts {
    pub(super) made: u64,
    pub(super) accepted: u64,
    pub(super) declined: u64,
    pub(super) rescinded: u64,
}

impl Book {
    pub(super) fn get(&self, id: &OfferId) -> Option<&Offered> {
        self.offers.get(id)
    }

    pub(super) fn on_agent<'a>(&'a self, agent: &AgentId) -> impl Iterator<Item = &'a Offered> {
        self.by_agent.get(agent).into_iter().flatten().filter_map(|id| self.offers.get(id))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&OfferId, &Offered)> {
        self.offers.iter()
    }

    pub(super) fn counts(&self, framework: &FrameworkId, role: &str) -> OfferCounts {
        self.counts.get(&(framework.clone(), Arc::from(role))).copied().unwrap_or_default()
    }

    fn count(&mut self, framework: &FrameworkId, role: &Arc<str>, count: impl FnOnce(&mut OfferCounts)) {
        count(self.counts.entry((framework.clone(), role.clone())).or_default());
    }

    /// The framework is gone: so are its figures.
    pub(super) fn forget_counts(&mut self, framework: &FrameworkId) {
        self.counts.retain(|(known, _), _| known != framework);
    }

    /// Offers that a framework has in a role.
    pub(super) fn outstanding(&self, framework: &FrameworkId, role: &str) -> usize {
        let ids = self.by_framework.get(framework).into_iter().flatten();
        ids.filter(|id| self.offers.get(*id).is_some_and(|offered| *offered.role == *role)).count()
    }

    fn of_framework(&self, id: &FrameworkId) -> Vec<OfferId> {
        self.by_framework.get(id).into_iter().flatten().cloned().collect()
    }

    pub(super) fn of_agent(&self, id: &AgentId) -> Vec<OfferId> {
        self.by_agent.get(id).into_iter().flatten().cloned().collect()
    }

    fn insert(&mut self, id: OfferId, offered: Offered) {
        self.by_framework.entry(offered.framework.clone()).or_default().insert(id.clone());
        self.by_agent.entry(offered.agent.clone()).or_default().insert(id.clone());
        self.offers.insert(id, offered);
    }

    fn remove(&mut self, id: &OfferId) -> Option<Offered> {
        let offered = self.offers.remove(id)?;
        forget(&mut self.by_framework, &offered.framework, id);
        forget(&mut self.by_agent, &offered.agent, id);
        Some(offered)
    }
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<OfferId>>, key: &K, id: &OfferId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

impl Master {
    /// Has an allocation done soon if there is anything to allocate.
    pub(super) fn arm_allocation(&mut self) {
        let demands = self.supervisor.demands(&self.registry, self.now);
        self.allocator.set_demands(demands);
        if self.catches_up() {
            return;
        }
        if !self.quota_recovered {
            if self.awaits_agents() {
                return;
            }
            self.quota_recovered = true;
        }
        if self.allocator.room_grew() {
            self.arm_filters();
        }
        if self.allocator.dirty() && !self.allocation_armed {
            self.allocation_armed = true;
            self.allocation_wanted();
            self.timers.arm(self.now.cluster_ms + self.config.allocation_delay_ms, Timer::Allocation);
        }
    }

    /// Plans one slice and sends out what comes of it.
    pub(super) fn allocate(&mut self) {
        self.allocation_armed = false;
        if self.awaits_agents() || self.catches_up() {
            return;
        }
        self.settle_holdings();
        let plan = self.allocator.plan(self.now.cluster_ms, SLICE);
        self.allocation_went_on(plan.more);
        let mut sent: BTreeMap<FrameworkId, Vec<v1::Offer>> = BTreeMap::new();
        for allocation in plan.allocations {
            self.holdings.given(&allocation);
            if let Some(driver) = &allocation.driver {
                let (agent, resources) = (allocation.agent.clone(), allocation.resources.clone());
                self.supervise(|supervisor, cx| supervisor.place(cx, driver, &agent, &resources));
            } else if let Some(offer) = self.make_offer(&allocation) {
                sent.entry(allocation.framework).or_default().push(offer);
            }
        }
        for (framework, offers) in sent {
            self.send_offers(&framework, offers);
        }
        if plan.more {
            // The rest follows at once, but in a turn of its own.
            self.allocation_armed = true;
            self.timers.arm(self.now.cluster_ms + 1, Timer::Allocation);
        }
    }

    fn make_offer(&mut self, allocation: &Allocation) -> Option<v1::Offer> {
        self.live(&allocation.framework)?;
        let framework = self.registry.frameworks.get(&allocation.framework)?.clone();
        let agent = self.registry.agents.get(&allocation.agent)?.clone();
        let info = agent.info.as_ref()?;
        let id = self.mint_offer_id();
        let whole = allocation.resources.allocate(&allocation.role);
        let offer = v1::Offer {
            id: Some(id.to_proto()),
            framework_id: Some(allocation.framework.to_proto()),
            agent_id: Some(allocation.agent.to_proto()),
            hostname: info.hostname.clone(),
            resources: whole.to_proto_in(ReservationFormat::Stack),
            executor_ids: self.executors_on(&allocation.framework, &allocation.agent),
            attributes: info.attributes.clone(),
            url: Some(super::view::agent_url(&agent)),
            allocation_info: Some(v1::resource::AllocationInfo { role: Some(allocation.role.to_string()) }),
            domain: info.domain.clone(),
            unavailability: self.registry.machine_of(&agent).map(|machine| machine.unavailability),
        };
        // Operators see all of it; the framework is told what its capabilities let it understand.
        let mut told = offer.clone();
        let (multi_role, refinement) =
            (framework.can(Capability::MultiRole), framework.can(Capability::ReservationRefinement));
        if !multi_role {
            told.allocation_info = None;
        }
        if !multi_role || !refinement {
            let list = if multi_role { &whole } else { &allocation.resources };
            let format = if refinement { ReservationFormat::Stack } else { ReservationFormat::Single };
            told.resources = list.to_proto_in(format);
        }
        let offered = Offered {
            offer: Arc::new(offer),
            framework: allocation.framework.clone(),
            agent: allocation.agent.clone(),
            role: allocation.role.clone(),
            resources: allocation.resources.clone(),
        };
        self.view.offers.insert(id.clone(), offered.offer.clone());
        self.holdings.touch(&offered.agent);
        self.changed(LocalChange::Agent(offered.agent.clone()));
        self.changed(LocalChange::Framework(offered.framework.clone()));
        self.offers.count(&offered.framework, &offered.role, |counts| counts.made += 1);
        self.offers.insert(id.clone(), offered);
        let at_ms = self.now.cluster_ms.saturating_add(self.config.offer_timeout_ms);
        self.timers.arm(at_ms, Timer::OfferExpiry(id));
        Some(told)
    }

    /// Inverse offers are numbered along with the others.
    pub(super) fn mint_offer_id(&mut self) -> OfferId {
        let id = OfferId::from(format!("{}-O{}", self.identity.master_id, self.offers.minted));
        self.offers.minted += 1;
        id
    }

    fn executors_on(&self, framework: &FrameworkId, agent: &AgentId) -> Vec<v1::ExecutorId> {
        let own = self.registry.executors_on(agent).filter(|(key, _)| key.framework == *framework);
        own.map(|(key, _)| key.executor.to_proto()).collect()
    }

    fn send_offers(&mut self, framework: &FrameworkId, offers: Vec<v1::Offer>) {
        let Some(connection) = self.live(framework) else { return };
        let mut part = Vec::new();
        let mut bytes = 0;
        for offer in offers {
            let more = offer.encoded_len();
            if bytes + more > MAX_EVENT_BYTES && !part.is_empty() {
                self.send_to_framework(connection, offers_event(std::mem::take(&mut part)));
                bytes = 0;
            }
            bytes += more;
            part.push(offer);
        }
        self.send_to_framework(connection, offers_event(part));
    }

    pub(super) fn on_decline(&mut self, id: &FrameworkId, decline: call::Decline) {
        for offer in &decline.offer_ids {
            let offer = OfferId::from(offer);
            if self.offers.get(&offer).is_some_and(|offered| offered.framework == *id)
                && let Some(offered) = self.take_offer(&offer)
            {
                self.offers.count(id, &offered.role, |counts| counts.declined += 1);
                self.refuse(id, &offered.role, &offered.agent, &offered.resources, decline.filters.as_ref());
            } else {
                self.warn(format!(
                    "'decline.offer_ids' names '{offer}', which is no offer to this framework now"
                ));
            }
        }
    }

    /// Remembers that a framework does not want this for a while.
    pub(super) fn refuse(
        &mut self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        refused: &Resources,
        filters: Option<&v1::Filters>,
    ) {
        let seconds = filters.and_then(|filters| filters.refuse_seconds);
        if let Some(reason) = seconds.and_then(unusual) {
            self.warn(format!("'filters.refuse_seconds' {reason}"));
        }
        let ms = refuse_ms(seconds, self.config.allocation_interval_ms);
        if ms > 0 && !refused.is_empty() {
            let until_ms = self.now.cluster_ms.saturating_add(ms);
            self.allocator.refuse(framework, role, agent, refused, until_ms);
            self.arm_filters();
        }
    }

    pub(super) fn expire_filters(&mut self) {
        self.allocator.expire(self.now.cluster_ms);
        self.arm_filters();
    }

    fn arm_filters(&mut self) {
        if let Some(at_ms) = self.allocator.next_deadline() {
            self.timers.arm(at_ms.max(self.now.cluster_ms + 1), Timer::FilterExpiry);
        }
    }

    pub(super) fn expire_offer(&mut self, id: &OfferId) {
        self.rescind(id);
    }

    /// Takes an offer off the book; its resources are free again when the turn ends, unless somebody else holds them then.
    pub(super) fn take_offer(&mut self, id: &OfferId) -> Option<Offered> {
        let offered = self.offers.remove(id)?;
        self.view.offers.remove(id);
        self.timers.cancel(&Timer::OfferExpiry(id.clone()));
        self.holdings.touch(&offered.agent);
        self.changed(LocalChange::Agent(offered.agent.clone()));
        self.changed(LocalChange::Framework(offered.framework.clone()));
        Some(offered)
    }

    /// Takes an offer back and tells its framework.
    pub(super) fn rescind(&mut self, id: &OfferId) {
        let Some(offered) = self.take_offer(id) else { return };
        self.offers.count(&offered.framework, &offered.role, |counts| counts.rescinded += 1);
        if let Some(connection) = self.live(&offered.framework) {
            self.send_to_framework(
                connection,
                Event {
                    r#type: Some(event::Type::Rescind as i32),
                    rescind: Some(event::Rescind { offer_id: Some(id.to_proto()) }),
                    ..Default::default()
                },
            );
        }
    }

    /// Takes back everything offered of an agent.
    pub(super) fn withdraw_offers_of_agent(&mut self, agent: &AgentId) {
        for id in self.offers.of_agent(agent) {
            self.rescind(&id);
        }
    }

    /// Takes back everything offered to a framework that is not there to hear of it.
    pub(super) fn withdraw_offers_of_framework(&mut self, framework: &FrameworkId) {
        for id in self.offers.of_framework(framework) {
            self.take_offer(&id);
        }
    }

    /// Takes back what was offered for roles that the framework has left.
    pub(super) fn withdraw_offers_of_lost_roles(&mut self, framework: &FrameworkId) {
        let Some(record) = self.registry.frameworks.get(framework) else { return };
        let roles = record.roles();
        for id in self.offers.of_framework(framework) {
            if self.offers.get(&id).is_some_and(|offered| !roles.iter().any(|role| **role == *offered.role)) {
                self.rescind(&id);
            }
        }
    }

    /// Takes the offers of a call off the book if every one of them is good; says what is wrong otherwise.
    pub(super) fn take_offers(
        &mut self,
        framework: &FrameworkId,
        named: &[v1::OfferId],
    ) -> Result<Vec<Offered>, String> {
        let ids: Vec<OfferId> = named.iter().map(OfferId::from).collect();
        let verdict = self.check_offers(framework, &ids);
        let mut taken = Vec::new();
        for id in &ids {
            if self.offers.get(id).is_some_and(|offered| offered.framework == *framework) {
                taken.extend(self.take_offer(id));
            }
        }
        verdict.map(|()| {
            for offered in &taken {
                self.offers.count(framework, &offered.role, |counts| counts.accepted += 1);
            }
            taken
        })
    }

    fn check_offers(&self, framework: &FrameworkId, named: &[OfferId]) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut first: Option<&Offered> = None;
        for id in named {
            if !seen.insert(id) {
                return Err(format!("offer {id} is named twice"));
            }
            let offered = self.offers.get(id).ok_or_else(|| format!("offer {id} is no longer valid"))?;
            if offered.framework != *framework {
                return Err(format!("offer {id} belongs to another framework"));
            }
            if let Some(first) = first {
                if first.agent != offered.agent {
                    return Err("the offers are of different agents".to_owned());
                }
                if first.role != offered.role {
                    return Err("the offers are for different roles".to_owned());
                }
            }
            first = Some(offered);
        }
        if first.is_none() { Err("no offers are named".to_owned()) } else { Ok(()) }
    }
}

/// Why a refusal does not last as long as was asked.
fn unusual(refuse_seconds: f64) -> Option<String> {
    if refuse_seconds.is_nan() || refuse_seconds < 0.0 {
        Some(format!("is {refuse_seconds}: the default is used"))
    } else if refuse_seconds > MAX_REFUSE_SECONDS {
        Some(format!("is {refuse_seconds}: 365 days are used"))
    } else {
        None
    }
}

fn offers_event(offers: Vec<v1::Offer>) -> Event {
    Event {
        r#type: Some(event::Type::Offers as i32),
        offers: Some(event::Offers { offers }),
        ..Default::default()
    }
}
