//! Which cluster this replica belongs to, and who may speak to it.
//!
//! Owns the cluster id, drawn once by whoever creates the cluster and adopted once by everybody else, and the rules of the
//! greeting that comes with every message between replicas. Refuses messages of another cluster, to another replica, or
//! without the secret.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

use crate::config::NodeId;
use crate::error::BootstrapError;
use crate::levels::Levels;
use crate::log::{Identity, LogStore};
use crate::roster::{Expelled, Roster};
use crate::seat::Incarnation;

/// What comes with every message between replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) cluster_id: String,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) secret: Option<String>,
    /// What the sender's build can do, if it tells.
    pub(crate) level: Option<u32>,
    /// Which folder the sender works in; absent from earlier versions.
    pub(crate) incarnation: Option<Incarnation>,
    /// Which folder the addressee is expected to work in, if the sender knows.
    pub(crate) expects: Option<Incarnation>,
}

/// Why a greeting was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the greeting is incomplete: {0}")]
    Incomplete(&'static str),
    #[error("the secret does not match")]
    Secret,
    #[error("this is replica {here}, not {to}")]
    NotMe { here: NodeId, to: NodeId },
    #[error("the sender claims to be this very replica")]
    Myself,
    #[error("this replica belongs to cluster {here}, not to {theirs}")]
    OtherCluster { here: String, theirs: String },
    #[error("replica {0} was removed from the cluster")]
    Removed(NodeId),
    #[error("replica {0} is known with another folder: its disk was lost, emptied or exchanged")]
    OtherFolder(NodeId),
    #[error("this replica works in another folder than the one that is spoken to")]
    NotThisFolder,
    #[error("the cluster id could not be stored: {0}")]
    Storage(String),
}

/// See the module head. All clones are the same.
#[derive(Clone)]
pub(crate) struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    node_id: NodeId,
    secret: Option<String>,
    levels: Levels,
    log: LogStore,
    id: ArcSwapOption<String>,
    /// Held while the id is given.
    giving: Mutex<()>,
}

impl Cluster {
    pub(crate) fn new(node_id: NodeId, secret: Option<String>, log: LogStore) -> Cluster {
        Self::of_level(node_id, secret, log, 0)
    }

    /// The same for a build that can do so much.
    pub(crate) fn of_level(node_id: NodeId, secret: Option<String>, log: LogStore, level: u32) -> Cluster {
        let id = log.identity().and_then(|identity| identity.cluster_id).map(Arc::new);
        let levels = Levels::new(node_id, level);
        let id = ArcSwapOption::from(id);
        let shared = Shared { node_id, secret, levels, log, id, giving: Mutex::new(()) };
        Cluster { shared: Arc::new(shared) }
    }

    pub(crate) fn id(&self) -> Option<String> {
        self.shared.id.load().as_ref().map(|id| id.as_ref().clone())
    }

    /// Whether this is the secret of the cluster.
    pub(crate) fn knows(&self, secret: Option<&str>) -> bool {
        same_secret(secret, self.shared.secret.as_deref())
    }

    /// The greeting for a message to a peer; `None` as long as there is no cluster.
    pub(crate) fn greet(
        &self,
        to: NodeId,
        incarnation: Incarnation,
        expects: Option<Incarnation>,
    ) -> Option<Greeting> {
        let cluster_id = self.id()?;
        let Shared { node_id, secret, levels, .. } = &*self.shared;
        let (from, secret) = (*node_id, secret.clone());
        let level = Some(levels.own());
        Some(Greeting { cluster_id, from, to, secret, level, incarnation: Some(incarnation), expects })
    }

    /// What each replica's build can do, as far as it was heard of.
    pub(crate) fn levels(&self) -> &Levels {
        &self.shared.levels
    }

