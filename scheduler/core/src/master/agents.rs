//! Agent sessions: streams, pings, and what happens when an agent goes silent.

use tepui_proto::tepui::agent_link::{Event, event};
use tepui_proto::v1::{self, scheduler};

use super::core::{Master, Party};
use super::effect::{Level, LocalChange};
use super::input::ConnectionId;
use super::pipeline::Pending;
use super::timers::Timer;
use crate::ids::{AgentId, FrameworkId};
use crate::registry::{
    DisconnectAgent, DrainRecord, MarkUnreachable, Operation, Outcome, RemoveAgent, Reregistered,
};

/// After a leader change, agents that did not come back are given up one after the other, this far apart.
const UNREACHABLE_SPACING_MS: u64 = 100;

/// What the leader knows of an agent beyond the Registry.
#[derive(Debug)]
pub(super) struct AgentSession {
    pub(super) connection: ConnectionId,
    pub(super) stream_id: String,
    /// Its registration is applied: it may be given orders.
    pub(super) registered: bool,
    /// How its word differs from the Registry's, as far as it is committed before the registration is complete.
    pub(super) difference: Reregistered,
    /// It was asked for everything and has not told it yet.
    pub(super) has_to_tell: bool,
    /// The drain that it was last told of; nothing if of none, or of its end.
    pub(super) told_drain: Option<DrainRecord>,
    /// Pings since it last said anything.
    unanswered: u32,
}

impl AgentSession {
    pub(super) fn new(connection: ConnectionId, stream_id: String) -> Self {
        Self {
            connection,
            stream_id,
            registered: false,
            difference: Reregistered::default(),
            has_to_tell: false,
            told_drain: None,
            unanswered: 0,
        }
    }

    /// Returns the stream, once orders may be sent on it.
    pub(super) fn registered(&self) -> Option<ConnectionId> {
        self.registered.then_some(self.connection)
    }

    /// The agent said something.
    pub(super) fn heard(&mut self) {
        self.unanswered = 0;
    }
}

