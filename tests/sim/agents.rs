//! The agents: real cores, a modelled disk that may lose its last writes, modelled processes that outlive their agent.

use std::collections::BTreeMap;

use tepui_agent_core as agent_core;
use tepui_agent_core::checkpoint::{Record, State};
use tepui_agent_core::{Agent, Effect, ExecutorKey, Exit, Found, Input, TaskKey, VolumeName};
use tepui_proto::tepui::agent_link;
use tepui_proto::v1;
use tepui_scheduler_core::testing as make;

use super::agenda::{MS, Micros, SECOND};
use super::event::{Event, ToClient, ToMaster};
use super::fleet::machine;
use super::network::Place;
use super::tasks::{self, Behaviour, Process};
use super::volumes::Contents;
use super::world::World;

/// Whether this call opens a stream.
pub(crate) fn opens(call: &agent_link::Call) -> bool {
    matches!(call.r#type(), agent_link::call::Type::Register | agent_link::call::Type::Attach)
}

/// SIGKILL and SIGTERM as raw wait statuses.
pub(crate) const KILLED: i32 = 9;
pub(crate) const TERMINATED: i32 = 15;
/// What each agent has.
const AGENT_CPUS: u64 = 4;

/// One agent and its host.
pub(crate) struct SimAgent {
    pub(crate) up: bool,
    pub(crate) life: u64,
    core: Option<Agent>,
    /// What is on the disk, as whoever starts from it would read it.
    disk: State,
    stream: Option<u64>,
    target: Option<usize>,
    pub(crate) processes: BTreeMap<TaskKey, Process>,
    /// The volumes of the host.
    pub(crate) volumes: BTreeMap<VolumeName, Contents>,
    wish: u64,
    pub(crate) slow_until: Micros,
    /// How far its calendar is off, milliseconds, and its clock ahead.
    pub(crate) calendar_off: i64,
    pub(crate) clock_ahead: Micros,
    /// A new agent on this host, because the last one was told to leave.
    generation: u64,
}

impl SimAgent {
    pub(crate) fn new(_index: usize, _chance: &mut super::Chance) -> Self {
        SimAgent {
            up: false,
            life: 0,
            core: None,
            disk: State::default(),
            stream: None,
            target: None,
            processes: BTreeMap::new(),
            volumes: BTreeMap::new(),
            wish: 0,
            slow_until: 0,
            calendar_off: 0,
            clock_ahead: 0,
            generation: 0,
        }
    }

    /// The id that its disk knows.
    pub(crate) fn agent_id(&self) -> &str {
        &self.disk.agent_id
    }

    pub(crate) fn state(&self) -> &State {
        &self.disk
    }

    pub(crate) fn check_invariants(&self) {
        if let Some(core) = &self.core {
            core.check_invariants();
        }
    }
}

fn scalar(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: Some(name.to_owned()),
        r#type: Some(v1::value::Type::Scalar as i32),
        scalar: Some(v1::value::Scalar { value: Some(value) }),
        ..v1::Resource::default()
    }
}

/// Resources of a task or an agent.
pub(crate) fn resources(cpus: f64, mem: f64) -> Vec<v1::Resource> {
    vec![scalar("cpus", cpus), scalar("mem", mem)]
}

impl World {
    pub(crate) fn restart_agent(&mut self, agent: usize, life: u64) -> Result<(), String> {
        if self.agents[agent].up || self.agents[agent].life != life {
            return Ok(());
        }
        let seed = self.chance.seed();
        let boot_id = self.chance.uuid();
        let found = &mut self.agents[agent];
        let info = v1::AgentInfo {
            hostname: machine(agent).hostname,
            port: Some(5051),
            resources: make::resources(&format!("cpus:{AGENT_CPUS};mem:4096;disk:1000")),
            ..v1::AgentInfo::default()
        };
        let mut config = agent_core::Config::new(info, format!("10.0.1.{}", agent + 1), seed);
        config.boot_id = boot_id;
        let state = found.disk.clone();
        let has_tasks = !state.tasks.is_empty() || !state.executors.is_empty();
        let executors: Vec<(ExecutorKey, String)> =
            state.executors.iter().map(|(key, one)| (key.clone(), one.container_id.clone())).collect();
        let commands = state.tasks.iter().filter(|(_, task)| task.info.executor.is_none());
        let processes: Vec<(TaskKey, Found)> =
            commands.map(|(key, _)| (key.clone(), found_process(found.processes.get(key)))).collect();
        // A task whose process was never started must stay so: nothing of the earlier life may start it now.
        found.core = Some(Agent::new(config, state));
        found.up = true;
        found.life += 1;
        found.stream = None;
        found.target = None;
        let life = found.life;
        self.note(|| format!("agent {agent} starts with {} tasks", processes.len()));
        let executors = executors.into_iter().map(|(key, container)| (key, self.found_executor(&container)));
        let executors = executors.collect();
        if has_tasks {
            self.agent_handle(agent, Input::Recovered { processes, executors })?;
        }
        self.after(self.agents[agent].generation % 2 * MS + 5 * MS, Event::AgentSearch { agent, life });
        Ok(())
    }

