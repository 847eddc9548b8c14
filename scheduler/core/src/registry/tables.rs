//! The Registry itself: structurally shared, ordered tables and their indexes, readable by everyone.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};

use super::agent_index::AgentIndex;
use super::charges::{AgentCharges, is_charged};
use super::fleet::{Machine, MachineKey, MaintenanceRecord};
use super::lineage::FormerCluster;
use super::records::{
    AgentRecord, DriverRecord, ExecutorRecord, FrameworkRecord, LeaderRecord, OperationRecord,
    RegisterRecord, TaskRecord,
};
use super::settings::QuotaRecord;
use crate::ids::{AgentId, ExecutorId, ExecutorKey, FrameworkId, TaskId, TaskKey};

/// Name of a framework state register.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegisterKey {
    pub scope: Arc<str>,
    pub key: Arc<str>,
}

/// Name of an operation: its id is unique within its framework while it is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OperationKey {
    pub framework: FrameworkId,
    pub operation: Arc<str>,
}

impl OperationKey {
    pub fn new(framework: impl Into<FrameworkId>, operation: impl Into<Arc<str>>) -> Self {
        Self { framework: framework.into(), operation: operation.into() }
    }
}

/// All replicated state. A clone costs constant time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    /// Empty before the first leadership.
    pub cluster_id: Arc<str>,
    /// The clusters that this one continues, oldest first: their agents may come over. Bounded.
    pub former_clusters: Vector<Arc<FormerCluster>>,
    /// What every master has to be able to do; 0 before it was ever raised.
    pub feature_level: u32,
    /// Number of leaderships so far, and a million for each founding anew; every order to an agent carries it.
    pub epoch: u64,
    /// Cluster time, milliseconds; only `apply` advances it.
    pub cluster_ms: u64,
    /// Wall clock of the last applied envelope, milliseconds since 1970, for display.
    pub wall_ms: u64,
    /// Checkpoints so far, at which replicas compare their states.
    pub checkpoint: u64,
    /// Of the current epoch.
    pub leader: Option<Arc<LeaderRecord>>,
    pub agents: OrdMap<AgentId, Arc<AgentRecord>>,
    /// Derived: agents by what a new leader asks for.
    pub agent_index: AgentIndex,
    /// Agents that left for good, with the cluster time of that. Bounded.
    pub gone_agents: OrdMap<AgentId, u64>,
    pub frameworks: OrdMap<FrameworkId, Arc<FrameworkRecord>>,
    /// Oldest first. Bounded.
    pub completed_frameworks: Vector<Arc<FrameworkRecord>>,
    /// Tasks whose end is not yet acknowledged. Those of a framework that is gone are still running somewhere: charged,
    /// being killed, shown nowhere.
    pub tasks: OrdMap<TaskKey, Arc<TaskRecord>>,
    /// Custom executors that have not ended, of agents that are not given up.
    pub executors: OrdMap<ExecutorKey, Arc<ExecutorRecord>>,
    /// Ended tasks by framework, oldest first. Bounded.
    pub history: OrdMap<FrameworkId, Vector<Arc<TaskRecord>>>,
    pub drivers: OrdMap<Arc<str>, Arc<DriverRecord>>,
    pub registers: OrdMap<RegisterKey, Arc<RegisterRecord>>,
    /// What became of operations, until their frameworks acknowledge it. Bounded for each framework.
    pub operations: OrdMap<OperationKey, Arc<OperationRecord>>,
    /// What operators have announced of machines.
    pub maintenance: Arc<MaintenanceRecord>,
    /// Derived: the machines of the schedule.
    pub machines: OrdMap<MachineKey, Machine>,
    /// Derived: unreachable tasks by framework and wall clock, milliseconds since 1970.
    pub unreachable: OrdSet<(FrameworkId, u64, TaskKey)>,
    /// Weights that operators set, by role. Bounded.
    pub weights: OrdMap<Arc<str>, f64>,
    /// Quotas of top-level roles. Bounded.
    pub quotas: OrdMap<Arc<str>, Arc<QuotaRecord>>,
    /// Derived: the keys of `tasks` by agent.
    pub tasks_by_agent: OrdMap<AgentId, OrdSet<TaskKey>>,
    /// Derived: launches whose agent has not said that it has them, by agent and number.
    pub untaken: OrdSet<(AgentId, u64, TaskKey)>,
    /// Derived: what the live tasks of each agent hold.
    pub charges: OrdMap<AgentId, Arc<AgentCharges>>,
}

impl Registry {
    /// Whether this is the cluster of that id, or was founded anew from it.
    pub fn continues(&self, cluster_id: &str) -> bool {
        *self.cluster_id == *cluster_id
            || self.former_clusters.iter().any(|former| former.cluster_id == cluster_id)
    }

