//! The laws, judged after every step.

use std::collections::BTreeMap;

use tepui_proto::v1::framework_info::capability::Type as Can;

use super::account::{Consumption, add_unreserved};
use super::world::World;
use crate::ids::AgentId;
use crate::registry::{AgentRecord, Outcome, Registry, decode_envelope, unallocated};

impl World {
    pub(super) fn judge(&mut self) {
        self.replay();
        self.amounts();
        self.quotas();
        self.offers();
        self.inverse();
        self.take_note();
    }

    /// What there is to be seen now.
    fn take_note(&mut self) {
        let registry = self.harness.master.registry();
        let streams = || self.frameworks.iter().flat_map(|one| &one.streams);
        let offers = || streams().flat_map(|stream| stream.offers.values());
        let volumes: Vec<_> = registry.agents.values().map(|record| unallocated(record.total())).collect();
        let shared = volumes.iter().any(|total| !total.shared().is_empty());
        let mut made = volumes.iter().flat_map(|total| total.iter().map(|(identity, _)| identity));
        let seen = [
            ("offers", offers().any(|offer| offer.born == self.now)),
            ("several offers of an agent", several(offers().map(|offer| &offer.agent))),
            ("offers with reservations", offers().any(|one| one.resources != one.resources.unreserved())),
            ("inverse offers", streams().any(|stream| !stream.inverse.is_empty())),
            ("frameworks with two streams", self.frameworks.iter().any(|one| one.streams.len() > 1)),
            ("custom executors", !registry.executors.is_empty()),
            ("refined reservations", made.any(|identity| identity.is_refined())),
            ("shared volumes", shared),
            ("agents unreachable", registry.agents.values().any(|one| one.unreachable_ms.is_some())),
            ("agents being drained", registry.agents.values().any(|one| one.draining())),
            ("agents deactivated", registry.agents.values().any(|one| one.deactivated)),
            ("agents gone", !registry.gone_agents.is_empty()),
            ("machines down", !registry.maintenance.down.is_empty()),
            ("tasks of nobody", registry.tasks.keys().any(|key| registry.is_orphan(key))),
            ("tasks unreachable", !registry.unreachable.is_empty()),
            ("proposals that hold something", !self.holds.is_empty()),
            ("proposals of unknown outcome", self.holds.keys().any(|one| self.doubtful.contains(one))),
            ("frameworks ended", !registry.completed_frameworks.is_empty()),
        ];
        for (what, there) in seen {
            *self.met.entry(what).or_default() += u64::from(there);
        }
    }

    /// Allocated + offered + free = total, and everything that is held is there, one after the other.
    fn amounts(&self) {
        let master = &self.harness.master;
        for (id, record) in &master.registry().agents {
            if record.unreachable_ms.is_some() {
                continue;
            }
            let mut left = unallocated(record.total());
            let held = self.held_on(id);
            let lacks = self.agents.iter().any(|one| one.peer.id == *id && one.resized);
            let mut whole = true;
            for one in &held {
                let fits = left.covers(&one.resources);
                whole &= fits;
                assert!(
                    fits || (lacks && !one.offered),
                    "agent {id}: {} has {}, but only {left} is left of {} besides {held:#?}",
                    one.what,
                    one.resources,
                    unallocated(record.total())
                );
                left = left.less(&one.resources);
            }
            if master.serving() && whole {
                let free = master.allocator.free(id);
                assert_eq!(left.to_string(), free.to_string(), "agent {id}: free besides {held:#?}");
            }
        }
    }

    /// What comes on top of a limit was not given: it was there when the limit was set, or came with an agent or an operator.
    fn quotas(&mut self) {
        let master = &self.harness.master;
        if !master.serving() {
            return;
        }
        let now = self.consumed();
        let before = std::mem::replace(&mut self.consumption, now);
        let limits = std::mem::replace(&mut self.limits, master.registry().quotas.clone());
        if self.came {
            return;
        }
        let (new, all) = (self.offered(self.now), self.offered(0));
        let mut beyond = 0;
        for (role, quota) in &master.registry().quotas {
            for (kind, limit) in &quota.limits {
                let key = (role.to_string(), kind.clone());
                let of = |sums: &Consumption| sums.get(&key).copied().unwrap_or_default();
                let (limit, used) = (i64::try_from(*limit).unwrap(), of(&self.consumption));
                if used <= limit {
                    continue;
                }
                beyond += 1;
                assert!(
                    used <= of(&before),
                    "role {role} uses {used} of {kind}, {} before, limit {limit}",
                    of(&before)
                );
                assert_eq!(of(&new), 0, "role {role} is offered {kind} beyond its limit");
                if limits.get(role) != Some(quota) {
                    assert_eq!(of(&all), 0, "role {role} keeps offers of {kind} beyond its new limit");
                }
            }
        }
        *self.met.entry("roles beyond their limit").or_default() += beyond;
    }

