//! One task on the agent.
//!
//! ```text
//! Accepting ──durable──► Launching ──Launched──► Running ──Exited──► Done
//!     └──────── refused, killed ────────┴── LaunchFailed, Exited ──────┘        Recovering ──Recovered──► Running | Done
//! ```
//! Done is final. Owns the phases; the steps between them are taken elsewhere.

use tepui_proto::v1;

use crate::outbox::Outbox;
use crate::{Config, TaskKey};

pub(crate) struct Task {
    pub(crate) key: TaskKey,
    pub(crate) launch_seq: u64,
    /// Number of the record that holds the launch; 0 if it was recovered.
    pub(crate) record: u64,
    pub(crate) info: v1::TaskInfo,
    pub(crate) container_id: String,
    pub(crate) phase: Phase,
    pub(crate) pid: Option<u32>,
    pub(crate) kill: Option<Kill>,
    pub(crate) outbox: Outbox,
    /// Its framework is gone: nobody will acknowledge anything.
    pub(crate) abandoned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The launch is not durable yet.
    Accepting,
    /// The command is being started.
    Launching,
    Running,
    /// In the checkpoint of a former run; its processes are still being looked for.
    Recovering,
    /// A terminal state was reported, or nothing is left to report.
    Done,
}

/// A kill that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    /// When it is forced (monotonic).
    pub(crate) force_at_ms: u64,
    pub(crate) why: KillReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillReason {
    Asked,
    FrameworkRemoved,
    MaxCompletionTime,
    AgentShutdown,
}

impl Task {
    /// Returns whether processes of it may exist.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Launching | Phase::Running | Phase::Recovering)
    }

    /// Returns the grace of a kill that names none.
    pub(crate) fn grace_ms(&self, config: &Config) -> u64 {
        grace_ms(self.info.kill_policy.as_ref()).unwrap_or(config.default_grace_ms)
    }
}

/// Returns the grace that a policy names; a negative one counts as none at all.
pub(crate) fn grace_ms(policy: Option<&v1::KillPolicy>) -> Option<u64> {
    let nanoseconds = policy?.grace_period.as_ref()?.nanoseconds?;
    Some(u64::try_from(nanoseconds).unwrap_or(0) / 1_000_000)
}
