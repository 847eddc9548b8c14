//! A scripted master on loopback, for tests of frameworks and of this SDK.
//!
//! It speaks HTTP as a master does and does nothing by itself except to welcome a subscriber: which offers and updates come,
//! and how calls are answered, is up to the test. It is no model of a cluster.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, Uri};
use axum::routing::{any, get, post};
use bytes::Bytes;
use futures::stream;
use tepui_proto::MediaType;
use tepui_proto::tepui::masters::News;
use tepui_proto::wire::{self, WireMessage};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::{ReceiverStream, WatchStream};
use tokio_util::sync::CancellationToken;

use crate::tepui::operator as tepui;
use crate::v1;
use crate::v1::scheduler::call::Type;
use crate::v1::scheduler::{Call, Event, event};

/// Events that wait for one subscriber, and calls that wait for the test.
const QUEUE: usize = 4096;

/// A call as the master received it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The call.
    pub call: Call,
    /// Its `Mesos-Stream-Id`.
    pub stream_id: Option<String>,
    /// Its `Tepui-Driver-Token`.
    pub driver_token: Option<String>,
}

impl Received {
    /// Returns the kind of call.
    pub fn kind(&self) -> Type {
        self.call.r#type.and_then(|kind| Type::try_from(kind).ok()).unwrap_or(Type::Unknown)
    }
}

/// How a scheduler call is answered when the test wants something else than 202.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A status and a reason.
    Status(u16, String),
    /// The connection breaks after the call was received.
    Broken,
}

/// Answers operator calls: a response, or a status and a reason.
type Handler<C, R> = Box<dyn FnMut(&C, Option<&str>) -> Result<R, (u16, String)> + Send>;

struct Shared {
    /// `Some(address)`: redirect there. `None` with `leads` false: 503.
    leader: Option<String>,
    leads: bool,
    is_frozen: bool,
    heartbeat_seconds: f64,
    subscribers: Vec<(MediaType, mpsc::Sender<Bytes>)>,
    streams: u64,
    replies: VecDeque<(Type, Reply)>,
    calls: mpsc::Sender<Received>,
    /// Who leads, as this master says.
    news: watch::Sender<News>,
    own: String,
    on_operator: Option<Handler<v1::master::Call, v1::master::Response>>,
    on_tepui: Option<Handler<tepui::Call, tepui::Response>>,
}

type Master = Arc<Mutex<Shared>>;

/// The master; everything of it ends when it is dropped.
pub struct ScriptedMaster {
    address: String,
    shared: Master,
    calls: mpsc::Receiver<Received>,
    stop: CancellationToken,
    server: JoinSet<()>,
}

impl ScriptedMaster {
    /// Starts a leading master on a free port.
    pub async fn start() -> std::io::Result<Self> {
        Self::start_at("127.0.0.1:0").await
    }

