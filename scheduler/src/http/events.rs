//! `GET /tepui/v1/events`: what every master shows live, standbys included. Owns the HTTP form; `runtime/events` the content.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::StreamExt;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, ORIGIN, VARY};
use hyper::{HeaderMap, Method, StatusCode};

use crate::http::App;
use crate::http::error::{Refusal, empty};

/// Answers one request.
pub(crate) fn handle(app: &App, request: &Request) -> Result<Response, Refusal> {
    let origin = allowed_origin(app, request.headers());
    match *request.method() {
        Method::GET => {}
        Method::HEAD => return Ok(with_headers(empty(StatusCode::OK), origin)),
        ref other => return Err(Refusal::method("GET", other)),
    }
    let subscription = app.events.subscribe().ok_or_else(|| Refusal::unavailable("too many subscribers"))?;
    let chunks = subscription.take_until(app.stop.clone().cancelled_owned());
    let body = Body::from_stream(chunks.map(Ok::<_, std::convert::Infallible>));
    Ok(with_headers(Response::new(body), origin))
}

/// A page that came from another master of this cluster may follow this one when its own is gone. No other page may.
fn allowed_origin(app: &App, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let host = origin.to_str().ok()?.strip_prefix("http://")?;
    let members = app.replica.status().members;
    members.values().any(|(peer, _)| peer.api_addr == host).then(|| origin.clone())
}

fn with_headers(mut response: Response, origin: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}
