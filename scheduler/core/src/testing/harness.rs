//! A master with a log that commits at once, unless a test holds it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use prost::Message;
use tepui_proto::tepui::{agent_link, operator};
use tepui_proto::v1;

use super::shown::Shown;
use crate::master::{
    Config, ConnectionId, Effect, Input, Master, MasterIdentity, Note, Now, OperatorCall, ProposalId, Reply,
    RequestId,
};
use crate::registry::{Envelope, Registry, decode_envelope, encode_envelope};

/// What a real log takes in one piece.
pub const LONGEST_COMMAND: usize = 16 << 20;

/// See the module.
#[derive(Debug)]
pub struct Harness {
    pub config: Config,
    pub master: Master,
    /// Follows the log, to be elected next.
    pub standby: Master,
    /// What is committed.
    pub registry: Registry,
    pub now: Now,
    /// Everything committed so far, as bytes.
    pub log: Vec<Bytes>,
    /// While true, proposals wait for [`Harness::commit`].
    pub held: bool,
    pub queue: VecDeque<(ProposalId, Envelope)>,
    pub notes: Vec<Note>,
    /// Region and zone of masters elected from now on.
    pub domain: Option<v1::DomainInfo>,
    pub(super) to_frameworks: BTreeMap<ConnectionId, VecDeque<v1::scheduler::Event>>,
    pub(super) to_agents: BTreeMap<ConnectionId, VecDeque<agent_link::Event>>,
    pub(super) shown: Shown,
    pub(super) closed: BTreeSet<ConnectionId>,
    /// Proposals that are too long for the log.
    too_long: Vec<(ProposalId, usize)>,
    replies: BTreeMap<RequestId, Reply>,
    wake_ms: Option<u64>,
    last_id: u64,
    leaderships: u8,
}

impl Default for Harness {
    fn default() -> Self {
        Self::new()
    }
}

impl Harness {
    /// A serving master with default settings.
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    /// A serving master with these settings.
    pub fn with(config: Config) -> Self {
        let mut harness = Self {
            master: Master::new(config.clone()),
            standby: Master::new(config.clone()),
            config,
            registry: Registry::default(),
            now: Now { cluster_ms: 0, wall_ms: 1_700_000_000_000 },
            log: Vec::new(),
            held: false,
            queue: VecDeque::new(),
            notes: Vec::new(),
            domain: None,
            to_frameworks: BTreeMap::new(),
            to_agents: BTreeMap::new(),
            shown: Shown::default(),
            closed: BTreeSet::new(),
            too_long: Vec::new(),
            replies: BTreeMap::new(),
            wake_ms: None,
            last_id: 0,
            leaderships: 0,
        };
        harness.elect();
        harness
    }

    /// A number that was not used before: for connections, requests and names.
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Elects another master on what is committed: the old one is dead, and so are all streams and open proposals. By turns it is
    /// one that followed the log, and one that was just started.
    pub fn elect(&mut self) {
        let fresh = Master::new(self.config.clone());
        self.master = match self.leaderships % 2 {
            0 => fresh,
            _ => std::mem::replace(&mut self.standby, fresh),
        };
        self.lead();
    }

    /// Deposes the master and elects the same one again.
    pub fn reelect(&mut self) {
        self.input(Input::Deposed);
        self.lead();
    }

    fn lead(&mut self) {
        self.leaderships += 1;
        self.queue.clear();
        let streams: Vec<_> = self.to_frameworks.keys().chain(self.to_agents.keys()).copied().collect();
        self.closed.extend(streams);
        self.now.cluster_ms = self.registry.cluster_ms;
        let identity = MasterIdentity {
            master_id: format!("m{}", self.leaderships),
            node_id: u64::from(self.leaderships),
            hostname: "master.example".to_owned(),
            ip: "10.0.0.1".to_owned(),
            port: 5050,
            version: "1.11.0".to_owned(),
            cluster_id: "cluster".to_owned(),
            domain: self.domain.clone(),
            term: u64::from(self.leaderships),
        };
        let registry = self.registry.clone();
        self.input(Input::Elected { registry, identity, seed: [self.leaderships; 32] });
    }

