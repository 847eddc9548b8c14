//! Tasks are launched, marked and put away; the only place that changes the table of tasks and its indexes.

use std::sync::Arc;

use tepui_proto::resources::Resources;

use super::{MAX_HISTORY, Step};
use crate::ids::{AgentId, FrameworkId, TaskKey};
use crate::registry::amounts;
use crate::registry::charges::is_charged;
use crate::registry::operation::{Launch, LaunchItem, MarkKill};
use crate::registry::outcome::{Change, Outcome, Refusal};
use crate::registry::records::{AgentRecord, KillMarker, TaskRecord};
use crate::registry::tables::Registry;

impl Step<'_> {
    pub(super) fn launch(&mut self, launch: &Launch) -> Result<Outcome, Refusal> {
        let framework = FrameworkId::from(launch.framework_id.as_str());
        let agent = AgentId::from(launch.agent_id.as_str());
        let results = launch.tasks.iter().map(|item| self.launch_one(&framework, &agent, item));
        Ok(Outcome::Launched(results.collect()))
    }

    /// Adds one task, in state STAGING, and returns its launch sequence.
    pub(super) fn launch_one(
        &mut self,
        framework: &FrameworkId,
        agent_id: &AgentId,
        item: &LaunchItem,
    ) -> Result<u64, Refusal> {
        if !self.tables.frameworks.contains_key(framework) {
            return Err(match self.tables.completed(framework) {
                Some(_) => Refusal::CompletedFramework,
                None => Refusal::UnknownFramework,
            });
        }
        let agent = self.agent(agent_id)?;
        if !self.tables.agent_connected(&agent) {
            return Err(Refusal::AgentNotConnected);
        }
        let mut record = TaskRecord {
            task: item.task.clone(),
            info: item.info.clone(),
            executor: item.executor.clone(),
            launch_seq: agent.launch_seq + 1,
            ..Default::default()
        };
        let key = record.key();
        if key.framework != *framework || key.task.as_str().is_empty() || record.agent_id() != *agent_id {
            return Err(Refusal::Malformed);
        }
        if self.tables.tasks.contains_key(&key) {
            return Err(Refusal::TaskExists);
        }
        let resources = record.task.as_ref().map(|task| task.resources.as_slice()).unwrap_or_default();
        if Resources::from_proto(resources).is_err() {
            return Err(Refusal::Malformed);
        }
        let charges = self.tables.charges.get(agent_id).cloned().unwrap_or_default();
        if !charges.leaves_room_for(&record, &amounts::unallocated(agent.total())) {
            return Err(Refusal::InsufficientResources);
        }
        if let Some(task) = &mut record.task {
            task.set_state(tepui_proto::v1::TaskState::TaskStaging);
            task.statuses.clear();
            task.status_update_state = None;
            task.status_update_uuid = None;
        }
        let launch_seq = record.launch_seq;
        let mut agent = AgentRecord::clone(&*agent);
        agent.launch_seq = launch_seq;
        // Not reported as a change of the agent: its own fields do not show.
        self.tables.agents.insert(agent_id.clone(), Arc::new(agent));
        self.put_task(&key, Some(record));
        Ok(launch_seq)
    }

    pub(super) fn mark_kill(&mut self, mark: &MarkKill) -> Result<Outcome, Refusal> {
        let key = TaskKey::new(mark.framework_id.as_str(), mark.task_id.as_str());
        let old = self.tables.tasks.get(&key).cloned().ok_or(Refusal::UnknownTask)?;
        let mut new = TaskRecord::clone(&*old);
        new.kill = Some(KillMarker { kill_policy: mark.kill_policy });
        self.put_task(&key, Some(new));
        Ok(Outcome::Done)
    }

    /// The task has ended and everybody knows: into history, or nowhere if its framework is gone.
    pub(super) fn finish(&mut self, key: &TaskKey, record: &TaskRecord) {
        if !self.tables.is_orphan(key) {
            self.remember(key, record.clone());
        }
        self.put_task(key, None);
    }

    /// Appends to the framework's history.
    pub(super) fn remember(&mut self, key: &TaskKey, mut record: TaskRecord) {
        record.info = None;
        record.executor = None;
        let mut history = self.tables.history.get(&key.framework).cloned().unwrap_or_default();
        history.push_back(Arc::new(record));
        while history.len() > MAX_HISTORY {
            history.pop_front();
        }
        self.tables.history.insert(key.framework.clone(), history);
    }

    pub(super) fn put_task(&mut self, key: &TaskKey, new: Option<TaskRecord>) {
        self.tables.put_task(key, new.map(Arc::new));
        self.changes.push(Change::Task(key.clone()));
    }
}

impl Registry {
    /// Puts a task or takes it away, with its charge and its place in the index.
    pub(in crate::registry) fn put_task(&mut self, key: &TaskKey, new: Option<Arc<TaskRecord>>) {
        let old = match &new {
            Some(record) => self.tasks.insert(key.clone(), record.clone()),
            None => self.tasks.remove(key),
        };
        self.move_charge(old.as_deref(), new.as_deref());
        let (before, after) = (old.map(|record| record.agent_id()), new.map(|record| record.agent_id()));
        if before == after {
            return;
        }
        if let Some(agent) = before
            && let Some(mut keys) = self.tasks_by_agent.get(&agent).cloned()
        {
            keys.remove(key);
            if keys.is_empty() {
                self.tasks_by_agent.remove(&agent);
            } else {
                self.tasks_by_agent.insert(agent, keys);
            }
        }
        if let Some(agent) = after {
            let mut keys = self.tasks_by_agent.get(&agent).cloned().unwrap_or_default();
            keys.insert(key.clone());
            self.tasks_by_agent.insert(agent, keys);
        }
    }

    fn move_charge(&mut self, old: Option<&TaskRecord>, new: Option<&TaskRecord>) {
        let old = old.filter(|record| is_charged(record));
        let new = new.filter(|record| is_charged(record));
        match (old, new) {
            (None, None) => {}
            (Some(old), Some(new)) if same_needs(old, new) => {}
            (old, new) => {
                if let Some(old) = old {
                    self.edit_charges(&old.agent_id(), |charges| charges.release(old));
                }
                if let Some(new) = new {
                    self.edit_charges(&new.agent_id(), |charges| charges.charge(new));
                }
            }
        }
    }

    fn edit_charges(&mut self, agent: &AgentId, edit: impl FnOnce(&mut crate::registry::AgentCharges)) {
        let mut charges = self.charges.get(agent).cloned().unwrap_or_default();
        edit(Arc::make_mut(&mut charges));
        if charges.is_empty() {
            self.charges.remove(agent);
        } else {
            self.charges.insert(agent.clone(), charges);
        }
    }
}

fn same_needs(old: &TaskRecord, new: &TaskRecord) -> bool {
    let resources = |record: &TaskRecord| record.task.as_ref().map(|task| task.resources.clone());
    old.agent_id() == new.agent_id() && old.executor == new.executor && resources(old) == resources(new)
}
