//! Supervised drivers as our own operator API shows them.

use tepui_proto::tepui::operator;
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::registry::DriverRecord;

/// GET_DRIVERS: all of them, or the one of this name.
pub(crate) fn get_drivers(registry: &Registry, name: Option<&str>) -> operator::response::GetDrivers {
    let drivers = match name {
        Some(name) => registry.driver(name).map(|record| driver(registry, record)).into_iter().collect(),
        None => registry.drivers.values().map(|record| driver(registry, record)).collect(),
    };
    operator::response::GetDrivers { drivers }
}

/// One driver with the names of its registers.
pub(crate) fn driver(registry: &Registry, record: &DriverRecord) -> operator::Driver {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    operator::Driver {
        spec: record.spec.clone(),
        state: Some(record.state),
        generation: Some(record.generation),
        framework_id: some(&record.framework_id).map(|id| tepui_proto::v1::FrameworkId { value: Some(id) }),
        task_id: some(&record.task_id).map(|id| tepui_proto::v1::TaskId { value: Some(id) }),
        agent_id: some(&record.agent_id).map(|id| tepui_proto::v1::AgentId { value: Some(id) }),
        restarts: Some(restarts(record)),
        attempts: record.attempts.clone(),
        next_launch_in_ms: next_launch_in_ms(registry, record),
        message: some(&record.message),
        registers: registers(registry, record.name()),
    }
}

/// Launches beyond the first.
pub(crate) fn restarts(record: &DriverRecord) -> u32 {
    u32::try_from(record.generation.saturating_sub(1)).unwrap_or(u32::MAX)
}

/// Cluster time until the next launch, while the driver waits for it.
pub(crate) fn next_launch_in_ms(registry: &Registry, record: &DriverRecord) -> Option<u64> {
    let waits = record.state == operator::DriverState::DriverBackoff as i32;
    waits.then(|| record.next_launch_ms.saturating_sub(registry.cluster_ms))
}

fn registers(registry: &Registry, scope: &str) -> Vec<operator::Register> {
    let of_scope = registry.registers.iter().filter(|(key, _)| &*key.scope == scope);
    of_scope
        .map(|(key, record)| operator::Register {
            key: Some(key.key.to_string()),
            version: Some(record.version),
            generation: Some(record.generation),
            bytes: u64::try_from(record.value.len()).ok(),
        })
        .collect()
}
