//! Operations as the operator API shows them: those that their frameworks have not acknowledged.

use tepui_proto::v1::master::response::GetOperations;
use tepui_proto::v1::{Operation, Uuid};
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::ids::{AgentId, FrameworkId};
use tepui_scheduler_core::registry::OperationRecord;

/// GET_OPERATIONS.
pub(crate) fn get_operations(registry: &Registry) -> GetOperations {
    GetOperations { operations: registry.operations.values().map(|record| operation(record)).collect() }
}

fn operation(record: &OperationRecord) -> Operation {
    Operation {
        framework_id: Some(FrameworkId::from(record.framework_id.as_str()).to_proto()),
        agent_id: Some(AgentId::from(record.agent_id.as_str()).to_proto()),
        info: record.info.clone(),
        latest_status: record.status.clone(),
        statuses: record.status.clone().into_iter().collect(),
        uuid: Some(Uuid { value: Some(record.uuid.clone()) }),
    }
}
