//! Agents that keep their promises: they launch once, repeat what is not acknowledged, and answer what they are asked. Some forget,
//! some bring what nobody knows.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::tepui::agent_link::{AgentExecutor, AgentTask, Call, Event, call, event};
use tepui_proto::v1::{self, TaskState};

use super::chance::Chance;
use super::step::Deed;
use super::world::{AGENTS, World};
use crate::ids::{AgentId, FrameworkId};
use crate::registry::unallocated;
use crate::testing::{AgentPeer, Harness, framework_info, resources, task};

/// What one that comes back with other resources has.
const OTHERWISE: [&str; 3] = ["cpus:1;mem:300;disk:100", "cpus:6;mem:4096;disk:100", "cpus:3;mem:512"];

/// Framework and task.
pub(super) type Key = (String, String);

pub(super) struct Agent {
    pub(super) peer: AgentPeer,
    unacknowledged: BTreeMap<Key, v1::TaskStatus>,
    launched: BTreeSet<u64>,
    /// Whatever ended here, at any time.
    pub(super) ended: BTreeSet<Key>,
    /// Does not answer pings.
    pub(super) deaf: bool,
    /// Came back with other resources than it had, so that it may be charged for more than there is.
    pub(super) resized: bool,
}

impl Agent {
    pub(super) fn new(harness: &mut Harness, text: &str) -> Self {
        Self {
            peer: harness.agent(text),
            unacknowledged: BTreeMap::new(),
            launched: BTreeSet::new(),
            ended: BTreeSet::new(),
            deaf: false,
            resized: false,
        }
    }

    pub(super) fn machine(&self) -> v1::MachineId {
        v1::MachineId { hostname: self.peer.info.hostname.clone(), ip: None }
    }

    /// Starts anew under no name.
    fn renew(&mut self, boot_id: String) {
        let one = &mut self.peer;
        one.id = AgentId::from("");
        one.boot_id = boot_id;
        one.accepted_launch_seq = 0;
        one.tasks.clear();
        one.executors.clear();
        one.frameworks.clear();
        one.resources.clear();
        one.resources_version = 0;
        self.unacknowledged.clear();
        self.launched.clear();
    }
}

pub(super) fn key_of(task: &AgentTask) -> Key {
    let framework = task.framework_id.as_ref().unwrap().value().to_owned();
    (framework, task.task.as_ref().unwrap().task_id.as_ref().unwrap().value().to_owned())
}

fn is_of(executor: &AgentExecutor, framework: &str, id: &str) -> bool {
    let own = executor.executor.as_ref().and_then(|info| info.executor_id.as_ref());
    executor.framework_id.as_ref().is_some_and(|one| one.value() == framework)
        && own.is_some_and(|one| one.value() == id)
}

