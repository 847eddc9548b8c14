//! What others may see of an agent. Owns no state; changes nothing.

use std::sync::Arc;

use tepui_proto::v1;

use crate::agent::Agent;
use crate::checkpoint::Drain;
use crate::executors;
use crate::link::LinkState;
use crate::task::Phase;
use crate::{Config, ExecutorKey, TaskKey};

/// A task that the agent knows.
#[derive(Clone, Debug)]
pub struct TaskView<'a> {
    pub key: &'a TaskKey,
    pub launch_seq: u64,
    /// Without the executor's data.
    pub info: &'a v1::TaskInfo,
    /// Who runs it; `None` for a command, whose executor id is its task id.
    pub executor: Option<&'a ExecutorKey>,
    /// That of the executor, if there is one.
    pub container_id: &'a str,
    pub pid: Option<u32>,
    /// The newest; STAGING before the first update.
    pub state: v1::TaskState,
    /// The newest update, acknowledged or not.
    pub latest: Option<&'a v1::TaskStatus>,
    /// Raw wait status of a command that has ended, unless only the record of its exit knows it.
    pub wait_status: Option<i32>,
    /// Its processes may exist.
    pub live: bool,
    /// No command was started yet, or the executor has not got it yet.
    pub queued: bool,
}

/// A custom executor that the agent knows. Its tasks are those that name it.
#[derive(Clone, Debug)]
pub struct ExecutorView<'a> {
    pub key: &'a ExecutorKey,
    pub info: &'a v1::ExecutorInfo,
    pub container_id: &'a str,
    pub pid: Option<u32>,
    /// It has subscribed and has a stream.
    pub connected: bool,
    /// It has not subscribed to this run of the agent yet.
    pub registering: bool,
    /// It is being ended.
    pub ending: bool,
}

/// A custom executor that has ended.
#[derive(Clone, Debug)]
pub struct CompletedExecutor {
    pub key: ExecutorKey,
    /// Without its data.
    pub info: v1::ExecutorInfo,
    pub container_id: String,
    /// Raw wait status; `None` if it never ran or nobody saw its end.
    pub status: Option<i32>,
}

/// A task that was forgotten.
#[derive(Clone, Debug)]
pub struct CompletedTask {
    pub key: TaskKey,
    pub info: v1::TaskInfo,
    /// Who ran it; `None` for a command.
    pub executor: Option<ExecutorKey>,
    pub container_id: String,
    pub latest: Option<v1::TaskStatus>,
    /// Raw wait status of a command; `None` if it never ran or nobody saw its end.
    pub wait_status: Option<i32>,
}

impl Agent {
    /// Returns the id that the cluster gave; empty before the first registration.
    pub fn agent_id(&self) -> &str {
        &self.agent_id
    }

    /// Returns the cluster's id; empty before the first registration.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the highest epoch seen.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the highest launch sequence that is accepted and durable.
    pub fn accepted_launch_seq(&self) -> u64 {
        self.accepted_launch_seq
    }

    /// Returns all dynamic reservations and volumes of this agent, as the cluster decided.
    pub fn made_resources(&self) -> &[v1::Resource] {
        &self.resources.made
    }

    /// Returns the number of that decision; 0 before the first.
    pub fn resources_version(&self) -> u64 {
        self.resources.version
    }

    /// Returns volumes that are here although the cluster does not know them.
    pub fn orphaned_volumes(&self) -> &[v1::Resource] {
        &self.resources.orphaned
    }

    /// Returns how this agent is being drained, as far as it knows: also after a restart, and while no master leads.
    pub fn drain(&self) -> Option<&Drain> {
        Some(&self.drain).filter(|drain| drain.config.is_some())
    }

    /// Returns the operations on this agent's resources whose frameworks have not said that they know what became of them, by
    /// framework and id; none after a restart until a master says which.
    pub fn operations(&self) -> impl Iterator<Item = &Arc<v1::Operation>> {
        self.operations.iter()
    }

    pub fn is_registered(&self) -> bool {
        self.link.state == LinkState::Up
    }

    pub fn frameworks(&self) -> impl Iterator<Item = &v1::FrameworkInfo> {
        self.frameworks.values()
    }

    /// Returns frameworks that had tasks here and have none now, oldest first.
    pub fn completed_frameworks(&self) -> impl Iterator<Item = &v1::FrameworkInfo> {
        let gone = |info: &&v1::FrameworkInfo| {
            info.id
                .as_ref()
                .and_then(|id| id.value.as_ref())
                .is_none_or(|id| !self.frameworks.contains_key(id))
        };
        self.history.frameworks().filter(gone)
    }

    pub fn tasks(&self) -> impl Iterator<Item = TaskView<'_>> {
        self.tasks.values().map(|task| TaskView {
            key: &task.key,
            launch_seq: task.launch_seq,
            info: &task.info,
            executor: task.executor.as_ref(),
            container_id: &task.container_id,
            pid: task.pid,
            state: task.outbox.latest_state(),
            latest: task.outbox.latest(),
            wait_status: task.wait_status,
            live: task.is_live(),
            queued: matches!(task.phase, Phase::Accepting | Phase::Queued),
        })
    }

    /// Returns the custom executors; commands have none.
    pub fn executors(&self) -> impl Iterator<Item = ExecutorView<'_>> {
        self.executors.values().map(|executor| ExecutorView {
            key: &executor.key,
            info: &executor.info,
            container_id: &executor.container_id,
            pid: executor.pid,
            connected: executor.connection.is_some(),
            registering: executor.phase != executors::Phase::Running,
            ending: executor.ending.is_some(),
        })
    }

    /// Returns executors that have ended, oldest first.
    pub fn completed_executors(&self) -> impl Iterator<Item = &CompletedExecutor> {
        self.history.executors()
    }

    /// Returns whether the processes of the checkpoint are known, so that executors may be answered.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Returns forgotten tasks, oldest first.
    pub fn completed_tasks(&self) -> impl Iterator<Item = &CompletedTask> {
        self.history.tasks()
    }
}
