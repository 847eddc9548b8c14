//! Whether a task can be launched: its own parts, and what it asks of the offer.
//!
//! A refusal becomes TASK_ERROR with reason TASK_INVALID and this text. One bad task stops no other.

use std::collections::BTreeSet;

use tepui_proto::ids::validate_id;
use tepui_proto::resources::{Amount, Millis, Resources};
use tepui_proto::v1::{self, ExecutorInfo, TaskInfo, executor_info};
use tepui_proto::wire::WireMessage;

use super::{Rejection, checks};
use crate::abridged::same_executor;
use crate::ids::AgentId;
use crate::registry::FrameworkRecord;

/// What a task is judged against.
#[derive(Clone, Debug)]
pub struct TaskContext<'a> {
    pub framework: &'a FrameworkRecord,
    /// Of the offers.
    pub agent_id: &'a AgentId,
    /// The offers' role.
    pub role: &'a str,
    /// What earlier tasks and operations of the same call left, allocated to the role.
    pub remaining: &'a Resources,
    /// Whether the framework has an active or unreachable task of this id.
    pub id_in_use: bool,
    /// The live executor of the task's executor id on this agent, or one that an earlier task of the same call brings.
    pub live_executor: Option<&'a ExecutorInfo>,
}

/// A task that can be launched.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedTask {
    /// With allocations, the executor's framework id and type, and the health check's type filled in.
    pub info: TaskInfo,
    /// Of the task, and of its executor unless that is live; allocated to the role.
    pub resources: Resources,
}

/// Checks a task of a LAUNCH.
///
/// # Errors
/// Names the first field that is wrong.
pub fn task(task: &TaskInfo, context: &TaskContext<'_>) -> Result<CheckedTask, Rejection> {
    let mut info = task.clone();
    identity(&info, context)?;
    if let Some(field) = info.missing() {
        return Err(Rejection::new(format!("required field '{field}' is not set")));
    }
    allocate("resources", &mut info.resources, context.role)?;
    let own = resources("resources", &info.resources)?;
    if own.is_empty() {
        return Err(Rejection::new("'resources' is empty"));
    }
    limits(&info, &own)?;
    parts(&mut info)?;
    let mut wanted = own.clone();
    match (&info.command, &mut info.executor) {
        (Some(_), Some(_)) => return Err(Rejection::new("both 'command' and 'executor' are set")),
        (None, None) => return Err(Rejection::new("neither 'command' nor 'executor' is set")),
        (Some(command), None) => {
            // An image may bring its own command.
            if info.container.is_some() {
                checks::command_parts("command", command)?;
            } else {
                checks::command("command", command)?;
            }
        }
        (None, Some(given)) => {
            let needs = executor(given, context)?;
            if given.r#type() != executor_info::Type::Custom {
                return Err(Rejection::new("'executor.type' must be CUSTOM for a LAUNCH"));
            }
            separate(&own, &needs)?;
            unmixed("resources' and 'executor.resources", &(own.clone() + &needs))?;
            if context.live_executor.is_none() {
                wanted += &needs;
            }
        }
    }
    if checks::share_cgroups(info.container.as_ref()) == Some(false) {
        return Err(Rejection::new("'container.linux_info.share_cgroups' can be false in a task group only"));
    }
    if !context.remaining.covers(&wanted) {
        return Err(Rejection::new(format!(
            "'resources' wants {wanted}, more than the {} that the offers have left",
            context.remaining
        )));
    }
    Ok(CheckedTask { info, resources: wanted })
}

pub(super) fn identity(info: &TaskInfo, context: &TaskContext<'_>) -> Result<(), Rejection> {
    let task_id = info.task_id.as_ref().map_or("", v1::TaskId::value);
    validate_id(task_id).map_err(|error| Rejection::new(format!("'task_id' is not valid: {error}")))?;
    if context.id_in_use {
        return Err(Rejection::new(format!("'task_id' is in use: {task_id}")));
    }
    let agent_id = info.agent_id.as_ref().map_or("", v1::AgentId::value);
    if agent_id != context.agent_id.as_str() {
        return Err(Rejection::new(format!(
            "'agent_id' is '{agent_id}' but the offers are of agent '{}'",
            context.agent_id
        )));
    }
    Ok(())
}

