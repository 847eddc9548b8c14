//! The meaning of a checkpoint: the fold of its records. Total: no sequence of records can make it fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use tepui_proto::v1;

use super::record::{
    Accepted, Acknowledged, Drain, ExecutorEnded, ExecutorLaunched, Kind, Masters, Record, Registered,
    Resources, Seen, Updated,
};
use crate::task::SEEN_MAX;
use crate::{ExecutorKey, TaskKey};

/// What an agent knows when it starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Empty before the first registration.
    pub agent_id: String,
    /// Empty before the first registration.
    pub cluster_id: String,
    /// Highest epoch seen.
    pub epoch: u64,
    /// Highest launch sequence accepted.
    pub accepted_launch_seq: u64,
    /// By framework id.
    pub frameworks: BTreeMap<String, v1::FrameworkInfo>,
    pub tasks: BTreeMap<TaskKey, TaskRecord>,
    pub resources: Resources,
    pub executors: BTreeMap<ExecutorKey, ExecutorRecord>,
    pub drain: Drain,
    /// `host:port` of the masters, as the last of them said.
    pub masters: Vec<String>,
}

/// An executor that has not ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecutorRecord {
    /// Whole, with its data.
    pub info: v1::ExecutorInfo,
    pub container_id: String,
}

/// A task that was accepted and not forgotten.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskRecord {
    pub launch_seq: u64,
    pub container_id: String,
    pub info: v1::TaskInfo,
    /// Not yet acknowledged, oldest first.
    pub unacknowledged: VecDeque<v1::TaskStatus>,
    /// The newest, acknowledged or not.
    pub latest: Option<v1::TaskStatus>,
    /// Its framework is gone.
    pub abandoned: bool,
    /// Of a task of an executor: uuids of the newest updates, acknowledged or not, newest last. An executor that did not hear that they
    /// were taken sends them again.
    pub seen: VecDeque<Bytes>,
}

impl State {
    /// Takes the next record in. What refers to an unknown task is ignored.
    pub fn apply(&mut self, record: &Record) {
        let Some(kind) = &record.kind else { return };
        match kind {
            Kind::Registered(registered) => {
                self.agent_id.clone_from(&registered.agent_id);
                self.cluster_id.clone_from(&registered.cluster_id);
            }
            Kind::Epoch(epoch) => self.epoch = self.epoch.max(*epoch),
            Kind::LaunchSeq(seq) => self.accepted_launch_seq = self.accepted_launch_seq.max(*seq),
            Kind::Framework(info) => {
                if let Some(id) = info.id.as_ref().and_then(|id| id.value.clone()) {
                    self.frameworks.insert(id, (**info).clone());
                }
            }
            Kind::Accepted(accepted) => self.accept(accepted),
            Kind::AcceptedGroup(group) => group.accepted.iter().for_each(|accepted| self.accept(accepted)),
            Kind::Executor(launched) => self.launch_executor(launched),
            Kind::ExecutorEnded(ended) => self.end_executor(ended),
            Kind::Updated(updated) => {
                let Some(status) = &updated.status else { return };
                if let Some(task) = self.task(&updated.framework_id, status.task_id.as_ref()) {
                    task.see(status.uuid());
                    task.latest = Some(status.clone());
                    task.unacknowledged.push_back(status.clone());
                }
            }
            Kind::Seen(seen) => {
                if let Some(task) = self.tasks.get_mut(&TaskKey::new(&seen.framework_id, &seen.task_id)) {
                    task.seen = seen.uuids.iter().cloned().collect();
                }
            }
            Kind::Acknowledged(acknowledged) => {
                let key = TaskKey::new(&acknowledged.framework_id, &acknowledged.task_id);
                if let Some(task) = self.tasks.get_mut(&key)
                    && task.unacknowledged.front().is_some_and(|head| head.uuid() == acknowledged.uuid)
                {
                    task.unacknowledged.pop_front();
                }
            }
            Kind::Abandoned(framework_id) => {
                for (_, task) in self.tasks.iter_mut().filter(|(key, _)| key.framework_id == *framework_id) {
                    task.abandoned = true;
                    task.unacknowledged.clear();
                }
            }
            Kind::Resources(resources) => self.resources.clone_from(resources),
            Kind::Drain(drain) => self.drain = *drain,
            Kind::Masters(masters) => self.masters.clone_from(&masters.addresses),
            Kind::Forgotten(forgotten) => {
                self.tasks.remove(&TaskKey::new(&forgotten.framework_id, &forgotten.task_id));
                self.forget_framework_without_use(&forgotten.framework_id);
            }
        }
    }

