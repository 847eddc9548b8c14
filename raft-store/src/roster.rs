//! Who belongs to the cluster, as far as this replica knows for certain, for whoever wants to hear of changes.
//!
//! Owns the list that applied entries and installed snapshots bring. Decides nothing; knows no addresses but those.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::config::{NodeId, Peer};
use crate::types::StoredMembership;

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
}

/// See the module head. All clones are the same.
#[derive(Clone)]
pub(crate) struct Roster {
    members: watch::Sender<Members>,
}

impl Roster {
    pub(crate) fn new() -> Roster {
        Roster { members: watch::Sender::new(Members::default()) }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Members> {
        self.members.subscribe()
    }

    /// A membership was applied or came with a snapshot.
    pub(crate) fn applied(&self, stored: &StoredMembership) {
        let membership = stored.membership();
        let member = |id: NodeId, peer: &Peer| {
            let voter = membership.voter_ids().any(|voter| voter == id);
            (id, Member { peer: peer.clone(), voter })
        };
        let next = Members {
            index: stored.log_id().as_ref().map(|id| id.index),
            list: membership.nodes().map(|(id, peer)| member(*id, peer)).collect(),
        };
        self.members.send_if_modified(|current| {
            let changed = *current != next;
            if changed {
                *current = next;
            }
            changed
        });
    }
}
