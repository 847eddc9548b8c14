//! The next generation of a driver: what it needs, and what it is told when it starts.
//!
//! Owns the names of tasks and frameworks of drivers, and the environment of their processes. A task id is never used
//! twice, since the generation in it never falls.

use std::sync::Arc;

use bytes::Bytes;
use tepui_proto::resources::Resources;
use tepui_proto::tepui::operator::DriverState;
use tepui_proto::v1::{self, CommandInfo, TaskInfo};

use super::policy;
use crate::allocator::Demand;
use crate::ids::{AgentId, DRIVER_FRAMEWORK_PREFIX, DRIVERS_FRAMEWORK, FrameworkId};
use crate::registry::{DriverRecord, LaunchDriver, LaunchItem, Registry};
use crate::status::task_view;

/// Whether the driver waits for resources.
pub(super) fn is_wanting(driver: &DriverRecord) -> bool {
    driver.kill.is_none()
        && match driver.state() {
            DriverState::DriverQueued => true,
            // Two of them can do no harm: only the newer one can write.
            DriverState::DriverUnreachable => policy::survives_its_agent(driver),
            DriverState::DriverUnknown
            | DriverState::DriverStaging
            | DriverState::DriverRunning
            | DriverState::DriverBackoff
            | DriverState::DriverFinished
            | DriverState::DriverFailed
            | DriverState::DriverKilled => false,
        }
}

/// Returns what the next launch needs, on any agent but this one.
pub(super) fn demand(driver: &DriverRecord, elsewhere: Option<AgentId>) -> Option<Demand> {
    let spec = driver.spec.as_ref()?;
    Some(Demand {
        driver: driver.name().to_owned(),
        framework: FrameworkId::from(DRIVERS_FRAMEWORK),
        role: Arc::from(spec.role()),
        resources: Resources::from_proto(&spec.resources).ok()?,
        elsewhere,
    })
}

/// Returns the task id of one generation.
pub(super) fn task_id(name: &str, generation: u64) -> String {
    format!("{name}.g{generation}")
}

/// Returns the framework id for the next launch: always the same one, unless that framework has been removed, since a
/// removed id can never subscribe again.
pub(super) fn framework_id(registry: &Registry, driver: &DriverRecord) -> String {
    if registry.completed(&FrameworkId::from(driver.framework_id.as_str())).is_some() {
        format!("{DRIVER_FRAMEWORK_PREFIX}{}.r{}", driver.name(), driver.generation + 1)
    } else {
        driver.framework_id.clone()
    }
}

/// Returns how long a driver's framework may be away, whatever it says itself; 0 for frameworks that are no driver's.
pub(in crate::master) fn failover_timeout_ms(registry: &Registry, framework_id: &FrameworkId) -> u64 {
    if !framework_id.as_str().starts_with(DRIVER_FRAMEWORK_PREFIX) {
        return 0;
    }
    let driver = registry.drivers.values().find(|driver| driver.framework_id == framework_id.as_str());
    let spec = driver.filter(|driver| !driver.ended()).and_then(|driver| driver.spec.as_ref());
    spec.and_then(|spec| spec.failover_timeout_ms).unwrap_or_default()
}

/// Returns the operation that launches the next generation on this agent, with a token that only its process will know.
pub(super) fn operation(
    registry: &Registry,
    driver: &DriverRecord,
    agent_id: &AgentId,
    token: &str,
    token_sha256: Bytes,
    masters: &str,
) -> Option<LaunchDriver> {
    let spec = driver.spec.as_ref()?;
    let generation = driver.generation + 1;
    let framework_id = framework_id(registry, driver);
    let name = driver.name();
    let variables = [
        ("TEPUI_MASTERS", masters),
        ("TEPUI_DRIVER_NAME", name),
        ("TEPUI_DRIVER_GENERATION", &generation.to_string()),
        ("TEPUI_DRIVER_TOKEN", token),
        ("TEPUI_FRAMEWORK_ID", &framework_id),
    ];
    let resources = Resources::from_proto(&spec.resources).ok()?.allocate(spec.role()).to_proto();
    let info = TaskInfo {
        name: Some(name.to_owned()),
        task_id: Some(v1::TaskId { value: Some(task_id(name, generation)) }),
        agent_id: Some(agent_id.to_proto()),
        resources,
        command: Some(with_variables(spec.command.clone().unwrap_or_default(), &variables)),
        labels: (!spec.labels.is_empty()).then(|| v1::Labels { labels: spec.labels.clone() }),
        ..TaskInfo::default()
    };
    let task = task_view(&info, &FrameworkId::from(DRIVERS_FRAMEWORK).to_proto());
    Some(LaunchDriver {
        name: name.to_owned(),
        generation,
        agent_id: agent_id.as_str().to_owned(),
        token_sha256,
        framework_id,
        item: Some(LaunchItem { task: Some(task), info: Some(info), ..LaunchItem::default() }),
    })
}

/// Sets variables, in place of others of the same names.
fn with_variables(mut command: CommandInfo, variables: &[(&str, &str)]) -> CommandInfo {
    let environment = command.environment.get_or_insert_default();
    environment.variables.retain(|one| !variables.iter().any(|(name, _)| *name == one.name()));
    environment.variables.extend(variables.iter().map(|(name, value)| v1::environment::Variable {
        name: Some((*name).to_owned()),
        value: Some((*value).to_owned()),
        ..Default::default()
    }));
    command
}
