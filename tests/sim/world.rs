//! The cluster as a whole: its parts, its time, and the loop that takes the next thing off the agenda.
//! Decides nothing; the parts' own files do.

use std::collections::BTreeMap;
use std::rc::Rc;

use tepui_proto::tepui::operator;
use tepui_scheduler_core as core;
use tepui_scheduler_core::Envelope;

use super::agenda::{Agenda, MS, Micros, SECOND};
use super::agents::SimAgent;
use super::checks::{Checks, FULL_CHECK, Violation};
use super::drivers::SimDriver;
use super::event::Event;
use super::executors::SimExecutor;
use super::frameworks::SimFramework;
use super::log::Members;
use super::masters::Node;
use super::members::Replacement;
use super::network::{Network, Place};
use super::operators::Operator;
use super::tasks::Ledger;
use super::trace::Trace;
use super::truth::Truth;
use super::{Chance, Report, Settings};

/// A simulated cluster.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) now: Micros,
    pub(crate) chance: Chance,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) network: Network,
    pub(crate) replacement: Option<Replacement>,
    /// Proposals of a past leadership that may turn up yet.
    pub(crate) late: Vec<Rc<Envelope>>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) agents: Vec<SimAgent>,
    pub(crate) frameworks: Vec<SimFramework>,
    pub(crate) drivers: Vec<SimDriver>,
    /// Every process of an executor that there ever was.
    pub(crate) executors: Vec<SimExecutor>,
    pub(crate) connections: u64,
    pub(crate) ledger: Ledger,
    pub(crate) truth: Truth,
    pub(crate) operator: Operator,
    /// Keepers give everything back in the end.
    pub(crate) tidy: bool,
    pub(crate) checks: Checks,
    pub(crate) report: Report,
    /// Faults still come.
    pub(crate) faulty: bool,
    pub(crate) processes: usize,
    /// Calls without a stream that wait for their answer: who, and its own number.
    pub(crate) numbers: u64,
    pub(crate) answers: BTreeMap<(usize, u64, core::RequestId), (Place, u64)>,
    pub(crate) trace: Trace,
}

impl World {
    pub(crate) fn new(seed: u64, settings: Settings, trace: Trace) -> Self {
        let mut chance = Chance::new(seed);
        let members: Members = (0..settings.masters).collect();
        let nodes = members.iter().map(|index| Node::new(*index, members.clone())).collect();
        let agents = (0..settings.agents).map(|index| SimAgent::new(index, &mut chance)).collect();
        let plain = (0..settings.frameworks).map(|index| SimFramework::new(index, &settings));
        let keepers = (0..settings.keepers).map(|index| SimFramework::keeper(index, &settings));
        let frameworks = plain.chain(keepers).collect();
        World {
            now: 0,
            chance,
            agenda: Agenda::new(),
            network: Network::default(),
            replacement: None,
            late: Vec::new(),
            nodes,
            agents,
            frameworks,
            drivers: Vec::new(),
            executors: Vec::new(),
            connections: 0,
            ledger: Ledger::default(),
            truth: Truth::default(),
            operator: Operator::default(),
            tidy: !seed.is_multiple_of(2),
            checks: Checks::default(),
            report: Report { seed, ..Report::default() },
            faulty: true,
            processes: 0,
            numbers: 0,
            answers: BTreeMap::new(),
            trace,
            settings,
        }
    }

