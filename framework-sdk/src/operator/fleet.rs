//! Calls about agents and machines: draining, removal, maintenance. Each may be made again when its answer was lost; one that is
//! refused because the first attempt was fulfilled says so.

use super::client::{Client, OperatorError};
use crate::v1;
use crate::v1::maintenance::{ClusterStatus, Schedule};
use crate::v1::master::Call;
use crate::v1::master::call::{
    DeactivateAgent, DrainAgent, MarkAgentGone, ReactivateAgent, StartMaintenance, StopMaintenance, Type,
    UpdateMaintenanceSchedule,
};

impl Client {
    /// Empties an agent and offers nothing of it any more.
    ///
    /// # Errors
    /// 400 for an unknown agent, 409 for one that is being marked gone.
    pub async fn drain_agent(&self, drain: DrainAgent) -> Result<(), OperatorError> {
        self.change(Call { drain_agent: Some(drain), ..of(Type::DrainAgent) }).await
    }

    /// Offers nothing of an agent any more; its tasks go on.
    ///
    /// # Errors
    /// 400 for an unknown agent.
    pub async fn deactivate_agent(&self, agent_id: v1::AgentId) -> Result<(), OperatorError> {
        let deactivate = DeactivateAgent { agent_id: Some(agent_id) };
        self.change(Call { deactivate_agent: Some(deactivate), ..of(Type::DeactivateAgent) }).await
    }

    /// Offers an agent again that was deactivated or drained.
    ///
    /// # Errors
    /// 400 for an unknown agent, and for one that is not deactivated or still being drained.
    pub async fn reactivate_agent(&self, agent_id: v1::AgentId) -> Result<(), OperatorError> {
        let reactivate = ReactivateAgent { agent_id: Some(agent_id) };
        self.change(Call { reactivate_agent: Some(reactivate), ..of(Type::ReactivateAgent) }).await
    }

    /// Says that an agent will never come back.
    ///
    /// # Errors
    /// 404 for an unknown agent, 503 for one that is changing its state right now.
    pub async fn mark_agent_gone(&self, agent_id: v1::AgentId) -> Result<(), OperatorError> {
        let gone = MarkAgentGone { agent_id: Some(agent_id) };
        self.change(Call { mark_agent_gone: Some(gone), ..of(Type::MarkAgentGone) }).await
    }

    /// Returns the maintenance schedule.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn get_maintenance_schedule(&self) -> Result<Schedule, OperatorError> {
        let answer = self.call(&of(Type::GetMaintenanceSchedule)).await?.get_maintenance_schedule;
        answer.and_then(|answer| answer.schedule).ok_or(OperatorError::Incomplete("get_maintenance_schedule"))
    }

    /// Returns which scheduled machines are draining, and which are down.
    ///
    /// # Errors
    /// Those of any read.
    pub async fn get_maintenance_status(&self) -> Result<ClusterStatus, OperatorError> {
        let answer = self.call(&of(Type::GetMaintenanceStatus)).await?.get_maintenance_status;
        answer.and_then(|answer| answer.status).ok_or(OperatorError::Incomplete("get_maintenance_status"))
    }

    /// Replaces the whole maintenance schedule.
    ///
    /// # Errors
    /// 400 for a schedule that makes no sense or leaves a machine out that is down.
    pub async fn update_maintenance_schedule(&self, schedule: Schedule) -> Result<(), OperatorError> {
        let update = UpdateMaintenanceSchedule { schedule: Some(schedule) };
        let call = Call { update_maintenance_schedule: Some(update), ..of(Type::UpdateMaintenanceSchedule) };
        self.change(call).await
    }

    /// Takes scheduled machines down, and the agents on them.
    ///
    /// # Errors
    /// 400 for machines that are not scheduled, or down already.
    pub async fn start_maintenance(&self, machines: Vec<v1::MachineId>) -> Result<(), OperatorError> {
        let start = StartMaintenance { machines };
        self.change(Call { start_maintenance: Some(start), ..of(Type::StartMaintenance) }).await
    }

    /// Brings machines up and takes them off the schedule.
    ///
    /// # Errors
    /// 400 for machines that are not down.
    pub async fn stop_maintenance(&self, machines: Vec<v1::MachineId>) -> Result<(), OperatorError> {
        let stop = StopMaintenance { machines };
        self.change(Call { stop_maintenance: Some(stop), ..of(Type::StopMaintenance) }).await
    }

    async fn change(&self, call: Call) -> Result<(), OperatorError> {
        self.call(&call).await.map(|_empty| ())
    }
}

fn of(kind: Type) -> Call {
    Call { r#type: Some(kind as i32), ..Call::default() }
}
