//! `POST /tepui/v1/operator`: drivers, registers and the log. Owns which call any master answers and which only the leading one.

use axum::extract::Request;
use axum::response::Response;
use hyper::Uri;
use tepui_proto::MediaType;
use tepui_proto::tepui::operator::call::{StateGet, Type};
use tepui_proto::tepui::operator::response::{self, Type as Answer};
use tepui_proto::tepui::operator::{Call, Response as Message};
use tepui_proto::wire::{self, DecodeError};
use tepui_scheduler_core::OperatorCall;
use tepui_scheduler_core::master::drivers;

use crate::http::auth::Principal;
use crate::http::error::Refusal;
use crate::http::terms::Terms;
use crate::http::{App, admission, answer, operator_api, raft_calls, redirect};
use crate::runtime::role::Role;

const DRIVER_TOKEN: &str = "tepui-driver-token";

/// Answers one request.
pub(crate) async fn handle(app: &App, request: Request, principal: Principal) -> Result<Response, Refusal> {
    let uri = request.uri().clone();
    let consistent = Terms::of(&request).consistent;
    let admitted = admission::post(request, app.limits.body_bytes).await?;
    let call: Call = wire::decode(admitted.media, &admitted.body).map_err(|error| {
        let untyped = matches!(&error, DecodeError::Missing { field, .. } if field == "type");
        let unknown = untyped.then(|| wire::unknown_type(admitted.media, &admitted.body)).flatten();
        unknown.map_or_else(|| Refusal::from(error), Refusal::bad_request)
    })?;
    let media = admission::accepted(&admitted.parts.headers)?;
    let kind = call.r#type.and_then(|kind| Type::try_from(kind).ok()).unwrap_or(Type::Unknown);
    if consistent && matches!(kind, Type::GetDrivers | Type::GetRaft | Type::StateGet) {
        app.settle().await?;
    }
    if let Some(answered) = raft_calls::handle(app, kind, &call, media, &uri).await {
        return answered;
    }
    let change = match kind {
        Type::GetDrivers => return Ok(get_drivers(app, &call, media)),
        Type::GetRaft => return Ok(get_raft(app, media)),
        Type::StateGet => {
            let get = member(call.state_get, "state_get")?;
            if !consistent && let Err(answer) = proven(app, &uri).await? {
                return Ok(answer);
            }
            return Ok(state_get(app, &get, media));
        }
        Type::SubmitDriver => {
            let spec = member(call.submit_driver, "submit_driver")?.spec;
            OperatorCall::SubmitDriver(member(spec, "submit_driver.spec")?)
        }
        Type::KillDriver => OperatorCall::KillDriver(member(call.kill_driver, "kill_driver")?),
        Type::StateCas => OperatorCall::StateCas(member(call.state_cas, "state_cas")?),
        Type::ExplainOffers => {
            let id = member(call.explain_offers, "explain_offers")?.framework_id.unwrap_or_default();
            OperatorCall::ExplainOffers((&id).into())
        }
        Type::RenewLease => OperatorCall::RenewLease(member(call.renew_lease, "renew_lease")?),
        _ => return Err(Refusal::bad_request("expecting 'type' to be present")),
    };
    if let Err(elsewhere) = redirect::leading(&app.role.borrow()) {
        return Ok(elsewhere.answer(&uri));
    }
    let token = admission::header(&admitted.parts.headers, DRIVER_TOKEN);
    answer::reply(media, app.handle.operator(change, principal, token).await)
}

fn get_drivers(app: &App, call: &Call, media: MediaType) -> Response {
    let view = app.read_view();
    let name = call.get_drivers.as_ref().and_then(|get| get.name.as_deref());
    let drivers = drivers::get_drivers(&view.registry, name);
    let message = Message { get_drivers: Some(drivers), ..of(Answer::GetDrivers) };
    answer::stamp(answer::message(media, &message), &view)
}

fn get_raft(app: &App, media: MediaType) -> Response {
    let view = app.read_view();
    let message = Message { get_raft: Some(operator_api::get_raft(app, &view)), ..of(Answer::GetRaft) };
    answer::stamp(answer::message(media, &message), &view)
}

/// Proves that this master leads and has applied every write that was answered before; or says who is to be asked.
async fn proven(app: &App, uri: &Uri) -> Result<Result<(), Response>, Refusal> {
    let role = app.role.borrow().clone();
    let Role::Serving { lead } = &role else {
        return match redirect::leading(&role) {
            Err(elsewhere) => Ok(Err(elsewhere.answer(uri))),
            Ok(()) => Err(answer::unavailable()),
        };
    };
    match app.replica.read_barrier(lead).await {
        Ok(_) => Ok(Ok(())),
        Err(error) => Err(Refusal::unavailable(format!("the read cannot be proven to be current: {error}"))),
    }
}

/// A register as this replica has it. The caller has seen to it that it is current.
fn state_get(app: &App, get: &StateGet, media: MediaType) -> Response {
    let view = app.read_view();
    let state = match view.registry.register(get.scope(), get.key()) {
        Some(record) => response::StateGet {
            version: Some(record.version),
            generation: Some(record.generation),
            value: Some(record.value.clone()),
        },
        None => response::StateGet { version: Some(0), generation: None, value: None },
    };
    let message = Message { state_get: Some(state), ..of(Answer::StateGet) };
    answer::stamp(answer::message(media, &message), &view)
}

fn of(kind: Answer) -> Message {
    Message { r#type: Some(kind as i32), ..Default::default() }
}

fn member<T>(member: Option<T>, name: &str) -> Result<T, Refusal> {
    member.ok_or_else(|| Refusal::bad_request(format!("expecting '{name}' to be present")))
}
