//! The containers that there are: GET_CONTAINERS, `/containers`, `/monitor/statistics`, and waiting for or signalling one. Owns
//! what is shown of a container; there are none but those of executors.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::http::StatusCode;
use axum::response::Response;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tepui_agent_core::Agent;
use tepui_proto::v1;
use v1::agent::response::{GetContainers, WaitContainer, get_containers};

use super::error::Refusal;
use super::files::blocking;
use super::known::{self, Executor, Framework, Known};
use super::query::Query;
use super::{Inner, empty, json};
use crate::containerizer::{Sample, signal_container};
use crate::supervise::records::{self, ExitRecord};

const MEGABYTE: f64 = 1024.0 * 1024.0;

/// All containers with a process. Nested and standalone ones do not exist, whether they are asked for or not.
pub(super) async fn get(app: &Arc<Inner>) -> Result<GetContainers, Refusal> {
    let known = known::look(app).await?;
    let sample = sample(app, &known).await?;
    let live = known.executors().filter(|(_, executor)| executor.is_live());
    Ok(GetContainers {
        containers: live.map(|(framework, one)| container(framework, one, &sample)).collect(),
    })
}

async fn sample(app: &Arc<Inner>, known: &Known) -> Result<Arc<Sample>, Refusal> {
    let live = known.executors().filter(|(_, executor)| executor.is_live());
    let supervisors = live.filter_map(|(_, executor)| Some(executor.pid?.cast_signed())).collect();
    let app = app.clone();
    blocking(move || Ok(app.sampler.sample(supervisors))).await
}

fn container(framework: &Framework, executor: &Executor, sample: &Sample) -> get_containers::Container {
    let container_id = Some(v1::ContainerId { value: Some(executor.container_id.clone()), parent: None });
    get_containers::Container {
        framework_id: Some(v1::FrameworkId { value: Some(framework.id.clone()) }),
        executor_id: executor.info.executor_id.clone(),
        executor_name: executor.info.name.clone(),
        container_id: container_id.clone(),
        container_status: Some(v1::ContainerStatus {
            network_infos: executor.network_infos.clone(),
            executor_pid: executor.pid,
            container_id,
            ..Default::default()
        }),
        resource_statistics: statistics(executor, sample),
    }
}

/// Returns what a container uses and may use; nothing if it has no process.
fn statistics(executor: &Executor, sample: &Sample) -> Option<v1::ResourceStatistics> {
    let usage = sample.of(executor.pid?.cast_signed())?;
    let mem_mb = executor.limit("mem");
    Some(v1::ResourceStatistics {
        timestamp: Some(sample.taken.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()),
        cpus_limit: Some(executor.limit("cpus")).filter(|cpus| cpus.is_finite()),
        cpus_user_time_secs: Some(usage.user.as_secs_f64()),
        cpus_system_time_secs: Some(usage.system.as_secs_f64()),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, as meant")]
        mem_limit_bytes: mem_mb.is_finite().then_some((mem_mb * MEGABYTE) as u64),
        mem_rss_bytes: Some(usage.rss_bytes),
        processes: Some(usage.processes),
        threads: Some(usage.threads),
        ..Default::default()
    })
}

/// `/monitor/statistics`.
pub(super) async fn monitor(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let all: Vec<Value> = plain(app).await?.into_iter().map(|(shown, _)| shown).collect();
    Ok(json(&all.into(), query))
}

/// `/containers`: the same with the container and its status.
pub(super) async fn list(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let full = |(mut shown, container): (Value, get_containers::Container)| {
        shown["container_id"] = json!(container.container_id.and_then(|id| id.value));
        shown["status"] = json!(container.container_status);
        shown
    };
    let all: Vec<Value> = plain(app).await?.into_iter().map(full).collect();
    Ok(json(&all.into(), query))
}

async fn plain(app: &Arc<Inner>) -> Result<Vec<(Value, get_containers::Container)>, Refusal> {
    let known = known::look(app).await?;
    let sample = sample(app, &known).await?;
    let live = known.executors().filter(|(_, executor)| executor.is_live());
    let shown = live.map(|(framework, executor)| {
        let container = container(framework, executor, &sample);
        let mut shown = json!({
            "framework_id": framework.id,
            "executor_id": executor.id(),
            "executor_name": executor.info.name(),
            "source": executor.info.source(),
        });
        if let Some(statistics) = &container.resource_statistics {
            shown["statistics"] = json!(statistics);
        }
        (shown, container)
    });
    Ok(shown.collect())
}

/// What the core knows of one container.
enum Found {
    Running {
        supervisor: Option<u32>,
    },
    Ended {
        /// Raw wait status, if it is known beside the record of the exit.
        status: Option<i32>,
        /// The end of the command; that of an executor is no task's end.
        latest: Box<v1::TaskStatus>,
    },
}

