//! The maintenance schedule: which agents are concerned, and machines that are taken down and brought up.

use std::collections::BTreeSet;

use tepui_proto::v1::{MachineId, maintenance::Schedule};

use super::super::core::Master;
use super::super::effect::Level;
use super::super::input::RequestId;
use super::super::timers::Timer;
use super::{FleetPending, FleetTimer, SLICE};
use crate::ids::AgentId;
use crate::registry::{Operation, Outcome, StartMaintenance, StopMaintenance, UpdateSchedule, machine_key};
use crate::validation::{self, machine_name};

impl Master {
    pub(super) fn on_update_schedule(&mut self, request: RequestId, schedule: Schedule) {
        let checked = validation::schedule(&schedule).map_err(|rejection| rejection.reason);
        if let Err(reason) = checked.and_then(|()| self.keeps_down_machines(&schedule)) {
            self.reject(request, 400, reason);
            return;
        }
        let update = UpdateSchedule { schedule: Some(schedule) };
        self.propose_fleet(Operation::UpdateSchedule(update), FleetPending::Maintenance { request });
    }

    fn keeps_down_machines(&self, schedule: &Schedule) -> Result<(), String> {
        let named = schedule.windows.iter().flat_map(|window| &window.machine_ids);
        let named: BTreeSet<_> = named.map(machine_key).collect();
        let missing = self.registry.maintenance.down.iter().find(|id| !named.contains(&machine_key(id)));
        match missing {
            Some(id) => Err(format!("machine {} is down and must stay in the schedule", machine_name(id))),
            None => Ok(()),
        }
    }

    pub(super) fn on_start_maintenance(&mut self, request: RequestId, machines: Vec<MachineId>) {
        if let Err(reason) = self.check_machines(&machines, false) {
            self.reject(request, 400, reason);
            return;
        }
        let start = StartMaintenance { machines };
        self.propose_fleet(Operation::StartMaintenance(start), FleetPending::Maintenance { request });
    }

    pub(super) fn on_stop_maintenance(&mut self, request: RequestId, machines: Vec<MachineId>) {
        if let Err(reason) = self.check_machines(&machines, true) {
            self.reject(request, 400, reason);
            return;
        }
        let stop = StopMaintenance { machines };
        self.propose_fleet(Operation::StopMaintenance(stop), FleetPending::Maintenance { request });
    }

    fn check_machines(&self, machines: &[MachineId], down: bool) -> Result<(), String> {
        validation::machines(machines).map_err(|rejection| rejection.reason)?;
        for id in machines {
            let name = machine_name(id);
            match (self.registry.machines.get(&machine_key(id)).map(|machine| machine.down), down) {
                (None, _) => return Err(format!("machine {name} is not in the maintenance schedule")),
                (Some(true), false) => return Err(format!("machine {name} is down already")),
                (Some(false), true) => return Err(format!("machine {name} is not down")),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn maintenance_changed(&mut self, outcome: Outcome) {
        if let Outcome::MachinesDown { agents, lost } = outcome {
            for (framework, status) in lost {
                let latest = status.state();
                self.tell(&framework, status, latest);
            }
            for id in agents {
                self.order_shutdown(&id, "the agent's machine is down for maintenance");
                self.fleet.draining.remove(&id);
                self.agent_lost(&id, Outcome::Lost(Vec::new()));
                self.view.counters.removals += 1;
                self.view.counters.removals_unregistered += 1;
            }
        }
        self.note(Level::Info, "maintenance schedule changed", Vec::new());
        self.refresh_machines();
    }

    /// Finds the agents on scheduled machines. What is offered of those whose time changed is offered anew, with their time.
    pub(super) fn refresh_machines(&mut self) {
        if self.registry.machines.is_empty() {
            self.fleet.unseen.extend(self.fleet.unavailable.keys().cloned());
        } else {
            // In one piece, which takes a tenth of the time that one after the other would.
            let gone = self.fleet.unavailable.keys().filter(|id| !self.registry.agents.contains_key(*id));
            let gone: Vec<AgentId> = gone.cloned().collect();
            self.fleet.unseen = self.registry.agents.keys().cloned().collect();
            self.fleet.unseen.extend(gone);
        }
        self.refresh_some_machines();
    }

    /// One slice of the agents that are to be looked at; the next turn goes on with the rest. Each is judged by the schedule
    /// as it is then, so a schedule that changes in between is met by all.
    pub(super) fn refresh_some_machines(&mut self) {
        for _ in 0..SLICE {
            let Some(id) = self.fleet.unseen.pop_first() else { return };
            self.refresh_machine_of(&id);
        }
        if !self.fleet.unseen.is_empty() {
            // The rest follows at once, but in a turn of its own.
            self.timers.arm(self.now.cluster_ms + 1, Timer::Fleet(FleetTimer::Machines));
        }
    }

    pub(in super::super) fn refresh_machine_of(&mut self, id: &AgentId) {
        let record = self.registry.agents.get(id);
        let machine = record.and_then(|record| self.registry.machine_of(record)).filter(|one| !one.down);
        let new = machine.map(|machine| machine.unavailability);
        let old = match new {
            Some(unavailability) => self.fleet.unavailable.insert(id.clone(), unavailability),
            None => self.fleet.unavailable.remove(id),
        };
        if old != new {
            self.withdraw_offers_of_agent(id);
            self.forget_inverse_of_agent(id);
            self.ask_inverse(id);
        }
    }
}
