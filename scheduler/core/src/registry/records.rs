//! The rows of the Registry's tables.
//!
//! Each is a plain prost record, so that a snapshot is a list of them and replicas can be compared byte by byte. Rules about
//! how they change stand in `apply/`; the few questions answered here need only the record itself.

use bytes::Bytes;
use tepui_proto::tepui::{agent_link, operator};
use tepui_proto::v1;

use super::fleet::DrainRecord;
use crate::ids::{self, AgentId, ExecutorKey, FrameworkId, TaskKey};

/// Who leads, since when.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaderRecord {
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    #[prost(string, tag = "2")]
    pub master_id: String,
    #[prost(string, tag = "3")]
    pub hostname: String,
    #[prost(string, tag = "4")]
    pub ip: String,
    #[prost(uint32, tag = "5")]
    pub port: u32,
    #[prost(string, tag = "6")]
    pub version: String,
    /// Cluster time of its `TakeLead`: graces after a leader change count from here.
    #[prost(uint64, tag = "7")]
    pub since_ms: u64,
    /// Wall clock, milliseconds since 1970.
    #[prost(uint64, tag = "8")]
    pub elected_wall_ms: u64,
    /// Region and zone.
    #[prost(message, optional, tag = "40")]
    pub domain: Option<v1::DomainInfo>,
    /// Of raft, by which a reader can tell whether it is still in office.
    #[prost(uint64, tag = "41")]
    pub term: u64,
}

/// An agent: connected, disconnected or unreachable.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AgentRecord {
    /// With its id.
    #[prost(message, optional, tag = "1")]
    pub info: Option<v1::AgentInfo>,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(string, tag = "3")]
    pub boot_id: String,
    /// The agent is connected iff this is the Registry's epoch; 0 after a disconnect.
    #[prost(uint64, tag = "4")]
    pub connected_epoch: u64,
    /// Cluster time of the disconnect; absent while connected, and also if only the leader changed.
    #[prost(uint64, optional, tag = "5")]
    pub disconnected_ms: Option<u64>,
    /// Cluster time since when it is unreachable.
    #[prost(uint64, optional, tag = "6")]
    pub unreachable_ms: Option<u64>,
    /// Wall clock of the same, for `unreachable_time`.
    #[prost(uint64, tag = "7")]
    pub unreachable_wall_ms: u64,
    /// The next launch on this agent gets this plus one.
    #[prost(uint64, tag = "8")]
    pub launch_seq: u64,
    /// Highest launch that the agent has said it accepted.
    #[prost(uint64, tag = "9")]
    pub accepted_launch_seq: u64,
    /// Wall clock, milliseconds since 1970.
    #[prost(uint64, tag = "10")]
    pub registered_wall_ms: u64,
    #[prost(uint64, tag = "11")]
    pub reregistered_wall_ms: u64,
    /// Under which the agent's own endpoints are reached, with the port of `info`.
    #[prost(string, tag = "12")]
    pub ip: String,
    /// What the agent has in all since operations changed it: with the same bases as the resources in `info`.
    #[prost(message, repeated, tag = "30")]
    pub converted: Vec<v1::Resource>,
    /// Rises with every change of that; 0 while there was none, and `converted` means nothing then.
    #[prost(uint64, tag = "31")]
    pub resources_version: u64,
    /// Volumes that the agent holds and this Registry did not make: kept there, given to nobody.
    #[prost(message, repeated, tag = "32")]
    pub orphaned: Vec<v1::Resource>,
    /// Volumes whose end the agent has not confirmed yet.
    #[prost(message, repeated, tag = "33")]
    pub destroyed: Vec<agent_link::DestroyedVolume>,
    /// Being emptied, or empty.
    #[prost(message, optional, tag = "50")]
    pub drain: Option<DrainRecord>,
    /// Nothing of it is offered, by an operator's wish.
    #[prost(bool, tag = "51")]
    pub deactivated: bool,
}

