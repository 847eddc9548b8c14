//! The agent itself: one struct, one entrance. Owns the order in which inputs reach its parts, and what waits for a record
//! to become durable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use tepui_proto::tepui::agent_link::call;
use tepui_proto::v1;

use crate::checkpoint::{Drain, Kind, Record, Resources, State};
use crate::executors::Executor;
use crate::history::History;
use crate::ids::Ids;
use crate::kills::Leaving;
use crate::link::Link;
use crate::news::Operations;
use crate::outbox::Outbox;
use crate::task::{Phase, Task};
use crate::timers::{Timer, Timers};
use crate::{Config, Effect, ExecutorKey, Input, Note, Now, TaskKey};

/// What an agent knows and decides.
pub struct Agent {
    pub(crate) config: Config,
    /// Empty before the first registration, like `cluster_id`.
    pub(crate) agent_id: String,
    pub(crate) cluster_id: String,
    pub(crate) epoch: u64,
    /// Highest launch sequence accepted, durable or not; nothing at or below it is started again.
    pub(crate) taken_launch_seq: u64,
    /// Highest one that is durable: what the master is told.
    pub(crate) accepted_launch_seq: u64,
    pub(crate) last_record: u64,
    pub(crate) durable_record: u64,
    /// What follows once a record is durable, in the order of records.
    awaiting: VecDeque<(u64, Awaiting)>,
    pub(crate) link: Link,
    pub(crate) frameworks: BTreeMap<String, v1::FrameworkInfo>,
    pub(crate) tasks: BTreeMap<TaskKey, Task>,
    pub(crate) executors: BTreeMap<ExecutorKey, Executor>,
    /// Updates about tasks that this agent does not have; they live as long as the registration.
    pub(crate) answers: BTreeMap<TaskKey, Outbox>,
    /// For those who ask about the past.
    pub(crate) history: History,
    /// Reservations and volumes as the cluster decided.
    pub(crate) resources: Resources,
    /// As the cluster says; nothing here depends on it.
    pub(crate) drain: Drain,
    /// Where the masters are, as the last of them said.
    pub(crate) masters: Vec<String>,
    pub(crate) operations: Operations,
    /// Ends of executors that no master could be told of yet.
    pub(crate) unsent_ends: VecDeque<call::ExecutorExited>,
    pub(crate) timers: Timers,
    pub(crate) ids: Ids,
    /// The processes of the checkpoint's tasks are known.
    pub(crate) ready: bool,
    pub(crate) leaving: Option<Leaving>,
}

/// What follows a record.
pub(crate) enum Awaiting {
    Accepted {
        task: TaskKey,
        launch_seq: u64,
    },
    Updated {
        task: TaskKey,
    },
    Resources {
        version: u64,
    },
    ExecutorUpdate {
        executor: ExecutorKey,
        task_id: v1::TaskId,
        uuid: Bytes,
    },
    ExecutorEnded {
        executor: ExecutorKey,
        container_id: String,
        status: i32,
    },
    /// A launch was refused that would have brought this executor.
    ExecutorRefused {
        executor: ExecutorKey,
    },
}

/// One call of `handle`: the time, and where effects go.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    effects: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.effects.push(Effect::Note(note));
    }

    pub(crate) fn odd(&mut self, message: impl Into<String>) {
        self.note(Note::Odd { message: message.into() });
    }
}

impl Agent {
    /// Starts from what a former run left; `State::default()` for a new agent.
    pub fn new(config: Config, recovered: State) -> Self {
        let ids = Ids::new(config.seed);
        let history = History::new(&config);
        let tasks: BTreeMap<TaskKey, Task> = recovered
            .tasks
            .into_iter()
            .map(|(key, record)| {
                let outbox = Outbox::recovered(record.unacknowledged, record.latest);
                let done = outbox.latest_state().is_terminal();
                let task = Task {
                    launch_seq: record.launch_seq,
                    executor: ExecutorKey::of_task(&key.framework_id, &record.info),
                    phase: if done { Phase::Done } else { Phase::Recovering },
                    outbox,
                    abandoned: record.abandoned,
                    seen: record.seen,
                    ..Task::new(key.clone(), record.info, record.container_id)
                };
                (key, task)
            })
            .collect();
        let executors: BTreeMap<ExecutorKey, Executor> = recovered
            .executors
            .into_iter()
            .map(|(key, record)| (key.clone(), Executor::recovered(key, record)))
            .collect();
        // A framework is recorded just before its first task: that task's record may be missing.
        let mut frameworks = recovered.frameworks;
        let of_executors = executors.keys().map(|key| &key.framework_id);
        let used: BTreeSet<&String> = tasks.keys().map(|key| &key.framework_id).chain(of_executors).collect();
        frameworks.retain(|id, _| used.contains(id));
        for id in used {
            frameworks.entry(id.clone()).or_insert_with(|| v1::FrameworkInfo {
                id: Some(v1::FrameworkId { value: Some(id.clone()) }),
                ..Default::default()
            });
        }
        Self {
            config,
            agent_id: recovered.agent_id,
            cluster_id: recovered.cluster_id,
            epoch: recovered.epoch,
            taken_launch_seq: recovered.accepted_launch_seq,
            accepted_launch_seq: recovered.accepted_launch_seq,
            last_record: 0,
            durable_record: 0,
            awaiting: VecDeque::new(),
            link: Link::default(),
            frameworks,
            ready: tasks.is_empty() && executors.is_empty(),
            tasks,
            executors,
            answers: BTreeMap::new(),
            history,
            resources: recovered.resources,
            drain: recovered.drain,
            masters: recovered.masters,
            operations: Operations::default(),
            unsent_ends: VecDeque::new(),
            timers: Timers::default(),
            ids,
            leaving: None,
        }
    }

