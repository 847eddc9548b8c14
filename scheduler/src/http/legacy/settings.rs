//! `/weights` and `/quota`: what operators set for roles, in the plain form that scripts know. Reads are answered from a read
//! view, changes go to the core.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::Method;
use serde::de::DeserializeOwned;
use tepui_proto::MediaType;
use tepui_proto::v1::{WeightInfo, quota::QuotaRequest};
use tepui_scheduler_core::OperatorCall;

use crate::http::auth::Principal;
use crate::http::error::Refusal;
use crate::http::route::Setting;
use crate::http::terms::Terms;
use crate::http::{App, admission, answer, plain, redirect};
use crate::view::settings;

/// Answers one request.
pub(crate) async fn handle(
    app: &Arc<App>,
    setting: Setting,
    request: Request,
    principal: Principal,
) -> Result<Response, Refusal> {
    let query = request.uri().query().map(str::to_owned);
    let read = request.method() == Method::GET;
    let local = read && admission::wants_local(request.headers(), query.as_deref());
    if let (Err(elsewhere), false) = (redirect::leading(&app.role.borrow()), local) {
        return Ok(elsewhere.answer(request.uri()));
    }
    if read {
        if Terms::of(&request).consistent {
            app.settle().await?;
        }
        let view = app.read_view();
        let bytes = match setting {
            Setting::Weights => plain::bytes(&settings::get_weights(&view.registry).weight_infos),
            Setting::Quota => plain::bytes(&settings::quota_status(&view.registry)),
        };
        return Ok(answer::stamp(plain::json(query.as_deref(), bytes), &view));
    }
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let allowed: &[(Method, &'static str)] = match setting {
        Setting::Weights => &[(Method::PUT, "GET, PUT")],
        Setting::Quota => &[(Method::POST, "GET, POST, DELETE"), (Method::DELETE, "")],
    };
    let body = plain::body(request, allowed, app.limits.body_bytes).await?;
    let change = match setting {
        Setting::Weights => OperatorCall::UpdateWeights(read_json::<Vec<WeightInfo>>(&body)?),
        Setting::Quota if method == Method::DELETE => OperatorCall::RemoveQuota(role_of(&path)?),
        Setting::Quota => OperatorCall::SetQuota(read_json::<QuotaRequest>(&body)?),
    };
    answer::reply(MediaType::Json, app.handle.operator(change, principal, None).await)
}

fn read_json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("failed to parse the body as JSON: {error}")))
}

/// The role at the end of `/quota/<role>`.
fn role_of(path: &str) -> Result<String, Refusal> {
    let found = path.split_once("/quota/").map(|(_, role)| role.trim_end_matches('/'));
    match found.filter(|role| !role.is_empty()) {
        Some(role) => Ok(tepui_proto::plain::decoded(role).into_owned()),
        None => Err(Refusal::bad_request("expecting the role behind '/quota/'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_the_rest_of_the_path() {
        assert_eq!(role_of("/quota/dev").unwrap(), "dev");
        assert_eq!(role_of("/master/quota/a%20b/").unwrap(), "a b");
        assert_eq!(role_of("/quota/a/b").unwrap(), "a/b");
        assert!(role_of("/quota").is_err() && role_of("/quota/").is_err());
    }
}
