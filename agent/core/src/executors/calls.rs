//! UPDATE, MESSAGE and KILL between an executor and the agent. Owns what the agent adds to an executor's status, and that an
//! update is acknowledged to the executor only when it is durable.

use bytes::Bytes;
use tepui_proto::tepui::agent_link::{Call, call as link_call, event as link_event};
use tepui_proto::v1;
use v1::executor::{Event, event};
use v1::task_status::{Reason, Source};

use super::subscribe::new_event;
use crate::agent::{Agent, Awaiting, Turn};
use crate::checkpoint::{Kind, Updated};
use crate::link::LinkState;
use crate::status::{News, container};
use crate::task::Phase;
use crate::{ExecutorKey, Note, TaskKey};

impl Agent {
    /// Takes an update that was checked for itself. One that came before, or that no task is left for, is only acknowledged.
    pub(crate) fn on_executor_update(
        &mut self,
        turn: &mut Turn<'_>,
        key: &ExecutorKey,
        mut status: v1::TaskStatus,
    ) {
        let (Some(task_id), Some(uuid)) = (status.task_id.clone(), status.uuid.clone()) else { return };
        let Some(executor) = self.executors.get(key) else { return };
        let task_key = TaskKey::new(key.framework_id.clone(), task_id.value());
        let task = self.tasks.get_mut(&task_key).filter(|task| task.executor.as_ref() == Some(key));
        let Some(task) = task.filter(|task| matches!(task.phase, Phase::Running | Phase::Done)) else {
            turn.note(refused(key, &status));
            self.send_acknowledged(turn, key, task_id, uuid);
            return;
        };
        if task.has_seen(&uuid) {
            if task.outbox.is_durable(&uuid, self.durable_record) {
                self.send_acknowledged(turn, key, task_id, uuid);
            }
            return;
        }
        if task.phase == Phase::Done {
            turn.note(refused(key, &status));
            self.send_acknowledged(turn, key, task_id, uuid);
            return;
        }
        if task.outbox.is_full() && !status.state().is_terminal() {
            // Not acknowledged: it may come again when there is room.
            turn.note(refused(key, &status));
            return;
        }
        task.pid = executor.pid;
        let own = container(&self.config, task);
        let given = status.container_status.get_or_insert_default();
        given.container_id = own.container_id;
        given.executor_pid = given.executor_pid.or(own.executor_pid);
        if given.network_infos.is_empty() {
            given.network_infos = own.network_infos;
        }
        status.source = Some(Source::Executor.into());
        status.agent_id = Some(v1::AgentId { value: Some(self.agent_id.clone()) });
        status.executor_id = Some(key.wire_executor_id());
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit in 53 bits for ages")]
        status.timestamp.get_or_insert(turn.now.wall_ms as f64 / 1000.0);
        task.see(uuid.clone());
        let state = status.state();
        turn.note(Note::TaskState { task: task_key.clone(), state });
        if state.is_terminal() {
            task.phase = Phase::Done;
        }
        if task.abandoned && !state.is_terminal() {
            task.outbox.replace_latest(status);
            self.send_acknowledged(turn, key, task_id, uuid);
            return;
        }
        let updated = Updated { framework_id: key.framework_id.clone(), status: Some(status.clone()) };
        let record = self.checkpoint(turn, Kind::Updated(Box::new(updated)));
        self.await_record(record, Awaiting::Updated { task: task_key.clone() });
        self.await_record(record, Awaiting::ExecutorUpdate { executor: key.clone(), task_id, uuid });
        if let Some(task) = self.tasks.get_mut(&task_key) {
            task.outbox.push(status, record);
        }
    }

    /// Returns whether an update of an executor can be taken now. One that came before, or that ends its task, always can.
    pub fn has_room_for(&self, key: &ExecutorKey, status: &v1::TaskStatus) -> bool {
        let task_id = status.task_id.as_ref().map_or("", v1::TaskId::value);
        let task = self.tasks.get(&TaskKey::new(key.framework_id.clone(), task_id));
        task.is_none_or(|task| {
            status.state().is_terminal() || !task.outbox.is_full() || task.has_seen(status.uuid())
        })
    }

