//! The I/O of a framework's subscription.
//!
//! Owns the stream, the calls under way and the clock, and does what its session says. It decides nothing. Everything runs
//! inside [`Driver::run`]: dropping that future ends the subscription without a trace on this side.

use std::collections::VecDeque;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tepui_proto::{MediaType, wire};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::builder::DriverBuilder;
use super::event::Event;
use super::session::{Action, CallAnswer, Command, Input, Session};
use crate::event_stream::EventStream;
use crate::master_detector::{MasterDetector, redirect_target};
use crate::polling::{has_room, next_event, poll_option, sleep_until};
use crate::transport::{Answer, DRIVER_TOKEN, Opened, Request, STREAM_ID, Transport, TransportError};
use crate::v1;
use crate::v1::scheduler::{Call, Event as WireEvent};

const PATH: &str = "/api/v1/scheduler";
/// A master that takes SUBSCRIBE answers the head at once.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls are answered when they are queued.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often another master is asked whether the leader still leads, give or take a quarter.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
const REDIRECT_LIMIT: usize = 4;
/// A call that comes faster than the master allows is sent again, up to so many times …
const LIMITED_TRIES: u32 = 8;
/// … after what the master asks for, or this.
const LIMITED_PAUSE: Duration = Duration::from_secs(1);
/// Events held for a slow framework beyond its channel; the stream is not read while there are as many.
const OUTBOX_LIMIT: usize = 64;

/// The master ended this framework's subscription for good.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the master refuses this framework: {0}")]
pub struct DriverError(pub String);

/// What [`Driver::open`] comes to.
enum Open {
    Stream { address: String, stream_id: String, stream: Box<EventStream<WireEvent>> },
    Failed { reason: String, fatal: bool },
}

/// One framework's connection to whoever leads.
pub struct Driver {
    session: Session,
    link: Link,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    begun: Instant,
    /// The open stream and the master at its other end.
    stream: Option<(String, Box<EventStream<WireEvent>>)>,
    opening: Option<BoxFuture<'static, Open>>,
    /// Returns when another master leads than the one at the other end of the stream.
    checking: Option<BoxFuture<'static, String>>,
    calls: FuturesUnordered<BoxFuture<'static, (u64, CallAnswer)>>,
    outbox: VecDeque<Event>,
    /// The framework has dropped an end of its own, so nothing more is said to it or heard from it.
    abandoned: bool,
    ended: Option<Result<(), String>>,
}

/// What requests are sent with; cheap to clone into a future.
#[derive(Clone)]
struct Link {
    transport: Transport,
    detector: MasterDetector,
    media_type: MediaType,
    driver_token: Option<String>,
}

impl Driver {
    /// Begins to put a driver together.
    pub fn builder(framework: v1::FrameworkInfo) -> DriverBuilder {
        DriverBuilder::new(framework)
    }

    pub(super) fn new(
        session: Session,
        transport: Transport,
        detector: MasterDetector,
        media_type: MediaType,
        driver_token: Option<String>,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Driver {
            session,
            link: Link { transport, detector, media_type, driver_token },
            commands,
            events,
            begun: Instant::now(),
            stream: None,
            opening: None,
            checking: None,
            calls: FuturesUnordered::new(),
            outbox: VecDeque::new(),
            abandoned: false,
            ended: None,
        }
    }

    /// Subscribes and stays subscribed until the framework tears down, stops or drops its ends, or the master refuses it.
    pub async fn run(mut self) -> Result<(), DriverError> {
        self.handle(Input::Tick);
        while self.ended.is_none() {
            self.turn().await;
        }
        for event in std::mem::take(&mut self.outbox) {
            // The framework may be gone already.
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
                self.on_opened(opened);
            }
            leader = poll_option(&mut self.checking) => {
                self.checking = None;
                self.handle(Input::StreamEnded { reason: format!("{leader} leads now") });
            }
            event = next_event(self.stream.as_mut().map(|(_, stream)| &mut **stream)), if is_listening => {
                let input = match event {
                    Ok(Some(event)) => Input::Event(Box::new(event)),
                    Ok(None) => Input::StreamEnded { reason: "the master ended the stream".to_owned() },
                    Err(error) => Input::StreamEnded { reason: error.to_string() },
                };
                self.handle(input);
            }
            Some((token, answer)) = self.calls.next(), if !self.calls.is_empty() => {
                self.handle(Input::Answered { token, answer });
            }
            command = self.commands.recv(), if wants_commands && !self.abandoned => match command {
                Some(command) => self.handle(Input::Command(command)),
                None => self.abandon(),
            },
            () = self.events.closed(), if !self.abandoned => self.abandon(),
            true = has_room(&self.events), if !self.outbox.is_empty() => self.hand_over(),
            () = sleep_until(wake_at), if is_listening => self.handle(Input::Tick),
        }
    }

    fn on_opened(&mut self, opened: Open) {
        match opened {
            Open::Stream { address, stream_id, stream } => {
                self.link.detector.confirmed(&address);
                info!(master = %address, "subscription opened");
                let (link, leader) = (self.link.clone(), address.clone());
                self.checking = Some(async move { link.replaced(&leader).await }.boxed());
                self.stream = Some((address, stream));
                self.handle(Input::Opened { stream_id });
            }
            Open::Failed { reason, fatal } => {
                debug!(%reason, "cannot subscribe yet");
                self.handle(Input::OpenFailed { reason, fatal });
            }
        }
    }

    fn abandon(&mut self) {
        self.abandoned = true;
        self.outbox.clear();
        // What the framework said before it left still counts.
        while let Ok(command) = self.commands.try_recv() {
            self.handle(Input::Command(command));
        }
        self.handle(Input::Command(Command::Abandon));
    }

    fn hand_over(&mut self) {
        let was_full = self.outbox.len() >= OUTBOX_LIMIT;
        while let Some(event) = self.outbox.pop_front() {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.outbox.push_front(event);
                break;
            }
        }
        if was_full && self.outbox.len() < OUTBOX_LIMIT {
            let now_ms = self.now_ms();
            self.session.was_not_listening(now_ms);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn handle(&mut self, input: Input) {
        let now_ms = self.now_ms();
        for action in self.session.handle(now_ms, input) {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Open { call } => {
                let link = self.link.clone();
                self.opening = Some(async move { link.open(&call).await }.boxed());
            }
            Action::Close => {
                self.checking = None;
                if let Some((address, _)) = self.stream.take() {
                    self.link.detector.failed(&address);
                }
            }
            Action::Send { token, stream_id, call } => {
                // A session sends only while its stream is open.
                let Some(address) = self.stream.as_ref().map(|(address, _)| address.clone()) else { return };
                let link = self.link.clone();
                let answer = async move { (token, link.call(&address, &stream_id, &call).await) };
                self.calls.push(answer.boxed());
            }
            Action::Deliver(event) => {
                match &event {
                    Event::Disconnected { reason } => warn!(%reason, "subscription lost"),
                    Event::CallFailed(failed) => debug!(?failed, "call without effect or of unknown outcome"),
                    _ => {}
                }
                if !self.abandoned {
                    self.outbox.push_back(event);
                }
            }
            Action::End(result) => self.ended = Some(result),
        }
    }
}

