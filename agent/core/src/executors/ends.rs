//! How executors end: asked to, forced to, or by themselves; and what that means for their tasks and for the master.

use tepui_proto::tepui::agent_link::{Call, call};
use tepui_proto::v1;
use v1::executor::event;
use v1::task_status::Reason;

use super::subscribe::new_event;
use super::{Cause, Executor, Phase};
use crate::agent::{Agent, Awaiting, Turn};
use crate::checkpoint::{ExecutorEnded, Kind};
use crate::exits::describe;
use crate::link::LinkState;
use crate::status::News;
use crate::task::{self, Task};
use crate::timers::Timer;
use crate::view::CompletedExecutor;
use crate::{Effect, ExecutorKey, Exit, Note, TaskKey};

/// Ends that wait for the master before the oldest is dropped.
const UNSENT_ENDS_MAX: usize = 1_000;
/// As in Mesos, where nobody saw the wait status.
const UNKNOWN_STATUS: i32 = -1;

/// How an executor ended.
pub(crate) enum End {
    Exited(Exit),
    /// It never ran.
    NotStarted {
        message: String,
    },
}

impl Agent {
    /// Asks an executor to end, and arranges to force it.
    pub(crate) fn shut_executor_down(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey, cause: Cause) {
        let Some(executor) = self.executors.get_mut(key).filter(|executor| executor.ending.is_none()) else {
            return;
        };
        executor.ending = Some(cause);
        turn.note(Note::ExecutorState { executor: key.clone(), what: "is being shut down" });
        self.timers.cancel(&Timer::ExecutorRegistration(key.clone()));
        let grace_ms = executor.grace_ms(&self.config);
        match (executor.phase, executor.connection) {
            (Phase::Accepting, _) => {
                let message = "ended before it was started".to_owned();
                self.executor_ended(turn, key, End::NotStarted { message });
            }
            // It is ended as soon as there is a process.
            (Phase::Launching, None) => {}
            (_, Some(_)) => {
                let at_ms = turn.now.mono_ms.saturating_add(grace_ms);
                self.timers.set(Timer::ExecutorShutdown(key.clone()), at_ms);
                self.send_to_executor(turn, key, new_event(event::Type::Shutdown));
            }
            (Phase::Registering | Phase::Running | Phase::Recovering, None) => {
                turn.push(Effect::KillExecutor { executor: key.clone(), grace_ms });
            }
        }
    }

    /// The grace is over.
    pub(crate) fn on_executor_grace_over(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey) {
        if self.executors.contains_key(key) {
            turn.push(Effect::KillExecutor { executor: key.clone(), grace_ms: 0 });
        }
    }

    pub(crate) fn on_executor_launch_failed(
        &mut self,
        turn: &mut Turn<'_>,
        key: &ExecutorKey,
        message: String,
    ) {
        if self.executors.get(key).is_some_and(|executor| executor.phase == Phase::Launching) {
            self.executor_ended(turn, key, End::NotStarted { message });
        } else {
            turn.odd(format!("start of executor {key} failed, but none was under way: {message}"));
        }
    }

    pub(crate) fn on_executor_exited(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey, exit: Exit) {
        match self.executors.get(key) {
            Some(executor) if executor.phase != Phase::Accepting => {
                self.executor_ended(turn, key, End::Exited(exit));
            }
            _ => turn.odd(format!("executor {key} ended, but it did not run")),
        }
    }

