//! `POST /api/v1`: the operator calls of Mesos' agents, as far as they have a meaning here; the others answer 501.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use tepui_proto::{MediaType, v1, wire};
use v1::agent::{Call, Response as Answer, call, response};

use super::error::Refusal;
use super::files::{self, Entry};
use super::{Inner, answer, tasks};
use crate::MESOS_VERSION;

/// No call that is answered here comes near it.
const BODY_BYTES_MAX: usize = 1 << 20;

pub(super) async fn handle(app: &Arc<Inner>, request: Request) -> Result<Response, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::method("POST"));
    }
    let (parts, body) = request.into_parts();
    let content_type = header(&parts.headers, &CONTENT_TYPE)
        .ok_or_else(|| Refusal::bad_request("expecting 'Content-Type'"))?;
    let media = MediaType::from_content_type(content_type).ok_or_else(|| {
        let reason = format!("expecting 'Content-Type' of {} or {}", MediaType::Json, MediaType::Protobuf);
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason)
    })?;
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is cut off or too large"))?;
    let call: Call = wire::decode(media, &body)?;
    let accept = header(&parts.headers, &ACCEPT);
    let out = MediaType::negotiate(accept).ok_or_else(|| {
        let reason = format!("expecting 'Accept' to allow {} or {}", MediaType::Json, MediaType::Protobuf);
        Refusal::new(StatusCode::NOT_ACCEPTABLE, reason)
    })?;
    let reply = reply(app, call).await?;
    Ok(answer(out.as_str(), wire::encode(out, &reply)))
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn reply(app: &Arc<Inner>, call: Call) -> Result<Answer, Refusal> {
    use call::Type;
    let look = |kind: response::Type, fill: fn(&tepui_agent_core::Agent, &mut Answer)| async move {
        let filled = app.handle.look(move |agent| {
            let mut answer = empty(kind);
            fill(agent, &mut answer);
            answer
        });
        filled.await.ok_or_else(Refusal::unavailable)
    };
    match call.r#type() {
        Type::GetHealth => Ok(Answer {
            get_health: Some(response::GetHealth { healthy: Some(true) }),
            ..empty(response::Type::GetHealth)
        }),
        Type::GetVersion => {
            let version_info =
                v1::VersionInfo { version: Some(MESOS_VERSION.to_owned()), ..Default::default() };
            Ok(Answer {
                get_version: Some(response::GetVersion { version_info: Some(version_info) }),
                ..empty(response::Type::GetVersion)
            })
        }
        Type::GetTasks => {
            look(response::Type::GetTasks, |agent, answer| answer.get_tasks = Some(tasks::get_tasks(agent)))
                .await
        }
        Type::GetFrameworks => {
            look(response::Type::GetFrameworks, |agent, answer| {
                answer.get_frameworks = Some(tasks::get_frameworks(agent));
            })
            .await
        }
        Type::GetState => {
            look(response::Type::GetState, |agent, answer| {
                answer.get_state = Some(response::GetState {
                    get_tasks: Some(tasks::get_tasks(agent)),
                    get_executors: Some(response::GetExecutors::default()),
                    get_frameworks: Some(tasks::get_frameworks(agent)),
                });
            })
            .await
        }
        Type::GetAgent => {
            look(response::Type::GetAgent, |agent, answer| {
                let mut info = agent.config().agent_info.clone();
                let id = Some(agent.agent_id()).filter(|id| !id.is_empty());
                info.id = id.map(|id| v1::AgentId { value: Some(id.to_owned()) });
                answer.get_agent = Some(response::GetAgent { agent_info: Some(info), ..Default::default() });
            })
            .await
        }
        Type::ListFiles => list_files(app, call.list_files).await,
        Type::ReadFile => read_file(app, call.read_file).await,
        Type::Unknown => Err(Refusal::bad_request("expecting 'type' to be present")),
        other => {
            let reason = format!("{} is not implemented by this agent", other.as_str_name());
            Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, reason))
        }
    }
}

async fn list_files(app: &Arc<Inner>, call: Option<call::ListFiles>) -> Result<Answer, Refusal> {
    let call = call.ok_or_else(|| Refusal::bad_request("expecting 'list_files' to be present"))?;
    let virtual_path = call.path().to_owned();
    let path = files::resolve(app, &virtual_path).await?;
    let entries = files::blocking(move || files::list(&path, &virtual_path)).await?;
    let file_infos = entries.into_iter().map(|Entry { path, metadata }| file_info(path, &metadata)).collect();
    Ok(Answer { list_files: Some(response::ListFiles { file_infos }), ..empty(response::Type::ListFiles) })
}

async fn read_file(app: &Arc<Inner>, call: Option<call::ReadFile>) -> Result<Answer, Refusal> {
    let call = call.ok_or_else(|| Refusal::bad_request("expecting 'read_file' to be present"))?;
    let path = files::resolve(app, call.path()).await?;
    let offset = call.offset();
    let length = call.length.unwrap_or(files::READ_BYTES_MAX).min(files::READ_BYTES_MAX);
    let part = files::blocking(move || files::read_part(&path, offset, length)).await?;
    let read = response::ReadFile { size: Some(part.size), data: Some(part.data.into()) };
    Ok(Answer { read_file: Some(read), ..empty(response::Type::ReadFile) })
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

fn empty(kind: response::Type) -> Answer {
    Answer { r#type: Some(kind.into()), ..Default::default() }
}
