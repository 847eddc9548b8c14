//! Scenarios 21, 93 and the agent's part of 107: what an agent answers for itself.

use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::{Value, json};
use tepui_proto::v1::TaskState;
use tepui_proto::v1::agent::{Call, Response, call::Type};
use tepui_proto::{recordio, wire};

use crate::conformance::Context;
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{lasting, task};

/// A running task, and where its agent and its files are.
struct Place {
    address: String,
    index: usize,
    framework: String,
    /// Virtual path of the sandbox.
    run: String,
}

/// Starts a task that has written `hello` and runs on.
async fn place(cx: &Context) -> anyhow::Result<(Framework, Place)> {
    let mut framework = cx.subscribe(lasting("sandboxed")).await?;
    let written = cx.scratch("written");
    let line = format!("echo hello; mkdir sub; echo x > {}; exec sleep 1000", written.display());
    let agent = framework.run(vec![task("t", &line)]).await?;
    cx.written("written").await?;
    let index = cx.agent_index(&agent).await?;
    let address = agent_address(cx, index)?;
    let run = format!("/frameworks/{}/executors/t/runs/latest", framework.id);
    let place = Place { address, index, framework: framework.id.clone(), run };
    Ok((framework, place))
}

fn call(kind: Type) -> Call {
    let get_metrics = (kind == Type::GetMetrics).then(Default::default);
    Call { r#type: Some(kind.into()), get_metrics, ..Default::default() }
}

pub(super) fn agent_address(cx: &Context, index: usize) -> anyhow::Result<String> {
    cx.cluster.agents().into_iter().nth(index).context("an agent")
}

/// Makes an operator call of an agent; returns its answer.
pub(super) async fn ask_agent(cx: &Context, index: usize, kind: Type) -> anyhow::Result<Response> {
    let address = agent_address(cx, index)?;
    cx.http.post(&address, "/api/v1", &[], &call(kind)).await?.expect(200)?.message(cx.media)
}

pub(crate) async fn operator_api(cx: &mut Context) -> anyhow::Result<()> {
    let (_framework, place) = place(cx).await?;
    let ask = async |kind: Type| {
        let answer = cx.http.post(&place.address, "/api/v1/operator", &[], &call(kind)).await?.expect(200)?;
        let answer: Response = answer.message(cx.media)?;
        let shown = serde_json::to_value(&answer)?;
        let member = shown[kind.as_str_name().to_lowercase()].clone();
        anyhow::ensure!(shown["type"] == kind.as_str_name() && member.is_object(), "{shown}");
        anyhow::Ok(member)
    };
    for kind in [Type::GetHealth, Type::GetFlags, Type::GetVersion, Type::GetMetrics, Type::GetLoggingLevel] {
        ask(kind).await?;
    }
    for kind in [Type::GetState, Type::GetAgent, Type::GetOperations, Type::GetResourceProviders] {
        ask(kind).await?;
    }
    let tasks = ask(Type::GetTasks).await?;
    anyhow::ensure!(tasks["launched_tasks"][0]["task_id"]["value"] == "t", "{tasks}");
    let frameworks = ask(Type::GetFrameworks).await?;
    let id = &frameworks["frameworks"][0]["framework_info"]["id"]["value"];
    anyhow::ensure!(*id == place.framework.as_str(), "{frameworks}");
    let executors = ask(Type::GetExecutors).await?;
    anyhow::ensure!(executors["executors"][0]["executor_info"]["executor_id"]["value"] == "t", "{executors}");
    let containers = ask(Type::GetContainers).await?;
    let container = &containers["containers"][0];
    anyhow::ensure!(container["executor_id"]["value"] == "t", "{containers}");
    anyhow::ensure!(container["container_status"]["executor_pid"].is_number(), "{containers}");
    for number in ["mem_rss_bytes", "cpus_user_time_secs", "cpus_limit", "timestamp"] {
        anyhow::ensure!(container["resource_statistics"][number].is_number(), "{number}: {containers}");
    }
    let hour = serde_json::from_value(json!({"type": "SET_LOGGING_LEVEL",
        "set_logging_level": {"level": 1, "duration": {"nanoseconds": 3_600_000_000_000_u64}}}))?;
    let set = async |call: &Call| cx.http.post(&place.address, "/api/v1", &[], call).await?.expect(202);
    set(&hour).await?;
    anyhow::ensure!(ask(Type::GetLoggingLevel).await?["level"] == 1, "the level is not set");
    let back = serde_json::from_value(json!({"type": "SET_LOGGING_LEVEL",
        "set_logging_level": {"level": 0, "duration": {"nanoseconds": 0}}}))?;
    set(&back).await?;
    anyhow::ensure!(ask(Type::GetLoggingLevel).await?["level"] == 0, "the level is not set back");
    streams(cx, &place, container["container_id"]["value"].as_str().unwrap_or_default()).await
}

/// The headers that belong to streams of records, and only to them.
async fn streams(cx: &Context, place: &Place, container: &str) -> anyhow::Result<()> {
    let media = cx.media.as_str();
    let health = wire::encode(cx.media, &call(Type::GetHealth));
    let input = |container: &str| {
        let text = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input":
            {"type": "CONTAINER_ID", "container_id": {"value": container}}});
        let input: Call = serde_json::from_value(text)?;
        anyhow::Ok(recordio::frame(&wire::encode(cx.media, &input)))
    };
    let records = recordio::frame(&health);
    let (plain, streamed) = (("content-type", media), ("content-type", "application/recordio"));
    let (inner, wants) = (("message-content-type", media), ("accept", "application/recordio"));
    type Case<'a> = (Vec<(&'a str, &'a str)>, Bytes, u16);
    let cases: Vec<Case<'_>> = vec![
        (vec![], health.clone(), 400),
        (vec![("content-type", "text/plain")], health.clone(), 415),
        (vec![streamed], records.clone(), 400),
        (vec![streamed, ("message-content-type", "text/plain")], records.clone(), 415),
        (vec![streamed, inner], records, 415),
        (vec![plain, inner], health.clone(), 415),
        (vec![plain, ("message-accept", media)], health.clone(), 406),
        (vec![plain, ("accept", media), ("message-accept", media)], health.clone(), 406),
        (vec![plain, ("accept", "text/html")], health.clone(), 406),
        (vec![plain, wants, ("message-accept", media)], health.clone(), 406),
        (vec![streamed, inner, wants, ("message-accept", media)], input("none")?, 404),
        (vec![streamed, inner], input(container)?, 501),
        (vec![plain], Bytes::from_static(b"\xff{"), 400),
    ];
    for (headers, body, expected) in cases {
        let answer = cx.http.send("POST", &place.address, "/api/v1", &headers, body).await?;
        answer.refuses(expected).with_context(|| format!("{headers:?}"))?;
    }
    let get = cx.http.get(&place.address, "/api/v1").await?.refuses(405)?;
    anyhow::ensure!(get.header("allow") == Some("POST"), "{:?}", get.headers);
    // The plain way works after all of that.
    let answer = cx.http.post(&place.address, "/api/v1", &[], &call(Type::GetHealth)).await?.expect(200)?;
    answer.message::<Response>(cx.media).map(drop)
}

