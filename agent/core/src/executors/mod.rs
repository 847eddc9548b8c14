//! Custom executors: programs of frameworks that run tasks on an agent and speak the executor API.
//!
//! ```text
//! Accepting ──durable──► Launching ──started──► Registering ──SUBSCRIBE──► Running ──exit──► gone
//!     │                                             │ timeout                │ SHUTDOWN, grace
//!     └─ all its tasks killed ─► gone               └────── destroyed ───────┴──────► gone
//!                            (agent restart) Recovering ──SUBSCRIBE──► Running │ timeout: destroyed
//! ```
//! Owns the life of an executor and what it and the agent tell each other. Its tasks live in the table of all tasks; they
//! end at the latest with it.

mod calls;
mod check;
mod ends;
mod launch;
mod recovery;
mod subscribe;
mod volumes;

use tepui_proto::v1;

pub use check::check_call;
pub(crate) use launch::NewTask;

use crate::{Config, ExecutorKey};

pub(crate) struct Executor {
    pub(crate) key: ExecutorKey,
    /// Whole, with its data.
    pub(crate) info: v1::ExecutorInfo,
    pub(crate) container_id: String,
    pub(crate) phase: Phase,
    pub(crate) pid: Option<u32>,
    /// The stream that events go to.
    pub(crate) connection: Option<u64>,
    /// A task was handed to it.
    pub(crate) ever_sent: bool,
    /// It is being ended, for this reason.
    pub(crate) ending: Option<Cause>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The launch that brought it is not durable yet.
    Accepting,
    /// Its process is being started.
    Launching,
    /// Its process runs, and has not subscribed yet.
    Registering,
    /// It has subscribed; it may be between two streams.
    Running,
    /// It ran when the agent stopped; it is to subscribe again.
    Recovering,
}

/// Why an executor is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Asked,
    FrameworkRemoved,
    AgentShutdown,
    /// All tasks that it was started for were killed before it got one.
    NothingToDo,
    RegistrationTimeout,
    ReregistrationTimeout,
}

impl Executor {
    /// Returns the grace between SHUTDOWN and force.
    pub(crate) fn grace_ms(&self, config: &Config) -> u64 {
        let own = self.info.shutdown_grace_period.as_ref().and_then(|period| period.nanoseconds);
        own.map_or(config.executor_shutdown_grace_ms, |ns| u64::try_from(ns).unwrap_or(0) / 1_000_000)
    }
}

/// Where an executor that calls stands; each but `Subscribed` is refused with a status of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    UnknownFramework,
    UnknownExecutor,
    /// The agent has restarted and waits for it to subscribe again.
    Recovering,
    NotSubscribed,
    Subscribed,
}

impl crate::Agent {
    /// Returns where an executor stands.
    pub fn executor_standing(&self, key: &ExecutorKey) -> Standing {
        if !self.frameworks.contains_key(&key.framework_id) {
            return Standing::UnknownFramework;
        }
        match self.executors.get(key) {
            None => Standing::UnknownExecutor,
            Some(executor) if executor.phase == Phase::Accepting => Standing::UnknownExecutor,
            Some(executor) if executor.phase == Phase::Recovering => Standing::Recovering,
            Some(executor) if executor.connection.is_none() => Standing::NotSubscribed,
            Some(_) => Standing::Subscribed,
        }
    }

    /// Returns the container of an executor: what its token has to name.
    pub fn executor_container(&self, key: &ExecutorKey) -> Option<&str> {
        self.executors.get(key).map(|executor| executor.container_id.as_str())
    }

    /// Returns whether executors of an earlier run have not subscribed again and still may.
    pub fn awaits_executors(&self) -> bool {
        let waits = |executor: &Executor| executor.phase == Phase::Recovering && executor.ending.is_none();
        self.executors.values().any(waits)
    }
}
