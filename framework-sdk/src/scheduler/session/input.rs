//! What goes into a session and what comes out.

use bytes::Bytes;

use super::super::event::Event;
use crate::v1;
use crate::v1::scheduler::Call;

/// Settings of a session; times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionConfig {
    /// Who subscribes; with an id if the framework has been here before.
    pub framework: v1::FrameworkInfo,
    /// Roles that want no offers at first.
    pub suppressed_roles: Vec<String>,
    /// First wait before a new attempt to subscribe.
    pub retry_initial_ms: u64,
    /// Longest wait between attempts.
    pub retry_max_ms: u64,
    /// How long a master that took SUBSCRIBE may keep quiet before SUBSCRIBED.
    pub greeting_ms: u64,
    /// Silent heartbeat intervals after which a stream counts as lost.
    pub missed_heartbeats: u32,
    /// First wait before tasks without an answer are asked about again.
    pub reconcile_initial_ms: u64,
    /// Longest wait between such questions.
    pub reconcile_max_ms: u64,
}

impl SessionConfig {
    /// Takes the defaults for everything but the framework.
    pub fn new(framework: v1::FrameworkInfo) -> Self {
        SessionConfig {
            framework,
            suppressed_roles: Vec::new(),
            retry_initial_ms: 20,
            retry_max_ms: 1_000,
            greeting_ms: 10_000,
            missed_heartbeats: 3,
            reconcile_initial_ms: 5_000,
            reconcile_max_ms: 60_000,
        }
    }
}

/// What the framework wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A call to the master.
    Call(Box<Call>),
    /// An update was taken.
    Acknowledge {
        /// The agent that repeats it.
        agent_id: v1::AgentId,
        /// The task.
        task_id: v1::TaskId,
        /// The update.
        uuid: Bytes,
    },
    /// End at once, and leave everything on the master as it is.
    Stop,
    /// Nobody listens or speaks any more: finish what was asked for, then end.
    Abandon,
}

impl Command {
    /// Returns the acknowledgement of an update, or `None` if it wants none.
    pub fn acknowledge(status: &v1::TaskStatus) -> Option<Command> {
        Some(Command::Acknowledge {
            agent_id: status.agent_id.clone()?,
            task_id: status.task_id.clone()?,
            uuid: status.uuid.clone()?,
        })
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Time has passed; also the first input.
    Tick,
    /// A master answered SUBSCRIBE with a stream.
    Opened {
        /// Its `Mesos-Stream-Id`.
        stream_id: String,
    },
    /// The attempt to subscribe failed.
    OpenFailed {
        /// Why.
        reason: String,
        /// Whether the request itself was refused, so that repeating it is useless.
        fatal: bool,
    },
    /// An event on the open stream.
    Event(Box<v1::scheduler::Event>),
    /// The open stream broke.
    StreamEnded {
        /// Why.
        reason: String,
    },
    /// A call that was sent is over.
    Answered {
        /// Which.
        token: u64,
        /// How.
        answer: CallAnswer,
    },
    /// The framework wants something.
    Command(Command),
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallAnswer {
    /// 2xx.
    Accepted,
    /// 4xx: no effect.
    Refused {
        /// HTTP status.
        status: u16,
        /// The master's words.
        reason: String,
    },
    /// Redirected: no effect, and the master no longer leads.
    NotLeading,
    /// No connection: no effect.
    NotSent {
        /// What happened.
        reason: String,
    },
    /// Nobody knows.
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// What the driver has to do, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Find the leader and send SUBSCRIBE; answered by `Opened` or `OpenFailed`.
    Open {
        /// The SUBSCRIBE call.
        call: Box<Call>,
    },
    /// Drop the open stream. It says no more.
    Close,
    /// Send a call to the master of the open stream; answered by `Answered`, even after a `Close`.
    Send {
        /// Names the call in its answer.
        token: u64,
        /// `Mesos-Stream-Id` to send along.
        stream_id: String,
        /// The call.
        call: Box<Call>,
    },
    /// Tell the framework.
    Deliver(Event),
    /// Nothing more will be done; `Err` if the master refused this framework for good.
    End(Result<(), String>),
}
