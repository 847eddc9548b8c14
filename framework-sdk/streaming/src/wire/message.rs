//! What drivers and executors say to each other.

use serde::{Deserialize, Serialize};

use crate::batch::{SlotDone, SlotFailure, SlotTask};

/// From an executor to its driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FromExecutor {
    Hello {
        job: String,
        topology_hash: String,
        /// Its task id.
        executor: String,
        /// Slots that it runs at once.
        capacity: u32,
        /// Highest generation that it has worked for.
        highest_generation: u64,
        nonce: String,
    },
    Proof {
        mac: String,
    },
    Pong,
    Done {
        done: SlotDone,
    },
    Failed {
        attempt: String,
        failure: SlotFailure,
    },
}

/// From a driver to an executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToExecutor {
    Welcome {
        generation: u64,
        nonce: String,
        mac: String,
    },
    Ping,
    Run {
        task: SlotTask,
    },
    /// The connection ends; `exit` says that the executor is not needed any more.
    Stop {
        reason: String,
        exit: bool,
    },
}
