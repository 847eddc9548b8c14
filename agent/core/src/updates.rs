//! Status updates on their way: recorded, sent one at a time per task, repeated until acknowledged. Owns when a task is
//! forgotten.

use tepui_proto::tepui::agent_link::{Call, call, event};
use tepui_proto::v1;

use crate::agent::{Agent, Awaiting, Turn};
use crate::checkpoint::{Acknowledged, Forgotten, Kind, Updated};
use crate::link::LinkState;
use crate::status::{News, of_task};
use crate::task::Phase;
use crate::timers::Timer;
use crate::view::CompletedTask;
use crate::{Effect, Note, TaskKey};

impl Agent {
    /// Adds an update to a task; a terminal one ends it. Updates of a task that has ended are refused.
    pub(crate) fn report(&mut self, turn: &mut Turn<'_>, key: &TaskKey, news: News) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        if task.phase == Phase::Done {
            turn.odd(format!("task {key} has ended, and now is {}", news.state.as_str_name()));
            return;
        }
        let state = news.state;
        let mut status = of_task(&self.agent_id, &self.config, task, news, turn.now);
        status.uuid = Some(self.ids.uuid());
        turn.note(Note::TaskState { task: key.clone(), state });
        if state.is_terminal() {
            task.phase = Phase::Done;
            self.timers.cancel(&Timer::MaxCompletion(key.clone()));
        }
        if task.abandoned && !state.is_terminal() {
            task.outbox.replace_latest(status);
            return;
        }
        let updated = Updated { framework_id: key.framework_id.clone(), status: Some(status.clone()) };
        let record = self.checkpoint(turn, Kind::Updated(Box::new(updated)));
        self.await_record(record, Awaiting::Updated { task: key.clone() });
        if let Some(task) = self.tasks.get_mut(key) {
            task.outbox.push(status, record);
        }
    }

    /// Sends the oldest update of a task if it is durable and none is under way. That of an abandoned task, its end, is
    /// sent this once, or never if nobody listens.
    pub(crate) fn send_next_update(&mut self, turn: &mut Turn<'_>, key: &TaskKey) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let latest = task.outbox.durable_state(self.durable_record);
        if task.abandoned {
            if self.link.state == LinkState::Registering {
                // The registration that is under way may name the task, so its end is told right after.
                return;
            }
            if let Some(status) = task.outbox.head(self.durable_record).cloned() {
                self.send_update(turn, key, status, latest);
                self.forget(turn, key);
            }
            return;
        }
        if self.link.state != LinkState::Up {
            return;
        }
        let Some((status, pause_ms)) =
            task.outbox.start(self.durable_record, self.config.update_retry_min_ms)
        else {
            return;
        };
        let status = status.clone();
        self.timers.set(Timer::Retry(key.clone()), turn.now.mono_ms.saturating_add(pause_ms));
        self.send_update(turn, key, status, latest);
    }

    pub(crate) fn repeat_update(&mut self, turn: &mut Turn<'_>, key: &TaskKey) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let latest = task.outbox.durable_state(self.durable_record);
        let Some((status, pause_ms)) = task.outbox.repeat(self.config.update_retry_max_ms) else { return };
        let status = status.clone();
        self.timers.set(Timer::Retry(key.clone()), turn.now.mono_ms.saturating_add(pause_ms));
        self.send_update(turn, key, status, latest);
    }

    pub(crate) fn send_update(
        &self,
        turn: &mut Turn<'_>,
        key: &TaskKey,
        status: v1::TaskStatus,
        latest: v1::TaskState,
    ) {
        let update = call::Update {
            framework_id: Some(key.wire_framework_id()),
            status: Some(status),
            latest_state: Some(latest.into()),
        };
        self.send(turn, Call { update: Some(update), ..self.call(call::Type::Update) });
    }

    pub(crate) fn on_acknowledge(&mut self, turn: &mut Turn<'_>, acknowledge: event::Acknowledge) {
        let Some(key) = TaskKey::from_ids(acknowledge.framework_id.as_ref(), acknowledge.task_id.as_ref())
        else {
            turn.odd("acknowledgement without a framework id or a task id");
            return;
        };
        let uuid = acknowledge.uuid.unwrap_or_default();
        let Some(task) = self.tasks.get_mut(&key) else {
            self.acknowledge_answer(&key, &uuid);
            return;
        };
        // Acknowledgements come again when updates do; only that of the oldest means anything.
        let Some(status) = task.outbox.acknowledge(&uuid) else { return };
        self.timers.cancel(&Timer::Retry(key.clone()));
        let acknowledged =
            Acknowledged { framework_id: key.framework_id.clone(), task_id: key.task_id.clone(), uuid };
        let record = self.checkpoint(turn, Kind::Acknowledged(acknowledged));
        if status.state().is_terminal() {
            self.forget(turn, &key);
        } else if let Some(task) = self.tasks.get_mut(&key) {
            // If the agent stopped now it would send the acknowledged one again, which must not come behind the next.
            task.outbox.hold(record);
            self.await_record(record, Awaiting::Updated { task: key });
        }
    }

    /// Drops all knowledge of a task but a line in the history.
    pub(crate) fn forget(&mut self, turn: &mut Turn<'_>, key: &TaskKey) {
        let Some(task) = self.tasks.remove(key) else { return };
        self.timers.cancel(&Timer::Retry(key.clone()));
        self.timers.cancel(&Timer::MaxCompletion(key.clone()));
        let forgotten = Forgotten { framework_id: key.framework_id.clone(), task_id: key.task_id.clone() };
        self.checkpoint(turn, Kind::Forgotten(forgotten));
        if task.executor.is_none() {
            turn.push(Effect::Forgotten { task: key.clone(), container_id: task.container_id.clone() });
        }
        let executor = task.executor.as_ref().and_then(|key| self.executors.get(key));
        let goes_on = executor.is_some_and(|executor| executor.container_id == task.container_id);
        let mut info = task.info;
        // Nobody is shown them, and they may be long.
        info.data = None;
        if let Some(executor) = &mut info.executor {
            executor.data = None;
        }
        let done = CompletedTask {
            key: task.key,
            info,
            executor: task.executor,
            container_id: task.container_id,
            latest: task.outbox.latest().cloned(),
            wait_status: task.wait_status,
        };
        self.history.add_task(done, goes_on);
        self.forget_framework_without_use(&key.framework_id);
    }
}
