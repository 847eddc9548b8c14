//! A cluster of any size as a log makes it: agents, frameworks, tasks that run. Each envelope goes through its bytes, and after each
//! one the Registry is shown to readers, as a master does it.

use std::time::Instant;

use tepui_proto::v1::{self, TaskState};
use tepui_scheduler_core::ids::{AgentId, FrameworkId};
use tepui_scheduler_core::registry::{
    AdmitAgent, AdmitFramework, Envelope, Launch, LaunchItem, Observation, Observe, Observed, ObservedAccept,
    ObservedAcknowledgement, ObservedStatus, Operation, Registry, TakeLead, decode_envelope, encode_envelope,
};
use tepui_scheduler_core::status::task_view;
use tepui_scheduler_core::testing;

/// Observations in one batch.
const BATCH: usize = 1_000;

/// How large.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) agents: usize,
    pub(super) tasks_each: usize,
    pub(super) frameworks: usize,
    /// Agents that come back after a change of leader.
    pub(super) returning: usize,
}

impl Size {
    pub(super) fn full() -> Size {
        Size { agents: 50_000, tasks_each: 10, frameworks: 300, returning: 10_000 }
    }

    pub(super) fn short() -> Size {
        Size { agents: 500, tasks_each: 10, frameworks: 30, returning: 100 }
    }

    pub(super) fn name(self) -> String {
        let tasks = self.agents * self.tasks_each;
        format!("{} agents, {tasks} tasks, {} frameworks", self.agents, self.frameworks)
    }
}

/// Times by what was applied, microseconds.
pub(super) type Times = Vec<(&'static str, Vec<f64>)>;

pub(super) struct Cluster {
    size: Size,
    registry: Registry,
    /// What readers see: as long as it lives, whatever is changed is copied.
    shown: Registry,
    now_ms: u64,
}

pub(super) fn agent_id(number: usize) -> AgentId {
    AgentId::from(format!("5f0b6e1c-33a1-4f5f-9f2e-0c4b7a1d2e3f-S{number}"))
}

pub(super) fn framework_id(number: usize) -> FrameworkId {
    FrameworkId::from(format!("5f0b6e1c-33a1-4f5f-9f2e-0c4b7a1d2e3f-{number:04}"))
}

pub(super) fn agent_info(number: usize) -> v1::AgentInfo {
    let mut info = testing::agent_info(
        &format!("host-{number:05}.rack-{:03}.example.com", number / 40),
        "cpus:24;mem:65536;disk:1000000;ports:[31000-32000]",
    );
    info.id = Some(agent_id(number).to_proto());
    info
}

/// The task in this place of an agent, and whose it is.
pub(super) fn task(size: Size, agent: usize, place: usize) -> (FrameworkId, v1::TaskInfo) {
    let framework = (agent * 7 + place * 13) % size.frameworks;
    let mut info = testing::task(&format!("service-{framework}.instance-{agent}-{place}"), "cpus:1;mem:2048");
    info.agent_id = Some(agent_id(agent).to_proto());
    for resource in &mut info.resources {
        let role = Some(format!("role-{}", framework % 20));
        resource.allocation_info = Some(v1::resource::AllocationInfo { role });
    }
    (framework_id(framework), info)
}

pub(super) fn status(info: &v1::TaskInfo, state: TaskState) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: info.task_id.clone(),
        state: Some(state as i32),
        agent_id: info.agent_id.clone(),
        source: Some(v1::task_status::Source::Executor as i32),
        uuid: Some(testing::uuid(state as u8)),
        timestamp: Some(1_700_000_000.5),
        ..Default::default()
    }
}

