//! The only owner of the core: takes inputs one after the other, performs what the core wants, and publishes the result.
//!
//! Owns the order of things. A leadership is a *session*: it begins with `Elected`, ends with `Deposed`, and nothing of it
//! survives. Decides nothing about agents, frameworks or tasks.
//!
//! ```text
//!   leadership ─┐
//!   applied ────┤                       ┌─▶ Hands (log, streams, replies)
//!   failures ───┼─▶ Master::handle ─────┤
//!   closed ─────┤                       └─▶ Board (local view), Role
//!   messages ───┤
//!   alarm ──────┘
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::RngCore;
use tepui_proto::tepui::agent_link::call::Type;
use tepui_raft_store::{Lead, Leadership, NodeId};
use tepui_scheduler_core::{Effect, Input, Master, MasterIdentity, Now};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::metrics::Metrics;
use crate::runtime::board::Board;
use crate::runtime::effects::{Failed, Hands};
use crate::runtime::handle::{Message, Opened};
use crate::runtime::replica::Replica;
use crate::runtime::role::Role;
use crate::runtime::streams::ConnectionId;
use crate::runtime::timers::Clock;

/// So many messages are taken at once before the rest of the world is looked at again.
const MESSAGES_PER_TURN: usize = 128;
/// A standby takes in what was applied so much later, so that what changes often is looked at once. Elections take longer.
const FOLLOW_DELAY: Duration = Duration::from_millis(100);

/// What the loop is made of.
pub(crate) struct Parts {
    pub(crate) master: Master,
    pub(crate) identity: MasterIdentity,
    pub(crate) node_id: NodeId,
    pub(crate) replica: Arc<dyn Replica>,
    pub(crate) board: Arc<Board>,
    pub(crate) hands: Hands,
    pub(crate) messages: mpsc::Receiver<Message>,
    pub(crate) closed: mpsc::UnboundedReceiver<ConnectionId>,
    pub(crate) role: watch::Sender<Role>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) proposals_in_flight: usize,
    /// Hosts whose agents may be offered; nothing means all.
    pub(crate) whitelist: Option<BTreeSet<String>>,
    pub(crate) stop: CancellationToken,
}

/// The loop.
pub(crate) struct EventLoop {
    parts: Parts,
    session: Option<Session>,
    draining: bool,
    effects: Vec<Effect>,
    /// When a master that does not lead is told next what has been applied.
    follow_at: Option<Instant>,
    /// The core was told what it forgets with each leadership.
    prepared: bool,
}

struct Session {
    lead: Lead,
    clock: Clock,
    elected_at: Instant,
    /// The Registry serves: how long that took has been noted.
    fetched: bool,
    /// What the turns of the present run of the allocator have taken so far.
    allocating: Duration,
}

/// Why the loop woke up.
enum Wake {
    Stop,
    Leadership,
    Applied,
    Failed(Failed),
    Closed(ConnectionId),
    Messages,
    /// A standby takes in what was applied.
    Follow,
    Alarm,
}