fn find(agent: &Agent, container_id: &str) -> Option<Found> {
    if let Some(executor) = agent.executors().find(|one| one.container_id == container_id) {
        return Some(Found::Running { supervisor: executor.pid.filter(|pid| *pid > 1) });
    }
    if let Some(ended) = agent.completed_executors().find(|one| one.container_id == container_id) {
        return Some(Found::Ended { status: ended.status, latest: Box::default() });
    }
    let ended = |status: Option<i32>, latest: Option<&v1::TaskStatus>| Found::Ended {
        status,
        latest: Box::new(latest.cloned().unwrap_or_default()),
    };
    if let Some(task) = agent.tasks().find(|task| task.container_id == container_id) {
        return Some(match task.state.is_terminal() {
            true => ended(task.wait_status, task.latest),
            false => Found::Running { supervisor: task.pid.filter(|pid| *pid > 1) },
        });
    }
    let done = agent.completed_tasks().find(|task| task.container_id == container_id)?;
    Some(ended(done.wait_status, done.latest.as_ref()))
}

async fn look_for(app: &Arc<Inner>, container_id: &str) -> Result<Found, Refusal> {
    let wanted = container_id.to_owned();
    let found = app.handle.look(move |agent| find(agent, &wanted)).await.ok_or_else(Refusal::unavailable)?;
    found.ok_or_else(|| unknown(container_id))
}

fn unknown(container_id: &str) -> Refusal {
    Refusal::not_found(format!("container '{container_id}' cannot be found"))
}

/// Returns the name of a container of an executor.
///
/// # Errors
/// 400 without a name, 404 for a container inside another: there are none.
pub(super) fn name(container_id: Option<&v1::ContainerId>) -> Result<String, Refusal> {
    let id = container_id.ok_or_else(|| Refusal::bad_request("expecting 'container_id' to be present"))?;
    match (id.value(), &id.parent) {
        ("", _) => Err(Refusal::bad_request("expecting 'container_id.value' not to be empty")),
        (value, Some(parent)) => Err(unknown(&format!("{}.{value}", parent.value()))),
        (value, None) => Ok(value.to_owned()),
    }
}

/// Refuses a container that is not there.
pub(super) async fn must_exist(
    app: &Arc<Inner>,
    container_id: Option<&v1::ContainerId>,
) -> Result<(), Refusal> {
    look_for(app, &name(container_id)?).await.map(drop)
}

/// Waits for the end of a container, however long that takes.
pub(super) async fn wait(
    app: &Arc<Inner>,
    container_id: Option<&v1::ContainerId>,
) -> Result<WaitContainer, Refusal> {
    let name = name(container_id)?;
    // Before the first look, so that no change is missed between them.
    let mut changes = app.observed.changes();
    let (status, latest) = loop {
        match look_for(app, &name).await? {
            Found::Ended { status, latest } => break (status, latest),
            Found::Running { .. } => {}
        }
        tokio::select! {
            changed = changes.changed() => changed.map_err(|_| Refusal::unavailable())?,
            () = app.stop.cancelled() => return Err(Refusal::unavailable()),
        }
    };
    let folder = app.facts.layout.container(&name);
    // Of what ended before the agent started only the record knows; it goes when the end of the task is acknowledged.
    let recorded = blocking(move || {
        Ok(match records::read_exit(&folder) {
            Ok(Some(ExitRecord::Ended { status, .. })) => Some(status),
            Ok(_) | Err(_) => None,
        })
    });
    Ok(WaitContainer {
        exit_status: status.or(recorded.await?),
        state: latest.state,
        reason: latest.reason,
        limitation: latest.limitation,
        message: latest.message,
    })
}

/// Sends a signal, SIGKILL if none is named, to all processes of a container. Its task ends as by any signal.
pub(super) async fn kill(
    app: &Arc<Inner>,
    container_id: Option<&v1::ContainerId>,
    signal: Option<i32>,
) -> Result<Response, Refusal> {
    let name = name(container_id)?;
    let number = signal.unwrap_or(Signal::SIGKILL as i32);
    let signal = Signal::try_from(number)
        .map_err(|_| Refusal::bad_request(format!("'signal' {number} is not the number of a signal")))?;
    if let Found::Running { supervisor: Some(supervisor) } = look_for(app, &name).await? {
        let reached = blocking(move || Ok(signal_container(supervisor.cast_signed(), signal))).await?;
        tracing::info!(container_id = name, %signal, processes = reached, "an operator sent a signal");
    }
    Ok(empty(StatusCode::OK))
}
