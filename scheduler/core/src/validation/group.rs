//! Whether a group of tasks can be launched: each member, the executor that they share, and what they ask of the offer together.
//!
//! One refusal refuses all of them; it becomes TASK_ERROR with reason TASK_GROUP_INVALID and this text for every member.

use std::collections::BTreeSet;

use tepui_proto::resources::{Millis, Resources};
use tepui_proto::v1::{self, ExecutorInfo, TaskInfo, executor_info};
use tepui_proto::wire::WireMessage;

use super::task::{self, CheckedTask, TaskContext};
use super::{Rejection, checks};
use crate::abridged::same_executor;

/// What a group is judged against.
#[derive(Clone, Debug)]
pub struct GroupContext<'a> {
    /// As for a single task; its `id_in_use` is not looked at.
    pub task: TaskContext<'a>,
    /// Of the LAUNCH_GROUP.
    pub executor: Option<&'a ExecutorInfo>,
    /// For each task whether the framework has an active or unreachable one of its id.
    pub id_in_use: &'a [bool],
    /// Whether the tasks that the executor has already share their cgroups with it; nothing if it has none.
    pub share_cgroups: Option<bool>,
}

/// Checks the tasks of a LAUNCH_GROUP, which carry its executor unless they have one of their own.
///
/// # Errors
/// Names the first task and field that is wrong.
pub fn group(tasks: &[TaskInfo], context: &GroupContext<'_>) -> Result<Vec<CheckedTask>, Rejection> {
    let executor = context.executor.ok_or_else(|| Rejection::new("'launch_group.executor' is not set"))?;
    if tasks.is_empty() {
        return Err(Rejection::new("'launch_group.task_group' has no tasks"));
    }
    let mut executor = executor.clone();
    let needs = shared_executor(&mut executor, &context.task)?;
    let mut checked = Vec::new();
    let mut ids = BTreeSet::new();
    for (task, id_in_use) in tasks.iter().zip(context.id_in_use) {
        let id = task.task_id.as_ref().map_or("", v1::TaskId::value);
        let named = |rejection: Rejection| Rejection::new(format!("task '{id}': {}", rejection.reason));
        let id_in_use = *id_in_use || !ids.insert(id);
        let context = TaskContext { id_in_use, ..context.task.clone() };
        checked.push(member(task, &executor, &needs, &context).map_err(named)?);
    }
    alike(tasks, context.share_cgroups)?;
    let sum = checked.iter().map(|task| &task.resources).sum::<Resources>() + &needs;
    task::unmixed("resources' of the tasks and 'executor.resources", &sum)?;
    // The executor is paid for with the first task.
    if let Some(first) = checked.first_mut().filter(|_| context.task.live_executor.is_none()) {
        first.resources += &needs;
    }
    let wanted = checked.iter().map(|task| &task.resources).sum::<Resources>();
    if !context.task.remaining.covers(&wanted) {
        return Err(Rejection::new(format!(
            "the group wants {wanted}, more than the {} that the offers have left",
            context.task.remaining
        )));
    }
    // One after the other: a sum hides that two ask for the same port.
    let mut left = context.task.remaining.clone();
    for task in &checked {
        if !left.covers(&task.resources) {
            return Err(Rejection::new("'resources' of two tasks of the group overlap"));
        }
        left = left.less(&task.resources);
    }
    Ok(checked)
}

/// All tasks of one executor share their cgroups with it, or none does.
fn alike(tasks: &[TaskInfo], before: Option<bool>) -> Result<(), Rejection> {
    let shares = |task: &TaskInfo| checks::share_cgroups(task.container.as_ref()).unwrap_or(true);
    let mut all = before.into_iter().chain(tasks.iter().map(shares));
    let first = all.next();
    if all.all(|one| Some(one) == first) {
        return Ok(());
    }
    Err(Rejection::new(
        "'container.linux_info.share_cgroups' differs among the tasks of the group or of its executor",
    ))
}

fn shared_executor(executor: &mut ExecutorInfo, context: &TaskContext<'_>) -> Result<Resources, Rejection> {
    use executor_info::Type;
    if let Some(field) = executor.missing() {
        return Err(Rejection::new(format!("required field 'executor.{field}' is not set")));
    }
    if executor.r#type.is_none() {
        return Err(Rejection::new("'executor.type' is not set"));
    }
    let container = executor.container.as_ref();
    if container.is_some_and(is_docker) {
        return Err(Rejection::new("'executor.container' must not be a docker container"));
    }
    let has_image =
        container.and_then(|container| container.mesos.as_ref()).is_some_and(|mesos| mesos.image.is_some());
    if executor.r#type() == Type::Default && has_image {
        return Err(Rejection::new("'executor.container' must not have an image for the DEFAULT executor"));
    }
    let needs = task::executor(executor, context)?;
    let least = |name: &str, amount: f64| {
        let least = Millis::from_f64(amount).unwrap_or_default();
        if needs.scalar(name) >= least { Ok(()) } else { Err(name.to_owned()) }
    };
    let short = |name: String| Rejection::new(format!("'executor.resources' has too little '{name}'"));
    least("cpus", 0.01)
        .and_then(|()| least("mem", 32.0))
        .and_then(|()| least("disk", 0.001))
        .map_err(short)?;
    Ok(needs)
}

fn member(
    task: &TaskInfo,
    executor: &ExecutorInfo,
    needs: &Resources,
    context: &TaskContext<'_>,
) -> Result<CheckedTask, Rejection> {
    let mut info = task.clone();
    task::identity(&info, context)?;
    if let Some(field) = info.missing() {
        return Err(Rejection::new(format!("required field '{field}' is not set")));
    }
    let mut own_executor = info.executor.clone().unwrap_or_default();
    task::executor(&mut own_executor, context)?;
    if !same_executor(executor, &own_executor) || executor.data != own_executor.data {
        return Err(Rejection::new("'executor' differs from that of the group"));
    }
    info.executor = Some(executor.clone());
    task::allocate("resources", &mut info.resources, context.role)?;
    let own = task::resources("resources", &info.resources)?;
    if own.is_empty() {
        return Err(Rejection::new("'resources' is empty"));
    }
    task::limits(&info, &own)?;
    if !info.limits.is_empty() && checks::share_cgroups(info.container.as_ref()) != Some(false) {
        return Err(Rejection::new(
            "'limits' need 'container.linux_info.share_cgroups' to be false in a task group",
        ));
    }
    task::parts(&mut info)?;
    if let Some(command) = &info.command {
        checks::command_parts("command", command)?;
    }
    if let Some(container) = &info.container {
        if is_docker(container) {
            return Err(Rejection::new("'container' must not be a docker container"));
        }
        let health = info.health_check.as_ref().map(v1::HealthCheck::r#type);
        let remote = [v1::health_check::Type::Http, v1::health_check::Type::Tcp];
        if !container.network_infos.is_empty() && health.is_some_and(|kind| remote.contains(&kind)) {
            return Err(Rejection::new("'health_check' cannot reach into the network of 'container'"));
        }
    }
    task::separate(&own, needs)?;
    Ok(CheckedTask { info, resources: own })
}

fn is_docker(container: &v1::ContainerInfo) -> bool {
    container.docker.is_some() || container.r#type() == v1::container_info::Type::Docker
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
