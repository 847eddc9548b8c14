//! The replicated store as the rest of the master sees it, so that tests can put something smaller in its place.
//!
//! Owns a trait and its one real implementation. No decisions.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tepui_raft_store::{
    Applied, Backup, Lead, Leadership, Members, NodeId, Peer, ProposeError, RaftStore, ReadError,
    SnapshotError, Status, Storage,
};
use tokio::sync::watch;

/// One replica of the log.
pub(crate) trait Replica: Send + Sync + 'static {
    /// See [`RaftStore::propose`]: the place in the log's order is taken by the call, not by the first poll.
    fn propose(&self, lead: &Lead, command: Bytes) -> BoxFuture<'static, Result<Applied, ProposeError>>;

    /// See [`RaftStore::read_barrier`].
    fn read_barrier(&self, lead: &Lead) -> BoxFuture<'static, Result<u64, ProposeError>>;

    /// See [`RaftStore::settle`].
    fn settle(&self) -> BoxFuture<'static, Result<u64, ReadError>>;

    /// See [`RaftStore::age`].
    fn age(&self) -> Option<Duration>;

    /// Who leads, as it changes.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Which masters there are, as it changes.
    fn members(&self) -> watch::Receiver<Members>;

    /// What there is to show to an operator.
    fn status(&self) -> Status;

    /// The cluster this replica belongs to.
    fn cluster_id(&self) -> Option<String>;

    /// See [`RaftStore::backup`]; a replica without files has none to give.
    fn backup(&self) -> BoxFuture<'static, Result<Backup, SnapshotError>> {
        async { Err(SnapshotError("this replica keeps nothing on disk".to_owned())) }.boxed()
    }

    /// How its disk fares.
    fn storage(&self) -> Storage {
        Storage::default()
    }

    /// The store itself, for what only it can do.
    fn store(&self) -> Option<RaftStore> {
        None
    }

    /// Who has a vote, and where they are.
    fn voters(&self) -> BTreeMap<NodeId, Peer> {
        let members = self.status().members.into_iter();
        members.filter(|(_, (_, votes))| *votes).map(|(id, (peer, _))| (id, peer)).collect()
    }

    /// See [`RaftStore::ask`]; nothing if there is no answer.
    fn ask(
        &self,
        _: NodeId,
        _: Peer,
        _question: Bytes,
        _within: Duration,
    ) -> BoxFuture<'static, Option<Bytes>> {
        futures::future::ready(None).boxed()
    }
}

impl Replica for RaftStore {
    fn store(&self) -> Option<RaftStore> {
        Some(self.clone())
    }

    fn propose(&self, lead: &Lead, command: Bytes) -> BoxFuture<'static, Result<Applied, ProposeError>> {
        RaftStore::propose(self, lead, command).boxed()
    }

    fn read_barrier(&self, lead: &Lead) -> BoxFuture<'static, Result<u64, ProposeError>> {
        let (store, lead) = (self.clone(), lead.clone());
        async move { RaftStore::read_barrier(&store, &lead).await }.boxed()
    }

    fn settle(&self) -> BoxFuture<'static, Result<u64, ReadError>> {
        let store = self.clone();
        async move { RaftStore::settle(&store).await }.boxed()
    }

    fn age(&self) -> Option<Duration> {
        RaftStore::age(self)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        RaftStore::leadership(self)
    }

    fn members(&self) -> watch::Receiver<Members> {
        RaftStore::members(self)
    }

    fn status(&self) -> Status {
        RaftStore::status(self)
    }

    fn cluster_id(&self) -> Option<String> {
        RaftStore::cluster_id(self)
    }

    fn backup(&self) -> BoxFuture<'static, Result<Backup, SnapshotError>> {
        let store = self.clone();
        async move { RaftStore::backup(&store).await }.boxed()
    }

    fn storage(&self) -> Storage {
        RaftStore::storage(self)
    }

    fn ask(
        &self,
        target: NodeId,
        peer: Peer,
        question: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Option<Bytes>> {
        let store = self.clone();
        async move {
            let answer = RaftStore::ask(&store, target, peer, question, within).await;
            answer.inspect_err(|error| tracing::debug!(target, %error, "no word about the state")).ok()
        }
        .boxed()
    }
}
