//! How a task is named on an agent. Owns nothing else.

use std::fmt;

use tepui_proto::v1;

/// A task by its framework and its id; frameworks choose task ids, so an id alone is ambiguous.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    pub framework_id: String,
    pub task_id: String,
}

impl TaskKey {
    pub fn new(framework_id: impl Into<String>, task_id: impl Into<String>) -> Self {
        Self { framework_id: framework_id.into(), task_id: task_id.into() }
    }

    /// Returns the key that two wire ids form, or `None` if either is absent or empty.
    pub fn from_ids(framework_id: Option<&v1::FrameworkId>, task_id: Option<&v1::TaskId>) -> Option<Self> {
        let framework_id = framework_id.and_then(|id| id.value.as_deref()).filter(|id| !id.is_empty())?;
        let task_id = task_id.and_then(|id| id.value.as_deref()).filter(|id| !id.is_empty())?;
        Some(Self::new(framework_id, task_id))
    }

    pub(crate) fn wire_framework_id(&self) -> v1::FrameworkId {
        v1::FrameworkId { value: Some(self.framework_id.clone()) }
    }

    pub(crate) fn wire_task_id(&self) -> v1::TaskId {
        v1::TaskId { value: Some(self.task_id.clone()) }
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.framework_id, self.task_id)
    }
}