    pub(crate) fn send_acknowledged(
        &self,
        turn: &mut Turn<'_>,
        key: &ExecutorKey,
        task_id: v1::TaskId,
        uuid: Bytes,
    ) {
        let acknowledged = event::Acknowledged { task_id: Some(task_id), uuid: Some(uuid) };
        let event = Event { acknowledged: Some(acknowledged), ..new_event(event::Type::Acknowledged) };
        self.send_to_executor(turn, key, event);
    }

    /// MESSAGE of an executor: best effort.
    pub(crate) fn on_executor_message(&mut self, turn: &mut Turn<'_>, key: &ExecutorKey, data: Bytes) {
        if self.link.state != LinkState::Up {
            turn.note(Note::MessageDropped {
                framework_id: key.framework_id.clone(),
                executor_id: key.executor_id.clone(),
            });
            return;
        }
        let message = link_call::Message {
            framework_id: Some(key.wire_framework_id()),
            executor_id: Some(key.wire_executor_id()),
            data: Some(data),
        };
        self.send(turn, Call { message: Some(message), ..self.call(link_call::Type::Message) });
    }

    /// MESSAGE of a framework: best effort.
    pub(crate) fn on_framework_message(&mut self, turn: &mut Turn<'_>, message: link_event::Message) {
        let key = ExecutorKey::from_ids(message.framework_id.as_ref(), message.executor_id.as_ref());
        let listens = |key: &ExecutorKey| {
            self.executors
                .get(key)
                .is_some_and(|executor| executor.connection.is_some() && executor.ending.is_none())
        };
        match key.filter(listens) {
            Some(key) => {
                let message = event::Message { data: message.data };
                let event = Event { message: Some(message), ..new_event(event::Type::Message) };
                self.send_to_executor(turn, &key, event);
            }
            None => turn.note(Note::MessageDropped {
                framework_id: message.framework_id.and_then(|id| id.value).unwrap_or_default(),
                executor_id: message.executor_id.and_then(|id| id.value).unwrap_or_default(),
            }),
        }
    }

    /// A task of an executor is to be killed: by the executor if it has it, otherwise here and now.
    pub(crate) fn kill_of_executor(
        &mut self,
        turn: &mut Turn<'_>,
        task_key: &TaskKey,
        key: &ExecutorKey,
        policy: Option<v1::KillPolicy>,
    ) {
        let Some(task) = self.tasks.get_mut(task_key) else { return };
        match task.phase {
            Phase::Done => {}
            Phase::Accepting | Phase::Queued => {
                let group = task.group;
                self.kill_waiting(turn, task_key, group);
                self.end_if_nothing_to_do(turn, key);
            }
            Phase::Launching | Phase::Running | Phase::Recovering => {
                task.kill_wish = Some(policy);
                if task.phase == Phase::Running {
                    self.send_kill(turn, key, task_key, policy);
                }
            }
        }
    }

    /// Its group was not delivered, so the whole of it goes.
    fn kill_waiting(&mut self, turn: &mut Turn<'_>, task_key: &TaskKey, group: Option<u64>) {
        let same = |task: &crate::task::Task| {
            let waits = matches!(task.phase, Phase::Accepting | Phase::Queued);
            waits && (task.key == *task_key || (group.is_some() && task.group == group))
        };
        let keys: Vec<TaskKey> =
            self.tasks.values().filter(|task| same(task)).map(|task| task.key.clone()).collect();
        for key in keys {
            let message = if key == *task_key {
                "killed before it was delivered to its executor"
            } else {
                "a task of its group was killed before it was delivered to its executor"
            };
            let news = News::agent(v1::TaskState::TaskKilled, Reason::TaskKilledDuringLaunch, message);
            self.report(turn, &key, news);
        }
    }

    pub(crate) fn send_kill(
        &self,
        turn: &mut Turn<'_>,
        key: &ExecutorKey,
        task: &TaskKey,
        kill_policy: Option<v1::KillPolicy>,
    ) {
        let kill = event::Kill { task_id: Some(task.wire_task_id()), kill_policy };
        self.send_to_executor(turn, key, Event { kill: Some(kill), ..new_event(event::Type::Kill) });
    }
}

fn refused(key: &ExecutorKey, status: &v1::TaskStatus) -> Note {
    let task_id = status.task_id.as_ref().map_or("", v1::TaskId::value).to_owned();
    Note::UpdateRefused { executor: key.clone(), task_id, state: status.state() }
}
