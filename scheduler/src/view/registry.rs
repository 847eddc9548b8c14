//! What is kept in the log, in the shape of Mesos' Registry.

use serde_json::{Value, json};
use tepui_proto::v1::{MachineId, TimeInfo};
use tepui_scheduler_core::Registry;

use crate::runtime::reads::ReadView;
use crate::view::{instant, maintenance, master, settings};

/// The parts that Mesos' Registry has; ours has more (frameworks, tasks, operations), which other endpoints show.
pub(crate) fn registry(view: &ReadView) -> Value {
    let registry = &view.registry;
    let slaves: Vec<Value> = registry
        .agents
        .values()
        .filter(|record| record.unreachable_ms.is_none())
        .map(|record| {
            let mut slave = json!({ "info": record.info });
            if record.deactivated || record.draining() {
                slave["deactivated"] = json!(true);
            }
            slave
        })
        .collect();
    let unreachable: Vec<Value> = registry
        .agents
        .iter()
        .filter(|(_, record)| record.unreachable_ms.is_some())
        .map(|(id, record)| left(id.as_str(), instant(record.unreachable_wall_ms)))
        .collect();
    let gone: Vec<Value> = registry
        .gone_agents
        .iter()
        .map(|(id, cluster_ms)| {
            // Only the cluster's own time is kept, which does not pass while nobody leads.
            let ago = registry.cluster_ms.saturating_sub(*cluster_ms);
            left(id.as_str(), instant(registry.wall_ms.saturating_sub(ago)))
        })
        .collect();
    let quota = settings::quota_status(registry);
    let quotas: Vec<Value> = quota.infos.iter().map(|info| json!({ "info": info })).collect();
    let weights = settings::get_weights(registry).weight_infos;
    let weights: Vec<Value> = weights.iter().map(|info| json!({ "info": info })).collect();
    let mut shown = json!({
        "slaves": { "slaves": slaves },
        "machines": { "machines": machines(registry) },
        "schedules": registry.maintenance.schedule.iter().map(|_| json!(maintenance::schedule(registry))).collect::<Vec<_>>(),
        "quotas": quotas,
        "quota_configs": quota.configs,
        "weights": weights,
        "unreachable": { "slaves": unreachable },
        "gone": { "slaves": gone },
    });
    if let Some(leader) = &registry.leader {
        shown["master"] = json!({ "info": master::master_info(leader) });
    }
    shown
}

fn left(id: &str, timestamp: Option<TimeInfo>) -> Value {
    json!({ "id": { "value": id }, "timestamp": timestamp })
}

fn machines(registry: &Registry) -> Vec<Value> {
    let shown = |id: &MachineId, down: bool, unavailability: Value| {
        let mode = if down { "DOWN" } else { "DRAINING" };
        json!({ "info": { "id": id, "mode": mode, "unavailability": unavailability } })
    };
    let machines = registry.machines.values();
    machines.map(|machine| shown(&machine.id, machine.down, json!(machine.unavailability))).collect()
}
