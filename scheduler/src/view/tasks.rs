//! Tasks and executors as the operator API shows them.

use std::sync::Arc;

use tepui_proto::ids::FrameworkId;
use tepui_proto::v1::Task;
use tepui_proto::v1::master::response::{GetExecutors, GetTasks, get_executors::Executor};
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::ids::TaskKey;
use tepui_scheduler_core::registry::{TaskRecord, without_data};

use crate::view::wanted::Wanted;

/// GET_TASKS.
pub(crate) fn get_tasks(registry: &Registry) -> GetTasks {
    let all = Wanted::default();
    GetTasks {
        tasks: there(registry, &all).filter_map(|record| task(record)).collect(),
        unreachable_tasks: away(registry, &all).filter_map(|record| task(record)).collect(),
        completed_tasks: ended(registry, &all).filter_map(|record| task(record)).collect(),
        ..GetTasks::default()
    }
}

/// The live tasks on agents that are not given up.
pub(crate) fn there<'a>(
    registry: &'a Registry,
    wanted: &'a Wanted,
) -> impl Iterator<Item = &'a Arc<TaskRecord>> {
    live(registry, wanted).filter(|record| record.unreachable_wall_ms.is_none())
}

/// The tasks on unreachable agents.
pub(crate) fn away<'a>(
    registry: &'a Registry,
    wanted: &'a Wanted,
) -> impl Iterator<Item = &'a Arc<TaskRecord>> {
    live(registry, wanted).filter(|record| record.unreachable_wall_ms.is_some())
}

/// The tasks that have ended, as far as they are remembered.
pub(crate) fn ended<'a>(
    registry: &'a Registry,
    wanted: &'a Wanted,
) -> impl Iterator<Item = &'a Arc<TaskRecord>> {
    let all = registry.history.iter().filter(|(id, _)| wanted.framework(id.as_str()));
    all.flat_map(|(_, ended)| ended).filter(|record| on_wanted(record, wanted))
}

fn live<'a>(registry: &'a Registry, wanted: &'a Wanted) -> impl Iterator<Item = &'a Arc<TaskRecord>> {
    let ids = registry.frameworks.keys().filter(|id| wanted.framework(id.as_str()));
    ids.flat_map(|id| of_framework(registry, id)).filter(|record| on_wanted(record, wanted))
}

fn on_wanted(record: &TaskRecord, wanted: &Wanted) -> bool {
    let task = record.task.as_ref();
    wanted.agents.is_empty()
        || wanted.agent(task.and_then(|task| task.agent_id.as_ref()).map_or("", |id| id.value()))
}

/// GET_EXECUTORS: each custom executor that has not ended, with or without tasks.
pub(crate) fn get_executors(registry: &Registry, wanted: &Wanted) -> GetExecutors {
    let known = registry.executors.iter().filter(|(key, _)| registry.frameworks.contains_key(&key.framework));
    let known =
        known.filter(|(key, _)| wanted.framework(key.framework.as_str()) && wanted.agent(key.agent.as_str()));
    let executors = known.map(|(key, record)| Executor {
        executor_info: record.info.as_ref().map(without_data),
        agent_id: Some(key.agent.to_proto()),
    });
    GetExecutors { executors: executors.collect(), orphan_executors: Vec::new() }
}

/// The tasks that are shown. Those of a framework that is gone are being killed and stand in no list.
pub(crate) fn visible(registry: &Registry) -> impl Iterator<Item = &Arc<TaskRecord>> {
    registry.frameworks.keys().flat_map(|id| of_framework(registry, id))
}

/// The tasks of one framework, in the order of their ids.
pub(crate) fn of_framework<'a>(
    registry: &'a Registry,
    id: &FrameworkId,
) -> impl Iterator<Item = &'a Arc<TaskRecord>> + use<'a> {
    let id = id.clone();
    let first = TaskKey::new(id.clone(), "");
    registry.tasks.range(first..).take_while(move |(key, _)| key.framework == id).map(|(_, record)| record)
}

/// The newest record of a task, live or ended. An ended one is looked for among the latest of its framework only.
pub(crate) fn find<'a>(registry: &'a Registry, key: &TaskKey) -> Option<&'a Arc<TaskRecord>> {
    registry.tasks.get(key).or_else(|| {
        let ended = registry.history.get(&key.framework)?;
        ended.iter().rev().find(|record| record.key() == *key)
    })
}

/// One task, with its last status.
pub(crate) fn task(record: &TaskRecord) -> Option<Task> {
    let mut task = record.task.clone()?;
    if task.statuses.is_empty() {
        task.statuses.extend(record.last_status.clone());
    }
    Some(task)
}
