//! Frameworks: what they hear, and everything that they ask for but ACCEPT.

use std::collections::BTreeMap;

use tepui_proto::resources::Resources;
use tepui_proto::v1::framework_info::{Capability, capability::Type as Can};
use tepui_proto::v1::scheduler::event::Type as Told;
use tepui_proto::v1::scheduler::{Call, Event, call};
use tepui_proto::v1::{self, Filters};

use super::chance::Chance;
use super::step::Ask;
use super::world::{FRAMEWORKS, World};
use crate::ids::AgentId;
use crate::master::Reply;
use crate::testing::{FrameworkPeer, Harness, framework_info};

/// Most ids of old offers that are kept to be used in vain.
const MAX_STALE: usize = 8;

/// An offer that is out, as far as its framework can tell.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) offer: v1::Offer,
    pub(super) agent: AgentId,
    pub(super) role: String,
    pub(super) resources: Resources,
    /// Step in which it came.
    pub(super) born: usize,
}

/// One instance of a framework.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) peer: FrameworkPeer,
    pub(super) offers: BTreeMap<String, Offered>,
    /// Inverse offers, with their agents.
    pub(super) inverse: BTreeMap<String, AgentId>,
}

pub(super) struct Framework {
    pub(super) kind: usize,
    pub(super) info: v1::FrameworkInfo,
    /// The newest last; closed ones are taken off.
    pub(super) streams: Vec<Stream>,
    pub(super) stale: Vec<v1::OfferId>,
    waiting: Vec<v1::TaskStatus>,
    operations: Vec<v1::OperationStatus>,
    pub(super) launched: Vec<String>,
}

