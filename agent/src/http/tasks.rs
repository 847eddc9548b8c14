//! Frameworks, executors and tasks as the operator API shows them. Owns the split into its lists.

use tepui_proto::v1;
use v1::agent::response::{GetExecutors, GetFrameworks, GetState, GetTasks, get_executors, get_frameworks};

use super::known::{Executor, Framework, Known, Stage};

/// No task is pending: one that was accepted has its executor at once.
pub(super) fn get_tasks(known: &Known) -> GetTasks {
    let mut all = GetTasks::default();
    for one in known.tasks() {
        let list = match one.stage {
            Stage::Queued => &mut all.queued_tasks,
            Stage::Launched => &mut all.launched_tasks,
            Stage::Terminated => &mut all.terminated_tasks,
            Stage::Completed => &mut all.completed_tasks,
        };
        list.push(one.task.clone());
    }
    all
}

pub(super) fn get_executors(known: &Known) -> GetExecutors {
    let shown = |(_, executor): (&Framework, &Executor)| get_executors::Executor {
        executor_info: Some(executor.info.clone()),
    };
    GetExecutors {
        executors: known.executors().map(shown).collect(),
        completed_executors: known.completed_executors().map(shown).collect(),
    }
}

pub(super) fn get_frameworks(known: &Known) -> GetFrameworks {
    let shown =
        |framework: &Framework| get_frameworks::Framework { framework_info: Some(framework.info.clone()) };
    GetFrameworks {
        frameworks: known.frameworks.iter().map(shown).collect(),
        completed_frameworks: known.completed_frameworks.iter().map(shown).collect(),
    }
}

pub(super) fn get_state(known: &Known) -> GetState {
    GetState {
        get_tasks: Some(get_tasks(known)),
        get_executors: Some(get_executors(known)),
        get_frameworks: Some(get_frameworks(known)),
    }
}
