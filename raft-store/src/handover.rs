//! Handing the leadership to another replica on purpose: a matter of milliseconds, where an election is one of hundreds.
//!
//! Owns the choice of the successor and the wait for it. Moves no data: the successor is one that has the log already.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;

use crate::config::NodeId;
use crate::error::HandOverError;
use crate::leadership::Gate;
use crate::membership::answering;
use crate::types::{Metrics, Raft};

/// See [`RaftStore::hand_over`](crate::RaftStore::hand_over).
pub(crate) async fn hand_over(
    raft: &Raft,
    gate: &Arc<Gate>,
    me: NodeId,
    named: Option<NodeId>,
    fresh: Duration,
    within: Duration,
) -> Result<NodeId, HandOverError> {
    let (successor, term) = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            return Err(HandOverError::NotLeading { leader: gate.other_leader() });
        }
        let unfit = gate.health().unfit_peers();
        let fit = match named {
            Some(named) => Some(check(&metrics, me, named, fresh, &unfit)?),
            None => choose(&metrics, me, fresh, &unfit),
        };
        let successor = fit.or_else(|| choose(&metrics, me, fresh, &BTreeSet::new()));
        (successor.ok_or(HandOverError::NoCandidate)?, metrics.current_term)
    };
    // From here on no command gets in, so nobody should be told that this replica leads.
    let _closed = Closed::new(gate);
    tracing::info!(to = successor, "handing over the leadership");
    raft.trigger().transfer_leader(successor).await.map_err(|e| HandOverError::Failed(e.to_string()))?;
    let mut metrics = raft.metrics();
    let other_leads = async {
        loop {
            let leader = metrics.borrow_watched().current_leader;
            if let Some(leader) = leader.filter(|leader| *leader != me) {
                return Ok(leader);
            }
            metrics.changed().await.map_err(|_| HandOverError::Failed("the store stopped".to_owned()))?;
        }
    };
    let outcome = tokio::time::timeout(within, other_leads)
        .await
        .unwrap_or(Err(HandOverError::TimedOut { to: successor, within_ms: within.as_millis() }));
    if outcome.is_err() {
        // Raft does not take it back: in this term it refuses every command, while its heartbeats would keep the others quiet.
        gate.abdicate(term);
    }
    outcome
}

/// Whether there is somebody whose disk is better than this replica's.
pub(crate) fn has_fit_successor(raft: &Raft, gate: &Gate, me: NodeId, fresh: Duration) -> bool {
    let metrics = raft.metrics();
    choose(&metrics.borrow_watched(), me, fresh, &gate.health().unfit_peers()).is_some()
}

/// Whether the one that was named could take over.
fn check(
    metrics: &Metrics,
    me: NodeId,
    named: NodeId,
    fresh: Duration,
    not: &BTreeSet<NodeId>,
) -> Result<NodeId, HandOverError> {
    let unfit = |reason: &str| Err(HandOverError::Unfit { to: named, reason: reason.to_owned() });
    if named == me {
        return unfit("it leads already");
    }
    if metrics.membership_config.membership().get_node(&named).is_none() {
        return unfit("it is no member");
    }
    if !metrics.membership_config.voter_ids().any(|voter| voter == named) {
        return unfit("it has no vote");
    }
    if !answering(metrics, me, fresh).contains(&named) {
        return unfit("it does not answer");
    }
    if not.contains(&named) {
        return unfit("its disk is slow or nearly full");
    }
    Ok(named)
}

/// The voter with the longest log among those that answered a heartbeat lately.
fn choose(metrics: &Metrics, me: NodeId, fresh: Duration, not: &BTreeSet<NodeId>) -> Option<NodeId> {
    let answering = answering(metrics, me, fresh);
    let replication = metrics.replication.as_ref()?;
    metrics
        .membership_config
        .voter_ids()
        .filter(|id| *id != me && !not.contains(id))
        .filter(|id| answering.contains(id))
        .max_by_key(|id| (replication.get(id).copied().flatten(), std::cmp::Reverse(*id)))
}

/// Keeps the gate closed while it lives.
struct Closed {
    gate: Arc<Gate>,
}

impl Closed {
    fn new(gate: &Arc<Gate>) -> Closed {
        gate.hand_over(true);
        Closed { gate: Arc::clone(gate) }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.gate.hand_over(false);
    }
}
