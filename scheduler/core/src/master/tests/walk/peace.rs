//! The other walk: honest agents and frameworks, broken streams, lost proposals, dying leaders. Laws hold at every step, and
//! when peace returns, master and agents agree.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::tepui::agent_link::{AgentTask, Event as AgentEvent, event};
use tepui_proto::v1::scheduler::event::Type as Told;
use tepui_proto::v1::{self, TaskState};

use crate::ids::AgentId;
use crate::master::{FleetCall, OperatorCall};
use crate::testing::{
    AgentPeer, FrameworkPeer, Harness, framework_info, named, reserve, reserved, task, unreserve,
};

type Key = (String, String);

/// An agent that keeps its promises: launches once, repeats what is not acknowledged, answers what it is asked.
struct Agent {
    peer: AgentPeer,
    unacknowledged: BTreeMap<Key, v1::TaskStatus>,
    launched: BTreeSet<u64>,
}

struct Framework {
    peer: FrameworkPeer,
    offers: BTreeMap<String, v1::Offer>,
    /// Tasks of which it has seen the end.
    ended: BTreeSet<String>,
}

struct World {
    harness: Harness,
    agents: Vec<Agent>,
    frameworks: Vec<Framework>,
    uuids: u64,
    tasks: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Launch { framework: usize, offers: usize, tasks: usize },
    Operate { framework: usize, launch: bool },
    Decline { framework: usize },
    Report { agent: usize, task: usize, state: TaskState },
    Kill { framework: usize, task: u64 },
    BreakAgent(usize),
    BreakFramework(usize),
    ReturnAgent(usize),
    ReturnFramework(usize),
    Teardown(usize),
    Reconcile(usize),
    Hold,
    Commit,
    Lose { unknown: bool },
    Elect,
    Pass(u64),
    Fleet(FleetStep),
}

/// What operators do meanwhile.
#[derive(Clone, Debug)]
enum FleetStep {
    Drain {
        agent: usize,
        mark_gone: bool,
    },
    Activate {
        agent: usize,
        active: bool,
    },
    Gone(usize),
    /// Machines of agents whose bit is set are in the schedule.
    Plan(usize),
    Down(usize),
    Up(usize),
}

