//! The sending side: one message, one answer, each with its own deadline.
//!
//! Owns the HTTP clients and the translation of what can go wrong into the words of the consensus library. Sends one message
//! after the other: its sequential adapter is used on purpose, see the transport contract in the design notes.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::carrier::{Carrier, Content, Lane, Letter, Undelivered};
use super::joining::{self, Hello};
use super::wire::{Held, Inquiry, Label, Message, SnapshotHead};
use super::{header, path};
use crate::cluster::{Cluster, Greeting};
use crate::config::{Config, NodeId};
use crate::leadership::Gate;
use crate::roster::{Expelled, Roster};
use crate::seat::{Incarnation, Seat};
use crate::snapshot::SnapshotFile;
use crate::types::{Snapshot, TypeConfig, Vote};

/// A snapshot transfer without any progress for this long has failed; also the time the receiver has to install it.
const SNAPSHOT_STALL: Duration = Duration::from_secs(30);
const SNAPSHOT_CHUNK: usize = 256 << 10;
/// Snapshots are sent no faster than this, in bytes a second: entries take the same way.
const SNAPSHOT_RATE: u64 = 100 << 20;
/// How long the question may take how much of a snapshot is there.
const INQUIRY_WITHIN: Duration = Duration::from_secs(5);

/// Makes clients for peers.
#[derive(Clone)]
pub(crate) struct Network {
    shared: Arc<Shared>,
}

struct Shared {
    node_id: NodeId,
    cluster: Cluster,
    roster: Roster,
    gate: Arc<Gate>,
    carrier: Arc<dyn Carrier>,
    /// The library gives a batch of entries one heartbeat interval; a synced write on a busy disk may need more.
    append_timeout: Duration,
    /// Peers that refused us, each reported once.
    refused_by: Mutex<BTreeSet<NodeId>>,
}

impl Network {
    pub(crate) fn new(
        config: &Config,
        cluster: Cluster,
        roster: Roster,
        gate: Arc<Gate>,
        carrier: Arc<dyn Carrier>,
    ) -> Network {
        Network {
            shared: Arc::new(Shared {
                node_id: config.node_id,
                cluster,
                roster,
                gate,
                carrier,
                append_timeout: Duration::from_millis(config.timing.election_max_ms * 4),
                refused_by: Mutex::new(BTreeSet::new()),
            }),
        }
    }

    /// Asks the leading replica how far the log is committed.
    pub(crate) async fn read_index(
        &self,
        leader: NodeId,
        seat: &Seat,
        within: Duration,
    ) -> Result<u64, String> {
        let link = self.link(leader, seat, Lane::Control);
        let letter = link.letter(Lane::Control, path::READ, Content::Whole(Vec::new()), Some(within));
        let answer = self.shared.carrier.carry(letter.map_err(|e| e.to_string())?).await;
        let (head, bytes) = answer.map_err(|e| e.to_string())?.into_parts();
        let status = head.status;
        let number = <[u8; 8]>::try_from(bytes.as_ref()).ok().filter(|_| status == StatusCode::OK);
        number.map(u64::from_be_bytes).ok_or_else(|| {
            format!("it answered {status}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(512)]))
        })
    }

    fn link(&self, target: NodeId, seat: &Seat, lane: Lane) -> Link {
        Link { shared: Arc::clone(&self.shared), target, seat: seat.clone(), lane }
    }

    /// Greets a member outside of raft, so that each learns of the other whether it still belongs to the cluster.
    pub(crate) async fn greet(&self, target: NodeId, seat: &Seat, within: Duration) {
        let link = self.link(target, seat, Lane::Control);
        // What matters is noted on the way; whoever does not answer is asked again.
        drop(link.call::<Hello>(Lane::Control, path::HELLO, Vec::new(), within, RPCTypes::Vote).await);
    }
}

/// What all clients of peers have in common.
pub(super) fn client_builder() -> reqwest::ClientBuilder {
    // Another part of the process may have installed one; any will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().http2_prior_knowledge().tcp_nodelay(true).tls_certs_only([])
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &Seat) -> Link {
        self.link(target, node, Lane::Entries)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Seat) -> Link {
        self.link(target, node, Lane::Control)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, node: &Seat) -> Link {
        self.link(target, node, Lane::Entries)
    }
}

/// The way to one peer.
pub(crate) struct Link {
    shared: Arc<Shared>,
    target: NodeId,
    /// As the membership had it when this link was made: members may move meanwhile.
    seat: Seat,
    lane: Lane,
}

