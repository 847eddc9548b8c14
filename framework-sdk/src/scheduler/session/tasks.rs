//! The tasks that a driver knows, and which of their updates its framework needs to see.
//!
//! Owns three memories: tasks that are not over, updates that the framework holds, and updates that it has taken. A repeated
//! update is delivered once per process; after a restart of the framework it comes again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::super::calls;
use super::input::Command;
use crate::v1;
use crate::v1::scheduler::Call;
use crate::v1::scheduler::call::reconcile;

/// Tasks asked about in one RECONCILE, so that no call grows without bound.
const RECONCILE_CHUNK: usize = 500;
/// Taken updates remembered, so that a repetition is acknowledged again without troubling the framework.
const TAKEN_LIMIT: usize = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Tasks {
    known: BTreeMap<String, Known>,
    /// Asked about by the driver itself and not answered yet.
    unanswered: BTreeSet<String>,
    in_hand: BTreeSet<Bytes>,
    taken: BTreeSet<Bytes>,
    taken_order: VecDeque<Bytes>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    agent_id: Option<v1::AgentId>,
    /// Absent until the first update.
    state: Option<v1::TaskState>,
}

/// What to do with an update.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    Deliver,
    /// Taken before: the acknowledgement was lost.
    AcknowledgeAgain(Command),
    /// In the framework's hands already, or nothing new.
    Drop,
}

impl Tasks {
    /// Remembers tasks from the moment their launch is sent.
    pub(super) fn launching(&mut self, launched: &[(v1::TaskId, Option<v1::AgentId>)]) {
        for (task_id, agent_id) in launched {
            let known = self.known.entry(task_id.value().to_owned()).or_default();
            known.agent_id = agent_id.clone().or(known.agent_id.take());
        }
    }

    /// Forgets tasks whose launch certainly had no effect.
    pub(super) fn not_launched(&mut self, launched: &[(v1::TaskId, Option<v1::AgentId>)]) {
        for (task_id, _) in launched {
            if self.known.get(task_id.value()).is_some_and(|known| known.state.is_none()) {
                self.known.remove(task_id.value());
                self.unanswered.remove(task_id.value());
            }
        }
    }

    pub(super) fn on_update(&mut self, status: &v1::TaskStatus) -> Verdict {
        if let Some(uuid) = &status.uuid {
            if self.in_hand.contains(uuid) {
                return Verdict::Drop;
            }
            if self.taken.contains(uuid) {
                return Command::acknowledge(status).map_or(Verdict::Drop, Verdict::AcknowledgeAgain);
            }
        }
        let task_id = status.task_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default();
        let asked = self.unanswered.remove(&task_id);
        let before = self.known.get(&task_id).and_then(|known| known.state);
        let state = status.state.and_then(|state| v1::TaskState::try_from(state).ok());
        let is_over = state.is_some_and(|state| state.is_terminal() || state == v1::TaskState::TaskUnknown);
        if is_over {
            self.known.remove(&task_id);
        } else {
            let known = self.known.entry(task_id).or_default();
            known.state = state;
            known.agent_id = status.agent_id.clone().or(known.agent_id.take());
        }
        let is_answer = status.reason == Some(v1::task_status::Reason::Reconciliation as i32);
        if asked && is_answer && status.uuid.is_none() && before.is_some() && before == state {
            return Verdict::Drop;
        }
        self.in_hand.extend(status.uuid.clone());
        Verdict::Deliver
    }

    /// Remembers that the framework took an update.
    pub(super) fn taken(&mut self, uuid: &Bytes) {
        self.in_hand.remove(uuid);
        if self.taken.insert(uuid.clone()) {
            self.taken_order.push_back(uuid.clone());
        }
        if self.taken_order.len() > TAKEN_LIMIT
            && let Some(oldest) = self.taken_order.pop_front()
        {
            self.taken.remove(&oldest);
        }
    }

    /// Begins to ask about every task that is not over.
    pub(super) fn ask_about_all(&mut self) {
        self.unanswered = self.known.keys().cloned().collect();
    }

    /// The framework asks by itself, and wants every answer.
    pub(super) fn framework_asks(&mut self, call: &Call) {
        match call.reconcile.as_ref().map(|reconcile| reconcile.tasks.as_slice()) {
            None | Some([]) => self.unanswered.clear(),
            Some(tasks) => tasks.iter().filter_map(|task| task.task_id.as_ref()).for_each(|task_id| {
                self.unanswered.remove(task_id.value());
            }),
        }
    }

    pub(super) fn has_unanswered(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// Returns the questions that are still open, as calls.
    pub(super) fn questions(&self) -> Vec<Call> {
        let asked: Vec<_> = self
            .unanswered
            .iter()
            .map(|task_id| reconcile::Task {
                task_id: Some(v1::TaskId { value: Some(task_id.clone()) }),
                agent_id: self.known.get(task_id).and_then(|known| known.agent_id.clone()),
            })
            .collect();
        asked.chunks(RECONCILE_CHUNK).map(|tasks| calls::reconcile(tasks.to_vec())).collect()
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> Vec<&str> {
        self.known.keys().map(String::as_str).collect()
    }
}