fn fleet_step() -> impl Strategy<Value = FleetStep> {
    let one = 0..3_usize;
    prop_oneof![
        3 => (one.clone(), any::<bool>()).prop_map(|(agent, mark_gone)| FleetStep::Drain { agent, mark_gone }),
        3 => (one.clone(), any::<bool>()).prop_map(|(agent, active)| FleetStep::Activate { agent, active }),
        1 => one.clone().prop_map(FleetStep::Gone),
        2 => (0..8_usize).prop_map(FleetStep::Plan),
        1 => one.clone().prop_map(FleetStep::Down),
        2 => one.prop_map(FleetStep::Up),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let one = 0..3_usize;
    let states = prop_oneof![
        2 => Just(TaskState::TaskRunning),
        2 => Just(TaskState::TaskFinished),
        1 => Just(TaskState::TaskFailed),
    ];
    prop_oneof![
        12 => (one.clone(), 1..3_usize, 1..3_usize)
            .prop_map(|(framework, offers, tasks)| Step::Launch { framework, offers, tasks }),
        6 => (one.clone(), any::<bool>())
            .prop_map(|(framework, launch)| Step::Operate { framework, launch }),
        2 => one.clone().prop_map(|framework| Step::Decline { framework }),
        16 => (one.clone(), 0..6_usize, states)
            .prop_map(|(agent, task, state)| Step::Report { agent, task, state }),
        2 => (one.clone(), 0..12_u64).prop_map(|(framework, task)| Step::Kill { framework, task }),
        1 => one.clone().prop_map(Step::BreakAgent),
        1 => one.clone().prop_map(Step::BreakFramework),
        8 => one.clone().prop_map(Step::ReturnAgent),
        6 => one.clone().prop_map(Step::ReturnFramework),
        1 => one.clone().prop_map(Step::Teardown),
        1 => one.prop_map(Step::Reconcile),
        2 => Just(Step::Hold),
        6 => Just(Step::Commit),
        1 => any::<bool>().prop_map(|unknown| Step::Lose { unknown }),
        1 => Just(Step::Elect),
        3 => fleet_step().prop_map(Step::Fleet),
        4 => prop_oneof![Just(20_u64), Just(100), Just(1_000), Just(7_000), Just(40_000)].prop_map(Step::Pass),
    ]
}

impl World {
    fn new() -> Self {
        let mut harness = Harness::new();
        let agents = (0..3)
            .map(|_| Agent {
                peer: harness.agent("cpus:4;mem:1024"),
                unacknowledged: BTreeMap::new(),
                launched: BTreeSet::new(),
            })
            .collect();
        let frameworks = (0..3).map(|number| framework(&mut harness, number)).collect();
        Self { harness, agents, frameworks, uuids: 0, tasks: 0 }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Launch { framework, offers, tasks } => self.launch(*framework, *offers, *tasks),
            Step::Operate { framework, launch } => self.operate(*framework, *launch),
            Step::Decline { framework } => {
                let one = &mut self.frameworks[*framework];
                if let Some((_, offer)) = one.offers.pop_first() {
                    self.harness.decline(&one.peer, &offer, 1.0);
                }
            }
            Step::Report { agent, task, state } => self.report(*agent, *task, *state),
            Step::Kill { framework, task } => {
                let task = format!("t{}", self.tasks.saturating_sub(*task));
                self.harness.kill(&self.frameworks[*framework].peer, &task);
            }
            Step::BreakAgent(agent) => self.harness.break_stream(self.agents[*agent].peer.connection),
            Step::BreakFramework(one) => self.harness.break_stream(self.frameworks[*one].peer.connection),
            Step::ReturnAgent(agent) => self.return_agent(*agent),
            Step::ReturnFramework(one) => self.return_framework(*one),
            Step::Teardown(one) => {
                self.harness.bare(&self.frameworks[*one].peer, v1::scheduler::call::Type::Teardown);
            }
            Step::Reconcile(one) => {
                self.harness.reconcile(&self.frameworks[*one].peer, &[]);
            }
            Step::Hold => self.harness.hold(),
            Step::Commit => self.harness.commit(),
            Step::Lose { unknown } => self.harness.lose(*unknown),
            Step::Elect => {
                self.harness.held = false;
                self.harness.elect();
            }
            Step::Pass(ms) => self.harness.advance(*ms),
            Step::Fleet(step) => self.manage(step),
        }
        self.listen();
        self.harness.registry.check_capacity();
    }

    /// An operator asks for something; whether it is granted is for the master to say.
    fn manage(&mut self, step: &FleetStep) {
        let id = |agent: &usize| self.agents[*agent].peer.id.clone();
        let machine = |agent: usize| self.agents[agent].machine();
        let call = match step {
            FleetStep::Drain { agent, mark_gone } => {
                FleetCall::Drain { agent: id(agent), max_grace_ms: Some(5), mark_gone: *mark_gone }
            }
            FleetStep::Activate { agent, active: true } => FleetCall::Reactivate(id(agent)),
            FleetStep::Activate { agent, active: false } => FleetCall::Deactivate(id(agent)),
            FleetStep::Gone(agent) => FleetCall::MarkGone(id(agent)),
            FleetStep::Plan(bits) => {
                let chosen = (0..self.agents.len()).filter(|agent| bits >> agent & 1 == 1);
                FleetCall::UpdateSchedule(schedule(chosen.map(machine).collect()))
            }
            FleetStep::Down(agent) => FleetCall::StartMaintenance(vec![machine(*agent)]),
            FleetStep::Up(agent) => FleetCall::StopMaintenance(vec![machine(*agent)]),
        };
        self.harness.operator(OperatorCall::Fleet(call), None);
    }

    /// Told to leave: everything ends, and one that was removed for good starts anew under no name.
    fn leave(&mut self, agent: usize) {
        let keys: Vec<Key> = self.agents[agent].peer.tasks.iter().map(key_of).collect();
        for key in keys {
            self.end(agent, &key, TaskState::TaskKilled);
        }
        let one = &mut self.agents[agent];
        if self.harness.registry.is_gone(&one.peer.id) {
            one.peer.id = AgentId::from("");
            one.peer.boot_id = format!("again-{}", self.harness.next_id());
            one.peer.accepted_launch_seq = 0;
            one.peer.tasks.clear();
            one.peer.frameworks.clear();
            one.peer.resources.clear();
            one.peer.resources_version = 0;
            one.unacknowledged.clear();
            one.launched.clear();
        }
    }

    /// Everybody reads what there is and does what an honest peer does.
    fn listen(&mut self) {
        for _ in 0..4 {
            for agent in 0..self.agents.len() {
                while let Some(order) = self.harness.try_order(&self.agents[agent].peer) {
                    self.obey(agent, order);
                }
            }
            for one in 0..self.frameworks.len() {
                while let Some(told) = self.harness.try_event(&self.frameworks[one].peer) {
                    self.hear(one, told);
                }
            }
        }
    }

    fn obey(&mut self, agent: usize, order: AgentEvent) {
        match order.r#type() {
            Order::Registered => {
                let id = order.registered.unwrap().agent_id.unwrap();
                self.agents[agent].peer.id = (&id).into();
                let again: Vec<_> = self.agents[agent].unacknowledged.clone().into_iter().collect();
                for (key, status) in again {
                    self.send(agent, &key, status);
                }
            }
            Order::RunTask => self.run(agent, order.run_task.unwrap()),
            Order::KillTask => {
                let kill = order.kill_task.unwrap();
                let key =
                    (kill.framework_id.unwrap().value().to_owned(), kill.task_id.unwrap().value().to_owned());
                self.end(agent, &key, TaskState::TaskKilled);
            }
            Order::ShutdownFramework => {
                let framework = order.shutdown_framework.unwrap().value().to_owned();
                let keys = self.agents[agent].peer.tasks.iter().map(key_of);
                for key in keys.filter(|key| key.0 == framework).collect::<Vec<_>>() {
                    self.end(agent, &key, TaskState::TaskKilled);
                }
            }
            Order::Acknowledge => self.acknowledged(agent, order.acknowledge.unwrap()),
            Order::Reconcile => {
                let asked = order.reconcile.unwrap();
                let launch_seq = asked.launch_seq();
                let framework = asked.framework_id.unwrap().value().to_owned();
                let key = (framework, asked.task_id.unwrap().value().to_owned());
                let one = &self.agents[agent];
                if !one.peer.tasks.iter().any(|own| key_of(own) == key)
                    && !one.unacknowledged.contains_key(&key)
                {
                    let never = launch_seq > one.peer.accepted_launch_seq;
                    let state = if never { TaskState::TaskDropped } else { TaskState::TaskGone };
                    self.update(agent, &key, state);
                }
            }
            Order::Ping => self.harness.pong(&self.agents[agent].peer.clone()),
            Order::UpdateResources => {
                let update = order.update_resources.unwrap();
                let peer = &mut self.agents[agent].peer;
                if update.version() > peer.resources_version {
                    peer.resources_version = update.version();
                    peer.resources = update.resources;
                } else if update.version() == peer.resources_version {
                    assert_eq!(peer.resources, update.resources, "one number for two contents");
                }
            }
            Order::UpdateFramework | Order::Message | Order::ShutdownExecutor | Order::UpdateMasters => {}
            Order::TellAll => panic!("nobody said how he stands: {order:?}"),
            Order::Shutdown => self.leave(agent),
            // The harness keeps these apart, and compares them with what the leader knows after every input.
            Order::UpdateDrain | Order::UpdateOperations => panic!("no order: {order:?}"),
            Order::Unknown => panic!("unexpected {order:?}"),
        }
    }

    fn run(&mut self, agent: usize, run: event::RunTask) {
        let one = &mut self.agents[agent];
        if run.launch_seq() <= one.peer.accepted_launch_seq {
            return;
        }
        assert!(one.launched.insert(run.launch_seq()), "launched twice");
        one.peer.accepted_launch_seq = run.launch_seq();
        let framework = run.framework.unwrap();
        one.peer.tasks.push(AgentTask {
            framework_id: framework.id.clone(),
            task: run.task,
            launch_seq: run.launch_seq,
            state: Some(TaskState::TaskStaging as i32),
            ..Default::default()
        });
        one.peer.frameworks.retain(|known| known.id != framework.id);
        one.peer.frameworks.push(framework);
    }

    fn acknowledged(&mut self, agent: usize, acknowledged: event::Acknowledge) {
        let key = (
            acknowledged.framework_id.unwrap().value().to_owned(),
            acknowledged.task_id.unwrap().value().to_owned(),
        );
        let one = &mut self.agents[agent];
        if one.unacknowledged.get(&key).is_some_and(|status| status.uuid == acknowledged.uuid) {
            let status = one.unacknowledged.remove(&key).unwrap();
            if status.state().is_terminal() {
                one.peer.tasks.retain(|own| key_of(own) != key);
            }
        }
    }

    fn hear(&mut self, one: usize, told: v1::scheduler::Event) {
        let framework = &mut self.frameworks[one];
        match told.r#type() {
            Told::Offers => {
                for offer in told.offers.unwrap().offers {
                    framework.offers.insert(offer.id.as_ref().unwrap().value().to_owned(), offer);
                }
            }
            Told::Rescind => {
                framework.offers.remove(told.rescind.unwrap().offer_id.unwrap().value());
            }
            Told::Update => {
                let status = told.update.unwrap().status.unwrap();
                let peer = framework.peer.clone();
                if status.uuid.is_some() {
                    if status.state().is_terminal() {
                        framework.ended.insert(status.task_id.as_ref().unwrap().value().to_owned());
                    }
                    self.harness.acknowledge(&peer, &status);
                }
            }
            Told::Error => {
                let message = told.error.unwrap().message.unwrap();
                if message.contains("removed") {
                    *framework = self::framework(&mut self.harness, one);
                }
            }
            _ => {}
        }
    }

    fn launch(&mut self, framework: usize, offers: usize, tasks: usize) {
        self.harness.advance(20);
        self.listen();
        let one = &mut self.frameworks[framework];
        let Some((_, first)) = one.offers.pop_first() else { return };
        let mut used = vec![first];
        while used.len() < offers {
            let Some((_, more)) = one.offers.pop_first() else { break };
            used.push(more);
        }
        let infos = (0..tasks).map(|_| {
            self.tasks += 1;
            task(&format!("t{}", self.tasks), "cpus:1;mem:100")
        });
        let infos = infos.collect();
        let peer = one.peer.clone();
        self.harness.accept(&peer, &used.iter().collect::<Vec<_>>(), infos);
    }

    /// Takes back a reservation that is offered, or makes one; with a launch behind it that may or may not find what it needs.
    fn operate(&mut self, framework: usize, launch: bool) {
        self.harness.advance(20);
        self.listen();
        let one = &mut self.frameworks[framework];
        let Some((_, offer)) = one.offers.pop_first() else { return };
        let role = one.peer.info.role().to_owned();
        let own = reserved("cpus:1", &[&role]);
        let held = offer.resources.iter().any(|one| one.reservation.is_some() && one.name() == "cpus");
        let change = if held { unreserve(own.clone()) } else { reserve(own.clone()) };
        let mut operations = vec![named(&format!("o{}", self.tasks), change)];
        if launch {
            self.tasks += 1;
            let mut info = task(&format!("t{}", self.tasks), "cpus:1");
            info.resources = own;
            info.agent_id = offer.agent_id.clone();
            operations.push(crate::testing::launch(vec![info]));
        }
        let peer = one.peer.clone();
        self.harness.accept_with(&peer, &[&offer], operations, Some(1.0));
    }

    fn report(&mut self, agent: usize, task: usize, state: TaskState) {
        let own = self.agents[agent].peer.tasks.get(task).cloned();
        if let Some(own) = own {
            let key = key_of(&own);
            if state.is_terminal() {
                self.end(agent, &key, state);
            } else if !own.state().is_terminal() && !self.agents[agent].unacknowledged.contains_key(&key) {
                self.update(agent, &key, state);
            }
        }
    }

    fn end(&mut self, agent: usize, key: &Key, state: TaskState) {
        let own = self.agents[agent].peer.tasks.iter().find(|own| key_of(own) == *key);
        if own.is_some_and(|own| !own.state().is_terminal()) {
            self.update(agent, key, state);
        }
    }

    fn update(&mut self, agent: usize, key: &Key, state: TaskState) {
        self.uuids += 1;
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&self.uuids.to_be_bytes());
        let status = v1::TaskStatus {
            task_id: Some(v1::TaskId { value: Some(key.1.clone()) }),
            state: Some(state as i32),
            source: Some(v1::task_status::Source::Agent as i32),
            uuid: Some(Bytes::copy_from_slice(&uuid)),
            ..Default::default()
        };
        let one = &mut self.agents[agent];
        if let Some(own) = one.peer.tasks.iter_mut().find(|own| key_of(own) == *key) {
            own.state = Some(state as i32);
            own.latest_status = Some(status.clone());
        }
        one.unacknowledged.insert(key.clone(), status.clone());
        self.send(agent, key, status);
    }

    fn send(&mut self, agent: usize, key: &Key, status: v1::TaskStatus) {
        let framework_id = Some(v1::FrameworkId { value: Some(key.0.clone()) });
        let (peer, latest) = (self.agents[agent].peer.clone(), status.state());
        self.harness.report_status(&peer, framework_id, status, latest);
    }

    fn return_agent(&mut self, agent: usize) {
        let mut peer = self.agents[agent].peer.clone();
        if self.harness.is_closed(peer.connection) {
            self.harness.send_register(&mut peer);
            self.agents[agent].peer = peer;
        }
    }

    fn return_framework(&mut self, one: usize) {
        if self.harness.is_closed(self.frameworks[one].peer.connection) {
            let info = self.frameworks[one].peer.info.clone();
            self.frameworks[one].peer = self.harness.subscribe(info, None);
            self.frameworks[one].offers.clear();
        }
    }

    /// Everybody comes back and everything is told and acknowledged.
    fn make_peace(&mut self) {
        if self.harness.held {
            self.harness.commit();
        }
        // Proposals of unknown outcome stay charged until the leadership ends.
        self.harness.elect();
        let down = self.harness.registry.maintenance.down.clone();
        if !down.is_empty() {
            self.harness.operator(OperatorCall::Fleet(FleetCall::StopMaintenance(down)), None);
        }
        for _ in 0..8 {
            for agent in 0..self.agents.len() {
                self.return_agent(agent);
            }
            for one in 0..self.frameworks.len() {
                self.return_framework(one);
            }
            self.listen();
            self.harness.advance(1_000);
            self.listen();
            for agent in 0..self.agents.len() {
                for (key, status) in self.agents[agent].unacknowledged.clone() {
                    self.send(agent, &key, status);
                }
            }
            self.listen();
        }
        self.harness.advance(1_000);
    }

    fn check_agreement(&self) {
        let registry = &self.harness.registry;
        let mut running = BTreeSet::new();
        for agent in &self.agents {
            let waiting: Vec<_> = agent.unacknowledged.iter().map(|(key, one)| (key, one.state())).collect();
            assert!(waiting.is_empty(), "nobody acknowledges {waiting:?} on {}", agent.peer.id);
            let record = registry.agents.get(&agent.peer.id).expect("the agent is known");
            assert!(registry.agent_connected(record), "agent {} is back", agent.peer.id);
            let made = crate::conversion::made(&crate::registry::unallocated(record.total()));
            assert_eq!(agent.peer.resources, made.to_proto(), "reservations on {}", agent.peer.id);
            let drained = record.drain.as_ref().is_none_or(|drain| drain.drained);
            assert!(drained, "agent {} is not drained although everybody answered", agent.peer.id);
            for own in &agent.peer.tasks {
                assert!(
                    !own.state().is_terminal(),
                    "{:?} is forgotten when its end is acknowledged",
                    key_of(own)
                );
                running.insert(key_of(own));
            }
        }
        let known: BTreeSet<Key> =
            registry.tasks.keys().map(|key| (key.framework.to_string(), key.task.to_string())).collect();
        assert_eq!(known, running, "the Registry's tasks are the agents' tasks");
        for one in &self.frameworks {
            for task in &one.ended {
                assert!(!running.contains(&(one.peer.id.to_string(), task.clone())), "{task} ended and runs");
            }
        }
    }
}

