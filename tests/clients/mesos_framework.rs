//! NF-1 to NF-3 and its executor: mesos-framework 0.5.3. It takes one record from each piece of data, sends null for what is unset,
//! and wants 202 for every call.

use serde_json::{Value, json};
use tepui_sdk::scheduler::Event;
use tepui_sdk::v1;
use tepui_sdk::v1::TaskState::{TaskFinished, TaskKilled, TaskRunning};
use tepui_tests::harness::{self, PATIENCE, TestCluster, TestFramework, task};

use crate::client::Client;
use crate::cluster::{self, kill_leader, leader_and_follower, marked, marks, open_gate, torn_down};
use crate::installation::{Library, Runner, find, scripts};

const SCRIPT: &str = "mesos_framework.js";

/// Subscribes at this master. Returns the framework id, too.
async fn subscribe(runner: &Runner, master: &str, mut settings: Value) -> anyhow::Result<(Client, String)> {
    let (host, port) = master.split_once(':').unwrap_or_default();
    settings["host"] = Value::from(host);
    settings["port"] = Value::from(port.parse::<u16>()?);
    let mut client = Client::start(runner, SCRIPT, &settings)?;
    let subscribed = client.event("subscribed").await?;
    let id = subscribed["framework"].as_str().unwrap_or_default().to_owned();
    anyhow::ensure!(!id.is_empty(), "{subscribed}");
    Ok((client, id))
}

/// Waits until so many tasks were told to be in this state. Returns their ids, each once.
async fn tasks_in(client: &mut Client, state: &str, count: usize) -> anyhow::Result<Vec<String>> {
    let mut tasks: Vec<String> = Vec::new();
    client
        .wait_from(0, &format!("{state} of {count} tasks"), |event| {
            let task = event["task"].as_str().unwrap_or_default();
            if event["event"] == "update"
                && event["state"] == state
                && !tasks.iter().any(|known| known == task)
            {
                tasks.push(task.to_owned());
            }
            (tasks.len() == count).then_some(())
        })
        .await?;
    Ok(tasks)
}

/// Waits until so many updates have been acknowledged.
async fn acknowledged(client: &mut Client, count: usize) -> anyhow::Result<()> {
    let mut sent = 0;
    client
        .wait_from(0, &format!("{count} acknowledgements"), |event| {
            sent += usize::from(event["event"] == "sent_acknowledge");
            (sent >= count).then_some(())
        })
        .await
}

/// Everything the library complained about.
fn complaints(client: &mut Client) -> Vec<String> {
    client.all("error").iter().filter_map(|error| error["message"].as_str().map(str::to_owned)).collect()
}