    /// Kills the agent's process; with `host`, everything on its host too.
    pub(crate) fn crash_agent(&mut self, agent: usize, host: bool) -> bool {
        if !self.agents[agent].up {
            return false;
        }
        self.note(|| format!("agent {agent} crashes{}", if host { " with its host" } else { "" }));
        let life = self.agents[agent].life;
        self.end_streams_of_client(Place::Agent(agent), life);
        let now = self.now;
        let found = &mut self.agents[agent];
        found.up = false;
        found.core = None;
        found.stream = None;
        if host {
            for process in found.processes.values_mut() {
                // A lost host leaves no wait status.
                process.ended.get_or_insert((now, -1));
            }
            for driver in self.drivers.iter_mut().filter(|driver| driver.agent == agent) {
                driver.alive = false;
            }
        }
        self.agent_lost_executors(agent, host);
        let delay = self.chance.between(500, 30_000) * MS;
        self.after(delay, Event::RestartAgent { agent, life });
        true
    }

    pub(crate) fn agent_search(&mut self, agent: usize, life: u64) -> Result<(), String> {
        let found = &self.agents[agent];
        if !found.up || found.life != life || found.stream.is_some() {
            return Ok(());
        }
        let target = self.serving_node().filter(|node| {
            let (one, other) = (Place::Agent(agent), Place::Master(*node));
            self.network.reaches(one, other) && self.network.reaches(other, one)
        });
        // Sometimes an old leader is believed for a while.
        let target = target.or_else(|| {
            (0..self.nodes.len()).find(|node| self.nodes[*node].up && self.nodes[*node].serves())
        });
        match target {
            Some(node) => {
                self.agents[agent].target = Some(node);
                let delay = self.latency();
                let input = Box::new(Input::LinkUp);
                self.after(delay, Event::AgentInput { agent, life, input });
            }
            None => {
                let delay = self.chance.between(50, 400) * MS;
                self.after(delay, Event::AgentSearch { agent, life });
            }
        }
        Ok(())
    }

    pub(crate) fn agent_input(&mut self, agent: usize, life: u64, input: Input) -> Result<(), String> {
        if self.agents[agent].life != life || !self.agents[agent].up {
            return Ok(());
        }
        self.agent_handle(agent, input)
    }

    pub(crate) fn agent_tick(&mut self, agent: usize, life: u64, wish: u64) -> Result<(), String> {
        if self.agents[agent].wish != wish {
            return Ok(());
        }
        self.agent_input(agent, life, Input::Tick)
    }

    pub(crate) fn durable(&mut self, agent: usize, life: u64, id: u64, record: Record) -> Result<(), String> {
        if self.agents[agent].life != life || !self.agents[agent].up {
            return Ok(());
        }
        self.agents[agent].disk.apply(&record);
        self.agent_handle(agent, Input::Checkpointed { id })
    }

    fn agent_handle(&mut self, agent: usize, input: Input) -> Result<(), String> {
        let found = &self.agents[agent];
        let now = agent_core::Now {
            mono_ms: (self.now + found.clock_ahead) / MS,
            wall_ms: self.wall_ms().saturating_add_signed(found.calendar_off),
        };
        let mut effects = Vec::new();
        let Some(core) = self.agents[agent].core.as_mut() else { return Ok(()) };
        core.handle(now, input, &mut effects);
        for effect in effects {
            self.agent_perform(agent, effect)?;
        }
        Ok(())
    }

