//! The endpoints of a process in Mesos that are about itself: its host, its log, what the Registry holds, whom offer constraints shut out, and help.
//!
//! Every master answers them from what it knows. What the answers hold is `view/`'s and `stats/`' business.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use tepui_proto::plain::parameter;
use tepui_proto::process;

use crate::http::error::Refusal;
use crate::http::plain::{self, bytes};
use crate::http::route::Process;
use crate::http::{App, answer, apart, help};
use crate::runtime::verbosity::Fixed;
use crate::{stats, view};

const TEXT: &str = "text/plain";

/// One of these endpoints.
pub(crate) async fn handle(app: &Arc<App>, endpoint: Process, request: Request) -> Result<Response, Refusal> {
    let query = request.uri().query().map(str::to_owned);
    match endpoint {
        Process::System => Ok(plain::json(query.as_deref(), bytes(&system()))),
        Process::Logging => logging(app, query.as_deref()),
        Process::Help => help::page(request.uri().path()),
        Process::Registry => {
            drop(request);
            let render = |_: &App, view: &_| bytes(&view::registry::registry(view));
            let (bytes, view) = apart::render(app, render).await?;
            Ok(answer::stamp(plain::json(query.as_deref(), bytes), &view))
        }
        Process::Constraints => {
            drop(request);
            let render = |_: &App, view: &crate::runtime::reads::ReadView| {
                bytes(&json!({ "frameworks": view::frameworks::constraints(&view.registry) }))
            };
            let (bytes, view) = apart::render(app, render).await?;
            Ok(answer::stamp(plain::json(query.as_deref(), bytes), &view))
        }
    }
}

/// The host's numbers under the names of this endpoint, which are older than those of the metrics.
fn system() -> Map<String, Value> {
    stats::system().into_iter().map(|(name, number)| (process::system_name(&name), json!(number))).collect()
}

/// Without a query the level, with `level` and `duration` another one for a while.
fn logging(app: &App, query: Option<&str>) -> Result<Response, Refusal> {
    let (level, duration) = (parameter(query, "level"), parameter(query, "duration"));
    let wanted = process::toggle(level.as_deref(), duration.as_deref()).map_err(Refusal::bad_request)?;
    let Some((level, duration)) = wanted else {
        return Ok(answer::body(TEXT, format!("{}\n", app.verbosity.level())));
    };
    match app.verbosity.raise(level, duration) {
        Ok(()) => Ok(crate::http::error::empty(StatusCode::OK)),
        Err(Fixed) => Err(Refusal::not_implemented("/logging/toggle")),
    }
}
