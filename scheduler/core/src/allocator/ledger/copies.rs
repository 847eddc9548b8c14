//! Shared volumes: held by several at once, and by one several times. For a share it matters whether somebody holds a volume, not how
//! often: a framework, a role, and each role above it count it once.
//!
//! Owns that count. What copies there are to give, the planner knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_proto::resources::{Identity, Millis};

use super::{Ledger, Place};
use crate::allocator::quantities::Quantities;
use crate::ids::AgentId;

/// One shared volume of one agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Volume {
    pub(crate) agent: AgentId,
    pub(crate) identity: Identity,
    pub(crate) size: Millis,
}

/// Copies of a volume that are charged or released at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedAmount {
    pub(crate) volume: Arc<Volume>,
    pub(crate) copies: u64,
    /// Of one copy.
    pub(crate) amounts: Quantities,
}

/// Who counts a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Client(Place),
    /// All frameworks of exactly this role.
    Own(usize),
    /// The role with all below it.
    Subtree(usize),
}

/// How many copies each holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies(BTreeMap<(Holder, Arc<Volume>), Held>);

#[derive(Clone, Copy, Debug)]
struct Held {
    copies: u64,
    amounts: Quantities,
}

impl Ledger {
    /// Counts each volume wherever it was not held so far. Who calls this sorts the queues anew.
    pub(super) fn charge_shared(&mut self, place: Place, shared: &[SharedAmount]) {
        for one in shared {
            for holder in self.holders(place) {
                let key = (holder, one.volume.clone());
                let held = self.copies.0.entry(key).or_insert(Held { copies: 0, amounts: one.amounts });
                let first = held.copies == 0;
                held.copies = held.copies.saturating_add(one.copies);
                if first {
                    self.recount(holder, |sum| sum.plus(&one.amounts));
                }
            }
        }
    }

    /// Takes each volume off wherever the last copy of it is gone. Who calls this sorts the queues anew.
    pub(super) fn release_shared(&mut self, place: Place, shared: &[SharedAmount]) {
        for one in shared {
            for holder in self.holders(place) {
                let key = (holder, one.volume.clone());
                let Some(held) = self.copies.0.get_mut(&key) else { continue };
                held.copies = held.copies.saturating_sub(one.copies);
                if held.copies == 0 {
                    let amounts = held.amounts;
                    self.copies.0.remove(&key);
                    self.recount(holder, |sum| sum.minus(&amounts));
                }
            }
        }
    }

    /// Everybody who holds what this framework holds in this role.
    fn holders(&self, place: Place) -> Vec<Holder> {
        let mut holders = vec![Holder::Client(place), Holder::Own(place.node)];
        let mut node = Some(place.node);
        while let Some(index) = node {
            holders.push(Holder::Subtree(index));
            node = self.nodes[index].parent;
        }
        holders
    }

    fn recount(&mut self, holder: Holder, count: impl FnOnce(&Quantities) -> Quantities) {
        let sum = match holder {
            Holder::Client(Place { node, slot }) => {
                self.nodes[node].clients[slot].as_mut().map(|client| &mut client.allocated)
            }
            Holder::Own(node) => Some(&mut self.nodes[node].own_allocated),
            Holder::Subtree(node) => Some(&mut self.nodes[node].allocated),
        };
        if let Some(sum) = sum {
            *sum = count(sum);
        }
    }

    /// Panics if copies do not add up. For tests. Returns what is counted by several of those below a role, beyond the first: by its
    /// frameworks, and by its own and the roles below it.
    pub(super) fn check_copies(&self) -> Vec<(Quantities, Quantities)> {
        let mut twice = vec![(Quantities::default(), Quantities::default()); self.nodes.len()];
        let mut sums: BTreeMap<(Holder, Arc<Volume>), u64> = BTreeMap::new();
        for ((holder, volume), held) in &self.copies.0 {
            assert!(held.copies > 0, "{holder:?} holds no {volume:?}");
            let (above, beyond) = match *holder {
                Holder::Client(place) => (Some(Holder::Own(place.node)), &mut twice[place.node].0),
                Holder::Own(node) => (Some(Holder::Subtree(node)), &mut twice[node].1),
                Holder::Subtree(node) => match self.nodes[node].parent {
                    Some(parent) => (Some(Holder::Subtree(parent)), &mut twice[parent].1),
                    None => (None, &mut twice[node].1),
                },
            };
            let Some(above) = above else { continue };
            let sum = sums.entry((above, volume.clone())).or_default();
            if *sum > 0 {
                *beyond = beyond.plus(&held.amounts);
            }
            *sum += held.copies;
        }
        for ((holder, volume), held) in &self.copies.0 {
            if !matches!(holder, Holder::Client(_)) {
                let sum = sums.get(&(*holder, volume.clone()));
                assert_eq!(sum, Some(&held.copies), "copies of {volume:?} with {holder:?}");
            }
        }
        twice
    }
}
