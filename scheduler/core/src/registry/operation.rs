//! What can be committed: the envelope and every operation that `apply` knows.
//!
//! Plain records with field numbers of our own (no `.proto` file): numbers are never reused. Decisions only; how they change
//! the tables stands in `registry/apply/`.

use bytes::Bytes;
use tepui_proto::tepui::{agent_link, operator};
use tepui_proto::v1;
use tepui_proto::v1::scheduler::OfferConstraints;

use super::audit::Checkpoint;
use super::lineage::{RaiseLevel, Refound};
use super::settings::{SetQuotas, SetWeights};

use super::fleet::{
    ActivateAgent, AttachAgents, DrainAgent, DrainedAgent, MarkGone, PruneAgents, StartMaintenance,
    StopMaintenance, UpdateSchedule,
};

/// The format of envelopes and of snapshots that this version writes and reads.
pub const FORMAT: u32 = 1;

/// One entry of the log; its bytes begin with [`FORMAT`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    /// The epoch of the leadership that proposed this; ignored for [`TakeLead`].
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Cluster time, milliseconds.
    #[prost(uint64, tag = "3")]
    pub cluster_ms: u64,
    /// Wall clock, milliseconds since 1970, for display only.
    #[prost(uint64, tag = "4")]
    pub wall_ms: u64,
    /// The proposer's number for this entry.
    #[prost(uint64, tag = "5")]
    pub proposal: u64,
    /// The proposing master.
    #[prost(uint64, tag = "6")]
    pub node_id: u64,
    #[prost(
        oneof = "Operation",
        tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 40, 41, 50, 51, 52, 53, 54, 55, 56, 57, 65, 75, 80, 81, 85, 95"
    )]
    pub operation: Option<Operation>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "moved a few times and never kept in bulk: a box would only cost an allocation"
)]
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Operation {
    #[prost(message, tag = "10")]
    TakeLead(TakeLead),
    #[prost(message, tag = "11")]
    Tick(Tick),
    #[prost(message, tag = "12")]
    AdmitFramework(AdmitFramework),
    #[prost(message, tag = "13")]
    UpdateFramework(UpdateFramework),
    #[prost(message, tag = "14")]
    DisconnectFramework(DisconnectFramework),
    #[prost(message, tag = "15")]
    RemoveFramework(RemoveFramework),
    #[prost(message, tag = "16")]
    AdmitAgent(AdmitAgent),
    #[prost(message, tag = "17")]
    ReregisterAgent(ReregisterAgent),
    #[prost(message, tag = "18")]
    DisconnectAgent(DisconnectAgent),
    #[prost(message, tag = "19")]
    MarkUnreachable(MarkUnreachable),
    #[prost(message, tag = "20")]
    RemoveAgent(RemoveAgent),
    #[prost(message, tag = "21")]
    Launch(Launch),
    #[prost(message, tag = "22")]
    MarkKill(MarkKill),
    #[prost(message, tag = "23")]
    Observe(Observe),
    #[prost(message, tag = "24")]
    SubmitDriver(SubmitDriver),
    #[prost(message, tag = "25")]
    KillDriver(KillDriver),
    #[prost(message, tag = "26")]
    LaunchDriver(LaunchDriver),
    #[prost(message, tag = "27")]
    ObserveDriver(ObserveDriver),
    #[prost(message, tag = "28")]
    StateCas(StateCas),
    #[prost(message, tag = "30")]
    Operate(Operate),
    #[prost(message, tag = "65")]
    SuppressRoles(SuppressRoles),
    #[prost(message, tag = "75")]
    ReregisterMore(ReregisterMore),
    #[prost(message, tag = "95")]
    AttachAgents(AttachAgents),
    #[prost(message, tag = "40")]
    SetWeights(SetWeights),
    #[prost(message, tag = "41")]
    SetQuotas(SetQuotas),
    #[prost(message, tag = "50")]
    DrainAgent(DrainAgent),
    #[prost(message, tag = "51")]
    DrainedAgent(DrainedAgent),
    #[prost(message, tag = "52")]
    ActivateAgent(ActivateAgent),
    #[prost(message, tag = "53")]
    MarkGone(MarkGone),
    #[prost(message, tag = "54")]
    UpdateSchedule(UpdateSchedule),
    #[prost(message, tag = "55")]
    StartMaintenance(StartMaintenance),
    #[prost(message, tag = "56")]
    StopMaintenance(StopMaintenance),
    #[prost(message, tag = "57")]
    PruneAgents(PruneAgents),
    #[prost(message, tag = "80")]
    Refound(Refound),
    #[prost(message, tag = "81")]
    RaiseLevel(RaiseLevel),
    #[prost(message, tag = "85")]
    Checkpoint(Checkpoint),
}

