//! What the agent knows, copied out of its core at one instant: frameworks, their executors, their tasks. Every endpoint renders
//! from this, so that they agree, and none of them keeps the event loop. Owns the shapes.

use std::path::PathBuf;
use std::sync::Arc;

use tepui_agent_core::checkpoint::Drain;
use tepui_proto::v1;

use super::Inner;
use super::copy::copy;
use super::error::Refusal;

/// The agent at one instant.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) agent_id: String,
    pub(super) registered: bool,
    /// With the id, if there is one; its resources are those that it registers with.
    pub(super) info: v1::AgentInfo,
    /// Reservations and volumes included.
    pub(super) resources: Vec<v1::Resource>,
    /// If it is being drained.
    pub(super) drain: Option<Drain>,
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

/// Asks the core for the operations on this agent's resources that are not acknowledged.
///
/// # Errors
/// The agent is going down.
pub(super) async fn operations(app: &Arc<Inner>) -> Result<Vec<v1::Operation>, Refusal> {
    let look = app.handle.look(|agent| agent.operations().cloned().collect::<Vec<_>>());
    let shared = look.await.ok_or_else(Refusal::unavailable)?;
    Ok(shared.iter().map(|operation| v1::Operation::clone(operation)).collect())
}

impl Known {
    /// When the drain began, in whole seconds since 1970, as Mesos counts here.
    pub(super) fn drain_start_seconds(&self) -> Option<i64> {
        let start_ms = self.drain.as_ref()?.start_wall_ms;
        i64::try_from(start_ms / 1_000).ok()
    }

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
