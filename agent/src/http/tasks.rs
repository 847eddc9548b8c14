//! Tasks as the v1 API shows them. Owns the conversion from what the core knows.

use tepui_agent_core::{Agent, CompletedTask, TaskKey, TaskView};
use tepui_proto::v1;

pub(super) fn known(agent: &Agent, task: &TaskView<'_>) -> v1::Task {
    convert(agent.agent_id(), task.key, task.info, task.state, task.latest)
}

pub(super) fn completed(agent: &Agent, task: &CompletedTask) -> v1::Task {
    let latest = task.latest.as_ref();
    let state = latest.map_or(v1::TaskState::TaskLost, v1::TaskStatus::state);
    convert(agent.agent_id(), &task.key, &task.info, state, latest)
}

fn convert(
    agent_id: &str,
    key: &TaskKey,
    info: &v1::TaskInfo,
    state: v1::TaskState,
    latest: Option<&v1::TaskStatus>,
) -> v1::Task {
    v1::Task {
        name: Some(info.name().to_owned()),
        task_id: Some(v1::TaskId { value: Some(key.task_id.clone()) }),
        framework_id: Some(v1::FrameworkId { value: Some(key.framework_id.clone()) }),
        agent_id: Some(v1::AgentId { value: Some(agent_id.to_owned()) }),
        state: Some(state.into()),
        resources: info.resources.clone(),
        statuses: latest.cloned().into_iter().collect(),
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone(),
        user: info.command.as_ref().and_then(|command| command.user.clone()),
        health_check: info.health_check.clone(),
        kill_policy: info.kill_policy,
        limits: info.limits.clone(),
        ..Default::default()
    }
}

pub(super) fn get_tasks(agent: &Agent) -> v1::agent::response::GetTasks {
    let mut all = v1::agent::response::GetTasks::default();
    for task in agent.tasks() {
        let list = match () {
            () if task.queued => &mut all.queued_tasks,
            () if task.state.is_terminal() => &mut all.terminated_tasks,
            () => &mut all.launched_tasks,
        };
        list.push(known(agent, &task));
    }
    all.completed_tasks = agent.completed_tasks().map(|task| completed(agent, task)).collect();
    all
}

pub(super) fn get_frameworks(agent: &Agent) -> v1::agent::response::GetFrameworks {
    let framework = |info: &v1::FrameworkInfo| v1::agent::response::get_frameworks::Framework {
        framework_info: Some(info.clone()),
    };
    v1::agent::response::GetFrameworks {
        frameworks: agent.frameworks().map(framework).collect(),
        completed_frameworks: Vec::new(),
    }
}
