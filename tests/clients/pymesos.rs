//! PY-1 to PY-5: pymesos 0.3.15, its scheduler, executor and operator drivers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tepui_sdk::scheduler::Event;
use tepui_sdk::v1::TaskState::TaskFinished;
use tepui_tests::harness::{self, PATIENCE, TestCluster, TestFramework, task};

use crate::client::Client;
use crate::cluster::{self, kill_leader, leader_and_follower, marked, marks, note, open_gate, torn_down};
use crate::installation::{Library, Runner, find, scripts};

const SCHEDULER: &str = "pymesos_scheduler.py";
const OPERATOR: &str = "pymesos_operator.py";

/// Registers with these settings. Returns the framework id, too.
async fn register(runner: &Runner, settings: &Value) -> anyhow::Result<(Client, String)> {
    let mut client = Client::start(runner, SCHEDULER, settings)?;
    let registered = client.event("registered").await?;
    let id = registered["framework"].as_str().unwrap_or_default().to_owned();
    anyhow::ensure!(!id.is_empty(), "{registered}");
    Ok((client, id))
}

async fn stop(test: &TestCluster, client: &mut Client, id: &str) -> anyhow::Result<()> {
    client.tell(&json!({ "do": "stop" }))?;
    client.event("ended").await?;
    torn_down(test, id).await
}

/// Settings of a framework whose tasks run in the library's own executor.
fn with_executor(runner: &Runner, test: &TestCluster, master: usize, name: &str) -> Value {
    let executor =
        format!("{} {}", runner.program.display(), scripts().join("pymesos_executor.py").display());
    let masters = test.cluster.masters();
    json!({ "master": masters[master], "masters": masters, "name": name, "executor": executor })
}

/// Launches a task of the executor.
fn execute(client: &mut Client, id: &str, data: &str) -> anyhow::Result<()> {
    client.tell(&json!({ "do": "execute", "id": id, "data": data }))
}

/// Waits until the executor has sent a message that begins so. Returns the whole event.
async fn message(client: &mut Client, beginning: &str) -> anyhow::Result<Value> {
    client
        .wait_from(0, &format!("message {beginning}"), |event| {
            let text = event["text"].as_str().unwrap_or_default();
            (event["event"] == "message" && text.starts_with(beginning)).then(|| event.clone())
        })
        .await
}

/// The process that an executor has named in a message or a status.
fn pid(text: &Value) -> anyhow::Result<i32> {
    Ok(text.as_str().unwrap_or_default().rsplit(' ').next().unwrap_or_default().parse()?)
}

