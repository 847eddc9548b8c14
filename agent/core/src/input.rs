//! What can happen to an agent. Owns the shapes only; what follows from them is decided elsewhere.

use bytes::Bytes;
use tepui_proto::tepui::agent_link;
use tepui_proto::v1;
use tepui_proto::v1::executor::call;

use crate::{ExecutorKey, TaskKey};

/// The time of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that only moves forward; where it begins does not matter.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch; for timestamps, and for how long a recovered task has already run.
    pub wall_ms: u64,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// What became of the processes of the commands and executors in the checkpoint. Must be the first input if the
    /// checkpoint holds any; until then the agent does not register. One that is not listed counts as [`Found::Lost`].
    Recovered { processes: Vec<(TaskKey, Found)>, executors: Vec<(ExecutorKey, Found)> },
    /// A leading master can be reached: the answer is `Send(REGISTER)`, which opens the stream of events.
    LinkUp,
    /// The master that was reached does not take ATTACH: the next registration tells everything.
    AttachRefused,
    /// The stream ended, or a call was refused by the master (unknown stream).
    LinkDown,
    /// The next event of the stream.
    MasterEvent(Box<agent_link::Event>),
    /// All records up to and including this one are durable.
    Checkpointed { id: u64 },
    /// The supervising process of a task runs the command.
    Launched { task: TaskKey, pid: u32 },
    /// The command was not started and never will be.
    LaunchFailed { task: TaskKey, message: String },
    /// The command ended, and nothing of it is left.
    Exited { task: TaskKey, exit: Exit },
    /// The supervising process of an executor runs it.
    ExecutorLaunched { executor: ExecutorKey, pid: u32 },
    /// The executor was not started and never will be.
    ExecutorLaunchFailed { executor: ExecutorKey, message: String },
    /// The executor ended, and nothing of it is left.
    ExecutorExited { executor: ExecutorKey, exit: Exit },
    /// What `ShowVolumes` asked for is done, or could not be done.
    VolumesShown { executor: ExecutorKey, container_id: String, tasks: Vec<TaskKey>, failure: Option<String> },
    /// An executor opened a stream, checked with [`check_call`](crate::check_call). Numbers of connections never come again.
    ExecutorSubscribed { executor: ExecutorKey, connection: u64, subscribe: Box<call::Subscribe> },
    /// A stream ended.
    ExecutorDisconnected { executor: ExecutorKey, connection: u64 },
    /// UPDATE of an executor, checked with [`check_call`](crate::check_call).
    ExecutorUpdate { executor: ExecutorKey, status: Box<v1::TaskStatus> },
    /// MESSAGE of an executor.
    ExecutorMessage { executor: ExecutorKey, data: Bytes },
    /// Time passed; due at the latest `WakeAt` at the latest.
    Tick,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It left a wait status (raw, as in waitpid(2)); `kill_asked` if its supervisor had been told to end it.
    Status { status: i32, kill_asked: bool },
    /// Nobody saw how it ended; the text says why.
    Unknown { message: String },
}

/// What a starting agent finds of a task that its checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was never started and never will be.
    NeverStarted,
    /// It runs under its supervisor, which is watched again.
    Running { pid: u32 },
    /// It ended.
    Exited(Exit),
    /// Nothing is left of it, and nobody knows how it ended.
    Lost { message: String },
}
