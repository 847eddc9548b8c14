//! Clusters for other people's clients, and what the tests ask them apart from the clients: who leads, which tasks and frameworks there are.

use std::time::Duration;

use tepui_sdk::v1;
use tepui_tests::harness::{self, PATIENCE, TestCluster};

use crate::TEPUI;

/// Starts a cluster. Heartbeats come every two seconds: mesos-framework gives a silent stream up after ten, and mesoshttp takes a record
/// when the next one comes.
pub(crate) async fn start(masters: usize, agents: usize) -> anyhow::Result<TestCluster> {
    start_with(masters, agents, &[], &[]).await
}

/// Starts a cluster with further arguments of its masters and of its agents.
pub(crate) async fn start_with(
    masters: usize,
    agents: usize,
    of_masters: &[String],
    of_agents: &[String],
) -> anyhow::Result<TestCluster> {
    let mut options = harness::options(TEPUI, masters, agents);
    options.master_args.extend_from_slice(of_masters);
    options.agent_args.extend_from_slice(of_agents);
    options.master_args.extend(["--heartbeat-interval".to_owned(), "2secs".to_owned()]);
    harness::start(options).await
}

/// Index of the leading master and of one that follows.
pub(crate) async fn leader_and_follower(test: &TestCluster) -> anyhow::Result<(usize, usize)> {
    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    Ok((leader, (leader + 1) % test.cluster.masters().len()))
}

/// Kills the leading master, and waits until another one leads and has all agents. Returns the index of the dead one.
pub(crate) async fn kill_leader(test: &mut TestCluster) -> anyhow::Result<usize> {
    let dead = test.cluster.wait_for_leader(PATIENCE).await?;
    test.cluster.kill_master(dead);
    test.wait_for_agents(test.cluster.agents().len()).await?;
    Ok(dead)
}

/// Waits until the framework is gone with all its tasks.
pub(crate) async fn torn_down(test: &TestCluster, framework: &str) -> anyhow::Result<()> {
    let operator = test.operator()?;
    harness::eventually("the end of the framework", || async {
        let frameworks = operator.get_frameworks().await.ok()?;
        let tasks = operator.get_tasks().await.ok()?;
        let completed = frameworks.completed_frameworks.iter();
        let is = |id: &Option<v1::FrameworkId>| {
            id.as_ref().and_then(|id| id.value.as_deref()).is_some_and(|id| id == framework)
        };
        let over = completed
            .filter_map(|framework| framework.framework_info.as_ref())
            .any(|framework| is(&framework.id));
        let left = tasks.tasks.iter().any(|task| is(&task.framework_id));
        (over && !left).then_some(())
    })
    .await
}

/// A command that writes `word` into a file each time it is started, then waits for another file.
pub(crate) fn marked(folder: &std::path::Path, word: &str) -> String {
    format!(
        "echo {word} >> {}; while [ ! -e {} ]; do sleep 0.1; done",
        folder.join("marks").display(),
        folder.join("gate").display()
    )
}

/// What the commands of [`marked`] have written, sorted.
pub(crate) fn marks(folder: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("marks")).unwrap_or_default();
    let mut marks: Vec<String> = text.lines().map(str::to_owned).collect();
    marks.sort();
    marks
}

/// Lets the commands of [`marked`] end.
pub(crate) fn open_gate(folder: &std::path::Path) -> anyhow::Result<()> {
    Ok(std::fs::write(folder.join("gate"), "")?)
}

/// Tells a measured time in the test's output; judged by nobody.
#[expect(clippy::print_stdout, reason = "a test's output")]
pub(crate) fn note(what: &str, took: Option<Duration>) {
    println!("{what}: {took:?}");
}
