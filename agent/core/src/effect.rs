//! What an agent wants done. Owns the shapes only. Effects are carried out in the order in which they were given.

use std::fmt;

use tepui_proto::tepui::agent_link;
use tepui_proto::v1;

use crate::checkpoint::Record;
use crate::{ExecutorKey, TaskKey};

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Write this record behind all earlier ones; answer `Checkpointed { id }` once it is durable. Ids rise by one.
    Checkpoint { id: u64, record: Record },
    /// Send to the master. REGISTER and ATTACH open a new stream; everything else goes to the stream that is open.
    Send(Box<agent_link::Call>),
    /// Give the link up and look for the leading master anew; `LinkUp` when there is one. No `LinkDown` is needed.
    Reconnect { reason: String },
    /// The masters are at these addresses (`host:port`) from now on; the record that says so precedes this.
    FollowMasters(Vec<String>),
    /// Start a command; answer `Launched` or `LaunchFailed`, later `Exited`.
    Launch(Box<Launch>),
    /// Ask the task to end now, and force it `grace_ms` from now. A later effect with a nearer end wins.
    Kill { task: TaskKey, grace_ms: u64 },
    /// Remove the folders of these volumes, then make those of the others where they are missing. Both are repeated after a crash.
    Volumes { destroy: Vec<VolumeName>, create: Vec<VolumeName> },
    /// The task is forgotten: its sandbox may go when its time has come.
    Forgotten { task: TaskKey, container_id: String },
    /// Start an executor; answer `ExecutorLaunched` or `ExecutorLaunchFailed`, later `ExecutorExited`.
    LaunchExecutor(Box<LaunchExecutor>),
    /// Ask the process of an executor to end now, and force it `grace_ms` from now. A later effect with a nearer end wins.
    KillExecutor { executor: ExecutorKey, grace_ms: u64 },
    /// Show the volumes of tasks in the sandbox of their executor; answer `VolumesShown`.
    ShowVolumes(Box<ShowVolumes>),
    /// The executor is forgotten: its sandbox may go when its time has come.
    ExecutorForgotten { executor: ExecutorKey, container_id: String },
    /// Write an event to the stream of an executor; if it cannot be written, close it and answer `ExecutorDisconnected`.
    ToExecutor { connection: u64, event: Box<v1::executor::Event> },
    /// Close a stream behind what was written to it. No `ExecutorDisconnected` is needed.
    CloseExecutor { connection: u64 },
    /// Send `Tick` at this time (monotonic), or earlier; replaces what was asked before.
    WakeAt { mono_ms: u64 },
    /// Leave: nothing runs any more, or could be ended.
    Shutdown { message: String },
    /// Something that an operator may want to read.
    Note(Note),
}

/// What a volume is called on its agent; both parts are checked, so that they are safe as names of folders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeName {
    pub role: String,
    pub id: String,
}

/// A command to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    pub task: TaskKey,
    pub container_id: String,
    /// Equal to the task id for commands.
    pub executor_id: String,
    pub agent_id: String,
    pub framework: v1::FrameworkInfo,
    pub info: v1::TaskInfo,
    /// Grace of a kill that names none.
    pub grace_ms: u64,
}

/// An executor to be started.
#[derive(Clone, Debug)]
pub struct LaunchExecutor {
    pub executor: ExecutorKey,
    pub container_id: String,
    pub agent_id: String,
    pub framework: v1::FrameworkInfo,
    pub info: v1::ExecutorInfo,
    /// Grace between asking it to end and forcing it.
    pub grace_ms: u64,
}

/// Volumes that tasks need before their executor gets them.
#[derive(Clone, Debug, PartialEq)]
pub struct ShowVolumes {
    pub executor: ExecutorKey,
    pub container_id: String,
    pub agent_id: String,
    /// All of a group, or one.
    pub tasks: Vec<TaskKey>,
    /// The volumes of these tasks.
    pub wanted: Vec<v1::Resource>,
    /// Those of the executor itself and of its other tasks: they stay where they are.
    pub held: Vec<v1::Resource>,
}

