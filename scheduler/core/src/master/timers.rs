//! Deadlines in cluster time, in order.
//!
//! Whoever handles a timer looks whether it still means something, so most are never cancelled. Those that live long, or of
//! which there are many, are: offers, and the deadlines of who is away.

use std::collections::{BTreeMap, BTreeSet};

use super::fleet::FleetTimer;
use super::input::ConnectionId;
use crate::ids::{AgentId, FrameworkId, OfferId};
use crate::registry::OperationKey;

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The next heartbeat on a framework's stream.
    Heartbeat(ConnectionId),
    /// The next ping on an agent's stream.
    Ping(ConnectionId),
    /// An agent was asked for everything.
    Untold(ConnectionId),
    /// More agents are to be welcomed.
    Attachments,
    OfferExpiry(OfferId),
    /// The open batch of reports.
    Reports,
    Allocation,
    /// More of the Registry is to be taken in.
    CatchUp,
    /// The next decline filter ends.
    FilterExpiry,
    /// A framework that is away is to be removed.
    Framework(FrameworkId),
    /// An agent that is away is to be marked unreachable.
    Agent(AgentId),
    Supervisor,
    /// What became of an operation is to be told again.
    Operation(OperationKey),
    /// What happened and could not be committed is to be proposed again.
    Retry,
    /// `TakeLead` is to be proposed again.
    TakeLead,
    /// Agents that are given up, forgotten, or whose users are asked to leave them.
    Fleet(FleetTimer),
}

impl Timer {
    fn is_single(&self) -> bool {
        self.is_deadline()
            || matches!(
                self,
                Self::OfferExpiry(_) | Self::FilterExpiry | Self::Retry | Self::Fleet(_) | Self::Operation(_)
            )
    }

    fn is_deadline(&self) -> bool {
        matches!(self, Self::Framework(_) | Self::Agent(_))
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(u64, Timer)>,
    /// Timers of which there is only one at a time, so that they can be moved and cancelled.
    single: BTreeMap<Timer, u64>,
    /// How many of them are deadlines of frameworks and agents: while there are any, cluster time must be committed.
    deadlines: usize,
}

impl Timers {
    pub(super) fn arm(&mut self, at_ms: u64, timer: Timer) {
        if timer.is_single() {
            self.cancel(&timer);
            self.single.insert(timer.clone(), at_ms);
            self.deadlines += usize::from(timer.is_deadline());
        }
        self.due.insert((at_ms, timer));
    }

    /// Takes back a timer of which there is only one.
    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(at_ms) = self.single.remove(timer) {
            self.deadlines -= usize::from(timer.is_deadline());
            self.due.remove(&(at_ms, timer.clone()));
        }
    }

    /// Takes the first timer that is due, if any.
    pub(super) fn pop(&mut self, now_ms: u64) -> Option<Timer> {
        if self.due.first()?.0 > now_ms {
            return None;
        }
        let (_, timer) = self.due.pop_first()?;
        if self.single.remove(&timer).is_some() {
            self.deadlines -= usize::from(timer.is_deadline());
        }
        Some(timer)
    }

    /// Agents with an armed deadline: those that are away.
    pub(super) fn agents_awaited(&self) -> impl Iterator<Item = &AgentId> {
        let timers = self.single.range(Timer::Agent(AgentId::from(""))..);
        timers.map_while(|(timer, _)| match timer {
            Timer::Agent(id) => Some(id),
            _ => None,
        })
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// Whether a deadline is armed that the Registry holds, so that its time must go on.
    pub(super) fn deadlines_armed(&self) -> bool {
        self.deadlines > 0
    }
}
