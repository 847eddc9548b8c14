//! One look at a driver: what the Registry says, what has to follow.

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_proto::tepui::operator::DriverState;
use tepui_proto::v1::{self, TaskState};

use super::fate::{self, Fate};
use super::policy::{self, Decision, End};
use super::{Context, ELSEWHERE_MS, PATIENCE_MS, Request, Supervisor, Tag, launch};
use crate::allocator::Demand;
use crate::ids::{AgentId, DRIVERS_FRAMEWORK, FrameworkId, TaskKey};
use crate::master::effect::{Level, Note};
use crate::registry::{AgentRecord, DriverRecord, ObserveDriver, Operation, Registry};

/// A kill whose marker is still not committed after so long is asked for again, milliseconds.
const KILL_AGAIN_MS: u64 = 5_000;

impl Supervisor {
    pub(super) fn review_all(&mut self, cx: &mut Context<'_>) {
        let drivers = cx.registry.drivers.clone();
        for driver in drivers.values() {
            self.review(cx, driver);
        }
        self.leases.keep(|name| drivers.contains_key(name));
        self.retry_at_ms.retain(|name, at_ms| drivers.contains_key(&**name) && *at_ms > cx.now.cluster_ms);
        self.kill_unwanted(cx);
        self.ended.retain(|task, _| is_current(cx.registry, task));
        self.killed.retain(|task, _| cx.registry.tasks.contains_key(task));
        self.seen = drivers;
        self.plan_ahead(cx);
        self.make_room(cx);
    }

    /// Frameworks may hold offers for minutes; a driver does not wait for them that long.
    fn make_room(&mut self, cx: &mut Context<'_>) {
        let now_ms = cx.now.cluster_ms;
        for demand in &*self.demands {
            if let Some(at_ms) = self.room_at_ms.get_mut(&demand.driver).filter(|at_ms| **at_ms <= now_ms) {
                *at_ms = now_ms.saturating_add(PATIENCE_MS);
                cx.requests.push(Request::MakeRoom { demand: demand.clone() });
            }
        }
    }

    /// Looks at one driver and decides what is to be decided now.
    pub(super) fn review(&mut self, cx: &mut Context<'_>, driver: &DriverRecord) {
        if self.busy.contains(driver.name()) {
            return;
        }
        match driver.state() {
            DriverState::DriverStaging | DriverState::DriverRunning | DriverState::DriverUnreachable => {
                self.review_run(cx, driver);
            }
            DriverState::DriverBackoff if cx.now.cluster_ms >= driver.next_launch_ms => {
                let decision = Decision {
                    state: DriverState::DriverQueued,
                    next_launch_ms: 0,
                    backoff_ms: driver.backoff_ms,
                    counted: false,
                    message: driver.message.clone(),
                };
                self.observe(cx, driver, decision, None);
            }
            DriverState::DriverFinished | DriverState::DriverFailed | DriverState::DriverKilled => {
                remove_framework_of(cx, driver);
            }
            DriverState::DriverBackoff | DriverState::DriverQueued | DriverState::DriverUnknown => {}
        }
    }

    fn review_run(&mut self, cx: &mut Context<'_>, driver: &DriverRecord) {
        let now_ms = cx.now.cluster_ms;
        let lease = self.leases.until_ms(driver, now_ms);
        let seen = driver.task_key().and_then(|task| self.ended.get(&task).cloned());
        let fate = match seen {
            Some((state, message)) => Fate::Ended { state, message },
            None => fate::of(cx.registry, driver),
        };
        let given_up = driver.state() == DriverState::DriverUnreachable;
        match fate {
            Fate::Ended { state, message } => {
                let decision = policy::after(driver, End::Task(state), &message, now_ms);
                self.observe(cx, driver, decision, Some(state));
            }
            Fate::Unknown if fate::is_settled(cx.registry, driver) => {
                let decision = policy::after(
                    driver,
                    End::Task(TaskState::TaskLost),
                    "its agent does not know it",
                    now_ms,
                );
                self.observe(cx, driver, decision, Some(TaskState::TaskLost));
            }
            _ if given_up && driver.kill.is_some() => {
                // Told to stop and out of reach: it will be killed by id should it come back.
                let decision = policy::after(driver, End::Unreachable, "", now_ms);
                self.observe(cx, driver, decision, Some(TaskState::TaskUnreachable));
            }
            Fate::Unreachable if !given_up => {
                let decision = policy::after(driver, End::Unreachable, "its agent is unreachable", now_ms);
                let ended = decision.state != DriverState::DriverUnreachable;
                self.observe(cx, driver, decision, ended.then_some(TaskState::TaskUnreachable));
            }
            _ if lease.is_some_and(|until_ms| until_ms <= now_ms) => self.lease_is_over(cx, driver),
            Fate::Running if driver.state() == DriverState::DriverStaging => {
                self.observe_running(cx, driver);
            }
            Fate::Staging | Fate::Running => self.kill_if_asked(cx, driver),
            Fate::Unreachable | Fate::Unknown => {}
        }
    }

