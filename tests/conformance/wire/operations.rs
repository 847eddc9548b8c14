//! Short words for reservations, volumes, and what operators and frameworks do with them. Sends nothing.

use tepui_proto::v1;
use tepui_proto::v1::master::call::{self as operator, Type as Call};
use tepui_proto::v1::offer::Operation;
use tepui_proto::v1::offer::operation::{Create, Destroy, Reserve, Type, Unreserve};
use tepui_proto::v1::resource::disk_info::Persistence;
use tepui_proto::v1::resource::{DiskInfo, ReservationInfo, reservation_info};
use tepui_proto::v1::scheduler::{self, call};
use tepui_proto::v1::{Resource, master};

use super::messages::{of, scalar};

/// So much of a scalar, dynamically reserved for a role.
pub(crate) fn reserved(name: &str, amount: f64, role: &str) -> Resource {
    let reservation = ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic as i32),
        role: Some(role.to_owned()),
        ..Default::default()
    };
    Resource { reservations: vec![reservation], ..scalar(name, amount) }
}

/// The same, signed.
pub(crate) fn signed(mut resource: Resource, principal: &str) -> Resource {
    for one in &mut resource.reservations {
        one.principal = Some(principal.to_owned());
    }
    resource
}

/// A volume of so many megabytes that appears as `data` in a sandbox.
pub(crate) fn volume(megabytes: f64, role: &str, id: &str) -> Resource {
    let disk = DiskInfo {
        persistence: Some(Persistence { id: Some(id.to_owned()), principal: None }),
        volume: Some(v1::Volume {
            container_path: Some("data".to_owned()),
            mode: Some(v1::volume::Mode::Rw as i32),
            ..Default::default()
        }),
        source: None,
    };
    Resource { disk: Some(disk), ..reserved("disk", megabytes, role) }
}

fn operation(kind: Type) -> Operation {
    Operation { r#type: Some(kind as i32), ..Default::default() }
}

pub(crate) fn reserve(resources: Vec<Resource>) -> Operation {
    Operation { reserve: Some(Reserve { resources, source: Vec::new() }), ..operation(Type::Reserve) }
}

pub(crate) fn unreserve(resources: Vec<Resource>) -> Operation {
    Operation { unreserve: Some(Unreserve { resources }), ..operation(Type::Unreserve) }
}

pub(crate) fn create(volumes: Vec<Resource>) -> Operation {
    Operation { create: Some(Create { volumes }), ..operation(Type::Create) }
}

pub(crate) fn destroy(volumes: Vec<Resource>) -> Operation {
    Operation { destroy: Some(Destroy { volumes }), ..operation(Type::Destroy) }
}

pub(crate) fn operation_id(id: &str) -> v1::OperationId {
    v1::OperationId { value: Some(id.to_owned()) }
}

/// The same with an id, so that its end is reported.
pub(crate) fn named(id: &str, operation: Operation) -> Operation {
    Operation { id: Some(operation_id(id)), ..operation }
}

pub(crate) fn acknowledge_operation(status: &v1::OperationStatus) -> scheduler::Call {
    let acknowledgement = call::AcknowledgeOperationStatus {
        agent_id: status.agent_id.clone(),
        uuid: status.uuid.as_ref().and_then(|uuid| uuid.value.clone()),
        operation_id: status.operation_id.clone(),
        ..Default::default()
    };
    scheduler::Call {
        acknowledge_operation_status: Some(acknowledgement),
        ..of(call::Type::AcknowledgeOperationStatus)
    }
}

/// Operations with the agents that they are said to be on.
pub(crate) fn reconcile_operations(operations: &[(&str, &str)]) -> scheduler::Call {
    let operations = operations.iter().map(|(id, agent)| call::reconcile_operations::Operation {
        operation_id: Some(operation_id(id)),
        agent_id: Some(super::messages::agent_id(agent)),
        ..Default::default()
    });
    scheduler::Call {
        reconcile_operations: Some(call::ReconcileOperations { operations: operations.collect() }),
        ..of(call::Type::ReconcileOperations)
    }
}

fn operator(kind: Call) -> master::Call {
    master::Call { r#type: Some(kind as i32), ..Default::default() }
}

pub(crate) fn operator_reserve(agent: &v1::AgentId, resources: Vec<Resource>) -> master::Call {
    let agent_id = Some(agent.clone());
    let call = operator::ReserveResources { agent_id, resources, source: Vec::new() };
    master::Call { reserve_resources: Some(call), ..operator(Call::ReserveResources) }
}

pub(crate) fn operator_unreserve(agent: &v1::AgentId, resources: Vec<Resource>) -> master::Call {
    let call = operator::UnreserveResources { agent_id: Some(agent.clone()), resources };
    master::Call { unreserve_resources: Some(call), ..operator(Call::UnreserveResources) }
}

pub(crate) fn operator_create(agent: &v1::AgentId, volumes: Vec<Resource>) -> master::Call {
    let call = operator::CreateVolumes { agent_id: Some(agent.clone()), volumes };
    master::Call { create_volumes: Some(call), ..operator(Call::CreateVolumes) }
}

pub(crate) fn operator_destroy(agent: &v1::AgentId, volumes: Vec<Resource>) -> master::Call {
    let call = operator::DestroyVolumes { agent_id: Some(agent.clone()), volumes };
    master::Call { destroy_volumes: Some(call), ..operator(Call::DestroyVolumes) }
}

/// What operations made of an agent's resources.
pub(crate) fn made(total: &[Resource]) -> Vec<Resource> {
    let dynamic = |one: &ReservationInfo| one.r#type == Some(reservation_info::Type::Dynamic as i32);
    total.iter().filter(|one| one.reservations.iter().any(dynamic)).cloned().collect()
}

/// The call that takes back one step of what operations made of an agent's resources.
pub(crate) fn undo(agent: &v1::AgentId, total: &[Resource]) -> Option<master::Call> {
    let (volumes, reservations): (Vec<_>, Vec<_>) = made(total)
        .into_iter()
        .partition(|one| one.disk.as_ref().is_some_and(|disk| disk.persistence.is_some()));
    if !volumes.is_empty() {
        return Some(operator_destroy(agent, volumes));
    }
    (!reservations.is_empty()).then(|| operator_unreserve(agent, reservations))
}
