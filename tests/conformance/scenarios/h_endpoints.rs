//! Scenarios 107, 110b: the plain endpoints that tools read, and how paths lead to them.

use bytes::Bytes;
use serde_json::Value;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::master;
use tepui_proto::v1::master::call::Type::GetHealth;

use crate::conformance::Context;
use crate::conformance::wire::SCHEDULER;
use crate::conformance::wire::messages::{Named, info, lasting, sleeper, task};

/// Fails for the first of these fields that an object lacks.
fn has(object: &Value, fields: &[&str]) -> anyhow::Result<()> {
    for field in fields {
        anyhow::ensure!(object.get(field).is_some(), "{field} is missing in {object}");
    }
    Ok(())
}

fn length(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

pub(crate) async fn endpoints(cx: &mut Context) -> anyhow::Result<()> {
    super::h_agent_endpoints::endpoints(cx).await?;
    let mut framework = cx.subscribe(lasting("shown")).await?;
    let agent = framework.run(vec![sleeper("long")]).await?;
    let offer = framework.offer().await?;
    let tasks: Vec<_> = (0..5).map(|number| task(&format!("t{number}"), "true")).collect();
    framework.launch_on(&offer, tasks).await?;
    for number in 0..5 {
        framework.state(&format!("t{number}"), TaskState::TaskFinished).await?;
    }
    cx.eventually("five completed tasks", async || {
        (cx.tasks()
            .await
            .ok()?
            .completed_tasks
            .iter()
            .filter(|task| task.framework_id.named() == framework.id)
            .count()
            == 5)
            .then_some(())
    })
    .await?;
    let master = cx.leader().await?;
    let state = cx.http.get_json(&master, "/state").await?;
    has(
        &state,
        &[
            "version",
            "start_time",
            "elected_time",
            "id",
            "pid",
            "hostname",
            "activated_slaves",
            "deactivated_slaves",
            "unreachable_slaves",
            "leader",
            "leader_info",
            "flags",
            "slaves",
            "recovered_slaves",
            "frameworks",
            "completed_frameworks",
            "orphan_tasks",
            "unregistered_frameworks",
        ],
    )?;
    anyhow::ensure!(state["leader"] == format!("master@{master}"), "{}", state["leader"]);
    has(
        &state["slaves"][0],
        &[
            "id",
            "hostname",
            "port",
            "pid",
            "registered_time",
            "attributes",
            "resources",
            "used_resources",
            "offered_resources",
            "reserved_resources",
            "unreserved_resources",
            "active",
            "version",
        ],
    )?;
    let shown = &state["frameworks"][0];
    has(
        shown,
        &[
            "id",
            "name",
            "used_resources",
            "offered_resources",
            "capabilities",
            "hostname",
            "webui_url",
            "active",
            "connected",
            "recovered",
            "user",
            "failover_timeout",
            "checkpoint",
            "registered_time",
            "role",
            "resources",
            "tasks",
            "unreachable_tasks",
            "completed_tasks",
            "offers",
            "executors",
        ],
    )?;
    anyhow::ensure!(length(&shown["tasks"]) == 1 && length(&shown["completed_tasks"]) == 5, "{shown}");
    has(
        &shown["tasks"][0],
        &["id", "name", "framework_id", "executor_id", "slave_id", "state", "resources", "role", "statuses"],
    )?;
    anyhow::ensure!(shown["tasks"][0]["resources"]["cpus"] == 0.1, "{}", shown["tasks"][0]);
    let statuses = shown["tasks"][0]["statuses"].as_array().cloned().unwrap_or_default();
    anyhow::ensure!(statuses.last().is_some_and(|last| last["state"] == "TASK_RUNNING"), "{statuses:?}");

    let one = cx.http.get_json(&master, &format!("/slaves?slave_id={agent}")).await?;
    anyhow::ensure!(length(&one["slaves"]) == 1 && one["slaves"][0]["id"] == agent.as_str(), "{one}");
    anyhow::ensure!(length(&cx.http.get_json(&master, "/slaves").await?["slaves"]) == 2, "/slaves");
    let other = cx.subscribe(info("other")).await?;
    let one = cx.http.get_json(&master, &format!("/frameworks?framework_id={}", other.id)).await?;
    anyhow::ensure!(length(&one["frameworks"]) == 1 && one["frameworks"][0]["name"] == "other", "{one}");
    let all = cx.http.get_json(&master, "/frameworks").await?;
    anyhow::ensure!(length(&all["frameworks"]) == 2, "{all}");
    process(cx, &master, &agent, &framework.id).await?;
    pages(cx, &master, &framework.id).await?;
    forms(cx, &master).await
}

/// What every process of Mesos has beside its own endpoints.
async fn process(cx: &Context, master: &str, agent: &str, framework: &str) -> anyhow::Result<()> {
    let host = cx.http.get_json(master, "/system/stats.json").await?;
    has(
        &host,
        &[
            "avg_load_1min",
            "avg_load_5min",
            "avg_load_15min",
            "cpus_total",
            "mem_total_bytes",
            "mem_free_bytes",
        ],
    )?;
    let registry = cx.http.get_json(master, "/registrar(1)/registry").await?;
    has(
        &registry,
        &["master", "slaves", "machines", "schedules", "quotas", "weights", "unreachable", "gone"],
    )?;
    let slaves = registry["slaves"]["slaves"].as_array().cloned().unwrap_or_default();
    anyhow::ensure!(slaves.iter().any(|slave| slave["info"]["id"]["value"] == agent), "{registry}");
    let allowed = cx.http.get_json(master, "/hierarchical-allocator(1)/offer_constraints_debug").await?;
    let shown = &allowed["frameworks"][framework];
    anyhow::ensure!(length(&shown["suppressed_roles"]) == 0, "{allowed}");
    anyhow::ensure!(shown["excluded_by_attribute_constraints"]["*"] == serde_json::json!([]), "{allowed}");
    for (path, status) in [
        ("/help", 200),
        ("/help/master/api/v1/scheduler", 200),
        ("/help/nothing", 404),
        ("/logging/toggle", 200),
        ("/logging/toggle?duration=1secs", 400),
        ("/logging/toggle?level=-1&duration=1secs", 400),
        ("/logging/toggle?level=0&duration=1secs", 200),
    ] {
        cx.http.get(master, path).await?.expect(status)?;
    }
    Ok(())
}

/// Pages of `/tasks`, in both orders.
async fn pages(cx: &Context, master: &str, framework: &str) -> anyhow::Result<()> {
    let ids = async |query: &str| {
        let path = format!("/tasks?framework_id={framework}&{query}");
        let page = cx.http.get_json(master, &path).await?;
        let list = page["tasks"].as_array().cloned().unwrap_or_default();
        anyhow::Ok(list.iter().filter_map(|task| task["id"].as_str().map(str::to_owned)).collect::<Vec<_>>())
    };
    let all = ids("limit=100").await?;
    anyhow::ensure!(all.len() == 6, "{all:?}");
    let mut paged = ids("limit=4").await?;
    paged.extend(ids("limit=4&offset=4").await?);
    anyhow::ensure!(paged == all, "{paged:?} instead of {all:?}");
    let mut reversed = ids("order=asc").await?;
    reversed.reverse();
    anyhow::ensure!(reversed == all, "ascending is {reversed:?} backwards, descending {all:?}");
    anyhow::ensure!(ids("offset=100").await?.is_empty(), "a page behind the end");
    anyhow::ensure!(ids("task_id=t3").await? == ["t3"], "one task");
    Ok(())
}

/// What is not JSON for programs: callbacks, metrics, version, health, unknown paths.
async fn forms(cx: &Context, master: &str) -> anyhow::Result<()> {
    let wrapped = cx.http.get(master, "/state?jsonp=callback_1").await?.expect(200)?;
    anyhow::ensure!(
        wrapped.header("content-type") == Some("text/javascript"),
        "{:?}",
        wrapped.header("content-type")
    );
    let text = wrapped.text();
    let inner = text.strip_prefix("callback_1(").and_then(|rest| rest.strip_suffix(");"));
    anyhow::ensure!(inner.is_some_and(|inner| serde_json::from_str::<Value>(inner).is_ok()), "not a call");
    let metrics = cx.http.get_json(master, "/metrics/snapshot?timeout=10secs").await?;
    anyhow::ensure!(metrics["master/elected"].as_f64() == Some(1.0), "{metrics}");
    has(
        &metrics,
        &[
            "master/uptime_secs",
            "master/cpus_total",
            "master/cpus_used",
            "master/mem_total",
            "master/slaves_active",
            "master/frameworks_active",
            "master/frameworks_connected",
            "master/outstanding_offers",
            "master/tasks_running",
            "master/tasks_staging",
            "master/tasks_finished",
        ],
    )?;
    anyhow::ensure!(metrics["master/slaves_active"].as_f64() == Some(2.0), "{metrics}");
    let version = cx.http.get_json(master, "/version").await?;
    let text = version["version"].as_str().unwrap_or_default();
    let numeric = text.split('.').count() == 3 && text.split('.').all(|part| part.parse::<u32>().is_ok());
    anyhow::ensure!(numeric, "{version}");
    let health = cx.http.get(master, "/health").await?.expect(200)?;
    anyhow::ensure!(health.body.is_empty(), "{}", health.text());
    let flags = cx.http.get_json(master, "/flags").await?;
    has(&flags["flags"], &["ip", "port", "work_dir"])?;
    for path in ["/no/such/path", "/api/v2", "/stat"] {
        cx.http.get(master, path).await?.expect(404)?;
    }
    Ok(())
}

pub(crate) async fn prefixes(cx: &mut Context) -> anyhow::Result<()> {
    let master = cx.leader().await?;
    let call = master::Call { r#type: Some(GetHealth as i32), ..Default::default() };
    for path in ["/api/v1", "/api/v1/", "/api/v1/operator", "/master/api/v1", "/master/api/v1/operator"] {
        let answer = cx.http.post(&master, path, &[], &call).await?.expect(200)?;
        let answer: master::Response = answer.message(cx.media)?;
        anyhow::ensure!(answer.get_health.is_some(), "{path}: {answer:?}");
    }
    for path in [SCHEDULER.to_owned(), format!("/master{SCHEDULER}"), format!("{SCHEDULER}/x")] {
        cx.http.get(&master, &path).await?.expect(405)?;
    }
    let agent =
        cx.agents().await?.into_iter().filter_map(|agent| agent.agent_info).next().unwrap_or_default();
    // Old tools: other spellings, methods that do not matter, more of a path than there is.
    for path in ["/state", "/state.json", "/master/state", "/master/state.json"] {
        has(&cx.http.get_json(&master, path).await?, &["slaves", "frameworks", "version"])?;
    }
    for path in ["/slaves", "/slaves.json", "/master/slaves", &format!("/slaves/{}", agent.id.named())] {
        for method in ["GET", "POST"] {
            let answer = cx.http.send(method, &master, path, &[], Bytes::new()).await?.expect(200)?;
            has(&answer.json()?, &["slaves"])?;
        }
    }
    for path in ["/tasks.json", "/frameworks.json", "/stats.json", "/master/metrics/snapshot"] {
        cx.http.get_json(&master, path).await?;
    }
    // Whole segments only.
    for path in ["/statement", "/masters/state", "/api/v1x"] {
        cx.http.get(&master, path).await?.expect(404)?;
    }
    // The agent answers under its process' name, too.
    let address = cx.cluster.agents().into_iter().next().unwrap_or_default();
    for path in ["/state", "/slave(1)/state", "/state.json"] {
        has(&cx.http.get_json(&address, path).await?, &["id", "resources", "version"])?;
    }
    for path in ["/health", "/slave(1)/health"] {
        cx.http.get(&address, path).await?.expect(200)?;
    }
    Ok(())
}
