//! The only owner of the core. Owns the order: one input at a time, its effects carried out before the next.

use std::sync::Arc;
use std::time::Instant;

use tepui_agent_core::{Agent, Effect, Input};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::ExecutorStreams;
use super::clock::Clock;
use super::handle::{LinkNews, Message, Outgoing};
use super::notes::Notes;
use super::observed::Observed;
use crate::Error;
use crate::checkpoint::Journal;
use crate::containerizer::Containerizer;

/// Messages of executors that may wait for the master.
const MESSAGE_ROOM_KIB: usize = 64 << 10;

/// What the loop works with.
pub(crate) struct Parts {
    pub(crate) agent: Agent,
    pub(crate) messages: mpsc::Receiver<Message>,
    pub(crate) journal: Journal,
    pub(crate) durable: watch::Receiver<u64>,
    pub(crate) containers: Containerizer,
    pub(crate) observed: Arc<Observed>,
    pub(crate) executors: ExecutorStreams,
    /// Where the masters are, as they said last.
    pub(crate) masters: watch::Sender<Vec<String>>,
    pub(crate) stop: CancellationToken,
}

pub(crate) struct EventLoop {
    pub(super) agent: Agent,
    pub(super) journal: Journal,
    pub(super) containers: Containerizer,
    pub(super) observed: Arc<Observed>,
    pub(super) executors: ExecutorStreams,
    pub(super) masters: watch::Sender<Vec<String>>,
    messages: mpsc::Receiver<Message>,
    durable: watch::Receiver<u64>,
    stop: CancellationToken,
    pub(super) clock: Clock,
    pub(super) notes: Notes,
    pub(super) wake_at: Option<Instant>,
    /// The latest attempt of the link, and where calls go while it lasts.
    attempt: u64,
    pub(super) calls: Option<mpsc::Sender<Outgoing>>,
    /// For messages of executors that wait for the master, in KiB.
    pub(super) message_room: Arc<Semaphore>,
    /// It ended on this side, which the core has not heard yet.
    pub(super) link_lost: bool,
    /// The core asked to leave, with this message.
    pub(super) leaving: Option<String>,
}

impl EventLoop {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { agent, messages, journal, durable, containers, executors, masters, observed, stop } =
            parts;
        Self {
            agent,
            journal,
            containers,
            observed,
            executors,
            masters,
            messages,
            durable,
            stop,
            clock: Clock::start(),
            notes: Notes::new(),
            wake_at: None,
            attempt: 0,
            calls: None,
            message_room: Arc::new(Semaphore::new(MESSAGE_ROOM_KIB)),
            link_lost: false,
            leaving: None,
        }
    }

    /// Runs until it is told to stop or the core wants to leave; returns the core's message then.
    ///
    /// # Errors
    /// The checkpoint can no longer be written.
    pub(crate) async fn run(mut self, first: Vec<Input>) -> Result<Option<String>, Error> {
        for input in first {
            self.handle(input).await?;
        }
        self.observed.set_recovered();
        while self.leaving.is_none() {
            let wake_at = self.wake_at;
            let wake = async move {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                changed = self.durable.changed() => {
                    changed.map_err(|_| Error::Ended("journal"))?;
                    let id = *self.durable.borrow_and_update();
                    self.handle(Input::Checkpointed { id }).await?;
                }
                message = self.messages.recv() => match message {
                    Some(message) => self.take(message).await?,
                    None => return Ok(None),
                },
                () = wake => {
                    self.wake_at = None;
                    self.handle(Input::Tick).await?;
                }
            }
        }
        Ok(self.leaving)
    }

    async fn take(&mut self, message: Message) -> Result<(), Error> {
        match message {
            Message::Input(input) => self.handle(input).await,
            Message::Look(look) => {
                look(&self.agent);
                Ok(())
            }
            Message::Link { attempt, news: LinkNews::Open { calls } } => {
                self.attempt = attempt;
                self.calls = Some(calls);
                self.handle(Input::LinkUp).await
            }
            // The attempt was given up meanwhile, or another has begun.
            Message::Link { attempt, .. } if attempt != self.attempt || self.calls.is_none() => Ok(()),
            Message::Link { news: LinkNews::Event(event), .. } => {
                self.handle(Input::MasterEvent(event)).await
            }
            Message::Link { news: LinkNews::AttachRefused, .. } => self.handle(Input::AttachRefused).await,
            Message::Link { news: LinkNews::Closed, .. } => {
                self.calls = None;
                self.handle(Input::LinkDown).await
            }
        }
    }

    async fn handle(&mut self, input: Input) -> Result<(), Error> {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            self.observed.see_input(&input);
            let mut effects: Vec<Effect> = Vec::new();
            self.agent.handle(self.clock.now(), input, &mut effects);
            for effect in effects {
                self.carry_out(effect).await?;
            }
            self.notes.catch_up(self.clock.now().mono_ms);
            next = std::mem::take(&mut self.link_lost).then_some(Input::LinkDown);
        }
        Ok(())
    }

    pub(super) fn set_wake(&mut self, mono_ms: u64) {
        self.wake_at = self.clock.instant(mono_ms);
    }
}
