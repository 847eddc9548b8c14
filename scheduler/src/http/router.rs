//! Lets each request into its realm, hands it to the handler of its route, counts the answers and compresses them if asked.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hyper::{Method, StatusCode};

use crate::http::error::{Refusal, empty};
use crate::http::fleet::Plain;
use crate::http::route::{self, Legacy, Route};
use crate::http::{
    App, agent_link, answer, apart, auth, backup, dashboard, events, files, fleet, gzip, legacy, masters,
    metrics, operator_api, process, redirect, resources, scheduler_api, teardown, tepui_api,
};

/// The whole public API as one service.
pub(crate) fn router(app: Arc<App>) -> Router {
    // One fallback instead of axum's routes: Mesos matches by the longest prefix and lets handlers see wrong methods.
    Router::new().fallback(dispatch).with_state(app)
}

async fn dispatch(State(app): State<Arc<App>>, request: Request) -> Response {
    let route = route::find(request.uri().path());
    let gzip = gzip::wanted(request.headers());
    let mut response = match route {
        Some(route) => handle(&app, route, request).await.unwrap_or_else(IntoResponse::into_response),
        None => Refusal::new(StatusCode::NOT_FOUND, "nothing is at this path").into_response(),
    };
    masters::stamp(&app, route, &mut response);
    app.metrics.count_answer(response.status());
    if gzip { gzip::squeeze(&app, response).await } else { response }
}

async fn handle(app: &Arc<App>, route: Route, request: Request) -> Result<Response, Refusal> {
    let registry = || app.read_view().registry;
    let principal = auth::admit(&app.authentication, registry, route.realm(), request.headers())?;
    match route {
        Route::Scheduler => scheduler_api::handle(app, request, principal).await,
        Route::Operator => operator_api::handle(app, request, principal).await,
        Route::AgentLink => agent_link::handle(app, request).await,
        Route::TepuiOperator => tepui_api::handle(app, request, principal).await,
        Route::Backup => backup::handle(app, request.method()).await,
        Route::Teardown => teardown::handle(app, request, principal).await,
        Route::Resources(endpoint) => resources::handle(app, endpoint, request, principal).await,
        Route::Events => events::handle(app, &request),
        Route::Masters => masters::handle(app, &request),
        Route::Health => Ok(empty(StatusCode::OK)),
        Route::Version => Ok(legacy::version(app, &request)),
        Route::Redirect => Ok(redirect::endpoint(&app.role.borrow(), &app.info.api_address)),
        Route::Metrics => {
            let (text, _) = apart::render(app, |app, view| app.metrics.render(app, view)).await?;
            Ok(answer::body(metrics::CONTENT_TYPE, text))
        }
        Route::Numbers => legacy::numbers(app, request).await,
        Route::Machines(Plain::Schedule) if request.method() == Method::GET => {
            legacy::handle(app, Legacy::MaintenanceSchedule, request).await
        }
        Route::Machines(endpoint) => fleet::handle(app, endpoint, request, principal).await,
        Route::Process(endpoint) => process::handle(app, endpoint, request).await,
        Route::Files(files) => files::handle(app, files, request).await,
        Route::Legacy(endpoint) => legacy::handle(app, endpoint, request).await,
        Route::Setting(setting) => legacy::settings::handle(app, setting, request, principal).await,
        Route::Asset(asset) => Ok(dashboard::asset(asset)),
    }
}
