//! Changing who belongs to the cluster, one replica at a time, on the leader.
//!
//! Owns the order of steps: a new replica first learns the log without a vote, then gets one. Refuses changes that make no
//! sense; raft refuses a second change while one is under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};

use crate::config::{NodeId, Peer};
use crate::error::{BootstrapError, MembershipError};
use crate::types::{Membership, Raft, TypeConfig};

/// More voters make every commit slower and help nobody.
const MAX_VOTERS: usize = 9;

/// Checks the list that a cluster is to be created with.
pub(crate) fn check_first(me: NodeId, members: &BTreeMap<NodeId, Peer>) -> Result<(), BootstrapError> {
    let wrong = |text: String| Err(BootstrapError::Members(text));
    if !members.contains_key(&me) {
        return wrong(format!("this replica, {me}, is not among them"));
    }
    if members.len() > MAX_VOTERS {
        return wrong(format!("{} are more than {MAX_VOTERS}", members.len()));
    }
    let mut seen = BTreeSet::new();
    for (id, peer) in members {
        if peer.peer_addr.is_empty() {
            return wrong(format!("replica {id} has no address"));
        }
        if !seen.insert(&peer.peer_addr) {
            return wrong(format!("{} is there twice", peer.peer_addr));
        }
    }
    Ok(())
}

/// Adds a voter. Its log is brought up to date first.
pub(crate) async fn add(
    raft: &Raft,
    id: NodeId,
    peer: Peer,
    within: Duration,
) -> Result<(), MembershipError> {
    let membership = effective(raft);
    if membership.voter_ids().any(|voter| voter == id) {
        return Err(MembershipError::Refused(format!("replica {id} already votes")));
    }
    if membership.nodes().any(|(other, node)| *other != id && node.peer_addr == peer.peer_addr) {
        return Err(MembershipError::Refused(format!("{} belongs to another replica", peer.peer_addr)));
    }
    if membership.voter_ids().count() >= MAX_VOTERS {
        return Err(MembershipError::Refused(format!("there are {MAX_VOTERS} voters already")));
    }
    let caught_up = tokio::time::timeout(within, raft.add_learner(id, peer, true)).await;
    caught_up
        .map_err(|_| {
            MembershipError::Unknown(format!("replica {id} did not catch up in time; it has no vote"))
        })?
        .map_err(failed)?;
    change(raft, ChangeMembers::AddVoterIds(BTreeSet::from([id])), within).await
}

/// Takes vote and membership away. A leader cannot remove itself: it hands over first.
pub(crate) async fn remove(
    raft: &Raft,
    me: NodeId,
    id: NodeId,
    within: Duration,
) -> Result<(), MembershipError> {
    let membership = effective(raft);
    if id == me {
        return Err(MembershipError::Refused("the leader hands over before it is removed".to_owned()));
    }
    if membership.get_node(&id).is_none() {
        return Err(MembershipError::Refused(format!("replica {id} is no member")));
    }
    let ids = BTreeSet::from([id]);
    if membership.voter_ids().any(|voter| voter == id) {
        change(raft, ChangeMembers::RemoveVoters(ids), within).await
    } else {
        change(raft, ChangeMembers::RemoveNodes(ids), within).await
    }
}

async fn change(
    raft: &Raft,
    change: ChangeMembers<NodeId, Peer>,
    within: Duration,
) -> Result<(), MembershipError> {
    let changed = tokio::time::timeout(within, raft.change_membership(change, false)).await;
    changed
        .map_err(|_| MembershipError::Unknown("not committed in time".to_owned()))?
        .map(drop)
        .map_err(failed)
}

fn effective(raft: &Raft) -> Membership {
    raft.metrics().borrow_watched().membership_config.membership().clone()
}

fn failed(e: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MembershipError {
    match e {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            MembershipError::NotLeading { leader: forward.leader_id.zip(forward.leader_node) }
        }
        RaftError::APIError(e @ ClientWriteError::LogEntryDiscarded(_)) => {
            MembershipError::Unknown(e.to_string())
        }
        RaftError::APIError(e) => MembershipError::Refused(e.to_string()),
        RaftError::Fatal(e) => MembershipError::Unknown(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(addr: &str) -> Peer {
        Peer { peer_addr: addr.to_owned(), api_addr: String::new() }
    }

    #[test]
    fn a_list_that_cannot_be_right_is_refused() {
        let list = |addrs: &[&str]| -> BTreeMap<NodeId, Peer> {
            addrs.iter().zip(1..).map(|(addr, id)| (id, peer(addr))).collect()
        };
        assert!(check_first(1, &list(&["a:1", "b:1", "c:1"])).is_ok());
        assert!(check_first(4, &list(&["a:1", "b:1", "c:1"])).is_err(), "not me");
        assert!(check_first(1, &list(&["a:1", "a:1"])).is_err(), "twice");
        assert!(check_first(1, &list(&["a:1", ""])).is_err(), "no address");
        assert!(check_first(1, &BTreeMap::new()).is_err(), "nobody");
    }
}