    /// Nothing is left of an executor: its tasks end with it, and the master is told.
    pub(crate) fn executor_ended(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey, end: End) {
        let Some(executor) = self.executors.remove(key) else { return };
        for timer in [Timer::ExecutorRegistration, Timer::ExecutorHeartbeat, Timer::ExecutorShutdown] {
            self.timers.cancel(&timer(key.clone()));
        }
        turn.note(Note::ExecutorState { executor: key.clone(), what: "ended" });
        let mut tasks: Vec<(u64, TaskKey)> = self
            .tasks_of_executor(key)
            .filter(|task| task.phase != task::Phase::Done)
            .map(|task| (task.launch_seq, task.key.clone()))
            .collect();
        tasks.sort();
        for (_, task) in tasks {
            if let Some(news) = self.tasks.get(&task).map(|task| self.end_of_task(&executor, task, &end)) {
                self.report(turn, &task, news);
            }
        }
        if let Some(connection) = executor.connection {
            turn.push(Effect::CloseExecutor { connection });
        }
        let ended = ExecutorEnded {
            framework_id: key.framework_id.clone(),
            executor_id: key.executor_id.clone(),
            container_id: executor.container_id.clone(),
        };
        let record = self.checkpoint(turn, Kind::ExecutorEnded(ended));
        let seen = match &end {
            End::Exited(Exit::Status { status, .. }) => Some(*status),
            End::Exited(Exit::Unknown { .. }) | End::NotStarted { .. } => None,
        };
        let status = seen.unwrap_or(UNKNOWN_STATUS);
        let container_id = executor.container_id.clone();
        self.await_record(record, Awaiting::ExecutorEnded { executor: key.clone(), container_id, status });
        self.history.add_executor(CompletedExecutor {
            key: key.clone(),
            info: v1::ExecutorInfo { data: None, ..executor.info },
            container_id: executor.container_id,
            status: seen,
        });
        self.forget_framework_without_use(&key.framework_id);
    }

    fn end_of_task(&self, executor: &Executor, task: &Task, end: &End) -> News {
        use v1::TaskState as State;
        let message = match end {
            End::Exited(Exit::Status { status, .. }) => describe("executor", *status),
            End::Exited(Exit::Unknown { message }) => format!("executor ended: {message}"),
            End::NotStarted { message } => message.clone(),
        };
        if task.abandoned || executor.ending == Some(Cause::FrameworkRemoved) {
            return News::agent(State::TaskKilled, Reason::FrameworkRemoved, message);
        }
        let lost = |reason: Reason, finer: State| {
            let aware = self.has_capability(&task.key, v1::framework_info::capability::Type::PartitionAware);
            News::agent(if aware { finer } else { State::TaskLost }, reason, message.clone())
        };
        let delivered = !matches!(task.phase, task::Phase::Accepting | task::Phase::Queued);
        match (executor.ending, end) {
            (Some(Cause::RegistrationTimeout), _) => {
                let text = format!("executor did not register in time; {message}");
                News::agent(State::TaskFailed, Reason::ExecutorRegistrationTimeout, text)
            }
            (Some(Cause::ReregistrationTimeout), _) => {
                lost(Reason::ExecutorReregistrationTimeout, State::TaskGone)
            }
            (None, End::NotStarted { .. }) => {
                News::agent(State::TaskFailed, Reason::ContainerLaunchFailed, message)
            }
            _ if delivered => News::agent(State::TaskFailed, Reason::ExecutorTerminated, message),
            _ => lost(Reason::ExecutorTerminated, State::TaskDropped),
        }
    }

    /// Tells the master that an executor is gone; if there is none, the next one.
    pub(crate) fn tell_of_end(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey, status: i32) {
        let exited = call::ExecutorExited {
            framework_id: Some(key.wire_framework_id()),
            executor_id: Some(key.wire_executor_id()),
            status: Some(status),
        };
        if self.link.state == LinkState::Up {
            self.send_exited(turn, exited);
            return;
        }
        while self.unsent_ends.len() >= UNSENT_ENDS_MAX {
            self.unsent_ends.pop_front();
        }
        self.unsent_ends.push_back(exited);
    }

    /// A launch was refused whose executor the master counts since then: it must not count it for ever. It hears of that
    /// once the refused launch counts as accepted; before, it would keep the executor for that very launch.
    pub(crate) fn executor_refused(&mut self, executor: Option<ExecutorKey>) {
        if let Some(executor) = executor.filter(|key| !self.executors.contains_key(key)) {
            self.await_record(self.last_record, Awaiting::ExecutorRefused { executor });
        }
    }

    /// The master charges an executor that this agent may not have.
    pub(crate) fn tell_of_no_executor(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey) {
        if !self.executors.contains_key(key) {
            self.tell_of_end(turn, key, UNKNOWN_STATUS);
        }
    }

    pub(crate) fn send_unsent_ends(&mut self, turn: &mut Turn<'_>) {
        for exited in std::mem::take(&mut self.unsent_ends) {
            self.send_exited(turn, exited);
        }
    }

    fn send_exited(&self, turn: &mut Turn<'_>, exited: call::ExecutorExited) {
        let call = Call { executor_exited: Some(exited), ..self.call(call::Type::ExecutorExited) };
        self.send(turn, call);
    }
}