    /// Takes one input in, and appends what follows to `effects`. No input can make it panic.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        if self.leaving.as_ref().is_some_and(|leaving| leaving.done) {
            return;
        }
        let turn = &mut Turn { now, effects };
        match input {
            Input::Recovered { processes, executors } => self.on_recovered(turn, processes, executors),
            Input::LinkUp => self.on_link_up(turn),
            Input::AttachRefused => self.link.tells_all = true,
            Input::LinkDown => self.on_link_down(),
            Input::MasterEvent(event) => self.on_event(turn, *event),
            Input::Checkpointed { id } => self.on_checkpointed(turn, id),
            Input::Launched { task, pid } => self.on_launched(turn, &task, pid),
            Input::LaunchFailed { task, message } => self.on_launch_failed(turn, &task, message),
            Input::Exited { task, exit } => self.on_exited(turn, &task, exit),
            Input::ExecutorLaunched { executor, pid } => self.on_executor_launched(turn, &executor, pid),
            Input::ExecutorLaunchFailed { executor, message } => {
                self.on_executor_launch_failed(turn, &executor, message);
            }
            Input::ExecutorExited { executor, exit } => self.on_executor_exited(turn, &executor, exit),
            Input::VolumesShown { executor, container_id, tasks, failure } => {
                self.on_volumes_shown(turn, &executor, &container_id, &tasks, failure);
            }
            Input::ExecutorSubscribed { executor, connection, subscribe } => {
                self.on_executor_subscribed(turn, &executor, connection, *subscribe);
            }
            Input::ExecutorDisconnected { executor, connection } => {
                self.on_executor_disconnected(turn, &executor, connection);
            }
            Input::ExecutorUpdate { executor, status } => self.on_executor_update(turn, &executor, *status),
            Input::ExecutorMessage { executor, data } => self.on_executor_message(turn, &executor, data),
            Input::Tick => {}
        }
        self.on_time(turn);
        self.leave_if_nothing_runs(turn);
        if let Some(mono_ms) = self.timers.announce(now.mono_ms) {
            turn.push(Effect::WakeAt { mono_ms });
        }
    }

    /// Writes a record; returns its number.
    pub(crate) fn checkpoint(&mut self, turn: &mut Turn<'_>, kind: Kind) -> u64 {
        self.last_record += 1;
        turn.push(Effect::Checkpoint { id: self.last_record, record: Record::new(kind) });
        self.last_record
    }

    /// Remembers what follows once `record` is durable. Records must come in their order.
    pub(crate) fn await_record(&mut self, record: u64, then: Awaiting) {
        self.awaiting.push_back((record, then));
    }

    fn on_checkpointed(&mut self, turn: &mut Turn<'_>, id: u64) {
        if id > self.last_record {
            turn.odd(format!("record {id} is durable, but only {} were written", self.last_record));
            return;
        }
        self.durable_record = self.durable_record.max(id);
        let mut accepted = false;
        while self.awaiting.front().is_some_and(|(record, _)| *record <= id) {
            match self.awaiting.pop_front() {
                Some((_, Awaiting::Accepted { task, launch_seq })) => {
                    accepted = true;
                    self.accepted_launch_seq = self.accepted_launch_seq.max(launch_seq);
                    self.start_task(turn, &task);
                }
                Some((_, Awaiting::Updated { task })) => self.send_next_update(turn, &task),
                Some((_, Awaiting::Resources { version })) => self.send_resources_accepted(turn, version),
                Some((_, Awaiting::ExecutorUpdate { executor, task_id, uuid })) => {
                    self.send_acknowledged(turn, &executor, task_id, uuid);
                }
                Some((_, Awaiting::ExecutorEnded { executor, container_id, status })) => {
                    self.tell_of_end(turn, &executor, status);
                    turn.push(Effect::ExecutorForgotten { executor, container_id });
                }
                Some((_, Awaiting::ExecutorRefused { executor })) => {
                    self.tell_of_no_executor(turn, &executor);
                }
                None => break,
            }
        }
        if accepted {
            self.send_accepted(turn);
        }
    }

    fn on_time(&mut self, turn: &mut Turn<'_>) {
        while let Some(timer) = self.timers.pop_due(turn.now.mono_ms) {
            match timer {
                Timer::Link => self.on_silence(turn),
                Timer::Retry(task) => self.repeat_update(turn, &task),
                Timer::AnswerRetry(task) => self.repeat_answer(turn, &task),
                Timer::MaxCompletion(task) => self.on_max_completion(turn, &task),
                Timer::ExecutorRegistration(executor) => self.on_registration_timeout(turn, &executor),
                Timer::ExecutorHeartbeat(executor) => self.on_heartbeat(turn, &executor),
                Timer::ExecutorShutdown(executor) => self.on_executor_grace_over(turn, &executor),
                Timer::Shutdown => self.leave(turn),
            }
        }
    }
}
