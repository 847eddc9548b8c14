//! MH-1 to MH-3: mesoshttp 0.4.2. It reads lines, cuts characters, and takes a record when the next one comes.

use serde_json::{Value, json};

use crate::client::Client;
use crate::cluster::{self, kill_leader, leader_and_follower, marked, marks, open_gate, torn_down};
use crate::installation::{Library, Runner, find};

const SCRIPT: &str = "mesoshttp_framework.py";

/// Subscribes with these masters. Returns the framework id, too.
async fn subscribe(runner: &Runner, masters: &[String], name: &str) -> anyhow::Result<(Client, String)> {
    let urls: Vec<String> = masters.iter().map(|master| format!("http://{master}")).collect();
    let mut client = Client::start(runner, SCRIPT, &json!({ "masters": urls, "name": name }))?;
    let subscribed = client.event("subscribed").await?;
    let id = subscribed["framework"].as_str().unwrap_or_default().to_owned();
    anyhow::ensure!(!id.is_empty(), "{subscribed}");
    Ok((client, id))
}

/// Tells the client to tear down, and waits until it has.
async fn tear_down(
    test: &tepui_tests::harness::TestCluster,
    client: &mut Client,
    id: &str,
) -> anyhow::Result<()> {
    client.tell(&json!({ "do": "tear_down" }))?;
    torn_down(test, id).await?;
    client.event("ended").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mh_1_tasks_run_end_and_are_killed_while_the_leader_dies() -> anyhow::Result<()> {
    let Some(runner) = find(Library::Mesoshttp)? else { return Ok(()) };
    let mut test = cluster::start(3, 1).await?;
    let folder = tempfile::tempdir()?;
    let (mut client, id) = subscribe(&runner, &test.cluster.masters(), "mh-1").await?;
    client.launch("short", "true")?;
    client.state("short", "TASK_RUNNING").await?;
    client.state("short", "TASK_FINISHED").await?;
    for task in ["killed", "kept"] {
        client.launch(task, &marked(folder.path(), task))?;
        client.state(task, "TASK_RUNNING").await?;
    }
    let before = client.now();
    kill_leader(&mut test).await?;
    client.event_from(before, "disconnected").await?;
    let again = client.event_from(before, "subscribed").await?;
    assert_eq!(again["framework"], Value::from(id.as_str()), "the same framework");
    client.event_from(before, "reconnected").await?;
    client.launch("after", "true")?;
    client.state("after", "TASK_FINISHED").await?;
    let agent = client.state("killed", "TASK_RUNNING").await?["agent_id"]["value"].clone();
    client.tell(&json!({ "do": "kill", "id": "killed", "agent": agent }))?;
    client.state("killed", "TASK_KILLED").await?;
    open_gate(folder.path())?;
    client.state("kept", "TASK_FINISHED").await?;
    assert_eq!(marks(folder.path()), ["kept", "killed"], "each was started once");
    tear_down(&test, &mut client, &id).await?;
    assert_eq!(client.all("error"), Vec::<Value>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mh_2_and_3_text_beyond_ascii_and_a_dead_master_before_a_follower() -> anyhow::Result<()> {
    let Some(runner) = find(Library::Mesoshttp)? else { return Ok(()) };
    let test = cluster::start(3, 1).await?;
    let (leader, follower) = leader_and_follower(&test).await?;
    let dead = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let masters = [dead, test.cluster.masters()[follower].clone(), test.cluster.masters()[leader].clone()];
    let name = "Überwachung 日本 🗻";
    let (mut client, id) = subscribe(&runner, &masters, name).await?;
    let frameworks = test.operator()?.get_frameworks().await?;
    let names: Vec<_> =
        frameworks.frameworks.iter().filter_map(|one| one.framework_info.as_ref()?.name.clone()).collect();
    assert_eq!(names, [name]);
    // The id stands in every update.
    client.launch("größe-日本-🗻", "true")?;
    client.state("größe-日本-🗻", "TASK_RUNNING").await?;
    client.state("größe-日本-🗻", "TASK_FINISHED").await?;
    tear_down(&test, &mut client, &id).await?;
    assert_eq!(client.all("error"), Vec::<Value>::new());
    Ok(())
}
