//! A framework for tests, on the SDK's driver: collects what it is told, launches what it is asked to, and waits for states.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Context;
use tepui_sdk::scheduler::{Driver, DriverError, Event, Events, Handle};
use tepui_sdk::v1;
use tokio::task::JoinHandle;

use super::PATIENCE;

/// One subscribed framework.
pub struct TestFramework {
    pub handle: Handle,
    pub id: v1::FrameworkId,
    /// Everything heard, in order, offers apart.
    pub heard: Vec<Event>,
    offers: VecDeque<v1::Offer>,
    events: Events,
    driver: JoinHandle<Result<(), DriverError>>,
}

/// A command task with a tenth of a CPU.
pub fn task(id: &str, command: &str) -> v1::TaskInfo {
    let scalar = |name: &str, value: f64| v1::Resource {
        name: Some(name.to_owned()),
        r#type: Some(v1::value::Type::Scalar as i32),
        scalar: Some(v1::value::Scalar { value: Some(value) }),
        ..v1::Resource::default()
    };
    v1::TaskInfo {
        name: Some(id.to_owned()),
        task_id: Some(v1::TaskId { value: Some(id.to_owned()) }),
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0)],
        command: Some(v1::CommandInfo { value: Some(command.to_owned()), ..v1::CommandInfo::default() }),
        ..v1::TaskInfo::default()
    }
}

impl TestFramework {
    /// Subscribes, and waits until it is.
    ///
    /// # Errors
    /// When it is refused or not answered in time.
    pub async fn subscribe(masters: Vec<String>, name: &str) -> anyhow::Result<Self> {
        let info = v1::FrameworkInfo {
            user: Some("root".to_owned()),
            name: Some(name.to_owned()),
            failover_timeout: Some(3_600.0),
            checkpoint: Some(true),
            ..v1::FrameworkInfo::default()
        };
        Self::subscribe_as(masters, info, None).await
    }

    /// Subscribes with this info, and a driver's token if there is one.
    ///
    /// # Errors
    /// When it is refused or not answered in time.
    pub async fn subscribe_as(
        masters: Vec<String>,
        info: v1::FrameworkInfo,
        token: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut builder = Driver::builder(info).masters(masters);
        if let Some(token) = token {
            builder = builder.driver_token(token);
        }
        let (driver, handle, events) = builder.build()?;
        #[expect(clippy::disallowed_methods, reason = "owned by the value, aborted when it is dropped")]
        let driver = tokio::spawn(driver.run());
        let mut framework = TestFramework {
            handle,
            id: v1::FrameworkId::default(),
            heard: Vec::new(),
            offers: VecDeque::new(),
            events,
            driver,
        };
        framework
            .wait("a subscription", |event| match event {
                Event::Subscribed { framework_id, .. } => Some(framework_id.clone()),
                _other => None,
            })
            .await
            .map(|id| framework.id = id)?;
        Ok(framework)
    }

    /// Waits for the next event that `pick` takes.
    ///
    /// # Errors
    /// When the driver ends, or nothing fits in time.
    pub async fn wait<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&Event) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = tokio::time::timeout(left, self.events.next())
                .await
                .with_context(|| format!("no {what} after {PATIENCE:?}; heard {:?}", self.heard))?
                .with_context(|| format!("the driver ended before {what}; heard {:?}", self.heard))?;
            let picked = pick(&event);
            match event {
                Event::Offers(offers) => self.offers.extend(offers),
                Event::Rescind(id) => self.offers.retain(|offer| offer.id.as_ref() != Some(&id)),
                Event::Disconnected { .. } => {
                    self.offers.clear();
                    self.heard.push(event);
                }
                other => self.heard.push(other),
            }
            if let Some(picked) = picked {
                return Ok(picked);
            }
        }
    }

    /// The next event as it comes, offers included.
    ///
    /// # Errors
    /// When the driver has ended.
    pub async fn next(&mut self) -> anyhow::Result<Event> {
        self.events.next().await.context("the driver ended")
    }

    /// Takes an offer, waiting for one if there is none.
    ///
    /// # Errors
    /// When none comes in time.
    pub async fn offer(&mut self) -> anyhow::Result<v1::Offer> {
        while self.offers.is_empty() {
            self.wait("an offer", |event| matches!(event, Event::Offers(_)).then_some(())).await?;
        }
        self.offers.pop_front().context("an offer was there")
    }

    /// Launches tasks on the next offer. Returns its agent.
    ///
    /// # Errors
    /// When no offer comes.
    pub async fn launch(&mut self, mut tasks: Vec<v1::TaskInfo>) -> anyhow::Result<v1::AgentId> {
        let offer = self.offer().await?;
        let agent = offer.agent_id.clone().context("an offer names its agent")?;
        for task in &mut tasks {
            task.agent_id = Some(agent.clone());
        }
        self.handle.launch(offer.id.into_iter().collect(), tasks).await?;
        Ok(agent)
    }

    /// Waits until a task is reported in this state.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn wait_state(&mut self, task: &str, state: v1::TaskState) -> anyhow::Result<v1::TaskStatus> {
        let fits = |status: &v1::TaskStatus| {
            status.task_id.as_ref().and_then(|id| id.value.as_deref()) == Some(task)
                && status.state() == state
        };
        let earlier = self.updates().find(|status| fits(status)).cloned();
        if let Some(status) = earlier {
            return Ok(status);
        }
        self.wait(&format!("{} of {task}", state.as_str_name()), |event| match event {
            Event::Update(status) if fits(status) => Some((**status).clone()),
            _other => None,
        })
        .await
    }

    /// All updates heard so far.
    pub fn updates(&self) -> impl Iterator<Item = &v1::TaskStatus> {
        self.heard.iter().filter_map(|event| match event {
            Event::Update(status) => Some(&**status),
            _other => None,
        })
    }
}

impl Drop for TestFramework {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
