//! An executor on the bare wire: its process only waits, and the scenario speaks for it.

use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::executor::{Call, Event, call, event};
use tepui_proto::v1::task_status::Source;

use super::http::{Answer, Http};
use super::messages::{framework_id, task_id};
use super::next_in_time;
use super::stream::Stream;
use crate::conformance::PATIENCE;

/// Path of the executor API.
pub(crate) const EXECUTOR: &str = "/api/v1/executor";

/// One executor of one framework on one agent.
#[derive(Debug)]
pub(crate) struct Executor {
    http: Http,
    /// `host:port` of the agent.
    pub(crate) agent: String,
    framework: String,
    id: String,
    stream: Option<Stream>,
    uuids: u8,
}

/// `host:port` of the agent that an offer is of.
pub(crate) fn agent_of(offer: &v1::Offer) -> String {
    let address = offer.url.as_ref().and_then(|url| url.address.clone()).unwrap_or_default();
    format!("{}:{}", address.ip(), address.port())
}

impl Executor {
    pub(crate) fn new(http: &Http, agent: &str, framework: &str, id: &str) -> Self {
        let (agent, framework, id) = (agent.to_owned(), framework.to_owned(), id.to_owned());
        Executor { http: http.clone(), agent, framework, id, stream: None, uuids: 0 }
    }

    /// A call with both ids and without its member.
    pub(crate) fn call(&self, kind: call::Type) -> Call {
        Call {
            framework_id: Some(framework_id(&self.framework)),
            executor_id: Some(v1::ExecutorId { value: Some(self.id.clone()) }),
            r#type: Some(kind as i32),
            ..Default::default()
        }
    }

    pub(crate) async fn post(&self, call: &Call) -> anyhow::Result<Answer> {
        self.http.post(&self.agent, EXECUTOR, &[], call).await
    }

    /// Subscribes as soon as the agent knows the executor, and takes SUBSCRIBED.
    pub(crate) async fn subscribe(&mut self) -> anyhow::Result<event::Subscribed> {
        self.open(call::Subscribe::default()).await?;
        self.next(event::Type::Subscribed).await?.subscribed.context("SUBSCRIBED without its member")
    }

    pub(crate) async fn open(&mut self, subscribe: call::Subscribe) -> anyhow::Result<()> {
        let call = Call { subscribe: Some(subscribe), ..self.call(call::Type::Subscribe) };
        let until = Instant::now() + PATIENCE;
        loop {
            match self.http.open(&self.agent, EXECUTOR, &[], &call).await {
                Ok(stream) => {
                    anyhow::ensure!(stream.header("mesos-stream-id").is_none(), "a stream with an id");
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(error) if Instant::now() > until => return Err(error),
                Err(_not_yet) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    }

    /// The next event; nothing at the end of the stream.
    pub(crate) async fn event(&mut self) -> anyhow::Result<Option<Event>> {
        next_in_time(self.stream.as_mut().context("no stream")?).await
    }

    /// The next event, which must be of this kind.
    pub(crate) async fn next(&mut self, kind: event::Type) -> anyhow::Result<Event> {
        let event = self.event().await?.with_context(|| format!("the stream ended before {kind:?}"))?;
        anyhow::ensure!(event.r#type() == kind, "{event:?} instead of {kind:?}");
        Ok(event)
    }

    /// A status that can be sent.
    pub(crate) fn status(&mut self, task: &str, state: TaskState) -> v1::TaskStatus {
        self.uuids += 1;
        v1::TaskStatus {
            task_id: Some(task_id(task)),
            state: Some(state as i32),
            source: Some(Source::Executor as i32),
            uuid: Some(Bytes::copy_from_slice(&[self.uuids; 16])),
            ..Default::default()
        }
    }

    pub(crate) fn update(&self, status: v1::TaskStatus) -> Call {
        Call { update: Some(call::Update { status: Some(status) }), ..self.call(call::Type::Update) }
    }

    /// Sends a status and waits until it is acknowledged.
    pub(crate) async fn send(&mut self, status: v1::TaskStatus) -> anyhow::Result<()> {
        let uuid = status.uuid.clone();
        self.post(&self.update(status)).await?.expect(202)?.empty()?;
        let acknowledged = self.next(event::Type::Acknowledged).await?.acknowledged.unwrap_or_default();
        anyhow::ensure!(acknowledged.uuid == uuid, "{acknowledged:?}");
        Ok(())
    }

    /// Reports a state.
    pub(crate) async fn report(&mut self, task: &str, state: TaskState) -> anyhow::Result<()> {
        let status = self.status(task, state);
        self.send(status).await
    }
}
