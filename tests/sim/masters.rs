//! The masters: real cores and registries, elections by the modelled log, crashes, pauses, snapshots.

use std::collections::BTreeMap;
use std::rc::Rc;

use tepui_proto::tepui::agent_link::call::Type as Kind;
use tepui_scheduler_core as core;

use super::agenda::{MS, Micros, SECOND};
use super::event::{Event, ToClient, ToMaster};
use super::log::{Members, Payload, ReplicaLog};
use super::network::Place;
use super::replicas::Lead;
use super::world::World;

/// One of so many starts reads a snapshot; the others go on with what they had, which is the same and costs nothing.
const READ_SNAPSHOTS: u64 = 3;
/// Entries between two looks of a standby.
const FOLLOW_ENTRIES: usize = 16;
/// Entries between snapshots.
const SNAPSHOT_ENTRIES: usize = 200;
/// Proposals of one leadership that may turn up in a later one.
const LATE_PROPOSALS: usize = 4;
/// Entries that are kept behind a snapshot, for those that are late.
const KEPT_ENTRIES: usize = 60;

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
    pub(crate) log: ReplicaLog,
    /// It leads by the rules of the log.
    pub(crate) lead: Option<Lead>,
    /// When it last heard of a leader.
    pub(crate) heard_at: Micros,
    pub(crate) slow_disk_until: Micros,
    /// How far its calendar is off, milliseconds.
    pub(crate) calendar_off: i64,
    /// How far its clock was put forward during this leadership.
    pub(crate) clock_ahead: Micros,
    /// Its host loses power within the next write.
    pub(crate) doomed: bool,
    /// It refused to start, because its disk is damaged.
    pub(crate) refused: bool,
    /// It will never be back.
    pub(crate) gone: bool,
    pub(crate) core: core::Master,
    /// The leadership that its core has.
    pub(crate) leading: Option<u64>,
    elected_at: Micros,
    base_cluster_ms: u64,
    pub(crate) contact_at: Micros,
    next_request: core::RequestId,
    /// Requests of streams: whose reply goes where.
    requests: BTreeMap<core::RequestId, u64>,
    wish: u64,
}

