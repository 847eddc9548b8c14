//! Performs the core's effects, in order: proposals into the log, events onto streams, answers to waiting requests.
//!
//! Owns the open streams, the requests that wait for an answer and the proposals in flight. Decides nothing, and never waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tepui_proto::MediaType;
use tepui_proto::tepui::agent_link;
use tepui_proto::v1::scheduler;
use tepui_proto::wire::encode_record;
use tepui_raft_store::{Lead, ProposeError};
use tepui_scheduler_core::master::{Level, LocalChange, Note};
use tepui_scheduler_core::registry::encode_envelope;
use tepui_scheduler_core::{Change, Effect, ProposalId, Reply, RequestId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::runtime::board::Board;
use crate::runtime::replica::Replica;
use crate::runtime::streams::{ConnectionId, Streams};
use crate::runtime::timers::Clock;
use crate::stats::Stats;

/// Whatever came of a proposal that was not applied.
pub(crate) struct Failed {
    pub(crate) proposal: ProposalId,
    pub(crate) unknown: bool,
    pub(crate) reason: String,
}

/// The hands of the event loop.
pub(crate) struct Hands {
    replica: Arc<dyn Replica>,
    board: Arc<Board>,
    pub(crate) streams: Streams,
    pub(crate) stats: Arc<Stats>,
    waiting: BTreeMap<RequestId, oneshot::Sender<Reply>>,
    next_request: RequestId,
    in_flight: FuturesUnordered<BoxFuture<'static, Option<Failed>>>,
    /// Connections that were cut because they did not read; the core has not been told yet.
    cut: Vec<ConnectionId>,
}

impl Hands {
    pub(crate) fn new(
        replica: Arc<dyn Replica>,
        board: Arc<Board>,
        streams: Streams,
        stats: Arc<Stats>,
    ) -> Hands {
        Hands {
            replica,
            board,
            streams,
            stats,
            waiting: BTreeMap::new(),
            next_request: 1,
            in_flight: FuturesUnordered::new(),
            cut: Vec::new(),
        }
    }

    /// Performs what one input caused.
    pub(crate) fn perform(&mut self, effects: &mut Vec<Effect>, lead: &Lead, clock: &mut Clock) {
        let mut touched = Vec::new();
        for effect in effects.drain(..) {
            match effect {
                Effect::Propose { proposal, envelope } => {
                    self.propose(lead, proposal, encode_envelope(&envelope));
                }
                Effect::ToFramework { connection, event } => self.send_to_framework(connection, &event),
                Effect::ToAgent { connection, event } => self.send_to_agent(connection, &event),
                Effect::Close { connection } => {
                    self.streams.close(connection);
                }
                Effect::Reply { request, reply } => self.reply(request, reply),
                Effect::WakeAt { cluster_ms } => clock.wake_at(cluster_ms, Instant::now()),
                Effect::Changed(LocalChange::Framework(id)) => touched.push(Change::Framework(id)),
                Effect::Changed(LocalChange::Agent(id)) => touched.push(Change::Agent(id)),
                Effect::Log(note) => log(&note),
            }
        }
        if !touched.is_empty() {
            self.board.touch(touched);
        }
    }

    /// Notes that somebody waits for the answer to a request.
    pub(crate) fn expect_reply(&mut self, reply: oneshot::Sender<Reply>) -> RequestId {
        let request = self.next_request;
        self.next_request += 1;
        self.waiting.insert(request, reply);
        request
    }

    /// Connections cut since the last call.
    pub(crate) fn take_cut(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.cut)
    }

    /// Proposals that wait for their outcome.
    pub(crate) fn proposals_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The next proposal that failed. Pending for ever while none does.
    pub(crate) async fn next_failure(&mut self) -> Failed {
        loop {
            match self.in_flight.next().await {
                Some(Some(failed)) => return failed,
                Some(None) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Ends everything that belongs to one leadership: whoever waits is told that nobody can answer.
    pub(crate) fn end_session(&mut self) {
        self.in_flight = FuturesUnordered::new();
        self.cut.clear();
        self.streams.close_all();
        // Dropping the sender is the answer "unavailable".
        self.waiting.clear();
    }

    fn propose(&mut self, lead: &Lead, proposal: ProposalId, command: Bytes) {
        let outcome = self.replica.propose(lead, command);
        let (stats, began) = (self.stats.clone(), Instant::now());
        let watched = async move {
            match outcome.await {
                // The outcome itself comes over the board, in log order.
                Ok(_) => {
                    stats.stored(began.elapsed());
                    None
                }
                Err(error) => Some(Failed {
                    proposal,
                    unknown: matches!(error, ProposeError::Unknown(_)),
                    reason: error.to_string(),
                }),
            }
        };
        self.in_flight.push(watched.boxed());
    }

    fn send_to_framework(&mut self, connection: ConnectionId, event: &scheduler::Event) {
        let Some(media) = self.streams.media(connection) else { return };
        self.stats.event(connection, event);
        self.push(connection, encode_record(media, event));
    }

    fn send_to_agent(&mut self, connection: ConnectionId, event: &agent_link::Event) {
        self.push(connection, encode_record(MediaType::Protobuf, event));
    }

    fn push(&mut self, connection: ConnectionId, record: Bytes) {
        if self.streams.push(connection, record).is_err() {
            tracing::warn!(connection, "disconnected a consumer that does not read its stream");
            self.cut.push(connection);
        }
    }

    fn reply(&mut self, request: RequestId, reply: Reply) {
        if let Some(waiting) = self.waiting.remove(&request) {
            // The client may have gone away meanwhile.
            let _ = waiting.send(reply);
        }
    }
}

/// Writes one of the core's notes.
fn log(note: &Note) {
    let mut fields = String::new();
    for (name, value) in &note.fields {
        fields.push_str(&format!(" {name}={value}"));
    }
    let fields = fields.trim_start();
    match note.level {
        Level::Debug => tracing::debug!(fields, "{}", note.message),
        Level::Info => tracing::info!(fields, "{}", note.message),
        Level::Warn => tracing::warn!(fields, "{}", note.message),
    }
}