/// Waits until a process is gone.
async fn gone(pid: i32) -> anyhow::Result<()> {
    harness::eventually("the end of the executor", || async move {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn py_1_scheduler_and_executor_work_together_while_the_leader_dies() -> anyhow::Result<()> {
    let Some(runner) = find(Library::Pymesos)? else { return Ok(()) };
    let mut test = cluster::start(3, 1).await?;
    let (_, follower) = leader_and_follower(&test).await?;
    let (mut client, id) = register(&runner, &with_executor(&runner, &test, follower, "py-1")).await?;
    client.tell(&json!({ "do": "watch" }))?;
    for task in ["one", "two", "three"] {
        execute(&mut client, task, &format!("work of {task}"))?;
        client.state(task, "TASK_FINISHED").await?;
        message(&mut client, &format!("work of {task}")).await?;
        assert_eq!(
            client.states(task),
            ["TASK_RUNNING", "TASK_FINISHED"],
            "nothing but the executor's own words"
        );
    }
    let registered = message(&mut client, "registered ").await?;
    let executor = pid(&registered["text"])?;
    client.tell(&json!({ "do": "message", "agent": registered["agent"], "text": "größe" }))?;
    message(&mut client, "heard größe").await?;
    // The same executor works on under the next leader.
    let before = client.now();
    let dead = kill_leader(&mut test).await?;
    let again = client.event_from(before, "reregistered").await?;
    assert_eq!(again["framework"], Value::from(id.as_str()), "the same framework");
    test.cluster.start_master(dead)?;
    execute(&mut client, "four", "work of four")?;
    let running = client.state("four", "TASK_RUNNING").await?;
    assert_eq!(pid(&running["message"])?, executor, "the same executor");
    client.state("four", "TASK_FINISHED").await?;
    execute(&mut client, "killed", "until never")?;
    client.state("killed", "TASK_RUNNING").await?;
    client.tell(&json!({ "do": "kill", "id": "killed" }))?;
    client.state("killed", "TASK_KILLED").await?;
    assert_eq!(client.all("executor_lost"), Vec::<Value>::new());
    stop(&test, &mut client, &id).await?;
    gone(executor).await
}

#[tokio::test(flavor = "multi_thread")]
async fn py_4_an_executor_outlives_the_restart_of_its_agent() -> anyhow::Result<()> {
    let Some(runner) = find(Library::Pymesos)? else { return Ok(()) };
    // The library waits two seconds or longer before it connects again, which is just what an agent waits for its executors by default.
    let arguments = ["--executor-reregistration-timeout".to_owned(), "15secs".to_owned()];
    let mut test = cluster::start_with(1, 1, &[], &arguments).await?;
    let folder = tempfile::tempdir()?;
    let (mut client, id) = register(&runner, &with_executor(&runner, &test, 0, "py-4")).await?;
    execute(&mut client, "long", &format!("until {}", folder.path().join("gate").display()))?;
    let running = client.state("long", "TASK_RUNNING").await?;
    let executor = pid(&running["message"])?;
    test.cluster.kill_agent(0);
    test.cluster.start_agent(0)?;
    let again = message(&mut client, "reregistered ").await?;
    assert_eq!(pid(&again["text"])?, executor, "the same process");
    open_gate(folder.path())?;
    let finished = client.state("long", "TASK_FINISHED").await?;
    assert_eq!(pid(&finished["message"])?, executor, "the same process");
    execute(&mut client, "next", "more work")?;
    client.state("next", "TASK_FINISHED").await?;
    assert_eq!(client.all("executor_lost"), Vec::<Value>::new());
    stop(&test, &mut client, &id).await?;
    gone(executor).await
}

#[tokio::test(flavor = "multi_thread")]
async fn py_2_drivers_find_the_new_leader_and_tasks_are_not_disturbed() -> anyhow::Result<()> {
    let Some(runner) = find(Library::Pymesos)? else { return Ok(()) };
    let mut test = cluster::start(3, 1).await?;
    let folder = tempfile::tempdir()?;
    let (leader, follower) = leader_and_follower(&test).await?;
    let masters = test.cluster.masters();
    // Both start at a follower. One is told of changes as the library's own detector would tell it; the other one knows an address only.
    let settings = |name| json!({ "master": masters[follower], "masters": masters, "name": name });
    let (mut watching, watching_id) = register(&runner, &settings("watching")).await?;
    let (mut plain, plain_id) = register(&runner, &settings("plain")).await?;
    watching.tell(&json!({ "do": "watch" }))?;
    for (client, task) in [(&mut watching, "watched"), (&mut plain, "plain")] {
        client.launch(task, &marked(folder.path(), task))?;
        client.state(task, "TASK_RUNNING").await?;
    }
    let (from, plain_from) = (watching.now(), plain.now());
    let killed_at = test.cluster.kill_master(leader);
    watching.event_from(from, "disconnected").await?;
    let again = watching.event_from(from, "reregistered").await?;
    assert_eq!(again["framework"], Value::from(watching_id.as_str()), "the same framework");
    note("PY-2: disconnected", watching.after(from, "disconnected", killed_at));
    note("PY-2: registered again", watching.after(from, "reregistered", killed_at));
    // Back as a follower, the old leader tells the other driver where to go.
    test.cluster.start_master(leader)?;
    plain.event_from(plain_from, "disconnected").await?;
    let again = plain.event_from(plain_from, "reregistered").await?;
    assert_eq!(again["framework"], Value::from(plain_id.as_str()), "the same framework");
    test.wait_for_agents(1).await?;
    watching.launch("after", "true")?;
    watching.state("after", "TASK_FINISHED").await?;
    plain.launch("killed", "sleep 1000")?;
    plain.state("killed", "TASK_RUNNING").await?;
    plain.tell(&json!({ "do": "kill", "id": "killed" }))?;
    plain.state("killed", "TASK_KILLED").await?;
    open_gate(folder.path())?;
    for (client, task) in [(&mut watching, "watched"), (&mut plain, "plain")] {
        client.state(task, "TASK_FINISHED").await?;
        let states = client.states(task);
        assert!(
            states
                .iter()
                .all(|state| ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"].contains(&state.as_str())),
            "{task}: {states:?}"
        );
    }
    assert_eq!(marks(folder.path()), ["plain", "watched"], "each was started once");
    stop(&test, &mut watching, &watching_id).await?;
    stop(&test, &mut plain, &plain_id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn py_3_the_right_secret_lets_a_framework_in_and_a_wrong_one_ends_its_driver() -> anyhow::Result<()> {
    let Some(runner) = find(Library::Pymesos)? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let credentials = folder.path().join("credentials");
    let listed = json!({ "credentials": [{ "principal": "alice", "secret": "right: with a colon" }] });
    std::fs::write(&credentials, listed.to_string())?;
    let arguments = [
        "--authenticate-http-frameworks=true".to_owned(),
        "--credentials".to_owned(),
        credentials.display().to_string(),
    ];
    let test = cluster::start_with(3, 1, &arguments, &[]).await?;
    let (_, follower) = leader_and_follower(&test).await?;
    let master = &test.cluster.masters()[follower];
    let settings =
        |name, secret| json!({ "master": master, "name": name, "principal": "alice", "secret": secret });
    let nobody = json!({ "master": master, "name": "nobody" });
    for refused in [settings("wrong", "wrong"), nobody] {
        let mut client = Client::start(&runner, SCHEDULER, &refused)?;
        let aborted = client.event("aborted").await?;
        assert!(aborted["error"].as_str().is_some_and(|error| error.contains("HTTP 401")), "{aborted}");
        assert_eq!(client.all("registered"), Vec::<Value>::new());
    }
    let (mut client, id) = register(&runner, &settings("right", "right: with a colon")).await?;
    client.launch("t", "true")?;
    client.state("t", "TASK_FINISHED").await?;
    let frameworks = test.operator()?.get_frameworks().await?;
    let known: Vec<_> = frameworks.frameworks.iter().filter_map(|one| one.framework_info.as_ref()).collect();
    assert_eq!(known.len(), 1, "{known:?}");
    assert_eq!(known[0].principal.as_deref(), Some("alice"));
    stop(&test, &mut client, &id).await
}

/// Calls a method of the library's operator driver.
async fn call(client: &mut Client, of: &str, method: &str, arguments: Value) -> anyhow::Result<Value> {
    let from = client.now();
    client.tell(&json!({ "do": "call", "method": method, "arguments": arguments, "of": of }))?;
    let answer = client
        .wait_from(from, method, |event| {
            (event["event"] == "answer" || event["event"] == "failed").then(|| event.clone())
        })
        .await?;
    anyhow::ensure!(answer["event"] == "answer", "{method}: {answer}");
    Ok(answer["answer"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn py_5_an_operator_reads_and_hears_of_tasks_beyond_the_death_of_a_leader() -> anyhow::Result<()> {
    let Some(runner) = find(Library::Pymesos)? else { return Ok(()) };
    let mut test = cluster::start(3, 1).await?;
    let (leader, follower) = leader_and_follower(&test).await?;
    let masters = test.cluster.masters();
    let settings = json!({ "master": masters[follower], "agent": test.cluster.agents()[0] });
    let mut client = Client::start(&runner, OPERATOR, &settings)?;
    client.event("ready").await?;
    // Each answer has a member of its own name.
    let reads = [
        ("getHealth", "get_health", json!([])),
        ("getFlags", "get_flags", json!([])),
        ("getVersion", "get_version", json!([])),
        ("getMetrics", "get_metrics", json!([1_000_000_000_u64])),
        ("getState", "get_state", json!([])),
        ("getFrameworks", "get_frameworks", json!([])),
        ("getExecutors", "get_executors", json!([])),
        ("getTasks", "get_tasks", json!([])),
        ("getAgents", "get_agents", json!([])),
        ("getRoles", "get_roles", json!([])),
        ("getWeights", "get_weights", json!([])),
        ("getMaster", "get_master", json!([])),
        ("getQuota", "get_quota", json!([])),
        ("getMaintenanceStatus", "get_maintenance_status", json!([])),
        ("getMaintenanceSchedule", "get_maintenance_schedule", json!([])),
    ];
    for (method, member, arguments) in reads {
        let answer = call(&mut client, "master", method, arguments).await?;
        assert!(answer[member].is_object(), "{method}: {answer}");
    }
    let master = call(&mut client, "master", "getMaster", json!([])).await?;
    let port = masters[leader].split(':').nth(1).unwrap_or_default().parse::<u16>()?;
    assert_eq!(master["get_master"]["master_info"]["port"], json!(port), "the leader answers: {master}");
    for (method, member, arguments) in [
        ("getHealth", "get_health", json!([])),
        ("getVersion", "get_version", json!([])),
        ("getState", "get_state", json!([])),
        ("getTasks", "get_tasks", json!([])),
        ("getContainers", "get_containers", json!([])),
    ] {
        let answer = call(&mut client, "agent", method, arguments).await?;
        assert!(answer[member].is_object(), "{method} of an agent: {answer}");
    }
    changes(&mut client).await?;
    client.tell(&json!({ "do": "subscribe" }))?;
    client.event("subscribed").await?;
    let mut framework = TestFramework::subscribe(masters.clone(), "watched").await?;
    hears_of(&mut client, &mut framework, "first").await?;
    client.event("framework_added").await?;
    // The stream breaks; the library goes back to the address it knows, which becomes a follower's.
    let from = client.now();
    test.cluster.kill_master(leader);
    test.wait_for_agents(1).await?;
    test.cluster.start_master(leader)?;
    client.event_from(from, "subscribed").await?;
    framework
        .wait("a new subscription", |event| {
            matches!(event, Event::Subscribed { again: true, .. }).then_some(())
        })
        .await?;
    hears_of(&mut client, &mut framework, "second").await
}

/// Reserves, makes a volume, and takes both back; sets a weight and a quota. The calls have no answer: what they did is read.
async fn changes(client: &mut Client) -> anyhow::Result<()> {
    let agents = call(client, "master", "getAgents", json!([])).await?;
    let agent = agents["get_agents"]["agents"][0]["agent_info"]["id"]["value"].clone();
    let disk = |further: Value| {
        let mut disk = json!({
            "name": "disk", "type": "SCALAR", "scalar": { "value": 64 }, "role": "ops", "reservation": {},
        });
        if further.is_object() {
            disk["disk"] = further;
        }
        json!([agent, [disk]])
    };
    let volume = json!({
        "persistence": { "id": "keep" },
        "volume": { "container_path": "data", "mode": "RW" },
    });
    call(client, "master", "reserveResources", disk(Value::Null)).await?;
    seen(client, "a reservation", |text| text.contains("\"ops\"")).await?;
    call(client, "master", "createVolumes", disk(volume.clone())).await?;
    seen(client, "a volume", |text| text.contains("\"keep\"")).await?;
    call(client, "master", "destroyVolumes", disk(volume)).await?;
    seen(client, "no volume", |text| !text.contains("\"keep\"")).await?;
    call(client, "master", "unreserveResources", disk(Value::Null)).await?;
    seen(client, "no reservation", |text| !text.contains("\"ops\"")).await?;
    call(client, "master", "updateWeights", json!([[{ "role": "ops", "weight": 2.5 }]])).await?;
    let weights = call(client, "master", "getWeights", json!([])).await?;
    assert_eq!(weights["get_weights"]["weight_infos"], json!([{ "role": "ops", "weight": 2.5 }]));
    let guarantee = json!([{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 0.5 } }]);
    call(client, "master", "setQuota", json!([{ "role": "ops", "guarantee": guarantee }])).await?;
    let quota = call(client, "master", "getQuota", json!([])).await?;
    assert_eq!(quota["get_quota"]["status"]["infos"][0]["role"], "ops", "{quota}");
    call(client, "master", "removeQuota", json!(["ops"])).await?;
    Ok(())
}

/// Waits until the agents' resources, as text, are as they should be.
async fn seen(client: &mut Client, what: &str, fits: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let agents = call(client, "master", "getAgents", json!([])).await?;
        let resources = agents["get_agents"]["agents"][0]["total_resources"].to_string();
        if fits(&resources) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "not {what}: {resources}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs a task, and waits until the operator has heard of its launch and its end.
async fn hears_of(client: &mut Client, framework: &mut TestFramework, id: &str) -> anyhow::Result<()> {
    framework.launch(vec![task(id, "true")]).await?;
    framework.wait_state(id, TaskFinished).await?;
    client
        .wait_from(0, &format!("launch of {id}"), |event| {
            (event["event"] == "task_added" && event["task"]["task_id"]["value"] == id).then_some(())
        })
        .await?;
    client
        .wait_from(0, &format!("end of {id}"), |event| {
            let status = &event["update"]["status"];
            (event["event"] == "task_updated"
                && status["task_id"]["value"] == id
                && event["update"]["state"] == "TASK_FINISHED")
                .then_some(())
        })
        .await?;
    Ok(())
}
