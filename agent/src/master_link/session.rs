//! One attempt with one master: from REGISTER to the end of its stream. Owns what goes over the wire.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use tepui_proto::MediaType;
use tepui_proto::recordio::Decoder;
use tepui_proto::tepui::agent_link::{Event, call};
use tepui_proto::wire;
use tokio::sync::{mpsc, watch};

use super::candidates::{Candidates, address_of};
use super::leaders::{Leader, Sight};
use crate::Secret;
use crate::config::Timers;
use crate::runtime::{Handle, LinkNews, Observed, Outgoing};

const PATH: &str = "/tepui/v1/agent";
const STREAM_ID: &str = "tepui-agent-stream-id";
const SECRET: &str = "tepui-cluster-secret";
/// Calls that may wait for the master beside updates: answers to its pings and launches, for the most part.
const OTHER_CALLS: usize = 4096;
/// Updates that may wait for the master, for each task that the agent may hold: the task's own and an answer about another,
/// each a second time if its repetition is due before the first attempt has left.
const UPDATES_PER_TASK: usize = 4;
/// One launch may carry an executor's data of 50 MB and more.
const RECORD_BYTES_MAX: usize = 128 << 20;
const REDIRECTS_MAX: usize = 4;
/// A registration that takes longer is given up for a leader that is known to be another master.
const OPEN_PATIENCE: Duration = Duration::from_secs(1);
/// Stands in the reason of a failure that no repetition mends.
pub(super) const FORBIDDEN: &str = "403";
/// How much of a refusal's text is worth reading.
const REASON_BYTES: usize = 300;

pub(super) struct Session<'a> {
    pub(super) client: &'a reqwest::Client,
    pub(super) secret: Option<&'a Secret>,
    pub(super) timers: &'a Timers,
    pub(super) handle: &'a Handle,
    pub(super) observed: &'a Observed,
    pub(super) attempt: u64,
    /// How many tasks the agent may hold.
    pub(super) tasks_max: usize,
    /// Who leads, as the masters say.
    pub(super) sight: watch::Receiver<Sight>,
    /// Of the newest event on this link; 0 before the first.
    pub(super) epoch: std::sync::atomic::AtomicU64,
}

/// How an attempt ended.
pub(super) enum Ended {
    /// There was a stream.
    Served {
        reason: String,
        /// The highest that was seen.
        epoch: u64,
    },
    Failed {
        reason: String,
    },
    AgentStops,
}

struct Stream {
    url: String,
    id: String,
    response: Response,
}

