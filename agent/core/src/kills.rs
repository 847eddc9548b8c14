//! How tasks are ended: KILL_TASK, SHUTDOWN_EXECUTOR, SHUTDOWN_FRAMEWORK, SHUTDOWN, and a task's own time limit. Owns the
//! grace; the supervising process does the rest. A nearer end wins over a later one.

use tepui_proto::tepui::agent_link::event;
use tepui_proto::v1;
use v1::task_status::Reason;

use crate::agent::{Agent, Awaiting, Turn};
use crate::checkpoint::Kind;
use crate::executors::Cause;
use crate::status::News;
use crate::task::{Kill, KillReason, Phase, grace_ms};
use crate::timers::Timer;
use crate::{Effect, ExecutorKey, Note, TaskKey};

/// The agent was told to stop everything and leave.
pub(crate) struct Leaving {
    message: String,
    pub(crate) done: bool,
}

impl Agent {
    pub(crate) fn on_kill_task(&mut self, turn: &mut Turn<'_>, kill: event::KillTask) {
        let Some(key) = TaskKey::from_ids(kill.framework_id.as_ref(), kill.task_id.as_ref()) else {
            turn.odd("kill without a framework id or a task id");
            return;
        };
        let asked_ms = grace_ms(kill.kill_policy.as_ref());
        let own_ms = || self.tasks.get(&key).map(|task| task.grace_ms(&self.config));
        let grace_ms = match kill.max_grace_ms {
            Some(max_ms) => asked_ms.or_else(own_ms).map(|grace_ms| grace_ms.min(max_ms)),
            None => asked_ms,
        };
        match self.tasks.get(&key).and_then(|task| task.executor.clone()) {
            Some(executor) => {
                let limited = kill.max_grace_ms.and(grace_ms).map(kill_policy);
                self.kill_of_executor(turn, &key, &executor, limited.or(kill.kill_policy));
            }
            None => self.kill(turn, &key, grace_ms, KillReason::Asked),
        }
    }

    /// The executor of a command has the id of its task.
    pub(crate) fn on_shutdown_executor(&mut self, turn: &mut Turn<'_>, shutdown: event::ShutdownExecutor) {
        let custom = ExecutorKey::from_ids(shutdown.framework_id.as_ref(), shutdown.executor_id.as_ref());
        if let Some(key) = custom.filter(|key| self.executors.contains_key(key)) {
            self.shut_executor_down(turn, &key, Cause::Asked);
            return;
        }
        let task_id = shutdown.executor_id.map(|id| v1::TaskId { value: id.value });
        let Some(key) = TaskKey::from_ids(shutdown.framework_id.as_ref(), task_id.as_ref()) else {
            turn.odd("shutdown of an executor without a framework id or an executor id");
            return;
        };
        self.kill(turn, &key, None, KillReason::Asked);
    }

    /// Nobody will acknowledge updates of these tasks any more: each is ended, its end is told once, and it is forgotten.
    pub(crate) fn on_shutdown_framework(
        &mut self,
        turn: &mut Turn<'_>,
        framework_id: Option<&v1::FrameworkId>,
    ) {
        let framework_id = framework_id.and_then(|id| id.value.clone()).unwrap_or_default();
        let own = self.tasks.iter().filter(|(key, _)| key.framework_id == framework_id);
        let mut keys: Vec<(bool, TaskKey)> =
            own.map(|(key, task)| (task.phase != Phase::Done, key.clone())).collect();
        let executors: Vec<ExecutorKey> =
            self.executors.keys().filter(|key| key.framework_id == framework_id).cloned().collect();
        if keys.is_empty() {
            self.shut_executors_down(turn, executors, Cause::FrameworkRemoved);
            return;
        }
        // Those that have ended first: killing others writes further records.
        keys.sort();
        let record = self.checkpoint(turn, Kind::Abandoned(framework_id));
        for (_, key) in keys {
            let Some(task) = self.tasks.get_mut(&key) else { continue };
            task.abandoned = true;
            self.timers.cancel(&Timer::Retry(key.clone()));
            if task.phase == Phase::Done {
                // The master may have heard only of what came before, and charges the task until it hears of its end.
                task.outbox.keep_newest();
                // If the agent stopped now it would send what was dropped, which must not come behind the end.
                task.outbox.hold(record);
                self.await_record(record, Awaiting::Updated { task: key });
            } else {
                task.outbox.clear();
                self.kill(turn, &key, None, KillReason::FrameworkRemoved);
            }
        }
        self.shut_executors_down(turn, executors, Cause::FrameworkRemoved);
    }

