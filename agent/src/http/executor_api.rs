//! `POST /api/v1/executor`: what executors say, and the stream on which they listen. Owns the order of the checks, which is a
//! part of the protocol: the first that fails decides the status.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tepui_agent_core::{ExecutorKey, Input, Standing, check_call};
use tepui_proto::v1::executor::{Call, call::Type};
use tepui_proto::{MediaType, wire};

use super::Inner;
use super::error::Refusal;
use crate::executor_tokens::Claims;
use crate::runtime::Count;

/// SUBSCRIBE carries tasks with the data of the executor, of 50 MB and more.
const BODY_BYTES_MAX: usize = 128 << 20;
/// From here on a call counts as large.
const LARGE: usize = 64 << 10;

/// `claims`: what the token of the caller says, if it was asked for one.
pub(super) async fn handle(
    app: &Arc<Inner>,
    request: Request,
    claims: Option<Claims>,
) -> Result<Response, Refusal> {
    let ready = app.handle.look(tepui_agent_core::Agent::is_ready).await.ok_or_else(Refusal::unavailable)?;
    if !ready {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the agent has not finished recovery"));
    }
    if request.method() != Method::POST {
        return Err(Refusal::method("POST"));
    }
    let (parts, body) = request.into_parts();
    let content_type = header(&parts.headers, &CONTENT_TYPE)
        .ok_or_else(|| Refusal::bad_request("expecting 'Content-Type' to be present"))?;
    let media = MediaType::from_content_type(content_type).ok_or_else(|| {
        let reason = format!("expecting 'Content-Type' of {} or {}", MediaType::Json, MediaType::Protobuf);
        Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason)
    })?;
    // Its share of the memory is held until the call is handed over.
    let body = app.bodies.read(body, BODY_BYTES_MAX).await?;
    let call: Call = wire::decode(media, &body.bytes)?;
    if call.r#type.is_none()
        && let Some(reason) = wire::unknown_type(media, &body.bytes)
    {
        return Err(Refusal::bad_request(reason));
    }
    let kind = call.r#type();
    let checked = check_call(&call).map_err(Refusal::bad_request);
    checked.inspect_err(|_| count_refused(app, kind))?;
    let mut out = MediaType::Json;
    if kind == Type::Subscribe {
        out = MediaType::negotiate(header(&parts.headers, &ACCEPT)).ok_or_else(|| {
            let reason =
                format!("expecting 'Accept' to allow {} or {}", MediaType::Json, MediaType::Protobuf);
            Refusal::new(StatusCode::NOT_ACCEPTABLE, reason)
        })?;
    }
    if kind == Type::Heartbeat {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let key = ExecutorKey::from_ids(call.framework_id.as_ref(), call.executor_id.as_ref())
        .ok_or_else(|| Refusal::bad_request("expecting 'framework_id' and 'executor_id'"))?;
    admit(app, &key, &call, claims).await.inspect_err(|_| count_refused(app, kind))?;
    let answer = dispatch(app, key, call, out).await;
    if body.bytes.len() >= LARGE {
        // It waits for the event loop among others: only when that has taken it there is room for more.
        app.handle.look(|_| ()).await;
    }
    answer
}

fn count_refused(app: &Inner, kind: Type) {
    if kind == Type::Update {
        app.observed.add(Count::InvalidUpdates, 1);
    }
}

async fn admit(
    app: &Arc<Inner>,
    key: &ExecutorKey,
    call: &Call,
    claims: Option<Claims>,
) -> Result<(), Refusal> {
    let (wanted, kind) = (key.clone(), call.r#type());
    let status = call.update.as_ref().and_then(|update| update.status.clone());
    let looked = app.handle.look(move |agent| {
        let room = status.is_none_or(|status| agent.has_room_for(&wanted, &status));
        // Only where they are known there is something to be compared.
        let proven = agent.executor_container(&wanted).zip(claims).is_none_or(|(container_id, claims)| {
            claims == Claims::new(&wanted.framework_id, &wanted.executor_id, container_id)
        });
        (agent.executor_standing(&wanted), agent.awaits_executors(), proven, room)
    });
    let (standing, recovering, proven, room) = looked.await.ok_or_else(Refusal::unavailable)?;
    refuse(key, standing, recovering, proven, kind)?;
    if room { Ok(()) } else { Err(Refusal::too_many("too many updates of the task wait for the scheduler")) }
}

/// `recovering`: some executors of an earlier run may still come back; until they do only those that did are heard.
fn refuse(
    key: &ExecutorKey,
    standing: Standing,
    recovering: bool,
    proven: bool,
    kind: Type,
) -> Result<(), Refusal> {
    match standing {
        Standing::Subscribed if proven => Ok(()),
        other if other != Standing::Subscribed && recovering && kind != Type::Subscribe => {
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the agent has not finished recovery"))
        }
        Standing::UnknownFramework => {
            Err(Refusal::bad_request(format!("framework {} cannot be found", key.framework_id)))
        }
        Standing::UnknownExecutor => {
            Err(Refusal::bad_request(format!("executor {} cannot be found", key.executor_id)))
        }
        _ if !proven => {
            let reason = "the token was given to another framework, executor or container";
            Err(Refusal::new(StatusCode::FORBIDDEN, reason))
        }
        _ if kind == Type::Subscribe => Ok(()),
        Standing::Subscribed | Standing::Recovering | Standing::NotSubscribed => {
            Err(Refusal::new(StatusCode::FORBIDDEN, "executor is not subscribed"))
        }
    }
}

async fn dispatch(
    app: &Arc<Inner>,
    key: ExecutorKey,
    call: Call,
    out: MediaType,
) -> Result<Response, Refusal> {
    match call.r#type() {
        Type::Subscribe => {
            let (connection, inlet) = app.handle.executors().open(key.clone(), out);
            let subscribe = Box::new(call.subscribe.unwrap_or_default());
            app.handle.input(Input::ExecutorSubscribed { executor: key, connection, subscribe }).await;
            let mut response = Response::new(Body::from_stream(inlet));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(out.as_str()));
            return Ok(response);
        }
        Type::Update => {
            let status = call.update.and_then(|update| update.status).unwrap_or_default();
            app.handle.input(Input::ExecutorUpdate { executor: key, status: Box::new(status) }).await;
        }
        Type::Message => {
            let data = call.message.and_then(|message| message.data).unwrap_or_default();
            app.handle.input(Input::ExecutorMessage { executor: key, data }).await;
        }
        Type::Heartbeat | Type::Unknown => {}
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
