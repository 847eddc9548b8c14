//! The supervisor of drivers: a framework inside the core, with a fixed id, without connection or failover timer.
//!
//! Seam: `Master` owns one `Supervisor`, lends it a [`Context`] at each call and performs the [`Request`]s in order.

use tepui_proto::tepui::operator;
use tepui_proto::v1;

use super::Config;
use super::effect::{Note, Reply};
use super::input::{Now, RequestId};
use super::mint::Mint;
use crate::ids::{AgentId, FrameworkId, TaskKey};
use crate::registry::{Operation, Outcome, Registry};

/// What the supervisor may look at, and where it says what it wants.
pub(crate) struct Context<'a> {
    pub(crate) now: Now,
    pub(crate) registry: &'a Registry,
    pub(crate) config: &'a Config,
    pub(crate) mint: &'a mut Mint,
    pub(crate) requests: &'a mut Vec<Request>,
}

/// Something that `Master` does for the supervisor.
#[derive(Debug)]
#[expect(dead_code, reason = "the supervisor is being written")]
pub(crate) enum Request {
    /// Comes back through `outcome` or `failed` with the same tag. A `LaunchDriver` is charged until then, and its task is
    /// sent to the agent by `Master` once it is applied.
    Propose {
        operation: Operation,
        tag: Tag,
    },
    Reply {
        request: RequestId,
        reply: Reply,
    },
    /// ERROR with this message, then the end of the framework's stream, if it has one.
    CloseFramework {
        framework_id: FrameworkId,
        message: String,
    },
    /// Ends the framework like a TEARDOWN.
    RemoveFramework {
        framework_id: FrameworkId,
        reason: String,
    },
    /// Kills a task of the drivers' framework: marker committed, agent told (again).
    KillTask {
        task: TaskKey,
        kill_policy: Option<v1::KillPolicy>,
    },
    /// Ends the agent's retries of an update.
    Acknowledge {
        agent_id: AgentId,
        task: TaskKey,
        uuid: bytes::Bytes,
    },
    Note(Note),
}

/// What a proposal of the supervisor was for; its own business.
#[derive(Clone, Debug)]
pub(crate) enum Tag {}

#[derive(Debug, Default)]
pub(crate) struct Supervisor {}

impl Supervisor {
    /// A leadership began: `TakeLead` is applied, leases start in full.
    pub(crate) fn take_lead(&mut self, _cx: &mut Context<'_>) {}
    /// The Registry advanced. Called once for each batch, after all outcomes and before resources are planned.
    pub(crate) fn applied(&mut self, _cx: &mut Context<'_>) {}
    pub(crate) fn outcome(&mut self, _cx: &mut Context<'_>, _tag: Tag, _outcome: &Outcome) {}
    pub(crate) fn failed(&mut self, _cx: &mut Context<'_>, _tag: Tag, _unknown: bool, _reason: &str) {}
    pub(crate) fn submit(&mut self, _cx: &mut Context<'_>, _request: RequestId, _spec: operator::DriverSpec) {
    }
    pub(crate) fn kill(
        &mut self,
        _cx: &mut Context<'_>,
        _request: RequestId,
        _call: operator::call::KillDriver,
    ) {
    }
    pub(crate) fn state_cas(
        &mut self,
        _cx: &mut Context<'_>,
        _request: RequestId,
        _call: operator::call::StateCas,
        _token: Option<&str>,
    ) {
    }
    pub(crate) fn renew_lease(
        &mut self,
        _cx: &mut Context<'_>,
        _request: RequestId,
        _call: operator::call::RenewLease,
        _token: Option<&str>,
    ) {
    }
    /// An update about a task of the drivers' framework: from its agent, or from the master about an agent it lost.
    pub(crate) fn status(
        &mut self,
        _cx: &mut Context<'_>,
        _task: &TaskKey,
        _status: &v1::TaskStatus,
        _latest: v1::TaskState,
    ) {
    }
    /// An agent's stream ended, or it was marked unreachable or removed (its tasks' updates come through `status`).
    pub(crate) fn agent_lost(&mut self, _cx: &mut Context<'_>, _agent_id: &AgentId) {}
    pub(crate) fn tick(&mut self, _cx: &mut Context<'_>) {}
    /// Cluster time of the next deadline that only the supervisor knows.
    pub(crate) fn next_deadline(&self, _registry: &Registry) -> Option<u64> {
        None
    }
    /// Whether a SUBSCRIBE for this id may pass; the text goes into the ERROR event.
    pub(crate) fn authorize(
        &self,
        _registry: &Registry,
        _framework_id: &FrameworkId,
        _token: Option<&str>,
    ) -> Result<(), String> {
        Ok(())
    }
    /// What queued drivers want; asked after each turn.
    pub(crate) fn demands(&self, _registry: &Registry, _now: Now) -> Vec<crate::allocator::Demand> {
        Vec::new()
    }
    /// An allocation for a demand.
    pub(crate) fn place(
        &mut self,
        _cx: &mut Context<'_>,
        _driver: &str,
        _agent_id: &AgentId,
        _resources: &tepui_proto::resources::Resources,
    ) {
    }
}
