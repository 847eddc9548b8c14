//! The environment of a command or an executor. Owns the names that Mesos promises and ours, and what of the agent's own environment
//! is passed on.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use tepui_proto::{duration, v1};

use super::Settings;
use super::start::{Owner, Start};
use crate::executor_tokens::Claims;
use crate::supervise::processes::CONTAINER_VARIABLE;

/// How long executors wait at most between two attempts to subscribe; they are told, the agent does not care.
const SUBSCRIPTION_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Variables of the agent that are for itself: its settings, and the secret of whoever started it.
const PRIVATE: [&[u8]; 3] = [b"LIBPROCESS_", b"MESOS_", b"TEPUI_"];

/// Returns what a container inherits of the agent's environment, as from Mesos' agents: all but what is for the agent itself.
pub(super) fn inherited(
    own: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    own.filter(|(name, _)| !PRIVATE.iter().any(|prefix| name.as_bytes().starts_with(prefix)))
}

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
    // A command sees what Mesos' command executor would have passed on to it.
    add("MESOS_SLAVE_PID", format!("slave(1)@{}", settings.endpoint));
    let grace = match &start.owner {
        Owner::Task(_) => settings.timers.executor_shutdown_grace,
        Owner::Executor(_) => Duration::from_millis(start.grace_ms),
    };
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
    match &start.owner {
        Owner::Task(task) => add("MESOS_TASK_ID", task.task_id.clone()),
        Owner::Executor(executor) => {
            if let Some(tokens) = &settings.tokens {
                let claims = Claims::new(&executor.framework_id, &executor.executor_id, &start.container_id);
                add("MESOS_EXECUTOR_AUTHENTICATION_TOKEN", tokens.sign(&claims));
            }
        }
    }
    // Only the executors that Mesos brings along have it.
    if let Some(role) = allocation_role(&start.resources).filter(|_| start.is_built_in) {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tepui_agent_core::{ExecutorKey, TaskKey};

    use super::*;
    use crate::config::Timers;
    use crate::layout::Layout;

    fn settings(folder: &std::path::Path, endpoint: &str) -> Settings {
        let (layout, _lock) = Layout::open(folder).unwrap();
        Settings {
            layout,
            endpoint: endpoint.to_owned(),
            executable: "/bin/tepui".to_owned(),
            supervisor_command: Vec::new(),
            timers: Timers::default(),
            tokens: None,
        }
    }

    fn start(owner: Owner, is_built_in: bool, checkpoint: bool) -> Start {
        let allocation = v1::resource::AllocationInfo { role: Some("etl".to_owned()) };
        Start {
            owner,
            container_id: "c".to_owned(),
            agent_id: "a".to_owned(),
            framework: v1::FrameworkInfo { checkpoint: Some(checkpoint), ..Default::default() },
            framework_id: "f".to_owned(),
            executor_id: "e".to_owned(),
            command: v1::CommandInfo::default(),
            resources: vec![v1::Resource { allocation_info: Some(allocation), ..Default::default() }],
            grace_ms: 1_500,
            is_built_in,
        }
    }

    /// Names that everybody has, in any case.
    const ALWAYS: [&str; 14] = [
        "LIBPROCESS_IP",
        "LIBPROCESS_PORT",
        "MESOS_AGENT_ENDPOINT",
        "MESOS_CHECKPOINT",
        "MESOS_DIRECTORY",
        "MESOS_EXECUTOR_ID",
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
        "MESOS_FRAMEWORK_ID",
        "MESOS_HTTP_COMMAND_EXECUTOR",
        "MESOS_SANDBOX",
        "MESOS_SLAVE_ID",
        "MESOS_SLAVE_PID",
        "TEPUI_BIN",
        "TEPUI_WORK_DIR",
    ];

    #[test]
    fn each_kind_of_executor_has_its_variables_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let custom = || Owner::Executor(ExecutorKey::new("f", "e"));
        let command = || Owner::Task(TaskKey::new("f", "t"));
        let checkpointed = ["MESOS_RECOVERY_TIMEOUT", "MESOS_SUBSCRIPTION_BACKOFF_MAX"];
        let cases = [
            (start(custom(), false, false), &[][..], false),
            (start(custom(), false, true), &[], true),
            (start(custom(), true, false), &["MESOS_ALLOCATION_ROLE"], false),
            (start(command(), true, false), &["MESOS_ALLOCATION_ROLE", "MESOS_TASK_ID"], false),
            (start(command(), true, true), &["MESOS_ALLOCATION_ROLE", "MESOS_TASK_ID"], true),
        ];
        for (start, more, checkpoint) in cases {
            let all: BTreeMap<String, String> =
                variables(&settings(folder.path(), "10.0.0.7:5051"), &start, "/sandbox")
                    .into_iter()
                    .collect();
            let mut expected: Vec<&str> = ALWAYS.iter().chain(more).copied().collect();
            expected.extend(checkpointed.iter().filter(|_| checkpoint));
            expected.push(CONTAINER_VARIABLE);
            expected.sort_unstable();
            assert_eq!(all.keys().collect::<Vec<_>>(), expected, "{start:?}");
            assert_eq!(all["MESOS_CHECKPOINT"], if checkpoint { "1" } else { "0" });
            let grace = if start.is_built_in && more.len() == 2 { "5secs" } else { "1500ms" };
            assert_eq!(all["MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"], grace);
            assert_eq!(all["MESOS_SLAVE_PID"], "slave(1)@10.0.0.7:5051");
            assert_eq!(
                all.get("MESOS_ALLOCATION_ROLE").map(String::as_str),
                start.is_built_in.then_some("etl")
            );
        }
    }

    #[test]
    fn an_address_stands_without_brackets() {
        let folder = tempfile::tempdir().unwrap();
        let start = start(Owner::Executor(ExecutorKey::new("f", "e")), false, false);
        let all = variables(&settings(folder.path(), "[::1]:5051"), &start, "/sandbox");
        let all: BTreeMap<String, String> = all.into_iter().collect();
        assert_eq!(
            (all["LIBPROCESS_IP"].as_str(), all["MESOS_AGENT_ENDPOINT"].as_str()),
            ("::1", "[::1]:5051")
        );
    }
}