impl Session<'_> {
    /// Tries the current candidate until the stream ends or there is none.
    pub(super) async fn run(self, candidates: &mut Candidates) -> Ended {
        let (sender, mut calls) = mpsc::channel(calls_max(self.tasks_max));
        if !self.handle.link(self.attempt, LinkNews::Open { calls: sender }).await {
            return Ended::AgentStops;
        }
        let here = candidates.current().to_owned();
        let opened = tokio::select! {
            opened = self.open(candidates, &mut calls) => opened,
            leader = self.outranked_later(&here) => Err(format!("{leader} leads now")),
        };
        let ended = match opened {
            Ok(stream) => {
                let here = candidates.current().to_owned();
                self.observed.set_master(Some(here.clone()));
                let reason = tokio::select! {
                    reason = self.serve(stream, &mut calls) => reason,
                    leader = self.outranked(&here) => format!("{leader} leads now"),
                };
                self.observed.set_master(None);
                Ended::Served { reason, epoch: self.epoch.load(Ordering::Relaxed) }
            }
            Err(reason) => Ended::Failed { reason },
        };
        self.handle.link(self.attempt, LinkNews::Closed).await;
        ended
    }

    /// Likewise, for an attempt that may be about to succeed, and be somewhere else by now.
    async fn outranked_later(&self, here: &str) -> String {
        tokio::time::sleep(OPEN_PATIENCE).await;
        self.outranked(here).await
    }

    /// Returns who leads, once that is another master with a higher epoch than was seen on this link. A leader that is frozen or cut
    /// off ends no stream.
    async fn outranked(&self, here: &str) -> String {
        let mut sight = self.sight.clone();
        let is_higher =
            |leader: &Leader| leader.address != here && leader.epoch > self.epoch.load(Ordering::Relaxed);
        loop {
            let leader = sight.borrow_and_update().leader.clone().filter(is_higher);
            if let Some(leader) = leader {
                return leader.address;
            }
            if sight.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    async fn open(
        &self,
        candidates: &mut Candidates,
        calls: &mut mpsc::Receiver<Outgoing>,
    ) -> Result<Stream, String> {
        let register = calls.recv().await.ok_or("the agent is not ready to register")?;
        let body = Bytes::from(register.call.encode_to_vec());
        for _ in 0..REDIRECTS_MAX {
            let address = candidates.current().to_owned();
            let url = format!("http://{address}{PATH}");
            let response = self.post(&url, None, body.clone(), self.timers.register_timeout).await?;
            match response.status() {
                StatusCode::OK => {
                    let id = response.headers().get(STREAM_ID).and_then(|value| value.to_str().ok());
                    let id = id.ok_or("the stream has no id")?.to_owned();
                    return Ok(Stream { url, id, response });
                }
                StatusCode::TEMPORARY_REDIRECT => {
                    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                    let leader = location.and_then(address_of).ok_or("a redirect leads nowhere")?;
                    if leader == address {
                        return Err("a master redirects to itself".to_owned());
                    }
                    candidates.point_to(leader.to_owned());
                }
                StatusCode::BAD_REQUEST if register.call.r#type() == call::Type::Attach => {
                    self.handle.link(self.attempt, LinkNews::AttachRefused).await;
                    return Err(refusal(response).await);
                }
                _ => return Err(refusal(response).await),
            }
        }
        Err("masters redirect in circles".to_owned())
    }

    /// Carries events in and calls out until either ends; says why.
    async fn serve(&self, stream: Stream, calls: &mut mpsc::Receiver<Outgoing>) -> String {
        let Stream { url, id, mut response } = stream;
        tokio::select! {
            reason = self.read(&mut response) => reason,
            reason = self.write(&url, &id, calls) => reason,
        }
    }

    async fn read(&self, response: &mut Response) -> String {
        let mut decoder = Decoder::new(RECORD_BYTES_MAX);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => decoder.push(&chunk),
                Ok(None) => return "the master closed the stream".to_owned(),
                Err(error) => return format!("read the stream: {}", with_sources(&error)),
            }
            loop {
                let record = match decoder.next_record() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(error) => return format!("read the stream: {error}"),
                };
                let event: Event = match wire::decode(MediaType::Protobuf, &record) {
                    Ok(event) => event,
                    Err(error) => return format!("read an event: {error}"),
                };
                self.epoch.fetch_max(event.epoch(), Ordering::Relaxed);
                if !self.handle.link(self.attempt, LinkNews::Event(Box::new(event))).await {
                    return "the agent stops".to_owned();
                }
            }
        }
    }

    /// Calls go one after the other, so that the master sees them in their order.
    async fn write(&self, url: &str, stream_id: &str, calls: &mut mpsc::Receiver<Outgoing>) -> String {
        // What a call takes of the room is free again when it has arrived.
        while let Some(Outgoing { call, _room }) = calls.recv().await {
            let body = Bytes::from(call.encode_to_vec());
            match self.post(url, Some(stream_id), body, self.timers.call_timeout).await {
                Ok(response) if response.status() == StatusCode::ACCEPTED => {}
                Ok(response) => return refusal(response).await,
                Err(reason) => return reason,
            }
        }
        "the agent left the master".to_owned()
    }

    async fn post(
        &self,
        url: &str,
        stream_id: Option<&str>,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Response, String> {
        let mut request = self.client.post(url).header(CONTENT_TYPE, MediaType::Protobuf.as_str());
        if let Some(secret) = self.secret {
            request = request.header(SECRET, secret.expose());
        }
        if let Some(stream_id) = stream_id {
            request = request.header(STREAM_ID, stream_id);
        }
        match tokio::time::timeout(timeout, request.body(body).send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(with_sources(&error)),
            Err(_) => Err(format!("no answer within {timeout:?}")),
        }
    }
}