/// While it does not know what became of its tasks an agent answers 503, and then it answers with them.
pub(crate) async fn recovery(cx: &mut Context) -> anyhow::Result<()> {
    let (mut framework, place) = place(cx).await?;
    cx.cluster.kill_agent(place.index);
    // The task's supervising process holds its lock but seems not to have said yet that it started, so the recovery waits.
    let containers = cx.cluster.agent_dir(place.index).join("meta/containers");
    let started = std::fs::read_dir(&containers)?
        .map(|entry| Ok(entry?.path().join("started")))
        .find(|path: &anyhow::Result<PathBuf>| path.as_ref().is_ok_and(|path| path.exists()))
        .context("no container")??;
    let away = started.with_extension("away");
    std::fs::rename(&started, &away)?;
    cx.cluster.start_agent(place.index)?;
    cx.eventually("an agent that listens", async || {
        cx.http.get(&place.address, "/health").await.is_ok_and(|answer| answer.status == 200).then_some(())
    })
    .await?;
    for path in
        ["/state", "/slave(1)/state", "/flags", "/containers", "/monitor/statistics", "/metrics/snapshot"]
    {
        cx.http.get(&place.address, path).await?.refuses(503).context(path)?;
    }
    cx.http.post(&place.address, "/api/v1", &[], &call(Type::GetHealth)).await?.refuses(503)?;
    cx.http.get(&place.address, "/health").await?.expect(200)?;
    std::fs::rename(&away, &started)?;
    cx.eventually("the end of the recovery", async || {
        let state = cx.http.get_json(&place.address, "/state").await.ok()?;
        let task = state["frameworks"][0]["executors"][0]["tasks"][0].clone();
        (task["id"] == "t" && task["state"] == "TASK_RUNNING").then_some(())
    })
    .await?;
    super::f_partitions::active_agents(cx, 2).await?;
    framework.kill("t").await?;
    framework.state("t", TaskState::TaskKilled).await.map(drop)
}

