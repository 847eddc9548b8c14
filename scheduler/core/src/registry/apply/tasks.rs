//! Tasks are launched, marked and put away; the only place that changes the table of tasks and its indexes.

use std::sync::Arc;

use tepui_proto::resources::Resources;
use tepui_proto::v1::TaskState;

use super::{MAX_HISTORY, Step};
use crate::ids::{self, AgentId, FrameworkId, TaskId, TaskKey};
use crate::registry::amounts;
use crate::registry::charges::{AgentCharges, is_charged};
use crate::registry::operation::{Launch, LaunchItem, MarkKill};
use crate::registry::outcome::{Change, Outcome, Refusal};
use crate::registry::records::{KillMarker, TaskRecord};
use crate::registry::tables::Registry;

impl Step<'_> {
    pub(super) fn launch(&mut self, launch: &Launch) -> Result<Outcome, Refusal> {
        let framework = FrameworkId::from(launch.framework_id.as_str());
        let agent = AgentId::from(launch.agent_id.as_str());
        let mut results = Vec::new();
        let of_same_group = |one: &LaunchItem, next: &LaunchItem| one.group != 0 && one.group == next.group;
        for group in launch.tasks.chunk_by(of_same_group) {
            match group {
                [item] if item.group == 0 => results.push(self.launch_one(&framework, &agent, item)),
                group => results.extend(self.launch_group(&framework, &agent, group)),
            }
        }
        Ok(Outcome::Launched(results))
    }

    /// Adds all tasks of a group, with launch sequences that follow each other, or none.
    fn launch_group(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        group: &[LaunchItem],
    ) -> Vec<Result<u64, Refusal>> {
        let (before, changes) = (self.tables.clone(), self.changes.len());
        let mut launched = Vec::new();
        for item in group {
            match self.launch_one(framework, agent, item) {
                Ok(launch_seq) => launched.push((item, launch_seq)),
                Err(refusal) => {
                    *self.tables = before;
                    self.changes.truncate(changes);
                    return vec![Err(refusal); group.len()];
                }
            }
        }
        let first = launched.first().map_or(0, |(_, launch_seq)| *launch_seq);
        for (item, _) in &launched {
            let task: TaskId = ids::of(item.task.as_ref().and_then(|task| task.task_id.as_ref()));
            let key = TaskKey { framework: framework.clone(), task };
            if let Some(record) = self.tables.tasks.get(&key).cloned() {
                self.put_task(&key, Some(TaskRecord { group_seq: first, ..TaskRecord::clone(&record) }));
            }
        }
        launched.into_iter().map(|(_, launch_seq)| Ok(launch_seq)).collect()
    }

    /// Adds one task, in state STAGING, and returns its launch sequence.
    pub(super) fn launch_one(
        &mut self,
        framework: &FrameworkId,
        agent_id: &AgentId,
        item: &LaunchItem,
    ) -> Result<u64, Refusal> {
        let mut record = TaskRecord {
            task: item.task.clone(),
            info: item.info.clone().map(Box::new),
            executor: item.executor.clone().map(Box::new),
            launch_seq: self.check_launch(framework, agent_id, item)?,
            ..Default::default()
        };
        if let Some(task) = &mut record.task {
            task.set_state(TaskState::TaskStaging);
            task.statuses.clear();
            task.status_update_state = None;
            task.status_update_uuid = None;
        }
        let key = record.key();
        if self.tables.tasks.contains_key(&key) {
            return Err(Refusal::TaskExists);
        }
        let agent = self.tables.agents.get_mut(agent_id).ok_or(Refusal::UnknownAgent)?;
        let total = amounts::unallocated(agent.total());
        let room = match self.tables.charges.get(agent_id) {
            Some(charges) => charges.leaves_room_for(&record, &total),
            None => AgentCharges::default().leaves_room_for(&record, &total),
        };
        if !room {
            return Err(Refusal::InsufficientResources);
        }
        // Not reported as a change of the agent: its own fields do not show.
        Arc::make_mut(agent).launch_seq = record.launch_seq;
        let launch_seq = record.launch_seq;
        self.note_executor(&record);
        self.put_task(&key, Some(record));
        Ok(launch_seq)
    }

    /// Checks everything but room and name; returns the number that the launch would get.
    fn check_launch(
        &self,
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
        if agent.draining() {
            return Err(Refusal::AgentDraining);
        }
        let task = item.task.as_ref().ok_or(Refusal::Malformed)?;
        let named = task.task_id.as_ref().is_some_and(|id| !id.value().is_empty());
        let ours = task.framework_id.as_ref().is_some_and(|id| id.value() == framework.as_str());
        let here = task.agent_id.as_ref().is_some_and(|id| id.value() == agent_id.as_str());
        if !named || !ours || !here || Resources::from_proto(&task.resources).is_err() {
            return Err(Refusal::Malformed);
        }
        Ok(agent.launch_seq + 1)
    }

    pub(super) fn mark_kill(&mut self, mark: &MarkKill) -> Result<Outcome, Refusal> {
        let key = TaskKey::new(mark.framework_id.as_str(), mark.task_id.as_str());
        let old = self.tables.tasks.get(&key).cloned().ok_or(Refusal::UnknownTask)?;
        let mut new = TaskRecord::clone(&*old);
        if !mutant!("kill-not-remembered") {
            new.kill = Some(KillMarker { kill_policy: mark.kill_policy });
        }
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
        let history = self.tables.history.entry(key.framework.clone()).or_default();
        history.push_back(Arc::new(record));
        while history.len() > MAX_HISTORY {
            history.pop_front();
        }
    }

    pub(super) fn put_task(&mut self, key: &TaskKey, new: Option<TaskRecord>) {
        let ends = new.as_ref().is_none_or(|record| !is_charged(record));
        let old = self.tables.tasks.get(key).cloned().filter(|_| ends);
        self.tables.put_task(key, new.map(Arc::new));
        if let Some(old) = old {
            self.release_unstarted(&old);
        }
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
        if let Some(entry) = old.as_deref().and_then(|record| untaken(key, record)) {
            self.untaken.remove(&entry);
        }
        if let Some(entry) = new.as_deref().and_then(|record| untaken(key, record)) {
            self.untaken.insert(entry);
        }
        if let Some(entry) = old.as_deref().and_then(|record| missed(key, record)) {
            self.unreachable.remove(&entry);
        }
        if let Some(entry) = new.as_deref().and_then(|record| missed(key, record)) {
            self.unreachable.insert(entry);
        }
        let (before, after) = (old.map(|record| record.agent_id()), new.map(|record| record.agent_id()));
        if before == after {
            return;
        }
        if let Some(agent) = before
            && let Some(keys) = self.tasks_by_agent.get_mut(&agent)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.tasks_by_agent.remove(&agent);
            }
        }
        if let Some(agent) = after {
            self.tasks_by_agent.entry(agent).or_default().insert(key.clone());
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
                    self.release_charge(old);
                }
                if let Some(new) = new {
                    self.edit_charges(&new.agent_id(), |charges| charges.charge(new));
                }
            }
        }
    }

    fn release_charge(&mut self, old: &TaskRecord) {
        let agent = old.agent_id();
        if !self.charges.get(&agent).is_some_and(|charges| charges.overlaps()) {
            self.edit_charges(&agent, |charges| charges.release(old));
            return;
        }
        let mut left = AgentCharges::default();
        let others = self.tasks_by_agent.get(&agent).into_iter().flatten();
        for other in others.filter(|key| **key != old.key()).filter_map(|key| self.tasks.get(key)) {
            if is_charged(other) {
                left.charge(other);
            }
        }
        for (_, record) in self.executors_on(&agent) {
            left.charge_executor(record);
        }
        if left.is_empty() {
            self.charges.remove(&agent);
        } else {
            self.charges.insert(agent, Arc::new(left));
        }
    }

    pub(in crate::registry) fn edit_charges(
        &mut self,
        agent: &AgentId,
        edit: impl FnOnce(&mut AgentCharges),
    ) {
        let charges = Arc::make_mut(self.charges.entry(agent.clone()).or_default());
        edit(charges);
        if charges.is_empty() {
            self.charges.remove(agent);
        }
    }
}

/// The place of a task in the index of launches that nobody has confirmed, if it belongs there.
pub(in crate::registry) fn untaken(key: &TaskKey, record: &TaskRecord) -> Option<(AgentId, u64, TaskKey)> {
    record.info.is_some().then(|| (record.agent_id(), record.launch_seq, key.clone()))
}

/// The place of a task in the index of unreachable ones, if it belongs there.
pub(in crate::registry) fn missed(key: &TaskKey, record: &TaskRecord) -> Option<(FrameworkId, u64, TaskKey)> {
    Some((key.framework.clone(), record.unreachable_wall_ms?, key.clone()))
}

fn same_needs(old: &TaskRecord, new: &TaskRecord) -> bool {
    let resources = |record: &TaskRecord| record.task.as_ref().map(|task| task.resources.clone());
    old.agent_id() == new.agent_id() && old.executor == new.executor && resources(old) == resources(new)
}
