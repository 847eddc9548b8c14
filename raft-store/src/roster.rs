//! Who belongs to the cluster, as far as this replica knows, and who therefore may speak to it.
//!
//! Owns two lists: what committed entries say, which the outside may watch, and what the log says, committed or not, which counts
//! for addresses and for the folders that members are bound to. Refuses whoever was removed, and a folder other than the one that
//! the cluster knows under a number. A replica that learns that it is the one so refused ends: nothing it does counts any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::config::{NodeId, Peer};
use crate::fatal::Fatal;
use crate::seat::{self, Incarnation, Seat};
use crate::types::{Membership, StoredMembership};

/// One member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is reached.
    pub peer: Peer,
    /// Whether it votes; one that does not only follows the log.
    pub voter: bool,
}

/// Who belongs to the cluster, as of a committed entry of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Place of the entry in the log that brought this list; `None` as long as nothing is known.
    pub index: Option<u64>,
    /// Every member by its number.
    pub list: BTreeMap<NodeId, Member>,
    /// The highest number that a member ever had; none up to it is given again.
    pub newest: NodeId,
    /// Whether the log names the folder of every member, so that no other one is taken for it.
    pub bound: bool,
}

/// Why a replica has no place in its cluster any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expelled {
    /// It was removed from the cluster.
    Removed,
    /// The cluster knows another folder under its number: its disk was lost, emptied or exchanged.
    OtherFolder,
}

/// See the module head. All clones are the same.
#[derive(Clone)]
pub(crate) struct Roster {
    shared: Arc<Shared>,
}

struct Shared {
    node_id: NodeId,
    incarnation: Incarnation,
    fatal: Fatal,
    members: watch::Sender<Members>,
    state: Mutex<State>,
    /// Rung when somebody spoke whose folder the log does not name yet.
    unbound: Notify,
}

#[derive(Default)]
struct State {
    /// What the log says, committed or not.
    effective: BTreeMap<NodeId, Seat>,
    /// Who spoke, whatever the log says.
    heard: BTreeMap<NodeId, Incarnation>,
    expelled: Option<Expelled>,
}

/// Numbers that are not in the log are remembered only up to this many.
const MAX_HEARD: usize = 64;

impl Roster {
    pub(crate) fn new(node_id: NodeId, incarnation: Incarnation, fatal: Fatal) -> Roster {
        let members = watch::Sender::new(Members::default());
        let (state, unbound) = (Mutex::default(), Notify::new());
        Roster { shared: Arc::new(Shared { node_id, incarnation, fatal, members, state, unbound }) }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Members> {
        self.shared.members.subscribe()
    }

    /// Which folder this replica works in.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.shared.incarnation
    }

    /// Why this replica has no place in its cluster, once it learned so.
    pub(crate) fn expelled(&self) -> Option<Expelled> {
        self.state().expelled
    }

    /// A membership was applied or came with a snapshot.
    pub(crate) fn applied(&self, stored: &StoredMembership) {
        let membership = stored.membership();
        let member = |id: NodeId, seat: &Seat| {
            let voter = membership.voter_ids().any(|voter| voter == id);
            (id, Member { peer: seat.peer.clone(), voter })
        };
        let next = Members {
            index: stored.log_id().as_ref().map(|id| id.index),
            list: membership.nodes().map(|(id, seat)| member(*id, seat)).collect(),
            newest: seat::newest(membership),
            bound: membership.nodes().all(|(_, seat)| seat.incarnation.is_some()),
        };
        let me = self.shared.node_id;
        if !next.list.is_empty() && !next.list.contains_key(&me) && me <= next.newest {
            self.expel(Expelled::Removed, "as its own log says");
        }
        self.shared.members.send_if_modified(|current| {
            let changed = *current != next;
            if changed {
                *current = next;
            }
            changed
        });
    }

    /// The log says so, committed or not.
    pub(crate) fn effective(&self, membership: &Membership) {
        let mut state = self.state();
        if membership.nodes().eq(state.effective.iter()) {
            return;
        }
        state.effective = membership.nodes().map(|(id, seat)| (*id, seat.clone())).collect();
    }

    /// Where a member is now, if it is one.
    pub(crate) fn address(&self, id: NodeId) -> Option<Peer> {
        self.state().effective.get(&id).map(|seat| seat.peer.clone())
    }

    /// Which folder this number belongs to. `named` is what the membership says under which somebody is about to be spoken to.
    pub(crate) fn bound(&self, id: NodeId, named: Option<Incarnation>) -> Option<Incarnation> {
        let state = self.state();
        let logged = state.effective.get(&id).and_then(|seat| seat.incarnation);
        logged.or(named).or_else(|| state.heard.get(&id).copied())
    }

