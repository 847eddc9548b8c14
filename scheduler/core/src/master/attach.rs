//! ATTACH: an agent comes back and says with a digest that it stands as it is known. Many are confirmed with one log entry; one that
//! stands otherwise is asked for everything, on the same stream.
//!
//! Owns how many are confirmed in one turn: after a change of leader they all come at once. Also the list of masters' addresses, which
//! agents are told when they come, and when it changes.

use std::collections::VecDeque;

use bytes::Bytes;
use tepui_proto::tepui::agent_link::{Call, Event, event};

use super::agents::AgentSession;
use super::core::{Master, Party};
use super::effect::Level;
use super::input::ConnectionId;
use super::pipeline::Pending;
use super::timers::Timer;
use crate::ids::{self, AgentId};
use crate::registry::{AttachAgent, AttachAgents, Operation, Outcome, Refusal, Reregistered};
use crate::validation;

/// Agents in one log entry: `apply` computes a digest for each.
const AGENTS_PER_ENTRY: usize = 64;
/// Agents that are welcomed, or told of something, in one turn.
const AGENTS_PER_TURN: usize = 32;
/// An agent that was asked for everything has to tell it within this.
const TELL_WITHIN_MS: u64 = 30_000;

/// Agents on their way back.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    /// Compared, to be committed with the next entry.
    open: Vec<(AgentId, ConnectionId, Bytes)>,
    /// An entry is on its way: those that come meanwhile share the next one.
    in_flight: bool,
    /// Committed, to be welcomed.
    back: VecDeque<(AgentId, ConnectionId)>,
    /// To be told where the masters are.
    untold: VecDeque<AgentId>,
    armed: bool,
    /// `host:port` of all masters.
    pub(super) masters: Vec<String>,
}

impl Master {
    /// An agent opened its stream with ATTACH.
    pub(super) fn on_agent_attach(&mut self, connection: ConnectionId, stream_id: String, call: Call) {
        if !self.serving() {
            self.close(connection);
            return;
        }
        if let Err(reason) = self.attach(connection, stream_id, call) {
            self.note(Level::Warn, "agent refused", vec![("reason", reason)]);
            self.close(connection);
        }
    }

    fn attach(&mut self, connection: ConnectionId, stream_id: String, call: Call) -> Result<(), String> {
        validation::agent_call(&call).map_err(|rejection| rejection.reason)?;
        let accepted = call.accepted_launch_seq.unwrap_or_default();
        let told = call.attach.unwrap_or_default();
        self.belongs_here(told.cluster_id(), told.epoch())?;
        let id: AgentId = ids::of(call.agent_id.as_ref());
        let record = self.registry.agents.get(&id).cloned();
        let info = record.as_ref().and_then(|record| record.info.as_ref());
        let ip = record.as_ref().map_or("", |record| record.ip.as_str());
        if self.must_leave(&id, info.map_or("", |info| info.hostname()), ip, connection) {
            return Ok(());
        }
        if record.is_some() {
            self.domain_fits(info.and_then(|info| info.domain.as_ref()))?;
        }
        self.connections.insert(connection, Party::Agent(id.clone()));
        if let Some(old) = self.agents.insert(id.clone(), AgentSession::new(connection, stream_id)) {
            // The agent itself has given up its older stream.
            self.close(old.connection);
        }
        let standing = told.standing.unwrap_or_default();
        if self.registry.standing(&id).is_none_or(|known| known != standing) {
            self.ask_for_everything(&id, connection);
            return Ok(());
        }
        // It has taken them: a new leader may not have heard.
        self.note_accepted(&id, accepted);
        self.attachments.open.push((id, connection, standing));
        self.propose_attachments();
        Ok(())
    }

