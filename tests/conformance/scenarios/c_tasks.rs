//! Scenarios 46, 47, 51, 52, 57, 66, 67: the life of a command task and the reliability of its updates.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::task_status::{Reason, Source};

use crate::conformance::Context;
use crate::conformance::context::{AGENT, QUIET};
use crate::conformance::wire::messages::{Named, amount, info, lasting, sized, sleeper, task};

pub(crate) async fn running(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("runner")).await?;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    let index = cx.agent_index(&agent).await?;
    // Frozen, the agent cannot report anything, so the state between launch and first update can be seen.
    cx.freeze_agent(index);
    framework.launch_on(&offer, vec![sleeper("t")]).await?;
    let staging = cx
        .eventually("TASK_STAGING in /state", async || {
            let state = cx.state().await.ok()?;
            let task = state["frameworks"][0]["tasks"][0].clone();
            (task["state"] == "TASK_STAGING").then_some(task)
        })
        .await;
    cx.thaw_agent(index);
    anyhow::ensure!(staging?["id"] == "t", "another task");
    framework.state("t", TaskState::TaskRunning).await?;
    anyhow::ensure!(
        framework.states_of("t") == [TaskState::TaskStarting, TaskState::TaskRunning],
        "{:?}",
        framework.states_of("t")
    );
    for status in framework.updates_of("t") {
        anyhow::ensure!(status.uuid.as_ref().is_some_and(|uuid| uuid.len() == 16), "{status:?}");
        anyhow::ensure!(
            status.agent_id.named() == agent && status.source() == Source::Executor,
            "{status:?}"
        );
        anyhow::ensure!(status.executor_id.named() == "t", "{status:?}");
        anyhow::ensure!(status.timestamp() > 1e9, "{status:?}");
    }
    let running = framework.state("t", TaskState::TaskRunning).await?;
    let container = running.container_status.clone().unwrap_or_default();
    anyhow::ensure!(container.container_id.is_some(), "{running:?}");
    let addresses = container.network_infos.iter().flat_map(|network| &network.ip_addresses);
    anyhow::ensure!(addresses.filter_map(|one| one.ip_address.as_deref()).eq(["127.0.0.1"]), "{running:?}");
    cx.eventually("TASK_RUNNING in /state", async || {
        let state = cx.state().await.ok()?;
        let task = &state["frameworks"][0]["tasks"][0];
        (task["state"] == "TASK_RUNNING" && task["slave_id"] == agent.as_str()).then_some(())
    })
    .await
}

pub(crate) async fn exit_codes(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("exits")).await?;
    let offer = framework.offer().await?;
    let tasks = vec![
        task("good", "true"),
        task("bad", "exit 3"),
        task("shot", "kill -9 $$"),
        task("hung up", "kill -HUP $$"),
        task("missing", "/no/such/program"),
    ];
    framework.launch_on(&offer, tasks).await?;
    for (id, state, word) in [
        ("good", TaskState::TaskFinished, ""),
        ("bad", TaskState::TaskFailed, "3"),
        ("shot", TaskState::TaskFailed, "SIGKILL"),
        ("hung up", TaskState::TaskFailed, "SIGHUP"),
        ("missing", TaskState::TaskFailed, "127"),
    ] {
        let status = framework.state(id, state).await?;
        anyhow::ensure!(status.message().contains(word), "{id}: {:?} does not name {word}", status.message());
        let states = framework.states_of(id);
        anyhow::ensure!(
            states == [TaskState::TaskStarting, TaskState::TaskRunning, state],
            "{id}: {states:?}"
        );
    }
    Ok(())
}

