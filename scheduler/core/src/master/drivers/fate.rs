//! What is known of the task of a driver's current generation.

use tepui_proto::v1::{TaskState, TaskStatus};

use crate::ids::{DRIVERS_FRAMEWORK, FrameworkId, TaskKey};
use crate::registry::{DriverRecord, Registry, TaskRecord};

/// The task of the current generation, as the Registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// On its way to its agent, or starting there.
    Staging,
    Running,
    /// Its agent cannot be reached.
    Unreachable,
    Ended {
        state: TaskState,
        message: String,
    },
    /// Nothing is known of it.
    Unknown,
}

pub(super) fn of(registry: &Registry, driver: &DriverRecord) -> Fate {
    let Some(key) = driver.task_key() else { return Fate::Unknown };
    if let Some(record) = registry.tasks.get(&key) {
        if record.unreachable_wall_ms.is_some() {
            return Fate::Unreachable;
        }
        return match record.state() {
            state if state.is_terminal() => ended(record, state),
            TaskState::TaskStaging | TaskState::TaskStarting => Fate::Staging,
            TaskState::TaskUnreachable => Fate::Unreachable,
            _ => Fate::Running,
        };
    }
    match past(registry, &key) {
        Some(record) => ended(record, record.state()),
        None => Fate::Unknown,
    }
}

/// Whether it may still be decided that the task is lost: its agent is here and would have named it, or is known no more.
pub(super) fn is_settled(registry: &Registry, driver: &DriverRecord) -> bool {
    registry.agents.get(driver.agent_id.as_str()).is_none_or(|agent| registry.agent_connected(agent))
}

/// Returns what a status says, for people.
pub(super) fn message_of(status: &TaskStatus) -> String {
    match status.message.as_deref() {
        Some(message) if !message.is_empty() => message.to_owned(),
        _ => status.state().as_str_name().to_owned(),
    }
}

fn ended(record: &TaskRecord, state: TaskState) -> Fate {
    let message = record.last_status.as_ref().map_or_else(|| state.as_str_name().to_owned(), message_of);
    Fate::Ended { state, message }
}

/// Looks for an ended task; the newest first, since it is asked for soon after its end.
fn past<'a>(registry: &'a Registry, key: &TaskKey) -> Option<&'a TaskRecord> {
    let history = registry.history.get(&FrameworkId::from(DRIVERS_FRAMEWORK))?;
    history.iter().rev().find(|record| record.key() == *key).map(|record| &**record)
}
