//! The receiving side: a listener of its own, so that load on the public API never delays a heartbeat.
//!
//! Owns the routes and the check of the greeting. Whatever a peer sends, it gets an answer: 403 with the reason if it may not
//! speak to this replica, 400 if its bytes are no message, 503 if the store cannot answer.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::ask::{Answerer, MAX_QUESTION};
use super::joining::{self, Hello, JoinAsk};
use super::receiver::Receiver;
use super::wire::{Ask, Held, Inquiry, Message};
use super::{MAX_BODY, MAX_JOIN, header, path};
use crate::cluster::{Cluster, Greeting, Refusal};
use crate::config::NodeId;
use crate::join::Desk;
use crate::leadership::Gate;
use crate::read::{self, Freshness};
use crate::roster::{Expelled, Roster};
use crate::snapshot::{SnapshotFile, Snapshots};
use crate::space::DiskLevel;
use crate::types::{Raft, Snapshot, TypeConfig, Vote};

/// See the module head.
#[derive(Clone)]
pub(crate) struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    raft: Raft,
    cluster: Cluster,
    roster: Roster,
    desk: Desk,
    gate: Arc<Gate>,
    freshness: Arc<Freshness>,
    /// How long a proof of leadership may take.
    read_within: Duration,
    answerer: Answerer,
    /// Who was refused and why, each reported once.
    refused: Mutex<BTreeSet<String>>,
    receiver: Receiver,
}

/// Reported refusals beyond this number are not logged any more.
const MAX_REFUSED: usize = 64;

impl Server {
    pub(crate) fn new(
        raft: Raft,
        cluster: Cluster,
        desk: Desk,
        snapshots: Snapshots,
        gate: Arc<Gate>,
        freshness: Arc<Freshness>,
        read_within: Duration,
        answerer: Answerer,
    ) -> Server {
        let (roster, refused) = (desk.roster.clone(), Mutex::new(BTreeSet::new()));
        let receiver = Receiver::new(snapshots);
        let shared =
            Shared { raft, cluster, roster, desk, gate, freshness, read_within, answerer, refused, receiver };
        Server { shared: Arc::new(shared) }
    }

    /// The routes.
    pub(crate) fn router(self) -> Router {
        let level = HeaderValue::from(self.shared.cluster.levels().own());
        let told = move |mut response: Response| {
            response.headers_mut().insert(header::LEVEL, level.clone());
            std::future::ready(response)
        };
        Router::new()
            .route(path::APPEND, post(append))
            .route(path::VOTE, post(vote))
            .route(path::PRE_VOTE, post(pre_vote))
            .route(path::TRANSFER, post(transfer))
            .route(path::HELD, post(held))
            .route(path::SNAPSHOT, post(snapshot))
            .route(path::READ, post(read_index))
            .route(path::ASK, post(ask))
            .route(path::HELLO, post(hello))
            .route(path::JOIN, post(join))
            .layer(axum::middleware::map_response(told))
            .layer(axum::middleware::map_response_with_state(self.clone(), sign))
            .with_state(self)
    }

    /// Checks the greeting and returns the sender.
    async fn admit(&self, headers: &HeaderMap) -> Result<NodeId, Failure> {
        let checked = match greeting(headers) {
            Ok(greeting) => {
                self.shared.cluster.check(&greeting, &self.shared.roster).await.map(|()| greeting.from)
            }
            Err(refusal) => Err(refusal),
        };
        checked.map_err(|refusal| {
            let from = text(headers, header::FROM).unwrap_or("unknown");
            let line = format!("{}: {refusal}", from.get(..20).unwrap_or(from));
            let mut refused = self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if refused.len() < MAX_REFUSED && refused.insert(line) {
                tracing::warn!(from, %refusal, "refused a message between replicas");
            }
            let expelled = match refusal {
                Refusal::Removed(_) => Some(Expelled::Removed),
                Refusal::OtherFolder(_) => Some(Expelled::OtherFolder),
                _ => None,
            };
            Failure { expelled, ..Failure::new(StatusCode::FORBIDDEN, refusal) }
        })
    }

