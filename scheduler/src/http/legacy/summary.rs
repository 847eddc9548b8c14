//! `/state-summary`: agents and frameworks with the number of their tasks in each state instead of the tasks, for tools that poll.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tepui_proto::v1::TaskState;
use tepui_scheduler_core::registry::TaskRecord;

use super::framework::{Framework, Head};
use super::state;
use crate::http::App;
use crate::runtime::reads::ReadView;
use crate::view::tasks;
use crate::view::wanted::Wanted;

/// The states that are counted, in their order.
const STATES: [TaskState; 14] = [
    TaskState::TaskStaging,
    TaskState::TaskStarting,
    TaskState::TaskRunning,
    TaskState::TaskKilling,
    TaskState::TaskFinished,
    TaskState::TaskKilled,
    TaskState::TaskFailed,
    TaskState::TaskLost,
    TaskState::TaskError,
    TaskState::TaskUnreachable,
    TaskState::TaskDropped,
    TaskState::TaskGone,
    TaskState::TaskGoneByOperator,
    TaskState::TaskUnknown,
];

#[derive(Serialize)]
pub(super) struct Summary<'a> {
    hostname: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    slaves: Vec<Agent<'a>>,
    frameworks: Vec<ShortFramework<'a>>,
}

#[derive(Serialize)]
struct Agent<'a> {
    #[serde(flatten)]
    agent: state::Agent<'a>,
    #[serde(flatten)]
    counts: BTreeMap<&'static str, usize>,
    framework_ids: BTreeSet<&'a str>,
}

#[derive(Serialize)]
struct ShortFramework<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    counts: BTreeMap<&'static str, usize>,
    slave_ids: BTreeSet<&'a str>,
}

/// What is counted for one agent or one framework.
#[derive(Default)]
struct Tally<'a> {
    counts: BTreeMap<&'static str, usize>,
    others: BTreeSet<&'a str>,
}

impl<'a> Tally<'a> {
    fn add(&mut self, record: &TaskRecord, other: &'a str) {
        *self.counts.entry(record.state().as_str_name()).or_default() += 1;
        self.others.insert(other);
    }

    /// Every state is there, with zero if no task is in it.
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let number = |name| self.counts.get(name).copied().unwrap_or_default();
        STATES.iter().map(|state| state.as_str_name()).map(|name| (name, number(name))).collect()
    }
}

/// The cluster at a glance.
pub(super) fn summary<'a>(app: &'a App, view: &'a ReadView, wanted: &'a Wanted) -> Summary<'a> {
    let registry = &view.registry;
    let mut by_agent: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut by_framework: BTreeMap<&str, Tally> = BTreeMap::new();
    for record in tasks::visible(registry).chain(registry.history.values().flatten()) {
        let Some(task) = &record.task else { continue };
        let agent = task.agent_id.as_ref().and_then(|id| id.value.as_deref()).unwrap_or_default();
        let framework = task.framework_id.as_ref().and_then(|id| id.value.as_deref()).unwrap_or_default();
        by_agent.entry(agent).or_default().add(record, framework);
        by_framework.entry(framework).or_default().add(record, agent);
    }
    let agents = state::agents(view, wanted).map(|agent| {
        let tally = by_agent.remove(agent.id).unwrap_or_default();
        Agent { agent, counts: tally.counts(), framework_ids: tally.others }
    });
    let shared = state::shared(view);
    let frameworks = registry.frameworks.iter().filter(|(id, _)| wanted.framework(id.as_str()));
    let frameworks = frameworks.filter_map(|(_, record)| {
        let head = Framework::head(registry, record, &shared)?;
        let tally = by_framework.remove(head.id).unwrap_or_default();
        Some(ShortFramework { head, counts: tally.counts(), slave_ids: tally.others })
    });
    Summary {
        hostname: &app.info.hostname,
        cluster: app.info.cluster.as_deref(),
        slaves: agents.collect(),
        frameworks: frameworks.collect(),
    }
}
