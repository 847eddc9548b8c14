//! Framework sessions: streams, heartbeats, and what happens when a stream ends.

use tepui_proto::v1::scheduler::{Event, event};
use tepui_proto::v1::{self, TaskState};

use super::core::Master;
use super::effect::LocalChange;
use super::input::ConnectionId;
use super::pipeline::Pending;
use super::timers::Timer;
use crate::ids::{DRIVERS_FRAMEWORK, FrameworkId};
use crate::registry::{DisconnectFramework, Operation, failover_timeout_ms};

/// What the leader knows of a framework beyond the Registry.
#[derive(Debug, Default)]
pub(super) struct FrameworkSession {
    /// The one live stream.
    pub(super) live: Option<Live>,
    /// Subscriptions that are proposed and not applied.
    pub(super) subscribing: usize,
    /// Its removal is proposed.
    pub(super) removing: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) connection: ConnectionId,
    pub(super) stream_id: String,
}

impl Master {
    /// Returns the framework's stream, if it has one.
    pub(super) fn live(&self, id: &FrameworkId) -> Option<ConnectionId> {
        Some(self.frameworks.get(id)?.live.as_ref()?.connection)
    }

    /// Tells a framework the state of one of its tasks: on its stream, or to the supervisor if it is the masters' own.
    pub(super) fn tell(&mut self, id: &FrameworkId, status: v1::TaskStatus, latest: TaskState) {
        if id.as_str() == DRIVERS_FRAMEWORK {
            let task = crate::ids::of::<_, crate::ids::TaskId>(status.task_id.as_ref());
            let key = crate::ids::TaskKey { framework: id.clone(), task };
            self.supervise(|supervisor, cx| supervisor.status(cx, &key, &status, latest));
        } else if let Some(connection) = self.live(id) {
            self.send_to_framework(connection, event_of(event::Update { status: Some(status) }));
        }
    }

    pub(super) fn heartbeat(&mut self, connection: ConnectionId) {
        let Some(super::core::Party::Framework(id)) = self.connections.get(&connection) else { return };
        if self.live(&id.clone()) == Some(connection) {
            self.send_heartbeat(connection);
        }
    }

    pub(super) fn send_heartbeat(&mut self, connection: ConnectionId) {
        let event = Event { r#type: Some(event::Type::Heartbeat as i32), ..Default::default() };
        self.send_to_framework(connection, event);
        let at_ms = self.now.cluster_ms + self.config.heartbeat_interval_ms;
        self.timers.arm(at_ms, Timer::Heartbeat(connection));
    }

    /// Ends a stream with an ERROR, which tells the framework not to try again like this.
    pub(super) fn refuse_stream(&mut self, connection: ConnectionId, message: impl Into<String>) {
        let error = event::Error { message: Some(message.into()) };
        let event =
            Event { r#type: Some(event::Type::Error as i32), error: Some(error), ..Default::default() };
        self.send_to_framework(connection, event);
        self.close(connection);
    }

    pub(super) fn framework_stream_ended(&mut self, id: &FrameworkId, connection: ConnectionId) {
        if self.live(id) == Some(connection) {
            self.part_from(id);
            self.framework_is_away(id);
        }
    }

    /// The live stream is no more: offers return, nothing is offered. Says nothing to the Registry.
    pub(super) fn part_from(&mut self, id: &FrameworkId) {
        if let Some(session) = self.frameworks.get_mut(id) {
            session.live = None;
        }
        self.view.connected_frameworks.remove(id);
        self.withdraw_offers_of_framework(id);
        self.tell_allocator_framework(id);
        self.changed(LocalChange::Framework(id.clone()));
    }

    /// Commits that a framework is away, unless it is about to be back or to be removed.
    pub(super) fn framework_is_away(&mut self, id: &FrameworkId) {
        if !self.serving() {
            return;
        }
        let Some(session) = self.frameworks.get(id) else { return };
        if session.live.is_some() || session.subscribing > 0 || session.removing {
            return;
        }
        let Some(record) = self.registry.frameworks.get(id) else { return };
        // A driver's framework outlives each of its processes, whatever these say of themselves.
        let timeout_ms = record
            .info
            .as_ref()
            .map_or(0, failover_timeout_ms)
            .max(super::drivers::failover_timeout_ms(&self.registry, id));
        if timeout_ms == 0 {
            self.propose_framework_removal(id, "failover timeout of zero", None);
            return;
        }
        let deadline_ms = self.now.cluster_ms.saturating_add(timeout_ms);
        let disconnect = DisconnectFramework { framework_id: id.as_str().to_owned(), deadline_ms };
        self.propose(Operation::DisconnectFramework(disconnect), Pending::FrameworkLeft);
        self.timers.arm(deadline_ms, Timer::Framework(id.clone()));
    }

    pub(super) fn arm_framework_deadline(&mut self, id: &FrameworkId) {
        let Some(record) = self.registry.frameworks.get(id) else { return };
        if let Some(at_ms) = self.framework_deadline_ms(record) {
            self.timers.arm(at_ms, Timer::Framework(id.clone()));
        }
    }

    pub(super) fn framework_deadline(&mut self, id: &FrameworkId) {
        let busy = self
            .frameworks
            .get(id)
            .is_some_and(|session| session.live.is_some() || session.subscribing > 0 || session.removing);
        let Some(record) = self.registry.frameworks.get(id) else { return };
        let Some(deadline_ms) = self.framework_deadline_ms(record).filter(|_| !busy) else { return };
        if deadline_ms > self.now.cluster_ms {
            self.timers.arm(deadline_ms, Timer::Framework(id.clone()));
        } else {
            self.propose_framework_removal(id, "failover timeout", None);
        }
    }

    /// Brings what the allocator knows of a framework up to date.
    pub(super) fn tell_allocator_framework(&mut self, id: &FrameworkId) {
        let removing = self.frameworks.get(id).is_some_and(|session| session.removing);
        match self.registry.frameworks.get(id).cloned() {
            Some(record) => {
                let active = self.live(id).is_some() && !removing;
                let info = record.info.clone().unwrap_or_default();
                self.allocator.set_framework(id, &info, &record.suppressed_roles, active);
                self.allocator.set_constraints(id, record.offer_constraints.as_ref());
            }
            None => self.allocator.remove_framework(id),
        }
        self.refresh_inverse_of(id);
    }
}

/// Wraps an UPDATE.
pub(super) fn event_of(update: event::Update) -> Event {
    Event { r#type: Some(event::Type::Update as i32), update: Some(update), ..Default::default() }
}
