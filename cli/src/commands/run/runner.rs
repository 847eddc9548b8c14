//! The framework behind `tepui run`: takes one offer, follows one task, listens to Ctrl-C.

use std::time::Duration;

use anyhow::Context;
use tepui_sdk::scheduler::{CallFailed, Event, Events, Handle, Outcome};
use tepui_sdk::transport::Transport;
use tepui_sdk::v1;
use tepui_sdk::v1::scheduler::call::Type;
use tokio::time::{Instant, MissedTickBehavior};

use super::output::{Output, Progress};
use super::request::Request;
use super::verdict::{exit_code, never_began};
use crate::commands::signals::interrupted;
use crate::exit::{INTERRUPTED, NoLeader};
use crate::output::note;

const COPY_INTERVAL: Duration = Duration::from_millis(100);
const HINT_AFTER: Duration = Duration::from_secs(5);
/// Launches of a command that never began, each under an id of its own.
const LAUNCH_LIMIT: u32 = 5;

pub(super) struct Runner {
    request: Request,
    handle: Handle,
    transport: Transport,
    patience: Duration,
    is_quiet: bool,
    framework_id: String,
    /// The launch under way, or the one that runs.
    task: Option<Launched>,
    launches: u32,
    output: Option<Output>,
    interrupts: u32,
}

struct Launched {
    task_id: v1::TaskId,
    agent_id: Option<v1::AgentId>,
    agent: String,
}

impl Runner {
    pub(super) fn new(
        request: Request,
        handle: Handle,
        transport: Transport,
        patience: Duration,
        is_quiet: bool,
    ) -> Self {
        Runner {
            request,
            handle,
            transport,
            patience,
            is_quiet,
            framework_id: String::new(),
            task: None,
            launches: 0,
            output: None,
            interrupts: 0,
        }
    }

    /// Follows the task to its end and returns the exit code.
    pub(super) async fn run(&mut self, mut events: Events) -> anyhow::Result<u8> {
        let begun = Instant::now();
        let mut copying = tokio::time::interval(COPY_INTERVAL);
        copying.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signal = Box::pin(interrupted());
        let mut hint = Box::pin(tokio::time::sleep(HINT_AFTER));
        let mut is_hinted = false;
        loop {
            tokio::select! {
                event = events.next() => {
                    let event = event.context("the connection to the masters ended")?;
                    if let Some(code) = self.on_event(event).await? {
                        return Ok(code);
                    }
                }
                _ = copying.tick(), if self.output.is_some() => {
                    if let Some(output) = &mut self.output {
                        output.copy().await.context("copy the task's output")?;
                    }
                }
                () = &mut signal => {
                    signal = Box::pin(interrupted());
                    if self.on_interrupt().await? {
                        return Ok(INTERRUPTED);
                    }
                }
                () = tokio::time::sleep_until(begun + self.patience), if self.framework_id.is_empty() => {
                    return Err(NoLeader(format!("none within {:?}", self.patience)).into());
                }
                () = &mut hint, if !is_hinted => {
                    is_hinted = true;
                    if self.launches == 0 && !self.framework_id.is_empty() {
                        self.say(&format!("waiting for an agent with {} free", self.request.needs()));
                    }
                }
            }
        }
    }

    fn say(&self, text: &str) {
        if !self.is_quiet {
            note(text);
        }
    }

    async fn on_event(&mut self, event: Event) -> anyhow::Result<Option<u8>> {
        match event {
            Event::Subscribed { framework_id, .. } => self.framework_id = framework_id.value().to_owned(),
            Event::Offers(offers) => self.on_offers(offers).await?,
            Event::Update(status) => return self.on_update(*status).await,
            Event::CallFailed(failed) => self.on_failed(failed).await?,
            Event::Error(message) => anyhow::bail!("the master refuses: {message}"),
            _ => {}
        }
        Ok(None)
    }

