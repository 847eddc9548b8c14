//! What agents are told for no other purpose than to show it: whether they are being drained, and the operations on their resources
//! whose frameworks have not acknowledged what became of them.
//!
//! The Registry has both. An agent that comes back is told all of it anew, whatever it was told by whom; after that it hears of
//! changes. So it shows what the Registry holds, but for what is under way, and for more operations than anybody would read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use prost::Message;
use tepui_proto::tepui::agent_link::{Event, OperationName, event};
use tepui_proto::v1;

use super::core::Master;
use crate::ids::AgentId;
use crate::registry::{DrainRecord, OperationKey, OperationRecord};

/// Bytes of operations in one event, if not one alone is longer.
const EVENT_BYTES: usize = 1 << 20;
/// Bytes of operations that an agent is told of when it comes back: the first ones of its list.
const RESET_BYTES: usize = 16 << 20;

/// What is known of the Registry's operations by agent, and of whom agents have still to hear.
#[derive(Debug, Default)]
pub(super) struct News {
    seen: OrdMap<OperationKey, Arc<OperationRecord>>,
    by_agent: BTreeMap<AgentId, BTreeSet<OperationKey>>,
    /// Of agents that are registered.
    untold: BTreeMap<AgentId, BTreeSet<OperationKey>>,
}

impl News {
    /// Takes a new version of the table in; returns where something changed.
    fn see(&mut self, now: &OrdMap<OperationKey, Arc<OperationRecord>>) -> Vec<(AgentId, OperationKey)> {
        let mut changed = Vec::new();
        let before = std::mem::replace(&mut self.seen, now.clone());
        for item in before.diff(now) {
            let (old, new) = match item {
                DiffItem::Add(key, record) => (None, Some((key, record))),
                DiffItem::Remove(key, record) => (Some((key, record)), None),
                DiffItem::Update { old, new } => (Some(old), Some(new)),
            };
            if let Some((key, record)) = old {
                let agent = AgentId::from(record.agent_id.as_str());
                if let Some(keys) = self.by_agent.get_mut(&agent) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.by_agent.remove(&agent);
                    }
                }
                changed.push((agent, key.clone()));
            }
            if let Some((key, record)) = new {
                let agent = AgentId::from(record.agent_id.as_str());
                self.by_agent.entry(agent.clone()).or_default().insert(key.clone());
                changed.push((agent, key.clone()));
            }
        }
        changed
    }
}

impl Master {
    /// Notices what a committed batch did to the operations.
    pub(super) fn see_operations(&mut self) {
        if self.news.seen.ptr_eq(&self.registry.operations) {
            return;
        }
        for (agent, key) in self.news.see(&self.registry.operations) {
            if self.agents.get(&agent).is_some_and(|session| session.registered().is_some()) {
                self.news.untold.entry(agent).or_default().insert(key);
            }
        }
    }

    /// Tells agents what [`Self::see_operations`] noticed.
    pub(super) fn tell_agents_of_operations(&mut self) {
        for (agent, keys) in std::mem::take(&mut self.news.untold) {
            let mut events = Events::default();
            for key in keys {
                let here = |record: &&Arc<OperationRecord>| record.agent_id == agent.as_str();
                match self.registry.operations.get(&key).filter(here) {
                    Some(record) => events.add(record.shown()),
                    None => events.settle(&key),
                }
            }
            for update in events.done {
                self.send_operations(&agent, update);
            }
        }
    }

    /// Tells an agent that is back all that it is to show.
    pub(super) fn tell_agent_everything(&mut self, id: &AgentId) {
        self.news.untold.remove(id);
        let drain = self.unfinished_drain(id);
        self.send_drain(id, drain);
        let mut events = Events::default();
        let mut room = RESET_BYTES;
        for key in self.news.by_agent.get(id).into_iter().flatten() {
            let Some(record) = self.registry.operations.get(key) else { continue };
            let shown = record.shown();
            let Some(left) = room.checked_sub(shown.encoded_len()) else { break };
            room = left;
            events.add(shown);
        }
        if events.done.is_empty() {
            events.done.push(event::UpdateOperations::default());
        }
        for (number, update) in events.done.into_iter().enumerate() {
            let reset = (number == 0).then_some(true);
            self.send_operations(id, event::UpdateOperations { reset, ..update });
        }
    }

    /// Tells an agent of the drain that it is in, unless it knows.
    pub(super) fn tell_agent_of_drain(&mut self, id: &AgentId) {
        let drain = self.unfinished_drain(id);
        let registered = self.agents.get(id).filter(|session| session.registered().is_some());
        if registered.is_some_and(|session| session.told_drain != drain) {
            self.send_drain(id, drain);
        }
    }

    /// As in Mesos, an agent on which nothing is left does not call itself draining any more.
    fn unfinished_drain(&self, id: &AgentId) -> Option<DrainRecord> {
        self.registry.agents.get(id)?.drain.clone().filter(|drain| !drain.drained)
    }

    fn send_drain(&mut self, id: &AgentId, drain: Option<DrainRecord>) {
        if let Some(session) = self.agents.get_mut(id) {
            session.told_drain.clone_from(&drain);
        }
        let update = event::UpdateDrain {
            start_wall_ms: drain.as_ref().map(|drain| drain.start_wall_ms),
            config: drain.and_then(|drain| drain.info().config),
        };
        let kind = Some(event::Type::UpdateDrain as i32);
        self.send_to_agent(id, Event { r#type: kind, update_drain: Some(update), ..Default::default() });
    }

    fn send_operations(&mut self, id: &AgentId, update: event::UpdateOperations) {
        let kind = Some(event::Type::UpdateOperations as i32);
        self.send_to_agent(id, Event { r#type: kind, update_operations: Some(update), ..Default::default() });
    }
}

/// News of operations, cut into events of a decent size.
#[derive(Default)]
struct Events {
    done: Vec<event::UpdateOperations>,
    /// Of the last one.
    bytes: usize,
}

impl Events {
    fn add(&mut self, operation: v1::Operation) {
        let bytes = operation.encoded_len();
        if let Some(last) = self.room(bytes) {
            last.operations.push(operation);
        }
    }

    fn settle(&mut self, key: &OperationKey) {
        let name = OperationName {
            framework_id: Some(key.framework.to_proto()),
            operation_id: Some(v1::OperationId { value: Some(key.operation.to_string()) }),
        };
        let bytes = name.encoded_len();
        if let Some(last) = self.room(bytes) {
            last.settled.push(name);
        }
    }

    /// The event that has room for so many bytes.
    fn room(&mut self, bytes: usize) -> Option<&mut event::UpdateOperations> {
        if self.done.is_empty() || self.bytes + bytes > EVENT_BYTES {
            self.done.push(event::UpdateOperations::default());
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.done.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_news_are_told_in_several_events_and_nothing_is_left_out() {
        let mut events = Events::default();
        for number in 0..50_u32 {
            let id = v1::OperationId { value: Some(format!("{number}{}", "x".repeat(100_000))) };
            let info = Some(v1::offer::Operation { id: Some(id), ..Default::default() });
            events.add(v1::Operation { info, ..Default::default() });
        }
        events.settle(&OperationKey::new("f", "o"));
        assert!(events.done.len() >= 5, "{}", events.done.len());
        assert!(events.done.iter().all(|one| one.encoded_len() < EVENT_BYTES + 200_000));
        assert_eq!(events.done.iter().map(|one| one.operations.len()).sum::<usize>(), 50);
        assert_eq!(events.done.iter().map(|one| one.settled.len()).sum::<usize>(), 1);
    }
}
