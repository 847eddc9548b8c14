//! A master that does as it is told: registers whoever asks, records calls, and sends what the test wants.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use prost::Message;
use tepui_proto::recordio;
use tepui_proto::tepui::agent_link::{Call, Event, call, event};
use tepui_proto::tepui::masters::News;
use tepui_proto::v1;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running master. Stops when dropped.
pub(crate) struct Master {
    pub(crate) address: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    state: Mutex<Inner>,
    changed: Notify,
}

struct Inner {
    cluster_id: String,
    epoch: u64,
    registrations: Vec<call::Register>,
    headers: Vec<HeaderMap>,
    stream: Option<mpsc::Sender<Result<Bytes, std::io::Error>>>,
    streams: u64,
    calls: VecDeque<Call>,
    /// Answers every update at once.
    acknowledge: bool,
    /// Sends everybody there.
    redirect: Option<String>,
    /// Says who leads; without it nobody is told.
    news: Option<watch::Sender<News>>,
    attachments: Vec<call::Attach>,
    /// What masters it names at registrations.
    masters: Vec<String>,
    /// Takes ATTACH as it is.
    believes: bool,
}

impl Master {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let inner = Inner {
            cluster_id: "cluster".to_owned(),
            epoch: 1,
            registrations: Vec::new(),
            headers: Vec::new(),
            stream: None,
            streams: 0,
            calls: VecDeque::new(),
            acknowledge: true,
            redirect: None,
            news: None,
            attachments: Vec::new(),
            masters: Vec::new(),
            believes: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(inner), changed: Notify::new() });
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let serving = {
            let runtime = tokio::runtime::Handle::current();
            runtime.spawn(async move { axum::serve(listener, router).await.unwrap() })
        };
        Self { address, shared, serving }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.shared.state.lock().unwrap()
    }

    pub(crate) fn hold_acknowledgements(&self) {
        self.state().acknowledge = false;
    }

    pub(crate) fn resume_acknowledgements(&self) {
        self.state().acknowledge = true;
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.state().epoch = epoch;
    }

    pub(crate) fn set_cluster(&self, id: &str) {
        self.state().cluster_id = id.to_owned();
    }

    pub(crate) fn redirect_to(&self, address: &str) {
        self.state().redirect = Some(address.to_owned());
    }

    /// Tells who leads from now on.
    pub(crate) fn say(&self, news: News) {
        let mut state = self.state();
        match &state.news {
            Some(sender) => drop(sender.send_replace(news)),
            None => state.news = Some(watch::Sender::new(news)),
        }
    }

    /// Says that it leads itself.
    pub(crate) fn lead(&self, epoch: u64) {
        self.set_epoch(epoch);
        let leader = Some(self.address.clone());
        self.say(News { leader, serving: Some(true), epoch: Some(epoch), ..News::default() });
    }

    pub(crate) fn name_masters(&self, masters: Vec<String>) {
        self.state().masters = masters;
    }

    pub(crate) fn believe(&self) {
        self.state().believes = true;
    }

    /// Waits for the ATTACH with this number, counted from one.
    pub(crate) async fn attachment(&self, number: usize) -> call::Attach {
        self.until(|inner| inner.attachments.get(number - 1).cloned()).await
    }

    pub(crate) fn close_stream(&self) {
        self.state().stream = None;
    }

    pub(crate) fn registrations(&self) -> Vec<call::Register> {
        self.state().registrations.clone()
    }

    pub(crate) fn headers(&self) -> Vec<HeaderMap> {
        self.state().headers.clone()
    }

    /// Waits for the registration with this number, counted from one.
    pub(crate) async fn registration(&self, number: usize) -> call::Register {
        self.until(|inner| inner.registrations.get(number - 1).cloned()).await
    }

    pub(crate) async fn send(&self, kind: event::Type, fill: impl FnOnce(&mut Event)) {
        let (stream, epoch) = {
            let state = self.state();
            (state.stream.clone(), state.epoch)
        };
        let mut event = new_event(kind, epoch);
        fill(&mut event);
        let stream = stream.expect("an agent is registered");
        stream.send(Ok(recordio::frame(&event.encode_to_vec()))).await.unwrap();
    }

    pub(crate) async fn run(&self, task: v1::TaskInfo, launch_seq: u64) {
        let run = event::RunTask {
            framework: Some(framework()),
            task: Some(task),
            launch_seq: Some(launch_seq),
            task_group: None,
        };
        self.send(event::Type::RunTask, |event| event.run_task = Some(run)).await;
    }

    pub(crate) async fn kill(&self, task: &str, grace_ms: i64) {
        let kill = event::KillTask {
            framework_id: framework().id,
            task_id: Some(v1::TaskId { value: Some(task.to_owned()) }),
            kill_policy: Some(v1::KillPolicy {
                grace_period: Some(v1::DurationInfo { nanoseconds: Some(grace_ms * 1_000_000) }),
            }),
            ..Default::default()
        };
        self.send(event::Type::KillTask, |event| event.kill_task = Some(kill)).await;
    }

    /// Takes calls until one is an update of this task with this state.
    pub(crate) async fn update(&self, task: &str, state: v1::TaskState) -> v1::TaskStatus {
        let found = self.until(|inner| {
            while let Some(call) = inner.calls.pop_front() {
                let status = call.update.and_then(|update| update.status).unwrap_or_default();
                let id = status.task_id.as_ref().map(|id| id.value().to_owned());
                if id.as_deref() == Some(task) {
                    if status.state() == state {
                        return Some(status);
                    }
                    assert!(!status.state().is_terminal(), "{:?}: {}", status.state(), status.message());
                }
            }
            None
        });
        found.await
    }

    /// Waits until a call of this kind has come; takes the calls before it.
    pub(crate) async fn call(&self, kind: call::Type) -> Call {
        self.until(|inner| {
            while let Some(call) = inner.calls.pop_front() {
                if call.r#type() == kind {
                    return Some(call);
                }
            }
            None
        })
        .await
    }

    async fn until<T>(&self, mut look: impl FnMut(&mut Inner) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let changed = self.shared.changed.notified();
                if let Some(found) = look(&mut self.state()) {
                    return found;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the agent does what is waited for")
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.serving.abort();
        self.close_stream();
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if parts.uri.path() == "/tepui/v1/masters" {
        return news(&shared).await;
    }
    assert_eq!(parts.uri.path(), "/tepui/v1/agent");
    let call = Call::decode(to_bytes(body, usize::MAX).await.unwrap()).unwrap();
    let response = {
        let mut inner = shared.state.lock().unwrap();
        answer(&mut inner, &parts.headers, call)
    };
    shared.changed.notify_waiters();
    response
}

async fn news(shared: &Shared) -> Response {
    let Some(news) = shared.state.lock().unwrap().news.as_ref().map(watch::Sender::subscribe) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let records =
        WatchStream::new(news).map(|news| Ok::<_, std::io::Error>(recordio::frame(&news.encode_to_vec())));
    Response::new(Body::from_stream(records))
}

fn answer(inner: &mut Inner, headers: &HeaderMap, call: Call) -> Response {
    assert_eq!(call.format(), 1);
    if let Some(redirect) = &inner.redirect {
        let location = format!("//{redirect}/tepui/v1/agent");
        return (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response();
    }
    inner.headers.push(headers.clone());
    if call.r#type() == call::Type::Register {
        return register(inner, call);
    }
    if let Some(attach) = call.attach {
        return attach_or_ask(inner, attach);
    }
    let stream_id = headers.get("tepui-agent-stream-id").and_then(|value| value.to_str().ok());
    if stream_id != Some(inner.streams.to_string().as_str()) || inner.stream.is_none() {
        return (StatusCode::BAD_REQUEST, "unknown stream").into_response();
    }
    if let Some(register) = &call.register {
        // TELL: what TELL_ALL asked for.
        inner.registrations.push(register.clone());
        welcome(inner);
        return StatusCode::ACCEPTED.into_response();
    }
    if let (true, Some(update)) = (inner.acknowledge, &call.update) {
        let status = update.status.clone().unwrap();
        let acknowledge = event::Acknowledge {
            framework_id: update.framework_id.clone(),
            task_id: status.task_id,
            uuid: status.uuid,
        };
        let mut event = new_event(event::Type::Acknowledge, inner.epoch);
        event.acknowledge = Some(acknowledge);
        push(inner, &event);
    }
    inner.calls.push_back(call);
    StatusCode::ACCEPTED.into_response()
}

fn register(inner: &mut Inner, call: Call) -> Response {
    inner.registrations.push(call.register.unwrap());
    let response = open(inner);
    welcome(inner);
    response
}

fn attach_or_ask(inner: &mut Inner, attach: call::Attach) -> Response {
    inner.attachments.push(attach);
    let response = open(inner);
    if inner.believes {
        welcome(inner);
    } else {
        push(inner, &new_event(event::Type::TellAll, inner.epoch));
    }
    response
}

fn open(inner: &mut Inner) -> Response {
    inner.streams += 1;
    let (sender, receiver) = mpsc::channel(1000);
    inner.stream = Some(sender);
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver).boxed()));
    response.headers_mut().insert("tepui-agent-stream-id", inner.streams.to_string().parse().unwrap());
    response
}

