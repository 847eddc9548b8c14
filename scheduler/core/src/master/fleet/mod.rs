//! What operators do with agents and machines, and how agents that fell silent are given up.
//!
//! ```text
//! drain     DRAIN_AGENT, DEACTIVATE_AGENT, REACTIVATE_AGENT: empties an agent, keeps it empty
//! gone      MARK_AGENT_GONE: an agent that never comes back
//! machines  the maintenance schedule, machines down and up
//! inverse   inverse offers: asks for the resources of scheduled machines back
//! removals  how fast silent agents are given up, and when not at all
//! collect   agents that were unreachable or gone for too long are forgotten
//! ```
//! Owns the leader-local part of all this; what must last is in the Registry.

mod collect;
mod drain;
mod gone;
mod inverse;
mod machines;
mod removals;

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::tepui::agent_link::{Event, event};
use tepui_proto::v1;

pub(super) use drain::drain_status;
use inverse::Inverse;
use removals::Removals;

use super::core::Master;
use super::effect::Reply;
use super::input::RequestId;
use super::outcomes::RETRY_MS;
use super::pipeline::Pending;
use super::timers::Timer;
use crate::ids::{AgentId, OfferId};
use crate::registry::{Operation, Outcome};

/// Agents looked at in one turn, so that no turn is long.
const SLICE: usize = 512;

/// What operators ask for, with the shape of each part checked.
#[derive(Clone, Debug)]
pub enum FleetCall {
    /// Empty an agent; tasks get at most so many milliseconds between being asked and being forced.
    Drain {
        agent: AgentId,
        max_grace_ms: Option<u64>,
        mark_gone: bool,
    },
    /// Offer nothing of an agent any more; its tasks go on.
    Deactivate(AgentId),
    /// Offer an agent again.
    Reactivate(AgentId),
    /// An agent will never come back.
    MarkGone(AgentId),
    /// The whole maintenance schedule.
    UpdateSchedule(v1::maintenance::Schedule),
    StartMaintenance(Vec<v1::MachineId>),
    StopMaintenance(Vec<v1::MachineId>),
}

/// Numbers of one leadership, for metrics; they begin at zero with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetCounters {
    pub registrations: u64,
    pub reregistrations: u64,
    /// Agents that are no more, for whatever reason.
    pub removals: u64,
    /// Of these: silent for too long.
    pub removals_unhealthy: u64,
    /// Of these: said farewell, or removed by an operator.
    pub removals_unregistered: u64,
    /// Silent ones that did not come back after a change of leader.
    pub recovery_removals: u64,
    pub unreachable_scheduled: u64,
    pub unreachable_completed: u64,
    pub unreachable_canceled: u64,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FleetTimer {
    /// The next silent agent may be given up.
    Removal,
    /// Old entries of the Registry are looked for.
    Collect,
    /// More agents are to be held against the maintenance schedule.
    Machines,
    /// Inverse offers are to be made.
    Inverse,
    InverseExpiry(OfferId),
    /// A refusal of an inverse offer ends.
    InverseFilter,
}

/// Why something was proposed; a `request` is answered when it is settled.
#[derive(Debug)]
pub(super) enum FleetPending {
    Drain { agent: AgentId, request: RequestId },
    Activation { agent: AgentId, request: RequestId },
    Drained { agent: AgentId },
    Gone { agent: AgentId, request: Option<RequestId> },
    Maintenance { request: RequestId },
    Prune,
}

/// The leader's own knowledge.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    /// Agents being drained that are not empty yet.
    draining: BTreeSet<AgentId>,
    /// Of these: their emptiness is proposed.
    finishing: BTreeSet<AgentId>,
    removals: Removals,
    /// Agents on scheduled machines that are not down, with the time.
    unavailable: BTreeMap<AgentId, v1::Unavailability>,
    /// Agents to be held against the schedule.
    unseen: BTreeSet<AgentId>,
    inverse: Inverse,
}

