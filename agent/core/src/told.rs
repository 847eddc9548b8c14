//! What a registration tells of tasks and executors: all of them, and of each what a master keeps. Owns that a registration stays of a
//! size that masters take, whatever frameworks put into tasks and executors into updates: an agent that cannot register is lost.

use prost::Message;
use tepui_proto::payload;
use tepui_proto::tepui::agent_link::{AgentExecutor, AgentTask};
use tepui_proto::v1;

use crate::executors::Executor;
use crate::task::Task;

/// Beyond this, tasks are told of with no more than has to be known. Masters take 80 MiB.
const DETAILS_BYTES_MAX: usize = 32 << 20;

/// Returns the tasks of which a crash would not take the launch back.
pub(crate) fn tasks<'a>(tasks: impl Iterator<Item = &'a Task>, durable: u64) -> Vec<AgentTask> {
    let mut room = DETAILS_BYTES_MAX;
    tasks
        .filter(|task| task.record <= durable)
        .map(|task| {
            let mut info = task.info.clone();
            payload::strip(&mut info);
            let told = AgentTask {
                framework_id: Some(task.key.wire_framework_id()),
                task: Some(info),
                launch_seq: Some(task.launch_seq),
                state: Some(task.outbox.durable_state(durable).into()),
                unacknowledged: task.outbox.head(durable).map(without_data),
                latest_status: task.outbox.latest_durable(durable).map(without_data),
            };
            match room.checked_sub(told.encoded_len()) {
                Some(left) => {
                    room = left;
                    told
                }
                None => essential(told),
            }
        })
        .collect()
}

fn without_data(status: &v1::TaskStatus) -> v1::TaskStatus {
    v1::TaskStatus { data: None, ..status.clone() }
}

fn essential(told: AgentTask) -> AgentTask {
    let short = |status: v1::TaskStatus| v1::TaskStatus {
        task_id: status.task_id,
        state: status.state,
        source: status.source,
        reason: status.reason,
        agent_id: status.agent_id,
        executor_id: status.executor_id,
        timestamp: status.timestamp,
        uuid: status.uuid,
        ..Default::default()
    };
    let executor = |executor: v1::ExecutorInfo| v1::ExecutorInfo {
        r#type: executor.r#type,
        executor_id: executor.executor_id,
        framework_id: executor.framework_id,
        resources: executor.resources,
        ..Default::default()
    };
    let task = |task: v1::TaskInfo| v1::TaskInfo {
        name: task.name,
        task_id: task.task_id,
        agent_id: task.agent_id,
        resources: task.resources,
        executor: task.executor.map(executor),
        command: task.command,
        kill_policy: task.kill_policy,
        ..Default::default()
    };
    AgentTask {
        task: told.task.map(task),
        unacknowledged: told.unacknowledged.map(short),
        latest_status: told.latest_status.map(short),
        ..told
    }
}

/// Returns an executor as the master needs to know it: without its data, which may be large.
pub(crate) fn executor(executor: &Executor) -> AgentExecutor {
    let info = v1::ExecutorInfo { data: None, ..executor.info.clone() };
    AgentExecutor {
        framework_id: Some(executor.key.wire_framework_id()),
        executor: Some(info),
        container_id: Some(v1::ContainerId { value: Some(executor.container_id.clone()), parent: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskKey;
    use crate::task::Phase;

    #[test]
    fn a_registration_stays_of_a_size_that_masters_take() {
        let of = |number: usize| {
            let label = v1::Label { key: Some("l".repeat(1 << 20)), value: None };
            let info = v1::TaskInfo {
                name: Some("n".to_owned()),
                task_id: Some(v1::TaskId { value: Some(format!("t{number}")) }),
                data: Some(vec![1; 4 << 20].into()),
                labels: Some(v1::Labels { labels: vec![label] }),
                ..Default::default()
            };
            let mut task = Task::new(TaskKey::new("f", format!("t{number}")), info, "c".to_owned());
            let status = v1::TaskStatus { data: Some(vec![1; 4 << 20].into()), ..Default::default() };
            task.outbox.push(status, 0);
            task.phase = Phase::Running;
            task
        };
        let all: Vec<Task> = (0..60).map(of).collect();
        let told = tasks(all.iter(), 0);
        assert_eq!(told.len(), 60);
        assert!(told.iter().map(Message::encoded_len).sum::<usize>() < DETAILS_BYTES_MAX + (1 << 20));
        let (first, last) = (told[0].task.as_ref().unwrap(), told[59].task.as_ref().unwrap());
        assert!(first.labels.is_some() && first.data.is_none());
        assert!(last.labels.is_none() && last.task_id.as_ref().unwrap().value() == "t59");
    }
}
