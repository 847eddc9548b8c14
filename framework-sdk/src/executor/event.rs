//! What an executor hears from its driver.

use std::time::Duration;

use bytes::Bytes;

use crate::v1;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The agent knows this executor.
    Subscribed {
        /// Who this executor is, its framework and its agent.
        info: Box<v1::executor::event::Subscribed>,
        /// False for the first subscription.
        again: bool,
    },
    /// The agent went away; the driver looks for it, and updates wait. Tasks go on.
    Disconnected {
        /// What happened, for people.
        reason: String,
    },
    /// A task to run.
    Launch(Box<v1::TaskInfo>),
    /// Tasks to run together: all of them or none.
    LaunchGroup(Vec<v1::TaskInfo>),
    /// A task to end.
    Kill {
        /// Which.
        task_id: v1::TaskId,
        /// How long it may take, if the framework said so.
        grace: Option<Duration>,
    },
    /// Bytes from the scheduler.
    Message(Bytes),
    /// All tasks are to end, then the executor: within the grace period, or by force. Also when the agent does not come back.
    Shutdown,
    /// The agent refused an update for good; it is not sent again.
    Refused {
        /// Of which task.
        task_id: Option<v1::TaskId>,
        /// HTTP status.
        status: u16,
        /// The agent's words.
        reason: String,
    },
}