type RpcError = RPCError<TypeConfig>;

/// What the head of an answer tells.
struct Origin {
    status: StatusCode,
    incarnation: Option<Incarnation>,
    expelled: Option<Expelled>,
    level: Option<u32>,
}

impl Origin {
    fn of(response: &Response<Bytes>) -> Origin {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        Origin {
            status: response.status(),
            incarnation: text(header::INCARNATION).and_then(|text| text.parse().ok()),
            expelled: text(header::EXPELLED).and_then(joining::expelled),
            level: text(header::LEVEL).and_then(|level| level.parse().ok()),
        }
    }
}

impl Link {
    async fn call<A: Message>(
        &self,
        lane: Lane,
        path: &'static str,
        body: Vec<u8>,
        deadline: Duration,
        action: RPCTypes,
    ) -> Result<A, RpcError> {
        let letter = self.letter(lane, path, Content::Whole(body), Some(deadline))?;
        let answer = self.shared.carrier.carry(letter).await;
        let response = answer.map_err(|e| self.failed(&e, action, deadline))?;
        let origin = Origin::of(&response);
        if origin.status.is_success() {
            self.shared.cluster.levels().heard(self.target, origin.level);
        }
        if action == RPCTypes::AppendEntries && origin.status.is_success() {
            self.shared.gate.health().note_peer(self.target, origin.status == StatusCode::ACCEPTED);
        }
        self.answer(&origin, response.body())
    }

    fn letter(
        &self,
        lane: Lane,
        path: &'static str,
        content: Content,
        deadline: Option<Duration>,
    ) -> Result<Letter, RpcError> {
        let Shared { cluster, roster, .. } = &*self.shared;
        let expected = roster.bound(self.target, self.seat.incarnation);
        let Some(greeting) = cluster.greet(self.target, roster.incarnation(), expected) else {
            return Err(Unreachable::from_string("this replica belongs to no cluster yet").into());
        };
        let headers = greet(greeting).map_err(|e| Unreachable::new(&e))?;
        let peer = roster.address(self.target).unwrap_or_else(|| self.seat.peer.clone());
        Ok(Letter { lane, to: peer.peer_addr, path, headers, content, deadline })
    }

    fn answer<A: Message>(&self, origin: &Origin, bytes: &[u8]) -> Result<A, RpcError> {
        let text = || String::from_utf8_lossy(&bytes[..bytes.len().min(512)]).into_owned();
        let known = origin.incarnation.is_none_or(|folder| self.shared.roster.hear(self.target, folder));
        match origin.status {
            StatusCode::OK | StatusCode::ACCEPTED if known => {
                A::decode(bytes).map_err(|e| NetworkError::new(&e).into())
            }
            StatusCode::OK | StatusCode::ACCEPTED => {
                Err(Unreachable::from_string("another folder answered under this number").into())
            }
            StatusCode::FORBIDDEN => {
                if let Some(why) = origin.expelled {
                    self.shared.roster.expel(why, &format!("as replica {} says", self.target));
                }
                let mut refused_by = self.shared.refused_by.lock().unwrap_or_else(PoisonError::into_inner);
                if refused_by.insert(self.target) {
                    tracing::warn!(peer = self.target, addr = %self.seat.peer.peer_addr, reason = text(), "refused by peer");
                }
                Err(Unreachable::from_string(format!("refused: {}", text())).into())
            }
            other => Err(Unreachable::from_string(format!("answered {other}: {}", text())).into()),
        }
    }

    fn failed(&self, e: &Undelivered, action: RPCTypes, timeout: Duration) -> RpcError {
        match e {
            Undelivered::Unreachable(_) => Unreachable::new(e).into(),
            Undelivered::TimedOut => {
                Timeout { action, id: self.shared.node_id, target: self.target, timeout }.into()
            }
            Undelivered::Broken(_) => NetworkError::new(e).into(),
        }
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        file: &SnapshotFile,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let label = Label::of(file).map_err(|e| Unreachable::new(&e))?;
        let inquiry = Inquiry { vote: vote.into(), label }.encode();
        let held = self
            .call::<Held>(Lane::Snapshots, path::HELD, inquiry, INQUIRY_WITHIN, RPCTypes::InstallSnapshot)
            .await?;
        let head = SnapshotHead { vote: vote.into(), label, offset: held.0.min(label.length) };
        let progress = Arc::new(AtomicU64::new(0));
        let body = Content::Pieces(Box::pin(snapshot_body(&head, file, Arc::clone(&progress))));
        let letter = self.letter(Lane::Snapshots, path::SNAPSHOT, body, None)?;
        tokio::select! {
            biased;
            answer = self.shared.carrier.carry(letter) => {
                let response = answer
                    .map_err(|e| self.failed(&e, RPCTypes::InstallSnapshot, SNAPSHOT_STALL))?;
                Ok(self.answer(&Origin::of(&response), response.body())?)
            }
            () = stalled(&progress) => {
                let (id, target) = (self.shared.node_id, self.target);
                Err(Timeout { action: RPCTypes::InstallSnapshot, id, target, timeout: SNAPSHOT_STALL }.into())
            }
        }
    }
}

