//! The supervisor of drivers: a framework inside the core, with a fixed id, without connection or failover timer.
//!
//! ```text
//!             ┌────────────────── lost with its agent ─────────────────┐
//!             ▼                                                        │
//! submit ─► QUEUED ─ place: LaunchDriver ─► STAGING ─► RUNNING ── end ─┼─► BACKOFF ─ deadline ─► QUEUED
//!             ▲                                │          │            └─► FINISHED · FAILED · KILLED
//!             └── (a terminal update comes) ── UNREACHABLE ◄── lease over, agent unreachable
//!                                                  └─ place: LaunchDriver with the next generation
//! ```
//!
//! Owns the decision when a driver is launched, and everything about leases and tokens. All state that matters is in the
//! Registry; here is only what a new leader can do without. Each look at a driver starts from the Registry, whatever the
//! occasion, so that a new leader goes on where the old one stopped. Refuses to touch a driver while a proposal about it is
//! in flight.
//!
//! `Master` owns one `Supervisor`, lends it a [`Context`] at each call and performs the [`Request`]s in order.

mod calls;
mod fate;
mod launch;
mod lease;
mod policy;
mod review;
mod view;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use tepui_proto::resources::Resources;
use tepui_proto::tepui::operator::DriverState;
use tepui_proto::v1;

pub(super) use launch::failover_timeout_ms;
pub use view::{get_drivers, next_launch_in_ms, restarts};

use self::lease::Leases;
use super::Config;
use super::effect::{Note, Reply};
use super::input::{Now, RequestId};
use super::mint::Mint;
use crate::allocator::Demand;
use crate::digest::sha256;
use crate::ids::{AgentId, FrameworkId, TaskKey};
use crate::registry::{DriverRecord, Operation, Outcome, Refusal, Registry};

/// Wait after a launch that was refused when it was applied, milliseconds.
const RETRY_MS: u64 = 1_000;

/// A driver that waited for so long may have offers taken back from frameworks that sit on them, milliseconds.
const PATIENCE_MS: u64 = 1_000;

/// So long a driver that fell silent is wanted on any agent but the one where it did, milliseconds: its whole host may stand still.
const ELSEWHERE_MS: u64 = 5_000;

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
#[expect(clippy::large_enum_variant, reason = "requests are few and performed at once")]
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
    /// Takes back offers of one agent, if that makes room for this.
    MakeRoom {
        demand: Demand,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Submit { request: RequestId, name: String },
    Kill { request: RequestId, name: String },
    StateCas { request: RequestId },
    Launch { name: String, generation: u64 },
    Observe { name: String },
}

#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    leases: Leases,
    /// Drivers with a decision in flight: nothing more is decided about them.
    busy: BTreeSet<String>,
    /// Drivers whose last launch was refused: not before this cluster time.
    retry_at_ms: BTreeMap<String, u64>,
    /// Terminal updates of current tasks that came in before their `Observe` was applied.
    ended: BTreeMap<TaskKey, (v1::TaskState, String)>,
    /// Tasks that this leader has asked to be killed, and when.
    killed: BTreeMap<TaskKey, u64>,
    demands: Arc<[Demand]>,
    /// Waiting drivers, and when more room is to be made for them.
    room_at_ms: BTreeMap<String, u64>,
    /// Drivers that fell silent, and until when they are wanted on another agent.
    elsewhere_until_ms: BTreeMap<String, u64>,
    next_deadline: Option<u64>,
    seen: OrdMap<Arc<str>, Arc<DriverRecord>>,
}

impl Supervisor {
    /// A leadership began: `TakeLead` is applied, leases start in full.
    pub(crate) fn take_lead(&mut self, cx: &mut Context<'_>) {
        *self = Supervisor::default();
        self.review_all(cx);
    }

