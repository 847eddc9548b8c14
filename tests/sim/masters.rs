//! The masters: real cores and registries, elections by the modelled log, crashes, pauses, snapshots.

use std::collections::BTreeMap;
use std::rc::Rc;

use tepui_proto::tepui::agent_link::call::Type as Kind;
use tepui_scheduler_core as core;

use super::agenda::{MS, Micros, SECOND};
use super::event::{Event, ToClient, ToMaster};
use super::network::Place;
use super::world::World;

/// A leader without contact to a majority steps down after this time.
const CONTACT_TIMEOUT: Micros = SECOND;
/// Between two looks of the log's supervision.
const RAFT_INTERVAL: Micros = 25 * MS;
/// One of so many starts reads a snapshot; the others go on with what they had, which is the same and costs nothing.
const READ_SNAPSHOTS: u64 = 3;
/// Entries between two looks of a standby.
const FOLLOW_ENTRIES: usize = 16;
/// Entries between snapshots.
const SNAPSHOT_ENTRIES: usize = 200;

/// One master.
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) up: bool,
    /// Raised at each start.
    pub(crate) life: u64,
    pub(crate) paused_until: Micros,
    pub(crate) registry: core::Registry,
    /// Of an earlier state, from which it goes on.
    pub(crate) hash: core::registry::StateHash,
    pub(crate) applied: usize,
    snapshot: Option<(usize, core::Registry)>,
    pub(crate) core: core::Master,
    /// The leadership that this node believes it has.
    pub(crate) leading: Option<u64>,
    elected_at: Micros,
    base_cluster_ms: u64,
    contact_at: Micros,
    next_request: core::RequestId,
    /// Requests of streams: whose reply goes where.
    requests: BTreeMap<core::RequestId, u64>,
    wish: u64,
}

impl Node {
    pub(crate) fn new(index: usize) -> Self {
        Node {
            index,
            up: true,
            life: 0,
            paused_until: 0,
            registry: core::Registry::default(),
            hash: core::registry::StateHash::default(),
            applied: 0,
            snapshot: None,
            core: core::Master::new(config()),
            leading: None,
            elected_at: 0,
            base_cluster_ms: 0,
            contact_at: 0,
            next_request: 0,
            requests: BTreeMap::new(),
            wish: 0,
        }
    }

    /// Number by which the log knows this master.
    pub(crate) fn node_id(&self) -> u64 {
        self.index as u64 + 1
    }
}

/// An input in one line, for the trace.
fn brief(input: &core::Input) -> String {
    match input {
        core::Input::Applied { registry, outcomes } => {
            format!("Applied up to {} ms: {outcomes:?}", registry.cluster_ms)
        }
        core::Input::Elected { .. } => "Elected".to_owned(),
        core::Input::Follow { registry } => format!("Follow up to {} ms", registry.cluster_ms),
        other => format!("{other:?}"),
    }
}

/// Writes a Registry and reads it again.
fn through_snapshot(registry: &core::Registry) -> Result<core::Registry, String> {
    let mut bytes = Vec::new();
    registry.write_snapshot(&mut bytes).map_err(|error| format!("not written: {error}"))?;
    core::Registry::read_snapshot(&mut bytes.as_slice()).map_err(|error| format!("not readable: {error}"))
}

fn config() -> core::Config {
    core::Config {
        masters: "10.0.0.1:5050,10.0.0.2:5050,10.0.0.3:5050".to_owned(),
        operation_retry_min_ms: 3_000,
        operation_retry_max_ms: 20_000,
        ..core::Config::default()
    }
}

impl World {
    /// A node that takes part at this moment.
    fn awake(&self, node: usize) -> bool {
        self.nodes[node].up && self.nodes[node].paused_until <= self.now
    }

    fn connected(&self, one: usize, other: usize) -> bool {
        one == other
            || (self.network.reaches(Place::Master(one), Place::Master(other))
                && self.network.reaches(Place::Master(other), Place::Master(one)))
    }

    fn has_majority(&self, node: usize) -> bool {
        let reached =
            (0..self.nodes.len()).filter(|other| self.awake(*other) && self.connected(node, *other)).count();
        self.awake(node) && reached * 2 > self.nodes.len()
    }

    /// The node that leads and serves, as a client with the whole list of masters would find it.
    pub(crate) fn serving_node(&self) -> Option<usize> {
        let (node, leadership) = self.log.leader?;
        let found = &self.nodes[node];
        (self.awake(node) && found.leading == Some(leadership) && found.core.serving()).then_some(node)
    }

