//! What follows from the answer to a call.

use super::super::event::{CallFailed, Event, Outcome};
use super::input::{Action, CallAnswer};
use super::lane::Flight;
use super::machine::{Phase, Session};
use crate::v1::scheduler::call::Type;

impl Session {
    pub(super) fn on_answered(
        &mut self,
        now_ms: u64,
        token: u64,
        answer: CallAnswer,
        actions: &mut Vec<Action>,
    ) {
        let Some(flight) = self.lane.answered(token) else { return };
        let is_current =
            flight.subscription == self.subscription && matches!(self.phase, Phase::Subscribed { .. });
        // Losing the subscription comes first: it tells the framework before it learns of the single call, and what is
        // put back below is not dropped.
        let (outcome, lost) = match answer {
            CallAnswer::Accepted if flight.kind == Type::Teardown => return self.end(Ok(()), actions),
            CallAnswer::Accepted => return,
            CallAnswer::Refused { status: 400, .. } if flight.kind == Type::Teardown => {
                // Unknown framework: it is gone, which was the wish.
                return self.end(Ok(()), actions);
            }
            CallAnswer::Refused { status, reason } => {
                let lost = (status == 403).then(|| format!("the master says: {reason}"));
                (Outcome::Refused { status, reason }, lost)
            }
            CallAnswer::NotLeading => {
                let reason = "the master no longer leads".to_owned();
                (Outcome::NotSent { reason: reason.clone() }, Some(reason))
            }
            CallAnswer::NotSent { reason } => (Outcome::NotSent { reason: reason.clone() }, Some(reason)),
            CallAnswer::Unknown { reason } => (Outcome::Unknown { reason: reason.clone() }, Some(reason)),
        };
        if let (Some(reason), true) = (lost, is_current) {
            self.lost(now_ms, &reason, actions);
        }
        self.on_failed(flight, outcome, actions);
    }

    fn on_failed(&mut self, flight: Flight, outcome: Outcome, actions: &mut Vec<Action>) {
        let is_refused = matches!(outcome, Outcome::Refused { status, .. } if status != 403);
        match (flight.kind, flight.again) {
            // Agents repeat their updates; declined offers die with the subscription.
            (Type::Acknowledge | Type::Decline, _) => return,
            (_, Some(call)) if !is_refused => return self.lane.push_first(std::iter::once(call)),
            _ => {}
        }
        if !matches!(outcome, Outcome::Unknown { .. }) {
            self.tasks.not_launched(&flight.launched);
        }
        let failed = CallFailed { call: flight.kind, task_ids: flight.task_ids, outcome };
        actions.push(Action::Deliver(Event::CallFailed(failed)));
    }
}
