//! The Registry itself: structurally shared, ordered tables and their indexes, readable by everyone.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};

use super::operation::Envelope;
use super::outcome::{Change, Outcome};
use super::records::{AgentRecord, DriverRecord, FrameworkRecord, LeaderRecord, RegisterRecord, TaskRecord};
use crate::ids::{AgentId, FrameworkId, TaskKey};

/// Name of a framework state register.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegisterKey {
    pub scope: Arc<str>,
    pub key: Arc<str>,
}

/// All replicated state. A clone costs constant time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    /// Empty before the first leadership.
    pub cluster_id: Arc<str>,
    /// Number of leaderships so far; every order to an agent carries it.
    pub epoch: u64,
    /// Cluster time, milliseconds; only `apply` advances it.
    pub cluster_ms: u64,
    /// Wall clock of the last applied envelope, milliseconds since 1970, for display.
    pub wall_ms: u64,
    /// Of the current epoch.
    pub leader: Option<Arc<LeaderRecord>>,
    pub agents: OrdMap<AgentId, Arc<AgentRecord>>,
    /// Agents that left for good, oldest first: id and reason. Bounded.
    pub gone_agents: Vector<Arc<str>>,
    pub frameworks: OrdMap<FrameworkId, Arc<FrameworkRecord>>,
    /// Oldest first. Bounded.
    pub completed_frameworks: Vector<Arc<FrameworkRecord>>,
    /// Tasks whose end is not yet acknowledged. Those of a framework that is gone are still running somewhere: charged,
    /// being killed, shown nowhere.
    pub tasks: OrdMap<TaskKey, Arc<TaskRecord>>,
    /// Ended tasks by framework, oldest first. Bounded.
    pub history: OrdMap<FrameworkId, Vector<Arc<TaskRecord>>>,
    pub drivers: OrdMap<Arc<str>, Arc<DriverRecord>>,
    pub registers: OrdMap<RegisterKey, Arc<RegisterRecord>>,
    /// Derived: the keys of `tasks` by agent.
    pub tasks_by_agent: OrdMap<AgentId, OrdSet<TaskKey>>,
}

impl Registry {
    /// Applies one committed envelope.
    pub fn apply(&mut self, envelope: &Envelope) -> (Outcome, Vec<Change>) {
        let _ = envelope;
        (Outcome::Done, Vec::new())
    }

    /// Whether the agent is registered with the current leader.
    pub fn agent_connected(&self, agent: &AgentRecord) -> bool {
        self.epoch > 0 && agent.connected_epoch == self.epoch
    }

    /// Whether the framework is subscribed to the current leader.
    pub fn framework_connected(&self, framework: &FrameworkRecord) -> bool {
        self.epoch > 0 && framework.connected_epoch == self.epoch
    }

    /// Returns a driver by name.
    pub fn driver(&self, name: &str) -> Option<&Arc<DriverRecord>> {
        self.drivers.get(name)
    }

    /// Returns a register of a driver.
    pub fn register(&self, scope: &str, key: &str) -> Option<&Arc<RegisterRecord>> {
        self.registers.get(&RegisterKey { scope: Arc::from(scope), key: Arc::from(key) })
    }
}