/// The agent's part of the plain endpoints.
pub(crate) async fn endpoints(cx: &Context) -> anyhow::Result<()> {
    let (mut framework, place) = place(cx).await?;
    let state = cx.http.get_json(&place.address, "/slave(1)/state.json").await?;
    for member in [
        "version",
        "id",
        "pid",
        "hostname",
        "start_time",
        "resources",
        "reserved_resources",
        "reserved_resources_full",
        "unreserved_resources",
        "unreserved_resources_full",
        "attributes",
        "master_hostname",
        "flags",
        "frameworks",
        "completed_frameworks",
    ] {
        anyhow::ensure!(state.get(member).is_some(), "{member} is missing in {state}");
    }
    let shown = of(&state["frameworks"], "id", &place.framework).context("the framework")?;
    let executor = &shown["executors"][0];
    for member in
        ["id", "name", "source", "container", "directory", "resources", "role", "tasks", "queued_tasks"]
    {
        anyhow::ensure!(executor.get(member).is_some(), "{member} is missing in {executor}");
    }
    let directory = executor["directory"].as_str().context("a directory")?.to_owned();
    files(cx, &place, &directory).await?;
    let used = cx.http.get_json(&place.address, "/monitor/statistics").await?;
    anyhow::ensure!(used[0]["executor_id"] == "t", "{used}");
    anyhow::ensure!(used[0]["statistics"]["mem_rss_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{used}");
    let metrics = cx.http.get_json(&place.address, "/metrics/snapshot").await?;
    for name in [
        "slave/registered",
        "slave/uptime_secs",
        "slave/cpus_total",
        "slave/cpus_used",
        "slave/tasks_running",
        "slave/tasks_finished",
        "slave/executors_running",
        "slave/recovery_errors",
        "slave/valid_status_updates",
        "slave/container_launch_errors",
        "gc/path_removals_succeeded",
        "system/load_1min",
    ] {
        anyhow::ensure!(metrics[name].is_number(), "{name}: {metrics}");
    }
    anyhow::ensure!(metrics["slave/tasks_running"].as_f64() == Some(1.0), "{metrics}");
    let host = cx.http.get_json(&place.address, "/system/stats.json").await?;
    anyhow::ensure!(host["avg_load_1min"].is_number() && host["cpus_total"].is_number(), "{host}");
    for (path, status) in [
        ("/help", 200),
        ("/help/slave(1)/state", 200),
        ("/help/nothing", 404),
        ("/logging/toggle", 200),
        ("/logging/toggle?level=1", 400),
        ("/logging/toggle?level=1&duration=soon", 400),
        ("/logging/toggle?level=0&duration=1secs", 200),
    ] {
        cx.http.get(&place.address, path).await?.expect(status)?;
    }
    framework.kill("t").await?;
    framework.state("t", TaskState::TaskKilled).await?;
    cx.eventually("the task among the completed ones", async || {
        let state = cx.http.get_json(&place.address, "/state").await.ok()?;
        let executor = &of(&state["completed_frameworks"], "id", &place.framework)?["completed_executors"][0];
        (executor["completed_tasks"][0]["id"] == "t").then_some(())
    })
    .await?;
    framework.tear_down().await
}

/// The object of a list that has this value.
fn of<'a>(list: &'a Value, member: &str, value: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|one| one[member] == value)
}

