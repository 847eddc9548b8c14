//! `POST /api/v1`: the operator calls of Mesos' agents. Owns which call needs what, and which wait for later: 501.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use tepui_proto::{MediaType, v1, wire};
use v1::agent::{Call, Response as Answer, call, response};

use super::admission::{self, Admitted, Form};
use super::error::Refusal;
use super::files::{self, Entry};
use super::known::Known;
use super::{Inner, answer, containers, known, logging, metrics, tasks};
use crate::{MESOS_VERSION, PRODUCT_VERSION};

/// What a call gets.
enum Reply {
    Message(Box<Answer>),
    /// An answer without a message.
    Plain(Response),
}

pub(super) async fn handle(app: &Arc<Inner>, request: Request) -> Result<Response, Refusal> {
    let Admitted { content, answer: form, body } = admission::post(request)?;
    let call: Call = match content {
        Form::Whole(media) => {
            let body = app.bodies.read(body, admission::BODY_BYTES_MAX).await?;
            read(media, &body.bytes)?
        }
        Form::Records(media) => read(media, &admission::first_record(&app.bodies, body).await?)?,
    };
    check_forms(&call, content, form)?;
    let media = match form {
        Form::Whole(media) | Form::Records(media) => media,
    };
    match reply(app, call).await? {
        Reply::Message(message) => Ok(whole(media, &message)),
        Reply::Plain(response) => Ok(response),
    }
}

fn read(media: MediaType, body: &[u8]) -> Result<Call, Refusal> {
    let call: Call = wire::decode(media, body)?;
    match call.r#type.is_none().then(|| wire::unknown_type(media, body)).flatten() {
        Some(reason) => Err(Refusal::bad_request(reason)),
        None => Ok(call),
    }
}

fn whole(media: MediaType, message: &Answer) -> Response {
    answer(media.as_str(), wire::encode(media, message))
}

/// Only what is put into a container comes as a stream, and only what comes out of one goes as a stream.
fn check_forms(call: &Call, content: Form, answer: Form) -> Result<(), Refusal> {
    use call::Type;
    let kind = call.r#type();
    let is_input = kind == Type::AttachContainerInput;
    let has_output =
        [Type::AttachContainerInput, Type::AttachContainerOutput, Type::LaunchNestedContainerSession]
            .contains(&kind);
    let name = kind.as_str_name();
    match (content, answer) {
        _ if kind == Type::Unknown => Err(Refusal::bad_request("expecting 'type' to be present")),
        (Form::Records(_), _) if !is_input => {
            let reason = format!("a streaming 'Content-Type' is not supported for {name}");
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason))
        }
        (Form::Whole(_), _) if is_input => {
            let reason = format!("expecting 'Content-Type' of application/recordio for {name}");
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason))
        }
        (_, Form::Records(_)) if !has_output => {
            let reason = format!("a streaming answer is not supported for {name}");
            Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, reason))
        }
        _ => Ok(()),
    }
}

