//! Agents come, come back, go silent and leave.

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_proto::tepui::agent_link::AgentTask;
use tepui_proto::v1::{self, TaskState, task_status::Reason};

use super::Step;
use super::conversions::AgentResources;
use super::fleet::Ending;
use super::observe::write_status;
use crate::ids::{self, AgentId, DRIVERS_FRAMEWORK, FrameworkId, TaskId, TaskKey};
use crate::registry::operation::{
    AdmitAgent, DisconnectAgent, MarkUnreachable, RemoveAgent, ReregisterAgent, ReregisterMore,
};
use crate::registry::outcome::{Change, Outcome, Refusal, Reregistered};
use crate::registry::records::{AgentRecord, TaskRecord, without_data};
use crate::status::{Verdict, task_view, time_info};

impl Step<'_> {
    pub(super) fn admit_agent(&mut self, admit: &AdmitAgent) -> Result<Outcome, Refusal> {
        let id: AgentId = ids::of(admit.info.as_ref().and_then(|info| info.id.as_ref()));
        if id.as_str().is_empty() {
            return Err(Refusal::Malformed);
        }
        if self.tables.agents.contains_key(&id) {
            return Err(Refusal::AgentExists);
        }
        if self.tables.is_gone(&id) {
            return Err(Refusal::AgentRemoved);
        }
        self.refuse_down(admit.info.as_ref(), &admit.ip)?;
        self.put_agent(
            id,
            AgentRecord {
                info: admit.info.clone(),
                version: admit.version.clone(),
                boot_id: admit.boot_id.clone(),
                ip: admit.ip.clone(),
                connected_epoch: self.tables.epoch,
                registered_wall_ms: self.tables.wall_ms,
                ..Default::default()
            },
        );
        Ok(Outcome::Done)
    }

    pub(super) fn reregister_agent(&mut self, word: &ReregisterAgent) -> Result<Outcome, Refusal> {
        let id: AgentId = ids::of(word.info.as_ref().and_then(|info| info.id.as_ref()));
        if id.as_str().is_empty() {
            return Err(Refusal::Malformed);
        }
        if self.tables.is_gone(&id) && !mutant!("gone-agent-taken-back") {
            return Err(Refusal::AgentRemoved);
        }
        if !mutant!("machine-down-and-agent-taken") {
            self.refuse_down(word.info.as_ref(), &word.ip)?;
        }
        let before = self.tables.agents.get(&id).cloned();
        let known = before.is_some();
        let old = before.clone().unwrap_or_default();
        let wall_ms = self.tables.wall_ms;
        let resources = AgentResources {
            version: word.resources_version,
            resources: &word.resources,
            orphaned: &word.orphaned_volumes,
        };
        let mut record = AgentRecord {
            info: word.info.clone(),
            version: word.version.clone(),
            boot_id: word.boot_id.clone(),
            ip: word.ip.clone(),
            connected_epoch: self.tables.epoch,
            disconnected_ms: None,
            unreachable_ms: None,
            unreachable_wall_ms: 0,
            // An agent that this cluster forgot must not see a number twice.
            launch_seq: old.launch_seq.max(word.accepted_launch_seq),
            accepted_launch_seq: old.accepted_launch_seq.max(word.accepted_launch_seq),
            registered_wall_ms: if known { old.registered_wall_ms } else { wall_ms },
            reregistered_wall_ms: wall_ms,
            drain: old.drain.clone(),
            deactivated: old.deactivated,
            ..Default::default()
        };
        self.settle_resources(before.as_deref(), &mut record, &resources);
        self.put_agent(id.clone(), record);
        for framework in &word.frameworks {
            self.adopt_framework(framework, word.framework_grace_ms);
        }
        self.take_executors(&id, word);
        Ok(Outcome::Reregistered(self.compare_tasks(&id, word)))
    }

    /// The rest of a long word. It counts only right behind its beginning: an agent that is not connected said nothing.
    pub(super) fn reregister_more(&mut self, more: &ReregisterMore) -> Result<Outcome, Refusal> {
        let id = AgentId::from(more.agent_id.as_str());
        let agent = self.agent(&id)?;
        if !self.tables.agent_connected(&agent) {
            return Err(Refusal::AgentNotConnected);
        }
        for framework in &more.frameworks {
            self.adopt_framework(framework, more.framework_grace_ms);
        }
        self.put_executors(&id, &more.executors);
        let mut result = Reregistered::default();
        self.take_words(&id, &more.tasks, &mut result);
        Ok(Outcome::Reregistered(result))
    }

    /// Takes the agent's word for each task that it names, and finds those that it does not name.
    fn compare_tasks(&mut self, id: &AgentId, word: &ReregisterAgent) -> Reregistered {
        let mut result = Reregistered::default();
        let mut named: BTreeSet<TaskKey> = word.tasks.iter().filter_map(key_of).collect();
        for of in &word.named_tasks {
            named.extend(of.names.iter().map(|name| TaskKey::new(of.framework_id.as_str(), name.as_str())));
        }
        self.take_words(id, &word.tasks, &mut result);
        let held = self.tables.tasks_by_agent.get(id).cloned().unwrap_or_default();
        for key in held.iter().filter(|key| !named.contains(*key)) {
            let Some(record) = self.tables.tasks.get(key).cloned() else { continue };
            let told_of_its_end = record.task.as_ref().is_some_and(|task| {
                task.status_update_state.is_some() && task.status_update_state().is_terminal()
            });
            if told_of_its_end && record.unreachable_wall_ms.is_none() {
                // Its framework knows, and the agent may forget only after an acknowledgement.
                self.finish(key, &record);
            } else {
                if record.info.is_some() && record.launch_seq <= word.accepted_launch_seq {
                    let mut without = TaskRecord::clone(&record);
                    without.info = None;
                    self.put_task(key, Some(without));
                }
                result.missing.push(key.clone());
            }
        }
        result
    }

    fn take_words(&mut self, id: &AgentId, tasks: &[AgentTask], result: &mut Reregistered) {
        for told in tasks {
            let Some(key) = key_of(told) else { continue };
            match self.tables.tasks.get(&key).cloned() {
                Some(record) if record.agent_id() == *id => {
                    if record.unreachable_wall_ms.is_some() {
                        result.returned.push(key.clone());
                    }
                    self.take_word(&key, &record, told);
                }
                Some(_) => result.foreign.push(key),
                None => {
                    self.adopt_task(id, key.clone(), told);
                    let owner = self.tables.frameworks.get(&key.framework);
                    if self.tables.tasks.contains_key(&key) && owner.is_some_and(|one| !one.recovered) {
                        // It was lost or unreachable for so long that it was forgotten.
                        result.returned.push(key);
                    }
                }
            }
        }
    }

    fn take_word(&mut self, key: &TaskKey, record: &TaskRecord, told: &AgentTask) {
        let mut new = record.clone();
        // That it is named at all means that the agent has it.
        new.info = None;
        new.unreachable_wall_ms = None;
        let state = told.state.and_then(|state| TaskState::try_from(state).ok());
        let drained = self.tables.agents.get(&record.agent_id()).cloned();
        let state = state.map(|state| match &drained {
            Some(agent) => self.tables.drained_state(agent, &key.framework, state),
            None => state,
        });
        if let Some(task) = &mut new.task {
            task.state = Some(state.unwrap_or_else(|| task.state()) as i32);
            if record.unreachable_wall_ms.is_some() {
                // The framework was told that it is unreachable or lost; what counts again is what it was told before.
                task.status_update_state = told.latest_status.as_ref().and_then(|status| status.state);
            }
        }
        // With nothing left to acknowledge the framework knows the latest, whatever leaders did not live to commit. An end is
        // never settled like this: its agent forgets the task together with the acknowledgement.
        let settled = told.latest_status.as_ref().filter(|status| {
            told.unacknowledged.is_none() && status.uuid.is_some() && !status.state().is_terminal()
        });
        if let Some(status) = settled
            && new.task.as_ref().is_some_and(|task| task.status_update_uuid != status.uuid)
        {
            let state = new.state();
            write_status(&mut new, status, state);
        }
        self.put_task(key, Some(new));
    }

    fn adopt_task(&mut self, id: &AgentId, key: TaskKey, told: &AgentTask) {
        let Some(info) = &told.task else { return };
        let state = told.state.and_then(|state| TaskState::try_from(state).ok());
        let orphan = !self.tables.frameworks.contains_key(&key.framework);
        if orphan && state.is_some_and(TaskState::is_terminal) {
            return;
        }
        let mut task = task_view(info, &key.framework.to_proto());
        task.agent_id = Some(id.to_proto());
        task.state = Some(state.unwrap_or(TaskState::TaskStaging) as i32);
        let mut last_status = told.latest_status.clone();
        if let Some(status) = &mut last_status {
            status.data = None;
            task.status_update_state = status.state;
            task.statuses = vec![status.clone()];
        }
        let record = TaskRecord {
            task: Some(task),
            launch_seq: told.launch_seq.unwrap_or_default(),
            executor: info.executor.as_ref().map(without_data).map(Box::new),
            last_status,
            ..Default::default()
        };
        self.put_task(&key, Some(record));
    }

    pub(super) fn disconnect_agent(&mut self, disconnect: &DisconnectAgent) -> Result<Outcome, Refusal> {
        let id = AgentId::from(disconnect.agent_id.as_str());
        let mut record = AgentRecord::clone(&*self.agent(&id)?);
        record.connected_epoch = 0;
        if record.disconnected_ms.is_none() {
            record.disconnected_ms = Some(self.tables.cluster_ms);
        }
        self.put_agent(id.clone(), record);
        Ok(Outcome::Lost(self.end_unchecked_tasks_on(&id)))
    }

    pub(super) fn mark_unreachable(&mut self, mark: &MarkUnreachable) -> Result<Outcome, Refusal> {
        let id = AgentId::from(mark.agent_id.as_str());
        let mut record = AgentRecord::clone(&*self.agent(&id)?);
        if record.unreachable_ms.is_some() {
            return Ok(Outcome::Lost(Vec::new()));
        }
        let mut lost = Vec::new();
        let mut frameworks = BTreeSet::new();
        let (cluster_ms, wall_ms) = (self.tables.cluster_ms, self.tables.wall_ms);
        record.connected_epoch = 0;
        record.disconnected_ms.get_or_insert(cluster_ms);
        record.unreachable_ms = Some(cluster_ms);
        record.unreachable_wall_ms = wall_ms;
        self.put_agent(id.clone(), record);
        self.forget_executors(&id);
        for key in self.tables.tasks_on(&id) {
            let Some(old) = self.tables.tasks.get(&key).cloned() else { continue };
            let Some(aware) = self.partition_aware(&key.framework) else {
                self.put_task(&key, None);
                continue;
            };
            // One that has ended is told of as well, unless its end was: the update that says so may never come.
            let told = old.task.as_ref().is_some_and(|task| {
                task.status_update_state.is_some() && task.status_update_state().is_terminal()
            });
            if (old.state().is_terminal() && told) || old.unreachable_wall_ms.is_some() {
                continue;
            }
            let mut new = TaskRecord::clone(&old);
            self.conclude(
                &mut new,
                Verdict {
                    state: TaskState::TaskUnreachable.as_told(aware),
                    reason: Reason::AgentRemoved,
                    message: "agent is unreachable",
                    wall_ms,
                },
            );
            new.unreachable_wall_ms = Some(wall_ms);
            if let Some(status) = &mut new.last_status {
                status.unreachable_time = Some(time_info(wall_ms));
                lost.push((key.framework.clone(), status.clone()));
            }
            self.put_task(&key, Some(new));
            frameworks.insert(key.framework);
        }
        self.bound_unreachable(frameworks);
        Ok(Outcome::Lost(lost))
    }

    pub(super) fn remove_agent(&mut self, remove: &RemoveAgent) -> Result<Outcome, Refusal> {
        let id = AgentId::from(remove.agent_id.as_str());
        self.agent(&id)?;
        let lost = self.end_tasks_on(
            &id,
            Ending {
                states: (TaskState::TaskGone, TaskState::TaskLost),
                reason: Reason::AgentRemoved,
                message: "agent is gone",
            },
        );
        self.drop_agent(&id);
        self.remember_gone(&id);
        Ok(Outcome::Lost(lost))
    }

    /// Agents on a machine that is down are refused.
    pub(super) fn refuse_down(&self, info: Option<&v1::AgentInfo>, ip: &str) -> Result<(), Refusal> {
        let machine = self.tables.machine_at(info.map_or("", |info| info.hostname()), ip);
        if machine.is_some_and(|machine| machine.down) { Err(Refusal::MachineDown) } else { Ok(()) }
    }

    pub(super) fn agent(&self, id: &AgentId) -> Result<Arc<AgentRecord>, Refusal> {
        self.tables.agents.get(id).cloned().ok_or(Refusal::UnknownAgent)
    }

    pub(super) fn put_agent(&mut self, id: AgentId, record: AgentRecord) {
        self.tables.put_agent(&id, Some(Arc::new(record)));
        self.changes.push(Change::Agent(id));
    }

    /// Returns whether the framework knows the finer states of loss; nothing if there is no such framework any more.
    pub(super) fn partition_aware(&self, id: &FrameworkId) -> Option<bool> {
        let record = self.tables.frameworks.get(id)?;
        Some(id.as_str() == DRIVERS_FRAMEWORK || record.partition_aware())
    }
}

fn key_of(told: &AgentTask) -> Option<TaskKey> {
    let framework: FrameworkId = ids::of(told.framework_id.as_ref());
    let task: TaskId = ids::of(told.task.as_ref().and_then(|task: &v1::TaskInfo| task.task_id.as_ref()));
    (!framework.as_str().is_empty() && !task.as_str().is_empty()).then_some(TaskKey { framework, task })
}
