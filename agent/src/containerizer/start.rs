//! What is to be started, whether a command of a task or an executor. Owns what both have in common.

use std::fmt;

use tepui_agent_core::{ExecutorKey, Exit, Input, Launch, LaunchExecutor, TaskKey};
use tepui_proto::v1;

/// Whose container it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Task(TaskKey),
    Executor(ExecutorKey),
}

impl Owner {
    pub(super) fn launched(self, pid: u32) -> Input {
        match self {
            Self::Task(task) => Input::Launched { task, pid },
            Self::Executor(executor) => Input::ExecutorLaunched { executor, pid },
        }
    }

    pub(super) fn launch_failed(self, message: String) -> Input {
        match self {
            Self::Task(task) => Input::LaunchFailed { task, message },
            Self::Executor(executor) => Input::ExecutorLaunchFailed { executor, message },
        }
    }

    pub(super) fn exited(self, exit: Exit) -> Input {
        match self {
            Self::Task(task) => Input::Exited { task, exit },
            Self::Executor(executor) => Input::ExecutorExited { executor, exit },
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(task) => write!(formatter, "task {task}"),
            Self::Executor(executor) => write!(formatter, "executor {executor}"),
        }
    }
}

/// One start.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) owner: Owner,
    pub(crate) container_id: String,
    pub(crate) agent_id: String,
    pub(crate) framework: v1::FrameworkInfo,
    pub(crate) framework_id: String,
    pub(crate) executor_id: String,
    pub(crate) command: v1::CommandInfo,
    /// Of the task, or of the executor; with their allocation.
    pub(crate) resources: Vec<v1::Resource>,
    pub(crate) grace_ms: u64,
    /// A command, or the executor that Mesos calls the default one.
    pub(crate) is_built_in: bool,
}

impl Start {
    /// What a framework without checkpointing runs does not outlive the agent.
    pub(super) fn ends_with_agent(&self) -> bool {
        !self.framework.checkpoint()
    }
}

impl From<Launch> for Start {
    fn from(launch: Launch) -> Self {
        Self {
            framework_id: launch.task.framework_id.clone(),
            owner: Owner::Task(launch.task),
            container_id: launch.container_id,
            agent_id: launch.agent_id,
            framework: launch.framework,
            executor_id: launch.executor_id,
            command: launch.info.command.unwrap_or_default(),
            resources: launch.info.resources,
            grace_ms: launch.grace_ms,
            is_built_in: true,
        }
    }
}

impl From<LaunchExecutor> for Start {
    fn from(launch: LaunchExecutor) -> Self {
        Self {
            framework_id: launch.executor.framework_id.clone(),
            executor_id: launch.executor.executor_id.clone(),
            owner: Owner::Executor(launch.executor),
            container_id: launch.container_id,
            agent_id: launch.agent_id,
            framework: launch.framework,
            is_built_in: launch.info.r#type() == v1::executor_info::Type::Default,
            command: launch.info.command.unwrap_or_default(),
            resources: launch.info.resources,
            grace_ms: launch.grace_ms,
        }
    }
}