    /// The Registry advanced. Called once for each batch, after all outcomes and before resources are planned.
    pub(crate) fn applied(&mut self, cx: &mut Context<'_>) {
        if !self.seen.ptr_eq(&cx.registry.drivers) || !self.ended.is_empty() {
            self.review_all(cx);
        }
    }

    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        if !cx.registry.drivers.is_empty() {
            self.review_all(cx);
        }
    }

    pub(crate) fn outcome(&mut self, cx: &mut Context<'_>, tag: Tag, outcome: &Outcome) {
        match tag {
            Tag::Submit { request, name } => self.submitted(cx, request, &name, outcome),
            Tag::Kill { request, name } => self.kill_applied(cx, request, &name, outcome),
            Tag::StateCas { request } => self.state_cas_applied(cx, request, outcome),
            Tag::Launch { name, generation } => {
                self.busy.remove(&name);
                self.launched(cx, &name, generation, outcome);
            }
            Tag::Observe { name } => {
                self.busy.remove(&name);
            }
        }
    }

    pub(crate) fn failed(&mut self, cx: &mut Context<'_>, tag: Tag, unknown: bool, reason: &str) {
        match tag {
            Tag::Submit { request, .. } | Tag::Kill { request, .. } | Tag::StateCas { request } => {
                let end = if unknown { "the outcome is unknown" } else { "nothing was committed" };
                let reply = Reply::Rejected { status: 503, reason: format!("{end}: {reason}") };
                cx.requests.push(Request::Reply { request, reply });
            }
            // Should it have been committed after all: a second one carries the same generation, and is refused.
            Tag::Launch { name, .. } | Tag::Observe { name } => {
                self.busy.remove(&name);
                self.retry_at_ms.insert(name, cx.now.cluster_ms.saturating_add(RETRY_MS));
                self.plan_ahead(cx);
            }
        }
    }

    /// An update about a task of the drivers' framework: from its agent, or from the master about an agent it lost.
    ///
    /// That of an older generation is acknowledged and changes nothing.
    pub(crate) fn status(
        &mut self,
        cx: &mut Context<'_>,
        task: &TaskKey,
        status: &v1::TaskStatus,
        _latest: v1::TaskState,
    ) {
        if let (Some(uuid), Some(agent_id)) =
            (status.uuid.clone().filter(|uuid| !uuid.is_empty()), &status.agent_id)
        {
            // What becomes of the driver can still be told when the task has left the table: from its history.
            let agent_id = AgentId::from(agent_id);
            cx.requests.push(Request::Acknowledge { agent_id, task: task.clone(), uuid });
        }
        let driver = task.task.as_str().rsplit_once(".g").and_then(|(name, _)| cx.registry.driver(name));
        let Some(driver) = driver.filter(|driver| driver.task_key().as_ref() == Some(task)) else { return };
        if status.state().is_terminal() && !driver.ended() {
            self.ended.insert(task.clone(), (status.state(), fate::message_of(status)));
        }
        let driver = driver.clone();
        let began = matches!(status.state(), v1::TaskState::TaskRunning | v1::TaskState::TaskKilling);
        if began && driver.state() == DriverState::DriverStaging && !self.busy.contains(driver.name()) {
            self.observe_running(cx, &driver);
        } else {
            self.review(cx, &driver);
        }
        self.plan_ahead(cx);
    }

    /// An agent's stream ended, or it was marked unreachable or removed (its tasks' updates come through `status`).
    ///
    /// Nothing follows at once: the lease decides.
    pub(crate) fn agent_lost(&mut self, cx: &mut Context<'_>, _agent_id: &AgentId) {
        self.tick(cx);
    }

    /// Cluster time of the next deadline that only the supervisor knows.
    pub(crate) fn next_deadline(&self, _registry: &Registry) -> Option<u64> {
        self.next_deadline
    }

    /// What waiting drivers want. The same allocation as before if nothing changed.
    pub(crate) fn demands(&self, _registry: &Registry, _now: Now) -> Arc<[Demand]> {
        self.demands.clone()
    }

    /// Resources were found for a demand.
    pub(crate) fn place(
        &mut self,
        cx: &mut Context<'_>,
        driver: &str,
        agent_id: &AgentId,
        _resources: &Resources,
    ) {
        let Some(record) = cx.registry.driver(driver).cloned() else { return };
        if self.busy.contains(driver) || !launch::is_wanting(&record) {
            return;
        }
        let token = cx.mint.token();
        let hash = sha256(token.as_bytes());
        let operation = launch::operation(cx.registry, &record, agent_id, &token, hash, &cx.config.masters);
        let Some(operation) = operation else { return };
        let tag = Tag::Launch { name: driver.to_owned(), generation: operation.generation };
        self.busy.insert(driver.to_owned());
        self.retry_at_ms.remove(driver);
        cx.requests.push(Request::Propose { operation: Operation::LaunchDriver(operation), tag });
        self.plan_ahead(cx);
    }

    fn launched(&mut self, cx: &mut Context<'_>, name: &str, generation: u64, outcome: &Outcome) {
        match outcome {
            Outcome::Launched(results) if results.iter().all(Result::is_ok) => {
                // Whoever holds the stream now is of an older generation: the new one has not been sent yet.
                if let Some(driver) = cx.registry.driver(name) {
                    cx.requests.push(Request::CloseFramework {
                        framework_id: FrameworkId::from(driver.framework_id.as_str()),
                        message: format!("driver {name} was replaced by generation {generation}"),
                    });
                }
            }
            Outcome::Refused(Refusal::DriverEnded | Refusal::WrongGeneration | Refusal::UnknownDriver) => {}
            _ => {
                self.retry_at_ms.insert(name.to_owned(), cx.now.cluster_ms.saturating_add(RETRY_MS));
            }
        }
    }
}
