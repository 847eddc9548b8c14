//! From a launch to a running executor. Owns that an executor's process is started once, after its record is durable, and
//! that tasks wait for it.

use tepui_proto::tepui::agent_link::event;
use tepui_proto::v1;
use v1::task_status::Reason;

use super::{Cause, Executor, Phase};
use crate::agent::{Agent, Awaiting, Turn};
use crate::checkpoint::{Accepted, AcceptedGroup, ExecutorLaunched, Kind};
use crate::checks::{Refusal, check_task};
use crate::status::News;
use crate::task;
use crate::timers::Timer;
use crate::{Effect, ExecutorKey, LaunchExecutor, Note, TaskKey};

/// A task that is to be accepted.
pub(crate) struct NewTask {
    pub(crate) key: TaskKey,
    pub(crate) info: v1::TaskInfo,
    pub(crate) launch_seq: u64,
    /// The first launch sequence of its group.
    pub(crate) group: Option<u64>,
}

impl Agent {
    /// Tasks that are launched together or not at all; their launch sequences follow each other.
    pub(crate) fn on_run_group(&mut self, turn: &mut Turn<'_>, run: event::RunTask) {
        let (framework, group) = (run.framework.unwrap_or_default(), run.task_group.unwrap_or_default());
        let first = run.launch_seq.unwrap_or(0);
        let mut new = Vec::new();
        for (launch_seq, info) in (first..).zip(group.tasks) {
            let Some(key) = TaskKey::from_ids(framework.id.as_ref(), info.task_id.as_ref()) else {
                turn.odd("launch of a group without a framework id or a task id");
                return;
            };
            new.push(NewTask { key, info, launch_seq, group: Some(first) });
        }
        let Some(last) = new.last().map(|task| task.launch_seq) else { return };
        if first <= self.taken_launch_seq {
            turn.note(Note::LaunchRepeated { launch_seq: first, accepted: self.taken_launch_seq });
            if last <= self.accepted_launch_seq {
                self.send_accepted(turn);
            }
            return;
        }
        if self.leaving.is_some() {
            for task in new {
                turn.note(Note::TaskRefused { task: task.key, message: "the agent is leaving".to_owned() });
            }
            return;
        }
        let runs =
            |task: &NewTask| self.tasks.get(&task.key).is_some_and(|old| old.phase != task::Phase::Done);
        if let Some(task) = new.iter().find(|task| runs(task)) {
            turn.odd(format!("launch {first} of a group with task {}, which has not ended", task.key));
            return;
        }
        let refusal = self.refuse_group(&new);
        let keys: Vec<TaskKey> = new.iter().map(|task| task.key.clone()).collect();
        let executor = new.iter().find_map(|task| ExecutorKey::of_task(&task.key.framework_id, &task.info));
        self.accept(turn, framework, new, refusal.is_none());
        if let Some(refusal) = refusal {
            for key in keys {
                turn.note(Note::TaskRefused { task: key.clone(), message: refusal.message.clone() });
                let news = News::agent(refusal.state, refusal.reason, refusal.message.clone());
                self.report(turn, &key, news);
            }
            self.executor_refused(executor);
        }
    }

    /// Returns why a group cannot run here; one bad member spoils it.
    fn refuse_group(&self, new: &[NewTask]) -> Option<Refusal> {
        let executors: Vec<_> = new.iter().map(|task| &task.info.executor).collect();
        if executors.windows(2).any(|pair| pair[0] != pair[1]) || executors.iter().any(|one| one.is_none()) {
            return Some(Refusal::error("the tasks of a group must have the same executor"));
        }
        new.iter().find_map(|task| self.refuse(&task.key, &task.info, true))
    }

    /// Returns why a task cannot run here. The executor of a group makes sense of the commands in it.
    pub(crate) fn refuse(&self, key: &TaskKey, info: &v1::TaskInfo, grouped: bool) -> Option<Refusal> {
        if let Err(refusal) = check_task(&self.agent_id, key, info, grouped) {
            return Some(refusal);
        }
        if self.tasks.len() >= self.config.tasks_max {
            return Some(Refusal::failed("the agent holds too many tasks"));
        }
        let executor = ExecutorKey::of_task(&key.framework_id, info)?;
        let ending = self.executors.get(&executor).is_some_and(|executor| executor.ending.is_some());
        ending.then(|| self.never_delivered(key, "its executor is being shut down"))
    }

    /// DROPPED, or LOST for a framework that does not know that state.
    pub(crate) fn never_delivered(&self, key: &TaskKey, message: &str) -> Refusal {
        let aware = self.has_capability(key, v1::framework_info::capability::Type::PartitionAware);
        let state = if aware { v1::TaskState::TaskDropped } else { v1::TaskState::TaskLost };
        Refusal { state, reason: Reason::ExecutorTerminated, message: message.to_owned() }
    }

    /// Returns the container of the executor that this task needs; begins a new executor if there is none.
    pub(crate) fn container_of(
        &mut self,
        turn: &mut Turn<'_>,
        key: &ExecutorKey,
        info: &v1::TaskInfo,
    ) -> String {
        if let Some(executor) = self.executors.get(key) {
            return executor.container_id.clone();
        }
        let container_id = self.ids.uuid_text();
        let executor_info = info.executor.clone().unwrap_or_default();
        let launched = ExecutorLaunched {
            framework_id: key.framework_id.clone(),
            info: Some(executor_info.clone()),
            container_id: container_id.clone(),
        };
        self.checkpoint(turn, Kind::Executor(Box::new(launched)));
        turn.note(Note::ExecutorState { executor: key.clone(), what: "accepted" });
        let executor = Executor {
            key: key.clone(),
            info: executor_info,
            container_id: container_id.clone(),
            phase: Phase::Accepting,
            pid: None,
            connection: None,
            ever_sent: false,
            ending: None,
        };
        self.executors.insert(key.clone(), executor);
        container_id
    }

