//! The handle that users hold. Owns the public surface of a replica; the work is done by the modules below it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::config::{Config, NodeId, Peer};
use crate::error::{BootstrapError, HandOverError, OpenError, ProposeError, SnapshotError};
use crate::machine::StateMachine;
use crate::status::{Applied, Lead, Leadership, Status};

/// One replica. Cheap to clone; all clones are the same replica.
#[derive(Clone)]
pub struct RaftStore {
    leadership: watch::Receiver<Leadership>,
    fatal: watch::Receiver<Option<String>>,
}

impl RaftStore {
    /// Opens or creates the replica in `config.dir`, recovers its state and starts to listen for peers. A fresh replica
    /// waits, until it is bootstrapped or a member of a cluster reaches it.
    ///
    /// # Errors
    /// When a file is damaged, foreign or in use, or the listener cannot be bound. Never repaired by itself.
    pub async fn open<S: StateMachine>(_config: Config, _state_machine: S) -> Result<RaftStore, OpenError> {
        Err(OpenError::Raft("not yet".to_owned()))
    }

    /// Creates the cluster: exactly once, on exactly one replica. Draws and returns the cluster id.
    ///
    /// # Errors
    /// [`BootstrapError::AlreadyBootstrapped`] if this replica belongs to a cluster.
    pub async fn bootstrap(&self, _members: BTreeMap<NodeId, Peer>) -> Result<String, BootstrapError> {
        Err(BootstrapError::Failed("not yet".to_owned()))
    }

    /// The cluster this replica belongs to, if any.
    pub fn cluster_id(&self) -> Option<String> {
        None
    }

    /// The address on which the peer listener really is bound.
    pub fn peer_listen_addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], 0).into()
    }

    /// Who leads, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Proposes a command; resolves when it has been applied here. The command takes its place in the order of proposals
    /// when `propose` is called, not when the future is first polled: many may be in flight, and from one task the order of
    /// the calls is the order in the log. Dropping the future does not take the command back.
    ///
    /// # Errors
    /// See [`ProposeError`]: only `Unknown` leaves open whether the command will be applied.
    pub fn propose(
        &self,
        _lead: &Lead,
        _command: Bytes,
    ) -> impl Future<Output = Result<Applied, ProposeError>> + Send + use<> {
        async { Err(ProposeError::NotLeading { leader: None }) }
    }

    /// What there is to show to an operator.
    pub fn status(&self) -> Status {
        Status::default()
    }

    /// Hands the leadership to the most caught-up other voter and waits until somebody else leads.
    ///
    /// # Errors
    /// See [`HandOverError`]; after an error this replica may still lead.
    pub async fn hand_over(&self, _within: Duration) -> Result<NodeId, HandOverError> {
        Err(HandOverError::NoCandidate)
    }

    /// Takes a snapshot now and waits until it is on disk. Returns the index of its last entry.
    ///
    /// # Errors
    /// When nothing was applied yet or the snapshot could not be written.
    pub async fn trigger_snapshot(&self) -> Result<u64, SnapshotError> {
        Err(SnapshotError("not yet".to_owned()))
    }

    /// A barrier for linearizable reads: after it, the local state contains every write that was acknowledged before the
    /// call. Returns the applied index.
    ///
    /// # Errors
    /// `NotLeading` if this replica cannot prove that it still leads.
    pub async fn read_barrier(&self, _lead: &Lead) -> Result<u64, ProposeError> {
        Err(ProposeError::NotLeading { leader: None })
    }

    /// Becomes `Some` if the replica cannot go on (disk error, corrupt entry): the process must exit non-zero with the text.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.fatal.clone()
    }

    /// Stops everything in order. Later calls fail; a second `shutdown` does nothing.
    pub async fn shutdown(&self) {}
}
