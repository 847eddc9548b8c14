//! MARK_AGENT_GONE: an agent that never comes back, by the word of an operator.

use super::super::core::Master;
use super::super::effect::{Level, Reply};
use super::super::input::RequestId;
use super::super::pipeline::Pending;
use super::FleetPending;
use crate::ids::AgentId;
use crate::registry::{MarkGone, Operation, Outcome};

impl Master {
    pub(super) fn on_mark_gone(&mut self, request: RequestId, id: &AgentId) {
        if self.registry.is_gone(id) {
            self.reply(request, Reply::Ok);
        } else if self.in_transition(id) {
            self.reject(request, 503, format!("agent {id} is changing its state right now; try again"));
        } else if !self.registry.agents.contains_key(id) {
            self.reject(request, 404, format!("agent {id} cannot be found"));
        } else {
            let mark = MarkGone { agent_id: id.as_str().to_owned() };
            let pending = FleetPending::Gone { agent: id.clone(), request: Some(request) };
            self.propose_fleet(Operation::MarkGone(mark), pending);
        }
    }

    /// Whether the agent is about to be marked gone.
    pub(super) fn going(&self, id: &AgentId) -> bool {
        let gone = |pending: &Pending| matches!(pending, Pending::Fleet(FleetPending::Gone { agent, .. }) if agent == id);
        self.pipeline.all().any(gone)
    }

    /// Whether something is proposed that changes where the agent stands.
    fn in_transition(&self, id: &AgentId) -> bool {
        self.pipeline.all().any(|pending| match pending {
            Pending::Registration { agent, .. }
            | Pending::AgentUnreachable { agent }
            | Pending::AgentRemoval { agent }
            | Pending::Fleet(FleetPending::Gone { agent, .. }) => agent == id,
            _ => false,
        })
    }

    pub(super) fn agent_gone(&mut self, id: &AgentId, request: Option<RequestId>, outcome: Outcome) {
        self.fleet.finishing.remove(id);
        if let Outcome::Refused(refusal) = &outcome {
            if let Some(request) = request {
                self.reject(request, 404, refusal.to_string());
            }
            return;
        }
        self.fleet.draining.remove(id);
        self.note(Level::Info, "agent marked gone", vec![("agent_id", id.to_string())]);
        self.order_shutdown(id, "the agent was marked gone by an operator");
        self.agent_lost(id, outcome);
        self.view.counters.removals += 1;
        self.view.counters.removals_unregistered += 1;
        if let Some(request) = request {
            self.reply(request, Reply::Ok);
        }
    }
}
