//! The core of a master: its state, its one entrance, and the small things that every part of it needs.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::tepui::agent_link;
use tepui_proto::v1;

use super::agent_news::News;
use super::agents::AgentSession;
use super::attach::Attachments;
use super::config::Config;
use super::drivers::Supervisor;
use super::effect::{Effect, Level, LocalChange, Note, Reply};
use super::fleet::Fleet;
use super::frameworks::FrameworkSession;
use super::holdings::Holdings;
use super::input::{ConnectionId, Input, MasterIdentity, Now, RequestId};
use super::leadership::Phase;
use super::local_view::LocalView;
use super::mint::Mint;
use super::numbers::Run;
use super::offers::Book;
use super::pipeline::{Pending, Pipeline};
use super::reports::Reports;
use super::settings::Told;
use super::timers::{Timer, Timers};
use super::warm::Warm;
use super::warnings::Warnings;
use crate::allocator::Allocator;
use crate::ids::{AgentId, FrameworkId, TaskKey};
use crate::registry::{Operation, OperationKey, Registry};

/// Whose stream it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Framework(FrameworkId),
    Agent(AgentId),
}

/// The core of a master.
#[derive(Debug)]
pub struct Master {
    pub(super) config: Config,
    pub(super) now: Now,
    pub(super) phase: Phase,
    pub(super) registry: Registry,
    pub(super) identity: MasterIdentity,
    pub(super) mint: Mint,
    pub(super) minted_frameworks: u64,
    pub(super) minted_agents: u64,
    pub(super) pipeline: Pipeline,
    pub(super) connections: BTreeMap<ConnectionId, Party>,
    pub(super) frameworks: BTreeMap<FrameworkId, FrameworkSession>,
    pub(super) agents: BTreeMap<AgentId, AgentSession>,
    /// Agents on their way back, and where the masters are.
    pub(super) attachments: Attachments,
    /// Which agents register with a boot id, until that is committed, so that one that does not hear of it is not admitted twice.
    pub(super) boots: BTreeMap<String, AgentId>,
    /// After a leader change agents are given up one by one: not before this.
    pub(super) next_give_up_ms: u64,
    pub(super) offers: Book,
    pub(super) allocator: Allocator,
    pub(super) warm: Warm,
    pub(super) settings: Told,
    /// Offers are made although some role has a quota: most agents were back once.
    pub(super) quota_recovered: bool,
    pub(super) holdings: Holdings,
    pub(super) reports: Reports,
    pub(super) timers: Timers,
    pub(super) supervisor: Supervisor,
    /// What the call in hand asks for in vain.
    pub(super) warnings: Warnings,
    pub(super) fleet: Fleet,
    /// Requests that wait for a commit.
    pub(super) waiting: BTreeSet<RequestId>,
    /// Tasks too large for the log, until their agent has them.
    pub(super) large_tasks: BTreeMap<TaskKey, v1::TaskInfo>,
    pub(super) view: LocalView,
    /// Pause after which each told operation was last repeated.
    pub(super) operation_pauses: BTreeMap<OperationKey, u64>,
    /// What agents are told so that they can show it.
    pub(super) news: News,
    pub(super) allocation_armed: bool,
    pub(super) run: Run,
    pub(super) reports_armed: bool,
    /// Agents that said farewell, until that is committed.
    pub(super) leaving: BTreeSet<AgentId>,
    /// The outcome of some proposal of this leadership is unknown.
    pub(super) in_doubt: bool,
    woken_at_ms: Option<u64>,
    pub(super) out: Vec<Effect>,
}

impl Master {
    pub fn new(config: Config) -> Self {
        let allocator = Allocator::with(0, config.allocator.clone());
        Self {
            config,
            now: Now::default(),
            phase: Phase::Idle,
            registry: Registry::default(),
            identity: MasterIdentity::default(),
            mint: Mint::new([0; 32]),
            minted_frameworks: 0,
            minted_agents: 0,
            pipeline: Pipeline::default(),
            connections: BTreeMap::new(),
            frameworks: BTreeMap::new(),
            agents: BTreeMap::new(),
            attachments: Attachments::default(),
            boots: BTreeMap::new(),
            next_give_up_ms: 0,
            offers: Book::default(),
            allocator,
            warm: Warm::cold(),
            settings: Told::default(),
            quota_recovered: false,
            holdings: Holdings::default(),
            reports: Reports::default(),
            timers: Timers::default(),
            supervisor: Supervisor::default(),
            warnings: Warnings::default(),
            fleet: Fleet::default(),
            waiting: BTreeSet::new(),
            large_tasks: BTreeMap::new(),
            view: LocalView::default(),
            operation_pauses: BTreeMap::new(),
            news: News::default(),
            allocation_armed: false,
            run: Run::default(),
            reports_armed: false,
            leaving: BTreeSet::new(),
            in_doubt: false,
            woken_at_ms: None,
            out: Vec::new(),
        }
    }

