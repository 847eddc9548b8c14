//! The agent's own endpoints: what Mesos' agents answer, and a plain way to read a task's files.
//!
//! | path | what |
//! |---|---|
//! | `/health`, `/version`, `/state`, `/metrics`, `/metrics/snapshot` | the agent itself |
//! | `/files/read`, `/files/browse`, `/files/download` | sandboxes, by virtual path or by the directory that `/state` names |
//! | `POST /api/v1` | the operator calls of Mesos' agents |
//! | `/tepui/v1/sandbox` | a part of one file of a task |
//!
//! Each also answers below `/slave(1)` and with `.json` behind it, as old tools ask. Owns routes and status codes; decides
//! nothing.

mod error;
mod files;
mod legacy;
mod metrics;
mod operator_api;
mod query;
mod sandbox_api;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::error::Refusal;
use crate::layout::Layout;
use crate::runtime::Handle;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct App {
    inner: Arc<Inner>,
}

struct Inner {
    handle: Handle,
    layout: Layout,
    address: SocketAddr,
    started: Instant,
    started_at: SystemTime,
}

impl App {
    pub(crate) fn new(handle: Handle, layout: Layout, address: SocketAddr) -> Self {
        let inner = Inner { handle, layout, address, started: Instant::now(), started_at: SystemTime::now() };
        Self { inner: Arc::new(inner) }
    }
}

/// Answers requests until `stop`.
pub(crate) async fn serve(listener: TcpListener, app: App, stop: CancellationToken) {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection may answer late");
        }
    });
    let serving = axum::serve(listener, router(app)).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::warn!(%error, "the agent's endpoints failed");
    }
}

fn router(app: App) -> Router {
    Router::new().fallback(dispatch).with_state(app)
}

async fn dispatch(State(app): State<App>, request: Request) -> Response {
    match route(&app.inner, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn route(app: &Arc<Inner>, request: Request) -> Result<Response, Refusal> {
    let path = request.uri().path().to_owned();
    let path = path.strip_prefix("/slave(1)").or_else(|| path.strip_prefix("/slave")).unwrap_or(&path);
    let path = path.strip_suffix(".json").unwrap_or(path).trim_end_matches('/');
    let query = query::Query::new(request.uri().query());
    if path == "/api/v1" || path.starts_with("/api/v1/operator") {
        return operator_api::handle(app, request).await;
    }
    // As in Mesos, endpoints that only read do not mind how they are asked; but nothing is changed here by any method.
    if ![Method::GET, Method::HEAD, Method::POST].contains(request.method()) {
        return Err(Refusal::method("GET"));
    }
    match path {
        "/health" => Ok(StatusCode::OK.into_response()),
        "/version" => Ok(legacy::version(&query)),
        "/state" => legacy::state(app, &query).await,
        "/metrics" => metrics::prometheus(app).await,
        "/metrics/snapshot" => metrics::snapshot(app, &query).await,
        "/files/read" => files::read(app, &query).await,
        "/files/browse" => files::browse(app, &query).await,
        "/files/download" => files::download(app, &query).await,
        "/tepui/v1/sandbox" => sandbox_api::read(app, &query).await,
        _ => Err(Refusal::not_found("there is nothing here")),
    }
}

/// Returns an answer with this type and body.
fn answer(content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Returns JSON, or a call of the function that an old page wants around it.
fn json(value: &serde_json::Value, query: &query::Query) -> Response {
    let bytes = tepui_proto::json::to_vec(value).unwrap_or_else(|_| b"{}".to_vec());
    let is_name = |name: &&str| {
        !name.is_empty()
            && name.len() <= 100
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.$".contains(c))
    };
    match query.get("jsonp").filter(is_name) {
        Some(name) => {
            let body = [name.as_bytes(), b"(", &bytes, b");"].concat();
            answer("text/javascript", body)
        }
        None => answer("application/json", bytes),
    }
}
