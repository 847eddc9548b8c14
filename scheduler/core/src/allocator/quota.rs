//! Quota of a top-level role: what is kept for it, and what it may not exceed.
//!
//! Owns the arithmetic of guarantees and limits. Who may set them, and whether they fit the cluster, is checked elsewhere.

use super::quantities::{MAX_KINDS, Quantities};

/// Thousandths by kind.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    pub(crate) guarantees: Quantities,
    /// `u64::MAX` where nothing is limited.
    pub(crate) limits: Quantities,
}

impl Quota {
    pub(crate) const UNLIMITED: Quantities = Quantities([u64::MAX; MAX_KINDS]);

    pub(crate) fn is_limited(&self) -> bool {
        self.limits.0.iter().any(|limit| *limit != u64::MAX)
    }

    /// How much more the role may take.
    pub(crate) fn below_limit(&self, held: &Quantities) -> Quantities {
        if mutant!("no-limit") {
            return Self::UNLIMITED;
        }
        let mut room = self.limits;
        for (kind, left) in room.0.iter_mut().enumerate() {
            if *left != u64::MAX {
                *left = left.saturating_sub(held.get(kind));
            }
        }
        room
    }

    /// How much the role still has a right to.
    pub(crate) fn unsatisfied(&self, held: &Quantities) -> Quantities {
        self.guarantees.minus(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_counted_for_limited_kinds_only() {
        let mut quota = Quota { guarantees: Quantities::default(), limits: Quota::UNLIMITED };
        quota.limits.0[0] = 5_000;
        quota.guarantees.0[1] = 10;
        let mut held = Quantities::default();
        held.0[0] = 7_000;
        held.0[1] = 4;
        assert_eq!(quota.below_limit(&held).get(0), 0);
        assert_eq!(quota.below_limit(&held).get(1), u64::MAX);
        assert_eq!(quota.unsatisfied(&held).get(1), 6);
        assert_eq!(quota.unsatisfied(&held).get(0), 0);
    }
}
