//! The driver as a framework: subscribes under its fixed id, keeps the wanted number of executors, and sends them home at the end.

use std::time::Duration;

use tepui_proto::resources::Resources;
use tepui_sdk::environment::{DRIVER_NAME, DriverEnvironment, MASTERS};
use tepui_sdk::scheduler::{DriverGone, Event, Events, Handle, Outcome};
use tepui_sdk::v1;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::fleet::Fleet;
use super::pool::Roster;
use super::resources;
use crate::environment;
use crate::job::Job;

/// After a restart the master's word on running tasks is waited for this long before anything is launched.
const SETTLE: Duration = Duration::from_millis(1500);
/// For this long executors are spread over agents; then any agent will do.
const SPREAD: Duration = Duration::from_secs(3);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Offers are refused for this long while nothing is missing; a new need asks for them again.
const REFUSE_SECONDS: f64 = 600.0;
/// Executors get this long to end by themselves.
const FAREWELL: Duration = Duration::from_secs(3);
const KILL_GRACE_MS: u64 = 1000;
const FAILOVER_TIMEOUT_SECONDS: f64 = 3600.0;

/// Describes the framework of one job.
pub(super) fn info(job: &Job, environment: &DriverEnvironment) -> v1::FrameworkInfo {
    use v1::framework_info::capability::Type;
    let capability = |kind: Type| v1::framework_info::Capability { r#type: Some(kind as i32) };
    v1::FrameworkInfo {
        id: Some(environment.framework_id()),
        name: Some(environment.name.clone()),
        user: Some(user()),
        roles: vec![job.role.clone()],
        checkpoint: Some(true),
        failover_timeout: Some(FAILOVER_TIMEOUT_SECONDS),
        capabilities: vec![capability(Type::MultiRole), capability(Type::PartitionAware)],
        ..v1::FrameworkInfo::default()
    }
}

fn user() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
    user.ok().flatten().map_or_else(|| "nobody".to_owned(), |user| user.name)
}

/// Keeps executors running through a scheduler driver.
pub(super) struct Framework {
    job: Job,
    environment: DriverEnvironment,
    fleet: Fleet,
    roster: Roster,
    handle: Handle,
    began: Instant,
    /// When launching may begin; known once subscribed.
    settled_at: Option<Instant>,
    /// Since when executors are missing.
    missing_since: Option<Instant>,
    /// Offers have been asked for since something was missing.
    asked: bool,
}

impl Framework {
    pub(super) fn new(job: &Job, environment: &DriverEnvironment, roster: Roster, handle: Handle) -> Self {
        Self {
            job: job.clone(),
            environment: environment.clone(),
            fleet: Fleet::new(&job.name, environment.generation, job.executors.count),
            roster,
            handle,
            began: Instant::now(),
            settled_at: None,
            missing_since: None,
            asked: false,
        }
    }

