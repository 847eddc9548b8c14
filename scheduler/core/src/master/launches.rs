//! What becomes of a proposed launch: sent to the agent, refused, or killed on the way.

use tepui_proto::tepui::agent_link::{Event, event};
use tepui_proto::v1::{TaskGroupInfo, TaskInfo, TaskState, task_status::Reason};

use super::core::Master;
use super::pipeline::{PendingLaunch, PendingTask};
use crate::ids::{AgentId, FrameworkId, TaskKey};
use crate::registry::{Outcome, Refusal, TaskRecord};

impl Master {
    pub(super) fn launched(&mut self, mut launch: PendingLaunch, outcome: &Outcome) {
        self.holdings.touch(&launch.agent);
        // What the launches need must be there before them.
        self.operated(&mut launch, outcome);
        if let Some(tag) = launch.tag.clone() {
            self.supervise(|supervisor, cx| supervisor.outcome(cx, tag, outcome));
        }
        let results = match outcome {
            Outcome::Launched(results) | Outcome::Operated { launches: results, .. } => results.clone(),
            Outcome::Refused(refusal) => vec![Err(*refusal); launch.tasks.len()],
            _ => Vec::new(),
        };
        let driver = launch.tag.is_some();
        let mut tasks = launch.tasks;
        // One that is killed takes its group along.
        let killed: Vec<u32> =
            tasks.iter().filter(|task| task.killed && task.group != 0).map(|task| task.group).collect();
        for task in tasks.iter_mut().filter(|task| killed.contains(&task.group)) {
            task.killed = true;
        }
        for (task, result) in tasks.into_iter().zip(results) {
            match result {
                Ok(launch_seq) => self.task_launched(&launch.agent, task, launch_seq),
                // The supervisor knows its outcome already, and no framework waits for such a task.
                Err(_) if driver => {}
                Err(refusal) => self.task_refused(&launch.agent, &task, refusal),
            }
        }
    }

    fn task_launched(&mut self, agent: &AgentId, task: PendingTask, launch_seq: u64) {
        let PendingTask { key, info, killed, group: _ } = task;
        let Some(record) = self.registry.tasks.get(&key).cloned() else {
            self.large_tasks.remove(&key);
            return;
        };
        if record.launch_seq != launch_seq {
            return;
        }
        if self.registry.is_orphan(&key) {
            // Its framework ended meanwhile. The agent, which never got it, will say so, and that ends the charge.
            let reconcile = event::Reconcile {
                framework_id: Some(key.framework.to_proto()),
                task_id: Some(key.task.to_proto()),
                launch_seq: Some(launch_seq),
            };
            self.send_to_agent(
                agent,
                Event {
                    r#type: Some(event::Type::Reconcile as i32),
                    reconcile: Some(reconcile),
                    ..Default::default()
                },
            );
        } else if killed {
            self.never_sent(&key, agent.clone());
        } else if record.unreachable_wall_ms.is_none() && !record.state().is_terminal() {
            self.send_launch(agent, &key, info, launch_seq);
        }
    }

    /// Orders a launch. An agent that is not here gets it when it registers again. The first member of a group stands for
    /// all of it.
    pub(super) fn send_launch(&mut self, agent: &AgentId, key: &TaskKey, info: TaskInfo, launch_seq: u64) {
        let group_seq = self.registry.tasks.get(key).map_or(0, |record| record.group_seq);
        if group_seq != 0 {
            if group_seq == launch_seq {
                self.send_group(agent, &key.framework, group_seq);
            }
            return;
        }
        let framework = self.registry.frameworks.get(&key.framework).and_then(|record| record.info.clone());
        let (task, launch_seq) = (Some(info), Some(launch_seq));
        let run = event::RunTask { framework, task, launch_seq, task_group: None };
        self.send_to_agent(
            agent,
            Event { r#type: Some(event::Type::RunTask as i32), run_task: Some(run), ..Default::default() },
        );
    }

    /// Orders the launch of a whole group, as long as nobody has taken any of it.
    fn send_group(&mut self, agent: &AgentId, framework_id: &FrameworkId, group_seq: u64) {
        let members =
            self.registry.tasks_between(framework_id, agent).filter(|task| task.group_seq == group_seq);
        let mut members: Vec<_> = members.cloned().collect();
        members.sort_by_key(|record| record.launch_seq);
        let info = |record: &TaskRecord| {
            record.info.as_deref().cloned().or_else(|| self.large_tasks.get(&record.key()).cloned())
        };
        let Some(tasks) = members.iter().map(|record| info(record)).collect::<Option<Vec<TaskInfo>>>() else {
            return;
        };
        let framework = self.registry.frameworks.get(framework_id).and_then(|record| record.info.clone());
        let run = event::RunTask {
            framework,
            task: None,
            launch_seq: Some(group_seq),
            task_group: Some(TaskGroupInfo { tasks }),
        };
        self.send_to_agent(
            agent,
            Event { r#type: Some(event::Type::RunTask as i32), run_task: Some(run), ..Default::default() },
        );
    }

    /// The Registry did not take the task: it is lost before it began.
    fn task_refused(&mut self, agent: &AgentId, task: &PendingTask, refusal: Refusal) {
        self.large_tasks.remove(&task.key);
        let (state, reason) = match refusal {
            Refusal::AgentNotConnected => (TaskState::TaskDropped, Reason::AgentDisconnected),
            Refusal::UnknownAgent | Refusal::AgentRemoved => (TaskState::TaskDropped, Reason::AgentRemoved),
            Refusal::AgentDraining => (TaskState::TaskDropped, Reason::AgentDraining),
            Refusal::TaskExists | Refusal::Malformed => (TaskState::TaskError, Reason::TaskInvalid),
            _ => (TaskState::TaskDropped, Reason::InvalidOffers),
        };
        self.task_dropped(agent, task, state, reason, &refusal.to_string());
    }

    pub(super) fn launch_failed(&mut self, mut launch: PendingLaunch, reason: &str) {
        self.holdings.touch(&launch.agent);
        self.operations_failed(&mut launch, reason);
        if let Some(tag) = launch.tag {
            self.supervise(|supervisor, cx| supervisor.failed(cx, tag, false, reason));
            return;
        }
        for task in launch.tasks {
            self.large_tasks.remove(&task.key);
            let why = Reason::MasterDisconnected;
            self.task_dropped(&launch.agent, &task, TaskState::TaskDropped, why, reason);
        }
    }

    fn task_dropped(
        &mut self,
        agent: &AgentId,
        task: &PendingTask,
        state: TaskState,
        reason: Reason,
        text: &str,
    ) {
        let key = &task.key;
        let record = self.registry.frameworks.get(&key.framework);
        let aware = record.is_some_and(|record| record.partition_aware());
        let state = state.as_told(aware);
        let status = self.verdict_on(key, &task.info, Some(agent.to_proto()), state, reason, text);
        self.tell(&key.framework, status, state);
    }
}
