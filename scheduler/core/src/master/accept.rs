//! ACCEPT: uses offers of one agent, operation by operation; what is left goes back with the filter.

use std::collections::BTreeSet;

use tepui_proto::resources::Resources;
use tepui_proto::v1::offer::operation;
use tepui_proto::v1::scheduler::call;
use tepui_proto::v1::{self, ExecutorInfo, OperationState, TaskInfo, TaskState, task_status::Reason};

use super::core::Master;
use super::launch_parts;
use super::offers::Offered;
use super::operations::operation_event;
use super::pipeline::{Pending, PendingLaunch, PendingOperation, PendingTask};
use super::steps::{self, Entry};
use crate::abridged::abridged;
use crate::ids::{self, AgentId, ExecutorId, FrameworkId, TaskKey};
use crate::registry::{FrameworkRecord, Launch, LaunchItem, Operation, unallocated};
use crate::status::task_view;
use crate::validation::{self, CheckedTask, TaskContext};

mod group;

const NAMED_LAUNCH: &str = "'id' of an operation must not be set for LAUNCH and LAUNCH_GROUP";

/// The fold over the operations of one ACCEPT.
pub(super) struct Fold {
    pub(super) framework: FrameworkId,
    pub(super) record: std::sync::Arc<FrameworkRecord>,
    pub(super) agent: AgentId,
    pub(super) role: std::sync::Arc<str>,
    /// Allocated to the role.
    pub(super) remaining: Resources,
    /// What the agent has in all after the conversions so far, without allocation.
    pub(super) total: Resources,
    pub(super) entries: Vec<Entry>,
    pub(super) tasks: Vec<PendingTask>,
    /// What each task is charged, without allocation.
    amounts: Vec<Resources>,
    /// Custom executors that come with these tasks.
    brings: BTreeSet<ExecutorId>,
    pub(super) operations: Vec<PendingOperation>,
}

impl Fold {
    /// The executor of this task, if it has one, is paid for here.
    fn bring_executor(&mut self, checked: &CheckedTask) {
        let executor = checked.info.executor.as_ref();
        self.brings.extend(executor.map(|executor| ids::of::<_, ExecutorId>(executor.executor_id.as_ref())));
    }
}

impl Master {
    pub(super) fn on_accept(&mut self, id: &FrameworkId, accept: call::Accept) {
        match self.take_offers(id, &accept.offer_ids) {
            Ok(offers) => self.use_offers(id, &offers, accept),
            Err(reason) => {
                self.warn(format!("'accept.offer_ids' cannot be used, so nothing is done: {reason}"));
                self.refuse_accept(id, &accept, &reason);
            }
        }
    }

    fn use_offers(&mut self, id: &FrameworkId, offers: &[Offered], accept: call::Accept) {
        let Some(first) = offers.first() else { return };
        let Some(record) = self.registry.frameworks.get(id).cloned() else { return };
        let offered = offers.iter().map(|offered| &offered.resources).sum::<Resources>();
        let total = self.registry.agents.get(&first.agent).map(|agent| unallocated(agent.total()));
        let mut fold = Fold {
            framework: id.clone(),
            record,
            agent: first.agent.clone(),
            role: first.role.clone(),
            remaining: offered.allocate(&first.role),
            total: total.unwrap_or_default(),
            entries: Vec::new(),
            tasks: Vec::new(),
            amounts: Vec::new(),
            brings: BTreeSet::new(),
            operations: Vec::new(),
        };
        for operation in accept.operations {
            self.fold_operation(&mut fold, operation);
        }
        let amounts = offered.saturating_sub(&fold.remaining.unallocated());
        // What was converted and not used nobody has refused.
        let left = offered.saturating_sub(&amounts);
        self.refuse(id, &fold.role, &fold.agent, &left, accept.filters.as_ref());
        if !fold.entries.is_empty() {
            self.holdings.touch(&fold.agent);
        }
        let mut brings = fold.brings;
        let mut pending = |amounts, tasks, operations| {
            let mut launch = PendingLaunch {
                framework: fold.framework.clone(),
                agent: fold.agent.clone(),
                role: fold.role.clone(),
                amounts,
                brings: BTreeSet::new(),
                tasks,
                operations,
                request: None,
                tag: None,
            };
            // Each is paid for with its first task.
            launch.brings = launch.executors().into_keys().filter(|id| brings.remove(id)).collect();
            launch
        };
        if fold.operations.is_empty() {
            let items = fold.entries.into_iter().filter_map(Entry::into_launch).collect();
            for part in launch_parts::parts(items, fold.tasks, fold.amounts) {
                let launch = Launch {
                    framework_id: id.as_str().to_owned(),
                    agent_id: fold.agent.as_str().to_owned(),
                    tasks: part.items,
                };
                let pending = pending(part.amounts, part.tasks, Vec::new());
                self.propose(Operation::Launch(launch), Pending::Launch(pending));
            }
            return;
        }
        // What is left comes back together with what was converted and not used, when that is committed: in one offer, not in two.
        for part in steps::parts(id, &fold.agent, fold.entries, fold.tasks, fold.operations, &offered) {
            let pending = pending(part.amounts, part.tasks, part.operations);
            self.propose(Operation::Operate(part.operate), Pending::Launch(pending));
        }
    }

