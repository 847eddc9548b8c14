//! What the agent knows, copied out of its core at one instant: frameworks, their executors, their tasks. Every endpoint renders
//! from this, so that they agree, and none of them keeps the event loop. Owns which executor a task belongs to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tepui_agent_core::{Agent, TaskKey};
use tepui_proto::v1;

use super::Inner;
use super::error::Refusal;
use crate::layout::Layout;

/// The agent at one instant.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) agent_id: String,
    pub(super) registered: bool,
    /// With the id, if there is one.
    pub(super) info: v1::AgentInfo,
    /// With an executor that is not completed.
    pub(super) frameworks: Vec<Framework>,
    pub(super) completed_frameworks: Vec<Framework>,
}

#[derive(Clone, Debug)]
pub(super) struct Framework {
    pub(super) id: String,
    pub(super) info: v1::FrameworkInfo,
    pub(super) executors: Vec<Executor>,
    pub(super) completed_executors: Vec<Executor>,
}

/// An executor and its container.
#[derive(Clone, Debug)]
pub(super) struct Executor {
    pub(super) info: v1::ExecutorInfo,
    pub(super) container_id: String,
    /// Its sandbox.
    pub(super) directory: PathBuf,
    /// The process that stands by it.
    pub(super) pid: Option<u32>,
    pub(super) phase: Phase,
    pub(super) network_infos: Vec<v1::NetworkInfo>,
    pub(super) tasks: Vec<Task>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not said anything yet.
    Registering,
    Running,
    /// It was told to end.
    Terminating,
    /// Nothing of it runs.
    Terminated,
}

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) stage: Stage,
    pub(super) task: v1::Task,
}

/// Where a task is on its way through the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its executor does not have it yet.
    Queued,
    Launched,
    /// It has ended, and its end is not acknowledged.
    Terminated,
    Completed,
}

impl Executor {
    pub(super) fn id(&self) -> &str {
        self.info.executor_id.as_ref().and_then(|id| id.value.as_deref()).unwrap_or_default()
    }

    /// What it and its tasks hold.
    pub(super) fn resources(&self) -> Vec<v1::Resource> {
        let held = self.tasks.iter().filter(|one| matches!(one.stage, Stage::Queued | Stage::Launched));
        let held = held.flat_map(|one| &one.task.resources);
        self.info.resources.iter().chain(held).cloned().collect()
    }

    /// The most that it and its tasks may use: of a task with limits those count, even if they are infinite.
    pub(super) fn limit(&self, name: &str) -> f64 {
        let held = self.tasks.iter().filter(|one| matches!(one.stage, Stage::Queued | Stage::Launched));
        let own = amount(&self.info.resources, name);
        held.fold(own, |sum, one| {
            let limit = one.task.limits.get(name).and_then(|limit| limit.value);
            sum + limit.unwrap_or_else(|| amount(&one.task.resources, name))
        })
    }

    pub(super) fn is_live(&self) -> bool {
        self.phase != Phase::Terminated
    }
}

/// The sum of a scalar resource.
pub(super) fn amount(resources: &[v1::Resource], name: &str) -> f64 {
    let named = resources.iter().filter(|resource| resource.name() == name);
    named.filter_map(|resource| resource.scalar.as_ref()?.value).sum()
}

/// Asks the core.
///
/// # Errors
/// The agent is going down.
pub(super) async fn look(app: &Arc<Inner>) -> Result<Known, Refusal> {
    let layout = app.facts.layout.clone();
    app.handle.look(move |agent| copy(&layout, agent)).await.ok_or_else(Refusal::unavailable)
}

impl Known {
    /// All executors that are not completed, with their frameworks.
    pub(super) fn executors(&self) -> impl Iterator<Item = (&Framework, &Executor)> {
        self.frameworks
            .iter()
            .flat_map(|framework| framework.executors.iter().map(move |one| (framework, one)))
    }

    /// All executors that are completed.
    pub(super) fn completed_executors(&self) -> impl Iterator<Item = (&Framework, &Executor)> {
        let all = self.frameworks.iter().chain(&self.completed_frameworks);
        all.flat_map(|framework| framework.completed_executors.iter().map(move |one| (framework, one)))
    }

    /// All tasks, completed ones included.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.executors().chain(self.completed_executors()).flat_map(|(_, executor)| &executor.tasks)
    }
}

