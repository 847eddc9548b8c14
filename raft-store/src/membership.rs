//! Changing who belongs to the cluster, one change at a time, on the leader.
//!
//! Owns the order of steps: a new replica gets a number that was never given, learns the log without a vote, and votes once it lacks
//! little. Every change names the membership that it was decided on and is refused if that is not the last one. Refuses changes
//! after which those who answer would be no majority. What a leader left half done is finished by `keeper.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, ServerState};

use crate::config::{NodeId, Peer};
use crate::error::{BootstrapError, MembershipError};
use crate::roster::Roster;
use crate::seat::{self, Incarnation, Seat};
use crate::types::{LogId, Membership, Metrics, Raft, TypeConfig};

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

/// A replica may vote when it lacks no more entries than this.
const SMALL_LAG: u64 = 256;
/// How long a change waits for another one, which is usually a matter of milliseconds.
const TURN: Duration = Duration::from_secs(2);
/// How often the lag of a replica is looked at while it is waited for, should raft not tell.
const LOOK: Duration = Duration::from_millis(100);

/// The membership as it is in the log, and where.
struct Seen {
    membership: Membership,
    log_id: Option<LogId>,
    /// Who answered lately, this replica included.
    answering: BTreeSet<NodeId>,
}

impl Seen {
    fn voters(&self) -> BTreeSet<NodeId> {
        self.membership.voter_ids().collect()
    }

    fn seats(&self) -> BTreeMap<NodeId, Seat> {
        self.membership.nodes().map(|(id, seat)| (*id, seat.clone())).collect()
    }

    /// Refuses a set of voters of whom no majority answers.
    fn check_majority(&self, voters: &BTreeSet<NodeId>) -> Result<(), MembershipError> {
        let answering = voters.intersection(&self.answering).count();
        if 2 * answering > voters.len() {
            return Ok(());
        }
        let silent: Vec<String> = voters.difference(&self.answering).map(ToString::to_string).collect();
        refused(format!(
            "of the {} voters that there would be only {answering} answer, which is no majority; silent: {}",
            voters.len(),
            silent.join(", ")
        ))
    }
}

/// Where changes are made. All clones are the same.
#[derive(Clone)]
pub(crate) struct Changes {
    raft: Raft,
    roster: Roster,
    me: NodeId,
    /// Whoever answered within this time is there.
    fresh: Duration,
    one_at_a_time: Arc<tokio::sync::Mutex<()>>,
}

impl Changes {
    pub(crate) fn new(raft: Raft, roster: Roster, me: NodeId, fresh: Duration) -> Changes {
        Changes { raft, roster, me, fresh, one_at_a_time: Arc::default() }
    }

    /// Gives a place without a vote, and a number if none is asked for. The same folder gets the same place again.
    pub(crate) async fn seat(
        &self,
        wanted: Option<NodeId>,
        peer: Peer,
        incarnation: Option<Incarnation>,
        within: Duration,
    ) -> Result<NodeId, MembershipError> {
        let _turn = self.turn().await?;
        let seen = self.look()?;
        let mut seats = seen.seats();
        let same = |seat: &Seat| incarnation.is_some() && seat.incarnation == incarnation;
        if let Some((id, _)) = seats.iter().find(|(id, seat)| same(seat) && wanted.is_none_or(|w| w == **id))
        {
            return Ok(*id);
        }
        let newest = seat::newest(&seen.membership);
        let id = match wanted {
            None => newest + 1,
            Some(id) if id > newest => id,
            Some(id) if seats.contains_key(&id) => {
                return refused(format!("number {id} belongs to another replica"));
            }
            Some(id) => {
                return refused(format!(
                    "number {id} was given before, and none is given twice; the next is {}",
                    newest + 1
                ));
            }
        };
        check_address(&seats, None, &peer)?;
        if seats.len() >= 2 * MAX_VOTERS {
            return refused(format!("there are {} members already", seats.len()));
        }
        seats.insert(id, Seat { peer, incarnation, newest: id });
        for seat in seats.values_mut() {
            seat.newest = id;
        }
        self.change(&seen, ChangeMembers::SetNodes(seats), within).await?;
        Ok(id)
    }

