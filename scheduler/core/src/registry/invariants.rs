//! Laws of the tables: indexes equal what they are derived from, bounds hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::apply::tasks::{missed, untaken};
use super::charges::is_charged;
use super::records::AgentRecord;
use super::tables::Registry;
use super::{AgentCharges, MAX_ATTEMPTS, MAX_COMPLETED_FRAMEWORKS, MAX_GONE_AGENTS, MAX_HISTORY};
use crate::conversion;
use crate::ids::{AgentId, TaskKey};

impl Registry {
    /// Panics if the tables contradict each other. For tests.
    pub fn check_invariants(&self) {
        let mut by_agent: BTreeMap<AgentId, BTreeSet<TaskKey>> = BTreeMap::new();
        let mut charges: BTreeMap<AgentId, AgentCharges> = BTreeMap::new();
        let mut waiting = BTreeSet::new();
        let mut unreachable = BTreeSet::new();
        for (key, record) in &self.tasks {
            assert_eq!(*key, record.key(), "key of a task");
            by_agent.entry(record.agent_id()).or_default().insert(key.clone());
            waiting.extend(untaken(key, record));
            unreachable.extend(missed(key, record));
            if is_charged(record) {
                charges.entry(record.agent_id()).or_default().charge(record);
            }
        }
        let indexed: BTreeMap<AgentId, BTreeSet<TaskKey>> = self
            .tasks_by_agent
            .iter()
            .map(|(agent, keys)| (agent.clone(), keys.iter().cloned().collect()))
            .collect();
        for (key, record) in &self.executors {
            assert_eq!(*key, record.key(), "key of an executor");
            charges.entry(key.agent.clone()).or_default().charge_executor(record);
        }
        assert_eq!(by_agent, indexed, "tasks by agent");
        assert_eq!(waiting, self.untaken.iter().cloned().collect(), "launches that nobody has confirmed");
        assert_eq!(unreachable, self.unreachable.iter().cloned().collect(), "unreachable tasks");
        let mut again = self.clone();
        again.index_machines();
        assert_eq!(again.machines, self.machines, "machines");
        assert_eq!(self.agent_index_anew(), self.agent_index, "agents by what they are");
        charges.retain(|_, one| !one.is_empty());
        let kept: BTreeMap<AgentId, AgentCharges> =
            self.charges.iter().map(|(agent, one)| (agent.clone(), AgentCharges::clone(one))).collect();
        assert_eq!(charges, kept, "charges");
        for (id, record) in &self.agents {
            assert_eq!(*id, record.id(), "key of an agent");
            assert!(!self.is_gone(id), "agent {id} is gone and there");
            self.check_resources(id, record);
        }
        for (key, record) in &self.operations {
            assert_eq!(*key, record.key(), "key of an operation");
            assert!(self.frameworks.contains_key(&key.framework), "operation {key:?} of nobody");
        }
        for (id, record) in &self.frameworks {
            assert_eq!(*id, record.id(), "key of a framework");
            assert!(self.completed(id).is_none(), "framework {id} is completed and there");
        }
        for (name, record) in &self.drivers {
            assert_eq!(**name, *record.name(), "key of a driver");
            assert!(record.attempts.len() <= MAX_ATTEMPTS, "attempts of {name}");
        }
        assert!(self.completed_frameworks.len() <= MAX_COMPLETED_FRAMEWORKS, "completed frameworks");
        assert!(self.gone_agents.len() <= MAX_GONE_AGENTS, "gone agents");
        for (role, quota) in &self.quotas {
            assert_eq!((&**role, quota.check()), (quota.role.as_str(), Ok(())), "quota");
        }
        for (id, history) in &self.history {
            assert!(history.len() <= MAX_HISTORY, "history of framework {id}");
        }
    }

    /// What operations made of an agent's resources is as much as the agent has, and each volume is there once.
    fn check_resources(&self, id: &AgentId, record: &AgentRecord) {
        if record.resources_version == 0 {
            assert!(record.converted.is_empty() && record.destroyed.is_empty(), "resources of agent {id}");
            return;
        }
        let own = record.info.as_ref().map(|info| info.resources.as_slice()).unwrap_or_default();
        let (total, own) = (super::unallocated(record.total()), super::unallocated(own));
        assert_eq!(conversion::bases(&total), conversion::bases(&own), "agent {id}: something was made up");
        let volumes = conversion::volumes(&total);
        assert!(volumes.values().all(|copies| *copies == 1), "agent {id}: a volume twice");
        for one in &record.orphaned {
            let name = conversion::volume_name(one).expect("only volumes are orphaned");
            assert!(!volumes.contains_key(&name), "agent {id}: volume {name:?} is known and orphaned");
        }
        assert!(record.destroyed.iter().all(|one| one.version() <= record.resources_version));
    }

    /// Panics if an agent is charged for more than it has. For tests with honest agents.
    pub fn check_capacity(&self) {
        for (id, charges) in &self.charges {
            if let Some(agent) = self.agents.get(id).map(Arc::clone) {
                let total = super::unallocated(agent.total());
                assert!(total.covers(&charges.total), "agent {id}: {} charged of {total}", charges.total);
            }
        }
    }
}
