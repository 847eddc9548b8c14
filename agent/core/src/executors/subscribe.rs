//! SUBSCRIBE and what follows from it: tasks that waited are handed over. Owns which stream an executor listens on.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::v1;
use v1::executor::{Event, call, event};
use v1::task_status::Reason;

use super::{Cause, Phase};
use crate::agent::{Agent, Turn};
use crate::status::News;
use crate::task;
use crate::timers::Timer;
use crate::{Effect, ExecutorKey, Note, TaskKey};

impl Agent {
    pub(crate) fn on_executor_subscribed(
        &mut self,
        turn: &mut Turn<'_>,
        key: &ExecutorKey,
        connection: u64,
        subscribe: call::Subscribe,
    ) {
        let Some(executor) = self.executors.get_mut(key) else {
            // It ended between the check of the call and now.
            turn.push(Effect::CloseExecutor { connection });
            return;
        };
        if executor.phase == Phase::Accepting {
            // Its process is not started yet, so this is somebody else.
            turn.push(Effect::CloseExecutor { connection });
            return;
        }
        if let Some(old) = executor.connection.replace(connection) {
            turn.push(Effect::CloseExecutor { connection: old });
        }
        if executor.ending.is_some() {
            self.send_to_executor(turn, key, new_event(event::Type::Shutdown));
            return;
        }
        turn.note(Note::ExecutorState { executor: key.clone(), what: "subscribed" });
        executor.phase = Phase::Running;
        self.timers.cancel(&Timer::ExecutorRegistration(key.clone()));
        let at_ms = turn.now.mono_ms.saturating_add(self.config.executor_heartbeat_ms);
        self.timers.set(Timer::ExecutorHeartbeat(key.clone()), at_ms);
        self.send_subscribed(turn, key);
        for update in subscribe.unacknowledged_updates {
            if let Some(status) = update.status {
                self.on_executor_update(turn, key, status);
            }
        }
        let known = subscribe.unacknowledged_tasks.into_iter().filter_map(|task| task.task_id?.value);
        self.drop_undelivered(turn, key, &known.collect());
        self.deliver(turn, key);
        self.kill_again(turn, key);
        self.end_if_nothing_to_do(turn, key);
    }

    fn send_subscribed(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey) {
        let Some(executor) = self.executors.get(key) else { return };
        let mut agent_info = self.config.agent_info.clone();
        agent_info.id = Some(v1::AgentId { value: Some(self.agent_id.clone()) });
        let subscribed = event::Subscribed {
            executor_info: Some(executor.info.clone()),
            framework_info: self.frameworks.get(&key.framework_id).cloned(),
            agent_info: Some(agent_info),
            container_id: Some(v1::ContainerId { value: Some(executor.container_id.clone()), parent: None }),
        };
        let event = Event { subscribed: Some(subscribed), ..new_event(event::Type::Subscribed) };
        self.send_to_executor(turn, key, event);
    }

    /// A task that was handed over and of which the executor knows nothing never reached it: its stream, or this agent,
    /// broke at that moment. As in Mesos it is not tried again.
    fn drop_undelivered(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey, known: &BTreeSet<String>) {
        let lost: Vec<TaskKey> = self
            .tasks_of_executor(key)
            .filter(|task| task.phase == task::Phase::Running)
            .filter(|task| task.outbox.latest_state() == v1::TaskState::TaskStaging)
            .filter(|task| !known.contains(&task.key.task_id))
            .map(|task| task.key.clone())
            .collect();
        for task in lost {
            let refusal = self.never_delivered(&task, "the task did not reach its executor");
            self.report(turn, &task, News::agent(refusal.state, Reason::AgentRestarted, refusal.message));
        }
    }

