//! The executable against a scripted master: what it prints and how it exits.

use std::process::{Command, Output};

use tepui_proto::resources::Resources;
use tepui_sdk::tepui::operator::{Driver, DriverSpec, DriverState, Response, response};
use tepui_sdk::testing::ScriptedMaster;
use tepui_sdk::v1;
use tepui_sdk::v1::master::call::Type;

async fn tepui(masters: &str, arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let masters = masters.to_owned();
    tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_tepui"))
            .args(arguments)
            .env("TEPUI_MASTERS", masters)
            .env("NO_COLOR", "1")
            .env_remove("TEPUI_LOG")
            .env_remove("TEPUI_CONFIG")
            .output()
            .expect("the executable runs")
    })
    .await
    .expect("the executable ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn task(id: &str, state: v1::TaskState) -> v1::Task {
    v1::Task {
        name: Some(format!("name of {id}")),
        task_id: Some(v1::TaskId { value: Some(id.into()) }),
        framework_id: Some(v1::FrameworkId { value: Some("f-1".into()) }),
        agent_id: Some(v1::AgentId { value: Some("a-1".into()) }),
        state: Some(state as i32),
        resources: Resources::parse("cpus:0.5;mem:64").expect("resources").to_proto(),
        ..Default::default()
    }
}

fn answer(call: &v1::master::Call) -> v1::master::Response {
    let tasks = v1::master::response::GetTasks {
        tasks: vec![task("t-1", v1::TaskState::TaskRunning)],
        completed_tasks: vec![task("t-0", v1::TaskState::TaskFailed)],
        ..Default::default()
    };
    let agent = v1::master::response::get_agents::Agent {
        agent_info: Some(v1::AgentInfo {
            hostname: Some("host-1".into()),
            port: Some(5051),
            id: Some(v1::AgentId { value: Some("a-1".into()) }),
            ..Default::default()
        }),
        active: Some(true),
        version: Some("1.11.0".into()),
        total_resources: Resources::parse("cpus:4;mem:2048").expect("resources").to_proto(),
        allocated_resources: Resources::parse("cpus:0.5;mem:64").expect("resources").to_proto(),
        ..Default::default()
    };
    let framework = v1::master::response::get_frameworks::Framework {
        framework_info: Some(v1::FrameworkInfo {
            user: Some("u".into()),
            name: Some("shop".into()),
            id: Some(v1::FrameworkId { value: Some("f-1".into()) }),
            ..Default::default()
        }),
        active: Some(true),
        connected: Some(true),
        recovered: Some(false),
        ..Default::default()
    };
    let agents = v1::master::response::GetAgents { agents: vec![agent], ..Default::default() };
    let frameworks =
        v1::master::response::GetFrameworks { frameworks: vec![framework], ..Default::default() };
    let kind = match call.r#type() {
        Type::GetTasks => v1::master::response::Type::GetTasks,
        Type::GetAgents => v1::master::response::Type::GetAgents,
        Type::GetFrameworks => v1::master::response::Type::GetFrameworks,
        _ => v1::master::response::Type::GetState,
    };
    v1::master::Response {
        r#type: Some(kind as i32),
        get_state: Some(v1::master::response::GetState {
            get_tasks: Some(tasks.clone()),
            get_agents: Some(agents.clone()),
            get_frameworks: Some(frameworks.clone()),
            ..Default::default()
        }),
        get_tasks: Some(tasks),
        get_agents: Some(agents),
        get_frameworks: Some(frameworks),
        ..Default::default()
    }
}