    /// Milliseconds of simulated time.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now / MS
    }

    /// Wall clock: 2026 and whatever has passed.
    pub(crate) fn wall_ms(&self) -> u64 {
        1_790_000_000_000 + self.now_ms()
    }

    /// Puts something on the agenda.
    pub(crate) fn after(&mut self, delay: Micros, event: Event) {
        self.agenda.push(self.now + delay, event);
    }

    /// How much later than others whatever goes to this place or comes from it arrives.
    pub(crate) fn slowness(&mut self, place: Place) -> Micros {
        match self.address(place) {
            Place::Agent(agent) if self.agents[agent].slow_until > self.now => {
                self.chance.between(100, 3_000) * MS
            }
            _other => 0,
        }
    }

    /// A network delay.
    pub(crate) fn latency(&mut self) -> Micros {
        if self.chance.percent(3) {
            self.chance.between(20 * MS, 200 * MS)
        } else {
            self.chance.between(100, 3 * MS)
        }
    }

    /// Says what happens, if somebody wants to know.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if self.trace.tells() {
            self.trace.tell(format!("{:>10.3} s  {}", self.now as f64 / SECOND as f64, line()));
        }
    }

    /// Runs until everything has settled.
    ///
    /// # Errors
    /// The first violation.
    pub(crate) fn run(mut self) -> Result<Report, Violation> {
        self.begin();
        let fault_end = self.settings.fault_ms * MS;
        let deadline = fault_end + self.settings.settle_ms * MS;
        while let Some((at, event)) = self.agenda.pop() {
            self.now = self.now.max(at);
            if self.faulty && self.now >= fault_end {
                self.stop_faults();
            }
            let stepped = self.step(event).and_then(|()| match self.report.inputs % FULL_CHECK {
                0 => self.check_all(),
                _ => Ok(()),
            });
            if let Err(what) = stepped {
                return Err(self.violation(what));
            }
            if !self.faulty && self.report.inputs.is_multiple_of(64) && self.settled() {
                break;
            }
            if self.now > deadline {
                let what = self.unsettled();
                return Err(self.violation(format!("not settled in time: {what}")));
            }
        }
        if let Err(what) = self.check_all().and_then(|()| self.check_end()) {
            return Err(self.violation(what));
        }
        self.report.simulated_ms = self.now_ms();
        let mut state = Vec::new();
        if let Err(error) = self.registry().write_snapshot(&mut state) {
            return Err(self.violation(format!("the last snapshot: {error}")));
        }
        self.trace.mix_bytes(&state);
        self.report.trace = self.trace.hash();
        self.report.entries = self.checks.committed.len() as u64;
        self.report.conversions = self.truth.conversions;
        self.report.drains = self.truth.fleet.drains;
        self.report.gone_agents = self.truth.fleet.gone.len() as u64;
        self.report.times_down = self.truth.fleet.times_down;
        Ok(self.report)
    }

    fn violation(&self, what: String) -> Violation {
        Violation { seed: self.report.seed, at_ms: self.now_ms(), what, history: Vec::new() }
    }

    fn begin(&mut self) {
        self.after(0, Event::Raft);
        for node in 0..self.nodes.len() {
            self.after(0, Event::MasterTick { node, life: 0, wish: None });
        }
        for agent in 0..self.agents.len() {
            let delay = self.chance.between(0, 2_000) * MS;
            self.after(delay, Event::RestartAgent { agent, life: 0 });
        }
        for framework in 0..self.frameworks.len() {
            let delay = self.chance.between(0, 3_000) * MS;
            self.after(delay, Event::RestartFramework { framework, life: 0 });
        }
        self.after(SECOND, Event::Submit);
        self.after(3 * SECOND, Event::OperatorStep);
        let delay = self.chance.between(1, 2 * self.settings.fault_interval_ms) * MS;
        self.after(delay, Event::Fault);
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        self.report.inputs += 1;
        self.trace.mix(self.now);
        for word in event.words() {
            self.trace.mix(word);
        }
        match event {
            Event::Raft => self.raft(),
            Event::Peer { from, to, life, term, message } => self.peer_hears(from, to, life, term, *message),
            Event::Synced { node, life, length, cuts } => self.synced(node, life, length, cuts),
            Event::Replicate { node, life } => self.replicate(node, life),
            Event::PowerLoss { node, life } => self.power_loss(node, life),
            Event::Stray { node, life, stream, call } => self.stray_call(node, life, stream, *call),
            Event::MasterInput { node, life, input } => self.master_input(node, life, *input),
            Event::MasterTick { node, life, wish } => self.master_tick(node, life, wish),
            Event::RestartMaster { node, life } => self.restart_master(node, life),
            Event::ToClient { stream, message } => self.client_hears(stream, message),
            Event::ToMaster { stream, message } => self.master_hears(stream, message),
            Event::ClientNotices { stream } => self.client_notices(stream),
            Event::MasterNotices { stream } => self.master_notices(stream),
            Event::Operator { node, life, from, number, call, token } => {
                self.operator_arrives(node, life, from, number, *call, token)
            }
            Event::Answer { to, number, reply } => self.answered(to, number, Some(*reply)),
            Event::NoAnswer { to, number } => self.answered(to, number, None),
            Event::AgentSearch { agent, life } => self.agent_search(agent, life),
            Event::AgentInput { agent, life, input } => self.agent_input(agent, life, *input),
            Event::AgentTick { agent, life, wish } => self.agent_tick(agent, life, wish),
            Event::Durable { agent, life, id, record } => self.durable(agent, life, id, *record),
            Event::Start { agent, life, launch } => self.start_process(agent, life, *launch),
            Event::ProcessEnd { agent, number, status } => self.process_end(agent, number, status),
            Event::ExecutorStart { agent, life, launch } => self.executor_start(agent, life, *launch),
            Event::Executor { number, what } => self.executor_happens(number, what),
            Event::ShowVolumes { agent, life, show } => self.volumes_shown(agent, life, *show),
            Event::RestartAgent { agent, life } => self.restart_agent(agent, life),
            Event::FrameworkSearch { framework, life } => self.framework_search(framework, life),
            Event::FrameworkStep { framework, life } => self.framework_step(framework, life),
            Event::Acknowledge { framework, life, stream, status } => {
                self.acknowledge(framework, life, stream, &status)
            }
            Event::AcknowledgeOperation { framework, life, stream, status } => {
                self.acknowledge_operation(framework, life, stream, &status)
            }
            Event::RestartFramework { framework, life } => self.restart_framework(framework, life),
            Event::DriverStep { number } => self.driver_step(number),
            Event::Submit => self.submit(),
            Event::OperatorStep => self.operator_step(),
            Event::Fault => self.fault(),
            Event::Heal => {
                self.note(|| "the network heals".to_owned());
                self.network.heal();
                Ok(())
            }
            Event::HostIsBack { agent } => {
                self.network.away.remove(&agent);
                Ok(())
            }
        }
    }

    /// The supervised driver that every run has.
    fn submit(&mut self) -> Result<(), String> {
        let spec = super::drivers::spec();
        self.numbers += 1;
        let number = self.numbers;
        // Repeated until some leader has said yes: submitting the same spec twice is the same as once.
        if !self.checks.submitted {
            let call = core::OperatorCall::SubmitDriver(spec);
            if let Some(node) = self.serving_node() {
                self.call_operator(node, Place::Driver(usize::MAX), number, call, None);
            }
            self.after(3 * SECOND, Event::Submit);
        }
        Ok(())
    }

    /// Sends an operator's call to a master; the answer, or its absence, comes back as an event.
    pub(crate) fn call_operator(
        &mut self,
        node: usize,
        from: Place,
        number: u64,
        call: core::OperatorCall,
        token: Option<String>,
    ) {
        let life = self.nodes[node].life;
        let delay = self.latency();
        self.after(2 * SECOND, Event::NoAnswer { to: from, number });
        if !self.network.reaches(self.address(from), Place::Master(node)) {
            return;
        }
        // Somebody on the way repeats what he believes lost.
        if self.faulty && matches!(call, core::OperatorCall::StateCas(_)) && self.chance.percent(5) {
            self.report.count("write twice");
            let (call, token) = (Box::new(call.clone()), token.clone());
            let late = delay + self.chance.between(1, 3_000) * MS;
            self.after(late, Event::Operator { node, life, from, number, call, token });
        }
        self.after(delay, Event::Operator { node, life, from, number, call: Box::new(call), token });
    }

    /// A driver process is reached like its agent; the operator of the run is reached always.
    pub(crate) fn address(&self, place: Place) -> Place {
        match place {
            Place::Driver(number) => {
                self.drivers.get(number).map_or(place, |driver| Place::Agent(driver.agent))
            }
            Place::Master(_) | Place::Agent(_) | Place::Framework(_) | Place::Operator => place,
        }
    }

    fn answered(&mut self, to: Place, number: u64, reply: Option<core::Reply>) -> Result<(), String> {
        if to == Place::Operator {
            return self.operator_answered(number, reply);
        }
        let Place::Driver(driver) = to else { return Ok(()) };
        if driver == usize::MAX {
            if let Some(core::Reply::Operator(operator::Response { submit_driver: Some(_), .. })) = reply {
                self.checks.submitted = true;
            } else if let Some(core::Reply::Rejected { status: 400..500, reason }) = reply {
                return Err(format!("the driver was refused: {reason}"));
            }
            return Ok(());
        }
        self.driver_answered(driver, number, reply)
    }
}
