//! Everything that can happen to the core.

use std::collections::BTreeSet;

use tepui_proto::tepui::{agent_link, operator};
use tepui_proto::v1;

use super::fleet::FleetCall;
use crate::ids::{AgentId, FrameworkId};
use crate::registry::{Checkpoint, Outcome, Registry};

/// Number of an event stream; drawn by the shell, never reused while it runs.
pub type ConnectionId = u64;
/// Number of a request that waits for a reply; drawn by the shell.
pub type RequestId = u64;
/// Number of a proposal; drawn by the core, unique within one leadership.
pub type ProposalId = u64;

/// The time, as the shell measured it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// `registry.cluster_ms` at the election plus this leader's monotonic milliseconds since.
    pub cluster_ms: u64,
    /// Milliseconds since 1970, for display only.
    pub wall_ms: u64,
}

/// Who this master is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MasterIdentity {
    /// UUID text, drawn anew for each leadership.
    pub master_id: String,
    pub node_id: u64,
    pub hostname: String,
    /// Text form.
    pub ip: String,
    pub port: u16,
    /// Three numbers, as clients of Mesos compare them.
    pub version: String,
    /// Taken over if the Registry has no cluster id yet.
    pub cluster_id: String,
    /// Region and zone of this master.
    pub domain: Option<v1::DomainInfo>,
    /// Of raft.
    pub term: u64,
}

#[derive(Clone, Debug)]
pub enum Input {
    /// This replica was elected. Answered by a proposal of `TakeLead`; the core serves after its outcome.
    Elected {
        registry: Registry,
        identity: MasterIdentity,
        /// From the operating system: ids and tokens are derived from it.
        seed: [u8; 32],
    },
    /// A standby is told of a newer Registry, so that it has everything ready when it is elected. To be repeated while the master
    /// is [`behind`](super::Master::behind), and after each change, soon.
    Follow { registry: Registry },
    /// This replica no longer leads: everything local is dropped, every stream closed.
    Deposed,
    /// Outcomes of committed envelopes of this leadership, in log order, and the Registry after them.
    Applied { registry: Registry, outcomes: Vec<(ProposalId, Outcome)> },
    /// A proposal did not commit; with `unknown`, nobody can say: it stays charged until `Deposed`.
    ProposalFailed { proposal: ProposalId, unknown: bool, reason: String },
    /// A framework opened its stream; the 200 is already on its way.
    Subscribe {
        connection: ConnectionId,
        stream_id: String,
        call: v1::scheduler::Call,
        /// As authenticated.
        principal: Option<String>,
        driver_token: Option<String>,
    },
    /// Any other scheduler call.
    Call {
        request: RequestId,
        stream_id: Option<String>,
        call: v1::scheduler::Call,
        /// As authenticated.
        principal: Option<String>,
    },
    /// The stream of a framework or an agent ended.
    ConnectionClosed { connection: ConnectionId },
    /// An agent opened its stream with REGISTER.
    AgentRegister { connection: ConnectionId, stream_id: String, call: agent_link::Call },
    /// An agent opened its stream with ATTACH.
    AgentAttach { connection: ConnectionId, stream_id: String, call: agent_link::Call },
    /// Any other call of an agent.
    AgentCall { request: RequestId, stream_id: Option<String>, call: agent_link::Call },
    Operator {
        request: RequestId,
        call: OperatorCall,
        /// As authenticated.
        principal: Option<String>,
        driver_token: Option<String>,
    },
    /// Only agents on these hosts may be offered from now on, or all. Forgotten with the leadership; a standby may be told before.
    Whitelist(Option<BTreeSet<String>>),
    /// Every voter, this one included, can do at least this much. Told again and again while it is more than the cluster's level.
    VoterLevel(u32),
    /// What masters found about an earlier checkpoint: to be committed, as the next one.
    Checkpoint(Checkpoint),
    /// `host:port` of all masters, as they are from now on.
    Masters(Vec<String>),
    /// At the latest `WakeAt`, and at least once a second.
    Tick,
}

/// Operator calls that change something; reads never enter the core.
#[expect(
    clippy::large_enum_variant,
    reason = "moved a few times and never kept in bulk: a box would only cost an allocation"
)]
#[derive(Clone, Debug)]
pub enum OperatorCall {
    Teardown(FrameworkId),
    /// Reservations and volumes of one agent.
    Operate {
        agent: AgentId,
        operation: Box<v1::offer::Operation>,
    },
    SubmitDriver(operator::DriverSpec),
    KillDriver(operator::call::KillDriver),
    StateCas(operator::call::StateCas),
    RenewLease(operator::call::RenewLease),
    /// Agents and machines.
    Fleet(FleetCall),
    UpdateWeights(Vec<v1::WeightInfo>),
    UpdateQuota {
        force: bool,
        configs: Vec<v1::quota::QuotaConfig>,
    },
    SetQuota(v1::quota::QuotaRequest),
    RemoveQuota(String),
    /// Changes nothing, but only the leader's allocator can tell.
    ExplainOffers(FrameworkId),
}
