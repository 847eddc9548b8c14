//! Which tasks this agent can run. Owns the refusals, each with its state, reason and a message for people.

use tepui_proto::v1;
use v1::task_status::Reason;

use crate::TaskKey;

const ID_BYTES_MAX: usize = 255;

/// Why a task will not run here.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) state: v1::TaskState,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl Refusal {
    /// The task is wrong in itself.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { state: v1::TaskState::TaskError, reason: Reason::TaskInvalid, message: message.into() }
    }

    /// This agent cannot run it.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            state: v1::TaskState::TaskFailed,
            reason: Reason::ContainerLaunchFailed,
            message: message.into(),
        }
    }
}

/// Refuses what cannot be run, neither as a plain command nor by an executor that is one.
pub(crate) fn check_task(
    agent_id: &str,
    key: &TaskKey,
    info: &v1::TaskInfo,
    grouped: bool,
) -> Result<(), Refusal> {
    for (what, id) in [("task id", &key.task_id), ("framework id", &key.framework_id)] {
        if !is_usable_id(id) {
            return Err(Refusal::error(format!("{what} cannot be used as a name: {id:?}")));
        }
    }
    let meant_for = info.agent_id.as_ref().and_then(|id| id.value.as_deref()).unwrap_or_default();
    if !meant_for.is_empty() && meant_for != agent_id {
        return Err(Refusal::error(format!("task is meant for agent {meant_for}")));
    }
    match &info.executor {
        Some(_) if info.command.is_some() && !grouped => {
            Err(Refusal::error("task has a command and an executor"))
        }
        // What is in the task is for its executor to make sense of.
        Some(executor) => check_executor(executor),
        None => check_program(info.command.as_ref(), info.container.as_ref()),
    }
}

fn check_executor(executor: &v1::ExecutorInfo) -> Result<(), Refusal> {
    let executor_id = executor.executor_id.as_ref().map_or("", v1::ExecutorId::value);
    if !is_usable_id(executor_id) {
        return Err(Refusal::error(format!("executor id cannot be used as a name: {executor_id:?}")));
    }
    if executor.r#type() == v1::executor_info::Type::Default {
        return Err(Refusal::failed("the DEFAULT executor is not supported by this agent yet"));
    }
    check_program(executor.command.as_ref(), executor.container.as_ref())
}

fn check_program(
    command: Option<&v1::CommandInfo>,
    container: Option<&v1::ContainerInfo>,
) -> Result<(), Refusal> {
    let Some(command) = command else {
        return Err(Refusal::error("there is no command"));
    };
    if command.value().is_empty() {
        return Err(Refusal::error("command is empty"));
    }
    if !command.uris.is_empty() {
        return Err(Refusal::failed("fetching of URIs is not supported by this agent yet"));
    }
    let secret = v1::environment::variable::Type::Secret;
    let variables = command.environment.iter().flat_map(|environment| &environment.variables);
    if let Some(variable) = variables.into_iter().find(|variable| variable.r#type() == secret) {
        let message = format!("variable {}: secrets are not supported by this agent yet", variable.name());
        return Err(Refusal::failed(message));
    }
    match container.and_then(unsupported) {
        Some(what) => Err(Refusal::failed(format!("{what} are not supported by this agent yet"))),
        None => Ok(()),
    }
}

fn unsupported(container: &v1::ContainerInfo) -> Option<&'static str> {
    if container.docker.is_some() || container.r#type() == v1::container_info::Type::Docker {
        Some("docker containers")
    } else if container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()) {
        Some("container images")
    } else if !container.volumes.is_empty() {
        Some("container volumes")
    } else if !container.network_infos.is_empty() {
        Some("container networks")
    } else if container.linux_info.is_some()
        || container.rlimit_info.is_some()
        || container.tty_info.is_some()
    {
        Some("linux settings, resource limits and terminals of containers")
    } else if container.hostname.is_some() {
        Some("host names of containers")
    } else {
        None
    }
}

/// Returns whether an id is safe as one component of a path.
fn is_usable_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= ID_BYTES_MAX
        && id != "."
        && id != ".."
        && !id.chars().any(|character| matches!(character, '/' | '\\') || character.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(value: &str) -> v1::TaskInfo {
        let command = v1::CommandInfo { value: Some(value.to_owned()), ..Default::default() };
        v1::TaskInfo { command: Some(command), ..Default::default() }
    }

    fn executor(id: &str) -> v1::ExecutorInfo {
        v1::ExecutorInfo {
            executor_id: Some(v1::ExecutorId { value: Some(id.to_owned()) }),
            command: command("true").command,
            ..Default::default()
        }
    }

    #[test]
    fn a_plain_command_passes_and_each_flaw_is_named() {
        let key = TaskKey::new("f", "t");
        let image = v1::ContainerInfo { docker: Some(Default::default()), ..Default::default() };
        let uri = v1::command_info::Uri { value: Some("http://host/file".to_owned()), ..Default::default() };
        let cases: Vec<(TaskKey, v1::TaskInfo, &str)> = vec![
            (key.clone(), command("true"), ""),
            (key.clone(), v1::TaskInfo::default(), "no command"),
            (key.clone(), command(""), "empty"),
            (TaskKey::new("f", ".."), command("true"), "task id"),
            (TaskKey::new("a/b", "t"), command("true"), "framework id"),
            (TaskKey::new("f", "x".repeat(256)), command("true"), "task id"),
            (
                key.clone(),
                v1::TaskInfo { executor: Some(executor("e")), ..command("true") },
                "and an executor",
            ),
            (key.clone(), v1::TaskInfo { executor: Some(executor("e")), ..Default::default() }, ""),
            (
                key.clone(),
                v1::TaskInfo { executor: Some(executor("..")), ..Default::default() },
                "executor id",
            ),
            (
                key.clone(),
                v1::TaskInfo { executor: Some(Default::default()), ..Default::default() },
                "executor id",
            ),
            (key.clone(), v1::TaskInfo { container: Some(image), ..command("true") }, "docker"),
            (
                key.clone(),
                v1::TaskInfo {
                    command: Some(v1::CommandInfo {
                        uris: vec![uri],
                        value: Some("x".to_owned()),
                        ..Default::default()
                    }),
                    ..Default::default()
                },
                "URIs",
            ),
            (
                key.clone(),
                v1::TaskInfo {
                    agent_id: Some(v1::AgentId { value: Some("other".to_owned()) }),
                    ..command("true")
                },
                "meant for",
            ),
        ];
        for (key, info, expected) in cases {
            match check_task("agent", &key, &info, false) {
                Ok(()) => assert_eq!(expected, "", "{info:?}"),
                Err(refusal) => {
                    assert!(!expected.is_empty() && refusal.message.contains(expected), "{refusal:?}");
                }
            }
        }
    }
}
