//! The copy of the core that all reads are rendered from. Owns which executor a task belongs to, and which executors are completed: as
//! in Mesos one stays among the others until the end of its last task is acknowledged.

use std::collections::BTreeMap;

use tepui_agent_core::{
    Agent, CompletedExecutor, CompletedTask, ExecutorKey, ExecutorView, TaskKey, TaskView,
};
use tepui_proto::resources::{Resources, apply_made};
use tepui_proto::v1;

use super::known::{Executor, Framework, Known, Phase, Stage, Task};
use crate::layout::Layout;

pub(super) fn copy(layout: &Layout, agent: &Agent) -> Known {
    let mut copy =
        Copy { layout, agent, found: Vec::new(), by_container: BTreeMap::new(), live: BTreeMap::new() };
    agent.completed_executors().for_each(|done| copy.ended_executor(done));
    agent.executors().for_each(|view| copy.live_executor(&view));
    agent.tasks().for_each(|view| copy.task(&view));
    agent.completed_tasks().for_each(|done| copy.completed_task(done));
    copy.into_known()
}

struct Copy<'a> {
    layout: &'a Layout,
    agent: &'a Agent,
    /// With the ids of their frameworks.
    found: Vec<(&'a str, Executor)>,
    /// Places in `found`.
    by_container: BTreeMap<String, usize>,
    live: BTreeMap<&'a ExecutorKey, usize>,
}

impl<'a> Copy<'a> {
    fn add(&mut self, framework_id: &'a str, executor: Executor) -> usize {
        let place = self.found.len();
        self.by_container.insert(executor.container_id.clone(), place);
        self.found.push((framework_id, executor));
        place
    }

    fn live_executor(&mut self, view: &ExecutorView<'a>) {
        let mut one = self.custom(view.key, view.info, view.container_id);
        one.phase = match () {
            () if view.ending => Phase::Terminating,
            () if view.registering => Phase::Registering,
            () => Phase::Running,
        };
        one.pid = view.pid.filter(|pid| *pid > 1);
        let place = self.add(&view.key.framework_id, one);
        self.live.insert(view.key, place);
    }

    fn ended_executor(&mut self, done: &'a CompletedExecutor) {
        let one = self.custom(&done.key, &done.info, &done.container_id);
        self.add(&done.key.framework_id, one);
    }

    fn task(&mut self, view: &TaskView<'a>) {
        let stage = match () {
            () if view.queued => Stage::Queued,
            () if view.state.is_terminal() => Stage::Terminated,
            () => Stage::Launched,
        };
        let task = self.render(view.key, view.info, view.state, view.latest);
        let Some(key) = view.executor else {
            let phase = match () {
                () if view.state.is_terminal() && !view.live => Phase::Terminated,
                () if view.state == v1::TaskState::TaskKilling => Phase::Terminating,
                () if view.pid.is_none() => Phase::Registering,
                () => Phase::Running,
            };
            let mut one = self.command(view.key, view.info, view.container_id);
            one.pid = view.pid.filter(|pid| *pid > 1 && phase != Phase::Terminated);
            one.phase = phase;
            one.tasks.push(Task { stage, task });
            self.add(&view.key.framework_id, one);
            return;
        };
        // One that was refused never had a container, but it may have been meant for an executor that runs.
        let known = self.by_container.get(view.container_id).or_else(|| self.live.get(key)).copied();
        let place = known.unwrap_or_else(|| self.forgotten(key, view.info, view.container_id));
        self.push(place, Task { stage, task });
    }

    fn completed_task(&mut self, done: &'a CompletedTask) {
        let state = done.latest.as_ref().map_or(v1::TaskState::TaskLost, v1::TaskStatus::state);
        let task = self.render(&done.key, &done.info, state, done.latest.as_ref());
        let place = match &done.executor {
            Some(key) => {
                let known = self.by_container.get(&done.container_id).copied();
                known.unwrap_or_else(|| self.forgotten(key, &done.info, &done.container_id))
            }
            None => {
                let one = self.command(&done.key, &done.info, &done.container_id);
                self.add(&done.key.framework_id, one)
            }
        };
        self.push(place, Task { stage: Stage::Completed, task });
    }

    fn push(&mut self, place: usize, task: Task) {
        if let Some((_, executor)) = self.found.get_mut(place) {
            executor.tasks.push(task);
        }
    }

    /// An executor of which only its tasks are left.
    fn forgotten(&mut self, key: &'a ExecutorKey, info: &v1::TaskInfo, container_id: &str) -> usize {
        let info = info.executor.clone().unwrap_or_default();
        let one = self.custom(key, &info, container_id);
        self.add(&key.framework_id, one)
    }

