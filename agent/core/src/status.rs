//! Builds status updates. Owns what every update of an agent carries.

use tepui_proto::v1;
use v1::task_status::{Reason, Source};

use crate::task::Task;
use crate::{Config, Now, TaskKey};

/// What differs from update to update.
pub(crate) struct News {
    pub(crate) state: v1::TaskState,
    pub(crate) source: Source,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: Option<String>,
}

impl News {
    /// The command itself got there.
    pub(crate) fn executor(state: v1::TaskState) -> Self {
        Self { state, source: Source::Executor, reason: None, message: None }
    }

    /// The agent decided it.
    pub(crate) fn agent(state: v1::TaskState, reason: Reason, message: impl Into<String>) -> Self {
        Self { state, source: Source::Agent, reason: Some(reason), message: Some(message.into()) }
    }

    pub(crate) fn because(self, reason: Option<Reason>) -> Self {
        Self { reason, ..self }
    }

    pub(crate) fn saying(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }
}

/// Returns an update without its uuid and container.
pub(crate) fn bare(agent_id: &str, key: &TaskKey, news: News, now: Now) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: Some(key.wire_task_id()),
        state: Some(news.state.into()),
        message: news.message,
        agent_id: Some(v1::AgentId { value: Some(agent_id.to_owned()) }),
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit in 53 bits for ages")]
        timestamp: Some(now.wall_ms as f64 / 1000.0),
        executor_id: Some(v1::ExecutorId { value: Some(key.task_id.clone()) }),
        source: Some(news.source.into()),
        reason: news.reason.map(Into::into),
        ..Default::default()
    }
}

/// Returns an update of a task that has a container, without its uuid.
pub(crate) fn of_task(agent_id: &str, config: &Config, task: &Task, news: News, now: Now) -> v1::TaskStatus {
    let mut status = bare(agent_id, &task.key, news, now);
    if let Some(executor) = &task.executor {
        status.executor_id = Some(executor.wire_executor_id());
    }
    v1::TaskStatus { container_status: Some(container(config, task)), ..status }
}

pub(crate) fn container(config: &Config, task: &Task) -> v1::ContainerStatus {
    let address = v1::network_info::IpAddress {
        protocol: Some(v1::network_info::Protocol::IPv4.into()),
        ip_address: Some(config.ip.clone()),
    };
    v1::ContainerStatus {
        network_infos: vec![v1::NetworkInfo { ip_addresses: vec![address], ..Default::default() }],
        executor_pid: task.pid,
        container_id: Some(v1::ContainerId { value: Some(task.container_id.clone()), parent: None }),
        ..Default::default()
    }
}
