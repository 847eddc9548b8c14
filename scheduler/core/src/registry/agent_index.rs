//! Which agents share some property that a new leader asks for at once: derived from the agents, kept up to date as they change.
//!
//! Owns the only way to put an agent into the table or out of it. Small changes of a record that no index looks at (numbers of
//! launches) may be made in place.

use std::sync::Arc;

use imbl::OrdSet;

use super::records::AgentRecord;
use super::tables::Registry;
use crate::ids::AgentId;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentIndex {
    /// By the boot id that they registered with.
    boots: OrdSet<(Arc<str>, AgentId)>,
    /// Being emptied, and not empty yet.
    pub draining: OrdSet<AgentId>,
    pub unreachable: OrdSet<AgentId>,
}

impl AgentIndex {
    fn add(&mut self, id: &AgentId, record: &AgentRecord) {
        if !record.boot_id.is_empty() {
            self.boots.insert((Arc::from(record.boot_id.as_str()), id.clone()));
        }
        if is_draining(record) {
            self.draining.insert(id.clone());
        }
        if record.unreachable_ms.is_some() {
            self.unreachable.insert(id.clone());
        }
    }

    fn remove(&mut self, id: &AgentId, record: &AgentRecord) {
        if !record.boot_id.is_empty() {
            self.boots.remove(&(Arc::from(record.boot_id.as_str()), id.clone()));
        }
        if is_draining(record) {
            self.draining.remove(id);
        }
        if record.unreachable_ms.is_some() {
            self.unreachable.remove(id);
        }
    }
}

fn is_draining(record: &AgentRecord) -> bool {
    record.drain.as_ref().is_some_and(|drain| !drain.drained)
}

fn same(one: &AgentRecord, other: &AgentRecord) -> bool {
    one.boot_id == other.boot_id
        && is_draining(one) == is_draining(other)
        && one.unreachable_ms.is_some() == other.unreachable_ms.is_some()
}

impl Registry {
    /// Puts an agent or takes it away, with its places in the indexes.
    pub(in crate::registry) fn put_agent(&mut self, id: &AgentId, new: Option<Arc<AgentRecord>>) {
        let old = match &new {
            Some(record) => self.agents.insert(id.clone(), record.clone()),
            None => self.agents.remove(id),
        };
        if let (Some(old), Some(new)) = (&old, &new)
            && same(old, new)
        {
            return;
        }
        if let Some(old) = old {
            self.agent_index.remove(id, &old);
        }
        if let Some(new) = new {
            self.agent_index.add(id, &new);
        }
    }

    /// The agent that registered with this boot id.
    pub fn agent_of_boot(&self, boot_id: &str) -> Option<&AgentId> {
        let first = (Arc::from(boot_id), AgentId::from(""));
        let (boot, agent) = self.agent_index.boots.range(first..).next()?;
        (**boot == *boot_id).then_some(agent)
    }

    /// How many agents are not given up.
    pub fn reachable_agents(&self) -> usize {
        self.agents.len().saturating_sub(self.agent_index.unreachable.len())
    }

    /// The indexes of the agents as they are.
    pub(in crate::registry) fn agent_index_anew(&self) -> AgentIndex {
        let mut index = AgentIndex::default();
        self.agents.iter().for_each(|(id, record)| index.add(id, record));
        index
    }
}
