//! `GET /tepui/v1/sandbox?framework_id=…&task_id=…[&path=stdout][&offset=0][&length=65536]`: raw bytes of one file of a task,
//! with its size and whether the task has ended, so that a reader can follow it.
//!
//! Also finds the newest sandbox of a task that the agent has forgotten. Owns nothing else.

use std::path::PathBuf;
use std::sync::Arc;

use axum::http::HeaderValue;
use axum::response::Response;
use tepui_agent_core::{Agent, ExecutorKey, TaskKey};

use super::error::Refusal;
use super::files::blocking;
use super::query::Query;
use super::within::{self, Place};
use super::{Inner, answer, places};

const LENGTH_DEFAULT: u64 = 64 << 10;
const LENGTH_MAX: u64 = 1 << 20;
const FILE_SIZE: &str = "tepui-file-size";
const TASK_ENDED: &str = "tepui-task-ended";

/// What the agent knows of the task.
struct Known {
    agent_id: String,
    /// Whose sandbox it is in: that of a command has its task's id.
    executor_id: String,
    container_id: Option<String>,
    ended: bool,
}

pub(super) async fn read(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let key = TaskKey::new(query.required("framework_id")?, query.required("task_id")?);
    let path = PathBuf::from(query.get("path").filter(|path| !path.is_empty()).unwrap_or("stdout"));
    if path.is_absolute() {
        return Err(Refusal::bad_request("'path' must be relative to the sandbox"));
    }
    let ids = [&key.framework_id, &key.task_id];
    if ids.iter().any(|id| id.contains(['/', '\0']) || [".", ".."].contains(&id.as_str())) {
        return Err(Refusal::bad_request("an id is not a name"));
    }
    let offset: u64 = query.number("offset")?.unwrap_or(0);
    let length: u64 = query.number("length")?.unwrap_or(LENGTH_DEFAULT).min(LENGTH_MAX);
    let wanted = key.clone();
    let known = app.handle.look(move |agent| know(agent, &wanted)).await.ok_or_else(Refusal::unavailable)?;
    let runs = app.facts.layout.runs(&known.agent_id, &key.framework_id, &known.executor_id);
    let sandbox = runs.join(known.container_id.as_deref().unwrap_or("latest"));
    let volumes = places::shown_in(app, sandbox.clone()).await?;
    let place = Place { wanted: sandbox.join(path), root: sandbox, volumes };
    let part = blocking(move || within::read(&place, offset, length)).await?;
    let mut response = answer("application/octet-stream", part.data);
    let headers = response.headers_mut();
    headers.insert(FILE_SIZE, HeaderValue::from(part.size));
    headers.insert(TASK_ENDED, HeaderValue::from_static(if known.ended { "true" } else { "false" }));
    Ok(response)
}

fn know(agent: &Agent, key: &TaskKey) -> Known {
    let agent_id = agent.agent_id().to_owned();
    let executor_id = |executor: Option<&ExecutorKey>| {
        executor.map_or_else(|| key.task_id.clone(), |executor| executor.executor_id.clone())
    };
    if let Some(task) = agent.tasks().find(|task| task.key == key) {
        return Known {
            agent_id,
            executor_id: executor_id(task.executor),
            container_id: Some(task.container_id.to_owned()),
            ended: task.state.is_terminal(),
        };
    }
    // The newest one of that name.
    let done = agent.completed_tasks().filter(|task| task.key == *key).last();
    Known {
        agent_id,
        executor_id: executor_id(done.and_then(|task| task.executor.as_ref())),
        container_id: done.map(|task| task.container_id.clone()),
        ended: true,
    }
}
