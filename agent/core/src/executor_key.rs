//! How a custom executor is named on an agent. Owns nothing else.

use std::fmt;

use tepui_proto::v1;

/// An executor by its framework and its id; frameworks choose executor ids, so an id alone is ambiguous.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutorKey {
    pub framework_id: String,
    pub executor_id: String,
}

impl ExecutorKey {
    pub fn new(framework_id: impl Into<String>, executor_id: impl Into<String>) -> Self {
        Self { framework_id: framework_id.into(), executor_id: executor_id.into() }
    }

    /// Returns the key that two wire ids form, or `None` if either is absent or empty.
    pub fn from_ids(
        framework_id: Option<&v1::FrameworkId>,
        executor_id: Option<&v1::ExecutorId>,
    ) -> Option<Self> {
        let framework_id = framework_id.and_then(|id| id.value.as_deref()).filter(|id| !id.is_empty())?;
        let executor_id = executor_id.and_then(|id| id.value.as_deref()).filter(|id| !id.is_empty())?;
        Some(Self::new(framework_id, executor_id))
    }

    /// Returns the executor that a task wants, or `None` for a command.
    pub(crate) fn of_task(framework_id: &str, info: &v1::TaskInfo) -> Option<Self> {
        let executor_id = info.executor.as_ref()?.executor_id.as_ref()?.value.as_deref()?;
        Some(Self::new(framework_id, executor_id))
    }

    pub(crate) fn wire_framework_id(&self) -> v1::FrameworkId {
        v1::FrameworkId { value: Some(self.framework_id.clone()) }
    }

    pub(crate) fn wire_executor_id(&self) -> v1::ExecutorId {
        v1::ExecutorId { value: Some(self.executor_id.clone()) }
    }
}

impl fmt::Display for ExecutorKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.framework_id, self.executor_id)
    }
}
