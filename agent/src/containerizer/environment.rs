//! The environment of a command, on top of what it inherits from the agent. Owns the names that Mesos promises and ours.

use tepui_agent_core::Launch;
use tepui_proto::v1;

use super::Settings;
use crate::supervise::processes::CONTAINER_VARIABLE;

/// Returns the variables in their order; a later one of the same name wins.
pub(super) fn variables(settings: &Settings, launch: &Launch, sandbox: &str) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = [
        ("MESOS_SANDBOX", sandbox),
        ("MESOS_DIRECTORY", sandbox),
        ("MESOS_TASK_ID", &launch.task.task_id),
        ("MESOS_EXECUTOR_ID", &launch.executor_id),
        ("MESOS_FRAMEWORK_ID", &launch.task.framework_id),
        ("MESOS_SLAVE_ID", &launch.agent_id),
        ("MESOS_AGENT_ENDPOINT", &settings.endpoint),
        ("MESOS_CHECKPOINT", if launch.framework.checkpoint() { "1" } else { "0" }),
        ("TEPUI_BIN", &settings.executable),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    if let Some(role) = allocation_role(&launch.info) {
        variables.push(("MESOS_ALLOCATION_ROLE".to_owned(), role.to_owned()));
    }
    let wanted = launch.info.command.iter().filter_map(|command| command.environment.as_ref());
    variables.extend(
        wanted
            .flat_map(|environment| &environment.variables)
            .map(|variable| (variable.name().to_owned(), variable.value().to_owned())),
    );
    // By these processes are found again: nobody may change them.
    variables.extend(marks(settings, &launch.container_id));
    variables
}

/// Returns the variables by which processes of a container are found; its supervising process has them too.
pub(super) fn marks(settings: &Settings, container_id: &str) -> [(String, String); 2] {
    [
        ("TEPUI_WORK_DIR".to_owned(), settings.layout.work_dir().display().to_string()),
        (CONTAINER_VARIABLE.to_owned(), container_id.to_owned()),
    ]
}

fn allocation_role(info: &v1::TaskInfo) -> Option<&str> {
    info.resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.as_deref())
}