    /// Hands every task that waits to an executor that listens, in the order of launches, a group as one. One with volumes follows
    /// when they are in the sandbox.
    pub(crate) fn deliver(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey) {
        let Some(executor) = self.executors.get(key).filter(|executor| {
            executor.phase == Phase::Running && executor.connection.is_some() && executor.ending.is_none()
        }) else {
            return;
        };
        let info = executor.info.clone();
        let mut waiting: BTreeMap<u64, Vec<TaskKey>> = BTreeMap::new();
        let mut groups = BTreeSet::new();
        // A group is queued member by member, in one turn; it is whole or not there.
        let own = || self.tasks.values().filter(|task| task.executor.as_ref() == Some(key));
        let accepting: BTreeSet<u64> =
            own().filter(|task| task.phase == task::Phase::Accepting).filter_map(|task| task.group).collect();
        for task in own().filter(|task| task.phase == task::Phase::Queued) {
            if task.group.is_some_and(|group| accepting.contains(&group)) {
                continue;
            }
            groups.extend(task.group);
            waiting.entry(task.group.unwrap_or(task.launch_seq)).or_default().push(task.key.clone());
        }
        for (first, keys) in waiting {
            if !self.volumes_are_shown(turn, key, &keys) {
                continue;
            }
            let tasks: Vec<v1::TaskInfo> =
                keys.iter().filter_map(|task| self.hand_over(task, &info)).collect();
            if groups.contains(&first) {
                let group = event::LaunchGroup { task_group: Some(v1::TaskGroupInfo { tasks }) };
                let event = Event { launch_group: Some(group), ..new_event(event::Type::LaunchGroup) };
                self.send_to_executor(turn, key, event);
            } else {
                for task in tasks {
                    let launch = event::Launch { task: Some(task) };
                    let event = Event { launch: Some(launch), ..new_event(event::Type::Launch) };
                    self.send_to_executor(turn, key, event);
                }
            }
        }
    }

    /// A task is on its way to its executor from here on.
    fn hand_over(&mut self, task: &TaskKey, executor: &v1::ExecutorInfo) -> Option<v1::TaskInfo> {
        let task = self.tasks.get_mut(task)?;
        task.phase = task::Phase::Running;
        let whole = v1::TaskInfo { executor: Some(executor.clone()), ..task.info.clone() };
        let executor = self.executors.get_mut(task.executor.as_ref()?)?;
        executor.ever_sent = true;
        Some(whole)
    }

    /// An executor that was away is told again what is to be killed.
    fn kill_again(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey) {
        let wishes: Vec<_> = self
            .tasks_of_executor(key)
            .filter(|task| task.phase == task::Phase::Running)
            .filter_map(|task| Some((task.key.clone(), task.kill_wish?)))
            .collect();
        for (task, policy) in wishes {
            self.send_kill(turn, key, &task, policy);
        }
    }

    pub(crate) fn end_if_nothing_to_do(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey) {
        let ever_sent = self.executors.get(key).is_none_or(|executor| executor.ever_sent);
        if !ever_sent && self.tasks_of_executor(key).all(|task| task.phase == task::Phase::Done) {
            self.shut_executor_down(turn, key, Cause::NothingToDo);
        }
    }

    pub(crate) fn on_executor_disconnected(
        &mut self,
        turn: &mut Turn<'_>,
        key: &ExecutorKey,
        connection: u64,
    ) {
        let Some(executor) =
            self.executors.get_mut(key).filter(|executor| executor.connection == Some(connection))
        else {
            return;
        };
        executor.connection = None;
        self.timers.cancel(&Timer::ExecutorHeartbeat(key.clone()));
        turn.note(Note::ExecutorState { executor: key.clone(), what: "left its stream" });
    }

    pub(crate) fn on_heartbeat(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey) {
        if self.executors.get(key).is_some_and(|executor| executor.connection.is_some()) {
            let at_ms = turn.now.mono_ms.saturating_add(self.config.executor_heartbeat_ms.max(1));
            self.timers.set(Timer::ExecutorHeartbeat(key.clone()), at_ms);
            self.send_to_executor(turn, key, new_event(event::Type::Heartbeat));
        }
    }

    /// Sends to an executor that listens; nobody else hears it.
    pub(crate) fn send_to_executor(&self, turn: &mut Turn<'_>, key: &ExecutorKey, event: Event) {
        if let Some(connection) = self.executors.get(key).and_then(|executor| executor.connection) {
            turn.push(Effect::ToExecutor { connection, event: Box::new(event) });
        }
    }

    pub(crate) fn tasks_of_executor(&self, key: &ExecutorKey) -> impl Iterator<Item = &task::Task> {
        let first = TaskKey::new(key.framework_id.clone(), "");
        let own = self.tasks.range(first..).map(|(_, task)| task);
        own.take_while(|task| task.key.framework_id == key.framework_id)
            .filter(|task| task.executor.as_ref() == Some(key))
    }
}

pub(crate) fn new_event(kind: event::Type) -> Event {
    Event { r#type: Some(kind.into()), ..Default::default() }
}
