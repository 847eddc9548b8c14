//! The environment of a command or an executor, on top of what it inherits from the agent. Owns the names that Mesos promises
//! and ours.

use std::time::Duration;

use tepui_proto::{duration, v1};

use super::Settings;
use super::start::{Owner, Start};
use crate::supervise::processes::CONTAINER_VARIABLE;

/// How long executors wait at most between two attempts to subscribe; they are told, the agent does not care.
const SUBSCRIPTION_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Returns the variables in their order; a later one of the same name wins.
pub(super) fn variables(settings: &Settings, start: &Start, sandbox: &str) -> Vec<(String, String)> {
    let checkpoint = start.framework.checkpoint();
    let mut variables: Vec<(String, String)> = [
        ("MESOS_SANDBOX", sandbox),
        ("MESOS_DIRECTORY", sandbox),
        ("MESOS_EXECUTOR_ID", &start.executor_id),
        ("MESOS_FRAMEWORK_ID", &start.framework_id),
        ("MESOS_SLAVE_ID", &start.agent_id),
        ("MESOS_AGENT_ENDPOINT", &settings.endpoint),
        ("MESOS_CHECKPOINT", if checkpoint { "1" } else { "0" }),
        ("TEPUI_BIN", &settings.executable),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let mut add = |name: &str, value: String| variables.push((name.to_owned(), value));
    match &start.owner {
        Owner::Task(task) => add("MESOS_TASK_ID", task.task_id.clone()),
        Owner::Executor(_) => {
            add("MESOS_SLAVE_PID", format!("slave(1)@{}", settings.endpoint));
            let grace = Duration::from_millis(start.grace_ms);
            add("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", duration::format(grace));
            add("MESOS_HTTP_COMMAND_EXECUTOR", "0".to_owned());
            // Old executors open a port of their own: on the agent's address, wherever there is a free one.
            let ip = settings.endpoint.rsplit_once(':').map_or("", |(ip, _)| ip);
            add("LIBPROCESS_IP", ip.trim_matches(['[', ']']).to_owned());
            add("LIBPROCESS_PORT", "0".to_owned());
            if checkpoint {
                add("MESOS_RECOVERY_TIMEOUT", duration::format(settings.timers.recovery_timeout));
                add("MESOS_SUBSCRIPTION_BACKOFF_MAX", duration::format(SUBSCRIPTION_BACKOFF_MAX));
            }
        }
    }
    if let Some(role) = allocation_role(&start.resources) {
        add("MESOS_ALLOCATION_ROLE", role.to_owned());
    }
    let wanted = start.command.environment.iter().flat_map(|environment| &environment.variables);
    variables.extend(wanted.map(|variable| (variable.name().to_owned(), variable.value().to_owned())));
    // By these processes are found again: nobody may change them.
    variables.extend(marks(settings, &start.container_id));
    variables
}

/// Returns the variables by which processes of a container are found; its supervising process has them too.
pub(super) fn marks(settings: &Settings, container_id: &str) -> [(String, String); 2] {
    [
        ("TEPUI_WORK_DIR".to_owned(), settings.layout.work_dir().display().to_string()),
        (CONTAINER_VARIABLE.to_owned(), container_id.to_owned()),
    ]
}

fn allocation_role(resources: &[v1::Resource]) -> Option<&str> {
    resources.iter().find_map(|resource| resource.allocation_info.as_ref()?.role.as_deref())
}
