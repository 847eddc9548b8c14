//! Custom executors come with their first task and go when their agent says so; the only place that changes their table.
//!
//! ```text
//! launch of a task ─► known ─► confirmed by the agent ─► EXECUTOR_EXITED, or not named at a registration: gone
//!                        └─ its tasks ended before the agent took them: gone
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_proto::tepui::agent_link::AgentExecutor;
use tepui_proto::v1::{self, task_status::Reason};

use super::Step;
use crate::abridged::abridged;
use crate::ids::{self, AgentId, ExecutorId, ExecutorKey, FrameworkId};
use crate::registry::operation::{ObservedExecutorExit, ReregisterAgent};
use crate::registry::records::{ExecutorRecord, TaskRecord, without_data};
use crate::registry::tables::Registry;

impl Step<'_> {
    /// A task was launched, and may have brought its executor.
    pub(super) fn note_executor(&mut self, record: &TaskRecord) {
        let Some(key) = record.executor_key() else { return };
        if self.tables.executors.contains_key(&key) {
            return;
        }
        let executor = ExecutorRecord {
            agent_id: key.agent.as_str().to_owned(),
            framework_id: key.framework.as_str().to_owned(),
            info: record.executor.as_deref().cloned().map(abridged),
            launch_seq: record.launch_seq,
            confirmed: false,
        };
        self.tables.put_executor(&key, Some(Arc::new(executor)));
    }

    /// The agent reported on a task, so it has the executor; unless it says that it never got the task.
    pub(super) fn confirm_executor(&mut self, record: &TaskRecord, status: &v1::TaskStatus) {
        if status.reason.is_some() && status.reason() == Reason::Reconciliation {
            return;
        }
        let Some(key) = record.executor_key() else { return };
        if let Some(executor) = self.tables.executors.get_mut(&key)
            && !executor.confirmed
            && executor.launch_seq <= record.launch_seq
        {
            Arc::make_mut(executor).confirmed = true;
        }
    }

    /// A task has ended. If its agent never took it, nobody will ever speak of its executor.
    pub(super) fn release_unstarted(&mut self, record: &TaskRecord) {
        let Some(key) = record.executor_key() else { return };
        let Some(executor) = self.tables.executors.get(&key) else { return };
        let accepted = self.tables.agents.get(&key.agent).map_or(u64::MAX, |agent| agent.accepted_launch_seq);
        if !executor.confirmed && executor.launch_seq > accepted && !self.tables.executor_is_used(&key) {
            self.tables.put_executor(&key, None);
        }
    }

    pub(super) fn observe_executor_exit(&mut self, observed: &ObservedExecutorExit) {
        let key = ExecutorKey {
            agent: AgentId::from(observed.agent_id.as_str()),
            framework: FrameworkId::from(observed.framework_id.as_str()),
            executor: ExecutorId::from(observed.executor_id.as_str()),
        };
        self.executor_gone(&key, observed.accepted_launch_seq);
    }

    /// Launches that the agent did not have then will bring it anew.
    fn executor_gone(&mut self, key: &ExecutorKey, accepted: u64) {
        let Some(executor) = self.tables.executors.get(key) else { return };
        let tasks = self.tables.tasks_between(&key.framework, &key.agent);
        let next = tasks.filter(|task| task.uses(key) && task.launch_seq > accepted);
        match next.map(|task| task.launch_seq).min() {
            None => self.tables.put_executor(key, None),
            Some(launch_seq) => {
                let again =
                    ExecutorRecord { launch_seq, confirmed: false, ..ExecutorRecord::clone(executor) };
                self.tables.put_executor(key, Some(Arc::new(again)));
            }
        }
    }

    /// An agent is back: its word about its executors wins.
    pub(super) fn take_executors(&mut self, id: &AgentId, word: &ReregisterAgent) {
        let mut named: BTreeSet<ExecutorKey> =
            word.executors.iter().filter_map(|told| key_of(id, told)).collect();
        for of in &word.named_executors {
            named.extend(of.names.iter().map(|name| ExecutorKey {
                agent: id.clone(),
                framework: FrameworkId::from(of.framework_id.as_str()),
                executor: ExecutorId::from(name.as_str()),
            }));
        }
        let known: Vec<ExecutorKey> = self.tables.executors_on(id).map(|(key, _)| key.clone()).collect();
        for key in known.iter().filter(|key| !named.contains(*key)) {
            self.executor_gone(key, word.accepted_launch_seq);
        }
        self.put_executors(id, &word.executors);
    }

    /// Takes the agent's word for each executor that it names.
    pub(super) fn put_executors(&mut self, id: &AgentId, executors: &[AgentExecutor]) {
        for told in executors {
            let Some(key) = key_of(id, told) else { continue };
            let old = self.tables.executors.get(&key);
            let executor = ExecutorRecord {
                agent_id: key.agent.as_str().to_owned(),
                framework_id: key.framework.as_str().to_owned(),
                info: told.executor.as_ref().map(without_data),
                launch_seq: old.map_or(0, |old| old.launch_seq),
                confirmed: true,
            };
            self.tables.put_executor(&key, Some(Arc::new(executor)));
        }
    }

    /// The agent is given up or gone.
    pub(super) fn forget_executors(&mut self, id: &AgentId) {
        let known: Vec<ExecutorKey> = self.tables.executors_on(id).map(|(key, _)| key.clone()).collect();
        for key in known {
            self.tables.put_executor(&key, None);
        }
    }
}

impl Registry {
    /// Puts an executor or takes it away, with its charge.
    pub(in crate::registry) fn put_executor(&mut self, key: &ExecutorKey, new: Option<Arc<ExecutorRecord>>) {
        let old = match &new {
            Some(record) => self.executors.insert(key.clone(), record.clone()),
            None => self.executors.remove(key),
        };
        if let Some(old) = old {
            self.edit_charges(&key.agent, |charges| charges.release_executor(&old));
        }
        if let Some(new) = new {
            self.edit_charges(&key.agent, |charges| charges.charge_executor(&new));
        }
    }
}

fn key_of(agent: &AgentId, told: &AgentExecutor) -> Option<ExecutorKey> {
    let framework: FrameworkId = ids::of(told.framework_id.as_ref());
    let executor: ExecutorId = ids::of(told.executor.as_ref().and_then(|info| info.executor_id.as_ref()));
    let named = !framework.as_str().is_empty() && !executor.as_str().is_empty();
    named.then(|| ExecutorKey { agent: agent.clone(), framework, executor })
}
