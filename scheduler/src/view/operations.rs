//! Operations as the operator API shows them: those that their frameworks have not acknowledged.

use tepui_proto::v1::master::response::GetOperations;
use tepui_scheduler_core::Registry;

/// GET_OPERATIONS.
pub(crate) fn get_operations(registry: &Registry) -> GetOperations {
    GetOperations { operations: registry.operations.values().map(|record| record.shown()).collect() }
}