impl Agent {
    fn machine(&self) -> v1::MachineId {
        v1::MachineId { hostname: self.peer.info.hostname.clone(), ip: None }
    }
}

fn schedule(machine_ids: Vec<v1::MachineId>) -> v1::maintenance::Schedule {
    let start = Some(v1::TimeInfo { nanoseconds: Some(1) });
    let unavailability = Some(v1::Unavailability { start, duration: None });
    let window = v1::maintenance::Window { machine_ids, unavailability };
    let windows = if window.machine_ids.is_empty() { Vec::new() } else { vec![window] };
    v1::maintenance::Schedule { windows }
}

fn framework(harness: &mut Harness, number: usize) -> Framework {
    let id = format!("f{number}-{}", harness.next_id());
    let mut info = framework_info(&id);
    info.id = Some(v1::FrameworkId { value: Some(id) });
    info.role = Some(format!("r{number}"));
    let peer = harness.subscribe(info, None);
    Framework { peer, offers: BTreeMap::new(), ended: BTreeSet::new() }
}

fn key_of(task: &AgentTask) -> Key {
    let framework = task.framework_id.as_ref().unwrap().value().to_owned();
    (framework, task.task.as_ref().unwrap().task_id.as_ref().unwrap().value().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn laws_hold_and_peace_brings_agreement(steps in prop::collection::vec(step(), 1..100)) {
        let mut world = World::new();
        world.listen();
        for step in &steps {
            world.take(step);
        }
        world.make_peace();
        world.check_agreement();
    }
}

#[test]
fn nobody_is_told_of_a_removal_that_is_lost() {
    let mut world = World::new();
    world.listen();
    for step in [
        Step::Launch { framework: 2, offers: 1, tasks: 1 },
        Step::Hold,
        Step::Teardown(2),
        Step::BreakFramework(2),
        Step::ReturnFramework(2),
        Step::Lose { unknown: false },
        Step::Report { agent: 1, task: 0, state: TaskState::TaskRunning },
    ] {
        world.take(&step);
    }
    world.make_peace();
    world.check_agreement();
}
