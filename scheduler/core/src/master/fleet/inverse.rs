//! Inverse offers: whoever uses an agent on a scheduled machine is asked to leave it in time. The answer is noted and shown to
//! operators; it changes nothing by itself.
//!
//! ```text
//! uses a scheduled agent ──► inverse offer ──ACCEPT, DECLINE──► status, filter ──filter ends──► inverse offer …
//!                                 └──timeout, agent away, schedule changed──► RESCIND_INVERSE_OFFER
//! ```
//! Leader-local, like offers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_proto::v1::allocator::{InverseOfferStatus, inverse_offer_status::Status};
use tepui_proto::v1::scheduler::{Event, event};
use tepui_proto::v1::{self, Filters, InverseOffer};

use super::super::core::Master;
use super::super::effect::LocalChange;
use super::super::timers::Timer;
use super::{FleetTimer, SLICE};
use crate::allocator::refuse_ms;
use crate::ids::{AgentId, DRIVERS_FRAMEWORK, FrameworkId, OfferId};
use crate::status::time_info;

type Pair = (AgentId, FrameworkId);

#[derive(Debug, Default)]
pub(super) struct Inverse {
    /// Those that are out.
    offers: BTreeMap<OfferId, Pair>,
    by_pair: BTreeMap<Pair, OfferId>,
    /// Not asked again before this cluster time.
    filters: BTreeMap<Pair, u64>,
    /// Agents whose users may have to be asked.
    dirty: BTreeSet<AgentId>,
    armed: bool,
}

impl Inverse {
    fn of_agent(&self, agent: &AgentId) -> Vec<OfferId> {
        let first = (agent.clone(), FrameworkId::from(""));
        let pairs = self.by_pair.range(first..).take_while(|((at, _), _)| at == agent);
        pairs.map(|(_, offer)| offer.clone()).collect()
    }
}

impl Master {
    /// Somebody may use this agent who was not asked yet.
    pub(in super::super) fn ask_inverse(&mut self, agent: &AgentId) {
        if self.fleet.unavailable.contains_key(agent) && self.fleet.inverse.dirty.insert(agent.clone()) {
            self.arm_inverse();
        }
    }

    fn arm_inverse(&mut self) {
        let inverse = &mut self.fleet.inverse;
        if !inverse.armed && !inverse.dirty.is_empty() {
            inverse.armed = true;
            let at_ms = self.now.cluster_ms + self.config.allocation_delay_ms;
            self.timers.arm(at_ms, Timer::Fleet(FleetTimer::Inverse));
        }
    }

    pub(super) fn make_inverse_offers(&mut self) {
        self.fleet.inverse.armed = false;
        let mut sent: BTreeMap<FrameworkId, Vec<InverseOffer>> = BTreeMap::new();
        for _ in 0..SLICE {
            let Some(agent) = self.fleet.inverse.dirty.pop_first() else { break };
            for offer in self.inverse_offers_of(&agent) {
                let framework = crate::ids::of(offer.framework_id.as_ref());
                sent.entry(framework).or_default().push(offer);
            }
        }
        for (framework, inverse_offers) in sent {
            let Some(connection) = self.live(&framework) else { continue };
            self.changed(LocalChange::Framework(framework));
            self.send_to_framework(
                connection,
                Event {
                    r#type: Some(event::Type::InverseOffers as i32),
                    inverse_offers: Some(event::InverseOffers { inverse_offers }),
                    ..Default::default()
                },
            );
        }
        self.arm_inverse();
    }

    /// Mints an inverse offer for each framework that uses the agent and was not asked.
    fn inverse_offers_of(&mut self, agent: &AgentId) -> Vec<InverseOffer> {
        let Some(unavailability) = self.fleet.unavailable.get(agent).copied() else { return Vec::new() };
        let registered = self.agents.get(agent).is_some_and(|session| session.registered().is_some());
        let (Some(record), true) = (self.registry.agents.get(agent).cloned(), registered) else {
            return Vec::new();
        };
        let held = self.holdings.told().get(agent).into_iter().flatten();
        let users: BTreeSet<FrameworkId> = held.map(|((framework, _), _)| framework.clone()).collect();
        let now_ms = self.now.cluster_ms;
        let mut minted = Vec::new();
        for framework in users {
            let pair = (agent.clone(), framework);
            let refused = self.fleet.inverse.filters.get(&pair).is_some_and(|until_ms| *until_ms > now_ms);
            let asked = refused || self.fleet.inverse.by_pair.contains_key(&pair);
            if asked || self.live(&pair.1).is_none() || pair.1.as_str() == DRIVERS_FRAMEWORK {
                continue;
            }
            let id = self.mint_offer_id();
            let offer = InverseOffer {
                id: Some(id.to_proto()),
                url: Some(super::super::view::agent_url(&record)),
                framework_id: Some(pair.1.to_proto()),
                agent_id: Some(agent.to_proto()),
                unavailability: Some(unavailability),
                resources: Vec::new(),
            };
            self.view.inverse_offers.insert(id.clone(), Arc::new(offer.clone()));
            self.fleet.inverse.by_pair.insert(pair.clone(), id.clone());
            self.fleet.inverse.offers.insert(id.clone(), pair);
            let at_ms = now_ms.saturating_add(self.config.offer_timeout_ms);
            self.timers.arm(at_ms, Timer::Fleet(FleetTimer::InverseExpiry(id)));
            minted.push(offer);
        }
        minted
    }

