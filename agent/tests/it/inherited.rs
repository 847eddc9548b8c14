//! What commands do not inherit from the agent: its secrets and the files that its caller left open.

use std::fs;
use std::process::Command;

use tepui_proto::v1;
use v1::TaskState as State;

use crate::master::{Master, shell};
use crate::rig::Rig;

/// Tells the second run, whose process has the surroundings that are under test, from the first.
const INSIDE: &str = "TEPUI_TEST_INSIDE";

/// An agent takes its environment and open files from its process, so the test runs itself in another one.
fn run_again(name: &str) {
    let line = r#"exec 9</etc/passwd; exec "$0" "$@""#;
    let this = std::env::current_exe().unwrap();
    let output = Command::new("/bin/sh")
        .args(["-c", line])
        .arg(this)
        .args([name, "--exact"])
        .env(INSIDE, "1")
        .env("TEPUI_PRINCIPAL", "ops")
        .env("TEPUI_SECRET", "hunter2")
        .env("MESOS_SECRET", "hunter2")
        .env("LIBPROCESS_SSL_KEY_FILE", "hunter2")
        .env("TEPUIX", "kept")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn a_command_inherits_no_secret_and_no_open_file() {
    if std::env::var_os(INSIDE).is_none() {
        run_again("inherited::a_command_inherits_no_secret_and_no_open_file");
        return;
    }
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    let line = "env; tr '\\0' '\\n' < /proc/$PPID/environ; echo files; for f in /proc/$$/fd/*; do readlink $f; done; true";
    let mut task = shell("t", line);
    let own = v1::environment::Variable {
        name: Some("TEPUI_MASTERS".to_owned()),
        value: Some("from the task".to_owned()),
        ..Default::default()
    };
    task.command.as_mut().unwrap().environment = Some(v1::Environment { variables: vec![own] });
    master.run(task, 1).await;
    master.update("t", State::TaskFinished).await;
    let out = fs::read_to_string(rig.sandbox("t").join("stdout")).unwrap();
    let (environment, files) = out.split_once("files\n").unwrap();
    for secret in ["hunter2", "TEPUI_PRINCIPAL", INSIDE] {
        assert!(!environment.contains(secret), "{secret}\n{environment}");
    }
    for kept in ["TEPUI_MASTERS=from the task", "TEPUIX=kept", "PATH="] {
        assert!(environment.contains(kept), "{kept}\n{environment}");
    }
    assert!(files.contains("stdout") && !files.contains("passwd"), "{files}");
}
