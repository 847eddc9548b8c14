//! Commands from launch to end.

use std::fs;
use std::time::{Duration, SystemTime};

use tepui_proto::tepui::agent_link::call;
use tepui_proto::v1;
use v1::TaskState as State;
use v1::task_status::Reason;

use crate::master::{Master, PATIENCE, shell};
use crate::rig::{Rig, wait_for};

#[tokio::test]
async fn a_command_runs_in_its_sandbox_and_its_end_is_told() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    let register = master.registration(1).await;
    let info = register.agent_info.unwrap();
    assert_eq!(info.attributes.len(), 2);
    assert_eq!(info.resources.len(), 4);
    assert_eq!(register.ip.as_deref(), Some("127.0.0.1"));

    let mut task = shell("t1", "echo hi; echo oops >&2; pwd; env");
    let variable = |name: &str, value: &str| v1::environment::Variable {
        name: Some(name.to_owned()),
        value: Some(value.to_owned()),
        ..Default::default()
    };
    let variables = vec![variable("GREETING", "hello"), variable("TEPUI_WORK_DIR", "/tmp")];
    task.command.as_mut().unwrap().environment = Some(v1::Environment { variables });
    let allocation = v1::resource::AllocationInfo { role: Some("etl".to_owned()) };
    task.resources = vec![v1::Resource {
        name: Some("cpus".to_owned()),
        r#type: Some(v1::value::Type::Scalar.into()),
        scalar: Some(v1::value::Scalar { value: Some(0.1) }),
        allocation_info: Some(allocation),
        ..Default::default()
    }];
    master.run(task, 1).await;
    assert_eq!(master.call(call::Type::Accepted).await.accepted_launch_seq(), 1);
    master.update("t1", State::TaskStarting).await;
    let running = master.update("t1", State::TaskRunning).await;
    let container = running.container_status.unwrap();
    let container_id = container.container_id.unwrap().value.unwrap();
    assert!(container.executor_pid.is_some());
    let finished = master.update("t1", State::TaskFinished).await;
    assert_eq!(finished.message(), "command exited with status 0");

    let sandbox = fs::canonicalize(rig.sandbox("t1")).unwrap();
    assert!(sandbox.ends_with(&container_id));
    let out = fs::read_to_string(sandbox.join("stdout")).unwrap();
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("hi"));
    assert_eq!(lines.next(), Some(sandbox.to_str().unwrap()));
    assert_eq!(fs::read_to_string(sandbox.join("stderr")).unwrap(), "oops\n");
    let expected = [
        "GREETING=hello".to_owned(),
        "MESOS_TASK_ID=t1".to_owned(),
        "MESOS_EXECUTOR_ID=t1".to_owned(),
        "MESOS_FRAMEWORK_ID=fw".to_owned(),
        "MESOS_SLAVE_ID=master-S0".to_owned(),
        "MESOS_CHECKPOINT=1".to_owned(),
        "TEPUI_BIN=/bin/true".to_owned(),
        format!("MESOS_SANDBOX={}", sandbox.display()),
        format!("MESOS_DIRECTORY={}", sandbox.display()),
        format!("MESOS_AGENT_ENDPOINT={}", rig.address),
        format!("MESOS_SLAVE_PID=slave(1)@{}", rig.address),
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs".to_owned(),
        "MESOS_HTTP_COMMAND_EXECUTOR=0".to_owned(),
        "MESOS_RECOVERY_TIMEOUT=15mins".to_owned(),
        "MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs".to_owned(),
        "MESOS_ALLOCATION_ROLE=etl".to_owned(),
        "LIBPROCESS_IP=127.0.0.1".to_owned(),
        "LIBPROCESS_PORT=0".to_owned(),
        format!("TEPUI_WORK_DIR={}", rig.work_dir().display()),
    ];
    for variable in expected {
        assert_eq!(out.lines().filter(|line| **line == variable).count(), 1, "{variable}\n{out}");
    }
    wait_for("the container to be forgotten", || (rig.containers() == 0).then_some(())).await;
    assert!(rig.processes().is_empty());
}