impl Node {
    pub(crate) fn new(index: usize, members: Members) -> Self {
        Node {
            index,
            up: true,
            life: 0,
            paused_until: 0,
            registry: core::Registry::default(),
            hash: core::registry::StateHash::default(),
            applied: 0,
            log: ReplicaLog::new(members),
            lead: None,
            heard_at: 0,
            slow_disk_until: 0,
            calendar_off: 0,
            clock_ahead: 0,
            doomed: false,
            refused: false,
            gone: false,
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

    pub(crate) fn serves(&self) -> bool {
        self.leading.is_some() && self.core.serving()
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
pub(super) fn through_snapshot(registry: &core::Registry) -> Result<core::Registry, String> {
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
    /// The node that leads and serves, as a client with the whole list of masters would find it.
    pub(crate) fn serving_node(&self) -> Option<usize> {
        let serves = |node: &usize| self.awake(*node) && self.nodes[*node].serves();
        (0..self.nodes.len()).filter(serves).max_by_key(|node| self.nodes[*node].leading)
    }

    /// A replica that has everything, to look things up.
    pub(crate) fn registry(&self) -> &core::Registry {
        let newest = self.nodes.iter().max_by_key(|node| (node.up, node.applied));
        newest.map_or(&self.nodes[0].registry, |node| &node.registry)
    }

    pub(crate) fn depose(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].lead = None;
        if self.nodes[node].leading.take().is_none() {
            return Ok(());
        }
        self.note(|| format!("master {node} steps down"));
        if self.faulty {
            self.late = self.nodes[node].log.last_commands(LATE_PROPOSALS);
        }
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

    /// Applies everything that one replica knows to be committed.
    pub(crate) fn apply(&mut self, node: usize) -> Result<(), String> {
        let mut outcomes = Vec::new();
        let mut elected = false;
        let before = self.nodes[node].applied;
        while self.nodes[node].applied < self.nodes[node].log.committed {
            let index = self.nodes[node].applied;
            let entry = self.nodes[node].log.get(index).cloned();
            let Some(entry) = entry else {
                return Err(format!("master {node} does not have entry {index}, which is committed"));
            };
            self.check_committed(node, index, &entry)?;
            self.nodes[node].applied += 1;
            let found = &mut self.nodes[node];
            match &entry.payload {
                Payload::Blank => {
                    elected |= found.lead.as_ref().is_some_and(|lead| lead.term == entry.term);
                }
                Payload::Members(members) => {
                    let members = members.clone();
                    self.note(|| format!("master {node} knows that {members:?} vote"));
                }
                Payload::Command(envelope) => {
                    let (outcome, changes) = found.registry.apply(envelope);
                    let own_epoch = matches!(outcome, core::Outcome::TookLead { .. })
                        || envelope.epoch == found.registry.epoch;
                    let own_entry = envelope.node_id == found.node_id() && own_epoch;
                    self.check_applied(node, index + 1, envelope, &outcome, &changes)?;
                    if own_entry {
                        outcomes.push((envelope.proposal, outcome));
                    }
                }
            }
            self.compare(node, index + 1)?;
            let found = &mut self.nodes[node];
            if (index + 1).is_multiple_of(SNAPSHOT_ENTRIES) {
                found.log.compact(found.applied, found.registry.clone(), KEPT_ENTRIES);
            }
        }
        if self.nodes[node].applied == before {
            return Ok(());
        }
        if self.nodes[node].leading.is_some() {
            let registry = self.nodes[node].registry.clone();
            self.handle(node, core::Input::Applied { registry, outcomes })?;
        } else if elected {
            self.begin_to_lead(node)?;
        } else if before / FOLLOW_ENTRIES != self.nodes[node].applied / FOLLOW_ENTRIES {
            let registry = self.nodes[node].registry.clone();
            self.handle(node, core::Input::Follow { registry })?;
        }
        Ok(())
    }

    /// The first entry of its own leadership is applied, and with it everything before: the core takes over.
    fn begin_to_lead(&mut self, node: usize) -> Result<(), String> {
        let Some(term) = self.nodes[node].lead.as_ref().map(|lead| lead.term) else { return Ok(()) };
        let identity = core::MasterIdentity {
            master_id: self.chance.uuid(),
            node_id: self.nodes[node].node_id(),
            hostname: format!("master{node}"),
            ip: format!("10.0.0.{}", node + 1),
            port: 5050,
            version: "1.11.0".to_owned(),
            cluster_id: "simulated".to_owned(),
            domain: None,
            term,
        };
        let seed = self.chance.seed();
        let found = &mut self.nodes[node];
        found.leading = Some(term);
        found.elected_at = self.now;
        found.base_cluster_ms = found.registry.cluster_ms;
        found.clock_ahead = 0;
        let registry = found.registry.clone();
        self.handle(node, core::Input::Elected { registry, identity, seed })
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
            cluster_ms: found.base_cluster_ms + (self.now + found.clock_ahead - found.elected_at) / MS,
            wall_ms: self.wall_ms().saturating_add_signed(found.calendar_off),
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
                let at = at.saturating_sub(found.clock_ahead);
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
        let life = self.nodes[node].life;
        if self.nodes[node].lead.is_some() {
            let bytes = core::registry::encode_envelope(envelope);
            self.trace.mix_bytes(&bytes);
            // What replicas apply went over the wire once.
            let envelope = core::registry::decode_envelope(bytes)
                .map_err(|error| format!("an entry does not decode: {error}"))?;
            self.append(node, Payload::Command(Rc::new(envelope)));
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

    /// A call that names the stream of an instance which was replaced.
    pub(crate) fn stray_call(
        &mut self,
        node: usize,
        life: u64,
        stream: u64,
        call: tepui_proto::v1::scheduler::Call,
    ) -> Result<(), String> {
        let found = &mut self.nodes[node];
        if found.life != life || !found.serves() || found.paused_until > self.now {
            return Ok(());
        }
        found.next_request += 1;
        let request = found.next_request;
        let stream_id = Some(format!("stream-{stream}"));
        self.handle(node, core::Input::Call { request, stream_id, call, principal: None })
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

    /// Ends a master's process; with `power`, what its disk had not written for good is lost.
    pub(crate) fn crash_master(&mut self, node: usize, power: bool) {
        if !self.nodes[node].up {
            return;
        }
        self.note(|| format!("master {node} crashes{}", if power { " with its host" } else { "" }));
        self.end_streams_of(node);
        let found = &mut self.nodes[node];
        found.up = false;
        found.life += 1;
        found.lead = None;
        found.leading = None;
        found.doomed = false;
        found.requests.clear();
        let lost = found.log.crash(power, &mut self.chance);
        let life = found.life;
        if lost.entries > 0 {
            self.report.count("unsynced writes lost");
        }
        if lost.torn {
            self.report.count("torn tail");
        }
        let delay = self.chance.between(200, 15_000) * MS;
        self.after(delay, Event::RestartMaster { node, life });
    }

    pub(crate) fn restart_master(&mut self, node: usize, life: u64) -> Result<(), String> {
        let found = &mut self.nodes[node];
        if found.life != life || found.up || found.gone {
            return Ok(());
        }
        if found.log.damaged && !mutant!("start-from-a-damaged-disk") {
            found.refused = true;
            self.report.count("damage refused");
            self.note(|| format!("master {node} refuses to start: its disk is damaged"));
            self.plan_replacement(node);
            return Ok(());
        }
        self.note(|| format!("master {node} starts again"));
        let found = &mut self.nodes[node];
        found.up = true;
        found.paused_until = 0;
        found.heard_at = self.now;
        found.core = core::Master::new(config());
        found.registry = found.log.image.registry.clone();
        found.applied = found.log.image.length;
        if found.life.is_multiple_of(READ_SNAPSHOTS) {
            found.registry = through_snapshot(&found.registry)
                .map_err(|what| format!("the snapshot of master {node}: {what}"))?;
        }
        self.after(SECOND, Event::MasterTick { node, life, wish: None });
        Ok(())
    }
}