/// Begins a leadership: raises the epoch by one, whatever the envelope's epoch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TakeLead {
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// Drawn anew for each leadership.
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
    /// Taken over only if the Registry has none yet.
    #[prost(string, tag = "7")]
    pub cluster_id: String,
    /// Region and zone.
    #[prost(message, optional, tag = "40")]
    pub domain: Option<v1::DomainInfo>,
    /// Of raft.
    #[prost(uint64, tag = "41")]
    pub term: u64,
}

/// Advances cluster time and nothing else.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tick {}

/// Adds a framework, connected. Refused if it exists or is completed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AdmitFramework {
    /// With its id set.
    #[prost(message, optional, tag = "1")]
    pub info: Option<v1::FrameworkInfo>,
    #[prost(string, repeated, tag = "2")]
    pub suppressed_roles: Vec<String>,
    #[prost(message, optional, tag = "40")]
    pub offer_constraints: Option<OfferConstraints>,
}

/// Replaces what a framework may replace, and makes it connected unless it is `in_place`. Refused if it does not exist.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateFramework {
    /// With its id set; user and checkpoint are kept from the record.
    #[prost(message, optional, tag = "1")]
    pub info: Option<v1::FrameworkInfo>,
    #[prost(string, repeated, tag = "2")]
    pub suppressed_roles: Vec<String>,
    #[prost(message, optional, tag = "40")]
    pub offer_constraints: Option<OfferConstraints>,
    /// UPDATE_FRAMEWORK: says nothing of its connection.
    #[prost(bool, tag = "70")]
    pub in_place: bool,
}

/// The framework wants no offers in these roles, or wants them again. Roles that it does not subscribe to are left out.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SuppressRoles {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, repeated, tag = "2")]
    pub roles: Vec<String>,
    #[prost(bool, tag = "3")]
    pub suppressed: bool,
}

/// The framework's stream ended; at `deadline_ms` it will be removed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DisconnectFramework {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// Cluster time.
    #[prost(uint64, tag = "2")]
    pub deadline_ms: u64,
}

/// Moves a framework to the completed ones; its tasks are killed and stay charged until their agent confirms.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveFramework {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// Adds a new agent, connected.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AdmitAgent {
    /// With its id set.
    #[prost(message, optional, tag = "1")]
    pub info: Option<v1::AgentInfo>,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(string, tag = "3")]
    pub boot_id: String,
    /// Under which the agent's own endpoints are reached.
    #[prost(string, tag = "4")]
    pub ip: String,
}

/// An agent is connected (again); its word about its tasks wins.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReregisterAgent {
    /// With its id set.
    #[prost(message, optional, tag = "1")]
    pub info: Option<v1::AgentInfo>,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(string, tag = "3")]
    pub boot_id: String,
    #[prost(uint64, tag = "4")]
    pub accepted_launch_seq: u64,
    #[prost(message, repeated, tag = "5")]
    pub tasks: Vec<agent_link::AgentTask>,
    /// Frameworks of those tasks, adopted if unknown and not completed.
    #[prost(message, repeated, tag = "6")]
    pub frameworks: Vec<v1::FrameworkInfo>,
    #[prost(string, tag = "7")]
    pub ip: String,
    /// Least time that an adopted framework has to come back, milliseconds.
    #[prost(uint64, tag = "8")]
    pub framework_grace_ms: u64,
    /// Dynamic reservations and volumes as the agent has them, their version, and volumes that no master told it of.
    #[prost(message, repeated, tag = "30")]
    pub resources: Vec<v1::Resource>,
    #[prost(uint64, tag = "31")]
    pub resources_version: u64,
    #[prost(message, repeated, tag = "32")]
    pub orphaned_volumes: Vec<v1::Resource>,
    /// Every executor that has not ended.
    #[prost(message, repeated, tag = "60")]
    pub executors: Vec<agent_link::AgentExecutor>,
    /// Tasks and executors that the agent has as well, and of which [`ReregisterMore`] tells.
    #[prost(message, repeated, tag = "75")]
    pub named_tasks: Vec<NamedTasks>,
    #[prost(message, repeated, tag = "76")]
    pub named_executors: Vec<NamedTasks>,
}

