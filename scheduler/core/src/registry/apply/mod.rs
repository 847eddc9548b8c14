//! Applies committed envelopes: one arm for each operation, in the files below.
//!
//! Total and deterministic: any decodable envelope gives the same tables and the same answer on every replica, and never a
//! panic. Everything that the proposer believed is checked again here, since the log may have moved on meanwhile.

mod agents;
mod attach;
pub(super) mod conversions;
pub(super) mod drivers;
mod executors;
mod fleet;
pub(super) mod frameworks;
mod lineage;
mod machines;
mod observe;
mod settings;
pub(super) mod state_store;
pub(super) mod tasks;

use std::sync::Arc;

use super::operation::{Envelope, Operation, TakeLead};
use super::outcome::{Change, Outcome, Refusal};
use super::records::LeaderRecord;
use super::tables::Registry;

/// Most frameworks kept after their end.
pub const MAX_COMPLETED_FRAMEWORKS: usize = 50;
/// Most ended tasks kept for each framework.
pub const MAX_HISTORY: usize = 1000;
/// Most agents remembered as gone for good.
pub const MAX_GONE_AGENTS: usize = 102_400;
/// Most unreachable tasks kept for each framework.
pub const MAX_UNREACHABLE_TASKS: usize = 1000;
/// Most statuses kept of one task.
pub const MAX_STATUSES: usize = 16;

/// One application: the tables, and what it has touched.
struct Step<'a> {
    tables: &'a mut Registry,
    changes: Vec<Change>,
}

impl Registry {
    /// Applies one committed envelope, and tells what came of it and which objects it touched.
    ///
    /// An envelope of another epoch changes nothing, not even the time. After a change of leadership, every agent and
    /// framework counts as not connected, although only [`Change::Leadership`] is reported.
    pub fn apply(&mut self, envelope: &Envelope) -> (Outcome, Vec<Change>) {
        let Some(operation) = &envelope.operation else {
            return (Outcome::Refused(Refusal::Malformed), Vec::new());
        };
        let stale = envelope.epoch != self.epoch && !mutant!("apply-without-epoch");
        if !matches!(operation, Operation::TakeLead(_)) && stale {
            return (Outcome::Stale { epoch: self.epoch }, Vec::new());
        }
        if !mutant!("time-stands-still") {
            self.cluster_ms = self.cluster_ms.max(envelope.cluster_ms);
        }
        self.wall_ms = envelope.wall_ms;
        let mut step = Step { tables: self, changes: Vec::new() };
        let outcome = step.run(operation).unwrap_or_else(Outcome::Refused);
        let mut changes = step.changes;
        changes.sort();
        changes.dedup();
        (outcome, changes)
    }
}

impl Step<'_> {
    fn run(&mut self, operation: &Operation) -> Result<Outcome, Refusal> {
        match operation {
            Operation::TakeLead(take) => Ok(self.take_lead(take)),
            Operation::Tick(_) => Ok(Outcome::Done),
            Operation::AdmitFramework(admit) => self.admit_framework(admit),
            Operation::UpdateFramework(update) => self.update_framework(update),
            Operation::DisconnectFramework(disconnect) => self.disconnect_framework(disconnect),
            Operation::RemoveFramework(remove) => self.remove_framework(remove),
            Operation::AdmitAgent(admit) => self.admit_agent(admit),
            Operation::ReregisterAgent(reregister) => self.reregister_agent(reregister),
            Operation::ReregisterMore(more) => self.reregister_more(more),
            Operation::AttachAgents(attach) => Ok(self.attach_agents(attach)),
            Operation::DisconnectAgent(disconnect) => self.disconnect_agent(disconnect),
            Operation::MarkUnreachable(mark) => self.mark_unreachable(mark),
            Operation::RemoveAgent(remove) => self.remove_agent(remove),
            Operation::Launch(launch) => self.launch(launch),
            Operation::MarkKill(mark) => self.mark_kill(mark),
            Operation::Observe(observe) => Ok(self.observe(observe)),
            Operation::SubmitDriver(submit) => self.submit_driver(submit),
            Operation::KillDriver(kill) => self.kill_driver(kill),
            Operation::LaunchDriver(launch) => self.launch_driver(launch),
            Operation::ObserveDriver(observe) => self.observe_driver(observe),
            Operation::StateCas(cas) => self.state_cas(cas),
            Operation::SuppressRoles(suppress) => self.suppress_roles(suppress),
            Operation::DrainAgent(drain) => self.drain_agent(drain),
            Operation::DrainedAgent(drained) => self.drained_agent(drained),
            Operation::ActivateAgent(activate) => self.activate_agent(activate),
            Operation::MarkGone(mark) => self.mark_gone(mark),
            Operation::UpdateSchedule(update) => self.update_schedule(update),
            Operation::StartMaintenance(start) => self.start_maintenance(start),
            Operation::StopMaintenance(stop) => self.stop_maintenance(stop),
            Operation::PruneAgents(prune) => Ok(self.prune_agents(prune)),
            Operation::SetWeights(set) => self.set_weights(set),
            Operation::SetQuotas(set) => self.set_quotas(set),
            Operation::Operate(operate) => self.operate(operate),
            Operation::Refound(refound) => self.refound(refound),
            Operation::RaiseLevel(raise) => self.raise_level(raise),
            Operation::Checkpoint(_) => {
                // What the words say is for replicas to judge, not for their states.
                self.tables.checkpoint += 1;
                Ok(Outcome::Done)
            }
        }
    }

    fn take_lead(&mut self, take: &TakeLead) -> Outcome {
        let tables = &mut *self.tables;
        tables.epoch += 1;
        // Cluster time stands still between two leaders. Without this step what the former one logged last would bear the time of
        // the new lead, and an agent or framework that it saw leave would be taken for one that left the new leader.
        tables.cluster_ms += 1;
        tables.leader = Some(Arc::new(LeaderRecord {
            node_id: take.node_id,
            master_id: take.master_id.clone(),
            hostname: take.hostname.clone(),
            ip: take.ip.clone(),
            port: take.port,
            version: take.version.clone(),
            since_ms: tables.cluster_ms,
            elected_wall_ms: tables.wall_ms,
            domain: take.domain.clone(),
            term: take.term,
        }));
        if tables.cluster_id.is_empty() && !take.cluster_id.is_empty() {
            tables.cluster_id = Arc::from(take.cluster_id.as_str());
            self.changes.push(Change::Cluster);
        }
        self.changes.push(Change::Leadership);
        Outcome::TookLead { epoch: self.tables.epoch }
    }
}
