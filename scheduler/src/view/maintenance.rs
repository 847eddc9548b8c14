//! The maintenance schedule and where its machines stand, as the operator API shows them.

use std::collections::BTreeMap;

use tepui_proto::v1::allocator::InverseOfferStatus;
use tepui_proto::v1::maintenance::{ClusterStatus, Schedule, cluster_status::DrainingMachine};
use tepui_scheduler_core::registry::{MachineKey, machine_key};
use tepui_scheduler_core::{LocalView, Registry};

/// The schedule as it was given, without the machines that were brought up since.
pub(crate) fn schedule(registry: &Registry) -> Schedule {
    registry.maintenance.schedule.clone().unwrap_or_default()
}

/// Which scheduled machines are still in use, with what frameworks answered, and which are down. Only the leading master knows
/// the answers.
pub(crate) fn status(registry: &Registry, local: Option<&LocalView>) -> ClusterStatus {
    let mut answers = answers(registry, local);
    let windows = registry.maintenance.schedule.iter().flat_map(|schedule| &schedule.windows);
    let mut status = ClusterStatus::default();
    for id in windows.flat_map(|window| &window.machine_ids) {
        let key = machine_key(id);
        if registry.machines.get(&key).is_some_and(|machine| machine.down) {
            status.down_machines.push(id.clone());
        } else {
            let statuses = answers.remove(&key).unwrap_or_default();
            status.draining_machines.push(DrainingMachine { id: Some(id.clone()), statuses });
        }
    }
    status
}

fn answers(registry: &Registry, local: Option<&LocalView>) -> BTreeMap<MachineKey, Vec<InverseOfferStatus>> {
    let mut all: BTreeMap<MachineKey, Vec<InverseOfferStatus>> = BTreeMap::new();
    for ((agent, _), status) in local.into_iter().flat_map(|local| &local.inverse_statuses) {
        let machine = registry.agents.get(agent).and_then(|record| registry.machine_of(record));
        if let Some(machine) = machine {
            all.entry(machine_key(&machine.id)).or_default().push(status.as_ref().clone());
        }
    }
    all
}
