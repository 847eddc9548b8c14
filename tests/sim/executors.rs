//! Modelled executors of frameworks on the agents' hosts: they outlive their agent, subscribe again when their stream broke, tell what was
//! not acknowledged, run tasks and groups of tasks, and end when they have had nothing to do for a while.

use std::collections::BTreeMap;

use bytes::Bytes;
use tepui_agent_core::{ExecutorKey, Exit, Found, Input, LaunchExecutor, ShowVolumes};
use tepui_proto::v1;
use tepui_proto::v1::executor::{Event as Told, call, event};

use super::agenda::{MS, Micros, SECOND};
use super::agents::{KILLED, TERMINATED, thousandths};
use super::event::Event;
use super::tasks::{self, Behaviour};
use super::world::World;

/// An executor without tasks leaves after this time.
const IDLE: Micros = 3 * SECOND;
/// A lost host leaves no wait status.
pub(crate) const NO_STATUS: i32 = -1;

/// One process of an executor.
pub(crate) struct SimExecutor {
    pub(crate) agent: usize,
    key: ExecutorKey,
    container_id: String,
    pub(crate) alive: bool,
    status: i32,
    kill_asked: bool,
    connection: Option<u64>,
    /// What it hears next is not before this.
    hears_at: Micros,
    idle_since: Micros,
    cpus: u64,
    /// Running tasks, with their CPUs in thousandths.
    tasks: BTreeMap<String, u64>,
    /// Tasks of which nothing was acknowledged.
    unacknowledged_tasks: BTreeMap<String, v1::TaskInfo>,
    unacknowledged: Vec<v1::TaskStatus>,
}

/// What happens to an executor; by its number.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Subscribe,
    Hear { connection: u64, told: Box<Told> },
    Closed { connection: u64 },
    TaskEnds { task: String, state: v1::TaskState },
    End { status: i32 },
    LookIdle,
}

impl Happening {
    /// For the trace.
    pub(crate) fn word(&self) -> u64 {
        match self {
            Happening::Subscribe => 1,
            Happening::Hear { connection, .. } => 2 << 32 | connection,
            Happening::Closed { connection } => 3 << 32 | connection,
            Happening::TaskEnds { state, .. } => 4 << 32 | *state as u64,
            Happening::End { status } => 5 << 32 | u64::from(status.cast_unsigned()),
            Happening::LookIdle => 6,
        }
    }
}

impl World {
    pub(crate) fn executor_start(
        &mut self,
        agent: usize,
        life: u64,
        launch: LaunchExecutor,
    ) -> Result<(), String> {
        if self.agents[agent].life != life || !self.agents[agent].up {
            return Ok(());
        }
        if self.executors.iter().any(|one| one.container_id == launch.container_id) {
            return Err(format!("executor {} was started twice in one container", launch.executor));
        }
        let executor = launch.executor.clone();
        if self.chance.percent(3) {
            let message = "no luck".to_owned();
            return self.agent_input(agent, life, Input::ExecutorLaunchFailed { executor, message });
        }
        let cpus = thousandths(&launch.info.resources);
        self.check_room(agent, cpus)?;
        self.report.executors += 1;
        let number = self.executors.len();
        self.executors.push(SimExecutor {
            agent,
            key: executor.clone(),
            container_id: launch.container_id,
            alive: true,
            status: 0,
            kill_asked: false,
            connection: None,
            hears_at: 0,
            idle_since: self.now,
            cpus,
            tasks: BTreeMap::new(),
            unacknowledged_tasks: BTreeMap::new(),
            unacknowledged: Vec::new(),
        });
        let delay = self.chance.between(0, 50) * MS;
        self.after(delay, Event::Executor { number, what: Happening::Subscribe });
        self.after(IDLE, Event::Executor { number, what: Happening::LookIdle });
        let pid = 1_000_000 + u32::try_from(number).unwrap_or_default();
        self.agent_input(agent, life, Input::ExecutorLaunched { executor, pid })
    }

    pub(crate) fn executor_happens(&mut self, number: usize, what: Happening) -> Result<(), String> {
        if !self.executors[number].alive {
            return Ok(());
        }
        match what {
            Happening::Subscribe => self.executor_subscribes(number),
            Happening::Hear { connection, told } => {
                if self.executors[number].connection == Some(connection) {
                    return self.executor_hears(number, *told);
                }
                Ok(())
            }
            Happening::Closed { connection } => {
                if self.executors[number].connection == Some(connection) {
                    self.executor_lost_stream(number);
                }
                Ok(())
            }
            Happening::TaskEnds { task, state } => self.executor_task_ends(number, &task, state),
            Happening::End { status } => self.executor_ends(number, status),
            Happening::LookIdle => {
                let found = &self.executors[number];
                let idle = found.tasks.is_empty() && found.unacknowledged.is_empty();
                if idle && self.now.saturating_sub(found.idle_since) >= IDLE {
                    return self.executor_ends(number, 0);
                }
                self.after(SECOND, Event::Executor { number, what: Happening::LookIdle });
                Ok(())
            }
        }
    }

