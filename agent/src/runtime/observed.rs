//! What a running agent sees and its core does not keep: what happened so far in numbers, the master that it is with, whether
//! the recovery is over. Written by the runtime, read by the endpoints. Decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tepui_agent_core::{Effect, Input, Note};
use tepui_proto::v1::TaskState;
use tokio::sync::watch;

/// What is counted since the start of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    TasksFinished,
    TasksFailed,
    TasksKilled,
    TasksError,
    TasksLost,
    TasksDropped,
    TasksGone,
    StatusUpdates,
    /// Of executors: refused, or about tasks that they do not run.
    InvalidUpdates,
    /// Between frameworks and executors, passed on.
    Messages,
    /// Nobody was there to take them.
    DroppedMessages,
    LaunchErrors,
    ExecutorsTerminated,
    SandboxesRemoved,
    SandboxesStuck,
}

impl Count {
    /// All of them, in the order of their places.
    pub(crate) const ALL: [Self; 15] = [
        Self::TasksFinished,
        Self::TasksFailed,
        Self::TasksKilled,
        Self::TasksError,
        Self::TasksLost,
        Self::TasksDropped,
        Self::TasksGone,
        Self::StatusUpdates,
        Self::InvalidUpdates,
        Self::Messages,
        Self::DroppedMessages,
        Self::LaunchErrors,
        Self::ExecutorsTerminated,
        Self::SandboxesRemoved,
        Self::SandboxesStuck,
    ];

    fn of_end(state: TaskState) -> Option<Self> {
        match state {
            TaskState::TaskFinished => Some(Self::TasksFinished),
            TaskState::TaskFailed => Some(Self::TasksFailed),
            TaskState::TaskKilled => Some(Self::TasksKilled),
            TaskState::TaskError => Some(Self::TasksError),
            TaskState::TaskLost => Some(Self::TasksLost),
            TaskState::TaskDropped => Some(Self::TasksDropped),
            TaskState::TaskGone | TaskState::TaskGoneByOperator => Some(Self::TasksGone),
            _ => None,
        }
    }
}

/// Shared by all parts of one agent.
pub(crate) struct Observed {
    counts: [AtomicU64; Count::ALL.len()],
    recovered: AtomicBool,
    recovery_ms: AtomicU64,
    started: Instant,
    master: ArcSwapOption<String>,
    /// Rises whenever a task changes its state, or an executor does.
    changes: watch::Sender<u64>,
}

impl Observed {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            counts: Default::default(),
            recovered: AtomicBool::new(false),
            recovery_ms: AtomicU64::new(0),
            started: Instant::now(),
            master: ArcSwapOption::empty(),
            changes: watch::Sender::new(0),
        })
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn count(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, what: Count, number: u64) {
        self.counts[what as usize].fetch_add(number, Ordering::Relaxed);
    }

    /// The tasks of an earlier run are known: the agent can be asked about them.
    pub(crate) fn set_recovered(&self) {
        self.recovery_ms.store(super::milliseconds(self.started.elapsed()), Ordering::Relaxed);
        self.recovered.store(true, Ordering::Release);
    }

    pub(crate) fn is_recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    /// How long the recovery took.
    pub(crate) fn recovery(&self) -> Duration {
        Duration::from_millis(self.recovery_ms.load(Ordering::Relaxed))
    }

    /// `host:port` of the master that took the registration; `None` while there is none.
    pub(crate) fn set_master(&self, address: Option<String>) {
        self.master.store(address.map(Arc::new));
    }

    pub(crate) fn master(&self) -> Option<Arc<String>> {
        self.master.load_full()
    }

    /// Wakes with every change of the state of a task or an executor.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn see_input(&self, input: &Input) {
        match input {
            Input::LaunchFailed { .. } | Input::ExecutorLaunchFailed { .. } => {
                self.add(Count::LaunchErrors, 1)
            }
            Input::Exited { .. } | Input::ExecutorExited { .. } => self.add(Count::ExecutorsTerminated, 1),
            _ => {}
        }
    }

    pub(super) fn see_effect(&self, effect: &Effect) {
        // Those to the master are counted where they find room or not.
        if let Effect::ToExecutor { event, .. } = effect
            && event.message.is_some()
        {
            self.add(Count::Messages, 1);
        }
    }

    fn announce(&self) {
        self.changes.send_modify(|number| *number = number.wrapping_add(1));
    }

    pub(super) fn see_note(&self, note: &Note) {
        match note {
            Note::TaskState { state, .. } => {
                self.add(Count::StatusUpdates, 1);
                if let Some(count) = Count::of_end(*state) {
                    self.add(count, 1);
                }
                self.announce();
            }
            Note::ExecutorState { .. } => self.announce(),
            Note::UpdateRefused { .. } => self.add(Count::InvalidUpdates, 1),
            Note::MessageDropped { .. } => self.add(Count::DroppedMessages, 1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tepui_agent_core::TaskKey;

    use super::*;

    #[test]
    fn every_count_has_its_own_place() {
        for (place, count) in Count::ALL.into_iter().enumerate() {
            assert_eq!(count as usize, place);
        }
    }

    #[test]
    fn ends_of_tasks_are_counted_and_announced() {
        let observed = Observed::new();
        let mut changes = observed.changes();
        let note = |state| Note::TaskState { task: TaskKey::new("f", "t"), state };
        observed.see_note(&note(TaskState::TaskRunning));
        observed.see_note(&note(TaskState::TaskFailed));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert_eq!(observed.count(Count::TasksFailed), 1);
        assert_eq!(observed.count(Count::TasksFinished), 0);
        assert_eq!(observed.count(Count::StatusUpdates), 2);
        observed.see_input(&Input::LaunchFailed { task: TaskKey::new("f", "t"), message: String::new() });
        assert_eq!(observed.count(Count::LaunchErrors), 1);
        assert!(!changes.has_changed().unwrap());
    }
}
