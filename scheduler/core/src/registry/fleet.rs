//! What operators want of agents and machines: the operations, and the rows that remember them.
//!
//! Rules about them stand in `apply/fleet.rs` and `apply/machines.rs`; the questions answered here need only the records.

use std::sync::Arc;

use bytes::Bytes;
use tepui_proto::v1::{self, TaskState};

use super::records::AgentRecord;
use super::tables::Registry;
use crate::ids::{DRIVERS_FRAMEWORK, FrameworkId};

/// Most machines in a maintenance schedule.
pub const MAX_MACHINES: usize = 20_000;

/// An agent that is being emptied, or was.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DrainRecord {
    /// Milliseconds that a task gets at most between being asked and being forced; absent: its own grace.
    #[prost(uint64, optional, tag = "50")]
    pub max_grace_ms: Option<u64>,
    /// The agent is marked gone as soon as it is empty.
    #[prost(bool, tag = "51")]
    pub mark_gone: bool,
    /// Nothing is left on it.
    #[prost(bool, tag = "52")]
    pub drained: bool,
    /// Wall clock, milliseconds since 1970.
    #[prost(uint64, tag = "53")]
    pub start_wall_ms: u64,
}

impl DrainRecord {
    /// Returns it as the operator API shows it.
    pub fn info(&self) -> v1::DrainInfo {
        let nanoseconds = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        let max_grace_period =
            self.max_grace_ms.map(|ms| v1::DurationInfo { nanoseconds: Some(nanoseconds(ms)) });
        let state = if self.drained { v1::DrainState::Drained } else { v1::DrainState::Draining };
        v1::DrainInfo {
            state: Some(state as i32),
            config: Some(v1::DrainConfig { max_grace_period, mark_gone: Some(self.mark_gone) }),
        }
    }
}

/// The schedule, and which of its machines are down.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MaintenanceRecord {
    #[prost(message, optional, tag = "50")]
    pub schedule: Option<v1::maintenance::Schedule>,
    #[prost(message, repeated, tag = "51")]
    pub down: Vec<v1::MachineId>,
}

/// A machine as the schedule names it: host name in lower case and address, of which one may be empty.
pub type MachineKey = (Arc<str>, Arc<str>);

/// Returns the key of a machine.
pub fn machine_key(id: &v1::MachineId) -> MachineKey {
    (Arc::from(id.hostname().to_ascii_lowercase()), Arc::from(id.ip()))
}

/// A machine in the schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    pub id: v1::MachineId,
    pub unavailability: v1::Unavailability,
    /// Taken down: agents on it are refused.
    pub down: bool,
}

impl Registry {
    /// Returns the entry of the schedule for this agent's machine: everything that the entry names must match. One that is down
    /// counts before one that is not.
    pub fn machine_of(&self, agent: &AgentRecord) -> Option<&Machine> {
        let hostname = agent.info.as_ref().map_or("", |info| info.hostname());
        self.machine_at(hostname, &agent.ip)
    }

    /// Like [`Registry::machine_of`] for an agent that is not known yet.
    pub fn machine_at(&self, hostname: &str, ip: &str) -> Option<&Machine> {
        if self.machines.is_empty() {
            return None;
        }
        let (hostname, ip, nothing) =
            (Arc::<str>::from(hostname.to_ascii_lowercase()), Arc::<str>::from(ip), Arc::<str>::from(""));
        let keys = [(hostname.clone(), ip.clone()), (hostname, nothing.clone()), (nothing, ip)];
        let found = keys.iter().filter_map(|key| self.machines.get(key));
        found.reduce(|best, other| if other.down && !best.down { other } else { best })
    }

    /// Computes the table of machines from the schedule.
    pub(in crate::registry) fn index_machines(&mut self) {
        self.machines.clear();
        let record = self.maintenance.clone();
        for window in record.schedule.iter().flat_map(|schedule| &schedule.windows) {
            for id in &window.machine_ids {
                let unavailability = window.unavailability.unwrap_or_default();
                let machine = Machine { id: id.clone(), unavailability, down: false };
                self.machines.insert(machine_key(id), machine);
            }
        }
        for id in &record.down {
            if let Some(machine) = self.machines.get_mut(&machine_key(id)) {
                machine.down = true;
            }
        }
    }

    /// Returns how the end of a task counts that an agent being drained reports: a kill there is the drain's work. A driver is
    /// no worse for it, whatever is to become of its agent.
    pub fn drained_state(&self, agent: &AgentRecord, framework: &FrameworkId, state: TaskState) -> TaskState {
        let Some(drain) = agent.drain.as_ref().filter(|_| state == TaskState::TaskKilled) else {
            return state;
        };
        if framework.as_str() == DRIVERS_FRAMEWORK {
            return TaskState::TaskGoneByOperator;
        }
        let aware = self.frameworks.get(framework).is_some_and(|record| record.partition_aware());
        if drain.mark_gone && aware { TaskState::TaskGoneByOperator } else { state }
    }
}

/// Empties an agent: it is deactivated, takes no launches, and its tasks are killed. Replaces an earlier wish of the kind.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DrainAgent {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    #[prost(uint64, optional, tag = "2")]
    pub max_grace_ms: Option<u64>,
    #[prost(bool, tag = "3")]
    pub mark_gone: bool,
}

/// An agent that is being drained is empty. Refused if it is not.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DrainedAgent {
    #[prost(string, tag = "1")]
    pub agent_id: String,
}

/// Makes an agent offer nothing (again), or offer again. The latter ends a drain that is done, and is refused while it is not.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ActivateAgent {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    #[prost(bool, tag = "2")]
    pub active: bool,
}

/// The operator says that an agent will never come back: its tasks are GONE_BY_OPERATOR (LOST for those who do not know that state).
#[derive(Clone, PartialEq, prost::Message)]
pub struct MarkGone {
    #[prost(string, tag = "1")]
    pub agent_id: String,
}

/// Replaces the whole schedule. Machines that are down must stay in it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UpdateSchedule {
    #[prost(message, optional, tag = "1")]
    pub schedule: Option<v1::maintenance::Schedule>,
}

/// Takes machines down: all must be in the schedule and up. Their agents are removed, their tasks LOST.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StartMaintenance {
    #[prost(message, repeated, tag = "1")]
    pub machines: Vec<v1::MachineId>,
}

/// Brings machines up: all must be down. They leave the schedule.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StopMaintenance {
    #[prost(message, repeated, tag = "1")]
    pub machines: Vec<v1::MachineId>,
}

/// Forgets agents that have been unreachable or gone for too long, or are too many. Those that are neither stay.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PruneAgents {
    #[prost(string, repeated, tag = "1")]
    pub unreachable: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub gone: Vec<String>,
}

/// Agents are back, and stand as the Registry knows them: many at once, with nothing to compare.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AttachAgents {
    #[prost(message, repeated, tag = "1")]
    pub agents: Vec<AttachAgent>,
}

/// One of them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct AttachAgent {
    #[prost(string, tag = "1")]
    pub agent_id: String,
    /// As the agent computed it.
    #[prost(bytes = "bytes", tag = "2")]
    pub standing: Bytes,
}
