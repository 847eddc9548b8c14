//! Everything that the core wants done.

use tepui_proto::tepui::{agent_link, operator};
use tepui_proto::v1;

use super::input::{ConnectionId, ProposalId, RequestId};
use crate::ids::{AgentId, FrameworkId};
use crate::registry::Envelope;

/// To be performed in order.
#[expect(
    clippy::large_enum_variant,
    reason = "moved a few times and never kept in bulk: a box would only cost an allocation"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Commit this, after all that was proposed before.
    Propose {
        proposal: ProposalId,
        envelope: Envelope,
    },
    ToFramework {
        connection: ConnectionId,
        event: v1::scheduler::Event,
    },
    ToAgent {
        connection: ConnectionId,
        event: agent_link::Event,
    },
    /// Close the stream after all that was sent to it before. No `ConnectionClosed` is expected for it, none does harm.
    Close {
        connection: ConnectionId,
    },
    /// Exactly one for each request.
    Reply {
        request: RequestId,
        reply: Reply,
    },
    /// A `Tick` is wanted at this cluster time; replaces an earlier wish.
    WakeAt {
        cluster_ms: u64,
    },
    /// Something that only the leader knows changed: offers, connections.
    Changed(LocalChange),
    /// Something an operator may want to read.
    Log(Note),
}

#[expect(
    clippy::large_enum_variant,
    reason = "moved a few times and never kept in bulk: a box would only cost an allocation"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// 202, empty.
    Accepted,
    /// 202, empty, with a header that says what Mesos would have ignored in silence.
    Warned(String),
    /// 200, empty.
    Ok,
    /// 200 with this body.
    Operator(operator::Response),
    /// The caller's fault, or nobody's: this status and text.
    Rejected { status: u16, reason: String },
}

/// What changed in the leader's own state: look it up in the `LocalView`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalChange {
    /// Connection or offers of a framework.
    Framework(FrameworkId),
    /// Connection or offers of an agent.
    Agent(AgentId),
}

/// One line for the log, with fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub level: Level,
    /// Lowercase fragment.
    pub message: &'static str,
    pub fields: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
}
