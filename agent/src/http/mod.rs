//! The agent's own endpoints: what Mesos' agents answer, and a plain way to read a task's files.
//!
//! | path | what |
//! |---|---|
//! | `/health`, `/version`, `/flags`, `/state`, `/metrics`, `/metrics/snapshot` | the agent itself |
//! | `/containers`, `/monitor/statistics` | containers and what they use |
//! | `/files/read`, `/files/browse`, `/files/download`, `/files/debug` | sandboxes, by virtual path or by the directory that `/state` names |
//! | `/system/stats.json`, `/logging/toggle`, `/help` | what every process of Mesos has |
//! | `POST /api/v1` | the operator calls of Mesos' agents |
//! | `POST /api/v1/executor` | the executor API |
//! | `/tepui/v1/sandbox` | a part of one file of a task |
//!
//! Owns the ways in: routes, what is answered during the recovery, compression. Decides nothing.

mod admission;
mod bodies;
mod containers;
mod copy;
mod error;
mod executor_api;
mod executor_auth;
mod files;
mod gzip;
mod known;
mod legacy;
mod listener;
mod logging;
mod metrics;
mod operator_api;
mod places;
mod process;
mod query;
mod route;
mod sandbox_api;
mod tasks;
mod values;
mod within;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tepui_proto::origin::Origin;
use tepui_proto::plain;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::bodies::Bodies;
use self::error::Refusal;
use self::logging::Logging;
use self::route::Route;
use crate::LogLevel;
use crate::containerizer::Sampler;
use crate::executor_tokens::Tokens;
use crate::layout::Layout;
use crate::runtime::{Handle, Observed};

pub(crate) use self::listener::serve;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct App {
    inner: Arc<Inner>,
}

/// What never changes while an agent runs.
pub(crate) struct Facts {
    pub(crate) layout: Layout,
    /// Where others reach the agent.
    pub(crate) address: SocketAddr,
    pub(crate) flags: Vec<(String, String)>,
    pub(crate) origin: Origin,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) log_level: Option<LogLevel>,
    pub(crate) gc_delay: Duration,
    /// How long the beginning of a body may take.
    pub(crate) body_timeout: Duration,
    /// Checks what executors show, if they are asked.
    pub(crate) executor_tokens: Option<Tokens>,
}

struct Inner {
    facts: Facts,
    handle: Handle,
    observed: Arc<Observed>,
    sampler: Sampler,
    logging: Logging,
    bodies: Bodies,
    started_at: SystemTime,
    /// Owns what goes on after an answer.
    tracker: TaskTracker,
    /// The agent goes down: nobody waits any longer.
    stop: CancellationToken,
}

impl App {
    pub(crate) fn new(
        mut facts: Facts,
        handle: Handle,
        observed: Arc<Observed>,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let logging = Logging::new(facts.log_level.take());
        let bodies = Bodies::new(facts.body_timeout);
        let inner = Inner {
            facts,
            handle,
            observed,
            sampler: Sampler::default(),
            logging,
            bodies,
            started_at: SystemTime::now(),
            tracker,
            stop,
        };
        Self { inner: Arc::new(inner) }
    }
}

fn router(app: App) -> Router {
    // One fallback instead of axum's routes: Mesos matches by the longest prefix, and what reads does not mind the method.
    Router::new().fallback(dispatch).with_state(app)
}

async fn dispatch(State(app): State<App>, request: Request) -> Response {
    let wants_gzip = gzip::is_wanted(request.headers());
    match handle(&app.inner, request).await {
        Ok(response) if wants_gzip => gzip::compress(response).await,
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn handle(app: &Arc<Inner>, request: Request) -> Result<Response, Refusal> {
    // Clients may write the parentheses of the process' name in either way.
    let path = query::decoded_path(request.uri().path());
    let query = query::Query::new(request.uri().query());
    let route = route::find(&path).ok_or_else(|| Refusal::not_found("there is nothing here"))?;
    // As in Mesos before anything else is looked at: strangers do not even learn whether the agent recovers.
    let claims = match route {
        Route::Executor => executor_auth::admit(app.facts.executor_tokens.as_ref(), request.headers())?,
        _ => None,
    };
    match route {
        Route::Health => return Ok(empty(StatusCode::OK)),
        Route::Version => return Ok(legacy::version(app, &query)),
        _ if !app.observed.is_recovered() => return Err(Refusal::recovering()),
        _ => {}
    }
    match route {
        Route::Health | Route::Version => Err(Refusal::unavailable()),
        Route::Operator => Box::pin(operator_api::handle(app, request)).await,
        Route::Executor => Box::pin(executor_api::handle(app, request, claims)).await,
        Route::State => legacy::state(app, &query).await,
        Route::Flags => Ok(legacy::flags(app, &query)),
        Route::Containers => containers::list(app, &query).await,
        Route::Statistics => containers::monitor(app, &query).await,
        Route::Metrics => metrics::prometheus(app).await,
        Route::Snapshot => metrics::snapshot(app, &query).await,
        Route::Browse => files::browse(app, &query).await,
        Route::Read => files::read(app, &query).await,
        Route::Download => files::download(app, &query).await,
        Route::Debug => files::debug(app, &query).await,
        Route::Sandbox => sandbox_api::read(app, &query).await,
        Route::System => Ok(process::system(&query)),
        Route::Toggle => process::toggle(app, &query),
        Route::Help => process::help(&path),
    }
}

/// Returns an answer without a body and therefore without a type: some clients take that for a stream.
fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
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
    match &query.callback {
        Some(callback) => answer("text/javascript", plain::wrapped(callback, &bytes)),
        None => answer("application/json", bytes),
    }
}