/// Resolves then; never if there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl EventLoop {
    pub(crate) fn new(parts: Parts) -> EventLoop {
        let follow_at = Some(Instant::now());
        EventLoop { parts, session: None, draining: false, effects: Vec::new(), follow_at, prepared: false }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(mut self) {
        let mut leadership = self.parts.replica.leadership();
        leadership.mark_changed();
        let mut batch = Vec::with_capacity(MESSAGES_PER_TURN);
        loop {
            match self.wait(&mut leadership, &mut batch).await {
                Wake::Stop => break,
                Wake::Leadership => {
                    let now = leadership.borrow_and_update().clone();
                    self.on_leadership(now);
                }
                Wake::Applied => self.on_applied(),
                Wake::Failed(failed) => self.on_failure(failed),
                Wake::Closed(connection) => self.on_closed(connection),
                Wake::Messages => {
                    for message in batch.drain(..) {
                        self.on_message(message);
                    }
                }
                Wake::Follow => self.follow(),
                Wake::Alarm => {}
            }
            // Under a steady load the alarm would be the last to be looked at, so it is looked at each time.
            let now = Instant::now();
            if self.session.as_mut().is_some_and(|session| session.clock.rang(now)) {
                self.turn(Input::Tick);
            }
            self.publish();
        }
        self.depose();
        self.parts.role.send_replace(Role::Following { leader: None });
    }

    async fn wait(&mut self, leadership: &mut watch::Receiver<Leadership>, batch: &mut Vec<Message>) -> Wake {
        let parts = &mut self.parts;
        let room = parts.hands.proposals_in_flight() < parts.proposals_in_flight;
        let rings = at(self.session.as_ref().map(|session| session.clock.alarm()));
        let follows = at(self.follow_at.filter(|_| self.session.is_none()));
        tokio::select! {
            biased;
            () = parts.stop.cancelled() => Wake::Stop,
            Ok(()) = leadership.changed() => Wake::Leadership,
            () = parts.board.applied() => Wake::Applied,
            failed = parts.hands.next_failure() => Wake::Failed(failed),
            Some(connection) = parts.closed.recv() => Wake::Closed(connection),
            count = parts.messages.recv_many(batch, MESSAGES_PER_TURN), if room => match count {
                0 => Wake::Stop,
                _ => Wake::Messages,
            },
            () = rings => Wake::Alarm,
            () = follows => Wake::Follow,
        }
    }

    fn on_leadership(&mut self, leadership: Leadership) {
        match leadership {
            Leadership::Leading(lead) => {
                if self.session.as_ref().is_some_and(|session| session.lead == lead) {
                    return;
                }
                self.depose();
                self.elect(lead);
            }
            Leadership::Following { leader } => {
                self.depose();
                // A replica that lost its quorum may still name itself; nobody must be sent back here.
                let other = leader.filter(|(id, _)| *id != self.parts.node_id);
                let leader = other.map(|(_, peer)| peer.api_addr).filter(|address| !address.is_empty());
                self.parts.role.send_replace(Role::Following { leader });
            }
        }
    }

    fn elect(&mut self, lead: Lead) {
        let identity = MasterIdentity {
            master_id: uuid::Uuid::new_v4().to_string(),
            cluster_id: self.parts.replica.cluster_id().unwrap_or_default(),
            term: lead.term,
            ..self.parts.identity.clone()
        };
        let registry = self.parts.board.begin_session(&identity.master_id);
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        tracing::info!(term = lead.term, master_id = %identity.master_id, epoch = registry.epoch + 1, "elected");
        let elected_at = Instant::now();
        self.session = Some(Session {
            lead,
            clock: Clock::start(registry.cluster_ms, elected_at),
            elected_at,
            fetched: false,
            allocating: Duration::ZERO,
        });
        self.parts.metrics.elections.inc();
        self.turn(Input::Elected { registry, identity, seed });
        self.turn(Input::Whitelist(self.parts.whitelist.clone()));
    }

    fn depose(&mut self) {
        if self.session.is_none() {
            return;
        }
        tracing::info!("no longer leading");
        self.turn(Input::Deposed);
        self.session = None;
        self.parts.hands.end_session();
        self.parts.board.end_session();
        self.parts.board.publish_local(None);
        self.effects.clear();
        (self.follow_at, self.prepared) = (Some(Instant::now()), false);
    }

    /// Has a master that does not lead prepare itself, one slice in a turn.
    fn follow(&mut self) {
        let registry = self.parts.board.newest().registry.clone();
        let now = Now { cluster_ms: registry.cluster_ms, wall_ms: registry.wall_ms };
        let master = &mut self.parts.master;
        if !std::mem::replace(&mut self.prepared, true) {
            master.handle(now, Input::Whitelist(self.parts.whitelist.clone()), &mut self.effects);
        }
        let started = Instant::now();
        master.handle(now, Input::Follow { registry }, &mut self.effects);
        self.parts.metrics.standby_turn_seconds.observe(started.elapsed().as_secs_f64());
        self.follow_at = master.behind().then(Instant::now);
        // A standby has nothing to do but to be ready.
        self.effects.clear();
    }

    fn on_applied(&mut self) {
        if self.session.is_none() {
            self.follow_at.get_or_insert_with(|| Instant::now() + FOLLOW_DELAY);
            return;
        }
        if let Some(batch) = self.parts.board.take() {
            self.turn(Input::Applied { registry: batch.registry, outcomes: batch.outcomes });
        }
    }

    fn on_failure(&mut self, failed: Failed) {
        let Failed { proposal, unknown, reason } = failed;
        tracing::warn!(proposal, unknown, %reason, "a proposal was not committed");
        self.parts.metrics.proposals_failed.inc();
        self.turn(Input::ProposalFailed { proposal, unknown, reason });
    }

    fn on_closed(&mut self, connection: ConnectionId) {
        if self.parts.hands.streams.close(connection) {
            self.turn(Input::ConnectionClosed { connection });
        }
    }

    /// Whoever asks while this master does not serve is refused by dropping the way back.
    fn on_message(&mut self, message: Message) {
        if matches!(message, Message::Drain) {
            self.draining = true;
            return;
        }
        if let Message::Whitelist(hosts) = message {
            self.parts.whitelist.clone_from(&hosts);
            (self.follow_at, self.prepared) = (Some(Instant::now()), false);
            self.turn(Input::Whitelist(hosts));
            return;
        }
        if let Message::Masters(masters) = message {
            self.turn(Input::Masters(masters));
            return;
        }
        if !self.parts.master.serving() || self.session.is_none() {
            return;
        }
        if let Message::VoterLevel(level) = message {
            self.turn(Input::VoterLevel(level));
            return;
        }
        let hands = &mut self.parts.hands;
        let input = match message {
            Message::Subscribe { call, principal, driver_token, media, opened } => {
                let (connection, inlet) = hands.streams.open(media);
                let stream_id = uuid::Uuid::new_v4().to_string();
                // If the client is gone already, dropping the inlet reports the connection as closed.
                let _ = opened.send(Opened { stream_id: stream_id.clone(), inlet });
                Input::Subscribe { connection, stream_id, call: *call, principal, driver_token }
            }
            Message::Call { call, stream_id, principal, reply } => {
                Input::Call { request: hands.expect_reply(reply), stream_id, call: *call, principal }
            }
            Message::AgentRegister { call, opened } => {
                let (connection, inlet) = hands.streams.open(tepui_proto::MediaType::Protobuf);
                let stream_id = uuid::Uuid::new_v4().to_string();
                let _ = opened.send(Opened { stream_id: stream_id.clone(), inlet });
                match call.r#type() {
                    Type::Attach => Input::AgentAttach { connection, stream_id, call: *call },
                    _ => Input::AgentRegister { connection, stream_id, call: *call },
                }
            }
            Message::AgentCall { call, stream_id, reply } => {
                Input::AgentCall { request: hands.expect_reply(reply), stream_id, call: *call }
            }
            Message::Operator { call, principal, driver_token, reply } => {
                Input::Operator { request: hands.expect_reply(reply), call: *call, principal, driver_token }
            }
            Message::Checkpoint(checkpoint) => Input::Checkpoint(checkpoint),
            Message::Drain | Message::Whitelist(_) | Message::VoterLevel(_) | Message::Masters(_) => return,
        };
        self.turn(input);
    }

    /// One input, everything it causes, and what that causes in turn: consumers that were cut are reported at once.
    fn turn(&mut self, input: Input) {
        let Some(session) = &mut self.session else { return };
        let Parts { master, hands, metrics, board, .. } = &mut self.parts;
        let mut next = Some(input);
        let mut cut = Vec::new();
        while let Some(input) = next.take() {
            let started = Instant::now();
            let before = master.allocation();
            master.handle(session.clock.now(started), input, &mut self.effects);
            let took = started.elapsed();
            metrics.turn_seconds.observe(took.as_secs_f64());
            let after = master.allocation();
            if after.slices > before.slices {
                session.allocating += took;
            }
            if after.runs > before.runs {
                hands.stats.allocated(std::mem::take(&mut session.allocating), after.latency_ms);
            }
            // Before anyone is told: whoever has heard of something finds it when it reads.
            board.publish_local(Some(master.local_view()));
            hands.perform(&mut self.effects, &session.lead, &mut session.clock);
            cut.extend(hands.take_cut());
            next = cut.pop().map(|connection| Input::ConnectionClosed { connection });
        }
    }

    /// Shows the outside whether this master serves.
    fn publish(&mut self) {
        let Some(session) = &mut self.session else { return };
        if self.parts.master.serving() && !session.fetched {
            session.fetched = true;
            self.parts.hands.stats.fetched(session.elected_at.elapsed());
        }
        let role = match (self.parts.master.serving(), self.draining) {
            (_, true) => Role::Draining,
            (true, false) => Role::Serving { lead: session.lead.clone() },
            (false, false) => Role::Recovering,
        };
        self.parts.role.send_if_modified(|current| {
            let changed = *current != role;
            *current = role;
            changed
        });
        let metrics = &self.parts.metrics;
        metrics.streams_open.set(i64::try_from(self.parts.hands.streams.len()).unwrap_or(i64::MAX));
        metrics
            .proposals_in_flight
            .set(i64::try_from(self.parts.hands.proposals_in_flight()).unwrap_or(i64::MAX));
    }
}