    /// Whether the agent is registered with the current leader.
    pub fn agent_connected(&self, agent: &AgentRecord) -> bool {
        self.epoch > 0 && agent.connected_epoch == self.epoch
    }

    /// Cluster time at which the current leader took the lead, in milliseconds; all that it logs is as late or later, all that is
    /// older earlier.
    pub fn lead_since_ms(&self) -> u64 {
        self.leader.as_ref().map_or(0, |leader| leader.since_ms)
    }

    /// Whether the agent is known from before this leadership and has not been heard of since: whether it still lives, nobody can
    /// tell yet.
    pub fn agent_awaited(&self, agent: &AgentRecord) -> bool {
        let left_since = agent.disconnected_ms.is_some_and(|left_ms| left_ms >= self.lead_since_ms());
        agent.unreachable_ms.is_none() && !self.agent_connected(agent) && !left_since
    }

    /// Whether the framework is subscribed to the current leader.
    pub fn framework_connected(&self, framework: &FrameworkRecord) -> bool {
        self.epoch > 0 && framework.connected_epoch == self.epoch
    }

    /// Returns a framework that has ended, if it is still remembered.
    pub fn completed(&self, id: &FrameworkId) -> Option<&Arc<FrameworkRecord>> {
        self.completed_frameworks.iter().find(|record| {
            record
                .info
                .as_ref()
                .and_then(|info| info.id.as_ref())
                .is_some_and(|one| one.value() == id.as_str())
        })
    }

    /// Whether this agent left for good.
    pub fn is_gone(&self, id: &AgentId) -> bool {
        self.gone_agents.contains_key(id)
    }

    /// Returns the keys of a framework's tasks, in order.
    pub fn tasks_of(&self, framework: &FrameworkId) -> Vec<TaskKey> {
        let first = TaskKey { framework: framework.clone(), task: TaskId::from("") };
        self.tasks
            .range(first..)
            .map(|(key, _)| key)
            .take_while(|key| key.framework == *framework)
            .cloned()
            .collect()
    }

    /// A framework's unreachable tasks, the longest unreachable first.
    pub fn unreachable_of<'a>(&'a self, framework: &'a FrameworkId) -> impl Iterator<Item = &'a TaskKey> {
        let first = (framework.clone(), 0, TaskKey::new("", ""));
        let entries = self.unreachable.range(first..);
        entries.take_while(move |(id, _, _)| id == framework).map(|(_, _, key)| key)
    }

    /// Returns the keys of an agent's tasks, in order.
    pub fn tasks_on(&self, agent: &AgentId) -> Vec<TaskKey> {
        self.tasks_by_agent.get(agent).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// A framework's tasks on one agent, in order.
    pub fn tasks_between<'a>(
        &'a self,
        framework: &'a FrameworkId,
        agent: &AgentId,
    ) -> impl Iterator<Item = &'a Arc<TaskRecord>> {
        let first = TaskKey { framework: framework.clone(), task: TaskId::from("") };
        let keys =
            self.tasks_by_agent.get(agent).into_iter().flat_map(move |keys| keys.range(first.clone()..));
        keys.take_while(|key| key.framework == *framework).filter_map(|key| self.tasks.get(key))
    }

    /// The operations of a framework that wait to be acknowledged, in order.
    pub fn operations_of<'a>(
        &'a self,
        framework: &'a FrameworkId,
    ) -> impl Iterator<Item = (&'a OperationKey, &'a Arc<OperationRecord>)> {
        let first = OperationKey::new(framework.clone(), "");
        self.operations.range(first..).take_while(move |(key, _)| key.framework == *framework)
    }

    /// The executors of an agent, in order.
    pub fn executors_on(
        &self,
        agent: &AgentId,
    ) -> impl Iterator<Item = (&ExecutorKey, &Arc<ExecutorRecord>)> {
        let first = ExecutorKey {
            agent: agent.clone(),
            framework: FrameworkId::from(""),
            executor: ExecutorId::from(""),
        };
        let agent = agent.clone();
        self.executors.range(first..).take_while(move |(key, _)| key.agent == agent)
    }

    /// Whether a task of this executor has not ended.
    pub fn executor_is_used(&self, key: &ExecutorKey) -> bool {
        self.tasks_between(&key.framework, &key.agent).any(|task| is_charged(task) && task.uses(key))
    }

    /// Whether this task belongs to a framework that is gone: it is only waited for, and shown nowhere.
    pub fn is_orphan(&self, key: &TaskKey) -> bool {
        !self.frameworks.contains_key(&key.framework)
    }

    /// Returns the keys of a driver's registers, in order.
    pub fn registers_of(&self, scope: &str) -> Vec<RegisterKey> {
        let first = RegisterKey { scope: Arc::from(scope), key: Arc::from("") };
        self.registers
            .range(first..)
            .map(|(key, _)| key)
            .take_while(|key| *key.scope == *scope)
            .cloned()
            .collect()
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
