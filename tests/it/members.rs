//! Masters come and go by the steps of `docs/operating.md`, while a task runs on: growing, shrinking, lost disks, hand-overs.

use std::process::Output;
use std::time::Duration;

use tepui_sdk::tepui::operator::response::GetRaft;
use tepui_sdk::v1::TaskState::{TaskFinished, TaskRunning};
use tepui_tests::harness::{self, PATIENCE, TestCluster, TestFramework, task};

use crate::TEPUI;

/// Runs `tepui raft …` against all masters.
async fn raft(test: &TestCluster, arguments: &[&str]) -> anyhow::Result<Output> {
    let masters = test.cluster.masters().join(",");
    let mut command = std::process::Command::new(TEPUI);
    command.arg("raft").args(arguments).args(["--masters", &masters, "--timeout", "60secs"]);
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

async fn done(test: &TestCluster, arguments: &[&str]) -> anyhow::Result<String> {
    let output = raft(test, arguments).await?;
    let text = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{arguments:?}: {text}\n{}", test.cluster.tails());
    Ok(String::from_utf8(output.stdout)?)
}

async fn refused(test: &TestCluster, arguments: &[&str]) -> anyhow::Result<String> {
    let output = raft(test, arguments).await?;
    assert!(!output.status.success(), "{arguments:?} was not refused");
    Ok(String::from_utf8(output.stderr)?)
}

/// What the leading master says of all masters.
async fn known(test: &TestCluster) -> Option<GetRaft> {
    let operator = test.operator().ok()?;
    for address in test.cluster.masters() {
        if let Ok(status) = operator.get_raft(&address).await
            && status.leader.is_some()
            && status.leader == status.node_id
        {
            return Some(status);
        }
    }
    None
}

async fn voters(test: &TestCluster, expected: &[u64]) -> anyhow::Result<()> {
    harness::eventually(&format!("the voters {expected:?}"), || async {
        let status = known(test).await?;
        let voters = status.members.iter().filter(|member| member.voter()).map(|member| member.node_id());
        (voters.eq(expected.iter().copied()) && !status.changing()).then_some(())
    })
    .await
    .map_err(|error| anyhow::anyhow!("{error}\n{}", test.cluster.tails()))
}

/// Starts a further master, and waits until it votes.
async fn join(test: &mut TestCluster, expected: &[u64]) -> anyhow::Result<usize> {
    let index = test.cluster.add_master()?;
    test.cluster.start_master(index)?;
    voters(test, expected).await?;
    Ok(index)
}

/// The last words of a master that ends by itself.
async fn end(test: &mut TestCluster, index: usize) -> anyhow::Result<String> {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !test.cluster.master_has_ended(index) {
        anyhow::ensure!(std::time::Instant::now() < deadline, "it goes on\n{}", test.cluster.tails());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = test.cluster.log(&format!("master-{}", index + 1));
    Ok(log.rsplit("--- start of").next().unwrap_or_default().to_owned())
}

async fn works(framework: &mut TestFramework, id: &str) -> anyhow::Result<()> {
    framework.launch(vec![task(id, "true")]).await?;
    framework.wait_state(id, TaskFinished).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_are_added_removed_and_replaced_by_the_commands_of_the_documentation() -> anyhow::Result<()> {
    let mut options = harness::options(TEPUI, 3, 1);
    options.master_args.extend(["--raft-snapshot-entries".to_owned(), "20".to_owned()]);
    let mut test = harness::start(options).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "members").await?;
    let folder = tempfile::tempdir()?;
    let gate = folder.path().join("gate");
    let command = format!("while [ ! -e {} ]; do sleep 0.1; done", gate.display());
    framework.launch(vec![task("long", &command)]).await?;
    framework.wait_state("long", TaskRunning).await?;
    done(&test, &["transfer", "1"]).await?;

    // Three become five, and five survive the loss of two.
    join(&mut test, &[1, 2, 3, 4]).await?;
    let fifth = join(&mut test, &[1, 2, 3, 4, 5]).await?;
    test.cluster.kill_master(1);
    test.cluster.kill_master(fifth);
    works(&mut framework, "five").await?;
    test.cluster.start_master(fifth)?;

    // The second lost its disk: it is refused under its number, and a new one takes its place.
    test.cluster.wipe_master(1)?;
    test.cluster.start_master(1)?;
    let words = end(&mut test, 1).await?;
    assert!(words.contains("replica 2") && words.contains("disk was lost"), "{words}");
    assert!(words.contains("tepui raft remove 2") && words.contains("--join"), "{words}");
    done(&test, &["remove", "2"]).await?;
    voters(&test, &[1, 3, 4, 5]).await?;
    let snapshot: serde_json::Value =
        serde_json::from_str(&done(&test, &["snapshot", "--output", "json"]).await?)?;
    assert!(snapshot["index"].as_u64() > Some(0) && snapshot["bytes"].as_u64() > Some(100), "{snapshot}");
    join(&mut test, &[1, 3, 4, 5, 6]).await?;
    works(&mut framework, "replaced").await?;

    // Numbers that are not there are refused with words that help.
    let words = refused(&test, &["remove", "2"]).await?;
    assert!(words.contains("no member any more"), "{words}");
    let words = refused(&test, &["add", "9"]).await?;
    assert!(words.contains("tepui master --join"), "{words}");
    let words = refused(&test, &["transfer", "9"]).await?;
    assert!(words.contains("no member"), "{words}");

    // Five become three; the one that leads hands over and ends by itself, and stays out when it is started again.
    done(&test, &["transfer", "5"]).await?;
    done(&test, &["remove", "5"]).await?;
    let words = end(&mut test, fifth).await?;
    assert!(words.contains("was removed") && words.contains("--join"), "{words}");
    done(&test, &["remove", "6"]).await?;
    voters(&test, &[1, 3, 4]).await?;
    test.cluster.start_master(fifth)?;
    let words = end(&mut test, fifth).await?;
    assert!(words.contains("was removed"), "{words}");

    // All start again as they were started first: what counts is in the log, not in the flags.
    for index in [0, 2, 3] {
        test.cluster.kill_master(index);
    }
    for index in [0, 2, 3] {
        test.cluster.start_master(index)?;
    }
    voters(&test, &[1, 3, 4]).await?;
    test.wait_for_agents(1).await?;
    let tasks = test.operator()?.get_tasks().await?;
    let running = tasks.tasks.iter().filter(|task| task.name() == "long").count();
    assert_eq!(running, 1, "{tasks:?}");
    std::fs::write(&gate, "")?;
    framework.wait_state("long", TaskFinished).await?;
    Ok(())
}
