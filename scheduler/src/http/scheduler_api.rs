//! `POST /api/v1/scheduler`: what frameworks say. Owns the order in which a call is examined; what it means is the core's.

use axum::extract::Request;
use axum::response::Response;
use hyper::header::{HeaderName, HeaderValue};
use tepui_proto::v1::scheduler::Call;
use tepui_proto::v1::scheduler::call::Type;
use tepui_proto::wire;
use tepui_scheduler_core::validation;

use crate::http::auth::Principal;
use crate::http::error::Refusal;
use crate::http::rate::Sender;
use crate::http::{App, admission, answer, redirect};

const STREAM_ID: &str = "mesos-stream-id";
const DRIVER_TOKEN: &str = "tepui-driver-token";

/// Answers one request of an authenticated principal. From row 3 on the rows of the admission order stand in their order.
pub(crate) async fn handle(app: &App, request: Request, principal: Principal) -> Result<Response, Refusal> {
    if let Err(elsewhere) = redirect::leading(&app.role.borrow()) {
        return Ok(elsewhere.answer(request.uri()));
    }
    let admitted = admission::post(request, app.limits.body_bytes).await?;
    let call: Call = wire::decode(admitted.media, &admitted.body)?;
    if call.r#type.is_none()
        && let Some(reason) = wire::unknown_type(admitted.media, &admitted.body)
    {
        return Err(Refusal::bad_request(reason));
    }
    validation::call(&call)?;
    validation::principal(&call, principal.as_deref())?;

    let headers = &admitted.parts.headers;
    let kind = call.r#type.and_then(|kind| Type::try_from(kind).ok()).unwrap_or(Type::Unknown);
    let stream_id = admission::header(headers, STREAM_ID);
    let media = match kind {
        Type::Subscribe | Type::ReconcileOperations => admission::accepted(headers)?,
        _ => admitted.media,
    };
    match kind {
        Type::Subscribe => {
            app.stats.call(&call, kind);
            if headers.contains_key(STREAM_ID) {
                return Err(Refusal::bad_request(
                    "subscribe calls should not include the 'Mesos-Stream-Id' header",
                ));
            }
            let token = admission::header(headers, DRIVER_TOKEN);
            let opened = app
                .handle
                .subscribe(call, principal, token, media)
                .await
                .map_err(|_| answer::unavailable())?;
            let mut response = answer::stream(media, opened.inlet);
            let value = HeaderValue::from_str(&opened.stream_id).map_err(|_| answer::unavailable())?;
            response.headers_mut().insert(HeaderName::from_static(STREAM_ID), value);
            Ok(response)
        }
        _ => {
            let sender = Sender::of(&call, &principal, &app.board.newest().registry);
            // Numbers are for the principals of frameworks, of which there are only so many.
            let counted = sender.principal.as_deref().filter(|_| sender.known);
            if let Some(principal) = counted {
                app.stats.principals.received(principal, &app.board.newest().registry);
            }
            app.rate.admit(&sender)?;
            app.stats.call(&call, kind);
            let reply = app.handle.call(call, stream_id, principal).await;
            if let Some(principal) = counted {
                app.stats.principals.processed(principal);
            }
            answer::reply(media, reply.inspect(|reply| app.stats.answered(kind, reply)))
        }
    }
}