/// Tasks, or executors, of one framework.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NamedTasks {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, repeated, tag = "2")]
    pub names: Vec<String>,
}

/// More of what an agent said when it registered: follows its [`ReregisterAgent`], which would be too long with it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReregisterMore {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    #[prost(message, repeated, tag = "2")]
    pub frameworks: Vec<v1::FrameworkInfo>,
    #[prost(uint64, tag = "3")]
    pub framework_grace_ms: u64,
    #[prost(message, repeated, tag = "4")]
    pub executors: Vec<agent_link::AgentExecutor>,
    #[prost(message, repeated, tag = "5")]
    pub tasks: Vec<agent_link::AgentTask>,
}

/// The agent's stream ended.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DisconnectAgent {
    #[prost(string, tag = "1")]
    pub agent_id: String,
}

/// The agent did not come back in time: its tasks are UNREACHABLE (LOST for those who do not know that state).
#[derive(Clone, PartialEq, prost::Message)]
pub struct MarkUnreachable {
    #[prost(string, tag = "1")]
    pub agent_id: String,
}

/// The agent left for good: its tasks are GONE (LOST for those who do not know that state).
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveAgent {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    #[prost(string, tag = "2")]
    pub reason: String,
}

/// One task of a launch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LaunchItem {
    /// What is kept while the task lives: ids, resources (with allocation), labels, discovery, checks. State is STAGING.
    #[prost(message, optional, tag = "1")]
    pub task: Option<v1::Task>,
    /// What the agent needs; absent if it is too large for the log and stays with the leader.
    #[prost(message, optional, tag = "2")]
    pub info: Option<v1::TaskInfo>,
    /// Size and SHA-256 of an absent `info`.
    #[prost(uint64, tag = "3")]
    pub info_bytes: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub info_sha256: Bytes,
    /// The executor whose resources are charged with this task, unless it is live; without its data.
    #[prost(message, optional, tag = "5")]
    pub executor: Option<v1::ExecutorInfo>,
    /// Neighbours with the same number other than 0 are launched all or none.
    #[prost(uint32, tag = "60")]
    pub group: u32,
}

/// The tasks of one ACCEPT, all on one agent; each is accepted or refused by itself, or with its group.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Launch {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub agent_id: String,
    #[prost(message, repeated, tag = "3")]
    pub tasks: Vec<LaunchItem>,
}

/// The steps of one ACCEPT that changes resources, or of an operator's call, in their order on one agent; each is accepted or
/// refused by itself, and what was made by one can be used by the next.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operate {
    /// Empty for an operator's.
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub agent_id: String,
    #[prost(message, repeated, tag = "3")]
    pub steps: Vec<OperateStep>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct OperateStep {
    #[prost(oneof = "operate_step::Step", tags = "1, 2")]
    pub step: Option<operate_step::Step>,
}

/// What a step does.
pub mod operate_step {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Step {
        #[prost(message, tag = "1")]
        Convert(super::Convert),
        /// Of the same framework and agent.
        #[prost(message, tag = "2")]
        Launch(super::Launch),
    }
}

/// Resources that are free become others of the same base: reserved, a volume, or the way back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Convert {
    /// With reservations as stacks and without allocation, like the next.
    #[prost(message, repeated, tag = "1")]
    pub consumed: Vec<v1::Resource>,
    #[prost(message, repeated, tag = "2")]
    pub converted: Vec<v1::Resource>,
    /// To be kept until the framework has acknowledged the status; only for one that gave the operation an id. The status is that of
    /// success.
    #[prost(message, optional, boxed, tag = "3")]
    pub operation: Option<Box<super::records::OperationRecord>>,
}

/// The framework wants this task killed; told to the agent again whenever it reregisters.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MarkKill {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub task_id: String,
    #[prost(message, optional, tag = "3")]
    pub kill_policy: Option<v1::KillPolicy>,
}

