//! RECONCILE: what a framework was last told about its tasks, or what can be said about those that nobody knows.

use tepui_proto::v1::scheduler::call;
use tepui_proto::v1::{self, TaskState, task_status::Reason};

use super::core::Master;
use crate::ids::{self, AgentId, FrameworkId, TaskKey};
use crate::registry::TaskRecord;
use crate::status::{seconds, time_info};

/// Why a task that is asked for is not answered.
pub(super) const UNANSWERED: &str = "only an agent that is not back yet can know: no answer, ask again";

impl Master {
    pub(super) fn on_reconcile(&mut self, id: &FrameworkId, reconcile: call::Reconcile) {
        if !reconcile.tasks.is_empty() {
            for task in &reconcile.tasks {
                let key = TaskKey { framework: id.clone(), task: ids::of(task.task_id.as_ref()) };
                let agent = task.agent_id.as_ref().map(AgentId::from);
                if !self.reconcile_one(id, &key, agent.filter(|agent| !agent.as_str().is_empty())) {
                    self.warn(format!("'reconcile.tasks' names '{}', of which {UNANSWERED}", key.task));
                }
            }
            return;
        }
        for key in self.pipeline.tasks_of(id) {
            self.answer_pending(id, &key);
        }
        for key in self.registry.tasks_of(id) {
            if let Some(record) = self.registry.tasks.get(&key).cloned()
                && record.unreachable_wall_ms.is_none()
            {
                self.answer_known(id, &key, &record);
            }
        }
    }

    /// Answers for one task; says nothing where only an agent that is not back yet can know, and returns false then.
    pub(super) fn reconcile_one(&mut self, id: &FrameworkId, key: &TaskKey, agent: Option<AgentId>) -> bool {
        if self.pipeline.holds_task(key) {
            self.answer_pending(id, key);
            return true;
        }
        if let Some(record) = self.registry.tasks.get(key).cloned() {
            return self.answer_known(id, key, &record);
        }
        let Some(state) = self.state_of_unknown(agent.as_ref()) else { return false };
        let aware = self.registry.frameworks.get(id).is_some_and(|record| record.partition_aware());
        let mut status = self.verdict(
            key,
            agent.as_ref().map(AgentId::to_proto),
            state.as_told(aware),
            Reason::Reconciliation,
            "reconciliation: the task is unknown",
        );
        if state == TaskState::TaskUnreachable
            && let Some(record) = agent.and_then(|agent| self.registry.agents.get(&agent))
        {
            status.unreachable_time = Some(time_info(record.unreachable_wall_ms));
        }
        let state = status.state();
        self.tell(id, status, state);
        true
    }

    fn state_of_unknown(&self, agent: Option<&AgentId>) -> Option<TaskState> {
        let Some(id) = agent else {
            let mut awaited = self.timers.agents_awaited().filter_map(|id| self.registry.agents.get(id));
            let waiting = awaited.any(|record| self.registry.agent_awaited(record));
            return (!waiting && !self.arms_deadlines()).then_some(TaskState::TaskUnknown);
        };
        if self.registry.is_gone(id) {
            return Some(TaskState::TaskGoneByOperator);
        }
        match self.registry.agents.get(id) {
            None => Some(TaskState::TaskUnknown),
            Some(record) if record.unreachable_ms.is_some() => Some(TaskState::TaskUnreachable),
            Some(record) if self.registry.agent_awaited(record) => None,
            Some(_) => Some(TaskState::TaskGone),
        }
    }

    fn answer_pending(&mut self, id: &FrameworkId, key: &TaskKey) {
        let Some((launch, _)) = self.pipeline.task(key) else { return };
        let status = self.verdict(
            key,
            Some(launch.agent.to_proto()),
            TaskState::TaskStaging,
            Reason::Reconciliation,
            "reconciliation: the latest state of the task",
        );
        self.tell(id, status, TaskState::TaskStaging);
    }

    fn answer_known(&mut self, id: &FrameworkId, key: &TaskKey, record: &TaskRecord) -> bool {
        let state = self.told_state(key).unwrap_or(TaskState::TaskStaging);
        // The last leader may have forwarded updates that it did not live to commit: whether this task still stages, only its
        // agent can say, and it is not back yet.
        let agent = self.registry.agents.get(&record.agent_id());
        if state == TaskState::TaskStaging && agent.is_some_and(|agent| self.registry.agent_awaited(agent)) {
            return false;
        }
        let seen = self.reports.seen(key);
        let last = seen.map(|seen| &seen.status).or(record.last_status.as_ref());
        let mut status = last.cloned().unwrap_or_default();
        status.task_id = Some(key.task.to_proto());
        status.agent_id = Some(record.agent_id().to_proto());
        status.executor_id = status.executor_id.or_else(|| self.executor_of(key));
        status.state = Some(state as i32);
        status.source = Some(v1::task_status::Source::Master as i32);
        status.reason = Some(Reason::Reconciliation as i32);
        status.message = Some("reconciliation: the latest state of the task".to_owned());
        status.timestamp = Some(seconds(self.now.wall_ms));
        status.uuid = None;
        self.tell(id, status, state);
        true
    }

    /// Returns the state that the framework was told last.
    pub(super) fn told_state(&self, key: &TaskKey) -> Option<TaskState> {
        if let Some(seen) = self.reports.seen(key) {
            return Some(seen.status.state());
        }
        let task = self.registry.tasks.get(key)?.task.as_ref()?;
        task.status_update_state.and_then(|state| TaskState::try_from(state).ok())
    }
}
