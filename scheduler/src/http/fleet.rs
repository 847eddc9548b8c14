//! What operators change of agents and machines: the v1 calls, and the plain endpoints `/maintenance/schedule`, `/machine/down`
//! and `/machine/up`. Owns the way from the wire to a [`FleetCall`]; what is allowed is the core's.

use axum::extract::Request;
use axum::response::Response;
use hyper::{Method, Uri};
use serde_json::{Value, json};
use tepui_proto::MediaType;
use tepui_proto::google::protobuf::Duration;
use tepui_proto::v1::maintenance::Schedule;
use tepui_proto::v1::master::Call;
use tepui_proto::v1::master::call::{StartMaintenance, Type};
use tepui_proto::wire;
use tepui_scheduler_core::{FleetCall, OperatorCall};

use crate::http::error::Refusal;
use crate::http::{App, answer, plain, redirect};

/// The plain endpoints that change machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    Schedule,
    Down,
    Up,
}

/// The change of agents or machines that this call asks for; nothing if it asks for something else.
///
/// # Errors
/// 400 that names the member which cannot be used.
pub(crate) fn change(kind: Type, call: Call) -> Result<Option<FleetCall>, Refusal> {
    let change = match kind {
        Type::DrainAgent => {
            let drain = call.drain_agent.unwrap_or_default();
            let max_grace_ms = drain.max_grace_period.map(milliseconds).transpose()?;
            let agent = agent(drain.agent_id.as_ref())?;
            FleetCall::Drain { agent, max_grace_ms, mark_gone: drain.mark_gone.unwrap_or_default() }
        }
        Type::DeactivateAgent => {
            FleetCall::Deactivate(agent(call.deactivate_agent.unwrap_or_default().agent_id.as_ref())?)
        }
        Type::ReactivateAgent => {
            FleetCall::Reactivate(agent(call.reactivate_agent.unwrap_or_default().agent_id.as_ref())?)
        }
        Type::MarkAgentGone => {
            FleetCall::MarkGone(agent(call.mark_agent_gone.unwrap_or_default().agent_id.as_ref())?)
        }
        Type::UpdateMaintenanceSchedule => {
            let update = call.update_maintenance_schedule.unwrap_or_default();
            FleetCall::UpdateSchedule(update.schedule.unwrap_or_default())
        }
        Type::StartMaintenance => {
            FleetCall::StartMaintenance(call.start_maintenance.unwrap_or_default().machines)
        }
        Type::StopMaintenance => {
            FleetCall::StopMaintenance(call.stop_maintenance.unwrap_or_default().machines)
        }
        _ => return Ok(None),
    };
    Ok(Some(change))
}

/// Answers one POST to a plain endpoint.
pub(crate) async fn handle(
    app: &App,
    endpoint: Plain,
    request: Request,
    principal: Option<String>,
) -> Result<Response, Refusal> {
    let uri: Uri = request.uri().clone();
    if let Err(elsewhere) = redirect::leading(&app.role.borrow()) {
        return Ok(elsewhere.answer(&uri));
    }
    // Scripts post JSON here without saying so.
    let allowed = if endpoint == Plain::Schedule { "GET, POST" } else { "POST" };
    let body = plain::body(request, &[(Method::POST, allowed)], app.limits.body_bytes).await?;
    let change = match endpoint {
        Plain::Schedule => FleetCall::UpdateSchedule(wire::decode::<Schedule>(MediaType::Json, &body)?),
        Plain::Down => FleetCall::StartMaintenance(machines(&body)?),
        Plain::Up => FleetCall::StopMaintenance(machines(&body)?),
    };
    answer::reply(MediaType::Json, app.handle.operator(OperatorCall::Fleet(change), principal, None).await)
}

/// A JSON list of machines, which is no message by itself.
fn machines(body: &[u8]) -> Result<Vec<tepui_proto::v1::MachineId>, Refusal> {
    let list: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("failed to parse the list of machines: {error}")))?;
    if !list.is_array() {
        return Err(Refusal::bad_request("expecting a JSON list of machines"));
    }
    let whole = json!({ "machines": list }).to_string();
    Ok(wire::decode::<StartMaintenance>(MediaType::Json, whole.as_bytes())?.machines)
}

fn agent(id: Option<&tepui_proto::v1::AgentId>) -> Result<tepui_proto::ids::AgentId, Refusal> {
    match id {
        Some(id) if !id.value().is_empty() => Ok(id.into()),
        _ => Err(Refusal::bad_request("'agent_id' is empty")),
    }
}

fn milliseconds(duration: Duration) -> Result<u64, Refusal> {
    let (seconds, nanos) = (duration.seconds.unwrap_or_default(), duration.nanos.unwrap_or_default());
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u64::try_from(nanos)) else {
        return Err(Refusal::bad_request("'max_grace_period' is negative"));
    };
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_is_read_in_seconds_and_nanoseconds_and_must_not_be_negative() {
        let drain = |seconds, nanos| {
            let agent_id = Some(tepui_proto::v1::AgentId { value: Some("a".to_owned()) });
            let max_grace_period = Some(Duration { seconds: Some(seconds), nanos: Some(nanos) });
            let drain =
                tepui_proto::v1::master::call::DrainAgent { agent_id, max_grace_period, mark_gone: None };
            change(Type::DrainAgent, Call { drain_agent: Some(drain), ..Call::default() })
        };
        let Ok(Some(FleetCall::Drain { max_grace_ms, mark_gone, .. })) = drain(2, 5_000_000) else {
            panic!()
        };
        assert_eq!((max_grace_ms, mark_gone), (Some(2_005), false));
        assert!(drain(-1, 0).is_err());
    }

    #[test]
    fn a_list_of_machines_is_json_and_nothing_else() {
        let read = |text: &str| machines(text.as_bytes()).map(|list| list.len());
        assert_eq!(read(r#"[{"hostname":"a"},{"ip":"10.0.0.1"}]"#).unwrap(), 2);
        assert_eq!(read("[]").unwrap(), 0);
        for bad in ["", "{}", "[1]", r#"{"machines":[]}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
