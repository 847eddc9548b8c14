//! Agents are drained, deactivated, marked gone and forgotten; and what becomes of the tasks of an agent that is lost.
//!
//! ```text
//!             DRAIN                    empty                 mark_gone
//! active ───────────────► DRAINING ─────────────► DRAINED ─ ─ ─ ─ ─ ─ ─► gone
//!    ▲  └──DEACTIVATE──► deactivated                 │
//!    └──────REACTIVATE────────┴──────────────────────┘
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_proto::v1::{TaskState, TaskStatus, task_status::Reason};

use super::{MAX_GONE_AGENTS, MAX_UNREACHABLE_TASKS, Step};
use crate::ids::{AgentId, DRIVERS_FRAMEWORK, ExecutorKey, FrameworkId};
use crate::registry::fleet::{ActivateAgent, DrainAgent, DrainRecord, DrainedAgent, MarkGone, PruneAgents};
use crate::registry::outcome::{Change, Outcome, Refusal};
use crate::registry::records::{AgentRecord, TaskRecord};
use crate::status::Verdict;

/// How the tasks of a lost agent end.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    /// For frameworks that know the finer states of loss, and for the others.
    pub(super) states: (TaskState, TaskState),
    pub(super) reason: Reason,
    pub(super) message: &'static str,
}