    fn shut_executors_down(&mut self, turn: &mut Turn<'_>, executors: Vec<ExecutorKey>, cause: Cause) {
        for key in executors {
            self.shut_executor_down(turn, &key, cause);
        }
    }

    pub(crate) fn on_shutdown(&mut self, turn: &mut Turn<'_>, message: Option<String>) {
        if self.leaving.is_some() {
            return;
        }
        let message = message.unwrap_or_else(|| "told to shut down".to_owned());
        self.leaving = Some(Leaving { message, done: false });
        let mut longest_ms = 0;
        let keys: Vec<TaskKey> = self.tasks.keys().cloned().collect();
        for key in keys {
            if let Some(task) = self.tasks.get(&key) {
                longest_ms = longest_ms.max(task.grace_ms(&self.config));
            }
            self.kill(turn, &key, None, KillReason::AgentShutdown);
        }
        longest_ms = self.executors.values().map(|one| one.grace_ms(&self.config)).fold(longest_ms, u64::max);
        let executors: Vec<ExecutorKey> = self.executors.keys().cloned().collect();
        self.shut_executors_down(turn, executors, Cause::AgentShutdown);
        let wait_ms = longest_ms.saturating_add(self.config.shutdown_margin_ms);
        self.timers.set(Timer::Shutdown, turn.now.mono_ms.saturating_add(wait_ms));
    }

    pub(crate) fn on_max_completion(&mut self, turn: &mut Turn<'_>, key: &TaskKey) {
        self.kill(turn, key, None, KillReason::MaxCompletionTime);
    }

    pub(crate) fn leave_if_nothing_runs(&mut self, turn: &mut Turn<'_>) {
        let runs = self.tasks.values().any(crate::task::Task::is_live) || !self.executors.is_empty();
        if self.leaving.is_some() && !runs {
            self.leave(turn);
        }
    }

    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>) {
        if let Some(leaving) = self.leaving.as_mut().filter(|leaving| !leaving.done) {
            leaving.done = true;
            turn.push(Effect::Shutdown { message: leaving.message.clone() });
        }
    }

    fn kill(&mut self, turn: &mut Turn<'_>, key: &TaskKey, grace_ms: Option<u64>, why: KillReason) {
        let Some(task) = self.tasks.get_mut(key) else {
            turn.note(Note::KillUnknown { task: key.clone() });
            return;
        };
        let grace_ms = grace_ms.unwrap_or_else(|| task.grace_ms(&self.config));
        let force_at_ms = turn.now.mono_ms.saturating_add(grace_ms);
        match task.phase {
            Phase::Done => {}
            Phase::Accepting | Phase::Queued => {
                let reason = match why {
                    KillReason::FrameworkRemoved => Reason::FrameworkRemoved,
                    KillReason::Asked | KillReason::MaxCompletionTime | KillReason::AgentShutdown => {
                        Reason::TaskKilledDuringLaunch
                    }
                };
                self.report(
                    turn,
                    key,
                    News::agent(v1::TaskState::TaskKilled, reason, "killed before it was started"),
                );
            }
            // It ends with its executor at the latest.
            Phase::Launching | Phase::Running | Phase::Recovering if task.executor.is_some() => {}
            Phase::Launching | Phase::Running | Phase::Recovering => {
                let first = task.kill.is_none();
                if task.kill.is_some_and(|kill| kill.force_at_ms <= force_at_ms) {
                    return;
                }
                let why = task.kill.map_or(why, |kill| kill.why);
                task.kill = Some(Kill { force_at_ms, why });
                let running = task.phase == Phase::Running;
                if first && self.knows_killing(key) {
                    self.report(turn, key, News::executor(v1::TaskState::TaskKilling));
                }
                if running {
                    turn.push(Effect::Kill { task: key.clone(), grace_ms });
                }
            }
        }
    }

    /// Returns whether the framework of a task understands TASK_KILLING.
    fn knows_killing(&self, key: &TaskKey) -> bool {
        self.has_capability(key, v1::framework_info::capability::Type::TaskKillingState)
    }
}

/// Returns the policy of this grace.
fn kill_policy(grace_ms: u64) -> v1::KillPolicy {
    let nanoseconds = i64::try_from(grace_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds: Some(nanoseconds) }) }
}
