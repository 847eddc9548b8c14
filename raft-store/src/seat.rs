//! A member as the log has it: where it is, which folder it is bound to, and which numbers were ever given.
//!
//! Owns the record and what follows from a list of them. All of it travels with the membership, so that it takes effect where
//! that does: as soon as it is in a replica's log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::{NodeId, Peer};
use crate::types::Membership;

/// Drawn when the folder of a replica is made: tells it from another folder under the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Incarnation(u128);

impl Incarnation {
    pub(crate) fn draw() -> Incarnation {
        Incarnation(crate::chance::unique())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Incarnation {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Incarnation)
    }
}

/// See the module head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seat {
    pub(crate) peer: Peer,
    /// The folder that alone may speak for this member; none until the cluster heard from it.
    pub(crate) incarnation: Option<Incarnation>,
    /// The highest number that was ever given when this list was written; the same in every seat of it.
    pub(crate) newest: NodeId,
}

impl Seat {
    /// A seat of a list that tells nothing but addresses.
    pub(crate) fn plain(peer: Peer) -> Seat {
        Seat { peer, ..Seat::default() }
    }
}

/// The highest number that any member ever had: none up to it is given again.
pub(crate) fn newest(membership: &Membership) -> NodeId {
    membership.nodes().map(|(id, seat)| seat.newest.max(*id)).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn an_incarnation_survives_its_text() {
        for incarnation in [Incarnation::draw(), Incarnation(0), Incarnation(u128::MAX)] {
            assert_eq!(incarnation.to_string().parse(), Ok(incarnation));
        }
        assert!("".parse::<Incarnation>().is_err());
        assert!("folder".parse::<Incarnation>().is_err());
    }

    #[test]
    fn the_newest_number_is_remembered_after_its_member_left() {
        let seat = |newest| Seat { newest, ..Seat::default() };
        let list = |seats: &[(NodeId, NodeId)]| {
            let nodes: BTreeMap<_, _> = seats.iter().map(|(id, n)| (*id, seat(*n))).collect();
            Membership::new(vec![BTreeSet::from([1])], nodes).unwrap()
        };
        assert_eq!(newest(&Membership::default()), 0);
        assert_eq!(newest(&list(&[(1, 0), (3, 0)])), 3, "an old list without the number");
        assert_eq!(newest(&list(&[(1, 7), (3, 7)])), 7);
    }
}
