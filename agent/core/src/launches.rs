//! From RUN_TASK to RUNNING. Owns acceptance: a launch sequence is taken once, and its record is durable before anything
//! starts.

use tepui_proto::tepui::agent_link::event;
use tepui_proto::v1;
use v1::task_status::Reason;

use crate::agent::{Agent, Turn};
use crate::executors::NewTask;
use crate::status::News;
use crate::task::Phase;
use crate::timers::Timer;
use crate::{Effect, ExecutorKey, Launch, Note, TaskKey};

impl Agent {
    pub(crate) fn on_run_task(&mut self, turn: &mut Turn<'_>, run: event::RunTask) {
        if run.task_group.as_ref().is_some_and(|group| !group.tasks.is_empty()) {
            self.on_run_group(turn, run);
            return;
        }
        let (framework, info) = (run.framework.unwrap_or_default(), run.task.unwrap_or_default());
        let launch_seq = run.launch_seq.unwrap_or(0);
        let Some(key) = TaskKey::from_ids(framework.id.as_ref(), info.task_id.as_ref()) else {
            turn.odd("launch without a framework id or a task id");
            return;
        };
        if launch_seq <= self.taken_launch_seq && !mutant!("launch-taken-twice") {
            turn.note(Note::LaunchRepeated { launch_seq, accepted: self.taken_launch_seq });
            if launch_seq <= self.accepted_launch_seq {
                self.send_accepted(turn);
            }
            return;
        }
        if self.leaving.is_some() {
            turn.note(Note::TaskRefused { task: key, message: "the agent is leaving".to_owned() });
            return;
        }
        if self.tasks.get(&key).is_some_and(|task| task.phase != Phase::Done) {
            turn.odd(format!("launch {launch_seq} of task {key}, which has not ended"));
            return;
        }
        let refusal = self.refuse(&key, &info, false);
        let executor = ExecutorKey::of_task(&key.framework_id, &info);
        if executor.is_none() && (info.health_check.is_some() || info.check.is_some()) {
            turn.odd(format!("task {key} asks for checks, which this agent does not perform yet"));
        }
        let new = NewTask { key: key.clone(), info, launch_seq, group: None };
        self.accept(turn, framework, vec![new], refusal.is_none());
        if let Some(refusal) = refusal {
            turn.note(Note::TaskRefused { task: key.clone(), message: refusal.message.clone() });
            self.report(turn, &key, News::agent(refusal.state, refusal.reason, refusal.message));
            self.executor_refused(executor);
        }
    }

    /// Starts a task whose launch has become durable, unless it was refused or killed meanwhile.
    pub(crate) fn start_task(&mut self, turn: &mut Turn<'_>, key: &TaskKey) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let durable = task.record <= self.durable_record || mutant!("started-before-it-is-durable");
        if task.phase != Phase::Accepting || !durable {
            return;
        }
        if let Some(executor) = task.executor.clone() {
            self.queue_task(turn, key, &executor);
            return;
        }
        task.phase = Phase::Launching;
        let launch = Launch {
            task: key.clone(),
            container_id: task.container_id.clone(),
            executor_id: key.task_id.clone(),
            agent_id: self.agent_id.clone(),
            framework: self.frameworks.get(&key.framework_id).cloned().unwrap_or_default(),
            info: task.info.clone(),
            grace_ms: task.grace_ms(&self.config),
        };
        self.report(turn, key, News::executor(v1::TaskState::TaskStarting));
        turn.push(Effect::Launch(Box::new(launch)));
    }

    pub(crate) fn on_launched(&mut self, turn: &mut Turn<'_>, key: &TaskKey, pid: u32) {
        let Some(task) = self.tasks.get_mut(key).filter(|task| task.phase == Phase::Launching) else {
            turn.odd(format!("task {key} was started, but no start was under way"));
            return;
        };
        task.phase = Phase::Running;
        task.pid = Some(pid);
        if let Some(kill) = task.kill {
            let grace_ms = kill.force_at_ms.saturating_sub(turn.now.mono_ms);
            turn.push(Effect::Kill { task: key.clone(), grace_ms });
            return;
        }
        if let Some(limit_ms) = max_completion_ms(&task.info) {
            self.timers.set(Timer::MaxCompletion(key.clone()), turn.now.mono_ms.saturating_add(limit_ms));
        }
        self.report(turn, key, News::executor(v1::TaskState::TaskRunning));
    }

    pub(crate) fn on_launch_failed(&mut self, turn: &mut Turn<'_>, key: &TaskKey, message: String) {
        let Some(task) = self.tasks.get(key).filter(|task| task.phase == Phase::Launching) else {
            turn.odd(format!("start of task {key} failed, but none was under way: {message}"));
            return;
        };
        let news = if task.kill.is_some() {
            News::agent(v1::TaskState::TaskKilled, Reason::TaskKilledDuringLaunch, message)
        } else {
            News::agent(v1::TaskState::TaskFailed, Reason::ContainerLaunchFailed, message)
        };
        self.report(turn, key, news);
    }
}

/// Returns how long a task may run, if it says so.
pub(crate) fn max_completion_ms(info: &v1::TaskInfo) -> Option<u64> {
    let nanoseconds = info.max_completion_time.as_ref()?.nanoseconds?;
    Some(u64::try_from(nanoseconds).unwrap_or(0) / 1_000_000)
}
