//! How fast silent agents are given up. With a limit they queue, and whoever speaks up in time is spared.
//!
//! After a change of leader, when more agents are missing than the operator finds believable, none is given up: then it is the
//! network that is broken, not the agents.

use std::collections::BTreeMap;

use super::super::core::Master;
use super::super::effect::Level;
use super::super::timers::Timer;
use super::FleetTimer;
use crate::ids::AgentId;

#[derive(Debug, Default)]
pub(super) struct Removals {
    queued: u64,
    /// Who is to be given up, in the order in which they fell silent.
    queue: BTreeMap<u64, AgentId>,
    places: BTreeMap<AgentId, u64>,
    /// Cluster time before which none may be given up.
    next_ms: u64,
    /// Agents that a change of leader could have cost.
    recovered: usize,
    /// Too many of them are missing: looked at again then.
    hold_until_ms: u64,
}

impl Removals {
    fn take(&mut self, id: &AgentId) -> bool {
        let place = self.places.remove(id);
        place.is_some_and(|place| self.queue.remove(&place).is_some())
    }
}

impl Master {
    pub(super) fn removals_took_lead(&mut self) {
        self.fleet.removals.recovered = self.registry.reachable_agents();
    }

    /// An agent was silent for too long: it is given up, now or when its turn comes.
    pub(in super::super) fn give_up(&mut self, id: &AgentId) {
        let removals = &mut self.fleet.removals;
        if removals.places.contains_key(id) {
            return;
        }
        self.view.counters.unreachable_scheduled += 1;
        if self.config.agent_removal_interval_ms == 0 {
            self.give_up_now(id);
            return;
        }
        removals.queued += 1;
        removals.queue.insert(removals.queued, id.clone());
        removals.places.insert(id.clone(), removals.queued);
        let at_ms = removals.next_ms.max(self.now.cluster_ms);
        if at_ms > self.now.cluster_ms || removals.queue.len() > 1 {
            let fields = vec![("agent_id", id.to_string())];
            self.note(Level::Info, "agent waits to be given up: removals are limited", fields);
            self.timers.arm(at_ms, Timer::Fleet(FleetTimer::Removal));
        } else {
            self.removals_due();
        }
    }

    /// Whether the agent waits to be given up.
    pub(in super::super) fn waits_to_be_given_up(&self, id: &AgentId) -> bool {
        self.fleet.removals.places.contains_key(id)
    }

    /// The agent was heard of.
    pub(in super::super) fn spare(&mut self, id: &AgentId) {
        if self.fleet.removals.take(id) {
            self.view.counters.unreachable_canceled += 1;
            self.note(
                Level::Info,
                "agent is spared: it spoke up in time",
                vec![("agent_id", id.to_string())],
            );
        }
    }

    pub(super) fn removals_due(&mut self) {
        if let Some((_, id)) = self.fleet.removals.queue.pop_first() {
            self.fleet.removals.places.remove(&id);
            self.fleet.removals.next_ms = self.now.cluster_ms + self.config.agent_removal_interval_ms;
            self.give_up_now(&id);
        }
        if !self.fleet.removals.queue.is_empty() {
            let at_ms = self.fleet.removals.next_ms.max(self.now.cluster_ms + 1);
            self.timers.arm(at_ms, Timer::Fleet(FleetTimer::Removal));
        }
    }

    fn give_up_now(&mut self, id: &AgentId) {
        self.view.counters.unreachable_completed += 1;
        if let Some(connection) = self.agents.get(id).map(|session| session.connection) {
            self.note(Level::Warn, "agent does not answer pings", vec![("agent_id", id.to_string())]);
            self.close(connection);
            self.agent_stream_ended(id, connection);
        }
        self.propose_unreachable(id);
    }

    /// Cluster time before which no agent may be given up that a change of leader may have cost; nothing if it may.
    pub(in super::super) fn held_until_ms(&mut self) -> Option<u64> {
        let limit = u64::from(self.config.recovery_agent_removal_limit_percent);
        if limit >= 100 {
            return None;
        }
        if self.fleet.removals.hold_until_ms <= self.now.cluster_ms {
            let missing = self.timers.agents_awaited().count() as u64 + 1;
            let known = self.fleet.removals.recovered as u64;
            if missing.saturating_mul(100) <= limit.saturating_mul(known) {
                return None;
            }
            let fields = vec![("missing", missing.to_string()), ("known", known.to_string())];
            self.note(
                Level::Warn,
                "too many agents are missing after a change of leader: none is given up",
                fields,
            );
            self.fleet.removals.hold_until_ms = self.now.cluster_ms + self.config.agent_grace_ms.max(1_000);
        }
        Some(self.fleet.removals.hold_until_ms)
    }
}
