//! The order of calls: one at a time, because REVIVE after SUPPRESS is not SUPPRESS after REVIVE; acknowledgements, which
//! depend on nothing, beside them.

use std::collections::{BTreeMap, VecDeque};

use super::super::calls;
use super::super::event::{CallFailed, Outcome};
use crate::v1;
use crate::v1::scheduler::Call;
use crate::v1::scheduler::call::Type;

/// Acknowledgements under way at once.
const ACKNOWLEDGEMENTS_IN_FLIGHT: usize = 32;
/// Calls that may wait before the framework has to.
pub(super) const QUEUE_LIMIT: usize = 1024;

/// A call that was sent and has no answer yet.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) kind: Type,
    pub(super) launched: Vec<(v1::TaskId, Option<v1::AgentId>)>,
    pub(super) task_ids: Vec<v1::TaskId>,
    /// The call itself, if it may be sent again.
    pub(super) again: Option<Box<Call>>,
    /// The subscription that it belongs to.
    pub(super) subscription: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    queue: VecDeque<Box<Call>>,
    acknowledgements: VecDeque<Box<Call>>,
    flights: BTreeMap<u64, Flight>,
    busy: Option<u64>,
    acknowledging: usize,
    next_token: u64,
}

/// Returns whether doing a call twice is the same as doing it once.
fn may_repeat(kind: Type) -> bool {
    matches!(
        kind,
        Type::Kill | Type::Reconcile | Type::Revive | Type::Suppress | Type::Teardown | Type::Shutdown
    )
}

pub(super) fn kind_of(call: &Call) -> Type {
    call.r#type.and_then(|kind| Type::try_from(kind).ok()).unwrap_or(Type::Unknown)
}

impl Lane {
    pub(super) fn push(&mut self, call: Box<Call>) {
        if kind_of(&call) == Type::Acknowledge {
            self.acknowledgements.push_back(call);
        } else {
            self.queue.push_back(call);
        }
    }

    /// Puts calls before all that wait, in the given order.
    pub(super) fn push_first(&mut self, calls: impl DoubleEndedIterator<Item = Box<Call>>) {
        calls.rev().for_each(|call| self.queue.push_front(call));
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= QUEUE_LIMIT || self.acknowledgements.len() >= QUEUE_LIMIT
    }

    /// Returns whether calls wait or are under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.flights.is_empty() || !self.queue.is_empty() || !self.acknowledgements.is_empty()
    }

    /// Returns the next call to send on `subscription`, with its token.
    pub(super) fn next(&mut self, subscription: u64) -> Option<(u64, Box<Call>)> {
        let call = if self.acknowledging < ACKNOWLEDGEMENTS_IN_FLIGHT && !self.acknowledgements.is_empty() {
            self.acknowledging += 1;
            self.acknowledgements.pop_front()?
        } else if self.busy.is_none() {
            let call = self.queue.pop_front()?;
            self.busy = Some(self.next_token);
            call
        } else {
            return None;
        };
        let token = self.next_token;
        self.next_token += 1;
        let kind = kind_of(&call);
        let flight = Flight {
            kind,
            launched: calls::launched(&call),
            task_ids: calls::concerned(&call),
            again: may_repeat(kind).then(|| call.clone()),
            subscription,
        };
        self.flights.insert(token, flight);
        Some((token, call))
    }

    /// Returns what was known about a call that has been answered.
    pub(super) fn answered(&mut self, token: u64) -> Option<Flight> {
        let flight = self.flights.remove(&token)?;
        if self.busy == Some(token) {
            self.busy = None;
        }
        if flight.kind == Type::Acknowledge {
            self.acknowledging = self.acknowledging.saturating_sub(1);
        }
        Some(flight)
    }

    /// Drops what makes no sense on another subscription and returns what the framework should know about that. Calls
    /// under way no longer hold the others up: the master refuses them should they arrive late.
    pub(super) fn lost(&mut self, reason: &str) -> Vec<CallFailed> {
        self.busy = None;
        // Agents repeat their updates, so these acknowledgements come up again.
        self.acknowledgements.clear();
        let mut failed = Vec::new();
        self.queue.retain(|call| {
            let kind = kind_of(call);
            if may_repeat(kind) {
                return true;
            }
            if kind != Type::Decline {
                failed.push(CallFailed {
                    call: kind,
                    task_ids: calls::concerned(call),
                    outcome: Outcome::NotSent { reason: reason.to_owned() },
                });
            }
            false
        });
        failed
    }
}