impl World {
    pub(super) fn act(&mut self, who: usize, what: Deed, chance: &mut Chance) {
        // By preference one who has something to do.
        let useful = |one: &Agent| match what {
            Deed::Report | Deed::Forget => !one.peer.tasks.is_empty(),
            Deed::ExecutorExit => !one.peer.executors.is_empty(),
            Deed::Return => self.harness.is_closed(one.peer.connection),
            _ => true,
        };
        let mut others = (who..who + AGENTS).map(|one| one % AGENTS);
        let who = others.find(|one| useful(&self.agents[*one])).unwrap_or(who);
        match what {
            Deed::Report => {
                let keys = self.live_tasks(who);
                if let Some(key) = chance.of(&keys).cloned() {
                    let states = [TaskState::TaskRunning, TaskState::TaskFinished, TaskState::TaskFailed];
                    let state = *chance.of(&states).unwrap();
                    if state.is_terminal() || !self.agents[who].unacknowledged.contains_key(&key) {
                        self.update(who, &key, state);
                    }
                }
            }
            Deed::ExecutorExit => {
                let executors = self.agents[who].peer.executors.clone();
                if let Some(one) = chance.of(&executors) {
                    let framework = one.framework_id.clone().unwrap().value().to_owned();
                    let id = one.executor.clone().unwrap().executor_id.unwrap().value().to_owned();
                    self.executor_ends(who, &framework, &id);
                }
            }
            Deed::Break => self.harness.break_stream(self.agents[who].peer.connection),
            Deed::Return => self.return_agent(who),
            Deed::Deaf => self.agents[who].deaf = !self.agents[who].deaf,
            Deed::Forget => self.forget(who, chance),
            Deed::Bring => self.bring(who, chance),
            Deed::Resize => {
                self.harness.break_stream(self.agents[who].peer.connection);
                // One is enough: what it is charged for is judged less strictly.
                if let Some(one) = self.agents.last_mut().filter(|_| who + 1 == AGENTS) {
                    one.resized = true;
                    one.peer.info.resources = resources(chance.of(&OTHERWISE).unwrap());
                }
                self.return_agent(who);
            }
            Deed::Unregister => {
                let call = Call { r#type: Some(call::Type::Unregister as i32), ..Default::default() };
                self.harness.agent_call(&self.agents[who].peer, call);
            }
        }
    }

    fn live_tasks(&self, who: usize) -> Vec<Key> {
        let live = self.agents[who].peer.tasks.iter().filter(|own| !own.state().is_terminal());
        live.map(key_of).collect()
    }

    fn return_agent(&mut self, who: usize) {
        let mut peer = self.agents[who].peer.clone();
        if self.harness.is_closed(peer.connection) {
            self.agents[who].deaf = false;
            for own in &mut peer.tasks {
                own.unacknowledged = self.agents[who].unacknowledged.get(&key_of(own)).cloned();
            }
            self.came = true;
            // Every other time it first says how it stands, and tells the rest if it is asked.
            if self.harness.next_id().is_multiple_of(2)
                && !peer.id.as_str().is_empty()
                && peer.orphaned.is_empty()
            {
                let standing = peer.standing();
                self.harness.attach(&mut peer, standing);
            } else {
                self.harness.send_register(&mut peer);
            }
            self.agents[who].peer = peer;
        }
    }

    /// The host was started again: what ran there is lost, and nobody knows of some of it any more.
    fn forget(&mut self, who: usize, chance: &mut Chance) {
        self.harness.break_stream(self.agents[who].peer.connection);
        let lost: Vec<Key> = self.live_tasks(who).into_iter().filter(|_| chance.one_in(2)).collect();
        let one = &mut self.agents[who];
        one.peer.tasks.retain(|own| !lost.contains(&key_of(own)));
        one.unacknowledged.retain(|key, _| !lost.contains(key));
        let tasks = &one.peer.tasks;
        one.peer.executors.retain(|executor| {
            let mut used = tasks.iter().filter_map(|own| {
                let info = own.task.as_ref()?.executor.as_ref()?.executor_id.as_ref()?;
                Some((own.framework_id.as_ref()?.value(), info.value()))
            });
            used.any(|(framework, id)| is_of(executor, framework, id))
        });
        one.peer.boot_id = format!("boot-{}", self.harness.next_id());
        one.ended.extend(lost);
        self.return_agent(who);
    }

    /// Comes back with a task that the Registry does not know: of a framework that it knows, knew, or never knew.
    fn bring(&mut self, who: usize, chance: &mut Chance) {
        self.harness.break_stream(self.agents[who].peer.connection);
        self.settle_holds();
        let id = self.agents[who].peer.id.clone();
        let registry = &self.harness.registry;
        let Some(record) = registry.agents.get(&id) else { return };
        // Only what is free there, whatever may yet be committed.
        let mut free = unallocated(record.total());
        for key in registry.tasks_on(&id) {
            let list = registry.tasks[&key].task.as_ref().map(|task| task.resources.clone());
            free = free.less(&unallocated(&list.unwrap_or_default()));
        }
        for (_, executor) in registry.executors_on(&id) {
            let list = executor.info.as_ref().map(|info| info.resources.clone());
            free = free.less(&unallocated(&list.unwrap_or_default()));
        }
        for hold in self.holds.values().filter(|hold| hold.agent == id) {
            free = free.less(&hold.resources);
        }
        let peer = &self.agents[who].peer;
        for own in &peer.tasks {
            free = free.less(&unallocated(&own.task.as_ref().unwrap().resources));
        }
        let mut needs = resources("cpus:0.5;mem:50");
        if !free.covers(&unallocated(&needs)) {
            return;
        }
        let known = registry.frameworks.values().filter_map(|record| record.info.clone());
        let done = registry.completed_frameworks.iter().filter_map(|record| record.info.clone());
        let all: Vec<v1::FrameworkInfo> = known.chain(done).collect();
        let stranger = || {
            let mut info = framework_info("stranger");
            info.id = Some(v1::FrameworkId { value: Some("stranger".to_owned()) });
            info.role = Some("c".to_owned());
            info
        };
        let framework = if chance.one_in(3) { None } else { chance.of(&all).cloned() };
        let framework = framework.unwrap_or_else(stranger);
        let role = framework.roles.first().cloned().unwrap_or_else(|| framework.role().to_owned());
        for one in &mut needs {
            one.allocation_info = Some(v1::resource::AllocationInfo { role: Some(role.clone()) });
        }
        self.tasks += 1;
        let mut info = task(&format!("t{}", self.tasks), "");
        info.agent_id = Some(id.to_proto());
        info.resources = needs;
        let peer = &mut self.agents[who].peer;
        peer.accepted_launch_seq += 1;
        peer.tasks.push(AgentTask {
            framework_id: framework.id.clone(),
            task: Some(info),
            launch_seq: Some(peer.accepted_launch_seq),
            state: Some(TaskState::TaskRunning as i32),
            ..Default::default()
        });
        peer.frameworks.retain(|known| known.id != framework.id);
        peer.frameworks.push(framework);
        self.return_agent(who);
    }

    pub(super) fn obey(&mut self, who: usize, order: Event) {
        match order.r#type() {
            Order::Registered => {
                let id = order.registered.unwrap().agent_id.unwrap();
                self.agents[who].peer.id = (&id).into();
                let again: Vec<_> = self.agents[who].unacknowledged.clone().into_iter().collect();
                for (key, status) in again {
                    self.send(who, &key, status);
                }
            }
            Order::RunTask => self.run(who, order.run_task.unwrap()),
            Order::KillTask => {
                let kill = order.kill_task.unwrap();
                let framework = kill.framework_id.unwrap().value().to_owned();
                self.end(who, &(framework, kill.task_id.unwrap().value().to_owned()), TaskState::TaskKilled);
            }
            Order::ShutdownFramework => {
                self.framework_ends(who, order.shutdown_framework.unwrap().value());
            }
            Order::ShutdownExecutor => {
                let shutdown = order.shutdown_executor.unwrap();
                let framework = shutdown.framework_id.unwrap().value().to_owned();
                self.executor_ends(who, &framework, shutdown.executor_id.unwrap().value());
            }
            Order::Acknowledge => self.acknowledged(who, order.acknowledge.unwrap()),
            Order::Reconcile => {
                let asked = order.reconcile.unwrap();
                let launch_seq = asked.launch_seq();
                let framework = asked.framework_id.unwrap().value().to_owned();
                let key = (framework, asked.task_id.unwrap().value().to_owned());
                let one = &self.agents[who];
                let known = one.peer.tasks.iter().any(|own| key_of(own) == key);
                if !known && !one.unacknowledged.contains_key(&key) {
                    let never = launch_seq > one.peer.accepted_launch_seq;
                    self.update(who, &key, if never { TaskState::TaskDropped } else { TaskState::TaskGone });
                }
            }
            Order::Ping => {
                if !self.agents[who].deaf {
                    self.harness.pong(&self.agents[who].peer.clone());
                }
            }
            Order::UpdateResources => self.take_update(who, order.update_resources.unwrap()),
            Order::Shutdown => self.leave(who),
            Order::TellAll => {
                self.came = true;
                self.harness.tell(&self.agents[who].peer.clone());
            }
            Order::UpdateFramework | Order::Message | Order::UpdateMasters => {}
            // The harness keeps these apart, and compares them with what the leader knows after every input.
            Order::UpdateDrain | Order::UpdateOperations => panic!("no order: {order:?}"),
            Order::Unknown => panic!("unexpected {order:?}"),
        }
    }

