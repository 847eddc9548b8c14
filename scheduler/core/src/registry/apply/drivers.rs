//! Supervised drivers: submitted, launched one generation after the other, observed, ended.
//!
//! The supervisor decides; here it is only checked that its decision still fits, and the generation is counted.

use std::sync::Arc;

use tepui_proto::tepui::operator::{Attempt, DriverState};
use tepui_proto::v1;

use super::Step;
use crate::ids::{AgentId, DRIVER_FRAMEWORK_PREFIX, DRIVERS_FRAMEWORK, FrameworkId};
use crate::registry::operation::{KillDriver, LaunchDriver, ObserveDriver, SubmitDriver};
use crate::registry::outcome::{Change, Outcome, Refusal};
use crate::registry::records::{DriverKill, DriverRecord, FrameworkRecord};

/// Most drivers, ended ones included.
pub const MAX_DRIVERS: usize = 1000;
/// Most attempts remembered of each.
pub const MAX_ATTEMPTS: usize = 50;
/// Most counted failures remembered of each, whatever its budget.
const MAX_FAILURES: usize = 1000;

impl Step<'_> {
    pub(super) fn submit_driver(&mut self, submit: &SubmitDriver) -> Result<Outcome, Refusal> {
        let spec = submit.spec.as_ref().ok_or(Refusal::Malformed)?;
        let name = spec.name();
        if name.is_empty() {
            return Err(Refusal::Malformed);
        }
        let old = self.tables.drivers.get(name).cloned();
        if let Some(old) = &old {
            // An ended driver of the same name is run again, whatever its spec.
            if !old.ended() {
                if old.spec.as_ref() == Some(spec) {
                    return Ok(Outcome::Submitted { generation: old.generation, created: false });
                }
                return Err(Refusal::DriverExists);
            }
        } else if self.tables.drivers.len() >= MAX_DRIVERS {
            self.forget_an_ended_driver()?;
        }
        self.ensure_drivers_framework();
        let old = old.as_deref().cloned().unwrap_or_default();
        let framework_id = if old.framework_id.is_empty() {
            format!("{DRIVER_FRAMEWORK_PREFIX}{name}")
        } else {
            old.framework_id
        };
        self.put_driver(DriverRecord {
            spec: Some(spec.clone()),
            state: DriverState::DriverQueued as i32,
            // The history of a name goes on: neither a generation nor a task id is ever used twice.
            generation: old.generation,
            framework_id,
            attempts: old.attempts,
            submitted_wall_ms: self.tables.wall_ms,
            ..Default::default()
        });
        Ok(Outcome::Submitted { generation: old.generation, created: true })
    }

    pub(super) fn kill_driver(&mut self, kill: &KillDriver) -> Result<Outcome, Refusal> {
        let mut driver = self.live_driver(&kill.name)?;
        if matches!(driver.state(), DriverState::DriverQueued | DriverState::DriverBackoff) {
            driver.set_state(DriverState::DriverKilled);
            driver.next_launch_ms = 0;
            "killed before its next launch".clone_into(&mut driver.message);
        } else {
            driver.kill = Some(DriverKill { grace_ms: kill.grace_ms });
        }
        self.put_driver(driver);
        Ok(Outcome::Done)
    }

    pub(super) fn launch_driver(&mut self, launch: &LaunchDriver) -> Result<Outcome, Refusal> {
        let mut driver = self.live_driver(&launch.name)?;
        if driver.kill.is_some() {
            return Err(Refusal::DriverEnded);
        }
        if launch.generation != driver.generation + 1 {
            return Err(Refusal::WrongGeneration);
        }
        if self.tables.completed(&FrameworkId::from(launch.framework_id.as_str())).is_some() {
            // A removed id can never subscribe again: the supervisor has to name another one.
            return Err(Refusal::CompletedFramework);
        }
        let item = launch.item.as_ref().ok_or(Refusal::Malformed)?;
        let task_id = item.task.as_ref().and_then(|task| task.task_id.clone()).ok_or(Refusal::Malformed)?;
        let agent = AgentId::from(launch.agent_id.as_str());
        let launch_seq = self.launch_one(&FrameworkId::from(DRIVERS_FRAMEWORK), &agent, item)?;
        if let Some(given_up) = driver.attempts.last_mut().filter(|attempt| attempt.state.is_none()) {
            given_up.state = Some(v1::TaskState::TaskUnreachable as i32);
            given_up.message = Some(driver.message.clone()).filter(|text| !text.is_empty());
            given_up.ended_at_ms = Some(self.tables.wall_ms);
        }
        driver.set_state(DriverState::DriverStaging);
        driver.generation = launch.generation;
        driver.token_sha256 = launch.token_sha256.clone();
        driver.task_id = task_id.value().to_owned();
        driver.agent_id.clone_from(&launch.agent_id);
        driver.next_launch_ms = 0;
        driver.launched_ms = self.tables.cluster_ms;
        driver.message.clear();
        if !launch.framework_id.is_empty() {
            driver.framework_id.clone_from(&launch.framework_id);
        }
        driver.attempts.push(Attempt {
            generation: Some(launch.generation),
            task_id: Some(task_id),
            agent_id: Some(agent.to_proto()),
            started_at_ms: Some(self.tables.wall_ms),
            ..Default::default()
        });
        if driver.attempts.len() > MAX_ATTEMPTS {
            driver.attempts.remove(0);
        }
        self.put_driver(driver);
        Ok(Outcome::Launched(vec![Ok(launch_seq)]))
    }

    pub(super) fn observe_driver(&mut self, observe: &ObserveDriver) -> Result<Outcome, Refusal> {
        let mut driver = self.live_driver(&observe.name)?;
        if observe.generation != driver.generation {
            return Err(Refusal::WrongGeneration);
        }
        let state = DriverState::try_from(observe.state).map_err(|_| Refusal::Malformed)?;
        driver.set_state(state);
        driver.message.clone_from(&observe.message);
        driver.backoff_ms = observe.backoff_ms;
        driver.next_launch_ms = if state == DriverState::DriverBackoff { observe.next_launch_ms } else { 0 };
        if let Some(ended) = observe.ended
            && let Some(attempt) = driver.attempts.last_mut()
            && attempt.generation == Some(observe.generation)
        {
            attempt.state = Some(ended);
            attempt.message = Some(observe.message.clone()).filter(|text| !text.is_empty());
            attempt.ended_at_ms = Some(self.tables.wall_ms);
        }
        if observe.counted {
            driver.failed_at_ms.push(self.tables.cluster_ms);
            let allowed = driver.spec.as_ref().and_then(|spec| spec.supervise.as_ref()?.max_restarts);
            let kept = (allowed.unwrap_or(10) as usize).saturating_add(1).min(MAX_FAILURES);
            let surplus = driver.failed_at_ms.len().saturating_sub(kept);
            driver.failed_at_ms.drain(..surplus);
        }
        self.put_driver(driver);
        Ok(Outcome::Done)
    }

    fn live_driver(&self, name: &str) -> Result<DriverRecord, Refusal> {
        let driver = self.tables.drivers.get(name).ok_or(Refusal::UnknownDriver)?;
        if driver.ended() { Err(Refusal::DriverEnded) } else { Ok(DriverRecord::clone(driver)) }
    }

    fn put_driver(&mut self, driver: DriverRecord) {
        let name = driver.name().to_owned();
        self.tables.drivers.insert(Arc::from(name.as_str()), Arc::new(driver));
        self.changes.push(Change::Driver(name));
    }

    /// Makes room: the ended driver that was submitted first goes, with its registers.
    fn forget_an_ended_driver(&mut self) -> Result<(), Refusal> {
        let ended = self.tables.drivers.values().filter(|driver| driver.ended());
        let oldest = ended.min_by_key(|driver| driver.submitted_wall_ms).ok_or(Refusal::TooMany)?;
        let name: Arc<str> = Arc::from(oldest.name());
        for key in self.tables.registers_of(&name) {
            self.changes.push(Change::Register { scope: key.scope.to_string(), key: key.key.to_string() });
            self.tables.registers.remove(&key);
        }
        self.tables.drivers.remove(&name);
        self.changes.push(Change::Driver(name.to_string()));
        Ok(())
    }

    /// The tasks of all drivers belong to one framework that is a part of the masters.
    fn ensure_drivers_framework(&mut self) {
        let id = FrameworkId::from(DRIVERS_FRAMEWORK);
        if self.tables.frameworks.contains_key(&id) {
            return;
        }
        self.put_framework(
            id.clone(),
            FrameworkRecord {
                info: Some(v1::FrameworkInfo {
                    id: Some(id.to_proto()),
                    name: Some(DRIVERS_FRAMEWORK.to_owned()),
                    user: Some(String::new()),
                    checkpoint: Some(true),
                    capabilities: vec![v1::framework_info::Capability {
                        r#type: Some(v1::framework_info::capability::Type::PartitionAware as i32),
                    }],
                    ..Default::default()
                }),
                internal: true,
                registered_wall_ms: self.tables.wall_ms,
                ..Default::default()
            },
        );
    }
}
