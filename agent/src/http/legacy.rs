//! `/state` and `/version` with the names that old pages know. Owns those names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::response::Response;
use serde_json::{Map, Value, json};
use tepui_agent_core::{Agent, TaskKey};
use tepui_proto::resources::Resources;
use tepui_proto::v1;

use super::error::Refusal;
use super::query::Query;
use super::{Inner, json};
use crate::layout::Layout;
use crate::{MESOS_VERSION, PRODUCT_VERSION};

pub(super) fn version(query: &Query) -> Response {
    let version = json!({
        "version": MESOS_VERSION,
        "build_date": "",
        "build_time": 0.0,
        "build_user": "",
        "tepui_version": PRODUCT_VERSION,
    });
    json(&version, query)
}

pub(super) async fn state(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let inner = app.clone();
    let state = app.handle.look(move |agent| render(&inner, agent)).await.ok_or_else(Refusal::unavailable)?;
    Ok(json(&state, query))
}

fn render(app: &Inner, agent: &Agent) -> Value {
    let info = &agent.config().agent_info;
    let start_time = app.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    json!({
        "version": MESOS_VERSION,
        "tepui_version": PRODUCT_VERSION,
        "id": agent.agent_id(),
        "pid": format!("slave(1)@{}", app.address),
        "hostname": info.hostname(),
        "start_time": start_time,
        "registered": agent.is_registered(),
        "resources": resources(&info.resources),
        "attributes": attributes(&info.attributes),
        "flags": { "work_dir": app.layout.work_dir().display().to_string() },
        "frameworks": frameworks(&app.layout, agent),
        "completed_frameworks": [],
    })
}

fn frameworks(layout: &Layout, agent: &Agent) -> Vec<Value> {
    let mut running: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for task in agent.tasks() {
        let shown = task_json(agent, task.key, task.info, task.state, task.latest);
        let mut executor = executor(layout, agent, task.key, task.info, task.container_id);
        let list = match () {
            () if task.queued => "queued_tasks",
            () if task.state.is_terminal() => "completed_tasks",
            () => "tasks",
        };
        executor.insert(list.to_owned(), json!([shown]));
        running.entry(&task.key.framework_id).or_default().push(executor.into());
    }
    let mut completed: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for task in agent.completed_tasks() {
        let state = task.latest.as_ref().map_or(v1::TaskState::TaskLost, v1::TaskStatus::state);
        let shown = task_json(agent, &task.key, &task.info, state, task.latest.as_ref());
        let mut executor = executor(layout, agent, &task.key, &task.info, &task.container_id);
        executor.insert("completed_tasks".to_owned(), json!([shown]));
        completed.entry(&task.key.framework_id).or_default().push(executor.into());
    }
    let infos: BTreeMap<&str, &v1::FrameworkInfo> =
        agent.frameworks().filter_map(|info| Some((info.id.as_ref()?.value.as_deref()?, info))).collect();
    let ids: std::collections::BTreeSet<&str> = running.keys().chain(completed.keys()).copied().collect();
    ids.into_iter()
        .map(|id| {
            let info = infos.get(id).copied();
            json!({
                "id": id,
                "name": info.map(v1::FrameworkInfo::name).unwrap_or_default(),
                "user": info.map(v1::FrameworkInfo::user).unwrap_or_default(),
                "roles": info.map(|info| info.roles.clone()).unwrap_or_default(),
                "executors": running.remove(id).unwrap_or_default(),
                "completed_executors": completed.remove(id).unwrap_or_default(),
            })
        })
        .collect()
}

fn executor(
    layout: &Layout,
    agent: &Agent,
    key: &TaskKey,
    info: &v1::TaskInfo,
    container_id: &str,
) -> Map<String, Value> {
    let runs = layout.runs(agent.agent_id(), &key.framework_id, &key.task_id);
    let shown = json!({
        "id": key.task_id,
        "name": format!("Command Executor (Task: {})", key.task_id),
        "source": key.task_id,
        "container": container_id,
        "directory": runs.join(container_id).display().to_string(),
        "resources": resources(&info.resources),
        "tasks": [],
        "queued_tasks": [],
        "completed_tasks": [],
    });
    match shown {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn task_json(
    agent: &Agent,
    key: &TaskKey,
    info: &v1::TaskInfo,
    state: v1::TaskState,
    latest: Option<&v1::TaskStatus>,
) -> Value {
    let statuses: Vec<Value> = latest
        .map(|status| {
            json!({
                "state": status.state().as_str_name(),
                "timestamp": status.timestamp(),
                "container_status": status.container_status,
                "message": status.message,
            })
        })
        .into_iter()
        .collect();
    json!({
        "id": key.task_id,
        "name": info.name(),
        "framework_id": key.framework_id,
        "executor_id": "",
        "slave_id": agent.agent_id(),
        "state": state.as_str_name(),
        "resources": resources(&info.resources),
        "labels": info.labels,
        "discovery": info.discovery,
        "statuses": statuses,
    })
}

/// Returns amounts by name; the usual scalars are there even if they are nothing.
pub(super) fn resources(list: &[v1::Resource]) -> Value {
    let mut shown: Map<String, Value> =
        ["cpus", "mem", "disk", "gpus"].map(|name| (name.to_owned(), json!(0.0))).into_iter().collect();
    // What does not add up was refused before it came here.
    let all = Resources::from_proto(list).unwrap_or_default();
    for (name, amount) in all.scalars() {
        shown.insert(name.to_string(), json!(amount.to_f64()));
    }
    for name in all.names() {
        let ranges = all.ranges(name);
        if !ranges.is_empty() {
            let text: Vec<String> = ranges.iter().map(|(begin, end)| format!("{begin}-{end}")).collect();
            shown.insert(name.to_owned(), json!(format!("[{}]", text.join(", "))));
        }
    }
    shown.into()
}

fn attributes(list: &[v1::Attribute]) -> Value {
    let shown: Map<String, Value> = list
        .iter()
        .map(|attribute| {
            let value = match (&attribute.scalar, &attribute.text, &attribute.ranges) {
                (Some(scalar), _, _) => json!(scalar.value()),
                (_, Some(text), _) => json!(text.value()),
                (_, _, Some(ranges)) => {
                    let text: Vec<String> = ranges
                        .range
                        .iter()
                        .map(|range| format!("{}-{}", range.begin(), range.end()))
                        .collect();
                    json!(format!("[{}]", text.join(", ")))
                }
                (None, None, None) => Value::Null,
            };
            (attribute.name().to_owned(), value)
        })
        .collect();
    shown.into()
}