    /// Checks the greeting of a message; a replica without a cluster joins the one of its first valid message.
    pub(crate) async fn check(&self, greeting: &Greeting, roster: &Roster) -> Result<(), Refusal> {
        let shared = &self.shared;
        if !self.knows(greeting.secret.as_deref()) {
            return Err(Refusal::Secret);
        }
        if greeting.to != shared.node_id {
            return Err(Refusal::NotMe { here: shared.node_id, to: greeting.to });
        }
        if greeting.from == shared.node_id {
            return Err(Refusal::Myself);
        }
        if greeting.cluster_id.is_empty() {
            return Err(Refusal::Incomplete("no cluster id"));
        }
        if let Some(here) = shared.id.load().as_ref() {
            compare(here, &greeting.cluster_id)?;
            welcome(greeting, roster)?;
            shared.levels.heard(greeting.from, greeting.level);
            return Ok(());
        }
        // Not taken in before it is clear that this folder is meant.
        welcome(greeting, roster)?;
        let _giving = shared.giving.lock().await;
        if let Some(here) = shared.id.load().as_ref() {
            return compare(here, &greeting.cluster_id);
        }
        self.give(&greeting.cluster_id, false).await.map_err(|e| Refusal::Storage(e.to_string()))?;
        tracing::info!(cluster = %greeting.cluster_id, from = greeting.from, "joined a cluster");
        Ok(())
    }

    /// Draws the id of a new cluster. Answers with the same id again as long as nothing was logged or voted for, so that a
    /// creation that was interrupted can be finished.
    pub(crate) async fn create(&self) -> Result<String, BootstrapError> {
        let _giving = self.shared.giving.lock().await;
        if let Some(cluster_id) = self.id() {
            let begun_here = self.shared.log.identity().is_some_and(|identity| identity.created_here);
            if begun_here && self.shared.log.is_pristine() {
                return Ok(cluster_id);
            }
            return Err(BootstrapError::AlreadyBootstrapped { cluster_id });
        }
        let cluster_id = crate::chance::name();
        self.give(&cluster_id, true).await.map_err(|e| BootstrapError::Failed(e.to_string()))?;
        Ok(cluster_id)
    }

    async fn give(&self, cluster_id: &str, created_here: bool) -> std::io::Result<()> {
        let identity =
            Identity { node_id: self.shared.node_id, cluster_id: Some(cluster_id.to_owned()), created_here };
        self.shared.log.save_identity(identity).await?;
        self.shared.id.store(Some(Arc::new(cluster_id.to_owned())));
        Ok(())
    }
}

/// Whether the sender may still speak, and means this very folder.
fn welcome(greeting: &Greeting, roster: &Roster) -> Result<(), Refusal> {
    let from = greeting.from;
    if greeting.expects.is_some_and(|expected| expected != roster.incarnation()) {
        roster.expel(Expelled::OtherFolder, &format!("as replica {from} says"));
        return Err(Refusal::NotThisFolder);
    }
    if roster.is_removed(from) {
        return Err(Refusal::Removed(from));
    }
    if greeting.incarnation.is_some_and(|incarnation| !roster.hear(from, incarnation)) {
        return Err(Refusal::OtherFolder(from));
    }
    Ok(())
}

fn compare(here: &str, theirs: &str) -> Result<(), Refusal> {
    if here == theirs {
        return Ok(());
    }
    Err(Refusal::OtherCluster { here: here.to_owned(), theirs: theirs.to_owned() })
}

/// Compares without telling by its duration how much of it was right.
fn same_secret(shown: Option<&str>, expected: Option<&str>) -> bool {
    let (shown, expected) = (shown.unwrap_or_default().as_bytes(), expected.unwrap_or_default().as_bytes());
    let differences = shown.iter().zip(expected).fold(0, |acc, (a, b)| acc | (a ^ b));
    shown.len() == expected.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_whole() {
        for (shown, expected, same) in [
            (None, None, true),
            (Some("a"), Some("a"), true),
            (Some("a"), None, false),
            (None, Some("a"), false),
            (Some("ab"), Some("a"), false),
            (Some("b"), Some("a"), false),
        ] {
            assert_eq!(same_secret(shown, expected), same, "{shown:?} {expected:?}");
        }
    }
}
