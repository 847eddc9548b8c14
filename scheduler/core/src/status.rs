//! Task statuses that masters make themselves, and the view of a task that they keep.
//!
//! Such a status has no uuid: nobody acknowledges it and nobody repeats it.

use tepui_proto::v1::{self, TaskState, task_status::Reason, task_status::Source};

use crate::conversion::modernise;

/// What a master has to say about a task.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    pub state: TaskState,
    pub reason: Reason,
    pub message: &'a str,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
}

/// Returns the status that tells a verdict.
pub fn master_status(
    task_id: Option<v1::TaskId>,
    agent_id: Option<v1::AgentId>,
    verdict: Verdict<'_>,
) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id,
        state: Some(verdict.state as i32),
        message: (!verdict.message.is_empty()).then(|| verdict.message.to_owned()),
        agent_id,
        timestamp: Some(seconds(verdict.wall_ms)),
        source: Some(Source::Master as i32),
        reason: Some(verdict.reason as i32),
        ..Default::default()
    }
}

/// Returns milliseconds as seconds, the form of `timestamp` fields.
pub fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Returns milliseconds since 1970 as the wire has instants.
pub fn time_info(wall_ms: u64) -> v1::TimeInfo {
    v1::TimeInfo { nanoseconds: Some(i64::try_from(wall_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)) }
}

/// Returns the part of a task that masters keep while it lives, in state STAGING. Its reservations are stacks, however they were
/// written.
pub fn task_view(info: &v1::TaskInfo, framework_id: &v1::FrameworkId) -> v1::Task {
    let mut resources = info.resources.clone();
    resources.iter_mut().for_each(modernise);
    v1::Task {
        name: info.name.clone(),
        task_id: info.task_id.clone(),
        framework_id: Some(framework_id.clone()),
        executor_id: info.executor.as_ref().and_then(|executor| executor.executor_id.clone()),
        agent_id: info.agent_id.clone(),
        state: Some(TaskState::TaskStaging as i32),
        resources,
        labels: info.labels.clone(),
        discovery: info.discovery.clone(),
        container: info.container.clone(),
        health_check: info.health_check.clone(),
        kill_policy: info.kill_policy,
        limits: info.limits.clone(),
        user: info.command.as_ref().and_then(|command| command.user.clone()),
        ..Default::default()
    }
}