async fn tear_down(test: &TestCluster, client: &mut Client, id: &str) -> anyhow::Result<()> {
    client.tell(&json!({ "do": "tear_down" }))?;
    client.event("sent_teardown").await?;
    torn_down(test, id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nf_1_a_task_with_a_port_is_started_again_when_it_ends() -> anyhow::Result<()> {
    let Some(runner) = find(Library::MesosFramework)? else { return Ok(()) };
    let test = cluster::start(1, 1).await?;
    let leader = test.cluster.masters()[0].clone();
    let settings = json!({
        "name": "nf 1",
        "tasks": { "sleep": { "command": "echo $HOST; sleep 1", "instances": 1 } },
        "restartStates": ["TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR", "TASK_FINISHED"],
    });
    let (mut client, id) = subscribe(&runner, &leader, settings).await?;
    let finished = tasks_in(&mut client, "TASK_FINISHED", 2).await?;
    let running = tasks_in(&mut client, "TASK_RUNNING", 3).await?;
    assert_eq!(running[..2], finished, "each ran before it ended");
    let agent = client.state(&running[2], "TASK_RUNNING").await?["agent_id"]["value"].clone();
    client.tell(&json!({ "do": "kill", "id": running[2], "agent": agent }))?;
    client.event("sent_kill").await?;
    tasks_in(&mut client, "TASK_RUNNING", 4).await?;
    client.tell(&json!({ "do": "reconcile" }))?;
    client.event("sent_reconcile").await?;
    client.tell(&json!({ "do": "revive" }))?;
    client.event("sent_revive").await?;
    let tasks = test.operator()?.get_tasks().await?;
    let all: Vec<_> = tasks.tasks.iter().chain(&tasks.completed_tasks).collect();
    for task in all {
        let ports = task.resources.iter().find(|resource| resource.name.as_deref() == Some("ports"));
        let ranges = ports.and_then(|ports| ports.ranges.as_ref()).map(|ranges| ranges.range.len());
        assert_eq!(ranges, Some(1), "{task:?}");
    }
    tear_down(&test, &mut client, &id).await?;
    // The stream ends with the framework.
    let complaints = complaints(&mut client);
    assert!(
        complaints.iter().all(|text| text.contains("Long-running connection was closed")),
        "{complaints:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nf_2_a_redirect_leads_to_the_new_leader_and_nothing_runs_twice() -> anyhow::Result<()> {
    let Some(runner) = find(Library::MesosFramework)? else { return Ok(()) };
    let mut test = cluster::start(3, 1).await?;
    let folder = tempfile::tempdir()?;
    let (former, follower) = leader_and_follower(&test).await?;
    let masters = test.cluster.masters();
    let settings = json!({
        "name": "nf-2",
        "tasks": { "long": { "command": marked(folder.path(), "long"), "instances": 2 } },
        "watch": 5_000,
    });
    let (mut client, id) = subscribe(&runner, &masters[follower], settings).await?;
    let tasks = tasks_in(&mut client, "TASK_RUNNING", 2).await?;
    let launches = client.all("sent_accept").len();
    // The leader falls silent, and lives: it ends its streams, and the library asks it who leads now.
    let before = client.now();
    test.cluster.pause_master(former);
    let leader = harness::eventually("another leader", || async {
        test.cluster.leader().await.filter(|leader| *leader != former)
    })
    .await?;
    test.cluster.resume_master(former);
    let again = client.event_from(before, "subscribed").await?;
    assert_eq!(again["framework"], Value::from(id.as_str()), "the same framework");
    assert_eq!(again["master"], Value::from(masters[leader].as_str()), "at the new leader");
    test.wait_for_agents(1).await?;
    // This one is killed. The library hears nothing of that; its owner sees that the heartbeats are missing.
    let before = client.now();
    let dead = kill_leader(&mut test).await?;
    test.cluster.start_master(dead)?;
    let again = client.event_from(before, "subscribed").await?;
    assert_eq!(again["framework"], Value::from(id.as_str()), "the same framework");
    let leader = test.cluster.wait_for_leader(PATIENCE).await?;
    assert_eq!(again["master"], Value::from(masters[leader].as_str()), "at the new leader");
    open_gate(folder.path())?;
    let mut finished = tasks_in(&mut client, "TASK_FINISHED", 2).await?;
    finished.sort();
    let mut tasks = tasks;
    tasks.sort();
    assert_eq!(finished, tasks, "the same tasks");
    assert_eq!(marks(folder.path()), ["long", "long"], "each was started once");
    assert_eq!(client.all("sent_accept").len(), launches, "nothing was launched after the first leader");
    tear_down(&test, &mut client, &id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nf_3_events_of_the_same_instant_are_all_handled() -> anyhow::Result<()> {
    let Some(runner) = find(Library::MesosFramework)? else { return Ok(()) };
    let test = cluster::start(1, 1).await?;
    let folder = tempfile::tempdir()?;
    let leader = test.cluster.masters()[0].clone();
    let count = 8;
    let settings = json!({
        "name": "nf-3",
        "tasks": { "gated": { "command": marked(folder.path(), "gated"), "instances": count } },
    });
    let (mut client, id) = subscribe(&runner, &leader, settings).await?;
    client.event("heartbeat").await?;
    let tasks = tasks_in(&mut client, "TASK_RUNNING", count).await?;
    // Each has told of its start and its run; what is not acknowledged would hold back the end.
    acknowledged(&mut client, 2 * count).await?;
    // All of them end while the client is away: it finds all updates in its socket at once.
    client.pause();
    open_gate(folder.path())?;
    let operator = test.operator()?;
    harness::eventually("the end of all tasks", || async {
        let tasks = operator.get_tasks().await.ok()?;
        let ended = tasks.tasks.iter().filter(|task| task.state().is_terminal()).count();
        (ended == count).then_some(())
    })
    .await?;
    client.resume();
    let mut finished = tasks_in(&mut client, "TASK_FINISHED", count).await?;
    finished.sort();
    let mut expected = tasks;
    expected.sort();
    assert_eq!(finished, expected);
    assert_eq!(complaints(&mut client), Vec::<String>::new());
    tear_down(&test, &mut client, &id).await
}

/// A task of the library's own executor. The library's scheduler cannot launch it: it gives every task a command, which a task with an
/// executor must not have.
fn executor_task(runner: &Runner, id: &str, data: &str) -> v1::TaskInfo {
    let variables = runner.environment.iter().map(|(name, value)| v1::environment::Variable {
        name: Some((*name).to_owned()),
        value: Some(value.display().to_string()),
        ..Default::default()
    });
    let script = scripts().join("mesos_framework_executor.js");
    let mut task = task(id, "");
    let executor = v1::ExecutorInfo {
        executor_id: Some(v1::ExecutorId { value: Some("node".to_owned()) }),
        r#type: Some(v1::executor_info::Type::Custom as i32),
        command: Some(v1::CommandInfo {
            value: Some(format!("exec {} {}", runner.program.display(), script.display())),
            environment: Some(v1::Environment { variables: variables.collect() }),
            ..Default::default()
        }),
        resources: task.resources.clone(),
        ..Default::default()
    };
    task.command = None;
    task.executor = Some(executor);
    task.data = Some(data.as_bytes().to_vec().into());
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn the_executor_of_mesos_framework_runs_tasks_beyond_the_death_of_a_leader() -> anyhow::Result<()> {
    let Some(runner) = find(Library::MesosFramework)? else { return Ok(()) };
    let mut test = cluster::start(3, 1).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "executes").await?;
    framework
        .launch(vec![executor_task(&runner, "ends", "end"), executor_task(&runner, "stays", "")])
        .await?;
    framework.wait_state("ends", TaskFinished).await?;
    let before = framework.wait_state("stays", TaskRunning).await?.message;
    kill_leader(&mut test).await?;
    framework
        .wait("a new subscription", |event| {
            matches!(event, Event::Subscribed { again: true, .. }).then_some(())
        })
        .await?;
    framework.launch(vec![executor_task(&runner, "later", "end")]).await?;
    assert_eq!(framework.wait_state("later", TaskFinished).await?.message, before, "the same executor");
    let agent = framework.wait_state("stays", TaskRunning).await?.agent_id;
    framework.handle.kill(v1::TaskId { value: Some("stays".to_owned()) }, agent, None).await?;
    framework.wait_state("stays", TaskKilled).await?;
    framework.handle.teardown().await?;
    Ok(())
}
