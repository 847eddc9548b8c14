//! What agents report about tasks, in batches.
//!
//! ```text
//! STAGING ─► STARTING ─► RUNNING ─► KILLING ─► terminal (final) ─► acknowledged: history
//!    └────────────┴──────────┴─────────┴────► UNREACHABLE or LOST by the master, undone when the agent is back
//! ```

use std::sync::Arc;

use bytes::Bytes;
use tepui_proto::v1::{self, TaskState, task_status::Source};

use super::{MAX_STATUSES, Step};
use crate::ids::{self, AgentId, TaskId, TaskKey};
use crate::registry::operation::{
    Observation, Observe, ObservedAccept, ObservedAcknowledgement, ObservedStatus,
};
use crate::registry::outcome::Outcome;
use crate::registry::records::TaskRecord;

impl Step<'_> {
    pub(super) fn observe(&mut self, observe: &Observe) -> Outcome {
        for event in &observe.events {
            match &event.observation {
                Some(Observation::Status(status)) => self.observe_status(status),
                Some(Observation::Acknowledged(acknowledged)) => self.observe_acknowledgement(acknowledged),
                Some(Observation::Accepted(accepted)) => self.observe_accept(accepted),
                Some(Observation::Resources(word)) => self.observe_resources(word),
                Some(Observation::OperationAcknowledged(word)) => {
                    self.observe_operation_acknowledgement(word);
                }
                Some(Observation::ExecutorExited(exited)) => self.observe_executor_exit(exited),
                None => {}
            }
        }
        Outcome::Done
    }

    fn observe_status(&mut self, observed: &ObservedStatus) {
        let Some(status) = &observed.status else { return };
        let task: TaskId = ids::of(status.task_id.as_ref());
        let key = TaskKey::new(observed.framework_id.as_str(), task);
        let Some(old) = self.tables.tasks.get(&key).cloned() else { return };
        let latest = observed.latest_state.and_then(|state| TaskState::try_from(state).ok());
        let latest = latest.unwrap_or_else(|| status.state());
        let from_agent = status.source() != Source::Master;
        if from_agent {
            self.confirm_executor(&old, status);
        }
        if self.tables.is_orphan(&key) {
            if latest.is_terminal() || status.state().is_terminal() {
                self.put_task(&key, None);
            }
            return;
        }
        let mut new = TaskRecord::clone(&*old);
        if from_agent {
            // Whoever reports on a task has it; and who reports is not unreachable.
            new.info = None;
        }
        let ended = new.state().is_terminal() && new.unreachable_wall_ms.is_none();
        new.unreachable_wall_ms = None;
        // A terminal state is final, though the updates that led to it may still be on their way to the framework.
        let state = if ended { new.state() } else { latest };
        write_status(&mut new, status, state);
        let unacknowledged = status.uuid.as_ref().is_some_and(|uuid| !uuid.is_empty());
        if status.state().is_terminal() && !unacknowledged {
            self.finish(&key, &new);
        } else {
            self.put_task(&key, Some(new));
        }
    }

    fn observe_acknowledgement(&mut self, observed: &ObservedAcknowledgement) {
        let key = TaskKey::new(observed.framework_id.as_str(), observed.task_id.as_str());
        let Some(record) = self.tables.tasks.get(&key).cloned() else { return };
        let Some(task) = &record.task else { return };
        let latest = task.status_update_uuid.as_ref().is_some_and(|uuid| *uuid == observed.uuid);
        if latest && task.status_update_state.is_some() && task.status_update_state().is_terminal() {
            self.finish(&key, &record);
        }
    }

    fn observe_accept(&mut self, observed: &ObservedAccept) {
        let id = AgentId::from(observed.agent_id.as_str());
        let Some(agent) = self.tables.agents.get_mut(&id) else { return };
        if observed.launch_seq <= agent.accepted_launch_seq {
            return;
        }
        Arc::make_mut(agent).accepted_launch_seq = observed.launch_seq;
        let first = (id.clone(), 0, TaskKey::new("", ""));
        let waiting = self.tables.untaken.range(first..);
        let taken: Vec<TaskKey> = waiting
            .take_while(|(agent, number, _)| *agent == id && *number <= observed.launch_seq)
            .map(|(_, _, key)| key.clone())
            .collect();
        for key in taken {
            let Some(record) = self.tables.tasks.get(&key) else { continue };
            let mut without = TaskRecord::clone(record);
            without.info = None;
            // Invisible from outside, so no change is reported.
            self.tables.put_task(&key, Some(Arc::new(without)));
        }
    }
}

/// Notes that `status` was forwarded, and that the task is in `state`.
pub(super) fn write_status(record: &mut TaskRecord, status: &v1::TaskStatus, state: TaskState) {
    let mut status = status.clone();
    status.data = None;
    // By itself: what was read shares the bytes of its whole entry, which would be kept as long as the task.
    status.uuid = status.uuid.map(|uuid| Bytes::copy_from_slice(&uuid));
    if let Some(task) = &mut record.task {
        task.set_state(state);
        task.status_update_state = status.state;
        task.status_update_uuid = status.uuid.clone().filter(|uuid| !uuid.is_empty());
        match task.statuses.last_mut() {
            Some(last) if last.state == status.state => *last = status.clone(),
            _ => {
                // No room for more: there are many tasks, and few statuses of each.
                task.statuses.reserve_exact(1);
                task.statuses.push(status.clone());
            }
        }
        if task.statuses.len() > MAX_STATUSES {
            task.statuses.remove(0);
        }
    }
    record.last_status = Some(status);
}