impl AgentRecord {
    /// Whether it is being emptied: it takes no launches.
    pub fn draining(&self) -> bool {
        self.drain.is_some()
    }

    pub fn id(&self) -> AgentId {
        ids::of(self.info.as_ref().and_then(|info| info.id.as_ref()))
    }

    /// Returns what the agent has in all.
    pub fn total(&self) -> &[v1::Resource] {
        if self.resources_version > 0 {
            return &self.converted;
        }
        self.info.as_ref().map(|info| info.resources.as_slice()).unwrap_or_default()
    }
}

/// A framework, connected or away.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FrameworkRecord {
    /// With its id.
    #[prost(message, optional, tag = "1")]
    pub info: Option<v1::FrameworkInfo>,
    #[prost(string, repeated, tag = "2")]
    pub suppressed_roles: Vec<String>,
    /// The framework is connected iff this is the Registry's epoch; 0 after a disconnect.
    #[prost(uint64, tag = "3")]
    pub connected_epoch: u64,
    /// Cluster time of the disconnect, and of the removal if it does not come back.
    #[prost(uint64, optional, tag = "4")]
    pub disconnected_ms: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub deadline_ms: Option<u64>,
    /// Learned from an agent, never subscribed here.
    #[prost(bool, tag = "6")]
    pub recovered: bool,
    /// A part of the masters: never connected, never timed out.
    #[prost(bool, tag = "7")]
    pub internal: bool,
    /// Wall clock, milliseconds since 1970.
    #[prost(uint64, tag = "8")]
    pub registered_wall_ms: u64,
    #[prost(uint64, tag = "9")]
    pub reregistered_wall_ms: u64,
    /// Set when completed.
    #[prost(uint64, tag = "10")]
    pub unregistered_wall_ms: u64,
    #[prost(string, tag = "11")]
    pub removal_reason: String,
    /// Which agents it wants offers of, by role.
    #[prost(message, optional, tag = "40")]
    pub offer_constraints: Option<v1::scheduler::OfferConstraints>,
}

impl FrameworkRecord {
    pub fn id(&self) -> FrameworkId {
        ids::of(self.info.as_ref().and_then(|info| info.id.as_ref()))
    }

    /// Returns the roles that the framework subscribes to: `roles` with MULTI_ROLE, else `role` (default `*`).
    pub fn roles(&self) -> Vec<String> {
        let Some(info) = &self.info else { return Vec::new() };
        if self.can(v1::framework_info::capability::Type::MultiRole) {
            info.roles.clone()
        } else {
            vec![info.role.clone().filter(|role| !role.is_empty()).unwrap_or_else(|| "*".to_owned())]
        }
    }

    /// Whether the framework declared this capability.
    pub fn can(&self, capability: v1::framework_info::capability::Type) -> bool {
        let declared = self.info.iter().flat_map(|info| &info.capabilities);
        declared.into_iter().any(|one| one.r#type == Some(capability as i32))
    }

    /// Whether it knows DROPPED, UNREACHABLE, GONE, GONE_BY_OPERATOR and UNKNOWN.
    pub fn partition_aware(&self) -> bool {
        self.can(v1::framework_info::capability::Type::PartitionAware)
    }
}

/// A task from its launch until its terminal update is acknowledged; then a part of history.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TaskRecord {
    /// `state` is the newest known, `status_update_state` and `status_update_uuid` the last forwarded.
    #[prost(message, optional, tag = "1")]
    pub task: Option<v1::Task>,
    /// The whole of it until the agent has it, so that a new leader can still deliver it. Boxed, like the next one: most tasks have
    /// neither, and there are many of them.
    #[prost(message, optional, boxed, tag = "2")]
    pub info: Option<Box<v1::TaskInfo>>,
    /// Per agent, rising; 0 for a task that an agent brought along and whose launch is not known here.
    #[prost(uint64, tag = "3")]
    pub launch_seq: u64,
    /// Asked to be killed, with this policy.
    #[prost(message, optional, tag = "4")]
    pub kill: Option<KillMarker>,
    /// Its agent is unreachable since this wall clock, milliseconds since 1970.
    #[prost(uint64, optional, tag = "5")]
    pub unreachable_wall_ms: Option<u64>,
    /// The custom executor of this task; its resources are charged once per agent, framework and executor id.
    #[prost(message, optional, boxed, tag = "6")]
    pub executor: Option<Box<v1::ExecutorInfo>>,
    /// The last status that was forwarded, without `data`.
    #[prost(message, optional, tag = "7")]
    pub last_status: Option<v1::TaskStatus>,
    /// The launch sequence of the first task of its group; 0 if it has none.
    #[prost(uint64, tag = "60")]
    pub group_seq: u64,
}

