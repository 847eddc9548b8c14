//! What becomes of the executors in the checkpoint when an agent starts again. Owns that those of frameworks without
//! checkpointing do not survive their agent.

use super::{Cause, Executor, Phase};
use crate::agent::{Agent, Turn};
use crate::checkpoint::{ExecutorRecord, State};
use crate::executors::ends::End;
use crate::task;
use crate::timers::Timer;
use crate::{ExecutorKey, Exit, Found, TaskKey};

impl State {
    /// Returns whether the tasks and executors of this framework outlive their agent: it asked for checkpointing.
    pub fn outlives_agent(&self, framework_id: &str) -> bool {
        self.frameworks.get(framework_id).is_some_and(|framework| framework.checkpoint())
    }
}

impl Executor {
    pub(crate) fn recovered(key: ExecutorKey, record: ExecutorRecord) -> Self {
        Self {
            key,
            info: record.info,
            container_id: record.container_id,
            phase: Phase::Recovering,
            pid: None,
            connection: None,
            // Nobody knows: it may have got one.
            ever_sent: true,
            ending: None,
        }
    }
}

impl Agent {
    pub(crate) fn recover_executor(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey, found: Option<Found>) {
        if !self.checkpoints(&key.framework_id) {
            self.forget_executor(turn, key);
            return;
        }
        match found {
            Some(Found::Running { pid }) => self.await_executor(turn, key, pid),
            Some(Found::Exited(exit)) => self.executor_ended(turn, key, End::Exited(exit)),
            Some(Found::NeverStarted) => {
                // Its tasks never reached it.
                self.requeue(key);
                let message = "the agent restarted before the executor was started".to_owned();
                self.executor_ended(turn, key, End::Exited(Exit::Unknown { message }));
            }
            Some(Found::Lost { message }) => {
                let message = format!("lost while the agent was away: {message}");
                self.executor_ended(turn, key, End::Exited(Exit::Unknown { message }));
            }
            None => {
                let message = "nothing was found of it".to_owned();
                self.executor_ended(turn, key, End::Exited(Exit::Unknown { message }));
            }
        }
    }

    /// Its tasks count as handed over until it says which of them it knows.
    fn await_executor(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey, pid: u32) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        executor.pid = Some(pid);
        for task in self.tasks.values_mut().filter(|task| task.executor.as_ref() == Some(key)) {
            if task.phase == task::Phase::Recovering {
                task.phase = task::Phase::Running;
                task.pid = Some(pid);
            }
        }
        if self.tasks_of_executor(key).any(|task| task.abandoned && task.phase != task::Phase::Done) {
            self.shut_executor_down(turn, key, Cause::FrameworkRemoved);
            return;
        }
        let at_ms = turn.now.mono_ms.saturating_add(self.config.executor_reregistration_timeout_ms);
        self.timers.set(Timer::ExecutorRegistration(key.clone()), at_ms);
    }

    fn requeue(&mut self, key: &ExecutorKey) {
        for task in self.tasks.values_mut().filter(|task| task.executor.as_ref() == Some(key)) {
            if task.phase == task::Phase::Recovering {
                task.phase = task::Phase::Queued;
            }
        }
    }

    /// The agent's death ended it, as its framework wanted; the master said so to the framework when the agent was gone.
    fn forget_executor(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey) {
        let message = "the agent restarted, and the framework does not checkpoint".to_owned();
        let tasks: Vec<TaskKey> = self.tasks_of_executor(key).map(|task| task.key.clone()).collect();
        for task in tasks {
            self.forget(turn, &task);
        }
        self.executor_ended(turn, key, End::Exited(Exit::Unknown { message }));
    }
}
