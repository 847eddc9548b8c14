//! An executor as the agent sees it: a process that does nothing, and this test, which speaks for it.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;
use tepui_proto::recordio::Decoder;
use tepui_proto::v1;
use v1::executor::{Call, Event, call, event};
use v1::task_status::Source;

use crate::master::{PATIENCE, framework};

/// The task `task` of the executor `executor`, whose process runs a shell line.
pub(crate) fn task(task: &str, executor: &str, line: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: Some(task.to_owned()),
        task_id: Some(v1::TaskId { value: Some(task.to_owned()) }),
        agent_id: Some(v1::AgentId { value: Some("master-S0".to_owned()) }),
        executor: Some(v1::ExecutorInfo {
            executor_id: Some(v1::ExecutorId { value: Some(executor.to_owned()) }),
            framework_id: framework().id,
            r#type: Some(v1::executor_info::Type::Custom.into()),
            command: Some(v1::CommandInfo { value: Some(line.to_owned()), ..Default::default() }),
            data: Some(Bytes::from_static(b"\0data of the executor\xff")),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) struct Executor {
    url: String,
    id: String,
    client: reqwest::Client,
    response: Option<reqwest::Response>,
    decoder: Decoder,
    waiting: VecDeque<Event>,
    uuids: u8,
    /// Shown with every call.
    pub(crate) token: Option<String>,
}

impl Executor {
    pub(crate) fn new(address: &str, id: &str) -> Self {
        Self {
            url: format!("http://{address}/api/v1/executor"),
            id: id.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            response: None,
            decoder: Decoder::new(128 << 20),
            waiting: VecDeque::new(),
            uuids: 0,
            token: None,
        }
    }

    pub(crate) fn with_token(address: &str, id: &str, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::new(address, id) }
    }

    pub(crate) fn call(&self, kind: call::Type) -> Call {
        Call {
            framework_id: framework().id,
            executor_id: Some(v1::ExecutorId { value: Some(self.id.clone()) }),
            r#type: Some(kind.into()),
            ..Default::default()
        }
    }

    async fn send(&self, call: &Call) -> reqwest::Response {
        let request = self.client.post(&self.url).header("content-type", "application/x-protobuf");
        let mut request = request.header("accept", "application/x-protobuf");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request.body(call.encode_to_vec()).send().await.unwrap()
    }

    /// Sends a call; returns the status of the answer.
    pub(crate) async fn post(&self, call: &Call) -> u16 {
        self.send(call).await.status().as_u16()
    }

    /// Subscribes as soon as the agent knows the executor; takes the SUBSCRIBED.
    pub(crate) async fn subscribe(&mut self, subscribe: call::Subscribe) -> event::Subscribed {
        self.open(subscribe).await;
        self.next(event::Type::Subscribed).await.subscribed.unwrap()
    }

    pub(crate) async fn open(&mut self, subscribe: call::Subscribe) {
        let call = Call { subscribe: Some(subscribe), ..self.call(call::Type::Subscribe) };
        let opening = async {
            loop {
                let response = self.send(&call).await;
                if response.status() == 200 {
                    return response;
                }
                assert_eq!(response.status(), 400, "{:?}", response.text().await);
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let response = tokio::time::timeout(PATIENCE, opening).await.expect("the executor is known");
        assert_eq!(response.headers()["content-type"], "application/x-protobuf");
        assert!(!response.headers().contains_key("mesos-stream-id"));
        self.response = Some(response);
        self.decoder = Decoder::new(128 << 20);
        self.waiting.clear();
    }

    /// Returns the next event, or `None` at the end of the stream.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        let reading = async {
            loop {
                if let Some(event) = self.waiting.pop_front() {
                    return Some(event);
                }
                let chunk = self.response.as_mut().unwrap().chunk().await.ok().flatten()?;
                self.decoder.push(&chunk);
                while let Some(record) = self.decoder.next_record().unwrap() {
                    self.waiting.push_back(Event::decode(record).unwrap());
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the agent says what is waited for")
    }

    /// Returns the next event, which must be of this kind.
    pub(crate) async fn next(&mut self, kind: event::Type) -> Event {
        let event = self.event().await.expect("the stream goes on");
        assert_eq!(event.r#type(), kind, "{event:?}");
        event
    }

    pub(crate) fn status(&mut self, task: &str, state: v1::TaskState) -> v1::TaskStatus {
        self.uuids = self.uuids.wrapping_add(1);
        v1::TaskStatus {
            task_id: Some(v1::TaskId { value: Some(task.to_owned()) }),
            state: Some(state.into()),
            source: Some(Source::Executor.into()),
            uuid: Some(Bytes::copy_from_slice(&[self.uuids; 16])),
            data: Some(Bytes::from_static(b"data of the status")),
            ..Default::default()
        }
    }

    pub(crate) async fn update(&mut self, status: v1::TaskStatus) {
        let update = call::Update { status: Some(status) };
        let call = Call { update: Some(update), ..self.call(call::Type::Update) };
        assert_eq!(self.post(&call).await, 202);
    }

    /// Reports a state, and waits until that is acknowledged.
    pub(crate) async fn report(&mut self, task: &str, state: v1::TaskState) {
        let status = self.status(task, state);
        let uuid = status.uuid.clone();
        self.update(status).await;
        let acknowledged = self.next(event::Type::Acknowledged).await.acknowledged.unwrap();
        assert_eq!((acknowledged.uuid, acknowledged.task_id.unwrap().value()), (uuid, task));
    }
}