    /// Runs until `finished` is cancelled; then ends all executors and returns.
    ///
    /// # Errors
    /// If the master refuses this framework.
    pub(super) async fn run(mut self, mut events: Events, finished: CancellationToken) -> Result<(), String> {
        let mut look = interval(LOOK_INTERVAL);
        let mut changes = self.roster.changes();
        loop {
            tokio::select! {
                event = events.next() => {
                    let Some(event) = event else { return Err("the subscription has ended".to_owned()) };
                    self.on_event(event).await?;
                }
                _ = look.tick() => {}
                _ = changes.changed() => {}
                () = finished.cancelled() => break,
            }
            self.look().await.map_err(gone)?;
        }
        self.farewell(&mut events).await;
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn on_event(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Subscribed { again, .. } => {
                let wait = if self.environment.generation > 1 { SETTLE } else { Duration::ZERO };
                self.settled_at.get_or_insert_with(|| Instant::now() + wait);
                // Offers and refusals are forgotten with the old connection.
                self.asked = again;
                info!(again, "subscribed");
            }
            Event::Offers(offers) => self.on_offers(offers).await.map_err(gone)?,
            Event::Update(status) => {
                let task = status.task_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default();
                let agent = status.agent_id.as_ref().map(|id| id.value().to_owned());
                info!(task, state = status.state().as_str_name(), message = status.message(), "executor");
                self.fleet.on_status(self.now_ms(), &task, agent, status.state());
            }
            Event::CallFailed(failed) => {
                warn!(call = ?failed.call, outcome = ?failed.outcome, "call failed");
                let had_no_effect = !matches!(failed.outcome, Outcome::Unknown { .. });
                if failed.call == v1::scheduler::call::Type::Accept && had_no_effect {
                    for task in &failed.task_ids {
                        self.fleet.on_not_launched(task.value());
                    }
                }
            }
            Event::Error(reason) => return Err(reason),
            Event::Disconnected { reason } => info!(reason, "disconnected from the master"),
            other => debug!(?other, "event"),
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), DriverGone> {
        let now_ms = self.now_ms();
        self.fleet.on_connected(now_ms, self.roster.executors());
        for (task, agent) in self.fleet.surplus(now_ms) {
            info!(task, "executor is killed: it is not needed, or has not come");
            self.kill(&task, agent).await?;
        }
        if self.fleet.missing(now_ms) == 0 {
            self.missing_since = None;
            self.asked = false;
        } else if self.is_settled() {
            self.missing_since.get_or_insert_with(Instant::now);
            if !self.asked {
                self.asked = true;
                self.handle.revive(Vec::new()).await?;
            }
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        self.settled_at.is_some_and(|at| Instant::now() >= at)
    }

    async fn on_offers(&mut self, offers: Vec<v1::Offer>) -> Result<(), DriverGone> {
        let now_ms = self.now_ms();
        self.fleet.on_connected(now_ms, self.roster.executors());
        let spread = self.missing_since.is_none_or(|since| since.elapsed() < SPREAD);
        // Spread over at least two agents, if there are two.
        let per_agent = if spread { self.fleet.wanted().div_ceil(2) } else { u32::MAX };
        for offer in offers {
            let Some(id) = offer.id.clone() else { continue };
            let agent = offer.agent_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default();
            let mut left = Resources::from_proto(&offer.resources).unwrap_or_default();
            let mut tasks = Vec::new();
            while self.is_settled()
                && self.fleet.missing(now_ms) > 0
                && self.fleet.on_agent(&agent) < per_agent
            {
                let Some(taken) = resources::take(&left, &self.job.executors) else { break };
                let Some(rest) = left.checked_sub(&taken) else { break };
                left = rest;
                let task = self.fleet.launch(now_ms, Some(agent.clone()));
                tasks.push(self.task(&task, &offer, &taken));
            }
            if tasks.is_empty() {
                let wanted = self.fleet.missing(now_ms) > 0 || !self.is_settled();
                self.handle.decline(vec![id], Some(if wanted { 1.0 } else { REFUSE_SECONDS })).await?;
            } else {
                info!(agent, count = tasks.len(), "executors launched");
                self.handle.launch(vec![id], tasks).await?;
            }
        }
        Ok(())
    }

    fn task(&self, task: &str, offer: &v1::Offer, resources: &Resources) -> v1::TaskInfo {
        let variables = [
            (MASTERS, self.environment.masters.join(",")),
            (DRIVER_NAME, self.environment.name.clone()),
            (environment::JOB, environment::encode(&self.job)),
        ];
        v1::TaskInfo {
            name: Some(format!("{} executor", self.job.name)),
            task_id: Some(v1::TaskId { value: Some(task.to_owned()) }),
            agent_id: offer.agent_id.clone(),
            resources: resources.to_proto(),
            command: Some(environment::command("stream-executor", variables)),
            ..v1::TaskInfo::default()
        }
    }

    async fn kill(&self, task: &str, agent: Option<String>) -> Result<(), DriverGone> {
        let task = v1::TaskId { value: Some(task.to_owned()) };
        let agent = agent.map(|agent| v1::AgentId { value: Some(agent) });
        self.handle.kill(task, agent, Some(KILL_GRACE_MS)).await
    }

    // Executors are told that they are done, and killed if they do not listen. What is left goes with the framework, which the
    // masters remove when its driver has finished.
    async fn farewell(&mut self, events: &mut Events) {
        self.fleet.retire();
        self.roster.dismiss("the job has finished");
        let mut kill_at = Some(Instant::now() + FAREWELL / 2);
        let ends_at = Instant::now() + FAREWELL;
        while !self.fleet.all().is_empty() && Instant::now() < ends_at {
            let wait = tokio::time::sleep_until(kill_at.unwrap_or(ends_at));
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => if self.on_event(event).await.is_err() { return },
                    None => return,
                },
                () = wait => if kill_at.take().is_some() {
                    for (task, agent) in self.fleet.all() {
                        if self.kill(&task, agent).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }
}

fn gone(error: DriverGone) -> String {
    error.to_string()
}
