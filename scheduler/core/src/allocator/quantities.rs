//! Amounts of scalar resources, as the sorters count them: thousandths, in a small fixed array.
//!
//! Owns the numbering of resource kinds and saturating arithmetic on amounts. Knows nothing of reservations, ranges or
//! sets: those travel with the offer, but they never enter a share or a quota.

use super::ledger::SharedAmount;
use crate::registry::MAX_OTHER_KINDS;

/// Scalar kinds that take part in shares and quotas. Agents choose the names of their resources, so there must be a bound;
/// a kind beyond it is still offered, it only weighs nothing.
pub(crate) const MAX_KINDS: usize = 16;

const WELL_KNOWN: [&str; 4] = crate::registry::USUAL_KINDS;

/// The number of "gpus", for the gate that hides GPU agents.
pub(crate) const GPUS: usize = 3;

/// Gives every scalar resource name its number, in the order in which names were first seen.
#[derive(Clone, Debug)]
pub(crate) struct Kinds {
    names: Vec<String>,
}

impl Kinds {
    pub(crate) fn new() -> Kinds {
        Kinds { names: WELL_KNOWN.iter().map(|name| (*name).to_owned()).collect() }
    }

    /// Returns the number of `name`, or nothing once the table is full, but for the room that quotas have.
    pub(crate) fn intern(&mut self, name: &str) -> Option<usize> {
        self.intern_up_to(name, MAX_KINDS - MAX_OTHER_KINDS)
    }

    /// Like [`Kinds::intern`] for a quota: its kinds are few, and there is always room for them.
    pub(crate) fn intern_for_quota(&mut self, name: &str) -> Option<usize> {
        self.intern_up_to(name, MAX_KINDS)
    }

    fn intern_up_to(&mut self, name: &str, room: usize) -> Option<usize> {
        if let Some(index) = self.index_of(name) {
            return Some(index);
        }
        if self.names.len() >= room {
            return None;
        }
        self.names.push(name.to_owned());
        Some(self.names.len() - 1)
    }

    pub(crate) fn name(&self, kind: usize) -> Option<&str> {
        self.names.get(kind).map(String::as_str)
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// Collects named amounts, in thousandths; names that fit nowhere are left out.
    pub(crate) fn quantities<'a>(&mut self, amounts: impl IntoIterator<Item = (&'a str, u64)>) -> Quantities {
        let mut sum = Quantities::default();
        for (name, milli) in amounts {
            if let Some(kind) = self.intern(name) {
                sum.0[kind] = sum.0[kind].saturating_add(milli);
            }
        }
        sum
    }

    /// Like [`Kinds::quantities`] for a reader: names never seen before are left out.
    pub(crate) fn known_quantities<'a>(
        &self,
        amounts: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Quantities {
        let mut sum = Quantities::default();
        for (name, milli) in amounts {
            if let Some(kind) = self.index_of(name) {
                sum.0[kind] = sum.0[kind].saturating_add(milli);
            }
        }
        sum
    }
}

/// What resources count for shares, and for quotas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Without shared volumes.
    pub(crate) all: Quantities,
    pub(crate) shared: Vec<SharedAmount>,
    /// Neither reserved nor revocable.
    pub(crate) unreserved: Quantities,
}

/// Thousandths of each kind. Copied freely: 128 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quantities(pub(crate) [u64; MAX_KINDS]);

impl Quantities {
    pub(crate) fn get(&self, kind: usize) -> u64 {
        self.0[kind]
    }

    pub(crate) fn add(&mut self, kind: usize, milli: u64) {
        self.0[kind] = self.0[kind].saturating_add(milli);
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|amount| *amount == 0)
    }

    pub(crate) fn plus(&self, other: &Quantities) -> Quantities {
        self.zip(other, u64::saturating_add)
    }

    /// Subtracts, stopping at zero.
    pub(crate) fn minus(&self, other: &Quantities) -> Quantities {
        self.zip(other, u64::saturating_sub)
    }

    pub(crate) fn at_most(&self, other: &Quantities) -> Quantities {
        self.zip(other, u64::min)
    }

    pub(crate) fn at_least(&self, other: &Quantities) -> Quantities {
        self.zip(other, u64::max)
    }

    /// Returns whether there is at least as much of every kind as in `other`.
    pub(crate) fn contains(&self, other: &Quantities) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| mine >= theirs)
    }

    fn zip(&self, other: &Quantities, combine: fn(u64, u64) -> u64) -> Quantities {
        let mut result = *self;
        for (mine, theirs) in result.0.iter_mut().zip(&other.0) {
            *mine = combine(*mine, *theirs);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_in_order_of_arrival_and_bounded() {
        let mut kinds = Kinds::new();
        assert_eq!(kinds.index_of("gpus"), Some(GPUS));
        assert_eq!(kinds.intern("bandwidth"), Some(4));
        assert_eq!(kinds.intern("bandwidth"), Some(4));
        for extra in 5..MAX_KINDS - MAX_OTHER_KINDS {
            assert_eq!(kinds.intern(&format!("k{extra}")), Some(extra));
        }
        assert_eq!(kinds.intern("one-too-many"), None);
        for extra in MAX_KINDS - MAX_OTHER_KINDS..MAX_KINDS {
            assert_eq!(kinds.intern_for_quota(&format!("q{extra}")), Some(extra));
        }
        assert_eq!(kinds.intern_for_quota("another"), None);
        let sum = kinds.quantities([("cpus", 5), ("cpus", 7), ("one-too-many", 9)]);
        assert_eq!(sum.get(0), 12);
        assert_eq!(sum.0.iter().sum::<u64>(), 12);
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let mut small = Quantities::default();
        small.0[0] = 1;
        let mut large = Quantities::default();
        large.0[0] = u64::MAX;
        assert_eq!(large.plus(&small), large);
        assert!(small.minus(&large).is_zero());
        assert!(large.contains(&small) && !small.contains(&large));
        assert_eq!(small.at_most(&large), small);
    }
}
