//! Numbers of one leadership that nobody can count in the Registry: how allocation goes, what is refused for how many, what becomes of
//! operations. For metrics; they begin at zero with the leadership and decide nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use tepui_proto::v1::offer::operation::Type;

use super::core::Master;

/// See the module. A clone costs nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    pub allocation: AllocationNumbers,
    /// Refusals that are alive, by role.
    pub filters: OrdMap<Arc<str>, u64>,
    /// By the number of the operation's type on the wire.
    pub operations: OrdMap<i32, OperationNumbers>,
    /// Kinds of resources that do not count for shares.
    pub excluded_from_shares: Arc<BTreeSet<String>>,
}

/// A run takes all agents that wait when it begins, one slice in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocationNumbers {
    /// Turns that planned something.
    pub slices: u64,
    /// Runs that ended.
    pub runs: u64,
    /// How long the last run waited for its first slice, milliseconds of cluster time.
    pub latency_ms: u64,
    /// Agents that wait to be looked at.
    pub waiting: usize,
}

/// What became of operations of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationNumbers {
    /// All of them.
    pub total: u64,
    /// Proposed, without an outcome so far.
    pub pending: u64,
    pub finished: u64,
    /// Made no sense, or asked for what the offers did not have.
    pub error: u64,
    /// Refused by the log, because it had moved on, or not committed.
    pub dropped: u64,
}

/// The run that is awaited or under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    /// Cluster time since which there is something to allocate.
    wanted_ms: Option<u64>,
    began: bool,
}

impl Master {
    /// There is something to allocate.
    pub(super) fn allocation_wanted(&mut self) {
        self.run.wanted_ms.get_or_insert(self.now.cluster_ms);
    }

    /// A slice was planned; `more` says that the run goes on.
    pub(super) fn allocation_went_on(&mut self, more: bool) {
        let now_ms = self.now.cluster_ms;
        let numbers = &mut self.view.numbers.allocation;
        numbers.slices += 1;
        if !self.run.began {
            self.run.began = true;
            numbers.latency_ms = now_ms.saturating_sub(self.run.wanted_ms.unwrap_or(now_ms));
        }
        if !more {
            numbers.runs += 1;
            self.run = Run::default();
        }
    }

    /// Shows what the allocator counts.
    pub(super) fn show_allocator(&mut self) {
        self.view.numbers.filters = self.allocator.active_filters();
        self.view.numbers.allocation.waiting = self.allocator.waiting();
    }

    pub(super) fn operation_proposed(&mut self, kind: Type) {
        let numbers = self.operations_of(kind);
        numbers.total += 1;
        numbers.pending += 1;
    }

    pub(super) fn operation_settled(&mut self, kind: Type, finished: bool) {
        let numbers = self.operations_of(kind);
        numbers.pending = numbers.pending.saturating_sub(1);
        if finished {
            numbers.finished += 1;
        } else {
            numbers.dropped += 1;
        }
    }

    pub(super) fn operation_refused(&mut self, kind: Type) {
        let numbers = self.operations_of(kind);
        numbers.total += 1;
        numbers.error += 1;
    }

    fn operations_of(&mut self, kind: Type) -> &mut OperationNumbers {
        self.view.numbers.operations.entry(kind as i32).or_default()
    }

    /// How allocation goes; in constant time, so that a shell may look after each input.
    pub fn allocation(&self) -> AllocationNumbers {
        self.view.numbers.allocation
    }
}