fn welcome(inner: &Inner) {
    let mut event = new_event(event::Type::Registered, inner.epoch);
    event.registered = Some(event::Registered {
        agent_id: Some(v1::AgentId { value: Some("master-S0".to_owned()) }),
        cluster_id: Some(inner.cluster_id.clone()),
        ping_interval_ms: Some(60_000),
        ping_timeouts: Some(5),
        masters: inner.masters.clone(),
        ..Default::default()
    });
    push(inner, &event);
}

fn push(inner: &Inner, event: &Event) {
    if let Some(stream) = &inner.stream {
        stream.try_send(Ok(recordio::frame(&event.encode_to_vec()))).unwrap();
    }
}

fn new_event(kind: event::Type, epoch: u64) -> Event {
    Event { format: Some(1), r#type: Some(kind.into()), epoch: Some(epoch), ..Default::default() }
}

pub(crate) fn framework() -> v1::FrameworkInfo {
    v1::FrameworkInfo {
        user: Some("nobody".to_owned()),
        name: Some("test".to_owned()),
        id: Some(v1::FrameworkId { value: Some("fw".to_owned()) }),
        checkpoint: Some(true),
        ..Default::default()
    }
}

/// A task that runs a shell line.
pub(crate) fn shell(task: &str, line: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: Some(task.to_owned()),
        task_id: Some(v1::TaskId { value: Some(task.to_owned()) }),
        agent_id: Some(v1::AgentId { value: Some("master-S0".to_owned()) }),
        command: Some(v1::CommandInfo { value: Some(line.to_owned()), ..Default::default() }),
        ..Default::default()
    }
}
