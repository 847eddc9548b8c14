//! What the log answered: each kind of proposal is settled in the file that made it.

use super::core::Master;
use super::effect::Level;
use super::input::ProposalId;
use super::pipeline::Pending;
use super::timers::Timer;
use crate::registry::Outcome;

/// Wait before what failed is proposed again.
pub(super) const RETRY_MS: u64 = 500;

impl Master {
    pub(super) fn on_outcome(&mut self, pending: Pending, outcome: Outcome) {
        match pending {
            Pending::TakeLead => self.took_lead(&outcome),
            Pending::Subscription(subscription) => self.subscribed(subscription, &outcome),
            Pending::FrameworkChange { framework, request } => {
                self.framework_changed(&framework, request, &outcome);
            }
            Pending::Settings { request, exceeding } => self.settings_changed(request, exceeding, &outcome),
            Pending::FrameworkRemoval { framework, request } => {
                self.framework_removed(&framework, request, &outcome);
            }
            Pending::Registration { agent, connection, last: true } => {
                self.registered(&agent, connection, outcome);
            }
            Pending::Registration { agent, connection, last: false } => {
                self.registration_went_on(&agent, connection, outcome);
            }
            Pending::Attach { agents } => self.attached(agents, outcome),
            Pending::AgentUnreachable { agent } => {
                self.view.counters.removals += 1;
                self.view.counters.removals_unhealthy += 1;
                self.agent_lost(&agent, outcome);
            }
            Pending::AgentRemoval { agent } => {
                self.view.counters.removals += 1;
                self.view.counters.removals_unregistered += 1;
                self.agent_lost(&agent, outcome);
            }
            Pending::AgentLeft { agent } => self.agent_left(&agent, outcome),
            Pending::Fleet(pending) => self.fleet_outcome(pending, outcome),
            Pending::Launch(launch) => self.launched(launch, &outcome),
            Pending::Suppression { framework } => self.suppression_applied(&framework),
            Pending::Reports(batch) => self.reports_applied(batch),
            Pending::Supervisor(tag) => {
                self.supervise(|supervisor, cx| supervisor.outcome(cx, tag, &outcome));
            }
            Pending::Tick | Pending::Level | Pending::FrameworkLeft | Pending::Kill => {}
        }
    }

    pub(super) fn on_proposal_failed(&mut self, proposal: ProposalId, unknown: bool, reason: &str) {
        let Some(pending) = self.pipeline.take(proposal) else { return };
        self.note(Level::Warn, "proposal failed", vec![("reason", reason.to_owned())]);
        self.in_doubt |= unknown;
        match pending {
            // Whatever may have become of these: another attempt does no harm.
            Pending::TakeLead => self.retry_take_lead(),
            Pending::Reports(batch) => self.reports_failed(batch),
            // The allocator has acted on it; what is recorded is for display.
            Pending::Tick | Pending::Level | Pending::Kill | Pending::Suppression { .. } => {}
            // Nobody knows what became of it, so its resources stay with it as long as this leadership lasts.
            Pending::Launch(mut launch) if unknown => {
                if let Some(request) = launch.request.take() {
                    self.reject(request, 503, format!("nobody knows whether this was committed: {reason}"));
                }
                if let Some(tag) = launch.tag.clone() {
                    self.supervise(|supervisor, cx| supervisor.failed(cx, tag, true, reason));
                }
                self.pipeline.put_back(proposal, Pending::Launch(launch));
            }
            Pending::Launch(launch) => self.launch_failed(launch, reason),
            Pending::Subscription(subscription) => self.subscription_failed(&subscription),
            Pending::FrameworkChange { request, .. } | Pending::Settings { request, .. } => {
                self.reject(request, 503, format!("the change was not committed: {reason}"));
            }
            Pending::FrameworkRemoval { framework, request } => {
                self.removal_failed(&framework, request, reason);
            }
            Pending::Registration { agent, connection, .. } => self.registration_failed(&agent, connection),
            Pending::Attach { agents } => self.attach_failed(&agents),
            // The Registry still shows them as they were; the deadlines come again.
            Pending::FrameworkLeft | Pending::AgentLeft { .. } | Pending::AgentRemoval { .. } => {
                // Not at once: whatever made this one fail would make the next one fail, and so on without end.
                self.timers.arm(self.now.cluster_ms + RETRY_MS, Timer::Retry);
            }
            Pending::Fleet(pending) => self.fleet_failed(pending, reason),
            Pending::AgentUnreachable { agent } => {
                let at_ms = self.now.cluster_ms + self.config.agent_ping_interval_ms;
                self.timers.arm(at_ms, Timer::Agent(agent));
            }
            Pending::Supervisor(tag) => {
                self.supervise(|supervisor, cx| supervisor.failed(cx, tag, unknown, reason));
            }
        }
    }

    /// Says again who is away although the Registry shows him connected, and who has left although it shows him at all.
    pub(super) fn retry(&mut self) {
        self.retry_drains();
        for id in self.leaving.clone() {
            self.propose_agent_removal(&id, "the agent left");
        }
        let frameworks: Vec<_> = self
            .registry
            .frameworks
            .iter()
            .filter(|(id, record)| self.registry.framework_connected(record) && self.live(id).is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in frameworks {
            self.framework_is_away(&id);
        }
        let agents: Vec<_> = self
            .registry
            .agents
            .iter()
            .filter(|(id, record)| self.registry.agent_connected(record) && !self.agents.contains_key(*id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in agents {
            self.agent_is_away(&id);
        }
    }

    /// Something that was given up may have been committed after all: looks for what it changed behind our back.
    pub(super) fn settle_doubts(&mut self) {
        let removed: Vec<_> = self
            .frameworks
            .iter()
            .filter(|(id, session)| session.live.is_some() && !self.registry.frameworks.contains_key(*id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in removed {
            self.framework_removed(&id, None, &Outcome::Done);
        }
        let unknown: Vec<_> = self.registry.agents.keys().filter(|id| self.is_missed(id)).cloned().collect();
        for id in unknown {
            self.tell_allocator_agent(&id);
        }
        self.settle_doubtful_drains();
    }
}