pub(super) fn parts(info: &mut TaskInfo) -> Result<(), Rejection> {
    let grace = info.kill_policy.as_ref().and_then(|policy| policy.grace_period.as_ref());
    checks::not_negative("kill_policy.grace_period", grace)?;
    checks::not_negative("max_completion_time", info.max_completion_time.as_ref())?;
    if let Some(container) = &info.container {
        checks::container("container", container)?;
    }
    if let Some(check) = &info.check {
        checks::check("check", check)?;
    }
    if let Some(health) = &mut info.health_check {
        if let Some(inferred) = checks::inferred_type(health) {
            health.r#type = Some(inferred as i32);
        }
        checks::health_check("health_check", health)?;
    }
    Ok(())
}

/// Fills in the role wherever none is named; another one is refused.
pub(super) fn allocate(field: &str, resources: &mut [v1::Resource], role: &str) -> Result<(), Rejection> {
    for resource in resources {
        let allocation = resource.allocation_info.get_or_insert_default();
        match allocation.role.as_deref() {
            None => allocation.role = Some(role.to_owned()),
            Some(own) if own == role => {}
            Some(own) => {
                return Err(Rejection::new(format!(
                    "'{field}' is allocated to role '{own}' but the offers are for role '{role}'"
                )));
            }
        }
    }
    Ok(())
}

pub(super) fn resources(field: &str, list: &[v1::Resource]) -> Result<Resources, Rejection> {
    let parsed = Resources::from_proto(list)
        .map_err(|error| Rejection::new(format!("'{field}' is not valid: {error}")))?;
    super::disks::disks(field, list)?;
    unmixed(field, &parsed)?;
    let mut volumes = BTreeSet::new();
    for (identity, amount) in parsed.iter() {
        let Some(persistence_id) = identity.persistence_id() else { continue };
        let pieces = match amount {
            Amount::Pieces(pieces) => pieces.values().sum::<u64>(),
            Amount::Scalar(_) | Amount::Ranges(_) | Amount::Set(_) => 1,
        };
        let again = !volumes.insert((identity.reservation_role(), persistence_id));
        if again || (pieces > 1 && !identity.is_shared()) {
            return Err(Rejection::new(format!("'{field}' names the volume '{persistence_id}' twice")));
        }
    }
    Ok(parsed)
}

/// Of one name, either all is revocable or nothing.
pub(super) fn unmixed(field: &str, sum: &Resources) -> Result<(), Rejection> {
    let revocable: BTreeSet<&str> =
        sum.iter().filter(|(one, _)| one.is_revocable()).map(|(one, _)| one.name()).collect();
    let mixed = sum.iter().find(|(one, _)| !one.is_revocable() && revocable.contains(one.name()));
    match mixed {
        None => Ok(()),
        Some((one, _)) => {
            Err(Rejection::new(format!("'{field}' mixes revocable and other '{}'", one.name())))
        }
    }
}

pub(super) fn limits(info: &TaskInfo, own: &Resources) -> Result<(), Rejection> {
    for (name, limit) in &info.limits {
        if name != "cpus" && name != "mem" {
            return Err(Rejection::new(format!("'limits' has '{name}'; only cpus and mem can be limited")));
        }
        let asked = own.scalar(name);
        if asked.is_zero() {
            return Err(Rejection::new(format!("'limits' has '{name}' but 'resources' has none of it")));
        }
        let limit = limit.value();
        // What is beyond counting is beyond what is asked for, and infinity is no limit at all.
        let enough = Millis::from_f64(limit).map_or(limit > 0.0, |limit| limit >= asked);
        if !enough {
            return Err(Rejection::new(format!(
                "'limits' of '{name}' is {limit}, less than the task asks for"
            )));
        }
    }
    Ok(())
}

