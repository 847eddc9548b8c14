//! Agents that are back and stand as they are known here. What the proposer compared is compared again: launches, ends and removals may
//! have been committed meanwhile.

use super::Step;
use crate::ids::AgentId;
use crate::registry::fleet::{AttachAgent, AttachAgents};
use crate::registry::outcome::{Outcome, Refusal};
use crate::registry::records::AgentRecord;

impl Step<'_> {
    pub(super) fn attach_agents(&mut self, attach: &AttachAgents) -> Outcome {
        Outcome::Attached(attach.agents.iter().map(|one| self.attach_agent(one)).collect())
    }

    fn attach_agent(&mut self, attach: &AttachAgent) -> Result<(), Refusal> {
        let id = AgentId::from(attach.agent_id.as_str());
        if self.tables.is_gone(&id) {
            return Err(Refusal::AgentRemoved);
        }
        let old = self.agent(&id)?;
        self.refuse_down(old.info.as_ref(), &old.ip)?;
        if self.tables.standing(&id).is_none_or(|known| known != attach.standing) {
            return Err(Refusal::StandsOtherwise);
        }
        let mut record = AgentRecord::clone(&old);
        record.connected_epoch = self.tables.epoch;
        record.disconnected_ms = None;
        record.reregistered_wall_ms = self.tables.wall_ms;
        self.put_agent(id, record);
        Ok(())
    }
}
