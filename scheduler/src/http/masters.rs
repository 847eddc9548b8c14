//! `GET /tepui/v1/masters`: who leads and which masters there are, from every master, as it changes. Open to everyone, as `/redirect` is.
//!
//! Owns the HTTP form and the number of those who listen. What is said is `runtime/masters.rs`'.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures::stream;
use futures::{Stream, StreamExt};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use tepui_proto::MediaType;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::http::error::{Refusal, empty};
use crate::http::route::Route;
use crate::http::{App, admission};
use crate::runtime::masters::Told;

/// What was said last is said again after this, so that a listener can tell a silent master from a dead one.
const REPEAT: Duration = Duration::from_secs(15);
/// Header with the list of masters on what the leading one answers.
const MASTERS: HeaderName = HeaderName::from_static("tepui-masters");

/// Answers one request.
pub(crate) fn handle(app: &App, request: &Request) -> Result<Response, Refusal> {
    match *request.method() {
        Method::GET => {}
        Method::HEAD => return Ok(empty(StatusCode::OK)),
        ref other => return Err(Refusal::method("GET", other)),
    }
    let media = admission::accepted(request.headers())?;
    let place = app.listeners.clone().try_acquire_owned();
    let place = place.map_err(|_| Refusal::unavailable("too many listeners"))?;
    let records = records(app.masters.clone(), media, place).take_until(app.stop.clone().cancelled_owned());
    let mut response = Response::new(Body::from_stream(records.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media.as_str()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn records(
    mut told: watch::Receiver<Arc<Told>>,
    media: MediaType,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = bytes::Bytes> {
    told.mark_changed();
    stream::unfold((told, place), move |(mut told, place)| async move {
        if let Ok(Err(_)) = tokio::time::timeout(REPEAT, told.changed()).await {
            return None;
        }
        let record = told.borrow_and_update().record(media);
        Some((record, (told, place)))
    })
}

/// Adds the list of masters to what the leading one answers to clients that may want to remember it. Bodies carry what Mesos' would.
pub(crate) fn stamp(app: &App, route: Option<Route>, response: &mut Response) {
    if matches!(route, Some(Route::Scheduler | Route::Operator | Route::TepuiOperator | Route::Redirect))
        && let Some(list) = app.masters.borrow().header()
    {
        response.headers_mut().insert(MASTERS, list.clone());
    }
}
