//! Deadlines in cluster time, in order.
//!
//! A timer is never cancelled: whoever handles it looks whether it still means something. So one set is the whole machine.

use std::collections::BTreeSet;

use super::input::ConnectionId;
use crate::ids::{AgentId, FrameworkId, OfferId};

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The next heartbeat on a framework's stream.
    Heartbeat(ConnectionId),
    /// The next ping on an agent's stream.
    Ping(ConnectionId),
    OfferExpiry(OfferId),
    /// The open batch of reports.
    Reports,
    Allocation,
    /// The next decline filter ends.
    FilterExpiry,
    /// A framework that is away is to be removed.
    Framework(FrameworkId),
    /// An agent that is away is to be marked unreachable.
    Agent(AgentId),
    Supervisor,
    /// `TakeLead` is to be proposed again.
    TakeLead,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(u64, Timer)>,
    /// Frameworks and agents with an armed deadline: while there are any, cluster time must be committed.
    deadlines: BTreeSet<Timer>,
}

impl Timers {
    pub(super) fn arm(&mut self, at_ms: u64, timer: Timer) {
        if matches!(timer, Timer::Framework(_) | Timer::Agent(_)) {
            self.deadlines.insert(timer.clone());
        }
        self.due.insert((at_ms, timer));
    }

    /// Takes the first timer that is due, if any.
    pub(super) fn pop(&mut self, now_ms: u64) -> Option<Timer> {
        if self.due.first()?.0 > now_ms {
            return None;
        }
        let (_, timer) = self.due.pop_first()?;
        self.deadlines.remove(&timer);
        Some(timer)
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    /// Whether a deadline is armed that the Registry holds, so that its time must go on.
    pub(super) fn deadlines_armed(&self) -> bool {
        !self.deadlines.is_empty()
    }
}