    /// Feeds one input and performs what comes out, commits included.
    pub fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.master.handle(self.now, input, &mut effects);
            self.master.check_invariants();
            for effect in effects {
                self.perform(effect);
            }
            for (proposal, bytes) in std::mem::take(&mut self.too_long) {
                let reason = format!("a command of {bytes} bytes is longer than the log takes");
                inputs.push_back(Input::ProposalFailed { proposal, unknown: false, reason });
            }
            if !self.held && !self.queue.is_empty() {
                inputs.push_back(self.apply_all());
            }
            self.check_shown();
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Propose { proposal, envelope } => match envelope.encoded_len() {
                bytes if bytes > LONGEST_COMMAND => self.too_long.push((proposal, bytes)),
                _ => self.queue.push_back((proposal, envelope)),
            },
            Effect::ToFramework { connection, event } => {
                if !self.closed.contains(&connection) {
                    self.to_frameworks.entry(connection).or_default().push_back(event);
                }
            }
            Effect::ToAgent { connection, event } => {
                assert_eq!(event.format, Some(1), "an order without format");
                assert!(event.epoch.is_some_and(|epoch| epoch > 0), "an order without epoch");
                if !self.closed.contains(&connection) && !self.shown.take(connection, &event) {
                    self.to_agents.entry(connection).or_default().push_back(event);
                }
            }
            Effect::Close { connection } => {
                assert!(self.closed.insert(connection), "stream {connection} is closed twice");
            }
            Effect::Reply { request, reply } => {
                assert!(self.replies.insert(request, reply).is_none(), "two replies to request {request}");
            }
            Effect::WakeAt { cluster_ms } => self.wake_ms = Some(cluster_ms),
            Effect::Changed(_) => {}
            Effect::Log(note) => self.notes.push(note),
        }
    }

    fn apply_all(&mut self) -> Input {
        self.apply_first(self.queue.len())
    }

    fn apply_first(&mut self, count: usize) -> Input {
        let mut outcomes = Vec::new();
        let first: Vec<_> = self.queue.drain(..count.min(self.queue.len())).collect();
        for (proposal, envelope) in first {
            // Through its bytes, as in a real log.
            let bytes = encode_envelope(&envelope);
            let envelope = decode_envelope(bytes.clone()).expect("an envelope of our own");
            self.log.push(bytes);
            outcomes.push((proposal, self.registry.apply(&envelope).0));
            self.registry.check_invariants();
        }
        self.follow();
        Input::Applied { registry: self.registry.clone(), outcomes }
    }

    fn follow(&mut self) {
        loop {
            let (registry, mut effects) = (self.registry.clone(), Vec::new());
            self.standby.handle(self.now, Input::Follow { registry }, &mut effects);
            assert!(
                effects.iter().all(|effect| matches!(effect, Effect::Log(_))),
                "a standby acts: {effects:?}"
            );
            self.standby.check_invariants();
            if !self.standby.behind() {
                break;
            }
        }
    }

    /// From now on proposals wait.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Commits what waits; proposals commit at once again.
    pub fn commit(&mut self) {
        self.held = false;
        let input = self.apply_all();
        self.input(input);
    }

    /// Commits the first so many that wait, and goes on holding.
    pub fn commit_first(&mut self, count: usize) {
        let input = self.apply_first(count);
        self.input(input);
    }

    /// Commits the first so many that wait, but nobody lives to tell the master.
    pub fn commit_unheard(&mut self, count: usize) {
        self.apply_first(count);
    }

    /// Fails what waits, and goes on holding.
    pub fn fail(&mut self, unknown: bool) {
        let failed: Vec<_> = self.queue.drain(..).map(|(proposal, _)| proposal).collect();
        for proposal in failed {
            self.input(Input::ProposalFailed { proposal, unknown, reason: "failed".to_owned() });
        }
    }

    /// Loses what waits; `unknown` tells the master that nobody knows.
    pub fn lose(&mut self, unknown: bool) {
        self.fail(unknown);
        self.commit();
    }

    /// Lets time pass, with a tick whenever the master wants one and at least each second.
    pub fn advance(&mut self, ms: u64) {
        let end_ms = self.now.cluster_ms + ms;
        loop {
            let pause_ms = self.now.cluster_ms + 1_000;
            let wake_ms = self.wake_ms.unwrap_or(u64::MAX).max(self.now.cluster_ms + 1);
            let next_ms = wake_ms.min(pause_ms);
            if next_ms > end_ms {
                break;
            }
            self.pass(next_ms - self.now.cluster_ms);
            self.input(Input::Tick);
        }
        self.pass(end_ms - self.now.cluster_ms);
    }

    fn pass(&mut self, ms: u64) {
        self.now.cluster_ms += ms;
        self.now.wall_ms += ms;
    }

    /// Takes the reply to a request.
    pub fn reply(&mut self, request: RequestId) -> Option<Reply> {
        self.replies.remove(&request)
    }

    /// Makes an operator call; nothing while its reply waits for a held log.
    pub fn operator(&mut self, call: OperatorCall, driver_token: Option<&str>) -> Option<Reply> {
        let request = self.next_id();
        let driver_token = driver_token.map(str::to_owned);
        self.input(Input::Operator { request, call, principal: None, driver_token });
        self.reply(request)
    }

    /// Makes an operator call and returns the body of its answer.
    pub fn operate(&mut self, call: OperatorCall, driver_token: Option<&str>) -> operator::Response {
        match self.operator(call, driver_token) {
            Some(Reply::Operator(response)) => response,
            other => panic!("expected an answer with a body, got {other:?}"),
        }
    }

    /// Whether the master has closed this stream, or died.
    pub fn is_closed(&self, connection: ConnectionId) -> bool {
        self.closed.contains(&connection)
    }

    /// Ends a stream from the other side.
    pub fn break_stream(&mut self, connection: ConnectionId) {
        if self.closed.insert(connection) {
            self.input(Input::ConnectionClosed { connection });
        }
    }
}

impl Harness {
    /// How many tasks each committed launch has.
    pub fn log_of_launches(&self) -> Vec<usize> {
        let envelopes = self.log.iter().filter_map(|bytes| decode_envelope(bytes.clone()).ok());
        let launches = envelopes.filter_map(|envelope| match envelope.operation {
            Some(crate::registry::Operation::Launch(launch)) => Some(launch.tasks.len()),
            _ => None,
        });
        launches.collect()
    }
}