pub(super) fn executor(
    executor: &mut ExecutorInfo,
    context: &TaskContext<'_>,
) -> Result<Resources, Rejection> {
    use executor_info::Type;
    let executor_id = executor.executor_id.as_ref().map_or("", v1::ExecutorId::value);
    validate_id(executor_id)
        .map_err(|error| Rejection::new(format!("'executor.executor_id' is not valid: {error}")))?;
    let framework_id = context.framework.id();
    match executor.framework_id.as_ref().map(v1::FrameworkId::value) {
        None => executor.framework_id = Some(framework_id.to_proto()),
        Some(own) if own == framework_id.as_str() => {}
        Some(own) => {
            return Err(Rejection::new(format!(
                "'executor.framework_id' is '{own}' but the framework is '{framework_id}'"
            )));
        }
    }
    if executor.r#type.is_none() {
        executor.r#type = Some(Type::Custom as i32);
    }
    match executor.r#type() {
        Type::Custom => {
            let command = executor.command.as_ref();
            let command = command.ok_or_else(|| Rejection::new("'executor.command' is not set"))?;
            if executor.container.is_some() {
                checks::command_parts("executor.command", command)?;
            } else {
                checks::command("executor.command", command)?;
            }
        }
        Type::Default if executor.command.is_some() => {
            return Err(Rejection::new("'executor.command' must not be set for the DEFAULT executor"));
        }
        Type::Default => {}
        Type::Unknown => return Err(Rejection::new("'executor.type' is not DEFAULT or CUSTOM")),
    }
    if let Some(container) = &executor.container {
        checks::container("executor.container", container)?;
    }
    if checks::share_cgroups(executor.container.as_ref()) == Some(true) {
        return Err(Rejection::new("'executor.container.linux_info.share_cgroups' must not be true"));
    }
    checks::not_negative("executor.shutdown_grace_period", executor.shutdown_grace_period.as_ref())?;
    allocate("executor.resources", &mut executor.resources, context.role)?;
    let needs = resources("executor.resources", &executor.resources)?;
    if needs.iter().any(|(identity, _)| identity.is_shared()) {
        return Err(Rejection::new("'executor.resources' must not be shared"));
    }
    if context.live_executor.is_some_and(|live| !same_executor(live, executor)) {
        return Err(Rejection::new(format!(
            "'executor' differs from the live executor '{}' on this agent",
            executor.executor_id.as_ref().map_or("", v1::ExecutorId::value)
        )));
    }
    Ok(needs)
}

/// Whether an executor has less than any executor needs: 0.01 CPUs, 32 MB of memory. A LAUNCH may have it all the same.
pub fn is_small(executor: &ExecutorInfo) -> bool {
    let needs = Resources::from_proto(&executor.resources).unwrap_or_default();
    let short = |name: &str, least: f64| needs.scalar(name) < Millis::from_f64(least).unwrap_or_default();
    short("cpus", 0.01) || short("mem", 32.0)
}

/// A task and its executor cannot both have the same port or member of a set.
pub(super) fn separate(own: &Resources, executor: &Resources) -> Result<(), Rejection> {
    for (identity, amount) in own.iter() {
        let other = executor.iter().find(|(other, _)| *other == identity).map(|(_, amount)| amount);
        let overlap = match (amount, other) {
            (Amount::Ranges(mine), Some(Amount::Ranges(theirs))) => mine.difference(theirs) != *mine,
            (Amount::Set(mine), Some(Amount::Set(theirs))) => !mine.is_disjoint(theirs),
            _ => false,
        };
        if overlap {
            return Err(Rejection::new(format!(
                "'resources' and 'executor.resources' overlap in '{}'",
                identity.name()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