async fn reply(app: &Arc<Inner>, call: Call) -> Result<Reply, Refusal> {
    use call::Type;
    match call.r#type() {
        Type::GetHealth => message(response::Type::GetHealth, |answer| {
            answer.get_health = Some(response::GetHealth { healthy: Some(true) });
        }),
        Type::GetVersion => message(response::Type::GetVersion, |answer| {
            let mut version_info = v1::VersionInfo {
                version: Some(MESOS_VERSION.to_owned()),
                build_user: Some(format!("tepui {PRODUCT_VERSION}")),
                ..Default::default()
            };
            app.facts.origin.add_to_info(&mut version_info);
            answer.get_version = Some(response::GetVersion { version_info: Some(version_info) });
        }),
        Type::GetFlags => message(response::Type::GetFlags, |answer| {
            let flag = |(name, value): &(String, String)| v1::Flag {
                name: Some(name.clone()),
                value: Some(value.clone()),
            };
            let flags = app.facts.flags.iter().map(flag).collect();
            answer.get_flags = Some(response::GetFlags { flags });
        }),
        Type::GetMetrics => {
            if call.get_metrics.is_none() {
                return Err(Refusal::bad_request("expecting 'get_metrics' to be present"));
            }
            let metric = |(name, value)| v1::Metric { name: Some(name), value: Some(value) };
            let metrics = metrics::all(app).await?.into_iter().map(metric).collect();
            message(response::Type::GetMetrics, |answer| {
                answer.get_metrics = Some(response::GetMetrics { metrics });
            })
        }
        Type::GetLoggingLevel => message(response::Type::GetLoggingLevel, |answer| {
            answer.get_logging_level = Some(response::GetLoggingLevel { level: Some(app.logging.level()) });
        }),
        Type::SetLoggingLevel => logging::set(app, call.set_logging_level).map(Reply::Plain),
        Type::ListFiles => list_files(app, call.list_files).await,
        Type::ReadFile => read_file(app, call.read_file).await,
        Type::GetTasks | Type::GetExecutors | Type::GetFrameworks | Type::GetState | Type::GetAgent => {
            read_state(app, call.r#type()).await
        }
        Type::GetOperations => {
            let operations = known::operations(app).await?;
            message(response::Type::GetOperations, |answer| {
                answer.get_operations = Some(response::GetOperations { operations });
            })
        }
        Type::GetResourceProviders => message(response::Type::GetResourceProviders, |answer| {
            answer.get_resource_providers = Some(response::GetResourceProviders::default());
        }),
        Type::GetContainers => {
            let containers = containers::get(app).await?;
            message(response::Type::GetContainers, |answer| answer.get_containers = Some(containers))
        }
        _ => container_call(app, call).await,
    }
}

async fn read_state(app: &Arc<Inner>, kind: call::Type) -> Result<Reply, Refusal> {
    let known = known::look(app).await?;
    match kind {
        call::Type::GetTasks => message(response::Type::GetTasks, |answer| {
            answer.get_tasks = Some(tasks::get_tasks(&known));
        }),
        call::Type::GetExecutors => message(response::Type::GetExecutors, |answer| {
            answer.get_executors = Some(tasks::get_executors(&known));
        }),
        call::Type::GetFrameworks => message(response::Type::GetFrameworks, |answer| {
            answer.get_frameworks = Some(tasks::get_frameworks(&known));
        }),
        call::Type::GetState => message(response::Type::GetState, |answer| {
            answer.get_state = Some(tasks::get_state(&known));
        }),
        _ => message(response::Type::GetAgent, |answer| answer.get_agent = Some(get_agent(known))),
    }
}

fn get_agent(known: Known) -> response::GetAgent {
    let start = known.drain_start_seconds();
    let nanoseconds = |seconds: i64| Some(seconds.saturating_mul(1_000_000_000));
    response::GetAgent {
        estimated_drain_start_time: start.map(|seconds| v1::TimeInfo { nanoseconds: nanoseconds(seconds) }),
        drain_config: known.drain.and_then(|drain| drain.config),
        agent_info: Some(known.info),
    }
}