    /// Admits a request and reads its message.
    async fn receive<M: Ask>(&self, request: Request) -> Result<M, Failure> {
        let from = self.admit(request.headers()).await?;
        let body = to_bytes(request.into_body(), MAX_BODY).await.map_err(bad_request)?;
        let message = M::decode(&body).map_err(bad_request)?;
        if message.sender() != from {
            return Err(bad_request(format!("replica {from} speaks for replica {}", message.sender())));
        }
        Ok(message)
    }
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // Without it heartbeats are late, but they come.
        drop(stream.set_nodelay(true));
    });
    axum::serve(listener, router).await
}

/// An answer that is not 200.
pub(super) struct Failure {
    pub(super) status: StatusCode,
    text: String,
    /// Why the sender has no place in the cluster any more.
    expelled: Option<Expelled>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, text: impl std::fmt::Display) -> Failure {
        Failure { status, text: text.to_string(), expelled: None }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        if let Some(why) = self.expelled {
            let value = HeaderValue::from_static(joining::expelled_text(why));
            response.headers_mut().insert(header::EXPELLED, value);
        }
        response
    }
}

pub(super) fn bad_request(e: impl std::fmt::Display) -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, e)
}

pub(super) fn unavailable(e: impl std::fmt::Display) -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, e)
}

/// Names this folder in an answer.
async fn sign(State(server): State<Server>, mut response: Response) -> Response {
    if let Ok(value) = HeaderValue::from_str(&server.shared.roster.incarnation().to_string()) {
        response.headers_mut().insert(header::INCARNATION, value);
    }
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn greeting(headers: &HeaderMap) -> Result<Greeting, Refusal> {
    let number =
        |name, missing| text(headers, name).and_then(|v| v.parse().ok()).ok_or(Refusal::Incomplete(missing));
    Ok(Greeting {
        cluster_id: text(headers, header::CLUSTER).ok_or(Refusal::Incomplete("no cluster id"))?.to_owned(),
        from: number(header::FROM, "no sender")?,
        to: number(header::TO, "no addressee")?,
        secret: text(headers, header::SECRET).map(str::to_owned),
        level: text(headers, header::LEVEL).and_then(|level| level.parse().ok()),
        incarnation: text(headers, header::INCARNATION).and_then(|v| v.parse().ok()),
        expects: text(headers, header::EXPECTS).and_then(|v| v.parse().ok()),
    })
}

type Answer = Result<Bytes, Failure>;

/// Answered 202 instead of 200 by a replica that should not be made the leader.
async fn append(State(server): State<Server>, request: Request) -> Result<(StatusCode, Bytes), Failure> {
    let received = Instant::now();
    let message: AppendEntriesRequest<TypeConfig> = server.receive(request).await?;
    let health = server.shared.gate.health();
    if !message.entries.is_empty() && health.level() == DiskLevel::Exhausted {
        // The leader tries again; meanwhile its heartbeats are heard.
        return Err(unavailable(format!("the disk is full: {} bytes are free", health.free())));
    }
    let committed = message.leader_commit.map_or(0, |id| id.index);
    let answer = server.shared.raft.append_entries(message).await.map_err(unavailable)?;
    if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
        server.shared.gate.heard();
        let applied = server.shared.raft.metrics().borrow_watched().last_applied.map_or(0, |id| id.index);
        server.shared.freshness.heard(received, committed, applied);
    }
    let status = if health.unfit() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, answer.encode().into()))
}

async fn vote(State(server): State<Server>, request: Request) -> Answer {
    let message: VoteRequest<TypeConfig> = server.receive(request).await?;
    let answer = server.shared.raft.vote(message).await.map_err(unavailable)?;
    Ok(answer.encode().into())
}

