//! KILL: now, and again whenever the agent comes back.

use tepui_proto::v1::{self, KillPolicy, TaskState, scheduler::call, task_status::Reason};

use super::core::Master;
use super::pipeline::Pending;
use super::reconcile::UNANSWERED;
use super::registration::kill_event;
use crate::ids::{self, AgentId, FrameworkId, TaskKey};
use crate::registry::{MarkKill, Operation};
use crate::status::{Verdict, master_status};

impl Master {
    pub(super) fn on_kill(&mut self, id: &FrameworkId, kill: call::Kill) {
        let key = TaskKey { framework: id.clone(), task: ids::of(kill.task_id.as_ref()) };
        let asked: AgentId = ids::of(kill.agent_id.as_ref());
        let agent = match (self.pipeline.task(&key), self.registry.tasks.get(&key)) {
            (Some((launch, _)), _) => launch.agent.clone(),
            (None, Some(record)) => record.agent_id(),
            (None, None) => {
                let agent = Some(asked).filter(|agent| !agent.as_str().is_empty());
                if !self.reconcile_one(id, &key, agent) {
                    self.warn(format!("'kill.task_id' names '{}', of which {UNANSWERED}", key.task));
                }
                return;
            }
        };
        if asked.as_str().is_empty() || asked == agent {
            self.kill_task(&key, kill.kill_policy);
            if self.registry.tasks.get(&key).is_some_and(|record| record.unreachable_wall_ms.is_some()) {
                // Nobody can say more for now; when its agent is back, it is told.
                self.reconcile_one(id, &key, Some(agent));
            }
        } else {
            let task = &key.task;
            self.warn(format!(
                "'kill.agent_id' is '{asked}' but task '{task}' is on agent '{agent}': ignored"
            ));
        }
    }

    /// Commits the wish and tells the agent, if it is there. A task that is not committed yet will never be sent.
    pub(super) fn kill_task(&mut self, key: &TaskKey, kill_policy: Option<KillPolicy>) {
        let mark = MarkKill {
            framework_id: key.framework.as_str().to_owned(),
            task_id: key.task.as_str().to_owned(),
            kill_policy,
        };
        if self.pipeline.holds_task(key) {
            // Behind the launch, so that a new leader will not deliver it either.
            if self.pipeline.mark_killed(key) {
                self.propose(Operation::MarkKill(mark), Pending::Kill);
            }
            return;
        }
        let Some(record) = self.registry.tasks.get(key).cloned() else { return };
        let known = record.kill.as_ref().map(|marker| &marker.kill_policy);
        if known != Some(&kill_policy) && !record.state().is_terminal() {
            self.propose(Operation::MarkKill(mark), Pending::Kill);
        }
        self.send_to_agent(&record.agent_id(), kill_event(key, kill_policy));
    }

    /// A task was killed before it was sent: it ends here and now, and was never anywhere.
    pub(super) fn never_sent(&mut self, key: &TaskKey, agent: AgentId) {
        let status = self.verdict(
            key,
            Some(agent.to_proto()),
            TaskState::TaskKilled,
            Reason::TaskKilledDuringLaunch,
            "killed before it was sent to its agent",
        );
        self.report_status(&agent, key, status.clone(), TaskState::TaskKilled);
        self.tell(&key.framework.clone(), status, TaskState::TaskKilled);
    }

    /// Returns a status that this master makes itself.
    pub(super) fn verdict(
        &self,
        key: &TaskKey,
        agent: Option<v1::AgentId>,
        state: TaskState,
        reason: Reason,
        message: &str,
    ) -> v1::TaskStatus {
        let verdict = Verdict { state, reason, message, wall_ms: self.now.wall_ms };
        let mut status = master_status(Some(key.task.to_proto()), agent, verdict);
        status.executor_id = self.executor_of(key);
        status
    }

    /// A verdict on a task that was not launched: it names its own executor, since there may be another task of the same id.
    pub(super) fn verdict_on(
        &self,
        key: &TaskKey,
        task: &v1::TaskInfo,
        agent: Option<v1::AgentId>,
        state: TaskState,
        reason: Reason,
        message: &str,
    ) -> v1::TaskStatus {
        let executor_id = task.executor.as_ref().and_then(|executor| executor.executor_id.clone());
        v1::TaskStatus { executor_id, ..self.verdict(key, agent, state, reason, message) }
    }

    /// The executor that the task names, if the task is known and names one.
    pub(super) fn executor_of(&self, key: &TaskKey) -> Option<v1::ExecutorId> {
        let known = self.registry.tasks.get(key).and_then(|record| record.task.as_ref()?.executor_id.clone());
        let pending = || self.pipeline.task(key)?.1.info.executor.as_ref()?.executor_id.clone();
        known.or_else(pending)
    }
}