/// Returns how many calls may wait for the master before the link is given up. A registration is followed by an update of
/// every task at once: were there no room for them, the link would be given up, and the next registration would end alike.
fn calls_max(tasks_max: usize) -> usize {
    let calls = tasks_max.saturating_mul(UPDATES_PER_TASK).saturating_add(OTHER_CALLS);
    calls.min(tokio::sync::Semaphore::MAX_PERMITS)
}

async fn refusal(response: Response) -> String {
    let status = response.status();
    let text = tokio::time::timeout(Duration::from_secs(1), response.text()).await;
    let text = text.ok().and_then(Result::ok).unwrap_or_default();
    format!("refused with {status}: {}", text.chars().take(REASON_BYTES).collect::<String>())
}

/// The text of an HTTP error says little without what caused it.
fn with_sources(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tepui_agent_core::checkpoint::{State, TaskRecord};
    use tepui_agent_core::{Agent, Config, Effect, Input, Now, TaskKey};
    use tepui_proto::tepui::agent_link::event;
    use tepui_proto::v1;

    use super::*;

    /// An agent that holds as many tasks as it may, each with an update that nobody has acknowledged.
    fn full_agent(config: &Config) -> Agent {
        let status = v1::TaskStatus {
            state: Some(v1::TaskState::TaskFinished.into()),
            uuid: Some(Bytes::from_static(b"u")),
            ..Default::default()
        };
        let mut state = State::default();
        let framework = v1::FrameworkInfo { checkpoint: Some(true), ..Default::default() };
        state.frameworks.insert("f".to_owned(), framework);
        for number in 0..config.tasks_max {
            let record = TaskRecord {
                unacknowledged: VecDeque::from([status.clone()]),
                latest: Some(status.clone()),
                ..Default::default()
            };
            state.tasks.insert(TaskKey::new("f", number.to_string()), record);
        }
        Agent::new(config.clone(), state)
    }

    #[test]
    fn whatever_a_registration_and_a_repetition_bring_finds_room() {
        let config = Config::new(v1::AgentInfo::default(), "10.0.0.1", [0; 32]);
        let mut agent = full_agent(&config);
        let (sender, _calls) = mpsc::channel(calls_max(config.tasks_max));
        let registered = event::Registered {
            agent_id: Some(v1::AgentId { value: Some("a".to_owned()) }),
            ping_interval_ms: Some(3_600_000),
            ..Default::default()
        };
        let event = Event {
            format: Some(tepui_agent_core::LINK_FORMAT),
            r#type: Some(event::Type::Registered.into()),
            epoch: Some(1),
            registered: Some(registered),
            ..Default::default()
        };
        let inputs = [
            (0, Input::Recovered { processes: Vec::new(), executors: Vec::new() }),
            (0, Input::LinkUp),
            (0, Input::MasterEvent(Box::new(event))),
            (config.update_retry_min_ms, Input::Tick),
        ];
        let mut updates = 0;
        for (mono_ms, input) in inputs {
            let mut effects = Vec::new();
            agent.handle(Now { mono_ms, wall_ms: 0 }, input, &mut effects);
            for effect in effects {
                if let Effect::Send(call) = effect {
                    updates += usize::from(call.update.is_some());
                    sender.try_send(*call).unwrap();
                }
            }
        }
        assert_eq!(updates, 2 * config.tasks_max);
    }
}