    async fn on_offers(&mut self, offers: Vec<v1::Offer>) -> anyhow::Result<()> {
        let mut refused = Vec::new();
        for offer in offers {
            let Some(offer_id) = offer.id.clone() else { continue };
            if self.task.is_some() || self.interrupts > 0 || !self.request.fits(&offer) {
                refused.push(offer_id);
                continue;
            }
            self.launches += 1;
            let task_id = format!("run-{}", uuid::Uuid::new_v4().simple());
            let task = self.request.task(&task_id, &offer);
            self.task = Some(Launched {
                task_id: v1::TaskId { value: Some(task_id) },
                agent_id: offer.agent_id.clone(),
                agent: address(&offer),
            });
            self.handle.launch(vec![offer_id], vec![task]).await?;
            self.handle.suppress(Vec::new()).await?;
        }
        if !refused.is_empty() {
            self.handle.decline(refused, None).await?;
        }
        Ok(())
    }

    async fn on_update(&mut self, status: v1::TaskStatus) -> anyhow::Result<Option<u8>> {
        let Some(task) = self.task.as_ref().filter(|task| Some(&task.task_id) == status.task_id.as_ref())
        else {
            return Ok(None);
        };
        let state = status.state();
        if self.output.is_none() && matches!(state, v1::TaskState::TaskStarting | v1::TaskState::TaskRunning)
        {
            let id = task.task_id.value();
            self.output = Some(Output::new(&self.transport, &task.agent, &self.framework_id, id));
            self.say(&format!("task {id} runs on {}", task.agent));
        }
        if state == v1::TaskState::TaskUnreachable {
            self.say("the task's agent is unreachable; waiting for it");
        }
        if never_began(&status) && self.interrupts == 0 && self.launches < LAUNCH_LIMIT {
            self.say(&format!("the launch was dropped ({}); trying again", status.message()));
            self.launch_again().await?;
            return Ok(None);
        }
        if !state.is_terminal() {
            return Ok(None);
        }
        self.finish(&status).await.map(Some)
    }

    async fn finish(&mut self, status: &v1::TaskStatus) -> anyhow::Result<u8> {
        let task = self.task.as_ref().map(|task| (task.agent.clone(), task.task_id.value().to_owned()));
        // Short tasks end before their start was seen.
        if let (None, Some((agent, task_id)), true) =
            (&self.output, task, status.state() != v1::TaskState::TaskError)
        {
            self.output = Some(Output::new(&self.transport, &agent, &self.framework_id, &task_id));
        }
        if let Some(output) = &mut self.output
            && output.copy_rest().await.context("copy the task's output")? == Progress::Silent
        {
            note("the agent does not answer: the end of the output is missing");
        }
        if self.interrupts > 0 {
            return Ok(INTERRUPTED);
        }
        if status.state() != v1::TaskState::TaskFinished {
            self.say(&format!("{}: {}", status.state().as_str_name(), status.message()));
        }
        Ok(exit_code(status))
    }

    async fn on_failed(&mut self, failed: CallFailed) -> anyhow::Result<()> {
        if failed.call != Type::Accept {
            return Ok(());
        }
        match failed.outcome {
            Outcome::Refused { status, reason } if status != 403 => {
                anyhow::bail!("the master refuses the launch: {status} {reason}")
            }
            Outcome::Refused { .. } | Outcome::NotSent { .. } => self.launch_again().await,
            // The driver asks the next leader; its answer comes as an update.
            Outcome::Unknown { .. } => Ok(()),
        }
    }

    async fn launch_again(&mut self) -> anyhow::Result<()> {
        self.task = None;
        self.output = None;
        Ok(self.handle.revive(Vec::new()).await?)
    }

    /// The first Ctrl-C ends the task, the second one ends this program.
    async fn on_interrupt(&mut self) -> anyhow::Result<bool> {
        self.interrupts += 1;
        match &self.task {
            Some(task) if self.interrupts == 1 => {
                self.say("killing the task; Ctrl-C again to leave at once");
                self.handle.kill(task.task_id.clone(), task.agent_id.clone(), None).await?;
                Ok(false)
            }
            _ => Ok(true),
        }
    }
}

fn address(offer: &v1::Offer) -> String {
    let listed = offer.url.as_ref().and_then(|url| url.address.as_ref());
    let host = listed.and_then(|address| address.ip.clone().or_else(|| address.hostname.clone()));
    let port = listed.and_then(|address| address.port).unwrap_or(5051);
    format!("{}:{port}", host.unwrap_or_else(|| offer.hostname().to_owned()))
}
