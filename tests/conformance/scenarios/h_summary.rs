//! Scenario 107, the rest of it: the summary, roles, compression, metrics under Mesos' names.

use std::io::Read as _;

use bytes::Bytes;
use serde_json::Value;
use tepui_proto::v1::master::call::Type;
use tepui_proto::v1::{TaskInfo, TaskState};

use super::{h_endpoints, h_files};
use crate::conformance::Context;
use crate::conformance::wire::SCHEDULER;
use crate::conformance::wire::messages::{in_roles, lasting, sleeper, subscribe, task};

/// Names that dashboards and alerts for Mesos ask for.
const METRICS: [&str; 58] = [
    "master/elected",
    "master/uptime_secs",
    "master/cpus_percent",
    "master/mem_used",
    "master/disk_total",
    "master/gpus_total",
    "master/cpus_revocable_total",
    "master/slaves_connected",
    "master/slaves_disconnected",
    "master/slaves_inactive",
    "master/slaves_unreachable",
    "master/slave_registrations",
    "master/slave_reregistrations",
    "master/slave_removals",
    "master/slave_removals/reason_unhealthy",
    "master/slave_removals/reason_unregistered",
    "master/slave_removals/reason_registered",
    "master/slave_unreachable_scheduled",
    "master/slave_unreachable_completed",
    "master/slave_unreachable_canceled",
    "master/recovery_slave_removals",
    "master/frameworks_disconnected",
    "master/frameworks_inactive",
    "master/tasks_starting",
    "master/tasks_killing",
    "master/tasks_unreachable",
    "master/tasks_failed",
    "master/tasks_killed",
    "master/tasks_lost",
    "master/tasks_error",
    "master/tasks_dropped",
    "master/tasks_gone",
    "master/tasks_gone_by_operator",
    "master/messages_kill_task",
    "master/messages_status_update",
    "master/messages_reregister_slave",
    "master/valid_status_update_acknowledgements",
    "master/invalid_status_updates",
    "master/dropped_messages",
    "master/event_queue_messages",
    "master/event_queue_dispatches",
    "master/event_queue_http_requests",
    "master/operations/total",
    "master/operations/reserve/finished",
    "master/operations/unreachable",
    "allocator/mesos/allocation_runs",
    "allocator/mesos/allocation_run_ms",
    "allocator/mesos/allocation_run_ms/p99",
    "allocator/mesos/allocation_run_latency_ms/max",
    "allocator/mesos/event_queue_dispatches",
    "allocator/mesos/offer_filters/roles/eng/web/active",
    "registrar/state_fetch_ms",
    "registrar/registry_size_bytes",
    "registrar/queued_operations",
    "registrar/state_store_ms/p99",
    "registrar/log/recovered",
    "system/cpus_total",
    "system/load_1min",
];

pub(crate) async fn all_endpoints(cx: &mut Context) -> anyhow::Result<()> {
    h_endpoints::endpoints(cx).await?;
    let master = cx.leader().await?;
    summary_and_roles(cx, &master).await?;
    compression(cx, &master).await?;
    h_files::of_the_master(cx, &master).await?;
    h_files::of_an_agent(cx).await
}

/// An element of a list with this text in this field.
fn find<'a>(list: &'a Value, field: &str, text: &str) -> anyhow::Result<&'a Value> {
    let found = list.as_array().and_then(|list| list.iter().find(|one| one[field] == text));
    found.ok_or_else(|| anyhow::anyhow!("no {field} {text} in {list}"))
}

