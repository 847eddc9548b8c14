//! Agents that have been unreachable or gone for too long, or are too many, are forgotten.

use super::super::core::Master;
use super::super::effect::Level;
use super::super::timers::Timer;
use super::{FleetPending, FleetTimer};
use crate::ids::AgentId;
use crate::registry::{Operation, PruneAgents};

/// Most agents forgotten by one entry of the log; the rest follows with the next turn.
const MAX_PRUNED: usize = 10_000;

impl Master {
    pub(super) fn arm_collection(&mut self) {
        let at_ms = self.now.cluster_ms.saturating_add(self.config.registry_gc_interval_ms.max(1));
        self.timers.arm(at_ms, Timer::Fleet(FleetTimer::Collect));
    }

    pub(super) fn collect(&mut self) {
        self.arm_collection();
        let unreachable = self.registry.agent_index.unreachable.iter();
        let unreachable =
            unreachable.filter_map(|id| Some((self.registry.agents.get(id)?.unreachable_ms?, id)));
        let unreachable = self.surplus(unreachable.collect());
        let gone = self.surplus(self.registry.gone_agents.iter().map(|(id, at_ms)| (*at_ms, id)).collect());
        if !unreachable.is_empty() || !gone.is_empty() {
            let fields =
                vec![("unreachable", unreachable.len().to_string()), ("gone", gone.len().to_string())];
            self.note(Level::Info, "old agents are forgotten", fields);
            let prune = PruneAgents { unreachable, gone };
            self.propose_fleet(Operation::PruneAgents(prune), FleetPending::Prune);
        }
    }

    /// The oldest ones beyond the number, and all that are too old.
    fn surplus(&self, mut since: Vec<(u64, &AgentId)>) -> Vec<String> {
        since.sort();
        let beyond = since.len().saturating_sub(self.config.registry_max_agent_count);
        let oldest_ms = self.now.cluster_ms.saturating_sub(self.config.registry_max_agent_age_ms);
        let chosen =
            since.iter().enumerate().filter(|(place, (at_ms, _))| *place < beyond || *at_ms < oldest_ms);
        chosen.take(MAX_PRUNED).map(|(_, (_, id))| id.as_str().to_owned()).collect()
    }

    pub(super) fn collected(&mut self) {
        let sessions = &self.agents;
        self.boots.retain(|_, id| sessions.contains_key(id));
    }
}
