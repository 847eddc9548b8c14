//! Hands each request to the handler of its route, and counts the answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hyper::StatusCode;

use crate::http::error::{Refusal, empty};
use crate::http::route::{self, Route};
use crate::http::{
    App, agent_link, answer, apart, dashboard, events, legacy, metrics, operator_api, redirect,
    scheduler_api, tepui_api,
};

/// The whole public API as one service.
pub(crate) fn router(app: Arc<App>) -> Router {
    // One fallback instead of axum's routes: Mesos matches by the longest prefix and lets handlers see wrong methods.
    Router::new().fallback(dispatch).with_state(app)
}

async fn dispatch(State(app): State<Arc<App>>, request: Request) -> Response {
    let route = route::find(request.uri().path());
    let response = match route {
        Some(route) => handle(&app, route, request).await.unwrap_or_else(IntoResponse::into_response),
        None => Refusal::new(StatusCode::NOT_FOUND, "nothing is at this path").into_response(),
    };
    app.metrics.count_answer(response.status());
    response
}

async fn handle(app: &Arc<App>, route: Route, request: Request) -> Result<Response, Refusal> {
    match route {
        Route::Scheduler => scheduler_api::handle(app, request).await,
        Route::Operator => operator_api::handle(app, request).await,
        Route::AgentLink => agent_link::handle(app, request).await,
        Route::TepuiOperator => tepui_api::handle(app, request).await,
        Route::Events => events::handle(app, &request),
        Route::Health => Ok(empty(StatusCode::OK)),
        Route::Version => Ok(legacy::version(&request)),
        Route::Redirect => Ok(redirect::endpoint(&app.role.borrow(), &app.info.api_address)),
        Route::Metrics => {
            let (text, _) = apart::render(app, |app, view| app.metrics.render(app, view)).await?;
            Ok(answer::body(metrics::CONTENT_TYPE, text))
        }
        Route::Legacy(endpoint) => legacy::handle(app, endpoint, request).await,
        Route::Asset(asset) => Ok(dashboard::asset(asset)),
    }
}
