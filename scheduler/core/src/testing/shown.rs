//! What agents were told only to show it: kept for them, apart from their orders, and held against what the master knows after every
//! input.

use std::collections::{BTreeMap, VecDeque};

use tepui_proto::tepui::agent_link::{Event, event};
use tepui_proto::v1;

use super::agents::AgentPeer;
use super::harness::Harness;
use crate::ids::{AgentId, FrameworkId};
use crate::master::ConnectionId;
use crate::registry::OperationKey;

/// With more agents than this nothing is compared: it would take most of a test's time.
const COMPARED_AGENTS: usize = 50;

/// Of all agents; an agent keeps it when its stream ends.
#[derive(Debug, Default)]
pub(super) struct Shown {
    agents: BTreeMap<AgentId, AgentShown>,
    registered: BTreeMap<ConnectionId, AgentId>,
    events: BTreeMap<ConnectionId, VecDeque<Event>>,
}

/// What one agent shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentShown {
    pub drain: Option<v1::DrainConfig>,
    /// Milliseconds since 1970.
    pub drain_start_ms: Option<u64>,
    pub operations: BTreeMap<OperationKey, v1::Operation>,
}

impl AgentShown {
    fn take(&mut self, event: &Event) {
        if let Some(update) = event.update_drain {
            (self.drain, self.drain_start_ms) = (update.config, update.start_wall_ms);
        }
        let Some(update) = &event.update_operations else { return };
        if update.reset() {
            self.operations.clear();
        }
        for name in &update.settled {
            let framework = FrameworkId::from(name.framework_id.as_ref().expect("a framework").value());
            let id = name.operation_id.as_ref().expect("an operation").value();
            self.operations.remove(&OperationKey::new(framework, id));
        }
        for operation in &update.operations {
            let framework = FrameworkId::from(operation.framework_id.as_ref().expect("a framework").value());
            let id = operation.info.as_ref().and_then(|info| info.id.as_ref()).expect("an id");
            self.operations.insert(OperationKey::new(framework, id.value()), operation.clone());
        }
    }
}

impl Shown {
    /// Takes an event that is no order; returns whether it was none.
    pub(super) fn take(&mut self, connection: ConnectionId, event: &Event) -> bool {
        if let Some(id) = event.registered.as_ref().and_then(|registered| registered.agent_id.as_ref()) {
            let id = AgentId::from(id);
            self.agents.entry(id.clone()).or_default();
            self.registered.insert(connection, id);
        }
        if !matches!(event.r#type(), event::Type::UpdateDrain | event::Type::UpdateOperations) {
            return false;
        }
        let agent = self.registered.get(&connection).expect("REGISTERED comes first");
        self.agents.entry(agent.clone()).or_default().take(event);
        self.events.entry(connection).or_default().push_back(event.clone());
        true
    }
}

impl Harness {
    /// Takes the events that are no orders.
    pub fn news(&mut self, peer: &AgentPeer) -> Vec<Event> {
        self.shown.events.remove(&peer.connection).unwrap_or_default().into()
    }

    /// Returns what an agent shows by now.
    pub fn shown(&self, peer: &AgentPeer) -> AgentShown {
        self.shown.agents.get(&peer.id).cloned().unwrap_or_default()
    }

    /// The agent's process is a new one: it knows the drain from its disk, and no operation.
    pub fn forget_shown(&mut self, peer: &AgentPeer) {
        if let Some(shown) = self.shown.agents.get_mut(&peer.id) {
            shown.operations.clear();
        }
    }

    /// Panics if a registered agent shows anything but what the leader knows.
    pub(super) fn check_shown(&self) {
        if !self.master.serving() || self.shown.agents.len() > COMPARED_AGENTS {
            return;
        }
        let registry = self.master.registry();
        let here = self.shown.registered.iter().filter(|(connection, _)| !self.closed.contains(*connection));
        for (_, id) in here {
            let Some(record) = registry.agents.get(id) else { continue };
            let drain = record.drain.as_ref().filter(|drain| !drain.drained);
            let on = registry.operations.iter().filter(|(_, operation)| operation.agent_id == id.as_str());
            let expected = AgentShown {
                drain: drain.and_then(|drain| drain.info().config),
                drain_start_ms: drain.map(|drain| drain.start_wall_ms),
                operations: on.map(|(key, record)| (key.clone(), record.shown())).collect(),
            };
            assert_eq!(self.shown.agents.get(id), Some(&expected), "what agent {id} shows");
        }
    }
}