async fn pre_vote(State(server): State<Server>, request: Request) -> Answer {
    let message: VoteRequest<TypeConfig> = server.receive(request).await?;
    let answer = server.shared.raft.pre_vote(message).await.map_err(unavailable)?;
    Ok(answer.encode().into())
}

async fn transfer(State(server): State<Server>, request: Request) -> Answer {
    let message: TransferLeaderRequest<TypeConfig> = server.receive(request).await?;
    let answer = server.shared.raft.handle_transfer_leader(message).await.map_err(unavailable)?;
    Ok(answer.encode().into())
}

/// How far the log is committed, for a replica that wants to answer a read.
async fn read_index(State(server): State<Server>, request: Request) -> Answer {
    server.admit(request.headers()).await?;
    let committed = read::committed(&server.shared.raft, server.shared.read_within).await;
    let committed = committed.ok_or_else(|| unavailable("this replica cannot prove that it leads"))?;
    Ok(committed.to_be_bytes().to_vec().into())
}

async fn held(State(server): State<Server>, request: Request) -> Answer {
    let message: Inquiry = server.receive(request).await?;
    Ok(Held(server.shared.receiver.held(&message.label)).encode().into())
}

async fn ask(State(server): State<Server>, request: Request) -> Answer {
    server.admit(request.headers()).await?;
    let question = to_bytes(request.into_body(), MAX_QUESTION).await.map_err(bad_request)?;
    server.shared.answerer.answer(question).await.ok_or_else(|| unavailable("the state machine failed"))
}

/// Who is there. Whoever greets as a member is checked like one.
async fn hello(State(server): State<Server>, request: Request) -> Answer {
    let headers = request.headers();
    if headers.contains_key(header::CLUSTER) {
        server.admit(headers).await?;
    } else if !server.shared.cluster.knows(text(headers, header::SECRET)) {
        return Err(Failure::new(StatusCode::FORBIDDEN, Refusal::Secret));
    }
    let Shared { raft, cluster, .. } = &*server.shared;
    let hello = Hello { node_id: *raft.node_id(), cluster_id: cluster.id() };
    Ok(hello.encode().into())
}

async fn join(State(server): State<Server>, request: Request) -> Answer {
    if !server.shared.cluster.knows(text(request.headers(), header::SECRET)) {
        return Err(Failure::new(StatusCode::FORBIDDEN, Refusal::Secret));
    }
    let body = to_bytes(request.into_body(), MAX_JOIN).await.map_err(bad_request)?;
    let ask = JoinAsk::decode(&body).map_err(bad_request)?;
    Ok(server.shared.desk.answer(ask).await.encode().into())
}

async fn snapshot(State(server): State<Server>, request: Request) -> Answer {
    let from = server.admit(request.headers()).await?;
    let (vote, file) = server.shared.receiver.receive(from, request.into_body()).await?;
    let path = file.path.clone();
    let answer = install(&server, vote, file).await;
    // Renamed if it was installed; otherwise nobody needs it.
    drop(on_disk(move || std::fs::remove_file(path)).await);
    answer
}

/// Something that blocks for the disk.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    crate::blocking::run(work).await.map_err(unavailable)?.map_err(unavailable)
}

async fn install(server: &Server, vote: Vote, file: SnapshotFile) -> Answer {
    let here = server.shared.cluster.id().unwrap_or_default();
    if file.header.cluster_id != here {
        return Err(bad_request(format!("the snapshot is of cluster {}", file.header.cluster_id)));
    }
    let Some(last) = file.header.last else {
        return Err(bad_request("the snapshot is empty"));
    };
    if (last.term, last.node) > (vote.leader_id.term, vote.leader_id.node_id) {
        // No leader has a snapshot from its own future; raft takes this for granted.
        return Err(bad_request("the snapshot is newer than the vote it is sent under"));
    }
    let meta = file.meta().map_err(bad_request)?;
    let snapshot = Snapshot { meta, snapshot: file };
    let answer = server.shared.raft.install_full_snapshot(vote, snapshot).await.map_err(unavailable)?;
    Ok(answer.encode().into())
}