/// What each kind of framework is.
fn info_of(kind: usize, name: &str) -> v1::FrameworkInfo {
    let mut info = framework_info(name);
    let (roles, can): (&[&str], &[Can]) = match kind {
        0 => (&["a"], &[]),
        1 => (&["a/x", "b"], &[Can::MultiRole, Can::ReservationRefinement, Can::SharedResources]),
        2 => (&["b/y", "c"], &[Can::MultiRole, Can::PartitionAware, Can::GpuResources]),
        _ => (&["a", "c", "*"], &[Can::MultiRole, Can::ReservationRefinement, Can::PartitionAware]),
    };
    if can.contains(&Can::MultiRole) {
        info.roles = roles.iter().map(|role| (*role).to_owned()).collect();
    } else {
        info.role = Some(roles[0].to_owned());
    }
    info.failover_timeout = Some([3600.0, 3600.0, 20.0, 40.0][kind]);
    info.capabilities = can.iter().map(|kind| Capability { r#type: Some(*kind as i32) }).collect();
    info
}

impl Framework {
    pub(super) fn new(harness: &mut Harness, kind: usize) -> Self {
        let name = format!("f{kind}-{}", harness.next_id());
        let mut info = info_of(kind, &name);
        // Half of them bring an id, half are given one.
        info.id = kind.is_multiple_of(2).then_some(v1::FrameworkId { value: Some(name) });
        let mut framework = Self {
            kind,
            info,
            streams: Vec::new(),
            stale: Vec::new(),
            waiting: Vec::new(),
            operations: Vec::new(),
            launched: Vec::new(),
        };
        framework.subscribe(harness);
        framework
    }

    fn subscribe(&mut self, harness: &mut Harness) {
        let peer = harness.subscribe(self.info.clone(), None);
        self.streams.push(Stream { peer, offers: BTreeMap::new(), inverse: BTreeMap::new() });
    }

    pub(super) fn can(&self, what: Can) -> bool {
        self.info.capabilities.iter().any(|one| one.r#type == Some(what as i32))
    }
}

impl World {
    /// Reads everything on all streams of a framework; returns whether there was anything.
    pub(super) fn hear_all(&mut self, who: usize) -> bool {
        let mut any = false;
        let mut at = 0;
        while let Some(stream) = self.frameworks[who].streams.get(at).cloned() {
            while let Some(told) = self.harness.try_event(&stream.peer) {
                any = true;
                self.hear(who, at, told);
                let same = |other: &Stream| other.peer.connection == stream.peer.connection;
                if !self.frameworks[who].streams.get(at).is_some_and(same) {
                    // It began anew.
                    return true;
                }
            }
            if self.harness.is_closed(stream.peer.connection) {
                self.frameworks[who].streams.remove(at);
            } else {
                at += 1;
            }
        }
        any
    }

    fn hear(&mut self, who: usize, at: usize, told: Event) {
        let now = self.now;
        let one = &mut self.frameworks[who];
        let stream = &mut one.streams[at];
        match told.r#type() {
            Told::Subscribed => {
                let id = told.subscribed.unwrap().framework_id.unwrap();
                stream.peer.id = (&id).into();
                stream.peer.info.id = Some(id.clone());
                one.info.id = Some(id);
            }
            Told::Offers => {
                for offer in told.offers.unwrap().offers {
                    assert_eq!(offer.framework_id, Some(stream.peer.id.to_proto()), "offer to another");
                    let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
                    let offered = Offered {
                        agent: crate::ids::of(offer.agent_id.as_ref()),
                        role: role.unwrap_or_else(|| one.info.role().to_owned()),
                        resources: Resources::from_proto(&offer.resources).unwrap().unallocated(),
                        born: now,
                        offer,
                    };
                    let id = offered.offer.id.as_ref().unwrap().value().to_owned();
                    assert!(stream.offers.insert(id, offered).is_none(), "an offer is made twice");
                }
            }
            Told::Rescind => {
                *self.met.entry("offers rescinded").or_default() += 1;
                let id = told.rescind.unwrap().offer_id.unwrap();
                let known = stream.offers.remove(id.value());
                assert!(known.is_some(), "{} is rescinded and was not out", id.value());
                one.stale.push(id);
            }
            Told::InverseOffers => {
                for offer in told.inverse_offers.unwrap().inverse_offers {
                    let id = offer.id.as_ref().unwrap().value().to_owned();
                    let agent = crate::ids::of(offer.agent_id.as_ref());
                    assert!(stream.inverse.insert(id, agent).is_none(), "an inverse offer is made twice");
                }
            }
            Told::RescindInverseOffer => {
                let id = told.rescind_inverse_offer.unwrap().inverse_offer_id.unwrap();
                let known = stream.inverse.remove(id.value());
                assert!(known.is_some(), "{} is rescinded and was not out", id.value());
            }
            Told::Update => {
                let status = told.update.unwrap().status.unwrap();
                self.heard += 1;
                if status.uuid.is_some() {
                    if self.heard.is_multiple_of(4) {
                        one.waiting.push(status);
                    } else {
                        let peer = stream.peer.clone();
                        self.harness.acknowledge(&peer, &status);
                    }
                }
            }
            Told::UpdateOperationStatus => {
                let status = told.update_operation_status.unwrap().status.unwrap();
                let kind = match status.state() {
                    v1::OperationState::OperationFinished => "operations finished",
                    v1::OperationState::OperationError => "operations refused at once",
                    v1::OperationState::OperationDropped => "operations dropped",
                    _ => "operations in other states",
                };
                *self.met.entry(kind).or_default() += 1;
                if status.uuid.is_some() {
                    one.operations.push(status);
                }
            }
            Told::Error => {
                *self.met.entry("streams ended with an error").or_default() += 1;
                if told.error.unwrap().message.unwrap().contains("removed") {
                    let kind = one.kind;
                    *one = Framework::new(&mut self.harness, kind);
                }
            }
            Told::Failure | Told::Message | Told::Heartbeat => {}
            Told::Unknown => panic!("{told:?}"),
        }
        let stale = &mut self.frameworks[who].stale;
        let surplus = stale.len().saturating_sub(MAX_STALE);
        stale.drain(..surplus);
    }

    /// Makes a call on a framework's stream, by preference the newest; returns whether it was taken, if that is known.
    pub(super) fn make(&mut self, who: usize, call: Call) -> Option<bool> {
        let peer = self.frameworks[who].streams.last()?.peer.clone();
        match self.harness.ask(&peer, call)? {
            Reply::Accepted | Reply::Warned(_) | Reply::Ok => Some(true),
            Reply::Rejected { .. } => Some(false),
            other @ Reply::Operator(_) => panic!("{other:?}"),
        }
    }

    pub(super) fn ask(&mut self, who: usize, what: Ask, chance: &mut Chance) {
        if matches!(what, Ask::Accept) && chance.one_in(2) {
            self.pass(20);
        }
        // By preference one who has something to ask for.
        let useful = |one: &Framework| match what {
            Ask::Accept | Ask::Decline => one.streams.last().is_some_and(|one| !one.offers.is_empty()),
            Ask::Inverse => one.streams.last().is_some_and(|one| !one.inverse.is_empty()),
            Ask::Subscribe => one.streams.is_empty(),
            Ask::Acknowledge => !one.operations.is_empty() || !one.waiting.is_empty(),
            _ => true,
        };
        let mut others = (who..who + FRAMEWORKS).map(|one| one % FRAMEWORKS);
        let who = others.find(|one| useful(&self.frameworks[*one])).unwrap_or(who);
        match what {
            Ask::Accept => self.accept(who, chance),
            Ask::Decline => self.decline(who, chance),
            Ask::Revive | Ask::Suppress => self.silence(who, what, chance),
            Ask::Kill => {
                let tasks = self.frameworks[who].launched.clone();
                let task_id = chance.of(&tasks).map(|task| v1::TaskId { value: Some(task.clone()) });
                let kill = call::Kill { task_id, ..Default::default() };
                self.make(who, Call { kill: Some(kill), ..of(call::Type::Kill) });
            }
            Ask::Acknowledge => self.acknowledge_one(who, chance),
            Ask::Reconcile => {
                self.make(who, Call { reconcile: Some(Default::default()), ..of(call::Type::Reconcile) });
            }
            Ask::ReconcileOperations => {
                let call = of(call::Type::ReconcileOperations);
                self.make(who, Call { reconcile_operations: Some(Default::default()), ..call });
            }
            Ask::Inverse => self.answer_inverse(who, chance),
            Ask::ShutDown => {
                let agents: Vec<_> = self.agents.iter().map(|one| one.peer.id.to_proto()).collect();
                let shutdown = call::Shutdown {
                    executor_id: Some(v1::ExecutorId { value: Some("x".to_owned()) }),
                    agent_id: chance.of(&agents).cloned(),
                };
                self.make(who, Call { shutdown: Some(shutdown), ..of(call::Type::Shutdown) });
            }
            Ask::Update => self.update_info(who, chance),
            Ask::Subscribe => {
                if self.frameworks[who].streams.is_empty() {
                    self.frameworks[who].subscribe(&mut self.harness);
                }
            }
            Ask::FailOver => {
                if self.frameworks[who].streams.len() < 3 && self.frameworks[who].info.id.is_some() {
                    self.frameworks[who].subscribe(&mut self.harness);
                }
            }
            Ask::Break => {
                let streams = &self.frameworks[who].streams;
                if let Some(stream) = chance.of(streams).cloned() {
                    self.harness.break_stream(stream.peer.connection);
                }
            }
            Ask::Teardown => {
                self.make(who, of(call::Type::Teardown));
            }
        }
    }

    /// Offers that a call has used up, whatever came of it.
    pub(super) fn used(&mut self, who: usize, ids: &[v1::OfferId]) {
        let one = &mut self.frameworks[who];
        for id in ids {
            for stream in &mut one.streams {
                if stream.offers.remove(id.value()).is_some() {
                    one.stale.push(id.clone());
                }
            }
        }
    }

    fn decline(&mut self, who: usize, chance: &mut Chance) {
        let Some(stream) = self.frameworks[who].streams.last() else { return };
        let mut ids: Vec<v1::OfferId> =
            stream.offers.values().filter_map(|one| one.offer.id.clone()).collect();
        ids.retain(|_| chance.one_in(2));
        if chance.one_in(4) {
            ids.extend(chance.of(&self.frameworks[who].stale).cloned());
        }
        let seconds = chance.of(&[0.0, 0.5, 3.0, -1.0]).copied();
        let decline = call::Decline { offer_ids: ids.clone(), filters: filters(seconds) };
        if self.make(who, Call { decline: Some(decline), ..of(call::Type::Decline) }) == Some(true) {
            self.used(who, &ids);
        }
    }

    fn silence(&mut self, who: usize, what: Ask, chance: &mut Chance) {
        let roles = self.frameworks[who].info.roles.clone();
        let some: Vec<String> = roles.into_iter().filter(|_| chance.one_in(3)).collect();
        let call = match what {
            Ask::Revive => Call { revive: Some(call::Revive { roles: some }), ..of(call::Type::Revive) },
            _ => Call { suppress: Some(call::Suppress { roles: some }), ..of(call::Type::Suppress) },
        };
        self.make(who, call);
    }

    fn acknowledge_one(&mut self, who: usize, chance: &mut Chance) {
        let one = &mut self.frameworks[who];
        let Some(peer) = one.streams.last().map(|stream| stream.peer.clone()) else { return };
        for status in std::mem::take(&mut one.waiting) {
            self.harness.acknowledge(&peer, &status);
        }
        let one = &mut self.frameworks[who];
        if one.operations.is_empty() {
            return;
        }
        let status = one.operations.swap_remove(chance.pick(one.operations.len()));
        let acknowledgement = call::AcknowledgeOperationStatus {
            agent_id: status.agent_id,
            uuid: status.uuid.and_then(|uuid| uuid.value),
            operation_id: status.operation_id,
            ..Default::default()
        };
        let call = of(call::Type::AcknowledgeOperationStatus);
        self.make(who, Call { acknowledge_operation_status: Some(acknowledgement), ..call });
    }

    fn answer_inverse(&mut self, who: usize, chance: &mut Chance) {
        let Some(stream) = self.frameworks[who].streams.last() else { return };
        let ids: Vec<String> = stream.inverse.keys().cloned().collect();
        let Some(id) = chance.of(&ids).cloned() else { return };
        let inverse_offer_ids = vec![v1::OfferId { value: Some(id.clone()) }];
        let filters = filters(chance.of(&[0.0, 1.0, 5.0]).copied());
        let call = if chance.one_in(2) {
            let accept = call::AcceptInverseOffers { inverse_offer_ids, filters };
            Call { accept_inverse_offers: Some(accept), ..of(call::Type::AcceptInverseOffers) }
        } else {
            let decline = call::DeclineInverseOffers { inverse_offer_ids, filters };
            Call { decline_inverse_offers: Some(decline), ..of(call::Type::DeclineInverseOffers) }
        };
        if self.make(who, call) == Some(true) {
            for stream in &mut self.frameworks[who].streams {
                stream.inverse.remove(&id);
            }
        }
    }

    /// Leaves roles and comes back to them.
    fn update_info(&mut self, who: usize, chance: &mut Chance) {
        let one = &self.frameworks[who];
        let mut info = one.info.clone();
        let all = info_of(one.kind, info.name()).roles;
        info.roles = all.iter().filter(|_| !chance.one_in(3)).cloned().collect();
        let suppressed_roles = info.roles.iter().filter(|_| chance.one_in(4)).cloned().collect();
        if info.id.is_none() || (info.roles.is_empty() && !all.is_empty()) {
            return;
        }
        let update = call::UpdateFramework {
            framework_info: Some(info.clone()),
            suppressed_roles,
            ..Default::default()
        };
        let call = of(call::Type::UpdateFramework);
        if self.make(who, Call { update_framework: Some(update), ..call }) != Some(false) {
            self.frameworks[who].info = info;
        }
    }
}

/// A call with nothing but its type.
pub(super) fn of(kind: call::Type) -> Call {
    Call { r#type: Some(kind as i32), ..Default::default() }
}

pub(super) fn filters(refuse_seconds: Option<f64>) -> Option<Filters> {
    Some(Filters { refuse_seconds })
}
