//! Status updates of agents: forwarded at once, reported in batches.

use tepui_proto::v1::{self, TaskState};

use super::core::Master;
use super::fleet::drain_status;
use super::reports::Acknowledgement;
use crate::ids::{self, AgentId, DRIVERS_FRAMEWORK, FrameworkId, TaskKey};

impl Master {
    pub(super) fn on_status(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        mut status: v1::TaskStatus,
        latest: Option<TaskState>,
    ) {
        let key = TaskKey { framework: framework.clone(), task: ids::of(status.task_id.as_ref()) };
        status.agent_id.get_or_insert_with(|| agent.to_proto());
        let latest = latest.unwrap_or_else(|| status.state());
        let uuid = status.uuid.clone().filter(|uuid| !uuid.is_empty());
        let acknowledgement =
            uuid.clone().map(|uuid| Acknowledgement { agent: agent.clone(), task: key.clone(), uuid });
        let record = self.registry.tasks.get(&key).cloned();
        if record.as_ref().is_some_and(|record| record.agent_id() != *agent) {
            // Another task of the same name runs elsewhere: this one was told to die, and its end is nobody's business.
            if let Some(acknowledgement) = acknowledgement {
                self.pass_on(acknowledgement);
            }
            return;
        }
        let Some(owner) = self.registry.frameworks.get(framework).cloned() else {
            self.orphan_status(agent, &key, status, latest, acknowledgement);
            return;
        };
        let aware = owner.partition_aware() || framework.as_str() == DRIVERS_FRAMEWORK;
        status.state = Some(status.state().as_told(aware) as i32);
        let latest = latest.as_told(aware);
        let here = self.registry.agents.get(agent).map(|record| &**record);
        let latest = drain_status(&self.registry, here, framework, &mut status, latest);
        // The same update again may bring news of what came after it: an end whose resources are free.
        let known = self.reports.seen(&key).map(|seen| seen.latest);
        let known = known.or_else(|| record.as_ref().map(|record| record.state()));
        let repeated = uuid.is_some() && uuid == self.last_uuid(&key) && known == Some(latest);
        if !repeated && (record.is_some() || self.pipeline.holds_task(&key)) {
            self.report_status(agent, &key, status.clone(), latest);
        }
        self.tell(framework, status, latest);
    }

    /// The framework is gone, so the master acknowledges in its place.
    fn orphan_status(
        &mut self,
        agent: &AgentId,
        key: &TaskKey,
        status: v1::TaskStatus,
        latest: TaskState,
        acknowledgement: Option<Acknowledgement>,
    ) {
        let charged = self.registry.tasks.contains_key(key);
        if charged && (latest.is_terminal() || status.state().is_terminal()) {
            self.report_status(agent, key, status, latest);
            if let Some(acknowledgement) = acknowledgement {
                self.pass_on_later(acknowledgement);
            }
        } else if let Some(acknowledgement) = acknowledgement {
            self.pass_on(acknowledgement);
        }
    }

    /// Returns the uuid of the update that the framework was told last.
    pub(super) fn last_uuid(&self, key: &TaskKey) -> Option<bytes::Bytes> {
        match self.reports.seen(key) {
            Some(seen) => seen.status.uuid.clone(),
            None => self.registry.tasks.get(key)?.task.as_ref()?.status_update_uuid.clone(),
        }
    }
}