    /// What was offered in this step or later and still is.
    fn offered(&self, since: usize) -> Consumption {
        let mut sums = Consumption::new();
        let streams = self.frameworks.iter().flat_map(|one| &one.streams);
        for offer in streams.flat_map(|stream| stream.offers.values()) {
            if offer.born >= since {
                add_unreserved(&mut sums, &offer.role, &offer.resources);
            }
        }
        sums
    }

    /// Only agents that may be offered, only to those who are there and can have it.
    fn offers(&self) {
        let registry = self.harness.master.registry();
        for stream in self.frameworks.iter().flat_map(|one| &one.streams) {
            for (id, offer) in &stream.offers {
                let agent = registry.agents.get(&offer.agent);
                let agent = agent.unwrap_or_else(|| panic!("offer {id} of an agent that is gone"));
                let why = unofferable(registry, agent);
                assert_eq!(why, None, "offer {id} of {}", offer.agent);
                let owner = registry.frameworks.get(&stream.peer.id);
                let owner = owner.unwrap_or_else(|| panic!("offer {id} to nobody"));
                assert!(registry.framework_connected(owner), "offer {id} to one who is away");
                assert!(
                    owner.roles().contains(&offer.role),
                    "offer {id} for {}, not one of {:?}",
                    offer.role,
                    owner.roles()
                );
                for (identity, _) in offer.resources.iter() {
                    assert!(
                        identity.is_allocatable_to(&offer.role)
                            && (owner.can(Can::ReservationRefinement) || !identity.is_refined())
                            && (owner.can(Can::SharedResources) || !identity.is_shared()),
                        "offer {id} for {} has {}",
                        offer.role,
                        offer.resources
                    );
                }
            }
        }
    }

    /// Only for agents of scheduled machines; the owner has one at most, since they are kept by agent.
    fn inverse(&self) {
        let registry = self.harness.master.registry();
        for stream in self.frameworks.iter().flat_map(|one| &one.streams) {
            let mut agents = BTreeMap::new();
            for (id, agent) in &stream.inverse {
                assert_eq!(agents.insert(agent, id), None, "{agent} is asked back twice");
                let record = registry.agents.get(agent);
                let record = record.unwrap_or_else(|| panic!("inverse offer {id} of an agent that is gone"));
                assert!(registry.agent_connected(record), "inverse offer {id}: {agent} is away");
                let machine = registry.machine_of(record);
                assert!(machine.is_some_and(|one| !one.down), "inverse offer {id}: {agent} is not scheduled");
            }
        }
    }

    /// What was committed gives the same tables again, and the master decides on no others.
    fn replay(&mut self) {
        for bytes in &self.harness.log[self.replayed..] {
            let (outcome, _) = self.replica.apply(&decode_envelope(bytes.clone()).unwrap());
            let mut count = |what, some: usize| {
                if some > 0 {
                    *self.met.entry(what).or_default() += some as u64;
                }
            };
            let (mut conversions, mut tasks) = (Vec::new(), Vec::new());
            match outcome {
                Outcome::Launched(results) => tasks = results,
                Outcome::Operated { conversions: made, launches } => (conversions, tasks) = (made, launches),
                Outcome::Reregistered(word) => {
                    count("tasks returned", word.returned.len());
                    count("tasks missing", word.missing.len());
                }
                Outcome::TookLead { .. } => count("leaders", 1),
                _ => {}
            }
            count("tasks launched", tasks.iter().filter(|one| one.is_ok()).count());
            count("tasks refused by the log", tasks.iter().filter(|one| one.is_err()).count());
            count("conversions", conversions.iter().filter(|one| one.is_ok()).count());
            count("conversions refused by the log", conversions.iter().filter(|one| one.is_err()).count());
        }
        self.replayed = self.harness.log.len();
        assert!(self.replica == self.harness.registry, "the log gives another Registry");
        if self.harness.master.serving() {
            let own = self.harness.master.registry();
            assert!(*own == self.harness.registry, "the master decides on another Registry");
        }
    }

    /// The whole log from its beginning, and the tables by their bytes.
    pub(super) fn replay_all(&self) {
        let mut again = Registry::default();
        for bytes in &self.harness.log {
            again.apply(&decode_envelope(bytes.clone()).unwrap());
        }
        assert!(again == self.harness.registry, "the log gives another Registry");
    }
}

fn several<'a>(agents: impl Iterator<Item = &'a AgentId>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let mut agents = agents;
    agents.any(|agent| !seen.insert(agent))
}

/// Why nothing of an agent may be offered.
fn unofferable(registry: &Registry, agent: &AgentRecord) -> Option<&'static str> {
    if agent.unreachable_ms.is_some() {
        Some("unreachable")
    } else if !registry.agent_connected(agent) {
        Some("disconnected")
    } else if agent.deactivated {
        Some("deactivated")
    } else if agent.draining() {
        Some("draining")
    } else if registry.is_gone(&agent.id()) {
        Some("gone")
    } else if registry.machine_of(agent).is_some_and(|machine| machine.down) {
        Some("down")
    } else {
        None
    }
}