    fn fold_operation(&mut self, fold: &mut Fold, operation: v1::offer::Operation) {
        use operation::Type;
        // An id asks for reports of an operation; a launch reports by the states of its tasks.
        let named = operation.id.is_some();
        match operation.r#type() {
            Type::Launch => {
                for task in operation.launch.unwrap_or_default().task_infos {
                    if named {
                        self.task_error(fold, &task, Reason::TaskInvalid, NAMED_LAUNCH);
                    } else {
                        self.fold_task(fold, &task);
                    }
                }
            }
            Type::LaunchGroup => {
                let group = operation.launch_group.unwrap_or_default();
                if named {
                    for task in group.task_group.unwrap_or_default().tasks {
                        self.task_error(fold, &task, Reason::TaskGroupInvalid, NAMED_LAUNCH);
                    }
                } else {
                    self.fold_group(fold, group);
                }
            }
            _ => self.fold_conversion(fold, &operation),
        }
    }

    fn fold_task(&mut self, fold: &mut Fold, task: &TaskInfo) {
        let key = TaskKey { framework: fold.framework.clone(), task: ids::of(task.task_id.as_ref()) };
        let id_in_use = self.pipeline.holds_task(&key)
            || self.registry.tasks.contains_key(&key)
            || fold.tasks.iter().any(|earlier| earlier.key == key);
        let live_executor = self.live_executor(fold, task);
        let context = TaskContext {
            framework: &fold.record,
            agent_id: &fold.agent,
            role: &fold.role,
            remaining: &fold.remaining,
            id_in_use,
            live_executor: live_executor.as_ref(),
        };
        let checked = match validation::task(task, &context) {
            Ok(checked) => checked,
            Err(rejection) => {
                self.task_error(fold, task, Reason::TaskInvalid, &rejection.reason);
                return;
            }
        };
        if live_executor.is_none() {
            fold.bring_executor(&checked);
        }
        if let Some(executor) = &checked.info.executor
            && validation::is_small(executor)
        {
            let id = executor.executor_id.as_ref().map_or("", v1::ExecutorId::value);
            self.warn(format!("'executor.resources' of '{id}' has less than 0.01 cpus or 32 MB of mem"));
        }
        self.fold_checked(fold, checked, 0);
    }

    /// Adds a task that may be launched; `group` is 0 for one that stands alone.
    fn fold_checked(&mut self, fold: &mut Fold, checked: CheckedTask, group: u32) {
        fold.remaining = fold.remaining.less(&checked.resources);
        fold.amounts.push(checked.resources.unallocated());
        let info = checked.info;
        for reason in validation::ineffective(&info) {
            self.warn(reason);
        }
        let key = TaskKey { framework: fold.framework.clone(), task: ids::of(info.task_id.as_ref()) };
        let mut view = task_view(&info, &fold.framework.to_proto());
        view.user = view.user.or_else(|| fold.record.info.as_ref().and_then(|info| info.user.clone()));
        let mut item = LaunchItem {
            task: Some(view),
            executor: info.executor.clone().map(abridged),
            info: Some(info.clone()),
            group,
            ..Default::default()
        };
        if launch_parts::log_without_bytes(&mut item, self.config.max_logged_task_bytes) {
            self.large_tasks.insert(key.clone(), info.clone());
        }
        fold.entries.push(Entry::Launch(Box::new(item)));
        fold.tasks.push(PendingTask { key, info, killed: false, group });
    }

    /// Returns the executor of this task's executor id, if it runs on the agent or an earlier task brings it.
    fn live_executor(&self, fold: &Fold, task: &TaskInfo) -> Option<ExecutorInfo> {
        let wanted: ExecutorId = ids::of(task.executor.as_ref()?.executor_id.as_ref());
        let same =
            |executor: &ExecutorInfo| ids::of::<_, ExecutorId>(executor.executor_id.as_ref()) == wanted;
        let here = fold.tasks.iter().filter_map(|earlier| earlier.info.executor.clone());
        let pending = self
            .pipeline
            .launches_on(&fold.agent)
            .filter(|launch| launch.framework == fold.framework)
            .flat_map(|launch| launch.tasks.iter().filter_map(|task| task.info.executor.clone()));
        // Also one without tasks: it lives until its agent says otherwise.
        let running = self.registry.executors_on(&fold.agent);
        let running = running.filter(|(key, _)| key.framework == fold.framework);
        let running = running.filter_map(|(_, record)| record.info.clone());
        here.chain(pending).chain(running).find(same)
    }

    fn task_error(&mut self, fold: &Fold, task: &TaskInfo, reason: Reason, text: &str) {
        let key = TaskKey { framework: fold.framework.clone(), task: ids::of(task.task_id.as_ref()) };
        let agent = Some(fold.agent.to_proto());
        let status = self.verdict_on(&key, task, agent, TaskState::TaskError, reason, text);
        self.tell(&fold.framework, status, TaskState::TaskError);
    }

    pub(super) fn operation_error(
        &mut self,
        framework: &FrameworkId,
        operation: Option<v1::OperationId>,
        agent: Option<&AgentId>,
        text: &str,
    ) {
        let Some(operation) = operation else {
            // Without an id there is no other way to say so.
            self.warn(format!("'accept.operations' has one without an id that failed: {text}"));
            return;
        };
        let Some(connection) = self.live(framework) else { return };
        let status = v1::OperationStatus {
            operation_id: Some(operation),
            state: Some(OperationState::OperationError as i32),
            message: Some(text.to_owned()),
            agent_id: agent.map(AgentId::to_proto),
            ..Default::default()
        };
        self.send_to_framework(connection, operation_event(status));
    }

    /// One bad offer spoils the whole call: every task of it is lost, every operation with an id has failed.
    fn refuse_accept(&mut self, id: &FrameworkId, accept: &call::Accept, reason: &str) {
        let aware = self.registry.frameworks.get(id).is_some_and(|record| record.partition_aware());
        let state = TaskState::TaskDropped.as_told(aware);
        for operation in &accept.operations {
            let group = operation.launch_group.iter().flat_map(|group| &group.task_group);
            let grouped = group.flat_map(|group| &group.tasks);
            let tasks = operation.launch.iter().flat_map(|launch| &launch.task_infos).chain(grouped);
            let mut told = BTreeSet::new();
            for task in tasks {
                let key = TaskKey { framework: id.clone(), task: ids::of(task.task_id.as_ref()) };
                if told.insert(key.clone()) {
                    let agent = task.agent_id.clone();
                    let status = self.verdict_on(&key, task, agent, state, Reason::InvalidOffers, reason);
                    self.tell(id, status, state);
                }
            }
            if operation.launch.is_none() && operation.launch_group.is_none() {
                self.operation_refused(operation.r#type());
                self.operation_error(id, operation.id.clone(), None, reason);
            }
        }
    }
}
