//! The modelled replicated log: entries of one raft leadership commit in order, a leadership that ends leaves a prefix of what was in flight.
//! Refuses entries of anyone who does not lead. Replicas apply on their own, later.

use std::collections::VecDeque;
use std::rc::Rc;

use tepui_scheduler_core::Envelope;

use super::agenda::Micros;

/// An entry that was proposed and is not yet committed.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    pub(crate) envelope: Rc<Envelope>,
    pub(crate) ready_at: Micros,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Rc<Envelope>>,
    /// The node that leads by the log's own rules, and the number of its leadership.
    pub(crate) leader: Option<(usize, u64)>,
    pub(crate) in_flight: VecDeque<InFlight>,
    pub(crate) leaderships: u64,
}

impl Log {
    /// Whether this leadership may still propose.
    pub(crate) fn leads(&self, node: usize, leadership: u64) -> bool {
        self.leader == Some((node, leadership))
    }

    /// Takes an entry in. Returns the time at which it may commit.
    pub(crate) fn propose(&mut self, envelope: Rc<Envelope>, ready_at: Micros) -> Micros {
        let ready_at = self.in_flight.back().map_or(ready_at, |last| last.ready_at.max(ready_at));
        self.in_flight.push_back(InFlight { envelope, ready_at });
        ready_at
    }

    /// Commits what is ready.
    pub(crate) fn commit(&mut self, now: Micros) -> usize {
        let before = self.entries.len();
        while self.in_flight.front().is_some_and(|entry| entry.ready_at <= now) {
            if let Some(entry) = self.in_flight.pop_front() {
                self.entries.push(entry.envelope);
            }
        }
        self.entries.len() - before
    }

    /// Begins the leadership of `node`. The first `kept` entries that were in flight turn out to be committed, the others are lost.
    pub(crate) fn elect(&mut self, node: usize, kept: usize) -> u64 {
        for entry in self.in_flight.drain(..).take(kept) {
            self.entries.push(entry.envelope);
        }
        self.in_flight.clear();
        self.leaderships += 1;
        self.leader = Some((node, self.leaderships));
        self.leaderships
    }
}
