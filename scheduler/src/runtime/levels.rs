//! Tells the core what all voters can do, while that is more than the cluster's level.
//!
//! Owns the look at the voters. A voter that was not heard of since this master leads keeps the level where it is.

use std::sync::Arc;
use std::time::Duration;

use tepui_raft_store::Status;
use tokio_util::sync::CancellationToken;

use crate::runtime::board::Board;
use crate::runtime::handle::Handle;
use crate::runtime::replica::Replica;

/// Between two looks: nobody waits for a level, but tests do.
const LOOK: Duration = Duration::from_millis(500);

/// Looks until it is stopped.
pub(crate) async fn watch(
    board: Arc<Board>,
    replica: Arc<dyn Replica>,
    handle: Handle,
    stop: CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look.tick() => {}
        }
        // Only the leading master has a local view.
        if board.local().is_none() {
            continue;
        }
        let lowest = lowest(&replica.status()).unwrap_or_default();
        if lowest > board.newest().registry.feature_level && handle.voter_level(lowest).await.is_err() {
            return;
        }
    }
}

/// What every voter can do; nothing if one of them is not known.
fn lowest(status: &Status) -> Option<u32> {
    let voters = status.members.iter().filter(|(_, (_, votes))| *votes);
    voters.map(|(id, _)| status.levels.get(id).copied()).min().flatten()
}

#[cfg(test)]
mod tests {
    use tepui_raft_store::Peer;

    use super::*;

    #[test]
    fn everybody_who_votes_counts_and_nobody_else() {
        let status = |voters: &[u64], levels: &[(u64, u32)]| Status {
            members: (1..=3).map(|id| (id, (Peer::default(), voters.contains(&id)))).collect(),
            levels: levels.iter().copied().collect(),
            ..Status::default()
        };
        for (voters, levels, expected) in [
            (&[1, 2, 3][..], &[(1, 2), (2, 3), (3, 2)][..], Some(2)),
            (&[1, 2, 3], &[(1, 2), (2, 3)], None),
            (&[1, 2], &[(1, 2), (2, 3)], Some(2)),
            (&[1, 2], &[(1, 2), (2, 3), (3, 0)], Some(2)),
            (&[1, 2, 3], &[(1, 2), (2, 3), (3, 0)], Some(0)),
            (&[], &[(1, 2)], None),
        ] {
            assert_eq!(lowest(&status(voters, levels)), expected, "{voters:?} {levels:?}");
        }
    }
}
