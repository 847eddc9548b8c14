//! When agents that nobody touched are worth another look: quotas let somebody have what they did not let them have before.
//!
//! An agent is planned again when something of it becomes free. With quotas that is not enough: what is kept there for a guarantee
//! is kept no longer once the guarantee is met elsewhere, a role below its guarantee again may take it, and a role below its limit again
//! may take from any agent. All agents are
//! looked at then, but no more often than Mesos looks at them: every second.

use super::quantities::{MAX_KINDS, Quantities};

/// Least time between two looks at all agents because of quotas, milliseconds.
const PAUSE_MS: u64 = 1_000;

/// What stood against offers at the last plan.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    headroom: Quantities,
    required: Quantities,
    not_before_ms: u64,
    /// It grew before the last plan, which did not look at all agents.
    grown: bool,
}

impl Room {
    /// All of a plan is made, and leaves this much free, and this much of it owed: the same in slices of whatever size.
    pub(super) fn planned(&mut self, headroom: Quantities, required: Quantities) {
        (self.headroom, self.required) = (headroom, required);
    }

    /// Whether more may be given away now, of what was kept at the last plan: there is more of it, less of it is kept, or somebody whose
    /// guarantee was met has a right to it again.
    pub(super) fn grew(&self, headroom: &Quantities, required: &Quantities) -> bool {
        (0..MAX_KINDS).filter(|kind| self.required.get(*kind) > 0).any(|kind| {
            headroom.get(kind) > self.headroom.get(kind) || required.get(kind) != self.required.get(kind)
        })
    }

    /// Keeps in mind that more may be given away, since the next plan looks at some agents only.
    pub(super) fn note_grown(&mut self) {
        self.grown = true;
    }

    pub(super) fn has_grown(&self) -> bool {
        self.grown
    }

    /// When all agents may be looked at again, cluster time.
    pub(super) fn not_before_ms(&self) -> u64 {
        self.not_before_ms
    }

    /// All agents are looked at now.
    pub(super) fn looked(&mut self, now_ms: u64) {
        self.grown = false;
        self.not_before_ms = now_ms.saturating_add(PAUSE_MS);
    }
}
