//! Reservations and volumes by operators: calls of the operator API and the form endpoints become the same operation. Owns the names
//! of the forms' fields; what is allowed and what it does is the core's.

use axum::extract::Request;
use axum::response::Response;
use tepui_proto::MediaType;
use tepui_proto::resources::one_form;
use tepui_proto::v1::offer::Operation;
use tepui_proto::v1::offer::operation::{
    Create, Destroy, GrowVolume, Reserve, ShrinkVolume, Type, Unreserve,
};
use tepui_proto::v1::value::Scalar;
use tepui_proto::v1::{AgentId, Resource};
use tepui_proto::wire::WireMessage;
use tepui_scheduler_core::OperatorCall;

use crate::http::auth::Principal;
use crate::http::error::Refusal;
use crate::http::route::Resources;
use crate::http::{App, answer, plain, redirect};

/// Answers one of the form endpoints.
pub(crate) async fn handle(
    app: &App,
    endpoint: Resources,
    request: Request,
    principal: Principal,
) -> Result<Response, Refusal> {
    if let Err(elsewhere) = redirect::leading(&app.role.borrow()) {
        return Ok(elsewhere.answer(request.uri()));
    }
    let form = plain::form(request, app.limits.body_bytes).await?;
    let agent = Some(AgentId { value: Some(form.require("slaveId")?.to_owned()) });
    let call = match endpoint {
        Resources::Reserve => reserve(agent, list("resources", form.require("resources")?)?, Vec::new()),
        Resources::Unreserve => unreserve(agent, list("resources", form.require("resources")?)?),
        Resources::CreateVolumes => create(agent, list("volumes", form.require("volumes")?)?),
        Resources::DestroyVolumes => destroy(agent, list("volumes", form.require("volumes")?)?),
    };
    answer::reply(MediaType::Json, app.handle.operator(call, principal, None).await)
}

/// Reads an array of resources in JSON; they may be as another endpoint has shown them, with both forms of a reservation.
fn list(field: &str, text: &str) -> Result<Vec<Resource>, Refusal> {
    let bad =
        |why: String| Refusal::bad_request(format!("'{field}' is not a list of resources in JSON: {why}"));
    let mut list: Vec<Resource> = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    list.iter_mut().for_each(one_form);
    match list.iter().find_map(WireMessage::missing) {
        Some(missing) => Err(bad(format!("required field '{missing}' is not set"))),
        None => Ok(list),
    }
}

fn call(agent: Option<AgentId>, kind: Type, operation: Operation) -> OperatorCall {
    let operation = Box::new(Operation { r#type: Some(kind as i32), ..operation });
    OperatorCall::Operate { agent: (&agent.unwrap_or_default()).into(), operation }
}

pub(crate) fn reserve(
    agent: Option<AgentId>,
    resources: Vec<Resource>,
    source: Vec<Resource>,
) -> OperatorCall {
    let reserve = Some(Reserve { resources, source });
    call(agent, Type::Reserve, Operation { reserve, ..Default::default() })
}

pub(crate) fn unreserve(agent: Option<AgentId>, resources: Vec<Resource>) -> OperatorCall {
    let unreserve = Some(Unreserve { resources });
    call(agent, Type::Unreserve, Operation { unreserve, ..Default::default() })
}

pub(crate) fn create(agent: Option<AgentId>, volumes: Vec<Resource>) -> OperatorCall {
    let create = Some(Create { volumes });
    call(agent, Type::Create, Operation { create, ..Default::default() })
}

pub(crate) fn destroy(agent: Option<AgentId>, volumes: Vec<Resource>) -> OperatorCall {
    let destroy = Some(Destroy { volumes });
    call(agent, Type::Destroy, Operation { destroy, ..Default::default() })
}

pub(crate) fn grow(
    agent: Option<AgentId>,
    volume: Option<Resource>,
    addition: Option<Resource>,
) -> OperatorCall {
    let grow_volume = Some(GrowVolume { volume, addition });
    call(agent, Type::GrowVolume, Operation { grow_volume, ..Default::default() })
}

pub(crate) fn shrink(
    agent: Option<AgentId>,
    volume: Option<Resource>,
    subtract: Option<Scalar>,
) -> OperatorCall {
    let shrink_volume = Some(ShrinkVolume { volume, subtract });
    call(agent, Type::ShrinkVolume, Operation { shrink_volume, ..Default::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_or_refused_by_the_name_of_their_field() {
        let text = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"reservations":
            [{"type":"DYNAMIC","role":"web","principal":"me"}]}]"#;
        let read = list("resources", text).unwrap();
        assert_eq!(read[0].reservations[0].role(), "web");
        let shown = serde_json::to_string(&[tepui_proto::resources::both_forms(&read[0])]).unwrap();
        assert!(shown.contains("\"reservation\":"), "{shown}");
        assert_eq!(list("resources", &shown).unwrap(), read, "what was shown can be sent back");
        for bad in ["", "{}", "[{", "[1]", r#"[{"name":"cpus"}]"#, r#"[{"type":"SCALAR"}]"#] {
            let refusal = format!("{:?}", list("resources", bad).unwrap_err());
            assert!(refusal.contains("'resources'"), "{bad}: {refusal}");
        }
    }
}