/// Files by both kinds of path, and what is none.
async fn files(cx: &Context, place: &Place, directory: &str) -> anyhow::Result<()> {
    let (address, run) = (&place.address, &place.run);
    let get = async |path: String| cx.http.get_json(address, &path).await;
    for folder in [run.as_str(), directory] {
        let listed = get(format!("/files/browse?path={folder}")).await?;
        let list = listed.as_array().context("a list")?;
        let names: Vec<&str> = list.iter().filter_map(|entry| entry["path"].as_str()).collect();
        let expected = ["stderr", "stdout", "sub"].map(|name| format!("{folder}/{name}"));
        anyhow::ensure!(names == expected, "{listed}");
        anyhow::ensure!(list[1]["mode"] == "-rw-r--r--" && list[1]["size"] == 6, "{listed}");
        anyhow::ensure!(list[2]["mode"].as_str().is_some_and(|mode| mode.starts_with('d')), "{listed}");
        for (query, expected) in [
            ("offset=0", json!({"data": "hello\n", "offset": 0})),
            ("offset=1&length=3", json!({"data": "ell", "offset": 1})),
            ("offset=0&length=-1", json!({"data": "hello\n", "offset": 0})),
            ("offset=-1", json!({"data": "", "offset": 6})),
            ("length=4", json!({"data": "", "offset": 6})),
            ("offset=1000", json!({"data": "", "offset": 6})),
        ] {
            let part = get(format!("/files/read?path={folder}/stdout&{query}")).await?;
            anyhow::ensure!(part == expected, "{query}: {part}");
        }
        let whole =
            cx.http.get(address, &format!("/files/download?path={folder}/stdout")).await?.expect(200)?;
        anyhow::ensure!(whole.body.as_ref() == b"hello\n", "{}", whole.text());
        anyhow::ensure!(whole.header("content-length") == Some("6"), "{:?}", whole.headers);
        let name = whole.header("content-disposition").unwrap_or_default().to_owned();
        anyhow::ensure!(name.contains("stdout"), "{name}");
    }
    let refused = [
        ("read?path=", 400),
        ("read", 400),
        ("browse", 400),
        ("download", 400),
        (&format!("read?path={run}/sub&offset=0"), 400),
        (&format!("download?path={run}/sub"), 400),
        (&format!("browse?path={run}/stdout"), 400),
        (&format!("read?path={run}/stdout&offset=-2"), 400),
        (&format!("read?path={run}/stdout&offset=0&length=-2"), 400),
        (&format!("read?path={run}/stdout&offset=many"), 400),
        (&format!("read?path={run}/none&offset=0"), 404),
        (&format!("download?path={run}/none"), 404),
        (&format!("browse?path={run}/none"), 404),
        (&format!("browse?path={run}/../../../../../../../../meta"), 404),
        ("read?path=/etc/passwd&offset=0", 404),
        ("nothing", 404),
    ];
    for (path, status) in refused {
        cx.http
            .get(address, &format!("/files/{path}"))
            .await?
            .refuses(status)
            .with_context(|| path.to_owned())?;
    }
    // A read is capped at 64 KiB, and long answers are compressed for those who ask.
    std::fs::write(format!("{directory}/long"), vec![b'.'; 100_000])?;
    let path = format!("/files/read?path={run}/long&offset=0&length=90000");
    let part = get(path.clone()).await?;
    anyhow::ensure!(part["data"].as_str().is_some_and(|data| data.len() == 65_536), "not capped");
    let small = cx.http.send("GET", address, &path, &[("accept-encoding", "gzip")], Bytes::new()).await?;
    anyhow::ensure!(small.header("content-encoding") == Some("gzip"), "{:?}", small.headers);
    anyhow::ensure!(small.body.len() < 5_000 && small.body.starts_with(&[0x1f, 0x8b]), "not gzip");
    let wrapped = cx.http.get(address, &format!("/files/browse?path={run}&jsonp=f")).await?.expect(200)?;
    anyhow::ensure!(wrapped.header("content-type") == Some("text/javascript"), "{:?}", wrapped.headers);
    let inner = wrapped.text();
    let inner = inner.strip_prefix("f(").and_then(|rest| rest.strip_suffix(");")).context("not a call")?;
    serde_json::from_str::<Value>(inner).map(drop).context("not JSON in the call")
}
