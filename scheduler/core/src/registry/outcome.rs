//! What applying an envelope says: to its proposer (`Outcome`), and to every replica's listeners (`Change`).

use std::fmt;

use tepui_proto::v1;

use crate::ids::{AgentId, FrameworkId, TaskKey};

/// The answer of `apply` to the one who proposed.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Proposed under another epoch: nothing changed.
    Stale { epoch: u64 },
    /// A leadership began with this epoch.
    TookLead { epoch: u64 },
    /// Applied.
    Done,
    /// A framework was updated: whether it describes itself in another way than before.
    FrameworkUpdated { anew: bool },
    /// The operation no longer fits the Registry: nothing changed but the time.
    Refused(Refusal),
    /// One result for each task of a `Launch`, in its order; also of `LaunchDriver` (one).
    Launched(Vec<Result<u64, Refusal>>),
    /// One result for each conversion and for each task of an `Operate`, in their order.
    Operated { conversions: Vec<Result<(), Refusal>>, launches: Vec<Result<u64, Refusal>> },
    /// An agent is back, and so are its tasks.
    Reregistered(Reregistered),
    /// One result for each agent of an `AttachAgents`, in its order.
    Attached(Vec<Result<(), Refusal>>),
    /// Machines were taken down: the agents that are gone with them, and what frameworks are to be told.
    MachinesDown { agents: Vec<AgentId>, lost: Vec<(FrameworkId, v1::TaskStatus)> },
    /// What the frameworks of an agent that was lost or removed are to be told.
    Lost(Vec<(FrameworkId, v1::TaskStatus)>),
    /// A driver was submitted, or had been before with the same spec.
    Submitted { generation: u64, created: bool },
    /// The result of a compare-and-set.
    Cas { result: CasResult, version: u64, generation: u64 },
}

impl Outcome {
    /// Whether agents have to hear of the framework's new description.
    pub fn described_anew(&self) -> bool {
        *self == Self::FrameworkUpdated { anew: true }
    }
}

/// How an agent's word about its tasks differs from the Registry's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reregistered {
    /// Were unreachable and are not any more: their frameworks were told otherwise.
    pub returned: Vec<TaskKey>,
    /// Live in the Registry, not named by the agent: never delivered, or gone.
    pub missing: Vec<TaskKey>,
    /// Named by the agent, but running elsewhere under the same id: to be killed there.
    pub foreign: Vec<TaskKey>,
}

/// Why `apply` refused an operation or one of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    UnknownFramework,
    CompletedFramework,
    FrameworkExists,
    UnknownAgent,
    AgentExists,
    AgentNotConnected,
    AgentRemoved,
    UnknownTask,
    TaskExists,
    InsufficientResources,
    VolumeExists,
    VolumeInUse,
    OperationExists,
    UnknownDriver,
    DriverExists,
    DriverEnded,
    WrongGeneration,
    TooMany,
    AgentDraining,
    NotDraining,
    NotEmpty,
    NotDeactivated,
    StillDraining,
    MachineDown,
    WrongMachineMode,
    Overcommitted,
    StandsOtherwise,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed operation",
            Self::UnknownFramework => "unknown framework",
            Self::CompletedFramework => "framework has been removed",
            Self::FrameworkExists => "framework exists",
            Self::UnknownAgent => "unknown agent",
            Self::AgentExists => "agent exists",
            Self::AgentNotConnected => "agent is not connected",
            Self::AgentRemoved => "agent has been removed",
            Self::UnknownTask => "unknown task",
            Self::TaskExists => "task id is in use",
            Self::InsufficientResources => "not enough resources on the agent",
            Self::VolumeExists => "a volume of this role and id exists on the agent",
            Self::VolumeInUse => "the volume is in use",
            Self::OperationExists => "operation id is in use",
            Self::UnknownDriver => "unknown driver",
            Self::DriverExists => "a driver of this name exists with another spec",
            Self::DriverEnded => "driver has ended",
            Self::WrongGeneration => "generation is not the current one",
            Self::TooMany => "limit reached",
            Self::AgentDraining => "agent is being drained",
            Self::NotDraining => "agent is not being drained",
            Self::NotEmpty => "agent is not empty",
            Self::NotDeactivated => "agent is not deactivated",
            Self::StillDraining => "agent is still being drained",
            Self::MachineDown => "machine is down for maintenance",
            Self::WrongMachineMode => "machine is not in the mode that this needs",
            Self::Overcommitted => "guarantees exceed what the cluster has",
            Self::StandsOtherwise => "agent stands otherwise than it is known here",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasResult {
    Ok,
    Conflict,
    Fenced,
}

/// One object that an applied envelope touched, for event streams: look it up in the Registry; absent means removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    Agent(AgentId),
    Framework(FrameworkId),
    Task(TaskKey),
    /// A driver, by name.
    Driver(String),
    Register {
        scope: String,
        key: String,
    },
    Leadership,
    /// Cluster id or other settings of the whole.
    Cluster,
}

/// The kind of object in a [`Change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Agent,
    Framework,
    Task,
    Driver,
    Register,
    Leadership,
    Cluster,
}

impl Change {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Agent(_) => Kind::Agent,
            Self::Framework(_) => Kind::Framework,
            Self::Task(_) => Kind::Task,
            Self::Driver(_) => Kind::Driver,
            Self::Register { .. } => Kind::Register,
            Self::Leadership => Kind::Leadership,
            Self::Cluster => Kind::Cluster,
        }
    }
}