    pub(crate) fn raft(&mut self) -> Result<(), String> {
        self.after(RAFT_INTERVAL, Event::Raft);
        if let Some((leader, _)) = self.log.leader
            && self.has_majority(leader)
        {
            self.nodes[leader].contact_at = self.now;
            self.commit()?;
            for follower in 0..self.nodes.len() {
                if self.awake(follower) && self.connected(leader, follower) {
                    self.apply(follower)?;
                }
            }
        }
        for node in 0..self.nodes.len() {
            let Some(leadership) = self.nodes[node].leading else { continue };
            if !self.awake(node) {
                continue;
            }
            let replaced = !self.log.leads(node, leadership) && self.has_majority(node);
            let silent = self.now.saturating_sub(self.nodes[node].contact_at) > CONTACT_TIMEOUT;
            if replaced || silent {
                self.depose(node)?;
            }
        }
        self.maybe_elect()
    }

    fn maybe_elect(&mut self) -> Result<(), String> {
        let contact = self.log.leader.map(|(leader, _)| (leader, self.nodes[leader].contact_at));
        if let Some((leader, at)) = contact {
            let lapsed = self.now.saturating_sub(at) > 150 * MS;
            // A leader that stepped down and has its majority again begins a new leadership.
            let idle = self.nodes[leader].leading.is_none() && self.has_majority(leader);
            let lost = lapsed && !self.has_majority(leader);
            if !lost && !idle {
                return Ok(());
            }
        }
        // On the average an election takes three looks more.
        if !self.chance.percent(30) {
            return Ok(());
        }
        let candidates: Vec<usize> = (0..self.nodes.len()).filter(|node| self.has_majority(*node)).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let node = candidates[self.chance.index(candidates.len())];
        let kept = self.chance.index(self.log.in_flight.len() + 1);
        let leadership = self.log.elect(node, kept);
        self.note(|| {
            format!("master {node} is elected for leadership {leadership}, {kept} entries in flight are kept")
        });
        if self.nodes[node].leading.is_some() {
            self.depose(node)?;
        }
        self.apply(node)?;
        let identity = core::MasterIdentity {
            master_id: self.chance.uuid(),
            node_id: self.nodes[node].node_id(),
            hostname: format!("master{node}"),
            ip: format!("10.0.0.{}", node + 1),
            port: 5050,
            version: "1.11.0".to_owned(),
            cluster_id: "simulated".to_owned(),
            domain: None,
            term: leadership,
        };
        let seed = self.chance.seed();
        let found = &mut self.nodes[node];
        found.leading = Some(leadership);
        found.elected_at = self.now;
        found.contact_at = self.now;
        found.base_cluster_ms = found.registry.cluster_ms;
        let registry = found.registry.clone();
        self.handle(node, core::Input::Elected { registry, identity, seed })
    }

    fn depose(&mut self, node: usize) -> Result<(), String> {
        self.note(|| format!("master {node} steps down"));
        self.nodes[node].leading = None;
        self.handle(node, core::Input::Deposed)?;
        self.nodes[node].requests.clear();
        self.end_streams_of(node);
        Ok(())
    }