impl Cluster {
    pub(super) fn new(size: Size) -> Cluster {
        Cluster { size, registry: Registry::default(), shown: Registry::default(), now_ms: 0 }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn into_registry(self) -> Registry {
        self.registry
    }

    /// Commits one operation; returns microseconds.
    fn commit(&mut self, operation: Operation) -> f64 {
        self.now_ms += 1;
        let envelope = Envelope {
            epoch: self.registry.epoch,
            cluster_ms: self.now_ms,
            wall_ms: 1_700_000_000_000 + self.now_ms,
            proposal: self.now_ms,
            node_id: 1,
            operation: Some(operation),
        };
        let bytes = encode_envelope(&envelope);
        let began = Instant::now();
        if let Ok(envelope) = decode_envelope(bytes) {
            std::hint::black_box(self.registry.apply(&envelope));
        }
        self.shown = self.registry.clone();
        began.elapsed().as_secs_f64() * 1e6
    }

    fn launch(&mut self, agent: usize, place: usize) -> f64 {
        let (framework, info) = task(self.size, agent, place);
        let item = LaunchItem {
            task: Some(task_view(&info, &framework.to_proto())),
            info: Some(info),
            ..Default::default()
        };
        self.commit(Operation::Launch(Launch {
            framework_id: framework.as_str().to_owned(),
            agent_id: agent_id(agent).as_str().to_owned(),
            tasks: vec![item],
        }))
    }

    fn observe(&mut self, events: &mut Vec<Observed>) -> Option<f64> {
        let count = events.len();
        (count > 0).then(|| {
            self.commit(Operation::Observe(Observe { events: std::mem::take(events) })) / count as f64
        })
    }

    /// Makes everything; returns what each kind of operation cost.
    pub(super) fn build(&mut self) -> Times {
        let size = self.size;
        self.commit(Operation::TakeLead(TakeLead { node_id: 1, ..Default::default() }));
        let agents = (0..size.agents).map(|number| {
            let info = Some(agent_info(number));
            let boot_id = format!("3c1de3b0-7d4f-4a7e-8a4c-{number:012}");
            self.commit(Operation::AdmitAgent(AdmitAgent {
                info,
                version: "0.1.0".to_owned(),
                boot_id,
                ip: "10.1.2.3".to_owned(),
            }))
        });
        let agents: Vec<f64> = agents.collect();
        let frameworks = (0..size.frameworks).map(|number| {
            let mut info = testing::framework_info(&format!("framework-{number}"));
            info.id = Some(framework_id(number).to_proto());
            info.role = Some(format!("role-{}", number % 20));
            self.commit(Operation::AdmitFramework(AdmitFramework { info: Some(info), ..Default::default() }))
        });
        let frameworks: Vec<f64> = frameworks.collect();
        let mut launches = Vec::new();
        for place in 0..size.tasks_each {
            launches.extend((0..size.agents).map(|agent| self.launch(agent, place)));
        }
        assert_eq!(self.registry.tasks.len(), size.agents * size.tasks_each, "every task fits");
        let (mut events, mut statuses) = (Vec::new(), Vec::new());
        for state in [TaskState::TaskStarting, TaskState::TaskRunning] {
            for agent in 0..size.agents {
                for place in 0..size.tasks_each {
                    let (framework, info) = task(size, agent, place);
                    events.push(observed(&framework, &info, state));
                    if events.len() == BATCH {
                        statuses.extend(self.observe(&mut events));
                    }
                }
            }
        }
        statuses.extend(self.observe(&mut events));
        for agent in 0..size.agents {
            events.push(Observed {
                observation: Some(Observation::Accepted(ObservedAccept {
                    agent_id: agent_id(agent).as_str().to_owned(),
                    launch_seq: size.tasks_each as u64,
                })),
            });
        }
        self.observe(&mut events);
        vec![
            ("AdmitAgent", agents),
            ("AdmitFramework", frameworks),
            ("Launch (one task)", launches),
            ("Observe, per status", statuses),
        ]
    }

    /// Tasks end and others take their places.
    pub(super) fn churn(&mut self) -> Times {
        let size = self.size;
        let (mut ends, mut launches) = (Vec::new(), Vec::new());
        let agents: Vec<usize> = (0..size.returning).map(|number| number * 37 % size.agents).collect();
        let mut events = Vec::new();
        for agent in agents.iter().copied() {
            let (framework, info) = task(size, agent, 0);
            events.push(observed(&framework, &info, TaskState::TaskFinished));
            events.push(Observed {
                observation: Some(Observation::Acknowledged(ObservedAcknowledgement {
                    framework_id: framework.as_str().to_owned(),
                    task_id: info.task_id.clone().unwrap_or_default().value().to_owned(),
                    uuid: testing::uuid(TaskState::TaskFinished as u8),
                })),
            });
            if events.len() >= BATCH {
                ends.extend(self.observe(&mut events));
            }
        }
        ends.extend(self.observe(&mut events));
        for agent in agents {
            launches.push(self.launch(agent, 0));
        }
        let mut running = Vec::new();
        for agent in (0..size.returning).map(|number| number * 37 % size.agents) {
            let (framework, info) = task(size, agent, 0);
            events.push(observed(&framework, &info, TaskState::TaskRunning));
            if events.len() >= BATCH {
                running.extend(self.observe(&mut events));
            }
        }
        running.extend(self.observe(&mut events));
        vec![
            ("Observe, per end or acknowledgement", ends),
            ("Launch (one task)", launches),
            ("Observe, per status", running),
        ]
    }
}

fn observed(framework: &FrameworkId, info: &v1::TaskInfo, state: TaskState) -> Observed {
    Observed {
        observation: Some(Observation::Status(ObservedStatus {
            framework_id: framework.as_str().to_owned(),
            status: Some(status(info, state)),
            latest_state: Some(state as i32),
        })),
    }
}