    /// ACCEPT_INVERSE_OFFERS and DECLINE_INVERSE_OFFERS; ids that are not out are ignored.
    pub(in super::super) fn on_inverse_answer(
        &mut self,
        framework: &FrameworkId,
        ids: &[v1::OfferId],
        filters: Option<&Filters>,
        answer: Status,
    ) {
        let seconds = filters.and_then(|filters| filters.refuse_seconds);
        let pause_ms = refuse_ms(seconds, self.config.allocation_interval_ms);
        for id in ids.iter().map(OfferId::from) {
            if self.fleet.inverse.offers.get(&id).is_none_or(|(_, owner)| owner != framework) {
                self.warn(format!(
                    "'inverse_offer_ids' names '{id}', which is no inverse offer to this framework now"
                ));
                continue;
            }
            let Some(pair) = self.take_inverse(&id) else { continue };
            let status = InverseOfferStatus {
                status: Some(answer as i32),
                framework_id: Some(framework.to_proto()),
                timestamp: Some(time_info(self.now.wall_ms)),
            };
            self.view.inverse_statuses.insert(pair.clone(), Arc::new(status));
            if pause_ms > 0 {
                let until_ms = self.now.cluster_ms.saturating_add(pause_ms);
                self.fleet.inverse.filters.insert(pair, until_ms);
                self.arm_inverse_filters();
            } else {
                self.ask_inverse(&pair.0);
            }
        }
    }

    fn arm_inverse_filters(&mut self) {
        if let Some(at_ms) = self.fleet.inverse.filters.values().min().copied() {
            let at_ms = at_ms.max(self.now.cluster_ms + 1);
            self.timers.arm(at_ms, Timer::Fleet(FleetTimer::InverseFilter));
        }
    }

    pub(super) fn expire_inverse_filters(&mut self) {
        let now_ms = self.now.cluster_ms;
        self.forget_filters(|_, until_ms| until_ms <= now_ms);
        self.arm_inverse_filters();
    }

    fn forget_filters(&mut self, over: impl Fn(&Pair, u64) -> bool) {
        let ended = self.fleet.inverse.filters.iter().filter(|(pair, until_ms)| over(pair, **until_ms));
        let ended: Vec<Pair> = ended.map(|(pair, _)| pair.clone()).collect();
        for pair in ended {
            self.fleet.inverse.filters.remove(&pair);
            self.ask_inverse(&pair.0);
        }
    }

    /// REVIVE takes refusals of inverse offers back, too.
    pub(in super::super) fn revive_inverse(&mut self, framework: &FrameworkId) {
        self.forget_filters(|(_, owner), _| owner == framework);
    }

    pub(super) fn expire_inverse_offer(&mut self, id: &OfferId) {
        if let Some((agent, _)) = self.rescind_inverse(id) {
            self.ask_inverse(&agent);
        }
    }

    fn take_inverse(&mut self, id: &OfferId) -> Option<Pair> {
        let pair = self.fleet.inverse.offers.remove(id)?;
        self.fleet.inverse.by_pair.remove(&pair);
        self.view.inverse_offers.remove(id);
        self.timers.cancel(&Timer::Fleet(FleetTimer::InverseExpiry(id.clone())));
        self.changed(LocalChange::Framework(pair.1.clone()));
        Some(pair)
    }

    fn rescind_inverse(&mut self, id: &OfferId) -> Option<Pair> {
        let pair = self.take_inverse(id)?;
        if let Some(connection) = self.live(&pair.1) {
            let rescind = event::RescindInverseOffer { inverse_offer_id: Some(id.to_proto()) };
            self.send_to_framework(
                connection,
                Event {
                    r#type: Some(event::Type::RescindInverseOffer as i32),
                    rescind_inverse_offer: Some(rescind),
                    ..Default::default()
                },
            );
        }
        Some(pair)
    }

    /// The agent is away: nobody need leave it before it is back.
    pub(in super::super) fn rescind_inverse_of_agent(&mut self, agent: &AgentId) {
        for id in self.fleet.inverse.of_agent(agent) {
            self.rescind_inverse(&id);
        }
    }

    /// The agent's time changed: all that was asked and answered is void.
    pub(super) fn forget_inverse_of_agent(&mut self, agent: &AgentId) {
        self.rescind_inverse_of_agent(agent);
        self.fleet.inverse.filters.retain(|(at, _), _| at != agent);
        let statuses = self.view.inverse_statuses.keys().filter(|(at, _)| at == agent);
        let answered: Vec<Pair> = statuses.cloned().collect();
        for pair in answered {
            self.view.inverse_statuses.remove(&pair);
        }
    }

    /// A framework came or went.
    pub(in super::super) fn refresh_inverse_of(&mut self, framework: &FrameworkId) {
        if self.fleet.unavailable.is_empty() {
            return;
        }
        if self.live(framework).is_some() {
            let agents: Vec<AgentId> = self.fleet.unavailable.keys().cloned().collect();
            self.fleet.inverse.dirty.extend(agents);
            self.arm_inverse();
            return;
        }
        let offers = self.fleet.inverse.offers.iter().filter(|(_, (_, owner))| owner == framework);
        let offers: Vec<OfferId> = offers.map(|(id, _)| id.clone()).collect();
        for id in offers {
            self.take_inverse(&id);
        }
        if !self.registry.frameworks.contains_key(framework) {
            self.fleet.inverse.filters.retain(|(_, owner), _| owner != framework);
            let statuses = self.view.inverse_statuses.keys().filter(|(_, owner)| owner == framework);
            let answered: Vec<Pair> = statuses.cloned().collect();
            for pair in answered {
                self.view.inverse_statuses.remove(&pair);
            }
        }
    }
}
