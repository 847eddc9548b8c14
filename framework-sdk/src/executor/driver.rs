//! The I/O of an executor's subscription.
//!
//! Owns the stream, the call under way and the clock, and does what its session says. It decides nothing. Everything runs
//! inside [`Driver::run`].

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::{BoxFuture, FutureExt};
use tepui_proto::{MediaType, wire};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::environment::ExecutorEnvironment;
use super::event::Event;
use super::handle::{Events, Handle};
use super::session::{Action, Answer, Command, Input, Session};
use crate::event_stream::EventStream;
use crate::polling::{has_room, next_event, poll_option, sleep_until};
use crate::transport::{Opened, Request, SetupError, Transport};
use crate::v1::executor::{Call, Event as WireEvent};

const PATH: &str = "/api/v1/executor";
const AUTHORIZATION: &str = "authorization";
/// An agent that takes SUBSCRIBE answers the head at once.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls are answered when they are queued.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Commands that may wait for the driver, and events that may wait for the executor.
const QUEUE: usize = 256;
/// Events held beyond the channel; the stream is not read while there are as many.
const OUTBOX_LIMIT: usize = 64;

/// The driver ended although nobody stopped it: the agent is gone for good, or refuses this executor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the executor's driver ended: {0}")]
pub struct DriverError(pub String);

/// One executor's connection to its agent.
pub struct Driver {
    session: Session,
    link: Link,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    begun: Instant,
    stream: Option<Box<EventStream<WireEvent>>>,
    opening: Option<BoxFuture<'static, Result<EventStream<WireEvent>, String>>>,
    calling: Option<BoxFuture<'static, (u64, Answer)>>,
    outbox: VecDeque<Event>,
    /// All handles are dropped: nothing more is said.
    is_silent: bool,
    ended: Option<Result<(), String>>,
}

/// What requests are sent with; cheap to clone into a future.
#[derive(Clone)]
struct Link {
    transport: Transport,
    agent: String,
    /// `Authorization`, if there is a token.
    authorization: Option<String>,
}

impl Driver {
    /// Makes a driver, which does nothing until it is run, and the two ends for the executor.
    ///
    /// # Errors
    /// The HTTP client could not be made.
    pub fn new(environment: ExecutorEnvironment) -> Result<(Self, Handle, Events), SetupError> {
        let (command_sender, commands) = mpsc::channel(QUEUE);
        let (event_sender, events) = mpsc::channel(QUEUE);
        let link = Link {
            transport: Transport::new()?,
            agent: environment.agent.clone(),
            authorization: environment.token.as_ref().map(|token| format!("Bearer {token}")),
        };
        let driver = Driver {
            session: Session::new(&environment),
            link,
            commands,
            events: event_sender,
            begun: Instant::now(),
            stream: None,
            opening: None,
            calling: None,
            outbox: VecDeque::new(),
            is_silent: false,
            ended: None,
        };
        Ok((driver, Handle::new(command_sender), Events::new(events)))
    }

    /// Stays subscribed until the executor stops or drops its handles, the agent ends the conversation, or it does not come
    /// back in time.
    ///
    /// # Errors
    /// The driver ended by itself.
    pub async fn run(mut self) -> Result<(), DriverError> {
        self.handle(Input::Tick);
        while self.ended.is_none() {
            self.turn().await;
        }
        for event in std::mem::take(&mut self.outbox) {
            // The executor may have stopped listening.
            if self.events.send(event).await.is_err() {
                break;
            }
        }
        self.ended.unwrap_or(Ok(())).map_err(DriverError)
    }

    async fn turn(&mut self) {
        let is_listening = self.outbox.len() < OUTBOX_LIMIT;
        let wants_commands = self.session.wants_commands();
        let wake_at = self.session.wake_at_ms().map(|at_ms| self.begun + Duration::from_millis(at_ms));
        tokio::select! {
            opened = poll_option(&mut self.opening) => {
                self.opening = None;
                match opened {
                    Ok(stream) => {
                        info!(agent = %self.link.agent, "subscription opened");
                        self.stream = Some(Box::new(stream));
                        self.handle(Input::Opened);
                    }
                    Err(reason) => {
                        debug!(%reason, "cannot subscribe yet");
                        self.handle(Input::OpenFailed { reason });
                    }
                }
            }
            event = next_event(self.stream.as_deref_mut()), if is_listening => {
                let input = match event {
                    Ok(Some(event)) => Input::Event(Box::new(event)),
                    Ok(None) => Input::StreamEnded { reason: "the agent ended the stream".to_owned() },
                    Err(error) => Input::StreamEnded { reason: error.to_string() },
                };
                self.handle(input);
            }
            (epoch, answer) = poll_option(&mut self.calling) => {
                self.calling = None;
                self.handle(Input::Answered { epoch, answer });
            }
            command = self.commands.recv(), if wants_commands && !self.is_silent => {
                self.is_silent = command.is_none();
                let mut command = command.unwrap_or(Command::Stop);
                if let Command::Update(status) = &mut command {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    status.timestamp.get_or_insert(now.as_secs_f64());
                }
                self.handle(Input::Command(command));
            }
            true = has_room(&self.events), if !self.outbox.is_empty() => self.hand_over(),
            () = sleep_until(wake_at) => self.handle(Input::Tick),
        }
    }

    fn hand_over(&mut self) {
        while let Some(event) = self.outbox.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.outbox.push_front(event);
                break;
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let now_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        for action in self.session.handle(now_ms, rand::random(), input) {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Open(call) => {
                let link = self.link.clone();
                self.opening = Some(async move { link.open(&call).await }.boxed());
            }
            Action::Close => {
                self.stream = None;
                self.calling = None;
            }
            Action::Send { epoch, call } => {
                let link = self.link.clone();
                self.calling = Some(async move { (epoch, link.call(&call).await) }.boxed());
            }
            Action::Deliver(event) => {
                if let Event::Disconnected { reason } = &event {
                    warn!(%reason, "subscription lost");
                }
                self.outbox.push_back(event);
            }
            Action::End(result) => self.ended = Some(result),
        }
    }
}

impl Link {
    fn request(&self, call: &Call) -> Request {
        let request = Request::post(PATH, MediaType::Protobuf, wire::encode(MediaType::Protobuf, call));
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    async fn open(&self, call: &Call) -> Result<EventStream<WireEvent>, String> {
        let request = self.request(call).answer_within(OPEN_TIMEOUT);
        match self.transport.open(&self.agent, &request).await {
            Ok(Opened::Stream(response)) => Ok(EventStream::new(response, MediaType::Protobuf)),
            Ok(Opened::Answer(answer)) => {
                Err(format!("{} answered {} {}", self.agent, answer.status, answer.reason()))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    async fn call(&self, call: &Call) -> Answer {
        let request = self.request(call).answer_within(CALL_TIMEOUT);
        match self.transport.send(&self.agent, &request).await {
            Ok(answer) => match answer.status {
                200..=299 => Answer::Accepted,
                // What the agent says of a call's content; everything else may be otherwise after the next SUBSCRIBE.
                400 | 413 => Answer::Refused { status: answer.status, reason: answer.reason() },
                status => Answer::Failed { reason: format!("answered {status} {}", answer.reason()) },
            },
            Err(error) => Answer::Failed { reason: error.to_string() },
        }
    }
}