/// A custom executor from its first task until its agent says that it has ended; it may have no task meanwhile.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExecutorRecord {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    #[prost(string, tag = "2")]
    pub framework_id: String,
    /// With its framework id and the allocation of its resources, without its data.
    #[prost(message, optional, tag = "3")]
    pub info: Option<v1::ExecutorInfo>,
    /// Of the launch that brought it.
    #[prost(uint64, tag = "4")]
    pub launch_seq: u64,
    /// Its agent has it: nothing but the agent's word ends it.
    #[prost(bool, tag = "5")]
    pub confirmed: bool,
}

impl ExecutorRecord {
    pub fn key(&self) -> ExecutorKey {
        ExecutorKey {
            agent: AgentId::from(self.agent_id.as_str()),
            framework: FrameworkId::from(self.framework_id.as_str()),
            executor: ids::of(self.info.as_ref().and_then(|info| info.executor_id.as_ref())),
        }
    }
}

/// Returns an executor without its data: that may be large, and belongs to its agent.
pub fn without_data(info: &v1::ExecutorInfo) -> v1::ExecutorInfo {
    v1::ExecutorInfo { data: None, ..info.clone() }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct KillMarker {
    #[prost(message, optional, tag = "1")]
    pub kill_policy: Option<v1::KillPolicy>,
}

impl TaskRecord {
    pub fn key(&self) -> TaskKey {
        TaskKey {
            framework: ids::of(self.task.as_ref().and_then(|task| task.framework_id.as_ref())),
            task: ids::of(self.task.as_ref().and_then(|task| task.task_id.as_ref())),
        }
    }

    pub fn agent_id(&self) -> AgentId {
        ids::of(self.task.as_ref().and_then(|task| task.agent_id.as_ref()))
    }

    /// Returns its custom executor.
    pub fn executor_key(&self) -> Option<ExecutorKey> {
        let executor = ids::of(self.executor.as_ref()?.executor_id.as_ref());
        Some(ExecutorKey { agent: self.agent_id(), framework: self.key().framework, executor })
    }

    /// Whether this is its executor.
    pub fn uses(&self, key: &ExecutorKey) -> bool {
        let own = self.executor.as_ref().and_then(|executor| executor.executor_id.as_ref());
        own.is_some_and(|own| own.value() == key.executor.as_str())
    }

    /// Returns the newest known state.
    pub fn state(&self) -> v1::TaskState {
        self.task.as_ref().map_or(v1::TaskState::TaskStaging, |task| task.state())
    }
}

/// A supervised driver with the history of its launches.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DriverRecord {
    #[prost(message, optional, tag = "1")]
    pub spec: Option<operator::DriverSpec>,
    #[prost(enumeration = "operator::DriverState", tag = "2")]
    pub state: i32,
    /// Rises with every launch; 0 before the first.
    #[prost(uint64, tag = "3")]
    pub generation: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub token_sha256: Bytes,
    /// The framework id that the driver subscribes with.
    #[prost(string, tag = "5")]
    pub framework_id: String,
    /// Of the current generation; empty before the first.
    #[prost(string, tag = "6")]
    pub task_id: String,
    #[prost(string, tag = "7")]
    pub agent_id: String,
    /// Newest last, at most 50.
    #[prost(message, repeated, tag = "8")]
    pub attempts: Vec<operator::Attempt>,
    /// Cluster time of the next launch while in BACKOFF, else 0.
    #[prost(uint64, tag = "9")]
    pub next_launch_ms: u64,
    #[prost(uint64, tag = "10")]
    pub backoff_ms: u64,
    /// Cluster times of the ends that count against the restart budget, newest last, at most `max_restarts` + 1.
    #[prost(uint64, repeated, tag = "11")]
    pub failed_at_ms: Vec<u64>,
    #[prost(string, tag = "12")]
    pub message: String,
    /// Cluster time of the current generation's launch.
    #[prost(uint64, tag = "13")]
    pub launched_ms: u64,
    /// Wanted dead: grace in milliseconds.
    #[prost(message, optional, tag = "14")]
    pub kill: Option<DriverKill>,
    #[prost(uint64, tag = "15")]
    pub submitted_wall_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct DriverKill {
    #[prost(uint64, optional, tag = "1")]
    pub grace_ms: Option<u64>,
}

impl DriverRecord {
    pub fn name(&self) -> &str {
        self.spec.as_ref().and_then(|spec| spec.name.as_deref()).unwrap_or_default()
    }

    /// Whether it is FINISHED, FAILED or KILLED.
    pub fn ended(&self) -> bool {
        use operator::DriverState::{DriverFailed, DriverFinished, DriverKilled};
        matches!(self.state(), DriverFinished | DriverFailed | DriverKilled)
    }

    /// Returns the task of the current generation, if there was a launch.
    pub fn task_key(&self) -> Option<TaskKey> {
        (!self.task_id.is_empty()).then(|| TaskKey::new(crate::ids::DRIVERS_FRAMEWORK, self.task_id.as_str()))
    }
}

/// A framework state register.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RegisterRecord {
    #[prost(string, tag = "1")]
    pub scope: String,
    #[prost(string, tag = "2")]
    pub key: String,
    /// 1 for the first value.
    #[prost(uint64, tag = "3")]
    pub version: u64,
    /// The generation that wrote it.
    #[prost(uint64, tag = "4")]
    pub generation: u64,
    /// SHA-256 of the value: with the generation, it tells a retried write.
    #[prost(bytes = "bytes", tag = "5")]
    pub value_sha256: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    pub value: Bytes,
    #[prost(uint64, tag = "7")]
    pub written_wall_ms: u64,
}