/// Calls about one container, and those that this agent cannot carry out. What is wrong with a call is told first.
async fn container_call(app: &Arc<Inner>, call: Call) -> Result<Reply, Refusal> {
    use call::Type;
    let kind = call.r#type();
    let absent = || Refusal::bad_request(format!("expecting '{}' to be present", member(kind)));
    match kind {
        Type::WaitContainer => {
            let wait = call.wait_container.ok_or_else(absent)?;
            let ended = containers::wait(app, wait.container_id.as_ref()).await?;
            message(response::Type::WaitContainer, |answer| answer.wait_container = Some(ended))
        }
        Type::WaitNestedContainer => {
            let wait = call.wait_nested_container.ok_or_else(absent)?;
            let ended = containers::wait(app, wait.container_id.as_ref()).await?;
            message(response::Type::WaitNestedContainer, |answer| {
                answer.wait_nested_container = Some(response::WaitNestedContainer {
                    exit_status: ended.exit_status,
                    state: ended.state,
                    reason: ended.reason,
                    limitation: ended.limitation,
                    message: ended.message,
                });
            })
        }
        Type::KillContainer => {
            let kill = call.kill_container.ok_or_else(absent)?;
            containers::kill(app, kill.container_id.as_ref(), kill.signal).await.map(Reply::Plain)
        }
        Type::KillNestedContainer => {
            let kill = call.kill_nested_container.ok_or_else(absent)?;
            containers::kill(app, kill.container_id.as_ref(), kill.signal).await.map(Reply::Plain)
        }
        Type::RemoveContainer => {
            let remove = call.remove_container.ok_or_else(absent)?;
            containers::must_exist(app, remove.container_id.as_ref()).await?;
            Err(not_built(kind))
        }
        Type::RemoveNestedContainer => {
            let remove = call.remove_nested_container.ok_or_else(absent)?;
            containers::must_exist(app, remove.container_id.as_ref()).await?;
            Err(not_built(kind))
        }
        Type::AttachContainerOutput => {
            let attach = call.attach_container_output.ok_or_else(absent)?;
            containers::must_exist(app, attach.container_id.as_ref()).await?;
            Err(not_built(kind))
        }
        Type::AttachContainerInput => {
            let attach = call.attach_container_input.ok_or_else(absent)?;
            if attach.r#type() != call::attach_container_input::Type::ContainerId {
                return Err(Refusal::bad_request("expecting the first record to be of type CONTAINER_ID"));
            }
            containers::must_exist(app, attach.container_id.as_ref()).await?;
            Err(not_built(kind))
        }
        _ => Err(not_built(kind)),
    }
}

fn not_built(kind: call::Type) -> Refusal {
    let reason = format!("{} is not implemented by this agent", kind.as_str_name());
    Refusal::new(StatusCode::NOT_IMPLEMENTED, reason)
}

/// The member of a call is named like its type.
fn member(kind: call::Type) -> String {
    kind.as_str_name().to_lowercase()
}

async fn list_files(app: &Arc<Inner>, call: Option<call::ListFiles>) -> Result<Reply, Refusal> {
    let call = call.ok_or_else(|| Refusal::bad_request("expecting 'list_files' to be present"))?;
    let entries = files::list(app, call.path()).await?;
    let file_infos = entries.into_iter().map(|Entry { path, metadata }| file_info(path, &metadata)).collect();
    message(response::Type::ListFiles, |answer| {
        answer.list_files = Some(response::ListFiles { file_infos });
    })
}

async fn read_file(app: &Arc<Inner>, call: Option<call::ReadFile>) -> Result<Reply, Refusal> {
    let call = call.ok_or_else(|| Refusal::bad_request("expecting 'read_file' to be present"))?;
    let length = call.length.unwrap_or(files::READ_BYTES_MAX).min(files::READ_BYTES_MAX);
    let part = files::part(app, call.path(), call.offset(), length).await?;
    let read = response::ReadFile { size: Some(part.size), data: Some(part.data.into()) };
    message(response::Type::ReadFile, |answer| answer.read_file = Some(read))
}

fn file_info(path: String, metadata: &Metadata) -> v1::FileInfo {
    v1::FileInfo {
        path: Some(path),
        nlink: i32::try_from(metadata.nlink()).ok(),
        size: Some(metadata.len()),
        mtime: Some(v1::TimeInfo { nanoseconds: Some(metadata.mtime().saturating_mul(1_000_000_000)) }),
        mode: Some(metadata.mode()),
        uid: Some(metadata.uid().to_string()),
        gid: Some(metadata.gid().to_string()),
    }
}

fn message(kind: response::Type, fill: impl FnOnce(&mut Answer)) -> Result<Reply, Refusal> {
    let mut answer = Answer { r#type: Some(kind.into()), ..Default::default() };
    fill(&mut answer);
    Ok(Reply::Message(Box::new(answer)))
}