pub(crate) async fn repeated_updates(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("silent")).await?;
    framework.acknowledges = false;
    let offer = framework.offer().await?;
    framework.launch_on(&offer, vec![task("t", "true")]).await?;
    // Only the first is in flight; it comes again, ever later, until it is acknowledged.
    let first = framework.next_update("t", 0).await?;
    let began = Instant::now();
    framework.next_update("t", 1).await?;
    let once = began.elapsed();
    framework.next_update("t", 2).await?;
    let twice = began.elapsed();
    for again in framework.updates_of("t") {
        anyhow::ensure!(again.uuid == first.uuid && again.state() == TaskState::TaskStarting, "{again:?}");
    }
    anyhow::ensure!(twice - once >= once.mul_f64(1.5), "repeated after {once:?} and {:?}", twice - once);
    let known = framework.updates_of("t").count();
    framework.acknowledge(&first).await?;
    // Repetitions that were on their way may still come.
    let second = framework.state("t", TaskState::TaskRunning).await?;
    anyhow::ensure!(second.uuid != first.uuid, "two updates have one uuid");
    framework.acknowledge(&second).await?;
    let third = framework.state("t", TaskState::TaskFinished).await?;
    framework.acknowledge(&third).await?;
    framework.listen(Duration::from_millis(300)).await?;
    let settled = framework.updates_of("t").count();
    framework.listen(QUIET).await?;
    anyhow::ensure!(framework.updates_of("t").count() == settled, "updates after the last acknowledgement");
    let mut order: Vec<TaskState> = framework.states_of("t").split_off(known);
    order.dedup();
    let expected = [TaskState::TaskStarting, TaskState::TaskRunning, TaskState::TaskFinished];
    anyhow::ensure!(expected.ends_with(&order) && order.ends_with(&expected[1..]), "{order:?}");
    Ok(())
}

pub(crate) async fn unacknowledged_end(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("silent")).await?;
    framework.acknowledges = false;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    framework.launch_on(&offer, vec![sized(task("t", "true"), AGENT.0 / 2.0, AGENT.1 / 2.0)]).await?;
    let starting = framework.next_update("t", 0).await?;
    // The task has ended long ago: what it used is offered, although the framework has not even acknowledged its start.
    framework
        .wait("the whole agent", |this| {
            let free: f64 = this
                .offers
                .iter()
                .filter(|offer| offer.agent_id.named() == agent)
                .map(|offer| amount(&offer.resources, "cpus"))
                .sum();
            (free == AGENT.0).then_some(())
        })
        .await?;
    framework.acknowledge(&starting).await?;
    let running = framework.state("t", TaskState::TaskRunning).await?;
    framework.acknowledge(&running).await?;
    let finished = framework.state("t", TaskState::TaskFinished).await?;
    let id = framework.id.clone();
    let places = async || {
        let all = cx.tasks_of(&id).await.ok()?;
        let named = |tasks: &[v1::Task]| tasks.iter().any(|task| task.task_id.named() == "t");
        Some((named(&all.tasks), named(&all.completed_tasks)))
    };
    framework.listen(Duration::from_millis(400)).await?;
    anyhow::ensure!(
        places().await == Some((true, false)),
        "before its acknowledgement the end is not the end"
    );
    framework.acknowledge(&finished).await?;
    cx.eventually("a completed task", async || (places().await? == (false, true)).then_some(())).await
}

pub(crate) async fn lost_executor(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("bereaved")).await?;
    let agent = framework
        .run(vec![task("t", &format!("echo $PPID > {}; exec sleep 1000", cx.scratch("parent").display()))])
        .await?;
    let supervisor: i32 = cx.written("parent").await?.trim().parse()?;
    kill(Pid::from_raw(supervisor), Signal::SIGKILL)?;
    let status = framework.state("t", TaskState::TaskFailed).await?;
    anyhow::ensure!(status.reason() == Reason::ExecutorTerminated, "{status:?}");
    anyhow::ensure!(status.source() == Source::Agent && status.uuid.is_some(), "{status:?}");
    let whole = framework.offer_of(&agent).await?;
    anyhow::ensure!(amount(&whole.resources, "cpus") == AGENT.0, "{whole:?}");
    // Nothing of it may be left behind.
    cx.eventually("the end of the orphaned command", async || {
        let marker = std::path::PathBuf::from("t");
        tepui::cluster::find_processes(&[("MESOS_TASK_ID", &marker)])
            .into_iter()
            .all(|pid| !belongs(pid, &framework.id))
            .then_some(())
    })
    .await
}

/// Whether a process is a task of this framework and alive.
fn belongs(pid: i32, framework: &str) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let wanted = format!("MESOS_FRAMEWORK_ID={framework}");
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

fn label(key: &str, value: &str) -> v1::Labels {
    v1::Labels { labels: vec![v1::Label { key: Some(key.to_owned()), value: Some(value.to_owned()) }] }
}

