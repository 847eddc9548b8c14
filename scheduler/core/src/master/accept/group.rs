//! LAUNCH_GROUP: tasks of one executor that are launched all or none.

use tepui_proto::v1;
use tepui_proto::v1::offer::operation::LaunchGroup;
use tepui_proto::v1::task_status::Reason;

use super::Fold;
use crate::ids::{self, TaskKey};
use crate::master::core::Master;
use crate::master::launch_parts;
use crate::master::steps::Entry;
use crate::validation::{self, GroupContext, TaskContext};

impl Master {
    pub(super) fn fold_group(&mut self, fold: &mut Fold, launch: LaunchGroup) {
        let mut tasks = launch.task_group.unwrap_or_default().tasks;
        for task in &mut tasks {
            if task.executor.is_none() {
                task.executor = launch.executor.clone();
            }
        }
        let keys: Vec<TaskKey> = tasks
            .iter()
            .map(|task| TaskKey { framework: fold.framework.clone(), task: ids::of(task.task_id.as_ref()) })
            .collect();
        let in_use = |key: &TaskKey| {
            self.pipeline.holds_task(key)
                || self.registry.tasks.contains_key(key)
                || fold.tasks.iter().any(|earlier| earlier.key == *key)
        };
        let id_in_use: Vec<bool> = keys.iter().map(in_use).collect();
        let live_executor = tasks.first().and_then(|task| self.live_executor(fold, task));
        let context = GroupContext {
            task: TaskContext {
                framework: &fold.record,
                agent_id: &fold.agent,
                role: &fold.role,
                remaining: &fold.remaining,
                id_in_use: false,
                live_executor: live_executor.as_ref(),
            },
            executor: launch.executor.as_ref(),
            id_in_use: &id_in_use,
            share_cgroups: self.share_cgroups(fold, tasks.first()),
        };
        match validation::group(&tasks, &context) {
            Ok(checked) => {
                // Numbers tell neighbouring groups of one ACCEPT apart.
                let group = fold.tasks.last().map_or(1, |earlier| earlier.group + 1);
                if let Some(first) = checked.first().filter(|_| live_executor.is_none()) {
                    fold.bring_executor(first);
                }
                for task in checked {
                    self.fold_checked(fold, task, group);
                }
                self.fit_group(fold, &tasks);
            }
            Err(rejection) => {
                for task in &tasks {
                    self.task_error(fold, task, Reason::TaskGroupInvalid, &rejection.reason);
                }
            }
        }
    }

    /// Whether the tasks that this one's executor has on the agent share their cgroups with it; nothing if it has none.
    fn share_cgroups(&self, fold: &Fold, task: Option<&v1::TaskInfo>) -> Option<bool> {
        let wanted = task?.executor.as_ref()?.executor_id.as_ref()?;
        let shares = |container: Option<&v1::ContainerInfo>| {
            container.and_then(|container| container.linux_info.as_ref()?.share_cgroups).unwrap_or(true)
        };
        let launches = self.pipeline.launches_on(&fold.agent).filter(|one| one.framework == fold.framework);
        let mut pending = launches.flat_map(|launch| &launch.tasks).chain(&fold.tasks).map(|one| &one.info);
        let of_it = |info: &&v1::TaskInfo| {
            info.executor.as_ref().is_some_and(|one| one.executor_id.as_ref() == Some(wanted))
        };
        if let Some(info) = pending.find(of_it) {
            return Some(shares(info.container.as_ref()));
        }
        let mut known = self.registry.tasks_between(&fold.framework, &fold.agent);
        let known = known
            .find_map(|record| record.task.as_ref().filter(|task| task.executor_id.as_ref() == Some(wanted)));
        known.map(|task| shares(task.container.as_ref()))
    }

    /// A group is committed in one piece: if it is too long together, its tasks go in without their bytes.
    fn fit_group(&mut self, fold: &mut Fold, tasks: &[v1::TaskInfo]) {
        let first = fold.entries.len().saturating_sub(tasks.len());
        let Some(entries) = fold.entries.get_mut(first..) else { return };
        if entries.iter().map(Entry::bytes).sum::<usize>() <= launch_parts::MAX_PART_BYTES {
            return;
        }
        for (entry, task) in entries.iter_mut().zip(fold.tasks.iter().skip(fold.tasks.len() - tasks.len())) {
            if let Entry::Launch(item) = entry
                && launch_parts::log_without_bytes(item, 0)
            {
                self.large_tasks.insert(task.key.clone(), task.info.clone());
            }
        }
    }
}
