//! Leading masters die, are cut off, or all masters go away at once: nothing that was committed is lost, and clients find the new leader.

use std::time::Duration;

use tepui_sdk::scheduler::Event;
use tepui_sdk::v1::TaskState::{TaskFinished, TaskRunning};
use tepui_tests::harness::{self, PATIENCE, TestFramework, task};

use crate::TEPUI;

/// Waits until the framework is subscribed anew.
async fn subscribed_again(framework: &mut TestFramework) -> anyhow::Result<()> {
    framework
        .wait("a new subscription", |event| {
            matches!(event, Event::Subscribed { again: true, .. }).then_some(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_task_is_lost_restarted_or_run_twice_when_the_leader_is_killed() -> anyhow::Result<()> {
    let mut test = harness::start(harness::options(TEPUI, 3, 2)).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "failover").await?;
    let folder = tempfile::tempdir()?;
    let marks = folder.path().join("marks");
    let gate = folder.path().join("gate");
    let command = |id: &str| {
        format!("echo {id} >> {}; while [ ! -e {} ]; do sleep 0.1; done", marks.display(), gate.display())
    };
    let tasks: Vec<_> = (0..6).map(|number| format!("t{number}")).collect();
    framework.launch(tasks.iter().map(|id| task(id, &command(id))).collect()).await?;
    for id in &tasks {
        framework.wait_state(id, TaskRunning).await?;
    }
    for _round in 0..2 {
        let leader = test.cluster.wait_for_leader(PATIENCE).await?;
        test.cluster.kill_master(leader);
        subscribed_again(&mut framework).await?;
        test.wait_for_agents(2).await?;
        test.cluster.start_master(leader)?;
    }
    framework.launch(vec![task("after", "true")]).await?;
    framework.wait_state("after", TaskFinished).await?;
    std::fs::write(&gate, "")?;
    for id in &tasks {
        framework.wait_state(id, TaskFinished).await?;
    }
    let mut marks: Vec<_> = std::fs::read_to_string(&marks)?.lines().map(str::to_owned).collect();
    marks.sort();
    assert_eq!(marks, tasks, "each task ran exactly once");
    // Answers to the driver's own reconciliation carry no uuid and may repeat a state; nothing else may come.
    let spurious: Vec<_> = framework
        .updates()
        .filter(|status| {
            status.state() != TaskRunning && status.state() != TaskFinished && status.uuid.is_none()
        })
        .collect();
    assert!(spurious.is_empty(), "{spurious:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_still_there_after_all_masters_were_killed() -> anyhow::Result<()> {
    let mut test = harness::start(harness::options(TEPUI, 3, 1)).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "outage").await?;
    let folder = tempfile::tempdir()?;
    let gate = folder.path().join("gate");
    let command = format!("while [ ! -e {} ]; do sleep 0.1; done", gate.display());
    framework.launch(vec![task("long", &command)]).await?;
    framework.wait_state("long", TaskRunning).await?;
    let before = test.operator()?.get_tasks().await?;
    assert_eq!(before.tasks.len(), 1);
    for master in 0..3 {
        test.cluster.kill_master(master);
    }
    // Longer than the agents' and frameworks' first attempts to come back; deadlines are cluster time and stand still.
    tokio::time::sleep(Duration::from_secs(8)).await;
    for master in 0..3 {
        test.cluster.start_master(master)?;
    }
    subscribed_again(&mut framework).await?;
    test.wait_for_agents(1).await?;
    let after = test.operator()?.get_tasks().await?;
    assert_eq!(after.tasks.len(), 1, "{after:?}");
    assert!(after.unreachable_tasks.is_empty() && after.completed_tasks.is_empty(), "{after:?}");
    std::fs::write(&gate, "")?;
    framework.wait_state("long", TaskFinished).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_its_peers_steps_down_and_clients_find_the_new_one() -> anyhow::Result<()> {
    let test = harness::start(harness::options(TEPUI, 3, 1)).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "cut-off").await?;
    framework.offer().await?;
    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    let peers: Vec<usize> = (0..3).filter(|master| *master != leader).collect();
    // Both peers stop answering; agents and the framework still reach the leader.
    for peer in &peers {
        test.cluster.pause_master(*peer);
    }
    framework
        .wait("the loss of the stream", |event| matches!(event, Event::Disconnected { .. }).then_some(()))
        .await?;
    let address = &test.cluster.masters()[leader];
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    harness::eventually("503 from the leader that stepped down", || async {
        let answer = client.post(format!("http://{address}/api/v1/scheduler")).send().await.ok()?;
        (answer.status() == 503).then_some(())
    })
    .await?;
    // The former leader falls silent, its peers are back: they elect, and the framework is taken over.
    test.cluster.pause_master(leader);
    for peer in &peers {
        test.cluster.resume_master(*peer);
    }
    subscribed_again(&mut framework).await?;
    test.wait_for_agents(1).await?;
    framework.launch(vec![task("elsewhere", "true")]).await?;
    framework.wait_state("elsewhere", TaskFinished).await?;
    // The paused one comes back and must not disturb the others.
    test.cluster.resume_master(leader);
    harness::eventually("redirect from the former leader", || async {
        let answer = client.post(format!("http://{address}/api/v1/scheduler")).send().await.ok()?;
        (answer.status() == 307).then_some(())
    })
    .await?;
    framework.launch(vec![task("still", "true")]).await?;
    framework.wait_state("still", TaskFinished).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_stop_hands_over() -> anyhow::Result<()> {
    let mut test = harness::start(harness::options(TEPUI, 3, 1)).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "hand-over").await?;
    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    test.cluster.stop_master(leader, PATIENCE).await?;
    let log = test.cluster.log(&format!("master-{}", leader + 1));
    assert!(log.contains("handed the leadership over"), "the log tells of it:\n{log}");
    subscribed_again(&mut framework).await?;
    framework.launch(vec![task("after", "true")]).await?;
    framework.wait_state("after", TaskFinished).await?;
    Ok(())
}
