//! A router without a master behind it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::{Method, Request};
use tepui_raft_store::{Applied, Lead, Leadership, Peer, ProposeError, ReadError, Status};
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::rate_limits::RateLimits;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::config::{Authentication, Limits, Secret};
use crate::http::flow::Flows;
use crate::http::metrics::Metrics;
use crate::http::rate::Gate;
use crate::http::{App, Info, router};
use crate::runtime::board::{Board, ChangeFeed, Published};
use crate::runtime::events::{self, Hub};
use crate::runtime::handle::{Handle, Message};
use crate::runtime::masters::Told;
use crate::runtime::operator_events::{self, OperatorEvents};
use crate::runtime::replica::Replica;
use crate::runtime::role::Role;
use crate::runtime::streams::{Bounds, Streams};
use crate::runtime::verbosity::Verbosity;
use crate::stats::Stats;

/// Bodies beyond this are refused in these tests.
pub(super) const BODY_LIMIT: usize = 4096;

/// A store of which only the membership counts.
struct Members {
    leadership: watch::Sender<Leadership>,
    /// Whether it can prove that it is.
    current: watch::Receiver<bool>,
}

impl Replica for Members {
    fn propose(&self, _: &Lead, _: Bytes) -> BoxFuture<'static, Result<Applied, ProposeError>> {
        async { Err(ProposeError::NotLeading { leader: None }) }.boxed()
    }

    fn read_barrier(&self, lead: &Lead) -> BoxFuture<'static, Result<u64, ProposeError>> {
        let refused = lead.serial == 0;
        async move { if refused { Err(ProposeError::NotLeading { leader: None }) } else { Ok(9) } }.boxed()
    }

    fn settle(&self) -> BoxFuture<'static, Result<u64, ReadError>> {
        let current = *self.current.borrow();
        async move { if current { Ok(9) } else { Err(ReadError::NoLeader) } }.boxed()
    }

    fn age(&self) -> Option<Duration> {
        Some(Duration::from_millis(7))
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn members(&self) -> watch::Receiver<tepui_raft_store::Members> {
        watch::channel(tepui_raft_store::Members::default()).1
    }

    fn status(&self) -> Status {
        let peer = Peer { peer_addr: "a:2".into(), api_addr: "a:1".into() };
        Status { node_id: 1, members: [(1, (peer, true))].into(), ..Status::default() }
    }

    fn cluster_id(&self) -> Option<String> {
        Some("cluster".into())
    }
}

/// The API and what a test needs to play the rest of the master.
pub(super) struct Fixture {
    router: Router,
    pub(super) role: watch::Sender<Role>,
    pub(super) masters: watch::Sender<Arc<Told>>,
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) board: Arc<Board>,
    pub(super) hub: Arc<Hub>,
    pub(super) stats: Arc<Stats>,
    pub(super) backups: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
    /// Whether the store can prove that what it has is current.
    pub(super) current: watch::Sender<bool>,
    _operator_events: OperatorEvents,
}

impl Fixture {
    /// A leading master.
    pub(super) fn leading() -> Fixture {
        Fixture::new(serving(), None)
    }

    /// A master that sends everyone elsewhere.
    pub(super) fn standby(leader: Option<&str>) -> Fixture {
        Fixture::new(Role::Following { leader: leader.map(str::to_owned) }, None)
    }

    pub(super) fn new(role: Role, secret: Option<&str>) -> Fixture {
        Fixture::with(role, secret, Authentication::default())
    }

    /// A master that asks who is there.
    pub(super) fn guarded(role: Role, authentication: Authentication) -> Fixture {
        Fixture::with(role, None, authentication)
    }

    /// A leading master that writes its log to this file.
    pub(super) fn logging(file: PathBuf) -> Fixture {
        Fixture::build(serving(), None, Authentication::default(), Some(file), &RateLimits::default())
    }

    /// A leading master that takes only so many calls.
    pub(super) fn limited(authentication: Authentication, limits: &RateLimits) -> Fixture {
        Fixture::build(serving(), None, authentication, None, limits)
    }