    fn agent_perform(&mut self, agent: usize, effect: Effect) -> Result<(), String> {
        let life = self.agents[agent].life;
        match effect {
            Effect::Checkpoint { id, record } => {
                // Behind all earlier ones: the disk is a queue.
                let slow = self.agents[agent].slow_until > self.now;
                let at = self.now + self.chance.between(0, if slow { 500 * MS } else { 1_500 });
                let event = Event::Durable { agent, life, id, record: Box::new(record) };
                self.checks.disk_at.resize(self.agents.len(), 0);
                let at = at.max(self.checks.disk_at[agent]);
                self.checks.disk_at[agent] = at;
                self.agenda.push(at, event);
            }
            Effect::Send(call) => self.agent_send(agent, *call),
            Effect::Reconnect { .. } => {
                self.end_streams_of_client(Place::Agent(agent), life);
                self.agents[agent].stream = None;
                let delay = self.chance.between(5, 300) * MS;
                self.after(delay, Event::AgentSearch { agent, life });
            }
            Effect::Launch(launch) => {
                let delay = self.chance.between(500, 20 * MS);
                self.after(delay, Event::Start { agent, life, launch });
            }
            Effect::Kill { task, grace_ms } => self.kill_process(agent, &task, grace_ms),
            Effect::Forgotten { task, .. } => {
                self.agents[agent].processes.remove(&task);
            }
            Effect::WakeAt { mono_ms } => {
                self.agents[agent].wish += 1;
                let wish = self.agents[agent].wish;
                let at = (mono_ms * MS).saturating_sub(self.agents[agent].clock_ahead).max(self.now);
                self.agenda.push(at, Event::AgentTick { agent, life, wish });
            }
            Effect::Shutdown { message } => {
                self.note(|| format!("agent {agent} leaves: {message}"));
                self.end_streams_of_client(Place::Agent(agent), life);
                let found = &mut self.agents[agent];
                found.up = false;
                found.core = None;
                found.stream = None;
                found.disk = State::default();
                found.processes.clear();
                found.volumes.clear();
                self.agent_lost_executors(agent, true);
                let found = &mut self.agents[agent];
                found.generation += 1;
                self.after(SECOND, Event::RestartAgent { agent, life });
            }
            Effect::Volumes { destroy, create } => {
                self.note(|| format!("agent {agent}: volumes {destroy:?} go, {create:?} come"));
                self.change_volumes(agent, destroy, create)?;
            }
            Effect::LaunchExecutor(launch) => {
                let delay = self.chance.between(500, 20 * MS);
                self.after(delay, Event::ExecutorStart { agent, life, launch });
            }
            Effect::KillExecutor { executor, grace_ms } => self.kill_executor(agent, &executor, grace_ms),
            Effect::ShowVolumes(show) => self.after(MS, Event::ShowVolumes { agent, life, show }),
            Effect::ToExecutor { connection, event } => self.tell_executor(connection, Some(event)),
            Effect::CloseExecutor { connection } => self.tell_executor(connection, None),
            Effect::ExecutorForgotten { .. } | Effect::FollowMasters(_) => {}
            Effect::Note(note) => self.note(|| format!("agent {agent}: {note}")),
        }
        Ok(())
    }

    fn agent_send(&mut self, agent: usize, call: agent_link::Call) {
        let life = self.agents[agent].life;
        if opens(&call) {
            let Some(node) = self.agents[agent].target else { return };
            let first = ToMaster::Agent(Box::new(call));
            let stream = self.open_stream(Place::Agent(agent), life, node, first);
            self.agents[agent].stream = Some(stream);
        } else if let Some(stream) = self.agents[agent].stream {
            self.send_to_master(stream, ToMaster::Agent(Box::new(call)));
        }
    }

    pub(crate) fn agent_hears(
        &mut self,
        agent: usize,
        life: u64,
        stream: u64,
        message: ToClient,
    ) -> Result<(), String> {
        if self.agents[agent].life != life || self.agents[agent].stream != Some(stream) {
            return Ok(());
        }
        match message {
            ToClient::Agent(event) => {
                let stale = self.checks.epoch_at_agent(agent, life, &event)?;
                self.agent_handle(agent, Input::MasterEvent(event))?;
                if stale {
                    self.report.count("order of an old master");
                    if self.agents[agent].stream == Some(stream) {
                        return Err(format!("agent {agent} obeys a master older than one it has obeyed"));
                    }
                }
                Ok(())
            }
            ToClient::Refused | ToClient::End | ToClient::Framework(_) => {
                self.break_stream(stream, true, true);
                self.agent_lost_stream(agent, life, stream)
            }
        }
    }

    pub(crate) fn agent_lost_stream(&mut self, agent: usize, life: u64, stream: u64) -> Result<(), String> {
        if self.agents[agent].life != life || self.agents[agent].stream != Some(stream) {
            return Ok(());
        }
        self.agents[agent].stream = None;
        let delay = self.chance.between(1, 100) * MS;
        self.after(delay, Event::AgentSearch { agent, life });
        self.agent_handle(agent, Input::LinkDown)
    }