async fn summary_and_roles(cx: &Context, master: &str) -> anyhow::Result<()> {
    let before = cx.http.get_json(master, "/metrics/snapshot").await?;
    let mut framework = cx.subscribe(in_roles(lasting("a name/with parts"), &["eng/web"])).await?;
    let agent = framework.run(vec![sleeper("long"), task("short", "exit 1")]).await?;
    framework.state("short", TaskState::TaskFailed).await?;
    let offer = framework.offer().await?;
    framework.launch_on(&offer, vec![TaskInfo { resources: Vec::new(), ..task("none", "true") }]).await?;
    framework.state("none", TaskState::TaskError).await?;
    let summary = cx
        .eventually("a failed and a running task in the summary", async || {
            let summary = cx.http.get_json(master, "/state-summary").await.ok()?;
            let shown = find(&summary["frameworks"], "id", &framework.id).ok()?.clone();
            (shown["TASK_FAILED"] == 1 && shown["TASK_RUNNING"] == 1).then_some(summary)
        })
        .await?;
    let shown = find(&summary["frameworks"], "id", &framework.id)?;
    anyhow::ensure!(shown["slave_ids"] == serde_json::json!([agent]), "{shown}");
    anyhow::ensure!(shown["TASK_LOST"] == 0 && shown.get("tasks").is_none(), "{shown}");
    let slave = find(&summary["slaves"], "id", &agent)?;
    let ids = slave["framework_ids"].as_array().cloned().unwrap_or_default();
    anyhow::ensure!(ids.contains(&framework.id.as_str().into()) && slave["TASK_RUNNING"].is_u64(), "{slave}");
    anyhow::ensure!(summary["hostname"].is_string(), "{summary}");

    let roles = cx.http.get_json(master, "/roles").await?;
    let web = find(&roles["roles"], "name", "eng/web")?;
    anyhow::ensure!(web["frameworks"] == serde_json::json!([framework.id]), "{web}");
    let above = find(&roles["roles"], "name", "eng")?;
    anyhow::ensure!(above["weight"] == 1.0 && above["resources"]["cpus"].as_f64() > Some(0.0), "{above}");
    let consumed = &above["quota"]["consumed"]["cpus"];
    anyhow::ensure!(consumed == &above["resources"]["cpus"], "what a quota would count: {above}");
    let asked = cx.ask(Type::GetRoles).await?.get_roles.unwrap_or_default();
    let names: Vec<&str> = asked.roles.iter().map(|role| role.name()).collect();
    anyhow::ensure!(names.contains(&"eng") && names.contains(&"eng/web"), "{names:?}");

    let one = cx.http.get_json(master, &format!("/slaves?slave_id={agent}")).await?;
    let slave = find(&one["slaves"], "id", &agent)?;
    for list in ["unreserved_resources_full", "used_resources_full", "offered_resources_full"] {
        anyhow::ensure!(slave[list].is_array(), "{list} is missing in {slave}");
    }
    let used = slave["used_resources_full"].as_array().cloned().unwrap_or_default();
    let in_role = |one: &Value| one["allocation_info"]["role"] == "eng/web" && one["role"] == "*";
    anyhow::ensure!(used.iter().any(in_role), "nothing is in use in the role: {used:?}");

    let after = cx.http.get_json(master, "/metrics/snapshot?timeout=10secs").await?;
    for name in METRICS {
        anyhow::ensure!(after[name].is_number(), "{name} is missing in {after}");
    }
    let grown =
        |name: &str| after[name].as_f64().unwrap_or_default() - before[name].as_f64().unwrap_or_default();
    anyhow::ensure!(
        grown("master/tasks_failed") == 1.0,
        "tasks_failed grew by {}",
        grown("master/tasks_failed")
    );
    anyhow::ensure!(grown("master/messages_launch_tasks") >= 1.0, "messages_launch_tasks");
    anyhow::ensure!(grown("master/messages_register_framework") == 1.0, "messages_register_framework");
    anyhow::ensure!(after["master/slave_registrations"].as_f64() >= Some(2.0), "slave_registrations");
    let own = format!("master/frameworks/a%20name%2Fwith%20parts/{}", framework.id);
    for (name, least) in [
        ("calls", 2.0),
        ("calls/accept", 1.0),
        ("calls/subscribe", 1.0),
        ("events/update", 2.0),
        ("offers/sent", 1.0),
        ("offers/accepted", 1.0),
        ("offers/declined", 0.0),
        ("offers/rescinded", 0.0),
        ("subscribed", 1.0),
        ("roles/eng/web/suppressed", 0.0),
        ("tasks/active/task_running", 1.0),
    ] {
        let number = after[format!("{own}/{name}")].as_f64();
        anyhow::ensure!(number >= Some(least), "{own}/{name} is {number:?}");
    }
    let refused = "master/task_error/source_master/reason_task_invalid";
    for name in ["master/tasks_error", refused] {
        anyhow::ensure!(grown(name) == 1.0, "{name} grew by {}", grown(name));
    }
    cx.http.get(master, "/metrics/snapshot?timeout=soon").await?.refuses(400)?;
    framework.tear_down().await?;
    cx.eventually("an end of the framework's numbers", async || {
        let metrics = cx.http.get_json(master, "/metrics/snapshot").await.ok()?;
        metrics.get(format!("{own}/calls")).is_none().then_some(())
    })
    .await
}

/// Long answers are compressed for whoever asks, streams never.
async fn compression(cx: &Context, master: &str) -> anyhow::Result<()> {
    let gzip = [("accept-encoding", "gzip")];
    for path in ["/state", "/metrics/snapshot", "/state?jsonp=back"] {
        let answer = cx.http.send("GET", master, path, &gzip, Bytes::new()).await?.expect(200)?;
        anyhow::ensure!(answer.header("content-encoding") == Some("gzip"), "{path} is not compressed");
        let length = answer.header("content-length").map(str::to_owned);
        anyhow::ensure!(length == Some(answer.body.len().to_string()), "{path}: length {length:?}");
        let mut text = String::new();
        flate2::read::GzDecoder::new(answer.body.as_ref()).read_to_string(&mut text)?;
        let json = text.strip_prefix("back(").and_then(|rest| rest.strip_suffix(");")).unwrap_or(&text);
        serde_json::from_str::<Value>(json)?;
    }
    for (path, encoding) in [("/version", "gzip"), ("/state", "gzip;q=0"), ("/state", "identity")] {
        let headers = [("accept-encoding", encoding)];
        let answer = cx.http.send("GET", master, path, &headers, Bytes::new()).await?.expect(200)?;
        anyhow::ensure!(answer.header("content-encoding").is_none(), "{path} with {encoding}");
    }
    let stream = cx.http.open(master, SCHEDULER, &gzip, &subscribe(lasting("plain"))).await?;
    anyhow::ensure!(stream.header("content-encoding").is_none(), "a compressed stream");
    let unsafe_name = cx.http.get(master, "/state?jsonp=alert(1)").await?.expect(200)?;
    anyhow::ensure!(unsafe_name.header("content-type") == Some("application/json"), "a script for anyone");
    Ok(())
}