/// What is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    Registered {
        agent_id: String,
        epoch: u64,
    },
    /// The cluster was founded anew, and the agent comes over with its tasks.
    ClusterContinued {
        from: String,
        to: String,
    },
    Masters {
        /// Comma-separated.
        addresses: String,
    },
    StaleEpoch {
        event: u64,
        seen: u64,
    },
    LaunchRepeated {
        launch_seq: u64,
        accepted: u64,
    },
    TaskAccepted {
        task: TaskKey,
        launch_seq: u64,
    },
    TaskRefused {
        task: TaskKey,
        message: String,
    },
    TaskState {
        task: TaskKey,
        state: v1::TaskState,
    },
    ExecutorState {
        executor: ExecutorKey,
        /// What it did, or what became of it.
        what: &'static str,
    },
    KillUnknown {
        task: TaskKey,
    },
    /// An executor reported something about a task that it does not have, or that has ended.
    UpdateRefused {
        executor: ExecutorKey,
        task_id: String,
        state: v1::TaskState,
    },
    /// Between a framework and an executor, in either direction.
    MessageDropped {
        framework_id: String,
        executor_id: String,
    },
    /// The cluster changed what is reserved here, or which volumes there are.
    Resources {
        version: u64,
    },
    /// An operator empties this agent, or it is done, or no longer wanted.
    Drain {
        draining: bool,
    },
    /// The cluster does not know these volumes, so they stay where they are.
    VolumesOrphaned {
        names: String,
    },
    /// The master, or the surroundings, did something that should not happen.
    Odd {
        message: String,
    },
}

impl Note {
    /// Returns whether it points to something wrong, rather than to the ordinary course of things.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::StaleEpoch { .. }
            | Self::VolumesOrphaned { .. }
            | Self::TaskRefused { .. }
            | Self::UpdateRefused { .. }
            | Self::MessageDropped { .. }
            | Self::Odd { .. } => true,
            Self::Registered { .. }
            | Self::ClusterContinued { .. }
            | Self::Masters { .. }
            | Self::Resources { .. }
            | Self::Drain { .. }
            | Self::LaunchRepeated { .. }
            | Self::TaskAccepted { .. }
            | Self::TaskState { .. }
            | Self::ExecutorState { .. }
            | Self::KillUnknown { .. } => false,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered { agent_id, epoch } => {
                write!(formatter, "registered as {agent_id} in epoch {epoch}")
            }
            Self::ClusterContinued { from, to } => {
                write!(formatter, "cluster {from} was founded anew as {to}, this agent goes on there")
            }
            Self::Masters { addresses } => write!(formatter, "the masters are {addresses}"),
            Self::StaleEpoch { event, seen } => {
                write!(formatter, "refused an event of epoch {event}, seen {seen}")
            }
            Self::LaunchRepeated { launch_seq, accepted } => {
                write!(formatter, "launch {launch_seq} came again, accepted {accepted}")
            }
            Self::TaskAccepted { task, launch_seq } => {
                write!(formatter, "task {task} accepted as launch {launch_seq}")
            }
            Self::TaskRefused { task, message } => write!(formatter, "task {task} refused: {message}"),
            Self::TaskState { task, state } => write!(formatter, "task {task} is {}", state.as_str_name()),
            Self::ExecutorState { executor, what } => write!(formatter, "executor {executor} {what}"),
            Self::KillUnknown { task } => write!(formatter, "kill of unknown task {task}"),
            Self::UpdateRefused { executor, task_id, state } => {
                let state = state.as_str_name();
                write!(
                    formatter,
                    "executor {executor} reports {state} of task {task_id}, which it does not run"
                )
            }
            Self::MessageDropped { framework_id, executor_id } => {
                write!(
                    formatter,
                    "message between framework {framework_id} and executor {executor_id} dropped: nobody takes it"
                )
            }
            Self::Resources { version } => write!(formatter, "resources changed, version {version}"),
            Self::Drain { draining: true } => formatter.write_str("this agent is being drained"),
            Self::Drain { draining: false } => {
                formatter.write_str("this agent is not being drained any more")
            }
            Self::VolumesOrphaned { names } => write!(formatter, "the cluster does not know volumes {names}"),
            Self::Odd { message } => formatter.write_str(message),
        }
    }
}