#[tokio::test]
async fn the_arguments_are_the_whole_of_argv() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    let mut task = shell("t1", "/bin/sh");
    let command = task.command.as_mut().unwrap();
    command.shell = Some(false);
    command.arguments = ["my name", "-c", "echo $0 $1", "$HOME"].map(str::to_owned).to_vec();
    // With -c the word behind the line is the name that the line sees.
    command.arguments.push("second word".to_owned());
    master.run(task, 1).await;
    master.update("t1", State::TaskFinished).await;
    assert_eq!(fs::read_to_string(rig.sandbox("t1").join("stdout")).unwrap(), "$HOME second word\n");
}

#[tokio::test]
async fn failures_are_told_with_their_reason() {
    let master = Master::start().await;
    let _rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(shell("exits", "exit 3"), 1).await;
    assert_eq!(master.update("exits", State::TaskFailed).await.message(), "command exited with status 3");
    master.run(shell("dies", "kill -SEGV $$"), 2).await;
    let died = master.update("dies", State::TaskFailed).await;
    assert_eq!(died.message(), "command terminated with signal SIGSEGV");

    let mut missing = shell("missing", "/no/such/program");
    missing.command.as_mut().unwrap().shell = Some(false);
    master.run(missing, 3).await;
    let failed = master.update("missing", State::TaskFailed).await;
    assert_eq!(failed.reason(), Reason::ContainerLaunchFailed);
    assert!(failed.message().contains("/no/such/program"), "{}", failed.message());

    let mut both = shell("both", "true");
    both.executor = Some(v1::ExecutorInfo {
        executor_id: Some(v1::ExecutorId { value: Some("e".to_owned()) }),
        ..Default::default()
    });
    master.run(both, 4).await;
    assert!(master.update("both", State::TaskError).await.message().contains("executor"));
}

#[tokio::test]
async fn a_command_that_dies_of_a_real_time_signal_has_ended() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    // By number, as not every shell knows the names: the first, and the last.
    for (seq, signal) in [(1, 34), (2, 64)] {
        let task = format!("t{signal}");
        master.run(shell(&task, &format!("kill -{signal} $$")), seq).await;
        let died = master.update(&task, State::TaskFailed).await;
        assert_eq!(died.message(), format!("command terminated with signal {signal}"));
    }
    assert!(rig.processes().is_empty());
}

#[tokio::test]
async fn the_age_of_a_sandbox_begins_with_the_end_of_its_command() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(shell("t1", "touch -d @1000 stdout stderr ."), 1).await;
    master.update("t1", State::TaskFinished).await;
    assert!(fs::metadata(rig.sandbox("t1")).unwrap().modified().unwrap().elapsed().unwrap() < PATIENCE);
    assert!(fs::metadata(rig.sandbox("t1").join("stdout")).unwrap().modified().unwrap() < old());
}

/// An instant after those that a test gives to files, and before the test.
fn old() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2000)
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    // One child stays in the group, another goes into a session of its own.
    master.run(shell("t1", "sleep 1000 & setsid sleep 1000 & sleep 0.1; exit 0"), 1).await;
    master.update("t1", State::TaskFinished).await;
    assert!(rig.processes().is_empty(), "all of it is gone when the end is told");
}

#[tokio::test]
async fn many_commands_at_once_all_end() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    for number in 1..=30 {
        master.run(shell(&format!("t{number}"), "echo $MESOS_TASK_ID"), number).await;
    }
    wait_for("all to be forgotten", || {
        let sandboxes = (1..=30).filter(|number| rig.sandbox(&format!("t{number}")).join("stdout").exists());
        (sandboxes.count() == 30 && rig.containers() == 0).then_some(())
    })
    .await;
    for number in 1..=30 {
        let out = fs::read_to_string(rig.sandbox(&format!("t{number}")).join("stdout")).unwrap();
        assert_eq!(out, format!("t{number}\n"));
    }
}