    /// Whatever streams this master has are closed; clients notice soon, if they can.
    fn end_streams_of(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let ids: Vec<u64> = self
            .network
            .streams
            .iter()
            .filter(|(_, stream)| stream.master == node && stream.master_life == life && !stream.broken)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.break_stream(id, true, false);
        }
    }

    pub(crate) fn commit(&mut self) -> Result<(), String> {
        let Some((leader, _)) = self.log.leader else { return Ok(()) };
        if !self.has_majority(leader) {
            return Ok(());
        }
        if self.log.commit(self.now) > 0 {
            self.apply(leader)?;
        }
        Ok(())
    }

    /// Applies everything committed at one replica.
    fn apply(&mut self, node: usize) -> Result<(), String> {
        let mut outcomes = Vec::new();
        let before = self.nodes[node].applied;
        while self.nodes[node].applied < self.log.entries.len() {
            let index = self.nodes[node].applied;
            let envelope = self.log.entries[index].clone();
            let found = &mut self.nodes[node];
            let (outcome, changes) = found.registry.apply(&envelope);
            found.applied += 1;
            let own_epoch =
                matches!(outcome, core::Outcome::TookLead { .. }) || envelope.epoch == found.registry.epoch;
            let own_entry = envelope.node_id == found.node_id() && own_epoch;
            self.check_applied(node, index + 1, &envelope, &outcome, &changes)?;
            if own_entry {
                outcomes.push((envelope.proposal, outcome));
            }
            if (index + 1).is_multiple_of(SNAPSHOT_ENTRIES) {
                let found = &mut self.nodes[node];
                found.snapshot = Some((found.applied, found.registry.clone()));
            }
        }
        if self.nodes[node].applied == before {
            return Ok(());
        }
        if self.nodes[node].leading.is_some() {
            let registry = self.nodes[node].registry.clone();
            self.handle(node, core::Input::Applied { registry, outcomes })?;
        } else if before / FOLLOW_ENTRIES != self.nodes[node].applied / FOLLOW_ENTRIES {
            let registry = self.nodes[node].registry.clone();
            self.handle(node, core::Input::Follow { registry })?;
        }
        Ok(())
    }

    pub(crate) fn master_input(&mut self, node: usize, life: u64, input: core::Input) -> Result<(), String> {
        if !self.nodes[node].up || self.nodes[node].life != life {
            return Ok(());
        }
        if !self.awake(node) {
            let until = self.nodes[node].paused_until;
            self.agenda.push(until, Event::MasterInput { node, life, input: Box::new(input) });
            return Ok(());
        }
        if self.nodes[node].leading.is_none() {
            return Ok(());
        }
        self.handle(node, input)
    }

    pub(crate) fn master_tick(&mut self, node: usize, life: u64, wish: Option<u64>) -> Result<(), String> {
        if self.nodes[node].life != life {
            return Ok(());
        }
        if wish.is_none() {
            self.after(SECOND, Event::MasterTick { node, life, wish: None });
        } else if wish != Some(self.nodes[node].wish) {
            return Ok(());
        }
        self.master_input(node, life, core::Input::Tick)
    }

    fn cluster_now(&self, node: usize) -> core::Now {
        let found = &self.nodes[node];
        core::Now {
            cluster_ms: found.base_cluster_ms + (self.now - found.elected_at) / MS,
            wall_ms: self.wall_ms(),
        }
    }

    /// Gives the core an input and carries out what it wants.
    fn handle(&mut self, node: usize, input: core::Input) -> Result<(), String> {
        let now = self.cluster_now(node);
        let mut effects = Vec::new();
        if self.trace.is_loud() {
            eprintln!("             master {node} <- {}", brief(&input));
        }
        self.nodes[node].core.handle(now, input, &mut effects);
        for effect in effects {
            self.perform(node, effect)?;
        }
        Ok(())
    }

    fn perform(&mut self, node: usize, effect: core::Effect) -> Result<(), String> {
        match effect {
            core::Effect::Propose { proposal, envelope } => self.propose(node, proposal, &envelope)?,
            core::Effect::ToFramework { connection, event } => {
                self.send_to_client(node, connection, ToClient::Framework(Box::new(event)));
            }
            core::Effect::ToAgent { connection, event } => {
                self.send_to_client(node, connection, ToClient::Agent(Box::new(event)));
            }
            core::Effect::Close { connection } => self.send_to_client(node, connection, ToClient::End),
            core::Effect::Reply { request, reply } => self.reply(node, request, reply),
            core::Effect::WakeAt { cluster_ms } => {
                let found = &mut self.nodes[node];
                found.wish += 1;
                let at = found.elected_at + cluster_ms.saturating_sub(found.base_cluster_ms) * MS;
                let (life, wish) = (found.life, Some(found.wish));
                self.agenda.push(at.max(self.now), Event::MasterTick { node, life, wish });
            }
            core::Effect::Changed(_) => {}
            core::Effect::Log(line) => {
                self.note(|| format!("master {node}: {} {:?}", line.message, line.fields));
            }
        }
        Ok(())
    }

    fn propose(
        &mut self,
        node: usize,
        proposal: core::ProposalId,
        envelope: &core::Envelope,
    ) -> Result<(), String> {
        let leads = self.nodes[node].leading.is_some_and(|leadership| self.log.leads(node, leadership));
        let life = self.nodes[node].life;
        if leads {
            let ready = self.now + self.chance.between(500, 6 * MS);
            let bytes = core::registry::encode_envelope(envelope);
            self.trace.mix_bytes(&bytes);
            // What replicas apply went over the wire once.
            let envelope = core::registry::decode_envelope(bytes)
                .map_err(|error| format!("an entry does not decode: {error}"))?;
            let ready = self.log.propose(Rc::new(envelope), ready);
            self.agenda.push(ready, Event::Commit);
        } else {
            let input = core::Input::ProposalFailed {
                proposal,
                unknown: self.chance.percent(50),
                reason: "not leading any more".to_owned(),
            };
            self.after(MS, Event::MasterInput { node, life, input: Box::new(input) });
        }
        Ok(())
    }

    fn reply(&mut self, node: usize, request: core::RequestId, reply: core::Reply) {
        let life = self.nodes[node].life;
        let delay = self.latency();
        if let Some((to, number)) = self.answers.remove(&(node, life, request)) {
            if self.network.reaches(Place::Master(node), self.address(to)) {
                self.after(delay, Event::Answer { to, number, reply: Box::new(reply) });
            }
        } else if let Some(stream) = self.nodes[node].requests.remove(&request)
            && let core::Reply::Rejected { status, reason } = reply
        {
            self.note(|| format!("master {node} refuses a call on stream {stream}: {status} {reason}"));
            self.after(delay, Event::ToClient { stream, message: ToClient::Refused });
        }
    }

    /// A call on a stream has arrived at its master.
    pub(crate) fn master_hears(&mut self, stream: u64, message: ToMaster) -> Result<(), String> {
        let Some(found) = self.network.streams.get(&stream).cloned() else { return Ok(()) };
        let (node, life) = (found.master, found.master_life);
        if found.broken || !self.network.reaches(self.address(found.client), Place::Master(node)) {
            self.break_stream(stream, false, false);
            return Ok(());
        }
        if self.nodes[node].life != life || !self.nodes[node].up {
            return Ok(());
        }
        if !self.awake(node) {
            let until = self.nodes[node].paused_until;
            self.agenda.push(until, Event::ToMaster { stream, message });
            return Ok(());
        }
        let stream_id = format!("stream-{stream}");
        let opens = match &message {
            ToMaster::Framework { call, .. } => call.r#type() == super::frameworks::SUBSCRIBE,
            ToMaster::Agent(call) => super::agents::opens(call),
        };
        if self.nodes[node].leading.is_none() || !self.nodes[node].core.serving() {
            self.break_stream(stream, true, false);
            return Ok(());
        }
        self.nodes[node].next_request += 1;
        let request = self.nodes[node].next_request;
        let input = match (message, opens) {
            (ToMaster::Framework { call, token }, true) => core::Input::Subscribe {
                connection: stream,
                stream_id,
                call: *call,
                principal: None,
                driver_token: token,
            },
            (ToMaster::Framework { call, .. }, false) => {
                core::Input::Call { request, stream_id: Some(stream_id), call: *call, principal: None }
            }
            (ToMaster::Agent(call), true) => {
                let connection = stream;
                match call.r#type() {
                    Kind::Attach => core::Input::AgentAttach { connection, stream_id, call: *call },
                    _register => core::Input::AgentRegister { connection, stream_id, call: *call },
                }
            }
            (ToMaster::Agent(call), false) => {
                core::Input::AgentCall { request, stream_id: Some(stream_id), call: *call }
            }
        };
        if !opens {
            self.nodes[node].requests.insert(request, stream);
        }
        self.handle(node, input)
    }

    pub(crate) fn operator_arrives(
        &mut self,
        node: usize,
        life: u64,
        from: Place,
        number: u64,
        call: core::OperatorCall,
        token: Option<String>,
    ) -> Result<(), String> {
        if self.nodes[node].life != life || !self.nodes[node].up {
            return Ok(());
        }
        if !self.awake(node) {
            let until = self.nodes[node].paused_until;
            let call = Box::new(call);
            self.agenda.push(until, Event::Operator { node, life, from, number, call, token });
            return Ok(());
        }
        if self.nodes[node].leading.is_none() || !self.nodes[node].core.serving() {
            return Ok(());
        }
        self.nodes[node].next_request += 1;
        let request = self.nodes[node].next_request;
        self.answers.insert((node, life, request), (from, number));
        self.handle(node, core::Input::Operator { request, call, principal: None, driver_token: token })
    }

    pub(crate) fn crash_master(&mut self, node: usize) {
        if !self.nodes[node].up {
            return;
        }
        self.note(|| format!("master {node} crashes"));
        self.end_streams_of(node);
        let found = &mut self.nodes[node];
        found.up = false;
        found.life += 1;
        found.leading = None;
        found.requests.clear();
        let life = found.life;
        let delay = self.chance.between(200, 15_000) * MS;
        self.after(delay, Event::RestartMaster { node, life });
    }

    pub(crate) fn restart_master(&mut self, node: usize, life: u64) -> Result<(), String> {
        if self.nodes[node].life != life || self.nodes[node].up {
            return Ok(());
        }
        self.note(|| format!("master {node} starts again"));
        let found = &mut self.nodes[node];
        found.up = true;
        found.paused_until = 0;
        found.core = core::Master::new(config());
        found.registry = core::Registry::default();
        found.applied = 0;
        if let Some((applied, registry)) = &found.snapshot {
            found.registry = registry.clone();
            found.applied = *applied;
            if found.life.is_multiple_of(READ_SNAPSHOTS) {
                found.registry = through_snapshot(registry)
                    .map_err(|what| format!("the snapshot of master {node}: {what}"))?;
            }
        }
        self.after(SECOND, Event::MasterTick { node, life, wish: None });
        Ok(())
    }
}
