//! Volumes of tasks that an executor runs: they appear in its sandbox before it gets the task, as Mesos' agents update a
//! container. Owns that order, and what becomes of a task whose volume cannot be shown.

use tepui_proto::v1;
use v1::task_status::Reason;

use crate::agent::{Agent, Turn};
use crate::resources::is_volume;
use crate::status::News;
use crate::task::{Phase, Shown};
use crate::{Effect, ExecutorKey, ShowVolumes, TaskKey};

impl Agent {
    /// Returns whether these tasks, of one launch, can be handed over; asks for their volumes if they cannot.
    pub(super) fn volumes_are_shown(
        &mut self,
        turn: &mut Turn<'_>,
        key: &ExecutorKey,
        tasks: &[TaskKey],
    ) -> bool {
        let own = || tasks.iter().filter_map(|task| self.tasks.get(task));
        let wanted: Vec<v1::Resource> = own()
            .filter(|task| task.volumes != Shown::Yes)
            .flat_map(|task| task.info.resources.iter().filter(|one| is_volume(one)).cloned())
            .collect();
        if wanted.is_empty() {
            return true;
        }
        if own().any(|task| task.volumes == Shown::Asked) {
            return false;
        }
        let Some(executor) = self.executors.get(key) else { return false };
        let others = self
            .tasks_of_executor(key)
            .filter(|task| task.phase != Phase::Done && !tasks.contains(&task.key))
            .flat_map(|task| &task.info.resources);
        let show = ShowVolumes {
            executor: key.clone(),
            container_id: executor.container_id.clone(),
            agent_id: self.agent_id.clone(),
            tasks: tasks.to_vec(),
            wanted,
            held: executor
                .info
                .resources
                .iter()
                .chain(others)
                .filter(|one| is_volume(one))
                .cloned()
                .collect(),
        };
        for task in tasks {
            if let Some(task) = self.tasks.get_mut(task) {
                task.volumes = Shown::Asked;
            }
        }
        turn.push(Effect::ShowVolumes(Box::new(show)));
        false
    }

    /// The volumes of these tasks appear in the sandbox, or never will.
    pub(crate) fn on_volumes_shown(
        &mut self,
        turn: &mut Turn<'_>,
        key: &ExecutorKey,
        container_id: &str,
        tasks: &[TaskKey],
        failure: Option<String>,
    ) {
        for task in tasks {
            // It may have been killed meanwhile, and another one may have its name.
            let asked = self.tasks.get_mut(task).filter(|task| {
                (task.executor.as_ref(), task.container_id.as_str()) == (Some(key), container_id)
                    && (task.phase, task.volumes) == (Phase::Queued, Shown::Asked)
            });
            match (asked, &failure) {
                (None, _) => {}
                (Some(asked), None) => asked.volumes = Shown::Yes,
                (Some(_), Some(message)) => {
                    let reason = Reason::ContainerUpdateFailed;
                    self.report(turn, task, News::agent(v1::TaskState::TaskFailed, reason, message.clone()));
                }
            }
        }
        self.deliver(turn, key);
        if failure.is_some() {
            self.end_if_nothing_to_do(turn, key);
        }
    }
}
