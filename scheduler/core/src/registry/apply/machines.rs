//! The maintenance schedule: machines are scheduled, taken down and brought up again.
//!
//! ```text
//! up ──scheduled──► draining ──StartMaintenance──► down ──StopMaintenance──► up, and out of the schedule
//!  ▲                   │
//!  └──left out of a new schedule
//! ```

use std::sync::Arc;

use tepui_proto::v1::{self, TaskState, task_status::Reason};

use super::Step;
use super::fleet::Ending;
use crate::ids::AgentId;
use crate::registry::fleet::{
    MaintenanceRecord, StartMaintenance, StopMaintenance, UpdateSchedule, machine_key,
};
use crate::registry::outcome::{Change, Outcome, Refusal};
use crate::validation;

impl Step<'_> {
    pub(super) fn update_schedule(&mut self, update: &UpdateSchedule) -> Result<Outcome, Refusal> {
        let schedule = update.schedule.as_ref().ok_or(Refusal::Malformed)?;
        validation::schedule(schedule).map_err(|_| Refusal::Malformed)?;
        let named = schedule.windows.iter().flat_map(|window| &window.machine_ids);
        let named: std::collections::BTreeSet<_> = named.map(machine_key).collect();
        if self.tables.maintenance.down.iter().any(|id| !named.contains(&machine_key(id))) {
            return Err(Refusal::MachineDown);
        }
        let down = self.tables.maintenance.down.clone();
        self.put_maintenance(MaintenanceRecord { schedule: Some(schedule.clone()), down });
        Ok(Outcome::Done)
    }

    pub(super) fn start_maintenance(&mut self, start: &StartMaintenance) -> Result<Outcome, Refusal> {
        self.check_machines(&start.machines, false)?;
        let mut record = MaintenanceRecord::clone(&self.tables.maintenance);
        record.down.extend(start.machines.iter().cloned());
        self.put_maintenance(record);
        let on_them = self.tables.agents.iter().filter(|(_, agent)| self.is_down(agent));
        let agents: Vec<AgentId> = on_them.map(|(id, _)| id.clone()).collect();
        let mut lost = Vec::new();
        for id in &agents {
            lost.extend(self.end_tasks_on(
                id,
                Ending {
                    states: (TaskState::TaskLost, TaskState::TaskLost),
                    reason: Reason::AgentRemoved,
                    message: "the agent's machine was taken down for maintenance",
                },
            ));
            self.drop_agent(id);
        }
        Ok(Outcome::MachinesDown { agents, lost })
    }

    pub(super) fn stop_maintenance(&mut self, stop: &StopMaintenance) -> Result<Outcome, Refusal> {
        self.check_machines(&stop.machines, true)?;
        let up: std::collections::BTreeSet<_> = stop.machines.iter().map(machine_key).collect();
        let mut record = MaintenanceRecord::clone(&self.tables.maintenance);
        record.down.retain(|id| !up.contains(&machine_key(id)));
        if let Some(schedule) = &mut record.schedule {
            for window in &mut schedule.windows {
                window.machine_ids.retain(|id| !up.contains(&machine_key(id)));
            }
            schedule.windows.retain(|window| !window.machine_ids.is_empty());
        }
        self.put_maintenance(record);
        Ok(Outcome::Done)
    }

    /// Whether agents on this agent's machine are refused.
    pub(super) fn is_down(&self, agent: &crate::registry::AgentRecord) -> bool {
        self.tables.machine_of(agent).is_some_and(|machine| machine.down)
    }

    /// All of them must be in the schedule, and down or not as asked.
    fn check_machines(&self, ids: &[v1::MachineId], down: bool) -> Result<(), Refusal> {
        validation::machines(ids).map_err(|_| Refusal::Malformed)?;
        let fits =
            |id| self.tables.machines.get(&machine_key(id)).is_some_and(|machine| machine.down == down);
        if ids.iter().all(fits) { Ok(()) } else { Err(Refusal::WrongMachineMode) }
    }

    fn put_maintenance(&mut self, record: MaintenanceRecord) {
        self.tables.maintenance = Arc::new(record);
        self.tables.index_machines();
        self.changes.push(Change::Cluster);
    }
}
