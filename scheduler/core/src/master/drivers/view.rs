//! Drivers as operators read them: from the Registry alone, so that every master can tell.

use tepui_proto::tepui::operator::{self, DriverState, response};
use tepui_proto::v1;

use crate::registry::{DriverRecord, Registry};

/// Answers GET_DRIVERS: all of them, or the one of this name. Tokens and their hashes are not shown.
pub fn get_drivers(registry: &Registry, name: Option<&str>) -> response::GetDrivers {
    let drivers = match name {
        Some(name) => registry.driver(name).into_iter().map(|driver| driver_view(registry, driver)).collect(),
        None => registry.drivers.values().map(|driver| driver_view(registry, driver)).collect(),
    };
    response::GetDrivers { drivers }
}

/// Launches beyond the first.
pub fn restarts(driver: &DriverRecord) -> u32 {
    u32::try_from(driver.generation.saturating_sub(1)).unwrap_or(u32::MAX)
}

/// Cluster time until the next launch, milliseconds, while the driver waits for it.
pub fn next_launch_in_ms(registry: &Registry, driver: &DriverRecord) -> Option<u64> {
    let waits = driver.state() == DriverState::DriverBackoff;
    waits.then(|| driver.next_launch_ms.saturating_sub(registry.cluster_ms))
}

/// Returns one driver with its history and its registers.
fn driver_view(registry: &Registry, driver: &DriverRecord) -> operator::Driver {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let registers = registry.registers_of(driver.name());
    operator::Driver {
        spec: driver.spec.clone(),
        state: Some(driver.state),
        generation: Some(driver.generation),
        framework_id: text(&driver.framework_id).map(|id| v1::FrameworkId { value: Some(id) }),
        task_id: text(&driver.task_id).map(|id| v1::TaskId { value: Some(id) }),
        agent_id: text(&driver.agent_id).map(|id| v1::AgentId { value: Some(id) }),
        restarts: Some(restarts(driver)),
        attempts: driver.attempts.clone(),
        next_launch_in_ms: next_launch_in_ms(registry, driver),
        message: text(&driver.message),
        registers: registers
            .iter()
            .filter_map(|key| registry.registers.get(key))
            .map(|register| operator::Register {
                key: Some(register.key.clone()),
                version: Some(register.version),
                generation: Some(register.generation),
                bytes: Some(register.value.len() as u64),
            })
            .collect(),
    }
}