    /// Starts a leading master at a given address, for one that comes back.
    pub async fn start_at(address: &str) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address: SocketAddr = listener.local_addr()?;
        let (sender, calls) = mpsc::channel(QUEUE);
        let shared = Arc::new(Mutex::new(Shared {
            leader: None,
            leads: true,
            is_frozen: false,
            heartbeat_seconds: 15.0,
            subscribers: Vec::new(),
            streams: 0,
            replies: VecDeque::new(),
            calls: sender,
            news: watch::Sender::new(leading(&address.to_string())),
            own: address.to_string(),
            on_operator: None,
            on_tepui: None,
        }));
        let router = Router::new()
            .route("/redirect", get(redirect))
            .route("/tepui/v1/masters", get(masters))
            .route("/health", any(async || ()))
            .route("/api/v1/scheduler", post(scheduler))
            .route("/api/v1", post(operator))
            .route("/tepui/v1/operator", post(tepui_operator))
            .with_state(shared.clone())
            .layer(axum::middleware::from_fn_with_state(shared.clone(), silence));
        let stop = CancellationToken::new();
        let mut server = JoinSet::new();
        let stopped = stop.clone().cancelled_owned();
        server.spawn(async move {
            // A scripted master that cannot serve shows in the test that talks to it.
            let _ = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
        });
        Ok(ScriptedMaster { address: address.to_string(), shared, calls, stop, server })
    }

    /// Returns `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Leads from now on.
    pub fn lead(&self) {
        let mut shared = lock(&self.shared);
        shared.leads = true;
        shared.leader = None;
        let news = leading(&shared.own);
        shared.news.send_replace(news);
    }

    /// Stands by from now on, ends all streams and redirects to `leader`, or answers 503 if nobody is known to lead.
    pub fn stand_by(&self, leader: Option<&str>) {
        let mut shared = lock(&self.shared);
        shared.leads = false;
        shared.leader = leader.map(str::to_owned);
        shared.news.send_replace(News { leader: leader.map(str::to_owned), ..News::default() });
        shared.subscribers.clear();
    }

    /// Answers nothing any more and leaves its streams open, as a stopped process does.
    pub fn freeze(&self) {
        lock(&self.shared).is_frozen = true;
    }

    /// Names this heartbeat interval to later subscribers. Heartbeats beyond the first are sent by the test.
    pub fn set_heartbeat(&self, interval: Duration) {
        lock(&self.shared).heartbeat_seconds = interval.as_secs_f64();
    }

    /// Sends an event to every subscriber.
    pub fn send(&self, event: &Event) {
        lock(&self.shared).send(event);
    }

    /// Sends offers to every subscriber.
    pub fn offer(&self, offers: Vec<v1::Offer>) {
        let offers = Some(event::Offers { offers });
        self.send(&Event { offers, ..event_of(event::Type::Offers) });
    }

    /// Sends an update to every subscriber.
    pub fn update(&self, status: v1::TaskStatus) {
        let update = Some(event::Update { status: Some(status) });
        self.send(&Event { update, ..event_of(event::Type::Update) });
    }

    /// Ends every subscriber's stream.
    pub fn end_streams(&self) {
        lock(&self.shared).subscribers.clear();
    }

    /// Answers the next scheduler call of a kind with `reply`.
    pub fn reply_once(&self, kind: Type, reply: Reply) {
        lock(&self.shared).replies.push_back((kind, reply));
    }

    /// Answers v1 operator calls.
    pub fn on_operator(
        &self,
        handler: impl FnMut(&v1::master::Call, Option<&str>) -> Result<v1::master::Response, (u16, String)>
        + Send
        + 'static,
    ) {
        lock(&self.shared).on_operator = Some(Box::new(handler));
    }

    /// Answers our own operator calls; the second argument is the driver's token.
    pub fn on_tepui(
        &self,
        handler: impl FnMut(&tepui::Call, Option<&str>) -> Result<tepui::Response, (u16, String)> + Send + 'static,
    ) {
        lock(&self.shared).on_tepui = Some(Box::new(handler));
    }

    /// Returns the next scheduler call, SUBSCRIBE included, or `None` if none comes within ten seconds.
    pub async fn next_call(&mut self) -> Option<Received> {
        tokio::time::timeout(Duration::from_secs(10), self.calls.recv()).await.ok().flatten()
    }

    /// Returns the next scheduler call of a kind and drops those before it.
    pub async fn next_call_of(&mut self, kind: Type) -> Option<Received> {
        loop {
            let received = self.next_call().await?;
            if received.kind() == kind {
                return Some(received);
            }
        }
    }

    /// Ends all streams and stops listening.
    pub async fn stop(mut self) {
        lock(&self.shared).subscribers.clear();
        self.stop.cancel();
        while self.server.join_next().await.is_some() {}
    }
}

impl Shared {
    fn send(&mut self, event: &Event) {
        self.subscribers.retain(|(media_type, subscriber)| {
            subscriber.try_send(wire::encode_record(*media_type, event)).is_ok()
        });
    }
}