impl Master {
    pub(super) fn ping(&mut self, connection: ConnectionId) {
        let Some(Party::Agent(id)) = self.connections.get(&connection).cloned() else { return };
        let Some(session) = self.agents.get_mut(&id).filter(|session| session.connection == connection)
        else {
            return;
        };
        let silent = session.unanswered >= self.config.agent_ping_timeouts;
        session.unanswered = session.unanswered.saturating_add(1);
        if silent {
            // The silence was as long as an absence may be. Whoever has to wait for that may still answer.
            self.give_up(&id);
            if !self.waits_to_be_given_up(&id) {
                return;
            }
        }
        let event = Event { r#type: Some(event::Type::Ping as i32), ..Default::default() };
        self.send_on_agent_stream(connection, event);
        self.arm_ping(connection);
    }

    pub(super) fn arm_ping(&mut self, connection: ConnectionId) {
        let at_ms = self.now.cluster_ms + self.config.agent_ping_interval_ms;
        self.timers.arm(at_ms, Timer::Ping(connection));
    }

    pub(super) fn agent_stream_ended(&mut self, id: &AgentId, connection: ConnectionId) {
        let Some(session) = self.agents.get(id).filter(|session| session.connection == connection) else {
            return;
        };
        let (registered, has_to_tell) = (session.registered, session.has_to_tell);
        self.agents.remove(id);
        // Without a registration yet, its outcome will find the stream closed.
        let connected =
            self.registry.agents.get(id).is_some_and(|record| self.registry.agent_connected(record));
        if registered || (has_to_tell && connected) {
            // In the second case an older stream was registered, and this one came in its place.
            self.agent_is_away(id);
        } else if has_to_tell {
            // Nothing of it is on its way, and its deadline may have passed meanwhile.
            self.arm_agent_deadline(id);
        }
    }

    /// Nothing of the agent is offered any more, and its absence is committed.
    pub(super) fn agent_is_away(&mut self, id: &AgentId) {
        self.view.connected_agents.remove(id);
        self.withdraw_offers_of_agent(id);
        self.rescind_inverse_of_agent(id);
        self.tell_allocator_agent(id);
        self.changed(LocalChange::Agent(id.clone()));
        let disconnect = DisconnectAgent { agent_id: id.as_str().to_owned() };
        self.propose(Operation::DisconnectAgent(disconnect), Pending::AgentLeft { agent: id.clone() });
        let at_ms = self.now.cluster_ms + self.absence_allowed_ms();
        self.timers.arm(at_ms, Timer::Agent(id.clone()));
        self.supervise(|supervisor, cx| supervisor.agent_lost(cx, id));
    }

    /// Its absence is committed: what does not outlive a connection is lost.
    pub(super) fn agent_left(&mut self, id: &AgentId, outcome: Outcome) {
        let Outcome::Lost(statuses) = outcome else { return };
        // Executors go without a word.
        self.holdings.touch(id);
        for (framework, status) in statuses {
            let latest = status.state();
            self.tell(&framework, status, latest);
        }
    }

    fn absence_allowed_ms(&self) -> u64 {
        self.config.agent_ping_interval_ms.saturating_mul(u64::from(self.config.agent_ping_timeouts))
    }

    pub(super) fn arm_agent_deadline(&mut self, id: &AgentId) {
        if let Some(at_ms) = self.agent_deadline_ms(id) {
            self.timers.arm(at_ms, Timer::Agent(id.clone()));
        }
    }

    /// Cluster time at which an agent that is away is given up; nothing if it is here, or given up already.
    fn agent_deadline_ms(&self, id: &AgentId) -> Option<u64> {
        let record = self.registry.agents.get(id)?;
        if self.registry.agent_connected(record) || record.unreachable_ms.is_some() {
            return None;
        }
        let since_ms = self.lead_since_ms();
        let allowed_ms = self.absence_allowed_ms();
        match record.disconnected_ms.filter(|left_ms| *left_ms >= since_ms) {
            Some(left_ms) => Some(left_ms.saturating_add(allowed_ms)),
            None if mutant!("no-grace") => Some(since_ms.saturating_add(allowed_ms)),
            // Nobody can tell yet whether the agent or only its way to us was lost.
            None => Some(since_ms.saturating_add(self.config.agent_grace_ms.max(allowed_ms))),
        }
    }

    pub(super) fn agent_deadline(&mut self, id: &AgentId) {
        if self.agents.contains_key(id) {
            return;
        }
        let Some(deadline_ms) = self.agent_deadline_ms(id) else { return };
        let at_ms = deadline_ms.max(self.next_give_up_ms);
        if at_ms > self.now.cluster_ms {
            self.timers.arm(at_ms, Timer::Agent(id.clone()));
            return;
        }
        let after_leader_change = deadline_ms
            == self.lead_since_ms().saturating_add(self.config.agent_grace_ms.max(self.absence_allowed_ms()));
        if after_leader_change {
            if let Some(at_ms) = self.held_until_ms() {
                self.timers.arm(at_ms, Timer::Agent(id.clone()));
                return;
            }
            self.next_give_up_ms = self.now.cluster_ms + UNREACHABLE_SPACING_MS;
            self.view.counters.recovery_removals += 1;
        }
        self.give_up(id);
    }

    pub(super) fn propose_unreachable(&mut self, id: &AgentId) {
        let mark = MarkUnreachable { agent_id: id.as_str().to_owned() };
        let pending = Pending::AgentUnreachable { agent: id.clone() };
        self.propose(Operation::MarkUnreachable(mark), pending);
    }

    pub(super) fn propose_agent_removal(&mut self, id: &AgentId, reason: &str) {
        self.leaving.insert(id.clone());
        let remove = RemoveAgent { agent_id: id.as_str().to_owned(), reason: reason.to_owned() };
        self.propose(Operation::RemoveAgent(remove), Pending::AgentRemoval { agent: id.clone() });
    }

    /// An agent was given up or has left for good: everybody is told, and its tasks' frameworks what became of them.
    pub(super) fn agent_lost(&mut self, id: &AgentId, outcome: Outcome) {
        let statuses = match outcome {
            Outcome::Lost(statuses) => statuses,
            _ if !self.registry.agents.contains_key(id) => Vec::new(),
            _ => return,
        };
        self.timers.cancel(&Timer::Agent(id.clone()));
        if !self.registry.agents.contains_key(id) {
            self.leaving.remove(id);
            self.boots.retain(|_, agent| agent != id);
        }
        self.note(Level::Info, "agent lost", vec![("agent_id", id.to_string())]);
        self.view.connected_agents.remove(id);
        self.withdraw_offers_of_agent(id);
        self.rescind_inverse_of_agent(id);
        if let Some(session) = self.agents.remove(id) {
            self.close(session.connection);
        }
        self.reports.forget_agent(id);
        self.tell_allocator_agent(id);
        self.holdings.touch(id);
        for (framework, status) in statuses {
            let latest = status.state();
            self.tell(&framework, status, latest);
        }
        self.tell_failure(scheduler::event::Failure { agent_id: Some(id.to_proto()), ..Default::default() });
        self.supervise(|supervisor, cx| supervisor.agent_lost(cx, id));
        self.changed(LocalChange::Agent(id.clone()));
        self.refresh_machine_of(id);
    }

    /// Sends FAILURE to every connected framework.
    fn tell_failure(&mut self, failure: scheduler::event::Failure) {
        let connections: Vec<ConnectionId> =
            self.frameworks.values().filter_map(|session| Some(session.live.as_ref()?.connection)).collect();
        for connection in connections {
            self.send_to_framework(connection, failure_event(failure.clone()));
        }
    }

    /// Brings what the allocator knows of an agent up to date.
    pub(super) fn tell_allocator_agent(&mut self, id: &AgentId) {
        let record = self.registry.agents.get(id).cloned();
        match record.filter(|record| record.unreachable_ms.is_none()) {
            None => self.forget_holdings(id),
            Some(record) => {
                let mut info = record.info.clone().unwrap_or_default();
                info.resources = record.total().to_vec();
                self.allocator.set_agent(id, &info);
                self.holdings.know(id);
                let away = self.agents.get(id).is_none_or(|session| session.registered().is_none());
                if away || record.deactivated {
                    self.allocator.deactivate_agent(id);
                }
            }
        }
    }

    /// What the agent registered with is committed, so the Registry tells who it is.
    pub(super) fn forget_boot(&mut self, id: &AgentId) {
        if let Some(record) = self.registry.agents.get(id)
            && self.boots.get(&record.boot_id) == Some(id)
        {
            self.boots.remove(&record.boot_id);
        }
    }

    /// An executor ended: its framework is told.
    pub(super) fn executor_exited(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        executor: Option<v1::ExecutorId>,
        status: i32,
        accepted_launch_seq: u64,
    ) {
        self.report_executor_exit(agent, framework, executor.as_ref(), accepted_launch_seq);
        if let Some(connection) = self.live(framework) {
            let failure = scheduler::event::Failure {
                agent_id: Some(agent.to_proto()),
                executor_id: executor,
                status: Some(status),
            };
            self.send_to_framework(connection, failure_event(failure));
        }
    }
}

fn failure_event(failure: scheduler::event::Failure) -> scheduler::Event {
    scheduler::Event {
        r#type: Some(scheduler::event::Type::Failure as i32),
        failure: Some(failure),
        ..Default::default()
    }
}
