//! What keeps the membership in order without anybody asking: on the leader changes that were left half done are finished and
//! members bound to their folders; a replica that hears from no leader asks whether it still belongs to the cluster.
//!
//! Owns only the rhythm. The changes are made in `membership.rs`, what the answers mean is decided in `roster.rs`.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use openraft::async_runtime::watch::WatchReceiver;

use crate::config::NodeId;
use crate::leadership::Gate;
use crate::membership::Changes;
use crate::network::Network;
use crate::roster::Roster;
use crate::status::Leadership;
use crate::types::Raft;

const TICK: Duration = Duration::from_secs(1);
/// A change of the keeper's own that takes longer is given up and tried again.
const WITHIN: Duration = Duration::from_secs(5);
/// After so long without a leader's message a replica asks the others about itself, each so often.
const LONELY: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(1);

pub(crate) struct Keeper {
    pub(crate) me: NodeId,
    pub(crate) raft: Raft,
    pub(crate) gate: Arc<Gate>,
    pub(crate) roster: Roster,
    pub(crate) changes: Changes,
    pub(crate) network: Network,
}

impl Keeper {
    pub(crate) async fn run(self) {
        let mut leadership = self.gate.watch();
        loop {
            let leads = matches!(*leadership.borrow_and_update(), Leadership::Leading(_));
            if leads {
                if let Err(error) = self.changes.tidy(WITHIN).await {
                    tracing::debug!(%error, "the membership was not put in order");
                }
            } else if self.gate.unheard_for() > LONELY {
                self.ask_about_me().await;
                tokio::time::sleep(LONELY - TICK).await;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(TICK) => {}
                () = self.roster.unbound() => {}
                changed = leadership.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn ask_about_me(&self) {
        let others: Vec<_> = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let nodes = metrics.membership_config.membership().nodes();
            nodes.filter(|(id, _)| **id != self.me).map(|(id, seat)| (*id, seat.clone())).collect()
        };
        join_all(others.iter().map(|(id, seat)| self.network.greet(*id, seat, ANSWER))).await;
    }
}