fn event_of(kind: event::Type) -> Event {
    Event { r#type: Some(kind as i32), ..Event::default() }
}

fn lock(shared: &Master) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn silence(
    State(master): State<Master>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response<Body> {
    let is_frozen = lock(&master).is_frozen;
    if is_frozen {
        std::future::pending::<()>().await;
    }
    next.run(request).await
}

async fn redirect(State(master): State<Master>, headers: HeaderMap) -> Response<Body> {
    let shared = lock(&master);
    match (&shared.leader, shared.leads, headers.get("host").and_then(|host| host.to_str().ok())) {
        (_, true, Some(own)) => moved(own, ""),
        (Some(leader), false, _) => moved(leader, ""),
        _ => status(503, "no leader is known"),
    }
}

/// A later leadership has a higher epoch, whichever scripted master it is of.
fn leading(own: &str) -> News {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    News {
        leader: Some(own.to_owned()),
        serving: Some(true),
        epoch: u64::try_from(since.as_micros()).ok(),
        ..News::default()
    }
}

async fn masters(State(master): State<Master>, headers: HeaderMap) -> Response<Body> {
    let media = match headers.get("accept").and_then(|value| value.to_str().ok()) {
        Some(accept) if accept.contains("protobuf") => MediaType::Protobuf,
        _ => MediaType::Json,
    };
    let news = WatchStream::new(lock(&master).news.subscribe());
    let record = move |news: News| Ok::<_, std::io::Error>(wire::encode_record(media, &news));
    Response::new(Body::from_stream(futures::StreamExt::map(news, record)))
}

async fn scheduler(
    State(master): State<Master>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut shared = lock(&master);
    if let Some(elsewhere) = shared.elsewhere(&uri) {
        return elsewhere;
    }
    let (media_type, call) = match decode::<Call>(&headers, &body) {
        Ok(decoded) => decoded,
        Err(refusal) => return refusal.answer(),
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let received =
        Received { call, stream_id: text("mesos-stream-id"), driver_token: text("tepui-driver-token") };
    let kind = received.kind();
    let framework_id = received.call.framework_id.clone();
    // A test that does not look at calls does not need them.
    let _ = shared.calls.try_send(received);
    let scripted = shared.replies.iter().position(|(of, _)| *of == kind);
    match scripted.and_then(|position| shared.replies.remove(position)) {
        Some((_, Reply::Status(code, reason))) => status(code, &reason),
        Some((_, Reply::Broken)) => broken(),
        None if kind == Type::Subscribe => shared.subscribe(media_type, framework_id),
        None => status(202, ""),
    }
}

impl Shared {
    fn elsewhere(&self, uri: &Uri) -> Option<Response<Body>> {
        match &self.leader {
            _ if self.leads => None,
            Some(leader) => Some(moved(leader, uri.path())),
            None => Some(status(503, "no leader is known")),
        }
    }

    fn subscribe(&mut self, media_type: MediaType, framework_id: Option<v1::FrameworkId>) -> Response<Body> {
        self.streams += 1;
        let (sender, events) = mpsc::channel(QUEUE);
        self.subscribers = vec![(media_type, sender)];
        let new = v1::FrameworkId { value: Some("scripted-0000".to_owned()) };
        let subscribed = event::Subscribed {
            framework_id: Some(framework_id.unwrap_or(new)),
            heartbeat_interval_seconds: Some(self.heartbeat_seconds),
            master_info: None,
        };
        self.send(&Event { subscribed: Some(subscribed), ..event_of(event::Type::Subscribed) });
        self.send(&event_of(event::Type::Heartbeat));
        let records = futures::StreamExt::map(ReceiverStream::new(events), Ok::<_, std::io::Error>);
        let mut response = Response::new(Body::from_stream(records));
        let stream_id = format!("stream-{}", self.streams);
        if let Ok(value) = stream_id.parse() {
            response.headers_mut().insert("mesos-stream-id", value);
        }
        response
    }
}

async fn operator(State(master): State<Master>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let mut shared = lock(&master);
    if let Some(elsewhere) = shared.elsewhere(&uri) {
        return elsewhere;
    }
    answer(&mut shared.on_operator, &headers, &body)
}

async fn tepui_operator(
    State(master): State<Master>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let mut shared = lock(&master);
    if let Some(elsewhere) = shared.elsewhere(&uri) {
        return elsewhere;
    }
    answer(&mut shared.on_tepui, &headers, &body)
}

fn answer<C: WireMessage, R: WireMessage>(
    handler: &mut Option<Handler<C, R>>,
    headers: &HeaderMap,
    body: &[u8],
) -> Response<Body> {
    let (media_type, call) = match decode::<C>(headers, body) {
        Ok(decoded) => decoded,
        Err(refusal) => return refusal.answer(),
    };
    let token = headers.get("tepui-driver-token").and_then(|value| value.to_str().ok());
    match handler {
        None => status(501, "the test has no answer to this call"),
        Some(handler) => match handler(&call, token) {
            Ok(response) => Response::new(Body::from(wire::encode(media_type, &response))),
            Err((code, reason)) => status(code, &reason),
        },
    }
}

struct Refusal(u16, String);

impl Refusal {
    fn answer(&self) -> Response<Body> {
        status(self.0, &self.1)
    }
}

fn decode<M: WireMessage>(headers: &HeaderMap, body: &[u8]) -> Result<(MediaType, M), Refusal> {
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type =
        MediaType::from_content_type(content_type).ok_or_else(|| Refusal(415, "content type".to_owned()))?;
    let message = wire::decode(media_type, body).map_err(|error| Refusal(400, error.to_string()))?;
    Ok((media_type, message))
}

fn status(code: u16, reason: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(reason.to_owned()));
    if let Ok(code) = axum::http::StatusCode::from_u16(code) {
        *response.status_mut() = code;
    }
    if response.status() == 429 {
        response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
    }
    response
}

fn moved(leader: &str, path: &str) -> Response<Body> {
    let mut response = status(307, "");
    if let Ok(location) = format!("//{leader}{path}").parse() {
        response.headers_mut().insert("location", location);
    }
    response
}

fn broken() -> Response<Body> {
    let cut = stream::once(async { Err::<Bytes, _>(std::io::Error::other("scripted break")) });
    Response::new(Body::from_stream(cut))
}
