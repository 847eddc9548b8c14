//! Reads that miss nothing: how far a replica must have applied the log before it may answer one, and how current it is otherwise.
//!
//! Owns the question to the leader (how far had the log been committed when I asked?) and the wait for that place in the log (Raft, "ReadIndex";
//! Ongaro's dissertation, 6.4). Holds no state of the machine.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{LinearizerOption, ReadPolicy, ServerState};
use tokio::time::Instant;

use crate::error::ReadError;
use crate::network::Network;
use crate::types::Raft;

/// Waits until everything that was acknowledged before the call is applied here, and returns the applied index.
pub(crate) async fn settle(raft: &Raft, network: &Network, within: Duration) -> Result<u64, ReadError> {
    let work = async {
        let leader = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            let leads = metrics.state == ServerState::Leader;
            let membership = metrics.membership_config.membership();
            let other = metrics.current_leader.and_then(|id| Some((id, membership.get_node(&id)?.clone())));
            if leads { None } else { Some(other.ok_or(ReadError::NoLeader)?) }
        };
        let index = match leader {
            None => committed(raft, within).await.ok_or(ReadError::NoLeader)?,
            Some((id, peer)) => network.read_index(id, &peer, within).await.map_err(ReadError::Leader)?,
        };
        let mut metrics = raft.metrics();
        loop {
            let applied = metrics.borrow_watched().last_applied.map(|id| id.index);
            if let Some(applied) = applied.filter(|applied| *applied >= index) {
                return Ok(applied);
            }
            metrics.changed().await.map_err(|_| ReadError::Closed)?;
        }
    };
    tokio::time::timeout(within, work).await.unwrap_or(Err(ReadError::TooLate { within }))
}

/// On the leader: how far the log is committed, proven by a quorum that still follows. `None` if that cannot be proven.
pub(crate) async fn committed(raft: &Raft, within: Duration) -> Option<u64> {
    let option = LinearizerOption::from(ReadPolicy::ReadIndex).with_wait_timeout(within);
    let linearizer = raft.get_read_linearizer(option).await.ok()?;
    Some(linearizer.read_log_id().index())
}

/// When a follower last knew that it had everything.
pub(crate) struct Freshness {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// What the leader said earliest of all that is not applied yet: when, and how far the log was committed.
    awaited: Option<(Instant, u64)>,
    /// When the leader said the latest of what is applied.
    current: Option<Instant>,
}

impl Seen {
    fn look(&mut self, applied: u64) {
        if let Some((at, _)) = self.awaited.take_if(|(_, committed)| *committed <= applied) {
            self.current = Some(at);
        }
    }
}

impl Freshness {
    pub(crate) fn new() -> Freshness {
        Freshness { seen: Mutex::default() }
    }

    /// The leader said at `now` that the log is committed through `committed`; this replica has applied it through `applied`.
    pub(crate) fn heard(&self, now: Instant, committed: u64, applied: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.look(applied);
        if committed <= applied {
            (seen.current, seen.awaited) = (Some(now), None);
        } else {
            seen.awaited.get_or_insert((now, committed));
        }
    }

    /// How long ago this replica surely had everything; `None` if it never had.
    pub(crate) fn age(&self, now: Instant, applied: u64) -> Option<Duration> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.look(applied);
        seen.current.map(|at| now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_as_old_as_the_last_word_that_it_has_applied() {
        let (freshness, begun) = (Freshness::new(), Instant::now());
        let at = |ms| begun + Duration::from_millis(ms);
        let age = |now, applied| freshness.age(at(now), applied).map(|age| age.as_millis());
        assert_eq!(age(0, 0), None);
        freshness.heard(at(10), 5, 3);
        assert_eq!(age(20, 4), None, "not there yet");
        assert_eq!(age(30, 5), Some(20), "as of the word that it waited for");
        freshness.heard(at(40), 5, 5);
        assert_eq!(age(45, 5), Some(5));
        freshness.heard(at(50), 9, 6);
        freshness.heard(at(60), 12, 7);
        assert_eq!(age(70, 8), Some(30), "still as of the last word that it had all of");
        assert_eq!(age(80, 9), Some(30), "as of the earliest word that it lacked a part of");
        assert_eq!(age(90, 12), Some(40), "nobody said since that there is no more");
    }
}
