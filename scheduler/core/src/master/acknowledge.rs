//! ACKNOWLEDGE: a framework has an update, so its agent may stop repeating it.

use bytes::Bytes;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::scheduler::call;

use super::core::Master;
use super::reports::Acknowledgement;
use crate::ids::{self, AgentId, FrameworkId, TaskKey};

impl Master {
    pub(super) fn on_acknowledge(&mut self, id: &FrameworkId, call: call::Acknowledge) {
        let agent: AgentId = ids::of(call.agent_id.as_ref());
        let key = TaskKey { framework: id.clone(), task: ids::of(call.task_id.as_ref()) };
        if let Err(reason) = self.acknowledge(&agent, &key, call.uuid.unwrap_or_default()) {
            self.warn(format!("'acknowledge' of task '{}' is dropped: {reason}", key.task));
        }
    }

    /// Passes an acknowledgement on. That of a terminal update waits until the Registry holds the end: until then the agent
    /// must keep the task, since it may be the only one who knows.
    ///
    /// # Errors
    /// Says why it is dropped.
    pub(super) fn acknowledge(&mut self, agent: &AgentId, key: &TaskKey, uuid: Bytes) -> Result<(), String> {
        if self.agents.get(agent).is_none_or(|session| session.registered().is_none()) {
            // The agent will repeat the update when it is back.
            return Err(format!("'agent_id' names '{agent}', which is not registered now"));
        }
        let acknowledgement = Acknowledgement { agent: agent.clone(), task: key.clone(), uuid: uuid.clone() };
        let known = self.registry.tasks.get(key);
        if let Some(record) = known
            && record.agent_id() != *agent
        {
            return Err(format!("'agent_id' is '{agent}' but the task is on agent '{}'", record.agent_id()));
        }
        let last = self.last_uuid(key).is_some_and(|last| last == uuid);
        if known.is_some() && !last {
            if self.told_state(key).is_none() {
                return Err("no update of the task was forwarded by this master".to_owned());
            }
            if self.newest_state(key).is_some_and(TaskState::is_terminal) {
                // Of an update that an earlier leader forwarded and this one has not seen: it may be the end of the task, which
                // nobody would know of if the agent forgot it now. The agent repeats what is still open.
                return Err("'uuid' is not that of the last update that was forwarded".to_owned());
            }
        }
        if last && known.is_some() && self.told_state(key).is_some_and(TaskState::is_terminal) {
            self.report_acknowledgement(acknowledgement);
        } else {
            self.pass_on(acknowledgement);
        }
        Ok(())
    }

    /// Returns the newest state that the agent has named, whether or not the framework was told of it yet.
    fn newest_state(&self, key: &TaskKey) -> Option<TaskState> {
        match self.reports.seen(key) {
            Some(seen) => Some(seen.latest),
            None => self.registry.tasks.get(key).map(|record| record.state()),
        }
    }
}