    /// Somebody spoke, or answered. False if it is not the folder that is known under this number.
    pub(crate) fn hear(&self, id: NodeId, incarnation: Incarnation) -> bool {
        let known = self.bound(id, None);
        if known.is_none() {
            let mut state = self.state();
            if state.heard.len() < MAX_HEARD {
                state.heard.insert(id, incarnation);
            }
            self.shared.unbound.notify_one();
        }
        known.is_none_or(|known| known == incarnation)
    }

    /// Members whose folder the log does not name yet, although it is known.
    pub(crate) fn to_bind(&self, membership: &Membership) -> BTreeMap<NodeId, Incarnation> {
        let state = self.state();
        let unbound = membership.nodes().filter(|(_, seat)| seat.incarnation.is_none());
        unbound
            .filter_map(|(id, _)| {
                let own = (*id == self.shared.node_id).then_some(self.shared.incarnation);
                Some((*id, own.or_else(|| state.heard.get(id).copied())?))
            })
            .collect()
    }

    /// Resolves when somebody unknown spoke.
    pub(crate) async fn unbound(&self) {
        self.shared.unbound.notified().await;
    }

    /// Whether this number was a member's and is not any more, as far as committed entries say.
    pub(crate) fn is_removed(&self, id: NodeId) -> bool {
        let members = self.shared.members.borrow();
        !members.list.is_empty() && !members.list.contains_key(&id) && id <= members.newest
    }

    /// This replica learned that it has no place in its cluster any more. `told` says from whom.
    pub(crate) fn expel(&self, why: Expelled, told: &str) {
        self.state().expelled = Some(why);
        let id = self.shared.node_id;
        self.shared.fatal.report(match why {
            Expelled::Removed => format!("replica {id} was removed from its cluster, {told}"),
            Expelled::OtherFolder => format!(
                "the cluster knows replica {id} with another folder than this one, {told}: its disk was lost, emptied or exchanged, \
                 and a replica that forgot what it promised must not vote"
            ),
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::types::log_id;

    fn list(ids: &[NodeId], newest: NodeId) -> StoredMembership {
        let seat = |id: NodeId| (id, Seat { newest, ..Seat::default() });
        let nodes: BTreeMap<_, _> = ids.iter().copied().map(seat).collect();
        let voters = BTreeSet::from_iter(ids.iter().copied());
        StoredMembership::new(Some(log_id(1, 1, 9)), Membership::new(vec![voters], nodes).unwrap())
    }

    #[test]
    fn only_who_was_there_can_have_been_removed() {
        let roster = Roster::new(1, Incarnation::draw(), Fatal::new());
        assert!(!roster.is_removed(2), "nothing is known yet");
        roster.applied(&list(&[1, 3], 5));
        let removed: Vec<_> = (1..8).filter(|id| roster.is_removed(*id)).collect();
        assert_eq!(removed, [2, 4, 5], "6 and 7 may be newer than what is known here");
    }

    #[test]
    fn a_replica_that_finds_itself_removed_ends() {
        let fatal = Fatal::new();
        let roster = Roster::new(4, Incarnation::draw(), fatal.clone());
        roster.applied(&list(&[1, 2, 3], 3));
        assert_eq!((roster.expelled(), fatal.watch().borrow().is_some()), (None, false), "not there yet");
        roster.applied(&list(&[1, 2, 3, 4], 4));
        roster.applied(&list(&[1, 2, 3], 4));
        assert_eq!((roster.expelled(), fatal.watch().borrow().is_some()), (Some(Expelled::Removed), true));
    }

    #[test]
    fn the_folder_in_the_log_wins_over_what_was_heard_first() {
        let roster = Roster::new(1, Incarnation::draw(), Fatal::new());
        let (first, second) = (Incarnation::draw(), Incarnation::draw());
        assert!(roster.hear(2, first));
        assert!(!roster.hear(2, second));
        let membership = list(&[1, 2], 2);
        assert_eq!(roster.to_bind(membership.membership()).keys().copied().collect::<Vec<_>>(), [1, 2]);
        let bound = Seat { incarnation: Some(second), ..Seat::default() };
        let nodes = BTreeMap::from([(1, Seat::default()), (2, bound)]);
        roster.effective(&Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap());
        assert!(roster.hear(2, second));
        assert!(!roster.hear(2, first));
    }
}