    fn executor_subscribes(&mut self, number: usize) -> Result<(), String> {
        let agent = self.executors[number].agent;
        if self.executors[number].connection.is_some() {
            return Ok(());
        }
        if !self.agents[agent].up {
            let delay = self.chance.between(100, 1_000) * MS;
            self.after(delay, Event::Executor { number, what: Happening::Subscribe });
            return Ok(());
        }
        self.connections += 1;
        let connection = self.connections;
        let found = &mut self.executors[number];
        found.connection = Some(connection);
        let update = |status: &v1::TaskStatus| call::Update { status: Some(status.clone()) };
        let subscribe = call::Subscribe {
            unacknowledged_tasks: found.unacknowledged_tasks.values().cloned().collect(),
            unacknowledged_updates: found.unacknowledged.iter().map(update).collect(),
        };
        let executor = found.key.clone();
        let life = self.agents[agent].life;
        let input = Input::ExecutorSubscribed { executor, connection, subscribe: Box::new(subscribe) };
        self.agent_input(agent, life, input)
    }

    fn executor_lost_stream(&mut self, number: usize) {
        self.executors[number].connection = None;
        let delay = self.chance.between(20, 1_500) * MS;
        self.after(delay, Event::Executor { number, what: Happening::Subscribe });
    }

    /// The agent's process is gone, and with it the streams of its executors.
    pub(crate) fn agent_lost_executors(&mut self, agent: usize, host: bool) {
        for number in 0..self.executors.len() {
            let found = &mut self.executors[number];
            if found.agent != agent || !found.alive {
                continue;
            }
            if host {
                found.alive = false;
                found.status = NO_STATUS;
                found.connection = None;
                found.tasks.clear();
            } else if found.connection.is_some() {
                self.executor_lost_stream(number);
            }
        }
    }

    pub(crate) fn tell_executor(&mut self, connection: u64, told: Option<Box<Told>>) {
        let delay = self.chance.between(50, 1_000);
        let now = self.now;
        let found = self.executors.iter_mut().position(|one| one.connection == Some(connection));
        let Some(number) = found else { return };
        let at = (now + delay).max(self.executors[number].hears_at);
        self.executors[number].hears_at = at;
        let what = match told {
            Some(told) => Happening::Hear { connection, told },
            None => Happening::Closed { connection },
        };
        self.agenda.push(at, Event::Executor { number, what });
    }

