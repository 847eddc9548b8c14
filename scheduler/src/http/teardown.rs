//! `POST /teardown`: ends a framework by a form, for scripts. Owns the name of its field; what it does is the core's.

use axum::extract::Request;
use axum::response::Response;
use tepui_proto::MediaType;
use tepui_scheduler_core::OperatorCall;

use crate::http::auth::Principal;
use crate::http::error::Refusal;
use crate::http::{App, answer, plain, redirect};

/// Answers one request.
pub(crate) async fn handle(app: &App, request: Request, principal: Principal) -> Result<Response, Refusal> {
    if let Err(elsewhere) = redirect::leading(&app.role.borrow()) {
        return Ok(elsewhere.answer(request.uri()));
    }
    let form = plain::form(request, app.limits.body_bytes).await?;
    let call = OperatorCall::Teardown(form.require("frameworkId")?.into());
    answer::reply(MediaType::Json, app.handle.operator(call, principal, None).await)
}
