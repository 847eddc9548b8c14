//! `/state`, `/flags` and `/version` with the names that old pages know. Owns those names.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::response::Response;
use serde_json::{Map, Value, json};
use tepui_proto::v1;

use super::error::Refusal;
use super::known::{self, Executor, Framework, Known, Stage};
use super::query::Query;
use super::values::{add, allocation_role, attributes, reserved_and_not, resources, task};
use super::{Inner, json};
use crate::{MESOS_VERSION, PRODUCT_VERSION};

pub(super) fn version(app: &Inner, query: &Query) -> Response {
    json(&build(app), query)
}

fn build(app: &Inner) -> Value {
    let mut shown = json!({
        "version": MESOS_VERSION,
        "build_date": "",
        "build_time": 0.0,
        "build_user": "",
        "tepui_version": PRODUCT_VERSION,
    });
    if let Some(object) = shown.as_object_mut() {
        app.facts.origin.add_to(object);
    }
    shown
}

pub(super) fn flags(app: &Inner, query: &Query) -> Response {
    json(&json!({ "flags": flag_object(app) }), query)
}

fn flag_object(app: &Inner) -> Map<String, Value> {
    app.facts.flags.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}

pub(super) async fn state(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let known = known::look(app).await?;
    Ok(json(&render(app, &known), query))
}

fn render(app: &Inner, known: &Known) -> Value {
    let info = &known.info;
    let start_time = app.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut shown = build(app);
    let members = json!({
        "id": known.agent_id,
        "pid": format!("slave(1)@{}", app.facts.address),
        "hostname": info.hostname(),
        "start_time": start_time,
        "registered": known.registered,
        "capabilities": tepui_proto::origin::AGENT_CAPABILITIES.map(|one| one.as_str_name()),
        "resources": resources(&known.resources),
        "attributes": attributes(&info.attributes),
        "flags": flag_object(app),
        "frameworks": known.frameworks.iter().map(framework).collect::<Vec<_>>(),
        "completed_frameworks": known.completed_frameworks.iter().map(framework).collect::<Vec<_>>(),
    });
    if let (Some(shown), Value::Object(members)) = (shown.as_object_mut(), members) {
        shown.extend(members);
    }
    for (name, value) in reserved_and_not(&known.resources) {
        add(&mut shown, name, Some(value));
    }
    let held: Vec<v1::Resource> =
        known.executors().filter(|(_, one)| one.is_live()).flat_map(|(_, one)| one.resources()).collect();
    let [reserved, _, unreserved, _] = reserved_and_not(&held);
    add(&mut shown, "reserved_resources_allocated", Some(reserved.1));
    add(&mut shown, "unreserved_resources_allocated", Some(unreserved.1));
    let master = app.observed.master();
    let host = master.as_deref().and_then(|address| address.rsplit_once(':'));
    add(&mut shown, "master_hostname", host.map(|(host, _)| json!(host)));
    let log_dir = app.facts.log_file.as_deref().and_then(|path| path.parent());
    add(&mut shown, "log_dir", log_dir.map(|path| json!(path.display().to_string())));
    let drain = known.drain.as_ref().and_then(|drain| drain.config.as_ref());
    add(&mut shown, "drain_config", drain.map(|config| json!(config)));
    add(&mut shown, "estimated_drain_start_time_seconds", known.drain_start_seconds().map(|at| json!(at)));
    let domain = info.domain.as_ref().map(|domain| json!(domain));
    add(&mut shown, "domain", domain);
    shown
}

fn framework(framework: &Framework) -> Value {
    let info = &framework.info;
    let mut shown = json!({
        "id": framework.id,
        "name": info.name(),
        "user": info.user(),
        "failover_timeout": info.failover_timeout(),
        "checkpoint": info.checkpoint(),
        "hostname": info.hostname(),
        "executors": framework.executors.iter().map(executor).collect::<Vec<_>>(),
        "completed_executors": framework.completed_executors.iter().map(executor).collect::<Vec<_>>(),
    });
    add(&mut shown, "principal", info.principal.as_ref().map(|principal| json!(principal)));
    let is_multi_role =
        info.capabilities.iter().any(|one| one.r#type() == v1::framework_info::capability::Type::MultiRole);
    match is_multi_role {
        true => add(&mut shown, "roles", Some(json!(info.roles))),
        false => add(&mut shown, "role", Some(json!(info.role()))),
    }
    shown
}

fn executor(executor: &Executor) -> Value {
    let of = |wanted: &[Stage]| -> Vec<Value> {
        let chosen = executor.tasks.iter().filter(|one| wanted.contains(&one.stage));
        chosen.map(|one| task(&one.task)).collect()
    };
    let all: Vec<v1::Resource> = executor
        .tasks
        .iter()
        .flat_map(|one| &one.task.resources)
        .chain(&executor.info.resources)
        .cloned()
        .collect();
    let held = if executor.is_live() { executor.resources() } else { Vec::new() };
    let mut shown = json!({
        "id": executor.id(),
        "name": executor.info.name(),
        "source": executor.info.source(),
        "container": executor.container_id,
        "directory": executor.directory.display().to_string(),
        "resources": resources(&held),
        "tasks": of(&[Stage::Launched]),
        "queued_tasks": of(&[Stage::Queued]),
        // Those whose end is not acknowledged are among them, as in Mesos.
        "completed_tasks": of(&[Stage::Completed, Stage::Terminated]),
    });
    add(&mut shown, "role", allocation_role(&all).map(|role| json!(role)));
    add(&mut shown, "labels", executor.info.labels.as_ref().map(|labels| json!(labels.labels)));
    let kind = executor.info.r#type.and_then(|kind| v1::executor_info::Type::try_from(kind).ok());
    add(&mut shown, "type", kind.map(|kind| json!(kind.as_str_name())));
    shown
}
