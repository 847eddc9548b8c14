//! Coming into a cluster: a replica with an empty folder asks for a number, follows the log, and then for its vote.
//!
//! Owns both ends of that conversation. It can break off at any point and be begun again: the folder is known by what was drawn
//! for it, so that asking twice gives one place. Whether somebody is let in is decided in `membership.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::card::Card;
use crate::cluster::Cluster;
use crate::config::{Join, NodeId, Peer};
use crate::error::{JoinError, MembershipError};
use crate::fatal::Fatal;
use crate::leadership::Gate;
use crate::membership::Changes;
use crate::network::joining::{JoinAsk, JoinReply, Stranger};
use crate::roster::Roster;

/// How long a leader works on one request before the asker is told to come again.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// How long an answer is waited for.
const WAIT: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(300);

/// The leader's end.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) cluster: Cluster,
    pub(crate) changes: Changes,
    pub(crate) gate: Arc<Gate>,
    pub(crate) roster: Roster,
}

impl Desk {
    pub(crate) async fn answer(&self, ask: JoinAsk) -> JoinReply {
        match self.serve(ask).await {
            Ok(reply) => reply,
            Err(MembershipError::NotLeading { leader }) => {
                let known = leader.or_else(|| self.gate.other_leader());
                JoinReply::NotLeading { leader: known.map(|(_, peer)| peer) }
            }
            Err(MembershipError::Refused(text)) => JoinReply::Refused(text),
            Err(MembershipError::Busy(text) | MembershipError::Unknown(text)) => JoinReply::Later(text),
        }
    }

    async fn serve(&self, ask: JoinAsk) -> Result<JoinReply, MembershipError> {
        let Some(cluster_id) = self.cluster.id() else {
            return Ok(JoinReply::Later("there is no cluster yet".to_owned()));
        };
        if let Some(id) = ask.node_id.filter(|id| self.roster.is_removed(*id)) {
            return Err(MembershipError::Refused(format!("replica {id} was removed from the cluster")));
        }
        // A number was given before the folder was first opened, so it has a place already, or had one.
        let node_id = self.changes.seat(ask.node_id, ask.peer, Some(ask.incarnation), ANSWER_WITHIN).await?;
        let voter = |id| self.roster.watch().borrow().list.get(&id).is_some_and(|member| member.voter);
        if ask.vote && !voter(node_id) {
            match self.changes.promote(node_id, ANSWER_WITHIN).await {
                // It may have got its vote meanwhile; the next answer tells.
                Ok(()) | Err(MembershipError::Busy(_)) => {}
                Err(MembershipError::Refused(text)) => return Ok(JoinReply::Later(text)),
                Err(error) => return Err(error),
            }
        }
        let behind = self.changes.behind(node_id)?.unwrap_or(u64::MAX);
        Ok(JoinReply::Member { node_id, cluster_id, voter: voter(node_id), behind })
    }
}

/// Gets the number of the replica in this folder: from the folder, or else from the cluster.
pub(crate) async fn claim(
    dir: &Path,
    me: Peer,
    contacts: &[String],
    secret: Option<String>,
    within: Duration,
) -> Result<NodeId, JoinError> {
    let folder = dir.to_owned();
    let card = crate::blocking::run(move || Card::draft(&folder)).await;
    let card = card.map_err(|e| JoinError::Refused(e.to_string()))??;
    if let Some(id) = card.node_id {
        return Ok(id);
    }
    let stranger = Stranger::new(secret).map_err(|e| JoinError::Refused(e.to_string()))?;
    let ask = JoinAsk { peer: me, incarnation: card.incarnation, node_id: None, vote: false };
    let mut last = "nobody was asked".to_owned();
    let asking = async {
        loop {
            match round(&stranger, contacts, &ask).await {
                Ok(JoinReply::Member { node_id, cluster_id, .. }) => {
                    tracing::info!(node_id, cluster_id, "got a number in the cluster");
                    return Ok(node_id);
                }
                Ok(JoinReply::Refused(text)) => return Err(JoinError::Refused(text)),
                Ok(other) => last = told(&other),
                Err(text) => last = text,
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let outcome = tokio::time::timeout(within, asking).await;
    outcome.unwrap_or_else(|_| Err(JoinError::NoAnswer { within_s: within.as_secs(), last: last.clone() }))
}

/// Asks until this replica has the place that it was started for.
pub(crate) async fn settle(
    join: Join,
    me: (NodeId, Peer),
    secret: Option<String>,
    roster: Roster,
    fatal: Fatal,
) {
    let Ok(stranger) = Stranger::new(secret) else { return };
    let (node_id, peer) = me;
    let ask = JoinAsk { peer, incarnation: roster.incarnation(), node_id: Some(node_id), vote: join.vote };
    let members = roster.watch();
    let mut said = String::new();
    loop {
        let mut contacts = join.contacts.clone();
        {
            let members = members.borrow();
            let settled = |voter: bool| voter || !join.vote;
            if members.list.get(&node_id).is_some_and(|member| settled(member.voter)) {
                tracing::info!(node_id, vote = join.vote, "this replica has its place in the cluster");
                return;
            }
            contacts.extend(members.list.values().map(|member| member.peer.peer_addr.clone()));
        }
        let text = match round(&stranger, &contacts, &ask).await {
            Ok(JoinReply::Refused(text)) => {
                fatal.report(format!("replica {node_id} is not let into the cluster: {text}"));
                return;
            }
            Ok(reply) => told(&reply),
            Err(text) => text,
        };
        if text != said {
            tracing::info!(node_id, %text, "waiting for a place in the cluster");
            said = text;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks one after the other, and the leader if one is named.
async fn round(stranger: &Stranger, contacts: &[String], ask: &JoinAsk) -> Result<JoinReply, String> {
    let mut last = Err("nobody was asked".to_owned());
    for contact in contacts {
        let mut reply = stranger.join(contact, ask, WAIT).await;
        if let Ok(JoinReply::NotLeading { leader: Some(leader) }) = &reply {
            reply = stranger.join(&leader.peer_addr, ask, WAIT).await;
        }
        match reply {
            Ok(reply @ (JoinReply::Member { .. } | JoinReply::Refused(_))) => return Ok(reply),
            Ok(other) => last = Ok(other),
            Err(text) => last = last.or(Err(format!("{contact}: {text}"))),
        }
    }
    last
}

fn told(reply: &JoinReply) -> String {
    match reply {
        JoinReply::Member { voter: true, .. } => "it has a vote".to_owned(),
        JoinReply::Member { behind: u64::MAX, .. } => "the leader has not reached it yet".to_owned(),
        JoinReply::Member { .. } => "the log is being copied".to_owned(),
        JoinReply::NotLeading { .. } => "no replica leads".to_owned(),
        JoinReply::Later(text) | JoinReply::Refused(text) => text.clone(),
    }
}