    fn take_update(&mut self, who: usize, update: event::UpdateResources) {
        let peer = &mut self.agents[who].peer;
        if update.version() == peer.resources_version {
            assert_eq!(peer.resources, update.resources, "one number for two contents");
        }
        if update.version() > peer.resources_version {
            peer.resources_version = update.version();
            peer.resources = update.resources;
        }
        let call = Call {
            r#type: Some(call::Type::ResourcesAccepted as i32),
            resources_version: update.version,
            ..Default::default()
        };
        self.harness.agent_call(&self.agents[who].peer, call);
    }

    fn run(&mut self, who: usize, run: event::RunTask) {
        let framework = run.framework.clone().unwrap();
        let group = run.task_group.clone().unwrap_or_default().tasks;
        let one = &mut self.agents[who];
        for (launch_seq, task) in (run.launch_seq()..).zip(run.task.clone().into_iter().chain(group)) {
            if launch_seq <= one.peer.accepted_launch_seq {
                continue;
            }
            assert!(one.launched.insert(launch_seq), "launched twice");
            one.peer.accepted_launch_seq = launch_seq;
            if let Some(executor) = &task.executor {
                let owner = framework.id.as_ref().unwrap().value();
                let id = executor.executor_id.as_ref().unwrap().value();
                if !one.peer.executors.iter().any(|known| is_of(known, owner, id)) {
                    one.peer.executors.push(AgentExecutor {
                        framework_id: framework.id.clone(),
                        executor: Some(crate::registry::without_data(executor)),
                        container_id: None,
                    });
                }
            }
            one.peer.tasks.push(AgentTask {
                framework_id: framework.id.clone(),
                task: Some(task),
                launch_seq: Some(launch_seq),
                state: Some(TaskState::TaskStaging as i32),
                ..Default::default()
            });
        }
        one.peer.frameworks.retain(|known| known.id != framework.id);
        one.peer.frameworks.push(framework);
    }

