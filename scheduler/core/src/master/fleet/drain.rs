//! Agents that are to be emptied, and agents that are to stay empty.

use tepui_proto::tepui::agent_link::{Event, event};
use tepui_proto::v1::{DurationInfo, KillPolicy, TaskState, TaskStatus, task_status::Reason};

use super::super::core::Master;
use super::super::effect::{Level, LocalChange};
use super::super::input::RequestId;
use super::FleetPending;
use crate::ids::{AgentId, FrameworkId, TaskKey};
use crate::registry::{
    ActivateAgent, AgentRecord, DrainAgent, DrainedAgent, MarkGone, Operation, Outcome, Registry, TaskRecord,
};

impl Master {
    pub(super) fn on_drain(
        &mut self,
        request: RequestId,
        id: &AgentId,
        max_grace_ms: Option<u64>,
        mark_gone: bool,
    ) {
        if self.refuse_unknown(request, id) {
            return;
        }
        let drain = DrainAgent { agent_id: id.as_str().to_owned(), max_grace_ms, mark_gone };
        let pending = FleetPending::Drain { agent: id.clone(), request };
        self.propose_fleet(Operation::DrainAgent(drain), pending);
    }

    pub(super) fn on_deactivate(&mut self, request: RequestId, id: &AgentId) {
        if !self.refuse_unknown(request, id) {
            self.propose_activation(request, id, false);
        }
    }

    pub(super) fn on_reactivate(&mut self, request: RequestId, id: &AgentId) {
        if self.refuse_unknown(request, id) {
            return;
        }
        let record = self.registry.agents.get(id);
        if record.is_some_and(|record| !record.deactivated) {
            self.reject(request, 400, format!("agent {id} is not deactivated"));
        } else if self.fleet.draining.contains(id) {
            self.reject(request, 400, format!("agent {id} is still being drained"));
        } else {
            self.propose_activation(request, id, true);
        }
    }

    fn propose_activation(&mut self, request: RequestId, id: &AgentId, active: bool) {
        let activate = ActivateAgent { agent_id: id.as_str().to_owned(), active };
        let pending = FleetPending::Activation { agent: id.clone(), request };
        self.propose_fleet(Operation::ActivateAgent(activate), pending);
    }

    /// Answers for an agent that cannot be changed; returns whether it did.
    fn refuse_unknown(&mut self, request: RequestId, id: &AgentId) -> bool {
        if !self.registry.agents.contains_key(id) {
            self.reject(request, 400, format!("agent {id} cannot be found"));
        } else if self.going(id) {
            self.reject(request, 409, format!("agent {id} is being marked gone"));
        } else {
            return false;
        }
        true
    }

    pub(super) fn drain_began(&mut self, id: &AgentId) {
        self.note(Level::Info, "agent is being drained", vec![("agent_id", id.to_string())]);
        self.fleet.draining.insert(id.clone());
        self.activation_changed(id);
        self.kill_drained_tasks(id);
    }

    pub(super) fn activation_changed(&mut self, id: &AgentId) {
        self.withdraw_offers_of_agent(id);
        self.tell_allocator_agent(id);
        self.tell_agent_of_drain(id);
        self.changed(LocalChange::Agent(id.clone()));
    }

    /// Tells the agent to end what is left on it, if it is being drained. Said again whenever it registers.
    pub(in super::super) fn kill_drained_tasks(&mut self, id: &AgentId) {
        let drain = self.registry.agents.get(id).and_then(|record| record.drain.clone());
        let Some(drain) = drain.filter(|drain| !drain.drained) else { return };
        for key in self.registry.tasks_on(id) {
            let Some(record) = self.registry.tasks.get(&key).cloned() else { continue };
            // Those of a framework that is gone are ended already.
            let ended = self.reports.seen(&key).is_some_and(|seen| seen.latest.is_terminal());
            if ended || record.state().is_terminal() || self.registry.is_orphan(&key) {
                continue;
            }
            let kill = event::KillTask {
                framework_id: Some(key.framework.to_proto()),
                task_id: Some(key.task.to_proto()),
                kill_policy: kill_policy(&record, drain.max_grace_ms),
                max_grace_ms: drain.max_grace_ms,
            };
            self.send_to_agent(
                id,
                Event {
                    r#type: Some(event::Type::KillTask as i32),
                    kill_task: Some(kill),
                    ..Default::default()
                },
            );
        }
    }

