//! Supervised drivers: launched again when they die, fenced when they come back from the dead, their registers never torn.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tepui_proto::tepui::operator;
use tepui_sdk::operator::Client;
use tepui_sdk::scheduler::Event;
use tepui_sdk::state_store::{Cas, RegisterClient};
use tepui_sdk::v1;
use tepui_tests::harness::{self, TestFramework, task};

use crate::TEPUI;

/// A driver that writes down what it was told and then only lives.
fn spec(folder: &Path, lease_ms: u64) -> operator::DriverSpec {
    let command = format!(
        "env > {0}/part.$$ && mv {0}/part.$$ {0}/env.$TEPUI_DRIVER_GENERATION; exec sleep 1000",
        folder.display()
    );
    operator::DriverSpec {
        name: Some("counter".to_owned()),
        command: Some(v1::CommandInfo { value: Some(command), ..v1::CommandInfo::default() }),
        resources: task("driver", "").resources,
        lease_ms: Some(lease_ms),
        supervise: Some(operator::Supervise {
            policy: Some(operator::supervise::Policy::Always as i32),
            backoff_initial_ms: Some(100),
            ..operator::Supervise::default()
        }),
        ..operator::DriverSpec::default()
    }
}

/// What a generation of the driver found in its environment.
struct Told {
    generation: u64,
    token: String,
    framework_id: String,
    sandbox: PathBuf,
}

async fn told(folder: &Path, generation: u64) -> anyhow::Result<Told> {
    let path = folder.join(format!("env.{generation}"));
    let text = harness::eventually(&format!("generation {generation}"), || async {
        std::fs::read_to_string(&path).ok()
    })
    .await?;
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_default().to_owned()
    };
    Ok(Told {
        generation: value("TEPUI_DRIVER_GENERATION").parse()?,
        token: value("TEPUI_DRIVER_TOKEN"),
        framework_id: value("TEPUI_FRAMEWORK_ID"),
        sandbox: PathBuf::from(value("MESOS_SANDBOX")),
    })
}

/// Processes whose environment holds this generation's token.
fn pids(told: &Told) -> Vec<i32> {
    let marker = PathBuf::from(&told.token);
    tepui::cluster::find_processes(&[("TEPUI_DRIVER_TOKEN", marker.as_path())])
}

fn signal(pids: &[i32], signal: Signal) {
    for pid in pids {
        let _gone = kill(Pid::from_raw(*pid), signal);
    }
}

fn register(client: &Client, told: &Told) -> RegisterClient {
    RegisterClient::new(client.clone(), "counter", told.generation, &told.token)
}

fn info(told: &Told) -> v1::FrameworkInfo {
    v1::FrameworkInfo {
        user: Some("root".to_owned()),
        name: Some("counter".to_owned()),
        id: Some(v1::FrameworkId { value: Some(told.framework_id.clone()) }),
        failover_timeout: Some(3_600.0),
        checkpoint: Some(true),
        ..v1::FrameworkInfo::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_driver_that_comes_back_changes_nothing() -> anyhow::Result<()> {
    let test = harness::start(harness::options(TEPUI, 3, 2)).await?;
    let folder = tempfile::tempdir()?;
    let operator = test.operator()?;
    operator.submit_driver(spec(folder.path(), 3_000)).await?;
    let first = told(folder.path(), 1).await?;
    assert!(first.sandbox.is_dir(), "{:?}", first.sandbox);
    assert_eq!(register(&operator, &first).cas("position", 0, Bytes::from_static(b"10")).await?, Cas::Ok(1));
    let old_stream =
        TestFramework::subscribe_as(test.cluster.masters(), info(&first), Some(&first.token)).await?;

    // Nobody renews the lease: this process is as good as cut off, and its successor is launched.
    signal(&pids(&first), Signal::SIGSTOP);
    let second = told(folder.path(), 2).await?;
    assert_ne!(first.token, second.token);
    assert_eq!(first.framework_id, second.framework_id);
    let mut stream =
        TestFramework::subscribe_as(test.cluster.masters(), info(&second), Some(&second.token)).await?;
    let successor = register(&operator, &second);
    let found = successor.get("position").await?;
    assert_eq!((found.version, &found.value[..]), (1, &b"10"[..]));
    assert_eq!(successor.cas("position", 1, Bytes::from_static(b"20")).await?, Cas::Ok(2));

    signal(&pids(&first), Signal::SIGCONT);
    let late = register(&operator, &first).cas("position", 1, Bytes::from_static(b"11")).await?;
    assert_eq!(late, Cas::Fenced { generation: 2 });
    let late = register(&operator, &first).cas("position", 2, Bytes::from_static(b"21")).await?;
    assert_eq!(late, Cas::Fenced { generation: 2 });
    let refused = TestFramework::subscribe_as(test.cluster.masters(), info(&first), Some(&first.token)).await;
    assert!(refused.is_err(), "an older generation was let in");
    let refused = TestFramework::subscribe_as(test.cluster.masters(), info(&first), None).await;
    assert!(refused.is_err(), "a driver without token was let in");
    drop(old_stream);

    // The successor is not disturbed: the same stream still gets offers and answers.
    assert_eq!(successor.cas("position", 2, Bytes::from_static(b"30")).await?, Cas::Ok(3));
    stream.launch(vec![task("work", "true")]).await?;
    stream.wait_state("work", v1::TaskState::TaskFinished).await?;
    let disturbed =
        stream.heard.iter().any(|event| matches!(event, Event::Error(_) | Event::Disconnected { .. }));
    assert!(!disturbed, "{:?}", stream.heard);
    assert_eq!(&successor.get("position").await?.value[..], b"30");
    operator.kill_driver("counter", Some(100)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_dies_is_launched_again_and_a_killed_one_is_not() -> anyhow::Result<()> {
    let mut test = harness::start(harness::options(TEPUI, 3, 2)).await?;
    let folder = tempfile::tempdir()?;
    let operator = test.operator()?;
    let spec = spec(folder.path(), 60_000);
    operator.submit_driver(spec.clone()).await?;
    let again = operator.submit_driver(spec).await?;
    assert_eq!(again.created, Some(false), "the same spec twice is one driver");
    for generation in 1..=3 {
        let told = told(folder.path(), generation).await?;
        if generation == 2 {
            let leader = test.cluster.wait_for_leader(harness::PATIENCE).await?;
            test.cluster.kill_master(leader);
        }
        signal(&pids(&told), Signal::SIGKILL);
    }
    told(folder.path(), 4).await?;
    operator.kill_driver("counter", Some(100)).await?;
    let driver = harness::eventually("end of the driver", || async {
        let drivers = operator.get_drivers(Some("counter")).await.ok()?;
        drivers.into_iter().find(|driver| driver.state() == operator::DriverState::DriverKilled)
    })
    .await?;
    assert_eq!(driver.generation, Some(4));
    assert_eq!(driver.restarts, Some(3));
    assert_eq!(driver.attempts.len(), 4);
    assert!(!folder.path().join("env.5").exists());
    Ok(())
}
