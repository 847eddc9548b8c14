//! `GET /tepui/v1/events`: what every master shows live, standbys included. Owns the HTTP form; `runtime/events` the content.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::StreamExt;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};

use crate::http::App;
use crate::http::error::{Refusal, empty};

/// Answers one request.
pub(crate) fn handle(app: &App, request: &Request) -> Result<Response, Refusal> {
    match *request.method() {
        Method::GET => {}
        Method::HEAD => return Ok(with_headers(empty(StatusCode::OK))),
        ref other => return Err(Refusal::method("GET", other)),
    }
    let subscription = app.events.subscribe().ok_or_else(|| Refusal::unavailable("too many subscribers"))?;
    let chunks = subscription.take_until(app.stop.clone().cancelled_owned());
    Ok(with_headers(Response::new(Body::from_stream(chunks.map(Ok::<_, std::convert::Infallible>)))))
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
