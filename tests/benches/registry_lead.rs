//! A new leader of a large cluster: how long its turns are until it serves, while thousands of agents come back, and until the first
//! offers are out. The log commits at once, so what is measured is the core alone.

use std::collections::VecDeque;
use std::time::Instant;

use tepui_proto::tepui::agent_link::{AgentTask, Call, call};
use tepui_proto::v1::{self, TaskState, scheduler};
use tepui_scheduler_core::{Config, Effect, Input, Master, MasterIdentity, Now, Registry};

use super::registry_cluster::{Cluster, Size, agent_id, agent_info, framework_id, status, task};

/// Registrations that a turn of the shell takes in before their entries come back from the log.
const BATCH: usize = 64;

type Line = (String, &'static str, &'static str, Vec<f64>);

pub(super) struct Lead {
    size: Size,
    master: Master,
    registry: Registry,
    now: Now,
    wake_ms: Option<u64>,
    offers: usize,
    /// Milliseconds of each turn since the last look.
    turns: Vec<f64>,
}

impl Lead {
    pub(super) fn new(cluster: Cluster, size: Size) -> Lead {
        let registry = cluster.into_registry();
        Lead {
            size,
            master: Master::new(Config::default()),
            now: Now { cluster_ms: registry.cluster_ms, wall_ms: registry.wall_ms },
            registry,
            wake_ms: None,
            offers: 0,
            turns: Vec::new(),
        }
    }

    /// Measures the phases, one after the other.
    pub(super) fn run(mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        let size = self.size.name();
        self.phase(&mut lines, &format!("elected, until it serves, {size}"), |lead| {
            let identity = MasterIdentity { master_id: "m2".to_owned(), node_id: 2, ..Default::default() };
            lead.feed([Input::Elected { registry: lead.registry.clone(), identity, seed: [7; 32] }]);
            assert!(lead.master.serving(), "the log commits at once");
        });
        self.phase(&mut lines, "a framework subscribes", |lead| lead.subscribe(0));
        self.phase(&mut lines, "what is left to do behind the election", Self::rest);
        let returning = self.size.returning;
        let what = format!("{returning} agents come back with {} tasks each", self.size.tasks_each);
        self.phase(&mut lines, &what, |lead| {
            for first in (0..returning).step_by(BATCH) {
                let (size, last) = (lead.size, (first + BATCH).min(returning));
                lead.feed((first..last).map(|agent| register(size, agent)));
            }
        });
        self.phase(&mut lines, "until the first offers", |lead| {
            while lead.offers == 0 {
                lead.tick();
            }
        });
        self.phase(&mut lines, "until all that is free is offered", Self::rest);
        lines
    }

    fn phase(&mut self, lines: &mut Vec<Line>, what: &str, work: impl FnOnce(&mut Self)) {
        self.turns.clear();
        let began = Instant::now();
        work(self);
        let took = began.elapsed().as_secs_f64() * 1e3;
        let longest = self.turns.iter().copied().fold(0.0, f64::max);
        lines.push((format!("{what}: in all"), "ms", "", vec![took]));
        lines.push((format!("{what}: longest of {} turns", self.turns.len()), "ms", "<= 10", vec![longest]));
    }

    /// Inputs of one turn of the shell, and then what comes back from the log, in one batch.
    fn feed(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let mut inputs: VecDeque<Input> = inputs.into_iter().collect();
        while !inputs.is_empty() {
            let mut outcomes = Vec::new();
            for input in inputs.drain(..) {
                let mut effects = Vec::new();
                let began = Instant::now();
                self.master.handle(self.now, input, &mut effects);
                self.turns.push(began.elapsed().as_secs_f64() * 1e3);
                for effect in effects {
                    match effect {
                        Effect::Propose { proposal, envelope } => {
                            outcomes.push((proposal, self.registry.apply(&envelope).0));
                        }
                        Effect::WakeAt { cluster_ms } => self.wake_ms = Some(cluster_ms),
                        Effect::ToFramework { event, .. } => {
                            self.offers += event.offers.map_or(0, |offers| offers.offers.len());
                        }
                        _ => {}
                    }
                }
            }
            if !outcomes.is_empty() {
                inputs.push_back(Input::Applied { registry: self.registry.clone(), outcomes });
            }
        }
    }

    fn tick(&mut self) {
        let at_ms = self.wake_ms.take().unwrap_or_default().max(self.now.cluster_ms + 1);
        self.now.cluster_ms = at_ms.min(self.now.cluster_ms + 1_000);
        self.feed([Input::Tick]);
    }

    /// Ticks until the next thing to do lies more than a second away.
    fn rest(&mut self) {
        while self.wake_ms.is_some_and(|at_ms| at_ms <= self.now.cluster_ms + 500) {
            self.tick();
        }
    }

    fn subscribe(&mut self, number: usize) {
        let id = framework_id(number);
        let record = self.registry.frameworks.get(&id).and_then(|record| record.info.clone());
        let subscribe = scheduler::call::Subscribe { framework_info: record, ..Default::default() };
        let call = scheduler::Call {
            framework_id: Some(id.to_proto()),
            r#type: Some(scheduler::call::Type::Subscribe as i32),
            subscribe: Some(subscribe),
            ..Default::default()
        };
        let (stream_id, connection) = ("stream".to_owned(), 1);
        self.feed([Input::Subscribe { connection, stream_id, call, principal: None, driver_token: None }]);
    }
}

fn register(size: Size, agent: usize) -> Input {
    let tasks = (0..size.tasks_each).map(|place| {
        let (framework, info) = task(size, agent, place);
        let latest_status = Some(status(&info, TaskState::TaskRunning));
        AgentTask {
            framework_id: Some(framework.to_proto()),
            task: Some(info),
            launch_seq: Some(place as u64 + 1),
            state: Some(TaskState::TaskRunning as i32),
            unacknowledged: None,
            latest_status,
        }
    });
    let register = call::Register {
        boot_id: Some(format!("3c1de3b0-7d4f-4a7e-8a4c-{agent:012}")),
        agent_info: Some(v1::AgentInfo { id: None, ..agent_info(agent) }),
        tasks: tasks.collect(),
        version: Some("0.1.0".to_owned()),
        ip: Some("10.1.2.3".to_owned()),
        ..Default::default()
    };
    let call = Call {
        format: Some(1),
        r#type: Some(call::Type::Register as i32),
        agent_id: Some(agent_id(agent).to_proto()),
        accepted_launch_seq: Some(size.tasks_each as u64 + 1),
        register: Some(register),
        ..Default::default()
    };
    Input::AgentRegister { connection: 1_000 + agent as u64, stream_id: format!("agent-{agent}"), call }
}
