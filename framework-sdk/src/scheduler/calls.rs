//! Builds the calls of the scheduler API.
//!
//! Owns nothing but the shape of the messages; who sends them when is decided by the session.

use bytes::Bytes;

use crate::v1;
use crate::v1::scheduler::Call;
use crate::v1::scheduler::call::{self, Type};

fn call(kind: Type) -> Call {
    Call { r#type: Some(kind as i32), ..Call::default() }
}

pub(super) fn subscribe(framework: v1::FrameworkInfo, suppressed_roles: Vec<String>) -> Call {
    let framework_id = framework.id.clone();
    let subscribe =
        call::Subscribe { framework_info: Some(framework), suppressed_roles, ..call::Subscribe::default() };
    Call { framework_id, subscribe: Some(subscribe), ..call(Type::Subscribe) }
}

pub(super) fn accept(
    offer_ids: Vec<v1::OfferId>,
    operations: Vec<v1::offer::Operation>,
    filters: Option<v1::Filters>,
) -> Call {
    Call { accept: Some(call::Accept { offer_ids, operations, filters }), ..call(Type::Accept) }
}

pub(super) fn launch(tasks: Vec<v1::TaskInfo>) -> v1::offer::Operation {
    v1::offer::Operation {
        r#type: Some(v1::offer::operation::Type::Launch as i32),
        launch: Some(v1::offer::operation::Launch { task_infos: tasks }),
        ..v1::offer::Operation::default()
    }
}

pub(super) fn decline(offer_ids: Vec<v1::OfferId>, filters: Option<v1::Filters>) -> Call {
    Call { decline: Some(call::Decline { offer_ids, filters }), ..call(Type::Decline) }
}

pub(super) fn kill(
    task_id: v1::TaskId,
    agent_id: Option<v1::AgentId>,
    kill_policy: Option<v1::KillPolicy>,
) -> Call {
    let kill = call::Kill { task_id: Some(task_id), agent_id, kill_policy };
    Call { kill: Some(kill), ..call(Type::Kill) }
}

pub(super) fn acknowledge(agent_id: v1::AgentId, task_id: v1::TaskId, uuid: Bytes) -> Call {
    let acknowledge =
        call::Acknowledge { agent_id: Some(agent_id), task_id: Some(task_id), uuid: Some(uuid) };
    Call { acknowledge: Some(acknowledge), ..call(Type::Acknowledge) }
}

pub(super) fn reconcile(tasks: Vec<call::reconcile::Task>) -> Call {
    Call { reconcile: Some(call::Reconcile { tasks }), ..call(Type::Reconcile) }
}

pub(super) fn revive(roles: Vec<String>) -> Call {
    Call { revive: Some(call::Revive { roles }), ..call(Type::Revive) }
}

pub(super) fn suppress(roles: Vec<String>) -> Call {
    Call { suppress: Some(call::Suppress { roles }), ..call(Type::Suppress) }
}

pub(super) fn message(agent_id: v1::AgentId, executor_id: v1::ExecutorId, data: Bytes) -> Call {
    let message =
        call::Message { agent_id: Some(agent_id), executor_id: Some(executor_id), data: Some(data) };
    Call { message: Some(message), ..call(Type::Message) }
}

pub(super) fn shutdown(agent_id: v1::AgentId, executor_id: v1::ExecutorId) -> Call {
    let shutdown = call::Shutdown { executor_id: Some(executor_id), agent_id: Some(agent_id) };
    Call { shutdown: Some(shutdown), ..call(Type::Shutdown) }
}

pub(super) fn teardown() -> Call {
    call(Type::Teardown)
}

/// Returns the tasks that a call launches, with their agents.
pub(super) fn launched(call: &Call) -> Vec<(v1::TaskId, Option<v1::AgentId>)> {
    let operations = call.accept.iter().flat_map(|accept| &accept.operations);
    let tasks = operations.flat_map(|operation| {
        let single = operation.launch.iter().flat_map(|launch| &launch.task_infos);
        let grouped = operation.launch_group.iter().filter_map(|launch| launch.task_group.as_ref());
        single.chain(grouped.flat_map(|group| &group.tasks))
    });
    tasks.filter_map(|task| Some((task.task_id.clone()?, task.agent_id.clone()))).collect()
}

/// Returns every task that a call is about.
pub(super) fn concerned(call: &Call) -> Vec<v1::TaskId> {
    let launched = launched(call).into_iter().map(|(task_id, _)| task_id);
    let killed = call.kill.iter().filter_map(|kill| kill.task_id.clone());
    let asked = call.reconcile.iter().flat_map(|reconcile| &reconcile.tasks);
    launched.chain(killed).chain(asked.filter_map(|task| task.task_id.clone())).collect()
}
