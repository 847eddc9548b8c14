//! Answers about tasks that a master holds and this agent did not name. Owns those answers; they are repeated until they are
//! acknowledged or the registration ends, whichever comes first.

use tepui_proto::tepui::agent_link::event;
use tepui_proto::v1;
use v1::task_status::Reason;

use crate::TaskKey;
use crate::agent::{Agent, Turn};
use crate::outbox::Outbox;
use crate::status::{News, bare};
use crate::timers::Timer;

impl Agent {
    pub(crate) fn on_reconcile(&mut self, turn: &mut Turn<'_>, reconcile: event::Reconcile) {
        let Some(key) = TaskKey::from_ids(reconcile.framework_id.as_ref(), reconcile.task_id.as_ref()) else {
            turn.odd("reconciliation without a framework id or a task id");
            return;
        };
        // A known task speaks for itself: its updates are repeated until they are acknowledged.
        if self.tasks.contains_key(&key) || self.answers.contains_key(&key) {
            return;
        }
        if self.answers.len() >= self.config.tasks_max {
            turn.odd(format!("too many tasks to reconcile, {key} must wait for the next registration"));
            return;
        }
        let news = if reconcile.launch_seq.is_some_and(|seq| seq > self.taken_launch_seq) {
            News::agent(
                v1::TaskState::TaskDropped,
                Reason::Reconciliation,
                "the launch never reached the agent",
            )
        } else {
            News::agent(
                v1::TaskState::TaskGone,
                Reason::Reconciliation,
                "the agent does not have the task any more",
            )
        };
        let mut status = bare(&self.agent_id, &key, news, turn.now);
        status.uuid = Some(self.ids.uuid());
        let mut outbox = Outbox::default();
        outbox.push(status, 0);
        if let Some((status, pause_ms)) = outbox.start(self.durable_record, self.config.update_retry_min_ms) {
            let status = status.clone();
            self.timers.set(Timer::AnswerRetry(key.clone()), turn.now.mono_ms.saturating_add(pause_ms));
            let state = status.state();
            self.send_update(turn, &key, status, state);
        }
        self.answers.insert(key, outbox);
    }

    pub(crate) fn repeat_answer(&mut self, turn: &mut Turn<'_>, key: &TaskKey) {
        let Some(outbox) = self.answers.get_mut(key) else { return };
        let Some((status, pause_ms)) = outbox.repeat(self.config.update_retry_max_ms) else { return };
        let status = status.clone();
        self.timers.set(Timer::AnswerRetry(key.clone()), turn.now.mono_ms.saturating_add(pause_ms));
        let state = status.state();
        self.send_update(turn, key, status, state);
    }

    pub(crate) fn acknowledge_answer(&mut self, key: &TaskKey, uuid: &[u8]) {
        if self.answers.get_mut(key).is_some_and(|outbox| outbox.acknowledge(uuid).is_some()) {
            self.answers.remove(key);
            self.timers.cancel(&Timer::AnswerRetry(key.clone()));
        }
    }
}
