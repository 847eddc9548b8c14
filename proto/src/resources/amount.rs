//! How much there is of one identity, and the arithmetic of each kind.

use std::collections::{BTreeMap, BTreeSet};

use super::identity::{Identity, ValueKind};
use super::millis::Millis;
use super::ranges::Ranges;

/// An amount; never mixed with one of another kind, since the kind is part of the identity.
#[derive(Debug, Clone, PartialEq)]
pub enum Amount {
    /// A divisible number.
    Scalar(Millis),
    /// Whole numbers.
    Ranges(Ranges),
    /// Names.
    Set(BTreeSet<String>),
    /// Scalars that cannot be divided or can be held several times, with how many there are of each size.
    Pieces(BTreeMap<Millis, u64>),
}

impl Amount {
    pub(super) fn empty(identity: &Identity) -> Self {
        match identity.kind {
            ValueKind::Scalar if identity.is_indivisible() || identity.shared => {
                Self::Pieces(BTreeMap::new())
            }
            ValueKind::Scalar => Self::Scalar(Millis::ZERO),
            ValueKind::Ranges => Self::Ranges(Ranges::default()),
            ValueKind::Set => Self::Set(BTreeSet::new()),
        }
    }

    /// Makes the amount of one scalar in the form that its identity wants.
    pub(super) fn scalar(identity: &Identity, millis: Millis) -> Self {
        match Self::empty(identity) {
            Self::Pieces(_) => Self::Pieces(BTreeMap::from([(millis, 1)])),
            _ => Self::Scalar(millis),
        }
    }

    /// Tells whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(millis) => millis.is_zero(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(names) => names.is_empty(),
            Self::Pieces(pieces) => pieces.is_empty(),
        }
    }

    /// Returns the number that there is in total; nothing for ranges and sets.
    #[must_use]
    pub fn total(&self) -> Millis {
        match self {
            Self::Scalar(millis) => *millis,
            Self::Pieces(pieces) => pieces
                .iter()
                .map(|(size, count)| Millis(size.0.saturating_mul(i64::try_from(*count).unwrap_or(i64::MAX))))
                .sum(),
            Self::Ranges(_) | Self::Set(_) => Millis::ZERO,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(own), Self::Scalar(more)) => *own += *more,
            (Self::Ranges(own), Self::Ranges(more)) => *own = own.union(more),
            (Self::Set(own), Self::Set(more)) => own.extend(more.iter().cloned()),
            (Self::Pieces(own), Self::Pieces(more)) => {
                for (size, count) in more {
                    let held = own.entry(*size).or_default();
                    *held = held.saturating_add(*count);
                }
            }
            _ => debug_assert!(false, "amounts of one identity have one kind"),
        }
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(own), Self::Scalar(part)) => own >= part,
            (Self::Ranges(own), Self::Ranges(part)) => own.contains(part),
            (Self::Set(own), Self::Set(part)) => own.is_superset(part),
            (Self::Pieces(own), Self::Pieces(part)) => {
                part.iter().all(|(size, count)| own.get(size).is_some_and(|held| held >= count))
            }
            _ => false,
        }
    }

    /// Takes away as much of `other` as there is.
    pub(super) fn subtract(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(own), Self::Scalar(part)) => *own = (*own - *part).max(Millis::ZERO),
            (Self::Ranges(own), Self::Ranges(part)) => *own = own.difference(part),
            (Self::Set(own), Self::Set(part)) => own.retain(|name| !part.contains(name)),
            (Self::Pieces(own), Self::Pieces(part)) => {
                for (size, count) in part {
                    if let Some(held) = own.get_mut(size) {
                        *held = held.saturating_sub(*count);
                    }
                }
                own.retain(|_, held| *held > 0);
            }
            _ => debug_assert!(false, "amounts of one identity have one kind"),
        }
    }
}