impl Master {
    pub(super) fn on_fleet_call(&mut self, request: RequestId, call: FleetCall) {
        match call {
            FleetCall::Drain { agent, max_grace_ms, mark_gone } => {
                self.on_drain(request, &agent, max_grace_ms, mark_gone);
            }
            FleetCall::Deactivate(agent) => self.on_deactivate(request, &agent),
            FleetCall::Reactivate(agent) => self.on_reactivate(request, &agent),
            FleetCall::MarkGone(agent) => self.on_mark_gone(request, &agent),
            FleetCall::UpdateSchedule(schedule) => self.on_update_schedule(request, schedule),
            FleetCall::StartMaintenance(machines) => self.on_start_maintenance(request, machines),
            FleetCall::StopMaintenance(machines) => self.on_stop_maintenance(request, machines),
        }
    }

    pub(super) fn fleet_took_lead(&mut self) {
        self.fleet.draining = self.registry.agent_index.draining.iter().cloned().collect();
        self.removals_took_lead();
        self.refresh_machines();
        self.arm_collection();
    }

    pub(super) fn fleet_timer(&mut self, timer: FleetTimer) {
        match timer {
            FleetTimer::Removal => self.removals_due(),
            FleetTimer::Collect => self.collect(),
            FleetTimer::Machines => self.refresh_some_machines(),
            FleetTimer::Inverse => self.make_inverse_offers(),
            FleetTimer::InverseExpiry(offer) => self.expire_inverse_offer(&offer),
            FleetTimer::InverseFilter => self.expire_inverse_filters(),
        }
    }

    pub(super) fn fleet_outcome(&mut self, pending: FleetPending, outcome: Outcome) {
        match pending {
            FleetPending::Drain { agent, request } => {
                if self.settled(request, &outcome) {
                    self.drain_began(&agent);
                }
            }
            FleetPending::Activation { agent, request } => {
                if self.settled(request, &outcome) {
                    self.activation_changed(&agent);
                }
            }
            FleetPending::Drained { agent } => self.drain_ended(&agent, &outcome),
            FleetPending::Gone { agent, request } => self.agent_gone(&agent, request, outcome),
            FleetPending::Maintenance { request } => {
                if self.settled(request, &outcome) {
                    self.maintenance_changed(outcome);
                }
            }
            FleetPending::Prune => self.collected(),
        }
    }

    pub(super) fn fleet_failed(&mut self, pending: FleetPending, reason: &str) {
        match pending {
            FleetPending::Drain { request, .. }
            | FleetPending::Activation { request, .. }
            | FleetPending::Maintenance { request }
            | FleetPending::Gone { request: Some(request), .. } => {
                self.reject(request, 503, format!("the change was not committed: {reason}"));
            }
            FleetPending::Drained { .. } | FleetPending::Gone { request: None, .. } => {
                // Not at once: whatever made this one fail would make the next one fail.
                self.timers.arm(self.now.cluster_ms + RETRY_MS, Timer::Retry);
            }
            FleetPending::Prune => {}
        }
    }

    /// Answers an operator; returns whether the wish was fulfilled.
    fn settled(&mut self, request: RequestId, outcome: &Outcome) -> bool {
        if let Outcome::Refused(refusal) = outcome {
            self.reject(request, 400, refusal.to_string());
            return false;
        }
        self.reply(request, Reply::Ok);
        true
    }

    fn propose_fleet(&mut self, operation: Operation, pending: FleetPending) {
        self.propose(operation, Pending::Fleet(pending));
    }

    /// Tells an agent to stop everything and leave.
    fn order_shutdown(&mut self, agent: &AgentId, message: &str) {
        let shutdown = event::Shutdown { message: Some(message.to_owned()) };
        self.send_to_agent(
            agent,
            Event {
                r#type: Some(event::Type::Shutdown as i32),
                shutdown: Some(shutdown),
                ..Default::default()
            },
        );
    }
}