/// What became of an operation that a framework named, until it acknowledges that.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OperationRecord {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub agent_id: String,
    /// With the id that the framework gave.
    #[prost(message, optional, tag = "3")]
    pub info: Option<v1::offer::Operation>,
    /// Of the operation itself.
    #[prost(bytes = "bytes", tag = "4")]
    pub uuid: Bytes,
    /// With the uuid to be acknowledged.
    #[prost(message, optional, tag = "5")]
    pub status: Option<v1::OperationStatus>,
}

impl OperationRecord {
    pub fn key(&self) -> super::tables::OperationKey {
        let id = self.info.as_ref().and_then(|info| info.id.as_ref());
        super::tables::OperationKey::new(self.framework_id.as_str(), id.map_or("", v1::OperationId::value))
    }

    /// Returns it as masters and agents show it.
    pub fn shown(&self) -> v1::Operation {
        v1::Operation {
            framework_id: Some(FrameworkId::from(self.framework_id.as_str()).to_proto()),
            agent_id: Some(AgentId::from(self.agent_id.as_str()).to_proto()),
            info: self.info.clone(),
            latest_status: self.status.clone(),
            statuses: self.status.clone().into_iter().collect(),
            uuid: Some(v1::Uuid { value: Some(self.uuid.clone()) }),
        }
    }

    /// Returns what an acknowledgement has to name.
    pub fn status_uuid(&self) -> &[u8] {
        let uuid = self.status.as_ref().and_then(|status| status.uuid.as_ref());
        uuid.and_then(|uuid| uuid.value.as_deref()).unwrap_or_default()
    }
}