    /// The agent stands otherwise than it is known here.
    fn ask_for_everything(&mut self, id: &AgentId, connection: ConnectionId) {
        let Some(session) = self.agents.get_mut(id).filter(|session| session.connection == connection) else {
            return;
        };
        session.has_to_tell = true;
        let kind = Some(event::Type::TellAll as i32);
        self.send_on_agent_stream(connection, Event { r#type: kind, ..Default::default() });
        self.timers.arm(self.now.cluster_ms + TELL_WITHIN_MS, Timer::Untold(connection));
    }

    /// An agent was asked for everything a while ago.
    pub(super) fn untold(&mut self, connection: ConnectionId) {
        let Some(Party::Agent(id)) = self.connections.get(&connection).cloned() else { return };
        if self.agents.get(&id).is_some_and(|one| one.connection == connection && one.has_to_tell) {
            self.note(Level::Warn, "agent did not tell of its tasks", vec![("agent_id", id.to_string())]);
            self.close(connection);
            self.agent_stream_ended(&id, connection);
        }
    }

    fn propose_attachments(&mut self) {
        let attachments = &mut self.attachments;
        if attachments.in_flight || attachments.open.is_empty() {
            return;
        }
        attachments.in_flight = true;
        let count = attachments.open.len().min(AGENTS_PER_ENTRY);
        let taken: Vec<_> = attachments.open.drain(..count).collect();
        let agents = taken.iter().map(|(id, _, standing)| AttachAgent {
            agent_id: id.as_str().to_owned(),
            standing: standing.clone(),
        });
        let operation = Operation::AttachAgents(AttachAgents { agents: agents.collect() });
        let agents = taken.into_iter().map(|(id, connection, _)| (id, connection)).collect();
        self.propose(operation, Pending::Attach { agents });
    }

    pub(super) fn attached(&mut self, agents: Vec<(AgentId, ConnectionId)>, outcome: Outcome) {
        self.attachments.in_flight = false;
        let results = match outcome {
            Outcome::Attached(results) => results,
            _ => Vec::new(),
        };
        let mut results = results.into_iter();
        for (id, connection) in agents {
            match results.next().unwrap_or(Err(Refusal::Malformed)) {
                Ok(()) => self.attachments.back.push_back((id, connection)),
                Err(Refusal::AgentRemoved) => {
                    self.shut_down(connection, "the agent was removed from the cluster");
                    self.agent_stream_ended(&id, connection);
                }
                Err(_) => self.ask_for_everything(&id, connection),
            }
        }
        self.welcome_more();
        self.propose_attachments();
    }

    pub(super) fn attach_failed(&mut self, agents: &[(AgentId, ConnectionId)]) {
        self.attachments.in_flight = false;
        for (id, connection) in agents {
            self.registration_failed(id, *connection);
        }
        self.propose_attachments();
    }

    /// Goes on with those that wait, as many as one turn takes.
    pub(super) fn welcome_more(&mut self) {
        for _ in 0..AGENTS_PER_TURN {
            if let Some((id, connection)) = self.attachments.back.pop_front() {
                self.registered(&id, connection, Outcome::Reregistered(Reregistered::default()));
            } else if let Some(id) = self.attachments.untold.pop_front() {
                self.send_masters(&id);
            } else {
                return;
            }
        }
        let more = !self.attachments.back.is_empty() || !self.attachments.untold.is_empty();
        if more && !self.attachments.armed {
            self.attachments.armed = true;
            self.timers.arm(self.now.cluster_ms + 1, Timer::Attachments);
        }
    }

    pub(super) fn attachments_due(&mut self) {
        self.attachments.armed = false;
        self.welcome_more();
    }

    /// The masters are these, from now on.
    pub(super) fn on_masters(&mut self, masters: Vec<String>) {
        if masters == self.attachments.masters {
            return;
        }
        // Also what drivers are told when they are started.
        self.config.masters = masters.join(",");
        self.attachments.masters = masters;
        if self.serving() {
            self.attachments.untold = self.agents.keys().cloned().collect();
            self.welcome_more();
        }
    }

    fn send_masters(&mut self, id: &AgentId) {
        let masters = self.attachments.masters.clone();
        let update = event::UpdateMasters { masters };
        let kind = Some(event::Type::UpdateMasters as i32);
        self.send_to_agent(id, Event { r#type: kind, update_masters: Some(update), ..Default::default() });
    }
}