    /// A task of an executor is durable: it is handed over, or waits.
    pub(crate) fn queue_task(&mut self, turn: &mut Turn<'_>, key: &TaskKey, executor_key: &ExecutorKey) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.phase = task::Phase::Queued;
        let Some(executor) = self.executors.get_mut(executor_key) else {
            // It ended while the launch was on its way to the disk.
            let refusal = self.never_delivered(key, "its executor ended before it got the task");
            self.report(turn, key, News::agent(refusal.state, refusal.reason, refusal.message));
            return;
        };
        match executor.phase {
            Phase::Accepting => {
                executor.phase = Phase::Launching;
                let launch = LaunchExecutor {
                    executor: executor_key.clone(),
                    container_id: executor.container_id.clone(),
                    agent_id: self.agent_id.clone(),
                    framework: self.frameworks.get(&key.framework_id).cloned().unwrap_or_default(),
                    info: executor.info.clone(),
                    grace_ms: executor.grace_ms(&self.config),
                };
                turn.push(Effect::LaunchExecutor(Box::new(launch)));
            }
            Phase::Running => self.deliver(turn, executor_key),
            Phase::Launching | Phase::Registering | Phase::Recovering => {}
        }
    }

    pub(crate) fn on_executor_launched(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey, pid: u32) {
        let Some(executor) = self.executors.get_mut(key).filter(|executor| executor.pid.is_none()) else {
            turn.odd(format!("executor {key} was started, but no start was under way"));
            return;
        };
        executor.pid = Some(pid);
        if executor.phase != Phase::Launching {
            // It was quicker than the news of its start. An order to end it may have found no process yet.
            if executor.ending.is_some() && executor.connection.is_none() {
                let grace_ms = executor.grace_ms(&self.config);
                turn.push(Effect::KillExecutor { executor: key.clone(), grace_ms });
            }
            return;
        }
        executor.phase = Phase::Registering;
        turn.note(Note::ExecutorState { executor: key.clone(), what: "started" });
        if executor.ending.is_some() {
            let grace_ms = executor.grace_ms(&self.config);
            turn.push(Effect::KillExecutor { executor: key.clone(), grace_ms });
            return;
        }
        let at_ms = turn.now.mono_ms.saturating_add(self.config.executor_registration_timeout_ms);
        self.timers.set(Timer::ExecutorRegistration(key.clone()), at_ms);
    }

    /// An executor that did not subscribe in time is destroyed.
    pub(crate) fn on_registration_timeout(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        executor.ending = Some(match executor.phase {
            Phase::Registering => Cause::RegistrationTimeout,
            Phase::Recovering => Cause::ReregistrationTimeout,
            Phase::Accepting | Phase::Launching | Phase::Running => return,
        });
        turn.note(Note::ExecutorState { executor: key.clone(), what: "did not subscribe in time" });
        turn.push(Effect::KillExecutor { executor: key.clone(), grace_ms: 0 });
    }
}

impl Agent {
    /// Takes launches in: recorded as one, so that a crash keeps all of a group or none of it. `fit`: they may be started.
    pub(crate) fn accept(
        &mut self,
        turn: &mut Turn<'_>,
        framework: v1::FrameworkInfo,
        new: Vec<NewTask>,
        fit: bool,
    ) {
        // A master that launches an id again no longer waits for what the former task of that id had to say.
        for task in &new {
            if self.tasks.contains_key(&task.key) {
                self.forget(turn, &task.key);
            }
        }
        let Some(framework_id) = new.first().map(|task| task.key.framework_id.clone()) else { return };
        if self.frameworks.get(&framework_id) != Some(&framework) {
            self.checkpoint(turn, Kind::Framework(Box::new(framework.clone())));
            self.frameworks.insert(framework_id, framework);
        }
        let mut tasks = Vec::new();
        for mut new in new {
            let executor = ExecutorKey::of_task(&new.key.framework_id, &new.info);
            let container_id = match executor.as_ref().filter(|_| fit) {
                Some(executor) => self.container_of(turn, executor, &new.info),
                None => self.ids.uuid_text(),
            };
            if let Some(executor) = &mut new.info.executor {
                // Kept once, with the executor: it may be large.
                executor.data = None;
            }
            tasks.push((new, executor, container_id));
        }
        let accepted: Vec<Accepted> = tasks
            .iter()
            .map(|(new, _, container_id)| Accepted {
                framework_id: new.key.framework_id.clone(),
                launch_seq: new.launch_seq,
                info: Some(new.info.clone()),
                container_id: container_id.clone(),
            })
            .collect();
        let kind = match <[Accepted; 1]>::try_from(accepted) {
            Ok([accepted]) => Kind::Accepted(Box::new(accepted)),
            Err(accepted) => Kind::AcceptedGroup(AcceptedGroup { accepted }),
        };
        let record = self.checkpoint(turn, kind);
        for (new, executor, container_id) in tasks {
            let NewTask { key, info, launch_seq, group } = new;
            self.taken_launch_seq = launch_seq;
            self.await_record(record, Awaiting::Accepted { task: key.clone(), launch_seq });
            turn.note(Note::TaskAccepted { task: key.clone(), launch_seq });
            let task = task::Task {
                launch_seq,
                record,
                executor,
                group,
                ..task::Task::new(key.clone(), info, container_id)
            };
            self.tasks.insert(key, task);
        }
    }
}