    fn lease_is_over(&mut self, cx: &mut Context<'_>, driver: &DriverRecord) {
        let agent = cx.registry.agents.get(driver.agent_id.as_str());
        let agent_connected = agent.is_some_and(|agent| cx.registry.agent_connected(agent));
        let why = if agent_connected { "it did not renew its lease" } else { "its agent is silent" };
        let decision = policy::after(driver, End::Lease { agent_connected }, why, cx.now.cluster_ms);
        let ended = decision.state != DriverState::DriverUnreachable;
        self.observe(cx, driver, decision, ended.then_some(TaskState::TaskUnreachable));
    }

    /// The driver of this generation is alive, and somebody had given it up without launching another one.
    pub(super) fn is_alive(&mut self, cx: &mut Context<'_>, driver: &DriverRecord) {
        self.leases.renew(driver, cx.now.cluster_ms);
        let back = driver.state() == DriverState::DriverUnreachable && !policy::survives_its_agent(driver);
        if back && fate::of(cx.registry, driver) == Fate::Running && !self.busy.contains(driver.name()) {
            self.observe_running(cx, driver);
        }
    }

    fn kill_if_asked(&mut self, cx: &mut Context<'_>, driver: &DriverRecord) {
        if let (Some(kill), Some(task)) = (&driver.kill, driver.task_key()) {
            self.kill_task(cx, &task, kill.grace_ms.map(kill_policy));
        }
    }

    /// Whatever runs and is not the current generation of a driver that is wanted alive is killed by its id: drivers that
    /// were given up, and old ones that came back with their agents.
    fn kill_unwanted(&mut self, cx: &mut Context<'_>) {
        for task in cx.registry.tasks_of(&FrameworkId::from(DRIVERS_FRAMEWORK)) {
            if !is_wanted(cx.registry, &task) {
                self.kill_task(cx, &task, None);
            }
        }
    }

    /// Asks for a task to be killed; from then on `Master` sees to it. Again only if that was not written down.
    fn kill_task(&mut self, cx: &mut Context<'_>, task: &TaskKey, kill_policy: Option<v1::KillPolicy>) {
        let Some(record) = cx.registry.tasks.get(task) else { return };
        let now_ms = cx.now.cluster_ms;
        let asked = self.killed.get(task).is_some_and(|at_ms| at_ms.saturating_add(KILL_AGAIN_MS) > now_ms);
        if record.kill.is_none() && !record.state().is_terminal() && !asked {
            self.killed.insert(task.clone(), now_ms);
            cx.requests.push(Request::KillTask { task: task.clone(), kill_policy });
        }
    }

    pub(super) fn observe_running(&mut self, cx: &mut Context<'_>, driver: &DriverRecord) {
        self.observe(cx, driver, running(driver), None);
    }

    fn observe(
        &mut self,
        cx: &mut Context<'_>,
        driver: &DriverRecord,
        decision: Decision,
        ended: Option<TaskState>,
    ) {
        if self.retry_at_ms.get(driver.name()).is_some_and(|at_ms| *at_ms > cx.now.cluster_ms) {
            return;
        }
        let name = driver.name().to_owned();
        cx.requests.push(Request::Note(Note {
            level: Level::Info,
            message: "driver changes its state",
            fields: vec![
                ("driver", name.clone()),
                ("generation", driver.generation.to_string()),
                ("from", driver.state().as_str_name().to_owned()),
                ("to", decision.state.as_str_name().to_owned()),
                ("reason", decision.message.clone()),
            ],
        }));
        let operation = ObserveDriver {
            name: name.clone(),
            generation: driver.generation,
            state: decision.state as i32,
            message: decision.message,
            ended: ended.map(|state| state as i32),
            next_launch_ms: decision.next_launch_ms,
            backoff_ms: decision.backoff_ms,
            counted: decision.counted,
        };
        self.busy.insert(name.clone());
        let operation = Operation::ObserveDriver(operation);
        cx.requests.push(Request::Propose { operation, tag: Tag::Observe { name } });
    }

