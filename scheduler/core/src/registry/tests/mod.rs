//! Every operation, alone and in random company.

mod agents;
mod codec;
mod conversions;
mod drivers;
mod executors;
mod fleet;
mod frameworks;
mod leadership;
mod lineage;
mod observe;
mod replicas;
mod settings;
mod state_store;
mod tasks;

use tepui_proto::tepui::agent_link::AgentTask;
use tepui_proto::v1::{self, TaskState};

use super::fleet::*;
use super::operation::*;
use super::settings::*;
use super::{Change, Outcome, Registry};
use crate::ids::TaskKey;
use crate::status::task_view;
use crate::testing::{agent_info, framework_info, resources};

/// A Registry with the words to change it.
struct Story {
    registry: Registry,
    cluster_ms: u64,
    changes: Vec<Change>,
}

impl Story {
    /// The first leadership has begun.
    fn new() -> Self {
        let mut story = Self { registry: Registry::default(), cluster_ms: 0, changes: Vec::new() };
        story.take_lead(1);
        story
    }

    fn take_lead(&mut self, node_id: u64) -> Outcome {
        self.apply(Operation::TakeLead(TakeLead {
            node_id,
            master_id: format!("m{node_id}"),
            cluster_id: "c".to_owned(),
            ..Default::default()
        }))
    }

    fn apply(&mut self, operation: Operation) -> Outcome {
        self.cluster_ms += 10;
        let envelope = Envelope {
            epoch: self.registry.epoch,
            cluster_ms: self.cluster_ms,
            wall_ms: 1_000_000 + self.cluster_ms,
            operation: Some(operation),
            ..Default::default()
        };
        let (outcome, changes) = self.registry.apply(&envelope);
        self.changes = changes;
        self.registry.check_invariants();
        outcome
    }

    fn agent(&mut self, id: &str, text: &str) {
        let mut info = agent_info(id, text);
        info.id = Some(v1::AgentId { value: Some(id.to_owned()) });
        let admit = AdmitAgent { info: Some(info), boot_id: format!("boot-{id}"), ..Default::default() };
        assert_eq!(self.apply(Operation::AdmitAgent(admit)), Outcome::Done);
    }

    fn framework(&mut self, id: &str) {
        let admit = AdmitFramework { info: Some(framework(id)), ..Default::default() };
        assert_eq!(self.apply(Operation::AdmitFramework(admit)), Outcome::Done);
    }

    fn launch(&mut self, framework: &str, agent: &str, tasks: &[(&str, &str)]) -> Outcome {
        let tasks = tasks.iter().map(|(id, text)| item(framework, agent, id, text)).collect();
        let (framework_id, agent_id) = (framework.to_owned(), agent.to_owned());
        self.apply(Operation::Launch(Launch { framework_id, agent_id, tasks }))
    }

    fn status(&mut self, framework: &str, task: &str, state: TaskState, uuid: &'static [u8]) -> Outcome {
        self.observe(Observation::Status(ObservedStatus {
            framework_id: framework.to_owned(),
            status: Some(status(task, state, uuid)),
            latest_state: Some(state as i32),
        }))
    }

    fn observe(&mut self, observation: Observation) -> Outcome {
        let events = vec![Observed { observation: Some(observation) }];
        self.apply(Operation::Observe(Observe { events }))
    }

    fn state(&self, framework: &str, task: &str) -> TaskState {
        self.registry.tasks.get(&TaskKey::new(framework, task)).expect("a task").state()
    }

    fn history(&self, framework: &str) -> Vec<(String, TaskState)> {
        let history = self.registry.history.get(framework).into_iter().flatten();
        history.map(|record| (record.key().task.to_string(), record.state())).collect()
    }

    /// What is charged on an agent, in words.
    fn charged(&self, agent: &str) -> String {
        self.registry.charges.get(agent).map(|charges| charges.total.to_string()).unwrap_or_default()
    }
}

fn framework(id: &str) -> v1::FrameworkInfo {
    v1::FrameworkInfo { id: Some(v1::FrameworkId { value: Some(id.to_owned()) }), ..framework_info(id) }
}

fn info(agent: &str, id: &str, text: &str) -> v1::TaskInfo {
    let mut info = crate::testing::task(id, text);
    info.agent_id = Some(v1::AgentId { value: Some(agent.to_owned()) });
    info.resources = resources(text);
    info
}

fn item(framework: &str, agent: &str, id: &str, text: &str) -> LaunchItem {
    let info = info(agent, id, text);
    let framework_id = v1::FrameworkId { value: Some(framework.to_owned()) };
    LaunchItem { task: Some(task_view(&info, &framework_id)), info: Some(info), ..Default::default() }
}

fn status(task: &str, state: TaskState, uuid: &'static [u8]) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some(task.to_owned()) }),
        state: Some(state as i32),
        source: Some(v1::task_status::Source::Executor as i32),
        uuid: (!uuid.is_empty()).then(|| uuid.into()),
        ..Default::default()
    }
}