    /// Returns a shortest sequence of records with the same meaning.
    pub fn records(&self) -> Vec<Record> {
        let mut kinds = Vec::new();
        if !self.agent_id.is_empty() {
            kinds.push(Kind::Registered(Registered {
                agent_id: self.agent_id.clone(),
                cluster_id: self.cluster_id.clone(),
            }));
        }
        kinds.push(Kind::Epoch(self.epoch));
        kinds.push(Kind::LaunchSeq(self.accepted_launch_seq));
        if self.resources != Resources::default() {
            kinds.push(Kind::Resources(self.resources.clone()));
        }
        if self.drain != Drain::default() {
            kinds.push(Kind::Drain(self.drain));
        }
        if !self.masters.is_empty() {
            kinds.push(Kind::Masters(Masters { addresses: self.masters.clone() }));
        }
        kinds.extend(self.frameworks.values().map(|info| Kind::Framework(Box::new(info.clone()))));
        kinds.extend(self.executors.iter().map(|(key, executor)| executor.launched(key)));
        let abandoned = || self.tasks.iter().filter(|(_, task)| task.abandoned);
        kinds.extend(abandoned().map(|(key, task)| task.accepted(key)));
        let frameworks: BTreeSet<&String> = abandoned().map(|(key, _)| &key.framework_id).collect();
        kinds.extend(frameworks.into_iter().cloned().map(Kind::Abandoned));
        kinds.extend(
            self.tasks.iter().filter(|(_, task)| !task.abandoned).map(|(key, task)| task.accepted(key)),
        );
        kinds.extend(self.tasks.iter().flat_map(|(key, task)| task.updates(key)));
        kinds.extend(self.tasks.iter().filter_map(|(key, task)| task.seen(key)));
        kinds.into_iter().map(Record::new).collect()
    }

    fn accept(&mut self, accepted: &Accepted) {
        self.accepted_launch_seq = self.accepted_launch_seq.max(accepted.launch_seq);
        let info = accepted.info.clone().unwrap_or_default();
        let Some(task_id) = info.task_id.as_ref().and_then(|id| id.value.clone()) else { return };
        let task = TaskRecord {
            launch_seq: accepted.launch_seq,
            container_id: accepted.container_id.clone(),
            info,
            ..TaskRecord::default()
        };
        self.tasks.insert(TaskKey::new(&accepted.framework_id, task_id), task);
    }

    fn launch_executor(&mut self, launched: &ExecutorLaunched) {
        let info = launched.info.clone().unwrap_or_default();
        let Some(executor_id) = info.executor_id.as_ref().and_then(|id| id.value.clone()) else { return };
        let key = ExecutorKey::new(&launched.framework_id, executor_id);
        self.executors.insert(key, ExecutorRecord { info, container_id: launched.container_id.clone() });
    }

    /// Only of that container: there may be a later executor of the same id.
    fn end_executor(&mut self, ended: &ExecutorEnded) {
        let key = ExecutorKey::new(&ended.framework_id, &ended.executor_id);
        if self.executors.get(&key).is_some_and(|executor| executor.container_id == ended.container_id) {
            self.executors.remove(&key);
            self.forget_framework_without_use(&ended.framework_id);
        }
    }

    fn forget_framework_without_use(&mut self, id: &str) {
        let has_tasks = self.tasks.keys().any(|key| key.framework_id == id);
        if !has_tasks && !self.executors.keys().any(|key| key.framework_id == id) {
            self.frameworks.remove(id);
        }
    }

    fn task(&mut self, framework_id: &str, task_id: Option<&v1::TaskId>) -> Option<&mut TaskRecord> {
        let task_id = task_id.and_then(|id| id.value.as_deref())?;
        self.tasks.get_mut(&TaskKey::new(framework_id, task_id))
    }
}

impl ExecutorRecord {
    fn launched(&self, key: &ExecutorKey) -> Kind {
        Kind::Executor(Box::new(ExecutorLaunched {
            framework_id: key.framework_id.clone(),
            info: Some(self.info.clone()),
            container_id: self.container_id.clone(),
        }))
    }
}

impl TaskRecord {
    fn accepted(&self, key: &TaskKey) -> Kind {
        Kind::Accepted(Box::new(Accepted {
            framework_id: key.framework_id.clone(),
            launch_seq: self.launch_seq,
            info: Some(self.info.clone()),
            container_id: self.container_id.clone(),
        }))
    }

    fn see(&mut self, uuid: &[u8]) {
        if self.info.executor.is_none() || self.seen.iter().any(|seen| seen == uuid) {
            return;
        }
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(Bytes::copy_from_slice(uuid));
    }

    fn seen(&self, key: &TaskKey) -> Option<Kind> {
        let (framework_id, task_id) = (key.framework_id.clone(), key.task_id.clone());
        let uuids: Vec<Bytes> = self.seen.iter().cloned().collect();
        (!uuids.is_empty()).then_some(Kind::Seen(Seen { framework_id, task_id, uuids }))
    }

    fn updates(&self, key: &TaskKey) -> Vec<Kind> {
        let updated = |status: &v1::TaskStatus| {
            Kind::Updated(Box::new(Updated {
                framework_id: key.framework_id.clone(),
                status: Some(status.clone()),
            }))
        };
        match &self.latest {
            Some(latest) if self.unacknowledged.is_empty() => vec![
                updated(latest),
                Kind::Acknowledged(Acknowledged {
                    framework_id: key.framework_id.clone(),
                    task_id: key.task_id.clone(),
                    uuid: latest.uuid.clone().unwrap_or_default(),
                }),
            ],
            _ => self.unacknowledged.iter().map(updated).collect(),
        }
    }
}