    /// Takes in what happened and appends to `effects` what is to be done, in order.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        // Within a leadership time never goes back, whatever the caller's clock does.
        let cluster_ms = match input {
            Input::Elected { .. } => now.cluster_ms,
            _ => self.now.cluster_ms.max(now.cluster_ms),
        };
        self.now = Now { cluster_ms, wall_ms: now.wall_ms };
        let ticked = matches!(input, Input::Tick);
        self.out.append(effects);
        self.dispatch(input);
        self.run_timers();
        self.settle();
        self.wish_to_be_woken(ticked);
        effects.append(&mut self.out);
    }

    /// Whether this master leads and its `TakeLead` has been applied.
    pub fn serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    /// Returns what only the leader knows, in constant time.
    pub fn local_view(&self) -> LocalView {
        self.view.clone()
    }

    /// Returns the Registry that this master decides on.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    fn dispatch(&mut self, input: Input) {
        match input {
            Input::Elected { registry, identity, seed } => self.on_elected(registry, identity, seed),
            Input::Follow { registry } => self.on_follow(registry),
            Input::Deposed => self.on_deposed(),
            Input::Applied { registry, outcomes } => self.on_applied(registry, outcomes),
            Input::ProposalFailed { proposal, unknown, reason } => {
                self.on_proposal_failed(proposal, unknown, &reason);
            }
            Input::Subscribe { connection, stream_id, call, principal, driver_token } => {
                self.on_subscribe(connection, stream_id, call, principal, driver_token.as_deref());
            }
            Input::Call { request, stream_id, call, principal } => {
                self.on_call(request, stream_id.as_deref(), call, principal.as_deref());
            }
            Input::ConnectionClosed { connection } => self.on_connection_closed(connection),
            Input::AgentRegister { connection, stream_id, call } => {
                self.on_agent_register(connection, stream_id, call);
            }
            Input::AgentAttach { connection, stream_id, call } => {
                self.on_agent_attach(connection, stream_id, call);
            }
            Input::Masters(masters) => self.on_masters(masters),
            Input::AgentCall { request, stream_id, call } => {
                self.on_agent_call(request, stream_id.as_deref(), call);
            }
            Input::Operator { request, call, principal, driver_token } => {
                self.on_operator(request, call, principal.as_deref(), driver_token.as_deref());
            }
            Input::Whitelist(hosts) => self.allocator.set_whitelist(hosts),
            Input::VoterLevel(level) => self.on_voter_level(level),
            Input::Checkpoint(checkpoint) if self.serving() => {
                self.propose(Operation::Checkpoint(checkpoint), Pending::Tick);
            }
            Input::Checkpoint(_) => {}
            Input::Tick => self.on_tick(),
        }
    }

    fn on_connection_closed(&mut self, connection: ConnectionId) {
        match self.connections.remove(&connection) {
            Some(Party::Framework(id)) => self.framework_stream_ended(&id, connection),
            Some(Party::Agent(id)) => self.agent_stream_ended(&id, connection),
            None => {}
        }
    }

    fn on_tick(&mut self) {
        if self.serving() {
            self.supervise(|supervisor, cx| supervisor.tick(cx));
            self.keep_time();
        }
    }

    fn run_timers(&mut self) {
        while let Some(timer) = self.timers.pop(self.now.cluster_ms) {
            match timer {
                Timer::TakeLead => self.propose_take_lead(),
                _ if !self.serving() => {}
                Timer::Heartbeat(connection) => self.heartbeat(connection),
                Timer::Ping(connection) => self.ping(connection),
                Timer::Untold(connection) => self.untold(connection),
                Timer::Attachments => self.attachments_due(),
                Timer::OfferExpiry(offer) => self.expire_offer(&offer),
                Timer::Reports => self.reports_due(),
                Timer::Allocation => self.allocate(),
                Timer::CatchUp => self.go_on_catching_up(),
                Timer::FilterExpiry => self.expire_filters(),
                Timer::Framework(id) => self.framework_deadline(&id),
                Timer::Agent(id) => self.agent_deadline(&id),
                Timer::Retry => self.retry(),
                Timer::Fleet(timer) => self.fleet_timer(timer),
                Timer::Operation(key) => self.repeat_operation(&key),
                Timer::Supervisor => self.supervise(|supervisor, cx| supervisor.tick(cx)),
            }
        }
    }

    /// What follows from every input: amounts told to the allocator, timers armed.
    fn settle(&mut self) {
        if !self.serving() {
            return;
        }
        self.settle_holdings();
        self.arm_allocation();
        self.show_allocator();
        if let Some(at_ms) = self.supervisor.next_deadline(&self.registry) {
            self.timers.arm(at_ms.max(self.now.cluster_ms + 1), Timer::Supervisor);
        }
    }

    fn wish_to_be_woken(&mut self, ticked: bool) {
        let next = self.timers.next_ms();
        if let Some(cluster_ms) = next
            && (ticked || next != self.woken_at_ms)
        {
            self.out.push(Effect::WakeAt { cluster_ms });
        }
        self.woken_at_ms = next;
    }

    pub(super) fn send_to_framework(&mut self, connection: ConnectionId, event: v1::scheduler::Event) {
        self.out.push(Effect::ToFramework { connection, event });
    }

    /// Sends an order to an agent, stamped with format and epoch, if the agent is registered here.
    pub(super) fn send_to_agent(&mut self, agent: &AgentId, event: agent_link::Event) {
        if let Some(connection) = self.agents.get(agent).and_then(AgentSession::registered) {
            self.send_on_agent_stream(connection, event);
        }
    }

    pub(super) fn send_on_agent_stream(&mut self, connection: ConnectionId, mut event: agent_link::Event) {
        event.format = Some(crate::validation::AGENT_LINK_FORMAT);
        event.epoch = Some(self.registry.epoch);
        self.out.push(Effect::ToAgent { connection, event });
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
        self.out.push(Effect::Close { connection });
    }

    pub(super) fn reply(&mut self, request: RequestId, reply: Reply) {
        self.waiting.remove(&request);
        self.out.push(Effect::Reply { request, reply });
    }

    pub(super) fn reject(&mut self, request: RequestId, status: u16, reason: impl Into<String>) {
        self.reply(request, Reply::Rejected { status, reason: reason.into() });
    }

    pub(super) fn changed(&mut self, change: LocalChange) {
        self.out.push(Effect::Changed(change));
    }

    pub(super) fn note(&mut self, level: Level, message: &'static str, fields: Vec<(&'static str, String)>) {
        self.out.push(Effect::Log(Note { level, message, fields }));
    }
}
