//! How an agent stands as far as the Registry knows: the same digest that the agent computes of itself, if it has nothing to tell.

use bytes::Bytes;
use tepui_proto::standing::{AgentFacts, Standing, TaskFacts};

use super::tables::Registry;
use crate::ids::AgentId;

impl Registry {
    /// Returns the digest that an agent shows of which everything is known, or nothing if its registration has to tell everything
    /// whatever it shows: it was given up, or something waits for its word.
    pub fn standing(&self, id: &AgentId) -> Option<Bytes> {
        let agent = self.agents.get(id)?;
        if agent.unreachable_ms.is_some() || !agent.orphaned.is_empty() {
            return None;
        }
        let mut standing = Standing::new(AgentFacts {
            boot_id: &agent.boot_id,
            version: &agent.version,
            ip: &agent.ip,
            info: agent.info.as_ref()?,
            resources_version: agent.resources_version,
        });
        for key in self.tasks_by_agent.get(id).into_iter().flatten() {
            let record = self.tasks.get(key)?;
            if record.unreachable_wall_ms.is_some() || self.is_orphan(key) {
                return None;
            }
            let task = record.task.as_ref()?;
            standing.task(TaskFacts {
                framework: key.framework.as_str(),
                task: key.task.as_str(),
                launch_seq: record.launch_seq,
                state: record.state(),
                uuid: task.status_update_uuid.as_deref().unwrap_or_default(),
            });
        }
        for (key, executor) in self.executors_on(id) {
            if !executor.confirmed || !self.frameworks.contains_key(&key.framework) {
                return None;
            }
            standing.executor(key.framework.as_str(), key.executor.as_str());
        }
        Some(standing.digest())
    }
}