    /// A launch that the agent never got, and will not get since it is being drained.
    pub(in super::super) fn drop_undelivered(&mut self, key: &TaskKey, agent: AgentId) {
        let aware = self.registry.frameworks.get(&key.framework).is_some_and(|one| one.partition_aware());
        let state = TaskState::TaskDropped.as_told(aware);
        let text = "the agent is being drained";
        let status = self.verdict(key, Some(agent.to_proto()), state, Reason::AgentDraining, text);
        self.report_status(&agent, key, status.clone(), state);
        self.tell(&key.framework.clone(), status, state);
    }

    /// Looks which agents have become empty.
    pub(in super::super) fn settle_drains(&mut self) {
        let empty = self.fleet.draining.iter().filter(|id| {
            let here = self.agents.get(*id).is_some_and(|session| session.registered().is_some());
            here && !self.fleet.finishing.contains(*id)
                && !self.registry.tasks_by_agent.contains_key(*id)
                && self.pipeline.launches_on(id).next().is_none()
        });
        let empty: Vec<AgentId> = empty.cloned().collect();
        for id in empty {
            let drain = self.registry.agents.get(&id).and_then(|record| record.drain.clone());
            let Some(drain) = drain else {
                self.fleet.draining.remove(&id);
                continue;
            };
            self.fleet.finishing.insert(id.clone());
            let agent_id = id.as_str().to_owned();
            if drain.mark_gone {
                let pending = FleetPending::Gone { agent: id, request: None };
                self.propose_fleet(Operation::MarkGone(MarkGone { agent_id }), pending);
            } else {
                let pending = FleetPending::Drained { agent: id };
                self.propose_fleet(Operation::DrainedAgent(DrainedAgent { agent_id }), pending);
            }
        }
    }

    /// What failed is looked at again.
    pub(in super::super) fn retry_drains(&mut self) {
        self.fleet.finishing.clear();
        self.settle_drains();
    }

    /// A drain whose outcome nobody heard of may be committed after all, or undone: agents hear of it late, but they do.
    pub(in super::super) fn settle_doubtful_drains(&mut self) {
        let draining = self.registry.agent_index.draining.iter();
        let unseen: Vec<AgentId> =
            draining.filter(|id| !self.fleet.draining.contains(*id)).cloned().collect();
        for id in unseen {
            self.drain_began(&id);
        }
        let here: Vec<AgentId> = self.agents.keys().cloned().collect();
        for id in here {
            self.tell_agent_of_drain(&id);
        }
    }

    pub(super) fn drain_ended(&mut self, id: &AgentId, outcome: &Outcome) {
        self.fleet.finishing.remove(id);
        let drained = self.registry.agents.get(id).and_then(|record| record.drain.as_ref());
        if drained.is_none_or(|drain| drain.drained) {
            self.fleet.draining.remove(id);
        }
        self.tell_agent_of_drain(id);
        if *outcome == Outcome::Done {
            self.note(Level::Info, "agent is drained", vec![("agent_id", id.to_string())]);
            self.changed(LocalChange::Agent(id.clone()));
        }
    }
}

/// Returns the policy with which a task of an agent being drained is killed: its own, or the framework's later wish, cut to what
/// the operator allows. A task without one is cut by its agent, which knows its default.
fn kill_policy(record: &TaskRecord, max_grace_ms: Option<u64>) -> Option<KillPolicy> {
    let asked = record.kill.as_ref().and_then(|marker| marker.kill_policy);
    let policy = asked.or_else(|| record.task.as_ref().and_then(|task| task.kill_policy))?;
    let grace = policy.grace_period.and_then(|grace| grace.nanoseconds);
    let (Some(max_ms), Some(grace)) = (max_grace_ms, grace) else { return Some(policy) };
    let max = i64::try_from(max_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    Some(KillPolicy { grace_period: Some(DurationInfo { nanoseconds: Some(grace.min(max)) }) })
}

/// Rewrites what an agent that is being drained reports: its kills are the drain's work.
pub(in super::super) fn drain_status(
    registry: &Registry,
    agent: Option<&AgentRecord>,
    framework: &FrameworkId,
    status: &mut TaskStatus,
    latest: TaskState,
) -> TaskState {
    let Some(agent) = agent.filter(|agent| agent.draining()) else { return latest };
    if status.state() == TaskState::TaskKilled {
        status.reason = Some(Reason::AgentDraining as i32);
        status.state = Some(registry.drained_state(agent, framework, TaskState::TaskKilled) as i32);
    }
    registry.drained_state(agent, framework, latest)
}
