//! `POST /tepui/v1/agent`: the conversation between an agent and the leading master. Our own, protobuf only.
//!
//! Owns the check of the cluster's secret. What a call must look like and what it means is the core's.

use axum::extract::Request;
use axum::response::Response;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use tepui_proto::MediaType;
use tepui_proto::tepui::agent_link::Call;
use tepui_proto::tepui::agent_link::call::Type;
use tepui_proto::wire;
use tepui_scheduler_core::validation;

use crate::config::Secret;
use crate::http::error::Refusal;
use crate::http::{App, admission, answer, redirect};

const STREAM_ID: &str = "tepui-agent-stream-id";
const SECRET: &str = "tepui-cluster-secret";

/// Answers one request of an agent.
pub(crate) async fn handle(app: &App, request: Request) -> Result<Response, Refusal> {
    if let Err(elsewhere) = redirect::leading(&app.role.borrow()) {
        return Ok(elsewhere.answer(request.uri()));
    }
    check_secret(app.secret.as_ref(), request.headers())?;
    let admitted = admission::post(request, app.limits.body_bytes).await?;
    if admitted.media != MediaType::Protobuf {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("expecting 'Content-Type' of {}", MediaType::Protobuf),
        ));
    }
    let call: Call = wire::decode(admitted.media, &admitted.body)?;
    validation::agent_call(&call)?;
    let kind = call.r#type.and_then(|kind| Type::try_from(kind).ok()).unwrap_or(Type::Unknown);
    app.stats.agent_call(&call, kind);
    match kind {
        Type::Unknown => Err(Refusal::bad_request("expecting 'type' to be present")),
        Type::Register | Type::Attach => {
            let opened = app.handle.agent_register(call).await.map_err(|_| answer::unavailable())?;
            let mut response = answer::stream(MediaType::Protobuf, opened.inlet);
            let value = HeaderValue::from_str(&opened.stream_id).map_err(|_| answer::unavailable())?;
            response.headers_mut().insert(HeaderName::from_static(STREAM_ID), value);
            Ok(response)
        }
        _ => {
            let stream_id = admission::header(&admitted.parts.headers, STREAM_ID);
            let reply = app.handle.agent_call(call, stream_id).await;
            answer::reply(MediaType::Protobuf, reply.inspect(|reply| app.stats.agent_answered(kind, reply)))
        }
    }
}

/// Whoever does not show the cluster's secret is no agent of it.
fn check_secret(secret: Option<&Secret>, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(secret) = secret else { return Ok(()) };
    let shown = headers.get(SECRET).map(HeaderValue::as_bytes).unwrap_or_default();
    // Digests are compared, so that the time taken tells nothing about how much of the secret was right.
    if Sha256::digest(shown) == Sha256::digest(secret.expose().as_bytes()) {
        Ok(())
    } else {
        Err(Refusal::new(StatusCode::FORBIDDEN, "the cluster's secret is missing or wrong"))
    }
}
