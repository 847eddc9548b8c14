//! One task on the agent.
//!
//! ```text
//! Accepting ──durable──► Launching ──Launched──► Running ──Exited──► Done
//!     └──────── refused, killed ────────┴── LaunchFailed, Exited ──────┘        Recovering ──Recovered──► Running | Done
//! ```
//! A task of an executor: Accepting ──durable──► Queued ──LAUNCH──► Running ──terminal update, or end of the executor──► Done
//! Done is final. Owns the phases; the steps between them are taken elsewhere.

use std::collections::VecDeque;

use bytes::Bytes;
use tepui_proto::v1;

use crate::outbox::Outbox;
use crate::{Config, ExecutorKey, TaskKey};

/// Uuids of an executor's updates that are remembered, so that one that comes again is known.
pub(crate) const SEEN_MAX: usize = 100;

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
    /// Who runs it; `None` for a command.
    pub(crate) executor: Option<ExecutorKey>,
    /// The first launch sequence of the group that it was launched with.
    pub(crate) group: Option<u64>,
    /// Its executor is to kill it, with this policy.
    pub(crate) kill_wish: Option<Option<v1::KillPolicy>>,
    /// Uuids of its executor's updates, newest last.
    pub(crate) seen: VecDeque<Bytes>,
    pub(crate) volumes: Shown,
    /// Of a command that has ended in this run of the agent: its raw wait status.
    pub(crate) wait_status: Option<i32>,
}

/// Whether the volumes of a task appear in the sandbox of its executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    No,
    Asked,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The launch is not durable yet.
    Accepting,
    /// It waits for its executor.
    Queued,
    /// The command is being started.
    Launching,
    /// The command runs, or the executor has the task.
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
    pub(crate) fn new(key: TaskKey, info: v1::TaskInfo, container_id: String) -> Self {
        Self {
            key,
            launch_seq: 0,
            record: 0,
            info,
            container_id,
            phase: Phase::Accepting,
            pid: None,
            kill: None,
            outbox: Outbox::default(),
            abandoned: false,
            executor: None,
            group: None,
            kill_wish: None,
            seen: VecDeque::new(),
            volumes: Shown::No,
            wait_status: None,
        }
    }

    /// Returns whether its executor has sent an update with this uuid before.
    pub(crate) fn has_seen(&self, uuid: &[u8]) -> bool {
        self.seen.iter().any(|seen| seen == uuid) || self.outbox.has(uuid)
    }

    pub(crate) fn see(&mut self, uuid: Bytes) {
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(uuid);
    }

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
