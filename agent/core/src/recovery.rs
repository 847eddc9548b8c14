//! What becomes of the tasks in the checkpoint when an agent starts again. Owns honesty: a task runs on, or its end is
//! reported; none is started a second time. Those of frameworks without checkpointing do not survive their agent.

use std::collections::BTreeMap;

use tepui_proto::v1;
use v1::task_status::Reason;

use crate::agent::{Agent, Turn};
use crate::launches::max_completion_ms;
use crate::status::News;
use crate::task::{Kill, KillReason, Phase};
use crate::timers::Timer;
use crate::{Effect, ExecutorKey, Exit, Found, TaskKey};

impl Agent {
    pub(crate) fn on_recovered(
        &mut self,
        turn: &mut Turn<'_>,
        processes: Vec<(TaskKey, Found)>,
        executors: Vec<(ExecutorKey, Found)>,
    ) {
        if self.ready {
            return;
        }
        self.ready = true;
        let mut found: BTreeMap<TaskKey, Found> = processes.into_iter().collect();
        let mut found_executors: BTreeMap<ExecutorKey, Found> = executors.into_iter().collect();
        let executors: Vec<ExecutorKey> = self.executors.keys().cloned().collect();
        for key in executors {
            let found = found_executors.remove(&key);
            self.recover_executor(turn, &key, found);
        }
        let keys: Vec<TaskKey> = self.tasks.keys().cloned().collect();
        for key in keys {
            if !self.checkpoints(&key.framework_id) {
                // The agent's death ended it, and its framework was told so by the master: there is nothing more to say.
                self.forget(turn, &key);
                continue;
            }
            let Some(task) = self.tasks.get(&key) else { continue };
            match task.phase {
                // Its executor ended, and the agent stopped before it could say so of the task.
                Phase::Recovering if task.executor.is_some() => {
                    let refusal = self.never_delivered(&key, "the agent restarted, and its executor is gone");
                    let news = News::agent(refusal.state, Reason::AgentRestarted, refusal.message);
                    self.report(turn, &key, news);
                }
                Phase::Recovering => {
                    let lost = || Found::Lost { message: "nothing was found of it".to_owned() };
                    let found = found.remove(&key).unwrap_or_else(lost);
                    self.recover(turn, &key, found);
                }
                // Its end was acknowledged or told, and the agent stopped before it could forget it.
                Phase::Done if task.outbox.is_empty() || task.abandoned => self.forget(turn, &key),
                Phase::Done | Phase::Accepting | Phase::Queued | Phase::Launching | Phase::Running => {}
            }
        }
    }

    fn recover(&mut self, turn: &mut Turn<'_>, key: &TaskKey, found: Found) {
        match found {
            Found::Running { pid } => self.adopt(turn, key, pid),
            Found::Exited(exit) => self.on_recovered_exit(turn, key, exit),
            Found::Lost { message } => {
                let message = format!("lost while the agent was away: {message}");
                self.on_recovered_exit(turn, key, Exit::Unknown { message });
            }
            Found::NeverStarted => {
                let partition_aware =
                    self.has_capability(key, v1::framework_info::capability::Type::PartitionAware);
                let state =
                    if partition_aware { v1::TaskState::TaskDropped } else { v1::TaskState::TaskLost };
                let message = "the agent restarted before the task was started";
                self.report(turn, key, News::agent(state, Reason::AgentRestarted, message));
            }
        }
    }

    fn on_recovered_exit(&mut self, turn: &mut Turn<'_>, key: &TaskKey, exit: Exit) {
        self.remember_kill(turn, key);
        self.on_exited(turn, key, exit);
    }

    fn adopt(&mut self, turn: &mut Turn<'_>, key: &TaskKey, pid: u32) {
        self.remember_kill(turn, key);
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.phase = Phase::Running;
        task.pid = Some(pid);
        if let Some(kill) = task.kill {
            let grace_ms = kill.force_at_ms.saturating_sub(turn.now.mono_ms);
            turn.push(Effect::Kill { task: key.clone(), grace_ms });
            return;
        }
        if let Some(limit_ms) = max_completion_ms(&task.info) {
            // The latest update was made when it started or soon after; its clock is the same host's.
            let since_s = task.outbox.latest().and_then(|status| status.timestamp).unwrap_or(0.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates, as meant"
            )]
            let ran_ms = turn.now.wall_ms.saturating_sub((since_s * 1000.0) as u64);
            let at_ms = turn.now.mono_ms.saturating_add(limit_ms.saturating_sub(ran_ms));
            self.timers.set(Timer::MaxCompletion(key.clone()), at_ms);
        }
        if task.outbox.latest_state() != v1::TaskState::TaskRunning {
            self.report(turn, key, News::executor(v1::TaskState::TaskRunning));
        }
    }

    /// A task that was last reported as KILLING was being killed.
    fn remember_kill(&mut self, turn: &Turn<'_>, key: &TaskKey) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if task.outbox.latest_state() == v1::TaskState::TaskKilling {
            let force_at_ms = turn.now.mono_ms.saturating_add(task.grace_ms(&self.config));
            task.kill = Some(Kill { force_at_ms, why: KillReason::Asked });
        }
    }
}