    fn acknowledged(&mut self, who: usize, acknowledged: event::Acknowledge) {
        let framework = acknowledged.framework_id.unwrap().value().to_owned();
        let key = (framework, acknowledged.task_id.unwrap().value().to_owned());
        let one = &mut self.agents[who];
        if one.unacknowledged.get(&key).is_some_and(|status| status.uuid == acknowledged.uuid) {
            let status = one.unacknowledged.remove(&key).unwrap();
            if status.state().is_terminal() {
                one.peer.tasks.retain(|own| key_of(own) != key);
            }
        }
    }

    fn framework_ends(&mut self, who: usize, framework: &str) {
        for key in self.live_tasks(who).into_iter().filter(|key| key.0 == framework) {
            self.end(who, &key, TaskState::TaskKilled);
        }
        let executors = self.agents[who].peer.executors.clone();
        for one in executors {
            let id = one.executor.unwrap().executor_id.unwrap().value().to_owned();
            if one.framework_id.unwrap().value() == framework {
                self.executor_ends(who, framework, &id);
            }
        }
    }

    /// Its tasks fail with it.
    fn executor_ends(&mut self, who: usize, framework: &str, id: &str) {
        let uses = |own: &&AgentTask| {
            let executor = own.task.as_ref().and_then(|task| task.executor.as_ref());
            let own_id = executor.and_then(|executor| executor.executor_id.as_ref());
            own_id.is_some_and(|own| own.value() == id)
                && own.framework_id.as_ref().unwrap().value() == framework
        };
        let tasks: Vec<Key> = self.agents[who].peer.tasks.iter().filter(uses).map(key_of).collect();
        for key in tasks {
            self.end(who, &key, TaskState::TaskFailed);
        }
        let mut peer = self.agents[who].peer.clone();
        peer.executors.retain(|one| !is_of(one, framework, id));
        let known = peer.executors.len() < self.agents[who].peer.executors.len();
        let left = peer.executors.clone();
        if known {
            self.harness.executor_exits(&mut peer, &FrameworkId::from(framework), id, 9);
        }
        self.agents[who].peer.executors = left;
    }

    /// Told to leave: everything ends, and one that was removed for good starts anew.
    fn leave(&mut self, who: usize) {
        for key in self.live_tasks(who) {
            self.end(who, &key, TaskState::TaskKilled);
        }
        let executors = std::mem::take(&mut self.agents[who].peer.executors);
        for one in executors {
            let framework = FrameworkId::from(one.framework_id.as_ref().unwrap().value());
            let id = one.executor.unwrap().executor_id.unwrap().value().to_owned();
            let mut peer = self.agents[who].peer.clone();
            self.harness.executor_exits(&mut peer, &framework, &id, 0);
        }
        if self.harness.registry.is_gone(&self.agents[who].peer.id) {
            let boot_id = format!("again-{}", self.harness.next_id());
            self.agents[who].renew(boot_id);
        }
    }

    fn end(&mut self, who: usize, key: &Key, state: TaskState) {
        let own = self.agents[who].peer.tasks.iter().find(|own| key_of(own) == *key);
        if own.is_some_and(|own| !own.state().is_terminal()) {
            self.update(who, key, state);
        }
    }

    fn update(&mut self, who: usize, key: &Key, state: TaskState) {
        self.uuids += 1;
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&self.uuids.to_be_bytes());
        let status = v1::TaskStatus {
            task_id: Some(v1::TaskId { value: Some(key.1.clone()) }),
            state: Some(state as i32),
            source: Some(v1::task_status::Source::Agent as i32),
            uuid: Some(Bytes::copy_from_slice(&uuid)),
            ..Default::default()
        };
        let one = &mut self.agents[who];
        if let Some(own) = one.peer.tasks.iter_mut().find(|own| key_of(own) == *key) {
            own.state = Some(state as i32);
            own.latest_status = Some(status.clone());
        }
        if state.is_terminal() {
            one.ended.insert(key.clone());
        }
        one.unacknowledged.insert(key.clone(), status.clone());
        self.send(who, key, status);
    }

    fn send(&mut self, who: usize, key: &Key, status: v1::TaskStatus) {
        let framework_id = Some(v1::FrameworkId { value: Some(key.0.clone()) });
        let (peer, latest) = (self.agents[who].peer.clone(), status.state());
        self.harness.report_status(&peer, framework_id, status, latest);
    }
}