    /// How many entries a member lacks; `None` if it did not answer yet.
    pub(crate) fn behind(&self, id: NodeId) -> Result<Option<u64>, MembershipError> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let last = metrics.last_log_index.map_or(0, |index| index + 1);
        let replication = metrics.replication.as_ref().ok_or(NOT_LEADING)?;
        let matched = replication.get(&id).copied().flatten();
        Ok(matched.map(|matched| last.saturating_sub(matched.index + 1)))
    }

    /// Gives a member its vote, as soon as it has the log.
    pub(crate) async fn promote(&self, id: NodeId, within: Duration) -> Result<(), MembershipError> {
        let seen = self.look()?;
        if seen.voters().contains(&id) {
            return refused(format!("replica {id} votes already"));
        }
        if seen.membership.get_node(&id).is_none() {
            return refused(format!("replica {id} is no member"));
        }
        let mut metrics = self.raft.metrics();
        let caught_up = async {
            while self.behind(id)?.is_none_or(|behind| behind > SMALL_LAG) {
                // Either way it is time to look again; a store that stopped leads no more.
                drop(tokio::time::timeout(LOOK, metrics.changed()).await);
            }
            Ok(())
        };
        let begun = tokio::time::Instant::now();
        tokio::time::timeout(within, caught_up).await.unwrap_or_else(|_| {
            let behind = self.behind(id)?;
            let lag = behind.map_or("does not answer".to_owned(), |n| format!("still lacks {n} entries"));
            Err(MembershipError::Busy(format!("replica {id} {lag}; it has no vote yet")))
        })?;
        let _turn = self.turn().await?;
        let seen = self.look()?;
        let mut voters = seen.voters();
        voters.insert(id);
        if voters.len() > MAX_VOTERS {
            return refused(format!("there are {MAX_VOTERS} voters already"));
        }
        seen.check_majority(&voters)?;
        let left = within.saturating_sub(begun.elapsed()).max(TURN);
        self.change(&seen, ChangeMembers::AddVoterIds(BTreeSet::from([id])), left).await
    }

    /// Takes vote and membership away. A leader cannot remove itself: it hands over first.
    pub(crate) async fn remove(&self, id: NodeId, within: Duration) -> Result<(), MembershipError> {
        let _turn = self.turn().await?;
        let seen = self.look()?;
        if seen.membership.get_node(&id).is_none() {
            let known = id <= seat::newest(&seen.membership);
            let past = if known { " any more" } else { "" };
            return refused(format!("replica {id} is no member{past}"));
        }
        let mut voters = seen.voters();
        if !voters.remove(&id) {
            return self.change(&seen, ChangeMembers::RemoveNodes(BTreeSet::from([id])), within).await;
        }
        if voters.is_empty() {
            return refused(format!("replica {id} is the only voter"));
        }
        if id == self.me {
            return refused(format!("replica {id} leads: it hands over before it is removed"));
        }
        seen.check_majority(&voters)?;
        self.change(&seen, ChangeMembers::RemoveVoters(BTreeSet::from([id])), within).await
    }

    /// Tells all where a member is from now on.
    pub(crate) async fn relocate(
        &self,
        id: NodeId,
        peer: Peer,
        within: Duration,
    ) -> Result<(), MembershipError> {
        let _turn = self.turn().await?;
        let seen = self.look()?;
        let mut seats = seen.seats();
        check_address(&seats, Some(id), &peer)?;
        let Some(mut seat) = seats.remove(&id) else {
            return refused(format!("replica {id} is no member"));
        };
        if seat.peer == peer {
            return Ok(());
        }
        seat.peer = peer;
        self.change(&seen, ChangeMembers::SetNodes(BTreeMap::from([(id, seat)])), within).await
    }

    /// Finishes a change that was left half done, and binds members to the folders that they were heard with. Does one thing at
    /// most, and nothing while another change is being made.
    pub(crate) async fn tidy(&self, within: Duration) -> Result<(), MembershipError> {
        let Ok(_turn) = self.one_at_a_time.try_lock() else { return Ok(()) };
        let seen = self.look()?;
        if seen.membership.get_joint_config().len() > 1 {
            tracing::info!(membership = %seen.membership, "finishing a change of members that was left half done");
            return self.change(&seen, ChangeMembers::AddVoterIds(BTreeSet::new()), within).await;
        }
        let bind = self.roster.to_bind(&seen.membership);
        if bind.is_empty() {
            return Ok(());
        }
        let newest = seat::newest(&seen.membership);
        let mut seats = seen.seats();
        for (id, seat) in &mut seats {
            seat.newest = newest;
            seat.incarnation = seat.incarnation.or(bind.get(id).copied());
        }
        self.change(&seen, ChangeMembers::SetNodes(seats), within).await
    }

    async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, MembershipError> {
        let turn = tokio::time::timeout(TURN, self.one_at_a_time.lock()).await;
        turn.map_err(|_| MembershipError::Busy("another change is being made".to_owned()))
    }

    fn look(&self) -> Result<Seen, MembershipError> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            let leader = metrics.current_leader.filter(|id| *id != self.me);
            let peer = |id: &NodeId| metrics.membership_config.membership().get_node(id).cloned();
            return Err(MembershipError::NotLeading {
                leader: leader.and_then(|id| Some((id, peer(&id)?.peer))),
            });
        }
        Ok(Seen {
            membership: metrics.membership_config.membership().clone(),
            log_id: *metrics.membership_config.log_id(),
            answering: answering(&metrics, self.me, self.fresh),
        })
    }

    /// Makes the change if the membership is still the one that it was decided on, and checks that no half of it is left.
    async fn change(
        &self,
        seen: &Seen,
        change: ChangeMembers<NodeId, Seat>,
        within: Duration,
    ) -> Result<(), MembershipError> {
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: seen.log_id };
        let changing = self.raft.change_membership_if(change, false, [unchanged]);
        let changed = tokio::time::timeout(within, changing)
            .await
            .map_err(|_| MembershipError::Unknown("not committed in time".to_owned()))?
            .map_err(failed)?;
        match &changed.membership {
            Some(now) if now.get_joint_config().len() > 1 => Err(MembershipError::Unknown(
                "only half of the change was made; it is being finished".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

const NOT_LEADING: MembershipError = MembershipError::NotLeading { leader: None };

fn refused<T>(text: String) -> Result<T, MembershipError> {
    Err(MembershipError::Refused(text))
}

fn check_address(
    seats: &BTreeMap<NodeId, Seat>,
    of: Option<NodeId>,
    peer: &Peer,
) -> Result<(), MembershipError> {
    if peer.peer_addr.is_empty() {
        return refused("it has no address".to_owned());
    }
    let taken = |(id, seat): (&NodeId, &Seat)| {
        (Some(*id) != of && seat.peer.peer_addr == peer.peer_addr).then_some(*id)
    };
    match seats.iter().find_map(taken) {
        Some(other) => refused(format!(
            "{} is the address of replica {other}; if that one is gone for good, remove it first",
            peer.peer_addr
        )),
        None => Ok(()),
    }
}

/// Who answered the leader lately.
pub(crate) fn answering(metrics: &Metrics, me: NodeId, fresh: Duration) -> BTreeSet<NodeId> {
    use openraft::Instant as _;
    let heartbeats = metrics.heartbeat.iter().flatten();
    let lately = heartbeats.filter(|(_, at)| at.is_some_and(|at| at.elapsed() < fresh));
    lately.map(|(id, _)| *id).chain([me]).collect()
}

/// Members that did not; nobody as long as this replica does not lead.
pub(crate) fn silent(metrics: &Metrics, me: NodeId, fresh: Duration) -> Vec<NodeId> {
    if metrics.heartbeat.is_none() {
        return Vec::new();
    }
    let answering = answering(metrics, me, fresh);
    let members = metrics.membership_config.membership().nodes().map(|(id, _)| *id);
    members.filter(|id| !answering.contains(id)).collect()
}

fn failed(e: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MembershipError {
    use ChangeMembershipError::{InProgress, UncommittedLeaderLog};
    let e = match e {
        RaftError::Fatal(e) => return MembershipError::Unknown(e.to_string()),
        RaftError::APIError(e) => e,
    };
    match e {
        ClientWriteError::ForwardToLeader(forward) => {
            let peer = forward.leader_node.map(|seat| seat.peer);
            MembershipError::NotLeading { leader: forward.leader_id.zip(peer) }
        }
        ClientWriteError::LogEntryDiscarded(_) => MembershipError::Unknown(e.to_string()),
        ClientWriteError::PreconditionFailed(_) => {
            MembershipError::Busy("the members changed meanwhile".to_owned())
        }
        ClientWriteError::ChangeMembershipError(InProgress(_) | UncommittedLeaderLog(_)) => {
            MembershipError::Busy("another change is being made".to_owned())
        }
        ClientWriteError::ChangeMembershipError(e) => MembershipError::Refused(e.to_string()),
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
