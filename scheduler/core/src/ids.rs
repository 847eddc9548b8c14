//! Identifiers as the core uses them: those of the wire, and the pair that names a task in the cluster.

use std::fmt;

pub use tepui_proto::ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId};

/// A task in the cluster: task ids are unique only within their framework.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    pub framework: FrameworkId,
    pub task: TaskId,
}

impl TaskKey {
    pub fn new(framework: impl Into<FrameworkId>, task: impl Into<TaskId>) -> Self {
        Self { framework: framework.into(), task: task.into() }
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.framework, self.task)
    }
}

impl fmt::Debug for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An executor in the cluster: executor ids are unique only within their framework and agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutorKey {
    pub agent: AgentId,
    pub framework: FrameworkId,
    pub executor: ExecutorId,
}

/// Returns the id of a wire message; an empty one if the message is absent.
pub fn of<'a, Wire, Id>(wire: Option<&'a Wire>) -> Id
where
    Id: From<&'a Wire> + From<&'static str>,
{
    wire.map_or_else(|| Id::from(""), Id::from)
}

/// The fixed framework that every supervised driver's task belongs to.
pub const DRIVERS_FRAMEWORK: &str = "tepui-drivers";

/// Frameworks that supervised drivers subscribe with are named this, then the driver's name.
pub const DRIVER_FRAMEWORK_PREFIX: &str = "tepui-driver-";