fn copy(layout: &Layout, agent: &Agent) -> Known {
    let mut executors: BTreeMap<&str, Vec<Executor>> = BTreeMap::new();
    for view in agent.tasks() {
        let stage = match () {
            () if view.queued => Stage::Queued,
            () if view.state.is_terminal() => Stage::Terminated,
            () => Stage::Launched,
        };
        let phase = match () {
            () if view.state.is_terminal() && !view.live => Phase::Terminated,
            () if view.state == v1::TaskState::TaskKilling => Phase::Terminating,
            () if view.pid.is_none() => Phase::Registering,
            () => Phase::Running,
        };
        let task = task(agent, view.key, view.info, view.state, view.latest);
        let mut one = command(layout, agent, view.key, view.info, view.container_id, view.latest);
        one.tasks.push(Task { stage, task });
        one.pid = view.pid.filter(|pid| *pid > 1 && phase != Phase::Terminated);
        one.phase = phase;
        executors.entry(&view.key.framework_id).or_default().push(one);
    }
    let mut completed: BTreeMap<&str, Vec<Executor>> = BTreeMap::new();
    for done in agent.completed_tasks() {
        let latest = done.latest.as_ref();
        let state = latest.map_or(v1::TaskState::TaskLost, v1::TaskStatus::state);
        let task = task(agent, &done.key, &done.info, state, latest);
        let mut one = command(layout, agent, &done.key, &done.info, &done.container_id, latest);
        one.tasks.push(Task { stage: Stage::Completed, task });
        completed.entry(&done.key.framework_id).or_default().push(one);
    }
    let mut framework = |info: &v1::FrameworkInfo| {
        let id = info.id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default();
        Framework {
            executors: executors.remove(id.as_str()).unwrap_or_default(),
            completed_executors: completed.remove(id.as_str()).unwrap_or_default(),
            info: info.clone(),
            id,
        }
    };
    let frameworks = agent.frameworks().map(&mut framework).collect();
    let completed_frameworks = agent.completed_frameworks().map(&mut framework).collect();
    let mut info = agent.config().agent_info.clone();
    let id = Some(agent.agent_id()).filter(|id| !id.is_empty());
    info.id = id.map(|id| v1::AgentId { value: Some(id.to_owned()) });
    Known {
        agent_id: agent.agent_id().to_owned(),
        registered: agent.is_registered(),
        info,
        frameworks,
        completed_frameworks,
    }
}

/// The executor of a command, which has its task's id and no other task.
fn command(
    layout: &Layout,
    agent: &Agent,
    key: &TaskKey,
    info: &v1::TaskInfo,
    container_id: &str,
    latest: Option<&v1::TaskStatus>,
) -> Executor {
    let name = format!("Command Executor (Task: {})", key.task_id);
    let status = latest.and_then(|status| status.container_status.as_ref());
    Executor {
        info: v1::ExecutorInfo {
            executor_id: Some(v1::ExecutorId { value: Some(key.task_id.clone()) }),
            framework_id: Some(v1::FrameworkId { value: Some(key.framework_id.clone()) }),
            name: Some(name),
            source: Some(key.task_id.clone()),
            command: info.command.clone(),
            container: info.container.clone(),
            labels: info.labels.clone(),
            ..Default::default()
        },
        container_id: container_id.to_owned(),
        directory: layout.runs(agent.agent_id(), &key.framework_id, &key.task_id).join(container_id),
        pid: None,
        phase: Phase::Terminated,
        network_infos: status.map(|status| status.network_infos.clone()).unwrap_or_default(),
        tasks: Vec::new(),
    }
}

fn task(
    agent: &Agent,
    key: &TaskKey,
    info: &v1::TaskInfo,
    state: v1::TaskState,
    latest: Option<&v1::TaskStatus>,
) -> v1::Task {
    v1::Task {
        name: Some(info.name().to_owned()),
        task_id: Some(v1::TaskId { value: Some(key.task_id.clone()) }),
        framework_id: Some(v1::FrameworkId { value: Some(key.framework_id.clone()) }),
        agent_id: Some(v1::AgentId { value: Some(agent.agent_id().to_owned()) }),
        executor_id: info.executor.as_ref().and_then(|executor| executor.executor_id.clone()),
        state: Some(state.into()),
        resources: info.resources.clone(),
        statuses: latest.cloned().into_iter().collect(),
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone(),
        user: info.command.as_ref().and_then(|command| command.user.clone()),
        health_check: info.health_check.clone(),
        kill_policy: info.kill_policy,
        limits: info.limits.clone(),
        ..Default::default()
    }
}
