//! A task from SUBSCRIBE to the last acknowledgement, kills, and a second framework that gets what the first one leaves.

use tepui_sdk::v1::TaskState::{TaskFailed, TaskFinished, TaskKilled, TaskRunning, TaskStarting};
use tepui_tests::harness::{self, TestFramework, task};

use crate::TEPUI;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_and_its_states_come_in_order() -> anyhow::Result<()> {
    let test = harness::start(harness::options(TEPUI, 1, 1)).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "basics").await?;
    framework.launch(vec![task("good", "echo hello"), task("bad", "exit 3")]).await?;
    framework.wait_state("good", TaskFinished).await?;
    let failed = framework.wait_state("bad", TaskFailed).await?;
    assert!(failed.message().contains('3'), "the message names the status: {}", failed.message());
    let states: Vec<_> = framework
        .updates()
        .filter(|status| status.task_id.as_ref().and_then(|id| id.value.as_deref()) == Some("good"))
        .map(|status| status.state())
        .collect();
    assert_eq!(states, [TaskStarting, TaskRunning, TaskFinished]);
    for status in framework.updates() {
        assert!(status.uuid.as_ref().is_some_and(|uuid| uuid.len() == 16), "{status:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_ends_the_whole_process_group_even_if_it_ignores_sigterm() -> anyhow::Result<()> {
    let test = harness::start(harness::options(TEPUI, 1, 1)).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "kills").await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("child");
    let command = format!("trap '' TERM; sleep 1000 & echo $! > {}; wait; wait", file.display());
    framework.launch(vec![task("stubborn", &command)]).await?;
    framework.wait_state("stubborn", TaskRunning).await?;
    let child: i32 = harness::eventually("child", || async {
        std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok())
    })
    .await?;
    let id = tepui_sdk::v1::TaskId { value: Some("stubborn".to_owned()) };
    framework.handle.kill(id, None, Some(200)).await?;
    framework.wait_state("stubborn", TaskKilled).await?;
    harness::eventually("end of the grandchild", || async {
        let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_docs_runs() -> anyhow::Result<()> {
    let test = harness::start(harness::options(TEPUI, 1, 1)).await?;
    let state = example::run(&test.cluster.masters().join(",")).await?;
    assert_eq!(state, TaskFinished);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/frameworks.md"))?;
    let code =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../framework-sdk/examples/hello.rs"))?;
    assert!(page.contains(&code), "docs/frameworks.md does not show the example as it is");
    Ok(())
}

/// The SDK's example, compiled into this test.
#[path = "../../framework-sdk/examples/hello.rs"]
#[expect(dead_code, unreachable_pub, reason = "a program of its own: its main is not called here")]
mod example;