    /// Its data is left out: it may be large, and is its own business.
    fn custom(&self, key: &ExecutorKey, info: &v1::ExecutorInfo, container_id: &str) -> Executor {
        let framework_id = v1::FrameworkId { value: Some(key.framework_id.clone()) };
        let info = v1::ExecutorInfo { data: None, framework_id: Some(framework_id), ..info.clone() };
        self.executor(&key.framework_id, &key.executor_id, info, container_id)
    }

    /// The executor of a command, which has its task's id and no other task.
    fn command(&self, key: &TaskKey, info: &v1::TaskInfo, container_id: &str) -> Executor {
        let info = v1::ExecutorInfo {
            executor_id: Some(v1::ExecutorId { value: Some(key.task_id.clone()) }),
            framework_id: Some(v1::FrameworkId { value: Some(key.framework_id.clone()) }),
            name: Some(format!("Command Executor (Task: {})", key.task_id)),
            source: Some(key.task_id.clone()),
            command: info.command.clone(),
            container: info.container.clone(),
            labels: info.labels.clone(),
            ..Default::default()
        };
        self.executor(&key.framework_id, &key.task_id, info, container_id)
    }

    fn executor(&self, framework: &str, id: &str, info: v1::ExecutorInfo, container_id: &str) -> Executor {
        let address = v1::network_info::IpAddress {
            protocol: Some(v1::network_info::Protocol::IPv4.into()),
            ip_address: Some(self.agent.config().ip.clone()),
        };
        Executor {
            info,
            container_id: container_id.to_owned(),
            directory: self.layout.runs(self.agent.agent_id(), framework, id).join(container_id),
            pid: None,
            phase: Phase::Terminated,
            network_infos: vec![v1::NetworkInfo { ip_addresses: vec![address], ..Default::default() }],
            tasks: Vec::new(),
        }
    }

    fn render(
        &self,
        key: &TaskKey,
        info: &v1::TaskInfo,
        state: v1::TaskState,
        latest: Option<&v1::TaskStatus>,
    ) -> v1::Task {
        let executor = info.executor.as_ref();
        let own = info.command.as_ref();
        let command = own.or_else(|| executor.and_then(|executor| executor.command.as_ref()));
        v1::Task {
            name: Some(info.name().to_owned()),
            task_id: Some(v1::TaskId { value: Some(key.task_id.clone()) }),
            framework_id: Some(v1::FrameworkId { value: Some(key.framework_id.clone()) }),
            agent_id: Some(v1::AgentId { value: Some(self.agent.agent_id().to_owned()) }),
            executor_id: executor.and_then(|executor| executor.executor_id.clone()),
            state: Some(state.into()),
            resources: info.resources.clone(),
            statuses: latest.cloned().into_iter().collect(),
            labels: info.labels.clone(),
            discovery: info.discovery.clone(),
            container: info.container.clone(),
            user: command.and_then(|command| command.user.clone()),
            health_check: info.health_check.clone(),
            kill_policy: info.kill_policy,
            limits: info.limits.clone(),
            ..Default::default()
        }
    }

    fn into_known(self) -> Known {
        let agent = self.agent;
        let (mut current, mut completed): (Executors<'_>, Executors<'_>) = Default::default();
        for (framework_id, executor) in self.found {
            let holds = |task: &Task| task.stage != Stage::Completed;
            let is_current = executor.is_live() || executor.tasks.iter().any(holds);
            let side = if is_current { &mut current } else { &mut completed };
            side.entry(framework_id).or_default().push(executor);
        }
        let mut framework = |info: &v1::FrameworkInfo| {
            let id = info.id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default();
            Framework {
                executors: current.remove(id.as_str()).unwrap_or_default(),
                completed_executors: completed.remove(id.as_str()).unwrap_or_default(),
                info: info.clone(),
                id,
            }
        };
        let frameworks = agent.frameworks().map(&mut framework).collect();
        let completed_frameworks = agent.completed_frameworks().map(&mut framework).collect();
        let mut info = agent.config().agent_info.clone();
        let id = Some(agent.agent_id()).filter(|id| !id.is_empty());
        info.id = id.map(|id| v1::AgentId { value: Some(id.to_owned()) });
        Known {
            agent_id: agent.agent_id().to_owned(),
            registered: agent.is_registered(),
            resources: total(&info.resources, agent.made_resources()),
            info,
            drain: agent.drain().copied(),
            frameworks,
            completed_frameworks,
        }
    }
}

type Executors<'a> = BTreeMap<&'a str, Vec<Executor>>;

/// What the agent has in all: its own resources as operations changed them. What the cluster made of resources that the agent no longer
/// has is not there.
fn total(own: &[v1::Resource], made: &[v1::Resource]) -> Vec<v1::Resource> {
    match Resources::from_proto(own) {
        Ok(counted) if !made.is_empty() => apply_made(&counted, made).0.to_proto(),
        // Written as it was given, where nothing changed it.
        Ok(_) | Err(_) => own.to_vec(),
    }
}
