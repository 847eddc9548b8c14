//! What others may see of an agent. Owns no state; changes nothing.

use tepui_proto::v1;

use crate::agent::Agent;
use crate::link::LinkState;
use crate::task::Phase;
use crate::{Config, TaskKey};

/// A task that the agent knows.
#[derive(Clone, Debug)]
pub struct TaskView<'a> {
    pub key: &'a TaskKey,
    pub launch_seq: u64,
    pub info: &'a v1::TaskInfo,
    pub container_id: &'a str,
    pub pid: Option<u32>,
    /// The newest; STAGING before the first update.
    pub state: v1::TaskState,
    /// The newest update, acknowledged or not.
    pub latest: Option<&'a v1::TaskStatus>,
    /// Its processes may exist.
    pub live: bool,
    /// No command was started yet.
    pub queued: bool,
}

/// A task that was forgotten.
#[derive(Clone, Debug)]
pub struct CompletedTask {
    pub key: TaskKey,
    pub info: v1::TaskInfo,
    pub container_id: String,
    pub latest: Option<v1::TaskStatus>,
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
        self.completed_frameworks.iter().filter(gone)
    }

    pub fn tasks(&self) -> impl Iterator<Item = TaskView<'_>> {
        self.tasks.values().map(|task| TaskView {
            key: &task.key,
            launch_seq: task.launch_seq,
            info: &task.info,
            container_id: &task.container_id,
            pid: task.pid,
            state: task.outbox.latest_state(),
            latest: task.outbox.latest(),
            live: task.is_live(),
            queued: task.phase == Phase::Accepting,
        })
    }

    /// Returns forgotten tasks, oldest first.
    pub fn completed_tasks(&self) -> impl Iterator<Item = &CompletedTask> {
        self.completed.iter()
    }
}