/// What agents reported since the last batch, in the order in which the leader saw it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Observe {
    #[prost(message, repeated, tag = "1")]
    pub events: Vec<Observed>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Observed {
    #[prost(oneof = "Observation", tags = "1, 2, 3, 30, 31, 60")]
    pub observation: Option<Observation>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "moved a few times and never kept in bulk: a box would only cost an allocation"
)]
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Observation {
    /// A status was forwarded to the framework.
    #[prost(message, tag = "1")]
    Status(ObservedStatus),
    /// The framework acknowledged an update; a terminal one ends the task.
    #[prost(message, tag = "2")]
    Acknowledged(ObservedAcknowledgement),
    /// The agent has checkpointed its launches up to this one.
    #[prost(message, tag = "3")]
    Accepted(ObservedAccept),
    /// The agent has its resources in this version, and what was destroyed until then is gone.
    #[prost(message, tag = "30")]
    Resources(ObservedResources),
    /// The framework acknowledged what became of an operation.
    #[prost(message, tag = "31")]
    OperationAcknowledged(ObservedOperationAcknowledgement),
    /// Nothing is left of an executor.
    #[prost(message, tag = "60")]
    ExecutorExited(ObservedExecutorExit),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ObservedResources {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    #[prost(uint64, tag = "2")]
    pub version: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ObservedOperationAcknowledgement {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub operation_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub uuid: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ObservedStatus {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    /// Without `data`.
    #[prost(message, optional, tag = "2")]
    pub status: Option<v1::TaskStatus>,
    /// The newest state on the agent, which may be ahead of the status.
    #[prost(enumeration = "v1::TaskState", optional, tag = "3")]
    pub latest_state: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ObservedAcknowledgement {
    #[prost(string, tag = "1")]
    pub framework_id: String,
    #[prost(string, tag = "2")]
    pub task_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub uuid: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ObservedExecutorExit {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    #[prost(string, tag = "2")]
    pub framework_id: String,
    #[prost(string, tag = "3")]
    pub executor_id: String,
    /// Launches of the agent up to this one had nothing but the executor that ended.
    #[prost(uint64, tag = "4")]
    pub accepted_launch_seq: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ObservedAccept {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    #[prost(uint64, tag = "2")]
    pub launch_seq: u64,
}

/// Adds a supervised driver (generation 0, QUEUED) and, with the first one, the framework of drivers.
/// The spec of a live driver is answered with that driver, another one for its name is refused. One that has ended is run
/// again, whatever its spec.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SubmitDriver {
    #[prost(message, optional, tag = "1")]
    pub spec: Option<operator::DriverSpec>,
}

/// Wants the driver stopped for good. Without a live task it is KILLED at once, otherwise when its task has ended.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KillDriver {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint64, optional, tag = "2")]
    pub grace_ms: Option<u64>,
}

/// Starts the next generation: generation + 1, state STAGING, one task on one agent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LaunchDriver {
    #[prost(string, tag = "1")]
    pub name: String,
    /// The generation to be; refused unless it is the driver's generation + 1.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    #[prost(string, tag = "3")]
    pub agent_id: String,
    /// SHA-256 of the token that this generation gets.
    #[prost(bytes = "bytes", tag = "4")]
    pub token_sha256: Bytes,
    /// The task `<name>.g<generation>` of the framework of drivers.
    #[prost(message, optional, tag = "5")]
    pub item: Option<LaunchItem>,
    /// The id that this generation subscribes with; the same as before unless that framework was removed.
    #[prost(string, tag = "6")]
    pub framework_id: String,
}

/// The supervisor's conclusion about a driver's current generation; refused (changes nothing) for another generation.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ObserveDriver {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint64, tag = "2")]
    pub generation: u64,
    /// The state to be.
    #[prost(enumeration = "operator::DriverState", tag = "3")]
    pub state: i32,
    #[prost(string, tag = "4")]
    pub message: String,
    /// Ends the current attempt with this task state.
    #[prost(enumeration = "v1::TaskState", optional, tag = "5")]
    pub ended: Option<i32>,
    /// Cluster time of the next launch; kept for BACKOFF only.
    #[prost(uint64, tag = "6")]
    pub next_launch_ms: u64,
    /// The back-off that `next_launch_ms` was computed with, so that the next one can double it; 0 resets it.
    #[prost(uint64, tag = "7")]
    pub backoff_ms: u64,
    /// Whether this end counts against the restart budget (an agent's loss does not).
    #[prost(bool, tag = "8")]
    pub counted: bool,
}

/// Compare-and-set of a framework state register; the fence is evaluated when this is applied.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StateCas {
    /// The driver's name.
    #[prost(string, tag = "1")]
    pub scope: String,
    #[prost(string, tag = "2")]
    pub key: String,
    /// 0 creates the register.
    #[prost(uint64, tag = "3")]
    pub expected_version: u64,
    #[prost(uint64, tag = "4")]
    pub generation: u64,
    #[prost(bytes = "bytes", tag = "5")]
    pub token_sha256: Bytes,
    /// At most 64 KiB.
    #[prost(bytes = "bytes", tag = "6")]
    pub value: Bytes,
}