    fn executor_hears(&mut self, number: usize, told: Told) -> Result<(), String> {
        match told.r#type() {
            event::Type::Launch => {
                if let Some(task) = told.launch.and_then(|launch| launch.task) {
                    self.executor_task(number, task)?;
                }
            }
            event::Type::LaunchGroup => {
                let group = told.launch_group.and_then(|launch| launch.task_group).unwrap_or_default();
                for task in &group.tasks {
                    if task.name() != group_name(group.tasks.len()) {
                        let count = group.tasks.len();
                        return Err(format!("{count} tasks came of what was launched as {}", task.name()));
                    }
                }
                for task in group.tasks {
                    self.executor_task(number, task)?;
                }
            }
            event::Type::Kill => {
                let task = told.kill.and_then(|kill| kill.task_id).map(|id| id.value().to_owned());
                let task = task.unwrap_or_default();
                let delay = self.chance.between(0, 500) * MS;
                let what = Happening::TaskEnds { task, state: v1::TaskState::TaskKilled };
                self.after(delay, Event::Executor { number, what });
            }
            event::Type::Acknowledged => {
                let acknowledged = told.acknowledged.unwrap_or_default();
                let found = &mut self.executors[number];
                let task = acknowledged.task_id.as_ref().map_or("", v1::TaskId::value);
                found.unacknowledged_tasks.remove(task);
                let told = |status: &v1::TaskStatus| status.uuid == acknowledged.uuid;
                let Some(at) = found.unacknowledged.iter().position(told) else { return Ok(()) };
                // From now on the agent knows how the task ended. Of an executor that dies before, it can only say that it failed.
                let status = match found.unacknowledged.remove(at).state() {
                    v1::TaskState::TaskFinished => 0,
                    v1::TaskState::TaskFailed => 1 << 8,
                    _ => return Ok(()),
                };
                self.ledger.ends.insert((found.key.framework_id.clone(), task.to_owned()), status);
            }
            event::Type::Shutdown => {
                let delay = self.chance.between(0, 2_000) * MS;
                self.after(delay, Event::Executor { number, what: Happening::End { status: 0 } });
            }
            _other => {}
        }
        Ok(())
    }

    fn executor_task(&mut self, number: usize, info: v1::TaskInfo) -> Result<(), String> {
        let task = info.task_id.as_ref().map_or("", v1::TaskId::value).to_owned();
        let name = (self.executors[number].key.framework_id.clone(), task.clone());
        self.started(&name)?;
        let cpus = thousandths(&info.resources);
        self.check_room(self.executors[number].agent, cpus)?;
        let behaviour = tasks::labelled(&info);
        let found = &mut self.executors[number];
        found.tasks.insert(task.clone(), cpus);
        found.unacknowledged_tasks.insert(task.clone(), info);
        if let Behaviour::Run { ms, code } = behaviour {
            let state = if code == 0 { v1::TaskState::TaskFinished } else { v1::TaskState::TaskFailed };
            let what = Happening::TaskEnds { task: task.clone(), state };
            self.after(ms * MS, Event::Executor { number, what });
        }
        self.executor_updates(number, &task, v1::TaskState::TaskRunning)
    }

    fn executor_task_ends(&mut self, number: usize, task: &str, state: v1::TaskState) -> Result<(), String> {
        if self.executors[number].tasks.remove(task).is_none() {
            return Ok(());
        }
        self.executors[number].idle_since = self.now;
        self.executor_updates(number, task, state)
    }

    fn executor_updates(&mut self, number: usize, task: &str, state: v1::TaskState) -> Result<(), String> {
        let uuid = Bytes::copy_from_slice(&self.chance.seed()[..16]);
        let found = &mut self.executors[number];
        let status = v1::TaskStatus {
            task_id: Some(v1::TaskId { value: Some(task.to_owned()) }),
            state: Some(state as i32),
            source: Some(v1::task_status::Source::Executor as i32),
            executor_id: Some(v1::ExecutorId { value: Some(found.key.executor_id.clone()) }),
            uuid: Some(uuid),
            ..v1::TaskStatus::default()
        };
        found.unacknowledged.push(status.clone());
        if found.connection.is_none() {
            return Ok(());
        }
        let (agent, executor) = (found.agent, found.key.clone());
        let life = self.agents[agent].life;
        self.agent_input(agent, life, Input::ExecutorUpdate { executor, status: Box::new(status) })
    }

    pub(crate) fn kill_executor(&mut self, agent: usize, key: &ExecutorKey, grace_ms: u64) {
        let patience = self.chance.between(0, grace_ms.saturating_add(50));
        let living = |one: &SimExecutor| one.alive && one.agent == agent && one.key == *key;
        let Some(number) = self.executors.iter().position(living) else { return };
        self.executors[number].kill_asked = true;
        let status = if patience >= grace_ms { KILLED } else { TERMINATED };
        let what = Happening::End { status };
        self.after(patience.min(grace_ms) * MS, Event::Executor { number, what });
    }

    fn executor_ends(&mut self, number: usize, status: i32) -> Result<(), String> {
        let found = &mut self.executors[number];
        found.alive = false;
        found.status = status;
        found.connection = None;
        found.tasks.clear();
        let (agent, executor) = (found.agent, found.key.clone());
        let exit = Exit::Status { status, kill_asked: found.kill_asked };
        let life = self.agents[agent].life;
        self.agent_input(agent, life, Input::ExecutorExited { executor, exit })
    }

    /// Kills one of the executors from outside.
    pub(crate) fn kill_some_executor(&mut self) -> bool {
        let alive: Vec<usize> = (0..self.executors.len()).filter(|one| self.executors[*one].alive).collect();
        if !alive.is_empty() {
            let number = alive[self.chance.index(alive.len())];
            self.note(|| format!("executor {number} is killed"));
            self.after(0, Event::Executor { number, what: Happening::End { status: KILLED } });
        }
        !alive.is_empty()
    }

    /// What a starting agent finds of an executor.
    pub(crate) fn found_executor(&self, container_id: &str) -> Found {
        let found = self.executors.iter().enumerate().find(|(_, one)| one.container_id == container_id);
        match found {
            None => Found::NeverStarted,
            Some((number, one)) if one.alive => {
                Found::Running { pid: 1_000_000 + u32::try_from(number).unwrap_or_default() }
            }
            Some((_, one)) if one.status == NO_STATUS => {
                Found::Lost { message: "the host was lost".to_owned() }
            }
            Some((_, one)) => Found::Exited(Exit::Status { status: one.status, kill_asked: one.kill_asked }),
        }
    }

    /// CPUs that executors and their tasks use on a host, in thousandths.
    pub(crate) fn executors_use(&self, agent: usize) -> u64 {
        let here = self.executors.iter().filter(|one| one.alive && one.agent == agent);
        here.map(|one| one.cpus + one.tasks.values().sum::<u64>()).sum()
    }

    /// Volumes in the sandbox of an executor.
    pub(crate) fn volumes_shown(&mut self, agent: usize, life: u64, show: ShowVolumes) -> Result<(), String> {
        let ShowVolumes { executor, container_id, tasks, .. } = show;
        self.agent_input(agent, life, Input::VolumesShown { executor, container_id, tasks, failure: None })
    }
}

/// The name of each task of a group of so many.
pub(crate) fn group_name(count: usize) -> String {
    format!("one of {count}")
}

/// The executor of a framework under this id.
pub(crate) fn executor_info(id: &str) -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        executor_id: Some(v1::ExecutorId { value: Some(id.to_owned()) }),
        r#type: Some(v1::executor_info::Type::Custom as i32),
        command: Some(v1::CommandInfo { value: Some("executor".to_owned()), ..Default::default() }),
        resources: tepui_scheduler_core::testing::resources("cpus:0.1;mem:32;disk:1"),
        ..v1::ExecutorInfo::default()
    }
}
