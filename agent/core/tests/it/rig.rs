//! Surroundings for an agent in a test: a disk that may lag, a link, and short words for events. Checks invariants after
//! every input.

use bytes::Bytes;
use tepui_agent_core::checkpoint::{Record, State};
use tepui_agent_core::{Agent, Config, Effect, ExecutorKey, Exit, Found, Input, Launch, Now, TaskKey};
use tepui_proto::tepui::agent_link::{Call, Event, call, event};
use tepui_proto::v1;

pub(crate) struct Rig {
    pub(crate) agent: Agent,
    pub(crate) now: Now,
    pub(crate) epoch: u64,
    /// What a crash leaves.
    pub(crate) disk: State,
    /// Written, but not yet durable.
    pub(crate) unsynced: Vec<(u64, Record)>,
    /// Sync by hand.
    pub(crate) slow_disk: bool,
    pub(crate) sent: Vec<Call>,
    pub(crate) launched: Vec<Launch>,
    /// All but those above.
    pub(crate) effects: Vec<Effect>,
    /// What the master names at registrations.
    pub(crate) masters: Vec<String>,
    starts: u8,
}

pub(crate) fn config(start: u8) -> Config {
    let mut config = Config::new(v1::AgentInfo::default(), "10.0.0.1", [start; 32]);
    config.completed_tasks_max = 3;
    config.completed_executors_max = 2;
    config.completed_frameworks_max = 2;
    config
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self {
            agent: Agent::new(config(1), State::default()),
            now: Now { mono_ms: 1_000, wall_ms: 1_700_000_000_000 },
            epoch: 1,
            disk: State::default(),
            unsynced: Vec::new(),
            slow_disk: false,
            sent: Vec::new(),
            launched: Vec::new(),
            effects: Vec::new(),
            masters: Vec::new(),
            starts: 1,
        }
    }

    /// An agent that is registered.
    pub(crate) fn registered() -> Self {
        let mut rig = Self::new();
        rig.register();
        rig.sent.clear();
        rig.effects.clear();
        rig
    }

    pub(crate) fn register(&mut self) {
        self.come_back();
        self.confirm();
    }

    /// Registers and tells everything.
    pub(crate) fn come_back(&mut self) {
        self.input(Input::LinkUp);
        if self.sent.last().is_some_and(|call| call.attach.is_some()) {
            // A master that wants to know everything.
            self.event(event::Type::TellAll, |_| {});
        }
    }

    /// The master answers the registration.
    pub(crate) fn confirm(&mut self) {
        let registered = event::Registered {
            agent_id: Some(v1::AgentId { value: Some("a".to_owned()) }),
            cluster_id: Some("c".to_owned()),
            ping_interval_ms: Some(1_000),
            ping_timeouts: Some(5),
            masters: self.masters.clone(),
            ..Default::default()
        };
        self.event(event::Type::Registered, |event| event.registered = Some(registered));
    }

    pub(crate) fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.agent.handle(self.now, input, &mut effects);
        self.agent.check_invariants();
        let mut durable = None;
        for effect in effects {
            match effect {
                Effect::Checkpoint { id, record } => {
                    self.unsynced.push((id, record));
                    durable = Some(id);
                }
                Effect::Send(call) => self.sent.push(*call),
                Effect::Launch(launch) => self.launched.push(*launch),
                other => self.effects.push(other),
            }
        }
        if durable.is_some() && !self.slow_disk {
            self.sync(usize::MAX);
        }
    }

    /// Makes the oldest `count` records durable and says so.
    pub(crate) fn sync(&mut self, count: usize) {
        let count = count.min(self.unsynced.len());
        let mut last = None;
        for (id, record) in self.unsynced.drain(..count) {
            let record = Record::decode(&record.encode()).expect("a record is read as it was written");
            self.disk.apply(&record);
            last = Some(id);
        }
        if let Some(id) = last {
            self.input(Input::Checkpointed { id });
        }
    }

    pub(crate) fn event(&mut self, kind: event::Type, fill: impl FnOnce(&mut Event)) {
        let mut event = Event {
            format: Some(1),
            r#type: Some(kind.into()),
            epoch: Some(self.epoch),
            ..Default::default()
        };
        fill(&mut event);
        self.input(Input::MasterEvent(Box::new(event)));
    }

    pub(crate) fn run_with(&mut self, task: &str, seq: u64, change: impl FnOnce(&mut event::RunTask)) {
        let mut run = event::RunTask {
            framework: Some(v1::FrameworkInfo {
                id: framework_id(),
                checkpoint: Some(true),
                ..Default::default()
            }),
            task: Some(v1::TaskInfo {
                task_id: task_id(task),
                command: Some(v1::CommandInfo { value: Some("true".to_owned()), ..Default::default() }),
                ..Default::default()
            }),
            launch_seq: Some(seq),
            task_group: None,
        };
        change(&mut run);
        self.event(event::Type::RunTask, |event| event.run_task = Some(run));
    }

    pub(crate) fn run(&mut self, task: &str, seq: u64) {
        self.run_with(task, seq, |_| {});
    }

    /// A task that runs, and whose updates are acknowledged.
    pub(crate) fn running(&mut self, task: &str, seq: u64) {
        self.run(task, seq);
        self.input(Input::Launched { task: key(task), pid: 7 });
        self.acknowledge_all();
        self.sent.clear();
    }

    pub(crate) fn kill(&mut self, task: &str, grace_ms: Option<i64>) {
        let kill_policy = grace_ms.map(|ms| v1::KillPolicy {
            grace_period: Some(v1::DurationInfo { nanoseconds: Some(ms * 1_000_000) }),
        });
        let kill = event::KillTask {
            framework_id: framework_id(),
            task_id: task_id(task),
            kill_policy,
            ..Default::default()
        };
        self.event(event::Type::KillTask, |event| event.kill_task = Some(kill));
    }

    /// A kill by a master that drains this agent.
    pub(crate) fn drain(&mut self, task: &str, max_grace_ms: u64) {
        let kill = event::KillTask {
            framework_id: framework_id(),
            task_id: task_id(task),
            max_grace_ms: Some(max_grace_ms),
            ..Default::default()
        };
        self.event(event::Type::KillTask, |event| event.kill_task = Some(kill));
    }

    pub(crate) fn exit(&mut self, task: &str, status: i32) {
        self.input(Input::Exited { task: key(task), exit: Exit::Status { status, kill_asked: false } });
    }

    pub(crate) fn acknowledge(&mut self, task: &str, uuid: Bytes) {
        let acknowledge =
            event::Acknowledge { framework_id: framework_id(), task_id: task_id(task), uuid: Some(uuid) };
        self.event(event::Type::Acknowledge, |event| event.acknowledge = Some(acknowledge));
    }

    /// Acknowledges whatever was sent, until nothing new comes. Leaves what was sent.
    pub(crate) fn acknowledge_all(&mut self) {
        let mut next = 0;
        while next < self.sent.len() {
            if let Some(status) = self.sent[next].update.as_ref().and_then(|update| update.status.clone()) {
                let task = status.task_id.clone().and_then(|id| id.value).unwrap();
                self.acknowledge(&task, status.uuid.unwrap());
            }
            next += 1;
        }
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        self.input(Input::Tick);
    }

    pub(crate) fn ping(&mut self) {
        self.event(event::Type::Ping, |_| {});
    }

    /// Kills the agent's process and starts it again with what was durable.
    pub(crate) fn restart(&mut self, processes: Vec<(TaskKey, Found)>) {
        self.restart_with(processes, Vec::new());
    }

    /// Likewise, with executors.
    pub(crate) fn restart_with(
        &mut self,
        processes: Vec<(TaskKey, Found)>,
        executors: Vec<(ExecutorKey, Found)>,
    ) {
        self.unsynced.clear();
        self.starts += 1;
        self.agent = Agent::new(config(self.starts), self.disk.clone());
        self.sent.clear();
        self.launched.clear();
        self.effects.clear();
        self.input(Input::Recovered { processes, executors });
    }

    /// The updates sent so far, as (task, state).
    pub(crate) fn updates(&self) -> Vec<(String, v1::TaskState)> {
        self.statuses()
            .iter()
            .map(|status| (status.task_id.clone().and_then(|id| id.value).unwrap(), status.state()))
            .collect()
    }

    /// The states sent so far, whatever the task.
    pub(crate) fn states(&self) -> Vec<v1::TaskState> {
        self.statuses().iter().map(v1::TaskStatus::state).collect()
    }

    pub(crate) fn statuses(&self) -> Vec<v1::TaskStatus> {
        self.sent
            .iter()
            .filter_map(|call| call.update.as_ref())
            .filter_map(|update| update.status.clone())
            .collect()
    }

    pub(crate) fn last_register(&self) -> call::Register {
        self.sent.iter().rev().find_map(|call| call.register.clone()).expect("registered")
    }

    pub(crate) fn kills(&self) -> Vec<u64> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Kill { grace_ms, .. } => Some(*grace_ms),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn reconnects(&self) -> Vec<&str> {
        self.effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Reconnect { reason } => Some(reason.as_str()),
                _ => None,
            })
            .collect()
    }
}

pub(crate) fn key(task: &str) -> TaskKey {
    TaskKey::new("f", task)
}

pub(crate) fn framework_id() -> Option<v1::FrameworkId> {
    Some(v1::FrameworkId { value: Some("f".to_owned()) })
}

pub(crate) fn task_id(task: &str) -> Option<v1::TaskId> {
    Some(v1::TaskId { value: Some(task.to_owned()) })
}

/// A task of a custom executor, which has data of its own.
pub(crate) fn executor_task(task: &str, executor: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        task_id: task_id(task),
        executor: Some(v1::ExecutorInfo {
            executor_id: Some(v1::ExecutorId { value: Some(executor.to_owned()) }),
            command: Some(v1::CommandInfo { value: Some("run".to_owned()), ..Default::default() }),
            data: Some(Bytes::from_static(b"data")),
            ..Default::default()
        }),
        ..Default::default()
    }
}