async fn master() -> ScriptedMaster {
    let master = ScriptedMaster::start().await.expect("a master");
    master.on_operator(|call, _| Ok(answer(call)));
    master.on_tepui(|call, _| {
        let spec = DriverSpec {
            name: Some("flights".into()),
            command: Some(v1::CommandInfo::default()),
            ..Default::default()
        };
        let driver = Driver {
            spec: Some(spec),
            state: Some(DriverState::DriverRunning as i32),
            generation: Some(3),
            restarts: Some(2),
            ..Default::default()
        };
        match call.get_drivers.as_ref().and_then(|get| get.name.as_deref()) {
            Some("gone") => Ok(Response { r#type: Some(3), get_drivers: None, ..Default::default() }),
            _ => Ok(Response {
                r#type: Some(response::Type::GetDrivers as i32),
                get_drivers: Some(response::GetDrivers { drivers: vec![driver] }),
                ..Default::default()
            }),
        }
    });
    master
}

#[tokio::test]
async fn tables_are_for_people() {
    let master = master().await;
    let cases: [(&[&str], &[&str], &[&str]); 7] = [
        (&["tasks"], &["ID", "t-1", "name of t-1", "TASK_RUNNING", "64 MiB"], &["t-0", "\u{1b}"]),
        (&["tasks", "--all"], &["t-1", "t-0", "TASK_FAILED"], &[]),
        (&["tasks", "--framework", "shop"], &["t-1"], &[]),
        (&["tasks", "--framework", "other"], &["no tasks"], &["t-1"]),
        (&["agents"], &["a-1", "host-1:5051", "registered", "0.5/4", "64 MiB/2 GiB"], &[]),
        (&["frameworks"], &["f-1", "shop", "connected"], &[]),
        (&["state"], &["1 (1 active)", "0.5 of 4", "1 failed, 1 running", "1 running"], &[]),
    ];
    for (arguments, expected, unexpected) in cases {
        let output = tepui(master.address(), arguments).await;
        let out = text(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        for word in expected {
            assert!(out.contains(word), "{arguments:?} lacks {word:?}:\n{out}");
        }
        for word in unexpected {
            assert!(!out.contains(word), "{arguments:?} has {word:?}:\n{out}");
        }
    }
}

#[tokio::test]
async fn json_is_for_programs() {
    let master = master().await;
    for (arguments, pointer, expected) in [
        (["tasks", "--output", "json"], "/tasks/0/task_id/value", "t-1"),
        (["agents", "-o", "json"], "/agents/0/agent_info/hostname", "host-1"),
        (["frameworks", "-o", "json"], "/frameworks/0/framework_info/name", "shop"),
        (["state", "-o", "json"], "/get_tasks/tasks/0/state", "TASK_RUNNING"),
        (["drivers", "-o", "json"], "/drivers/0/spec/name", "flights"),
    ] {
        let output = tepui(master.address(), &arguments).await;
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let found = value.pointer(pointer).and_then(|value| value.as_str());
        assert_eq!(found, Some(expected), "{arguments:?}: {value}");
    }
}

#[tokio::test]
async fn exit_codes_tell_what_kind_of_trouble_it_was() {
    let master = master().await;
    let good = master.address();
    let cases: [(&str, &[&str], i32, &str); 8] = [
        (good, &["tasks"], 0, ""),
        (good, &["status", "flights"], 0, ""),
        (good, &["status", "gone"], 1, "there is no driver"),
        (good, &["logs", "nothing"], 1, ""),
        (good, &["task"], 2, "unrecognized subcommand"),
        (good, &["tasks", "--timeout", "soon"], 2, "10secs"),
        (good, &["master", "--config", "/nonexistent"], 2, "/nonexistent"),
        ("127.0.0.1:1", &["tasks", "--timeout", "100ms"], 3, "no leading master"),
    ];
    for (masters, arguments, code, words) in cases {
        let output = tepui(masters, arguments).await;
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(words), "{arguments:?}: {errors}");
    }
}

#[tokio::test]
async fn a_cluster_that_nobody_leads_is_not_waited_for_for_ever() {
    let master = master().await;
    master.stand_by(None);
    for arguments in [
        vec!["run", "--timeout", "200ms", "--", "true"],
        vec!["raft", "status", "--masters", "127.0.0.1:1", "--timeout", "200ms"],
        vec!["submit", "--timeout", "200ms", "--name", "d", "--", "true"],
    ] {
        let output = tepui(master.address(), &arguments).await;
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[tokio::test]
async fn help_has_examples() {
    for command in [
        "master",
        "agent",
        "local",
        "demo",
        "run",
        "submit",
        "drivers",
        "kill-driver",
        "state",
        "agents",
        "frameworks",
        "tasks",
        "logs",
    ] {
        let output = tepui("", &[command, "--help"]).await;
        assert!(output.status.success(), "{command}");
        assert!(text(&output.stdout).contains("tepui "), "{command} has no example");
    }
}

#[tokio::test]
async fn config_show_reads_the_file_wherever_the_flag_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "[master]\nport = 7123\n").expect("the file is written");
    let path = path.to_str().expect("a path of text");
    for arguments in [
        ["--config", path, "config", "show", "master"],
        ["config", "show", "master", "--config", path],
        ["config", "--config", path, "show", "master"],
        ["config", "show", "master", "--file", path],
    ] {
        let output = tepui("", &arguments).await;
        let shown = text(&output.stdout);
        let line = shown.lines().find(|line| line.starts_with("port ")).unwrap_or_default();
        assert!(line.contains("7123") && line.ends_with("file"), "{arguments:?}: {shown}");
    }
    let output = tepui("", &["config", "show", "master", "--", "--port", "many"]).await;
    let said = text(&output.stderr);
    assert!(said.starts_with("error: invalid value") && output.status.code() == Some(2), "{said}");
}