impl Step<'_> {
    pub(super) fn drain_agent(&mut self, drain: &DrainAgent) -> Result<Outcome, Refusal> {
        let id = AgentId::from(drain.agent_id.as_str());
        let mut record = AgentRecord::clone(&*self.agent(&id)?);
        record.deactivated = true;
        record.drain = Some(DrainRecord {
            max_grace_ms: drain.max_grace_ms,
            mark_gone: drain.mark_gone,
            drained: false,
            start_wall_ms: self.tables.wall_ms,
        });
        self.put_agent(id, record);
        Ok(Outcome::Done)
    }

    pub(super) fn drained_agent(&mut self, drained: &DrainedAgent) -> Result<Outcome, Refusal> {
        let id = AgentId::from(drained.agent_id.as_str());
        let mut record = AgentRecord::clone(&*self.agent(&id)?);
        let Some(drain) = record.drain.as_mut() else { return Err(Refusal::NotDraining) };
        if self.tables.tasks_by_agent.contains_key(&id) {
            return Err(Refusal::NotEmpty);
        }
        drain.drained = true;
        self.put_agent(id, record);
        Ok(Outcome::Done)
    }

    pub(super) fn activate_agent(&mut self, activate: &ActivateAgent) -> Result<Outcome, Refusal> {
        let id = AgentId::from(activate.agent_id.as_str());
        let mut record = AgentRecord::clone(&*self.agent(&id)?);
        if activate.active {
            if !record.deactivated {
                return Err(Refusal::NotDeactivated);
            }
            if record.drain.as_ref().is_some_and(|drain| !drain.drained) {
                return Err(Refusal::StillDraining);
            }
            record.drain = None;
        }
        record.deactivated = !activate.active;
        self.put_agent(id, record);
        Ok(Outcome::Done)
    }

    pub(super) fn mark_gone(&mut self, mark: &MarkGone) -> Result<Outcome, Refusal> {
        let id = AgentId::from(mark.agent_id.as_str());
        if self.tables.is_gone(&id) {
            return Ok(Outcome::Lost(Vec::new()));
        }
        self.agent(&id)?;
        let lost = self.end_tasks_on(
            &id,
            Ending {
                states: (TaskState::TaskGoneByOperator, TaskState::TaskLost),
                reason: Reason::AgentRemovedByOperator,
                message: "agent was marked gone by an operator",
            },
        );
        self.drop_agent(&id);
        self.remember_gone(&id);
        Ok(Outcome::Lost(lost))
    }

    pub(super) fn prune_agents(&mut self, prune: &PruneAgents) -> Outcome {
        for id in &prune.unreachable {
            let id = AgentId::from(id.as_str());
            let known = self.tables.agents.get(&id);
            if known.is_none_or(|record| record.unreachable_ms.is_none()) {
                continue;
            }
            for key in self.tables.tasks_on(&id) {
                let Some(record) = self.tables.tasks.get(&key).cloned() else { continue };
                if record.state().is_terminal() {
                    self.finish(&key, &record);
                } else {
                    // Nobody knows how it ended, and nobody waits for it any more.
                    self.put_task(&key, None);
                }
            }
            self.drop_agent(&id);
        }
        for id in &prune.gone {
            self.tables.gone_agents.remove(id.as_str());
        }
        Outcome::Done
    }

    /// Ends every task of an agent and puts it away; returns what frameworks are to be told, which is nothing about an end that they
    /// may know already.
    pub(super) fn end_tasks_on(&mut self, id: &AgentId, ending: Ending) -> Vec<(FrameworkId, TaskStatus)> {
        let mut lost = Vec::new();
        for key in self.tables.tasks_on(id) {
            let Some(old) = self.tables.tasks.get(&key).cloned() else { continue };
            let Some(aware) = self.partition_aware(&key.framework) else {
                self.put_task(&key, None);
                continue;
            };
            let mut new = TaskRecord::clone(&old);
            if !old.state().is_terminal() {
                self.end(&mut new, aware, ending);
                lost.extend(new.last_status.clone().map(|status| (key.framework.clone(), status)));
            }
            self.finish(&key, &new);
        }
        lost
    }

    /// The agent's connection broke: what frameworks without checkpoint run there is lost, whatever they know of partitions, since
    /// it does not outlive the agent's process. Returns what they are to be told.
    pub(super) fn end_unchecked_tasks_on(&mut self, id: &AgentId) -> Vec<(FrameworkId, TaskStatus)> {
        let mut lost = Vec::new();
        for key in self.tables.tasks_on(id) {
            let kept = self.outlives_a_connection(&key.framework);
            let Some(old) = self.tables.tasks.get(&key).cloned().filter(|_| !kept) else { continue };
            let mut new = TaskRecord::clone(&old);
            let told = old.task.as_ref().is_some_and(|task| {
                task.status_update_state.is_some() && task.status_update_state().is_terminal()
            });
            if !told {
                let ending = Ending {
                    states: (TaskState::TaskLost, TaskState::TaskLost),
                    reason: Reason::AgentDisconnected,
                    message: "agent disconnected, and the framework does not checkpoint",
                };
                self.end(&mut new, false, ending);
                lost.extend(new.last_status.clone().map(|status| (key.framework.clone(), status)));
            }
            self.finish(&key, &new);
        }
        // Their executors go along, those without tasks too; whatever still runs the agent names when it is back.
        let executors: Vec<ExecutorKey> = self.tables.executors_on(id).map(|(key, _)| key.clone()).collect();
        for key in executors {
            if !self.outlives_a_connection(&key.framework) {
                self.tables.put_executor(&key, None);
            }
        }
        lost
    }

    /// Whether what a framework has on an agent outlives the connection of that agent: what is not known to end with it stays.
    fn outlives_a_connection(&self, framework: &FrameworkId) -> bool {
        self.tables.frameworks.get(framework).is_none_or(|framework| {
            framework.internal || framework.info.as_ref().is_some_and(|info| info.checkpoint())
        })
    }

    fn end(&self, record: &mut TaskRecord, aware: bool, ending: Ending) {
        let state = if aware { ending.states.0 } else { ending.states.1 };
        let (reason, message) = (ending.reason, ending.message);
        self.conclude(record, Verdict { state, reason, message, wall_ms: self.tables.wall_ms });
    }

    pub(super) fn drop_agent(&mut self, id: &AgentId) {
        self.forget_operations_on(id);
        self.forget_executors(id);
        self.tables.put_agent(id, None);
        self.changes.push(Change::Agent(id.clone()));
    }

    pub(super) fn remember_gone(&mut self, id: &AgentId) {
        self.tables.gone_agents.insert(id.clone(), self.tables.cluster_ms);
        if self.tables.gone_agents.len() > MAX_GONE_AGENTS {
            let oldest = self.tables.gone_agents.iter().min_by_key(|(_, at_ms)| **at_ms);
            let oldest = oldest.map(|(id, _)| id.clone());
            self.tables.gone_agents.remove(&oldest.unwrap_or_else(|| id.clone()));
        }
    }

    /// Forgets the oldest unreachable tasks of these frameworks beyond the bound.
    pub(super) fn bound_unreachable(&mut self, frameworks: BTreeSet<FrameworkId>) {
        for framework in frameworks.into_iter().filter(|id| id.as_str() != DRIVERS_FRAMEWORK) {
            let count = self.tables.unreachable_of(&framework).count();
            let surplus = count.saturating_sub(MAX_UNREACHABLE_TASKS);
            let oldest: Vec<_> = self.tables.unreachable_of(&framework).take(surplus).cloned().collect();
            for key in oldest {
                let record = self.tables.tasks.get(&key).map(Arc::clone);
                match record.filter(|record| record.state().is_terminal()) {
                    Some(record) => self.finish(&key, &record),
                    None => self.put_task(&key, None),
                }
            }
        }
    }
}