    fn with(role: Role, secret: Option<&str>, authentication: Authentication) -> Fixture {
        Fixture::build(role, secret, authentication, None, &RateLimits::default())
    }

    fn build(
        role: Role,
        secret: Option<&str>,
        authentication: Authentication,
        log_file: Option<PathBuf>,
        limits: &RateLimits,
    ) -> Fixture {
        let (handle, messages) = Handle::new(16);
        let (role, role_seen) = watch::channel(role);
        let feed = Arc::new(ChangeFeed::default());
        let board = Board::new(vec![feed.clone()]);
        let (current, proof) = watch::channel(true);
        let replica: Arc<dyn Replica> = Arc::new(Members {
            leadership: watch::Sender::new(Leadership::Following { leader: None }),
            current: proof,
        });
        let (streams, gone) = Streams::new(Bounds { records: 16, bytes: 1 << 20 });
        let (operator_handle, operator_events) = OperatorEvents::new(operator_events::Parts {
            board: board.clone(),
            feed: Arc::new(ChangeFeed::default()),
            role: role_seen.clone(),
            streams,
            gone,
            heartbeat_interval: Duration::from_secs(15),
            subscribers: 2,
        });
        let hub = Arc::new(Hub::new(events::Parts {
            node_id: 1,
            cluster_name: Some("test".into()),
            board: board.clone(),
            feed,
            replica: replica.clone(),
            role: role_seen.clone(),
            coalescing: Duration::from_millis(1),
            heartbeat_interval: Duration::from_secs(5),
            subscribers: 2,
            tasks: 100,
        }));
        let (masters, masters_seen) = watch::channel(Told::nothing());
        let stop = CancellationToken::new();
        let stats = Arc::new(Stats::new(true));
        let backups = Arc::new(Semaphore::new(2));
        let app = App {
            info: Info { log_file, ..info() },
            handle,
            role: role_seen,
            board: board.clone(),
            replica,
            operator_events: operator_handle,
            events: hub.clone(),
            masters: masters_seen,
            listeners: Arc::new(Semaphore::new(2)),
            metrics: Arc::new(Metrics::new()),
            stats: stats.clone(),
            findings: Arc::default(),
            verbosity: verbosity(),
            secret: secret.map(Secret::new),
            authentication,
            rate: Gate::new(limits),
            limits: Limits { body_bytes: BODY_LIMIT, ..Limits::default() },
            backups: backups.clone(),
            flows: Flows::new(1, 2, stop.clone()),
            renderers: Arc::new(Semaphore::new(1)),
            stop: stop.clone(),
        };
        let router = router::router(Arc::new(app));
        Fixture {
            backups,
            router,
            role,
            masters,
            messages,
            board,
            hub,
            stats,
            stop,
            current,
            _operator_events: operator_events,
        }
    }

    /// Shows a Registry to readers.
    pub(super) fn publish(&self, registry: Registry) {
        let published = Published { registry, applied_index: 42 };
        self.board.publish(published, Vec::new(), &[]);
    }

    /// Sends one request; an empty name of a header leaves it out.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.into())).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// POST with JSON.
    pub(super) async fn post_json(&self, path: &str, body: &str) -> Response {
        self.send(Method::POST, path, &[("content-type", "application/json")], body.to_owned()).await
    }

    /// GET without anything.
    pub(super) async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], "").await
    }
}

/// The part of a master that serves.
pub(super) fn serving() -> Role {
    Role::Serving { lead: Lead { term: 1, node_id: 1, serial: 1 } }
}

/// The whole body of an answer that ends.
pub(super) async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The body as JSON.
pub(super) async fn json(response: Response) -> serde_json::Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// A log that takes every level.
fn verbosity() -> Arc<Verbosity> {
    Verbosity::new(Some(Arc::new(|_| {})))
}

fn info() -> Info {
    Info {
        node_id: 1,
        hostname: "a".into(),
        ip: "127.0.0.1".into(),
        port: 1,
        api_address: "a:1".into(),
        cluster: None,
        origin: tepui_proto::origin::Origin { git_sha: Some("c0ffee"), ..Default::default() },
        started_wall_ms: 1000,
        log_file: None,
        flags: vec![("port".into(), "1".into())],
    }
}