    pub(crate) fn start_process(
        &mut self,
        agent: usize,
        life: u64,
        launch: agent_core::Launch,
    ) -> Result<(), String> {
        if self.agents[agent].life != life || !self.agents[agent].up {
            return Ok(());
        }
        let key = launch.task.clone();
        let name = (key.framework_id.clone(), key.task_id.clone());
        let driver = tasks::behaviour(&launch.info) == Behaviour::Driver;
        if !driver && self.chance.percent(3) {
            self.report.count("launch refused");
            let message = "no luck".to_owned();
            return self.agent_input(agent, life, Input::LaunchFailed { task: key, message });
        }
        self.started(&name)?;
        self.processes += 1;
        let number = self.processes;
        let pid = u32::try_from(number).unwrap_or(u32::MAX);
        let volumes = self.use_volumes(agent, &name, &launch.info.resources)?;
        let cpus = thousandths(&launch.info.resources);
        self.check_room(agent, cpus)?;
        let process = Process { number, pid, ended: None, kill_asked: false, cpus, volumes };
        self.agents[agent].processes.insert(key.clone(), process);
        match tasks::behaviour(&launch.info) {
            Behaviour::Run { ms, code } => {
                let end = Event::ProcessEnd { agent, number, status: code << 8 };
                self.after(ms * MS, end);
            }
            Behaviour::Driver => self.start_driver(agent, number, &launch.info),
        }
        self.agent_input(agent, life, Input::Launched { task: key, pid })
    }

    /// A task begins; no task ever does twice.
    pub(crate) fn started(&mut self, name: &(String, String)) -> Result<(), String> {
        let starts = self.ledger.starts.entry(name.clone()).or_default();
        *starts += 1;
        self.report.task_starts += 1;
        if *starts > 1 {
            return Err(format!("task {}/{} was started {starts} times", name.0, name.1));
        }
        Ok(())
    }

    /// What runs on a host has room there, whatever anybody believes.
    pub(crate) fn check_room(&self, agent: usize, more: u64) -> Result<(), String> {
        let running = self.agents[agent].processes.values().filter(|process| process.ended.is_none());
        let used = running.map(|process| process.cpus).sum::<u64>() + self.executors_use(agent);
        if used + more > AGENT_CPUS * 1000 {
            return Err(format!("agent {agent} starts {more} thousandths of a CPU beside {used}"));
        }
        Ok(())
    }

    fn kill_process(&mut self, agent: usize, task: &TaskKey, grace_ms: u64) {
        let patience = self.chance.between(0, grace_ms.saturating_add(50));
        let Some(process) = self.agents[agent].processes.get_mut(task) else { return };
        process.kill_asked = true;
        let number = process.number;
        let status = if patience >= grace_ms { KILLED } else { TERMINATED };
        self.after(patience.min(grace_ms) * MS, Event::ProcessEnd { agent, number, status });
    }

    pub(crate) fn process_end(&mut self, agent: usize, number: usize, status: i32) -> Result<(), String> {
        let now = self.now;
        let life = self.agents[agent].life;
        let Some((key, process)) =
            self.agents[agent].processes.iter_mut().find(|(_, process)| process.number == number)
        else {
            return Ok(());
        };
        if process.ended.is_some() {
            return Ok(());
        }
        process.ended = Some((now, status));
        let exit = Exit::Status { status, kill_asked: process.kill_asked };
        let key = key.clone();
        if !process.kill_asked {
            self.ledger.ends.insert((key.framework_id.clone(), key.task_id.clone()), status);
        }
        for driver in self.drivers.iter_mut().filter(|driver| driver.process == number) {
            driver.alive = false;
        }
        self.agent_input(agent, life, Input::Exited { task: key, exit })
    }

    /// The agents' own time of the next thing, for tests of liveness.
    pub(crate) fn agent_registered(&self, agent: usize) -> bool {
        let stream = self.agents[agent].stream.and_then(|stream| self.network.streams.get(&stream));
        self.agents[agent].up && stream.is_some_and(|stream| !stream.broken)
    }

    /// Stops a process of a host at once, as `kill -9` from outside.
    pub(crate) fn kill_outside(&mut self, agent: usize, number: usize, delay: Micros) {
        self.after(delay, Event::ProcessEnd { agent, number, status: KILLED });
    }
}

/// CPUs among these, in thousandths.
pub(crate) fn thousandths(resources: &[v1::Resource]) -> u64 {
    let cpus = resources.iter().filter(|one| one.name() == "cpus").map(super::keepers::amount).sum::<f64>();
    (cpus * 1000.0).round() as u64
}

fn found_process(process: Option<&Process>) -> Found {
    match process {
        None => Found::NeverStarted,
        Some(Process { ended: Some((_, -1)), .. }) => Found::Lost { message: "the host was lost".to_owned() },
        Some(Process { ended: Some((_, status)), kill_asked, .. }) => {
            Found::Exited(Exit::Status { status: *status, kill_asked: *kill_asked })
        }
        Some(Process { pid, .. }) => Found::Running { pid: *pid },
    }
}