/// What every message begins with.
fn greet(greeting: Greeting) -> Result<HeaderMap, InvalidHeaderValue> {
    let Greeting { cluster_id, from, to, secret, level, incarnation, expects } = greeting;
    let mut headers = HeaderMap::new();
    headers.insert(header::CLUSTER, cluster_id.try_into()?);
    headers.insert(header::FROM, from.into());
    headers.insert(header::TO, to.into());
    headers.insert(header::LEVEL, level.unwrap_or_default().into());
    for (name, folder) in [(header::INCARNATION, incarnation), (header::EXPECTS, expects)] {
        if let Some(folder) = folder {
            headers.insert(name, folder.to_string().try_into()?);
        }
    }
    if let Some(secret) = secret {
        headers.insert(header::SECRET, secret.try_into()?);
    }
    Ok(headers)
}

/// Resolves when nothing moved for [`SNAPSHOT_STALL`].
async fn stalled(progress: &AtomicU64) {
    let mut seen = progress.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(SNAPSHOT_STALL).await;
        let now = progress.load(Ordering::Relaxed);
        if now == seen {
            return;
        }
        seen = now;
    }
}

/// Head and file in pieces, read on blocking threads as the receiver takes them, and not faster than [`SNAPSHOT_RATE`].
fn snapshot_body(
    head: &SnapshotHead,
    file: &SnapshotFile,
    progress: Arc<AtomicU64>,
) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + use<> {
    let first = Bytes::from(head.encode());
    let (began, state) = (tokio::time::Instant::now(), (file.raw(head.offset), progress));
    let pieces = futures::stream::try_unfold(state, move |(mut input, progress)| async move {
        let read = crate::blocking::run(move || {
            let mut piece = vec![0; SNAPSHOT_CHUNK];
            let got = input.read(&mut piece)?;
            piece.truncate(got);
            Ok::<_, std::io::Error>((piece, input))
        });
        let (piece, input) = read.await.map_err(std::io::Error::other)??;
        if piece.is_empty() {
            return Ok(None);
        }
        let sent = progress.fetch_add(piece.len() as u64, Ordering::Relaxed);
        tokio::time::sleep_until(began + time_for(sent)).await;
        Ok(Some((Bytes::from(piece), (input, progress))))
    });
    futures::StreamExt::chain(futures::stream::iter([Ok(first)]), pieces)
}

/// How long so many bytes of a snapshot take at least.
fn time_for(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / SNAPSHOT_RATE)
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        if self.shared.gate.is_silent() {
            return Err(Unreachable::from_string("silent, since no quorum answers").into());
        }
        let deadline = match self.lane {
            Lane::Control => option.soft_ttl(),
            Lane::Entries | Lane::Snapshots => option.soft_ttl().max(self.shared.append_timeout),
        };
        if self.lane == Lane::Control && self.shared.gate.abdicated(rpc.vote.leader_id.term) {
            return Err(Unreachable::from_string("silent, since this leader gave up its office").into());
        }
        self.call(self.lane, path::APPEND, rpc.encode(), deadline, RPCTypes::AppendEntries).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.call(Lane::Control, path::VOTE, rpc.encode(), option.soft_ttl(), RPCTypes::Vote).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.call(Lane::Control, path::PRE_VOTE, rpc.encode(), option.soft_ttl(), RPCTypes::Vote).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            biased;
            sent = self.send_snapshot(vote, &snapshot.snapshot) => sent,
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let deadline = option.soft_ttl();
        self.call(Lane::Control, path::TRANSFER, req.encode(), deadline, RPCTypes::TransferLeader).await
    }
}