impl Link {
    fn request(&self, call: &Call) -> Request {
        let request = Request::post(PATH, self.media_type, wire::encode(self.media_type, call));
        match &self.driver_token {
            Some(token) => request.header(DRIVER_TOKEN, token),
            None => request,
        }
    }

    /// Finds the leader and subscribes there.
    async fn open(&self, call: &Call) -> Open {
        let request = self.request(call).answer_within(OPEN_TIMEOUT);
        let failed = |reason: String| Open::Failed { reason, fatal: false };
        let mut address = match self.detector.locate(&self.transport).await {
            Ok(address) => address,
            Err(error) => return failed(error.to_string()),
        };
        for _ in 0..=REDIRECT_LIMIT {
            let answer = match self.transport.open(&address, &request).await {
                Ok(Opened::Stream(response)) => return self.opened(address, response),
                Ok(Opened::Answer(answer)) => answer,
                Err(error) => {
                    self.detector.failed(&address);
                    return failed(error.to_string());
                }
            };
            match answer.location.as_deref().and_then(redirect_target) {
                Some(leader) if answer.status == 307 => address = leader.to_owned(),
                _ => return self.not_opened(&address, &answer),
            }
        }
        self.detector.failed(&address);
        failed("the masters redirect in a circle".to_owned())
    }

    fn opened(&self, address: String, response: reqwest::Response) -> Open {
        let stream = Box::new(EventStream::new(response, self.media_type));
        match stream.header(STREAM_ID).map(str::to_owned) {
            Some(stream_id) => Open::Stream { address, stream_id, stream },
            None => {
                self.detector.failed(&address);
                Open::Failed { reason: format!("{address} gave no stream id"), fatal: false }
            }
        }
    }

    fn not_opened(&self, address: &str, answer: &Answer) -> Open {
        self.detector.failed(address);
        let reason = format!("{address} answered {} {}", answer.status, answer.reason());
        let fatal = matches!(answer.status, 400 | 401 | 403 | 406 | 415);
        Open::Failed { reason: reason.trim_end().to_owned(), fatal }
    }

    /// Returns who leads as soon as it is not `leader` any more.
    async fn replaced(&self, leader: &str) -> String {
        let asked = async {
            loop {
                tokio::time::sleep(CHECK_INTERVAL.mul_f64(0.75 + rand::random::<f64>() / 2.0)).await;
                if let Some(other) = self.detector.replaced(&self.transport, leader).await {
                    return other;
                }
            }
        };
        // Whoever leads says so itself at once. Asking finds it where that cannot be heard.
        tokio::select! {
            other = asked => other,
            other = self.detector.succeeded(&self.transport, leader) => other,
        }
    }

    async fn call(&self, address: &str, stream_id: &str, call: &Call) -> CallAnswer {
        let request = self.request(call).header(STREAM_ID, stream_id).answer_within(CALL_TIMEOUT);
        let mut limited = 0;
        let answer = loop {
            match self.transport.send(address, &request).await {
                Ok(answer) if answer.status == 429 && limited < LIMITED_TRIES => {
                    limited += 1;
                    let pause = answer.retry_after.unwrap_or(LIMITED_PAUSE);
                    debug!(reason = answer.reason(), ?pause, "too many calls, will send it again");
                    // Calls that were refused together must not come back together.
                    tokio::time::sleep(pause.mul_f64(1.0 + rand::random::<f64>() / 4.0)).await;
                }
                answer => break answer,
            }
        };
        match answer {
            Ok(answer) => match answer.status {
                200..=299 => CallAnswer::Accepted,
                300..=399 => CallAnswer::NotLeading,
                400..=499 | 501 => CallAnswer::Refused { status: answer.status, reason: answer.reason() },
                status => CallAnswer::Unknown { reason: format!("answered {status} {}", answer.reason()) },
            },
            Err(error @ TransportError::NotSent { .. }) => CallAnswer::NotSent { reason: error.to_string() },
            Err(error) => CallAnswer::Unknown { reason: error.to_string() },
        }
    }
}