    /// The agent on which a driver fell silent, and until when another one is looked for, if there is another one.
    fn elsewhere(&mut self, cx: &Context<'_>, driver: &DriverRecord) -> Option<(AgentId, u64)> {
        let silent = AgentId::from(driver.agent_id.as_str());
        let registry = cx.registry;
        let others = |id: &AgentId, agent: &AgentRecord| *id != silent && registry.agent_connected(agent);
        if driver.state() != DriverState::DriverUnreachable
            || !registry.agents.iter().any(|(id, agent)| others(id, agent))
        {
            return None;
        }
        let last = cx.now.cluster_ms.saturating_add(ELSEWHERE_MS);
        let until_ms = *self.elsewhere_until_ms.entry(driver.name().to_owned()).or_insert(last);
        (cx.now.cluster_ms < until_ms).then_some((silent, until_ms))
    }

    /// Finds out what waiting drivers want, and when to look again.
    pub(super) fn plan_ahead(&mut self, cx: &Context<'_>) {
        let mut demands = Vec::new();
        let mut next: Option<u64> = None;
        let mut soonest = |at_ms: Option<u64>| next = at_ms.into_iter().chain(next).min();
        for driver in cx.registry.drivers.values().filter(|driver| !driver.ended()) {
            let name = driver.name();
            if self.busy.contains(name) {
                continue;
            }
            let retry = self.retry_at_ms.get(name).filter(|at_ms| **at_ms > cx.now.cluster_ms);
            if let Some(at_ms) = retry {
                soonest(Some(*at_ms));
                continue;
            }
            if launch::is_wanting(driver) {
                let elsewhere = self.elsewhere(cx, driver);
                soonest(elsewhere.as_ref().map(|(_, until_ms)| *until_ms));
                demands.extend(launch::demand(driver, elsewhere.map(|(agent, _)| agent)));
            }
            if driver.state() == DriverState::DriverBackoff {
                soonest(Some(driver.next_launch_ms));
            }
            soonest(self.leases.until_ms(driver, cx.now.cluster_ms));
        }
        let wanting: BTreeSet<&str> = demands.iter().map(|demand| &*demand.driver).collect();
        self.room_at_ms.retain(|name, _| wanting.contains(&**name));
        self.elsewhere_until_ms.retain(|name, _| wanting.contains(&**name));
        for name in wanting {
            let first = cx.now.cluster_ms.saturating_add(PATIENCE_MS);
            soonest(Some(*self.room_at_ms.entry(name.to_owned()).or_insert(first)));
        }
        let same = |(new, old): (&Demand, &Demand)| new == old;
        if demands.len() != self.demands.len() || !demands.iter().zip(&*self.demands).all(same) {
            self.demands = Arc::from(demands);
        }
        self.next_deadline = next;
    }
}

fn remove_framework_of(cx: &mut Context<'_>, driver: &DriverRecord) {
    let framework_id = FrameworkId::from(driver.framework_id.as_str());
    if cx.registry.frameworks.contains_key(&framework_id) {
        let reason = format!("driver {} has ended", driver.name());
        cx.requests.push(Request::RemoveFramework { framework_id, reason });
    }
}

fn running(driver: &DriverRecord) -> Decision {
    Decision {
        state: DriverState::DriverRunning,
        next_launch_ms: 0,
        backoff_ms: driver.backoff_ms,
        counted: false,
        message: String::new(),
    }
}

fn kill_policy(grace_ms: u64) -> v1::KillPolicy {
    let nanoseconds = i64::try_from(grace_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds: Some(nanoseconds) }) }
}

fn current<'a>(registry: &'a Registry, task: &TaskKey) -> Option<&'a Arc<DriverRecord>> {
    let (name, _) = task.task.as_str().rsplit_once(".g")?;
    registry.driver(name).filter(|driver| driver.task_key().as_ref() == Some(task))
}

/// Whether it is the task of the current generation of a driver whose run has not been concluded.
fn is_current(registry: &Registry, task: &TaskKey) -> bool {
    current(registry, task).is_some_and(|driver| {
        matches!(
            driver.state(),
            DriverState::DriverStaging | DriverState::DriverRunning | DriverState::DriverUnreachable
        )
    })
}

fn is_wanted(registry: &Registry, task: &TaskKey) -> bool {
    current(registry, task).is_some_and(|driver| match driver.state() {
        DriverState::DriverStaging | DriverState::DriverRunning => true,
        DriverState::DriverUnreachable => !policy::survives_its_agent(driver),
        _ => false,
    })
}