pub(crate) async fn labels_and_discovery(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("labels")).await?;
    let discovery = v1::DiscoveryInfo {
        visibility: Some(v1::discovery_info::Visibility::Cluster as i32),
        name: Some("web".to_owned()),
        ports: Some(v1::Ports {
            ports: vec![v1::Port { number: Some(80), name: Some("http".to_owned()), ..Default::default() }],
        }),
        ..Default::default()
    };
    let labelled = v1::TaskInfo {
        labels: Some(label("tier", "front")),
        discovery: Some(discovery.clone()),
        ..sleeper("t")
    };
    framework.run(vec![labelled]).await?;
    let tasks = cx.tasks().await?.tasks;
    let shown = tasks.first().cloned().unwrap_or_default();
    anyhow::ensure!(shown.labels == Some(label("tier", "front")), "{shown:?}");
    anyhow::ensure!(shown.discovery == Some(discovery), "{shown:?}");
    let state = cx.state().await?;
    let task = &state["frameworks"][0]["tasks"][0];
    anyhow::ensure!(task["labels"][0]["key"] == "tier" && task["labels"][0]["value"] == "front", "{task}");
    anyhow::ensure!(task["discovery"]["name"] == "web", "{task}");
    anyhow::ensure!(task["discovery"]["visibility"] == "CLUSTER", "{task}");
    anyhow::ensure!(task["discovery"]["ports"]["ports"][0]["number"] == 80, "{task}");
    Ok(())
}

pub(crate) async fn commands(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("commands")).await?;
    let with = |id: &str, command: v1::CommandInfo| v1::TaskInfo { command: Some(command), ..task(id, "") };
    let variable = |name: &str, value: &str| v1::environment::Variable {
        name: Some(name.to_owned()),
        value: Some(value.to_owned()),
        ..Default::default()
    };
    let out = |name: &str| cx.scratch(name).display().to_string();
    // The first argument is the program's own name, and no shell looks at the others.
    let plain = v1::CommandInfo {
        shell: Some(false),
        value: Some("/bin/sh".to_owned()),
        arguments: ["sh", "-c", "printf '%s' \"$1\" > \"$0\"", &out("arguments"), "a  $b *"]
            .map(str::to_owned)
            .to_vec(),
        ..Default::default()
    };
    let environment =
        v1::Environment { variables: vec![variable("GREETING", "first"), variable("GREETING", "h ä")] };
    let script = format!(
        "printf '%s' \"$GREETING\" > {}; printf '%s\\n%s\\n%s\\n%s' \"$MESOS_TASK_ID\" \"$MESOS_FRAMEWORK_ID\" \"$MESOS_SLAVE_ID\" \"$MESOS_SANDBOX\" > {}; test \"$PWD\" -ef \"$MESOS_SANDBOX\"",
        out("greeting"),
        out("ids"),
    );
    let varied =
        v1::CommandInfo { value: Some(script), environment: Some(environment), ..Default::default() };
    let offer = framework.offer().await?;
    framework.launch_on(&offer, vec![with("plain", plain), with("varied", varied)]).await?;
    framework.state("plain", TaskState::TaskFinished).await?;
    framework.state("varied", TaskState::TaskFinished).await?;
    anyhow::ensure!(cx.written("arguments").await? == "a  $b *", "{:?}", cx.written("arguments").await?);
    anyhow::ensure!(cx.written("greeting").await? == "h ä", "{:?}", cx.written("greeting").await?);
    let ids = cx.written("ids").await?;
    let ids: Vec<&str> = ids.lines().collect();
    anyhow::ensure!(ids.starts_with(&["varied", &framework.id, offer.agent_id.named()]), "{ids:?}");
    anyhow::ensure!(ids.get(3).is_some_and(|sandbox| std::path::Path::new(sandbox).is_dir()), "{ids:?}");
    Ok(())
}

pub(crate) async fn longest_run(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("limits")).await?;
    let limit = |id: &str, milliseconds: i64| v1::TaskInfo {
        max_completion_time: Some(v1::DurationInfo { nanoseconds: Some(milliseconds * 1_000_000) }),
        ..sleeper(id)
    };
    let offer = framework.offer().await?;
    let began = Instant::now();
    framework.launch_on(&offer, vec![limit("long", 600), limit("patient", 60_000)]).await?;
    let status = framework.state("long", TaskState::TaskFailed).await?;
    let took = began.elapsed();
    anyhow::ensure!(status.reason() == Reason::MaxCompletionTimeReached, "{status:?}");
    anyhow::ensure!(took >= Duration::from_millis(600), "ended after {took:?} instead of 600 ms");
    let states = framework.states_of("patient");
    anyhow::ensure!(states.last() == Some(&TaskState::TaskRunning), "{states:?}");
    Ok(())
}
