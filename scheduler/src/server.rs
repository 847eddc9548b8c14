//! A whole master: assembles the parts, owns their tasks, and stops them in order.
//!
//! ```text
//!   start   listen → open the log → bootstrap if asked → endpoint.json → tasks
//!   stop    refuse new work (503) → hand over → close streams, drain connections → leave raft
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tepui_proto::connections;
use tepui_raft_store::{
    BootstrapError, Expelled, HandOverError, JoinError, NodeId, OpenError, Peer, RaftStore,
};
use tepui_scheduler_core::{Master, MasterIdentity};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ConfigError};
use crate::http::flow::Flows;
use crate::http::metrics::Metrics;
use crate::http::{self, App, Info};
use crate::runtime::audit;
use crate::runtime::board::{Board, ChangeFeed};
use crate::runtime::effects::Hands;
use crate::runtime::event_loop::{self, EventLoop};
use crate::runtime::handle::Handle;
use crate::runtime::masters::{Announcer, Told};
use crate::runtime::operator_events::{self, OperatorEvents};
use crate::runtime::registrar::Registrar;
use crate::runtime::replica::Replica;
use crate::runtime::role::Role;
use crate::runtime::streams::{Bounds, Streams};
use crate::runtime::verbosity::Verbosity;
use crate::runtime::{events, levels, regions, timers, whitelist};
use crate::settings;
use crate::stats::{Changes, Stats};
use crate::view::master::MESOS_VERSION;

/// Large answers that are rendered at once.
const RENDERERS: usize = 2;
/// Longest time that a master looks for a leader that gives it a number.
const JOIN_WITHIN: Duration = Duration::from_mins(2);
/// Longest time that leaving raft may take when the master stops.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a master did not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    #[error("configuration refused: {0}")]
    Config(#[from] ConfigError),
    #[error("{what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("open the replicated store: {0}")]
    Open(#[from] OpenError),
    #[error("join the cluster: {0}")]
    Join(#[from] JoinError),
    #[error("bootstrap the cluster: {0}")]
    Bootstrap(#[from] BootstrapError),
    /// This replica cannot go on; a restart alone will not help.
    #[error("{0}")]
    Fatal(String),
}

/// Where a master can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The public API, as it is really bound.
    pub api: SocketAddr,
    /// The listener for the other masters, as it is really bound.
    pub peer: SocketAddr,
    /// `host:port` under which clients are sent here.
    pub advertised: String,
}

/// A running master.
pub struct Server {
    config: Config,
    addresses: Addresses,
    store: RaftStore,
    handle: Handle,
    role: watch::Receiver<Role>,
    board: Arc<Board>,
    event_loop: JoinHandle<()>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Server {
    /// Starts a master. It takes part in its cluster as soon as this returns.
    ///
    /// # Errors
    /// When the configuration, the files or the addresses cannot be used.
    pub async fn start(mut config: Config) -> Result<Server, ServerError> {
        config.check()?;
        warn_of_exposure(&config);
        prepare_folder(&config)?;
        let listener = listen(SocketAddr::new(config.ip, config.port)).await?;
        let api = listener.local_addr().map_err(|source| ServerError::Listen {
            address: SocketAddr::new(config.ip, config.port),
            source,
        })?;
        let host = config.advertised_host();
        let advertised = format!("{host}:{}", api.port());

        let event_feed = Arc::new(ChangeFeed::default());
        let operator_feed = Arc::new(ChangeFeed::default());
        let stats_feed = Arc::new(ChangeFeed::default());
        let board = Board::new(vec![event_feed.clone(), operator_feed.clone(), stats_feed.clone()]);
        let me = Peer { peer_addr: peer_address(&config, config.peer_port), api_addr: advertised.clone() };
        if !config.join.is_empty() {
            config.node_id = number(&config, me.clone()).await?;
        }
        let registrar =
            Registrar::new(config.node_id, config.feature_level, board.clone(), config.astray.clone());
        let findings = registrar.findings();
        let store = RaftStore::open(settings::store(&config, me), registrar).await?;
        let addresses = Addresses { api, peer: store.peer_listen_addr(), advertised };
        let members = members(&config, &addresses);
        bootstrap(&config, &store, members.clone()).await?;
        write_endpoint(&config, &addresses)?;

        // What the log says of the masters is newer than any flag.
        let known = store.members().borrow().list.clone();
        let known = known.into_values().map(|member| member.peer.api_addr);
        let listed = members.into_values().map(|peer| peer.api_addr);
        let masters: Vec<String> = if known.len() > 0 { known.collect() } else { listed.collect() };
        let whitelist = match &config.whitelist {
            Some(path) => Some(whitelist::read(path).map_err(|source| ServerError::File {
                what: "read",
                path: path.clone(),
                source,
            })?),
            None => None,
        };
        let masters = masters.join(",");
        let parts = Assembly { board, findings, event_feed, operator_feed, stats_feed, masters, whitelist };
        let server = assemble(config, addresses, store, listener, parts);
        tracing::info!(api = %server.addresses.api, peer = %server.addresses.peer, "master started");
        Ok(server)
    }

    /// Where this master can be reached.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Whether this master leads and answers for the cluster.
    pub fn serving(&self) -> bool {
        matches!(*self.role.borrow(), Role::Serving { .. })
    }

    /// Runs until `signal` resolves, then stops in order.
    ///
    /// # Errors
    /// [`ServerError::Fatal`] if the replica cannot go on; the process must exit non-zero with the text.
    pub async fn run_until(mut self, signal: impl Future<Output = ()>) -> Result<(), ServerError> {
        let mut store_fatal = self.store.fatal();
        let mut board_fatal = self.board.fatal();
        let result = tokio::select! {
            () = signal => Ok(()),
            reason = first_reason(&mut store_fatal) => Err(ServerError::Fatal(self.advice(reason))),
            reason = first_reason(&mut board_fatal) => Err(ServerError::Fatal(reason)),
            _ = &mut self.event_loop => Err(ServerError::Fatal("the event loop ended".to_owned())),
        };
        if result.is_ok() && self.role.borrow().is_leader() {
            self.step_down().await;
        }
        self.stop().await;
        result
    }

    /// The reason of the store, and what to do about it where that is known.
    fn advice(&self, reason: String) -> String {
        let id = self.config.node_id;
        let again =
            "empty its --work-dir and start it with --join and without --node-id: it gets a new number";
        match self.store.expelled() {
            Some(Expelled::Removed) => format!("{reason}; to use this host for a master again, {again}"),
            Some(_) => format!(
                "{reason}; run `tepui raft remove {id}` if it is still in `tepui raft status`, then {again}"
            ),
            None => reason,
        }
    }

    /// Hands the leadership to another master, so that nobody has to notice a dead one.
    async fn step_down(&self) {
        self.handle.drain().await;
        match self.store.hand_over(self.config.timers.hand_over_timeout).await {
            Ok(to) => tracing::info!(to, "handed the leadership over"),
            Err(HandOverError::NoCandidate) => tracing::info!("no other master could take over"),
            Err(error) => tracing::warn!(%error, "failed to hand the leadership over"),
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(self.config.timers.drain_timeout, self.tracker.wait()).await.is_err() {
            tracing::info!(open = self.tracker.len(), "some connections did not end in time");
        }
        if tokio::time::timeout(LEAVE_TIMEOUT, self.store.shutdown()).await.is_err() {
            tracing::warn!("leaving raft took too long");
        }
        tracing::info!("master stopped");
    }
}

/// Parts that are made before the log is opened.
struct Assembly {
    board: Arc<Board>,
    findings: Arc<audit::Findings>,
    event_feed: Arc<ChangeFeed>,
    operator_feed: Arc<ChangeFeed>,
    stats_feed: Arc<ChangeFeed>,
    masters: String,
    whitelist: Option<BTreeSet<String>>,
}

fn assemble(
    config: Config,
    addresses: Addresses,
    store: RaftStore,
    listener: TcpListener,
    parts: Assembly,
) -> Server {
    let Assembly { board, findings, event_feed, operator_feed, stats_feed, masters, whitelist } = parts;
    let (stop, tracker, metrics) = (CancellationToken::new(), TaskTracker::new(), Arc::new(Metrics::new()));
    let stats = Arc::new(Stats::new(config.per_framework_metrics));
    let verbosity = Verbosity::new(config.log.set_verbosity.clone());
    let replica: Arc<dyn Replica> = Arc::new(store.clone());
    let (role_sender, role) = watch::channel(Role::Following { leader: None });
    let limits = config.limits.clone();
    let bounds = Bounds { records: limits.stream_records, bytes: limits.stream_bytes };

    let (told, masters_told) = watch::channel(Told::nothing());
    let (handle, messages) = Handle::new(limits.queued_inputs);
    let (streams, closed) = Streams::new(bounds);
    let info = info(&config, &addresses);
    let event_loop = EventLoop::new(event_loop::Parts {
        master: Master::new(settings::core(&config, masters)),
        identity: MasterIdentity { domain: config.domain.clone(), ..identity(&info) },
        node_id: config.node_id,
        replica: replica.clone(),
        board: board.clone(),
        hands: Hands::new(replica.clone(), board.clone(), streams, stats.clone()),
        messages,
        closed,
        role: role_sender,
        metrics: metrics.clone(),
        proposals_in_flight: limits.proposals_in_flight,
        whitelist: whitelist.clone(),
        stop: stop.clone(),
    });
    let (streams, gone) = Streams::new(bounds);
    let (operator_handle, operator_events) = OperatorEvents::new(operator_events::Parts {
        board: board.clone(),
        feed: operator_feed,
        role: role.clone(),
        streams,
        gone,
        heartbeat_interval: config.timers.heartbeat_interval,
        subscribers: limits.operator_subscribers,
    });
    let hub = Arc::new(events::Hub::new(events::Parts {
        node_id: config.node_id,
        cluster_name: config.cluster.clone(),
        board: board.clone(),
        feed: event_feed,
        replica: replica.clone(),
        role: role.clone(),
        coalescing: config.timers.event_coalescing,
        heartbeat_interval: config.timers.event_heartbeat_interval,
        subscribers: limits.event_subscribers,
        tasks: limits.event_tasks,
    }));
    let app = Arc::new(App {
        info,
        handle: handle.clone(),
        role: role.clone(),
        board: board.clone(),
        replica,
        operator_events: operator_handle,
        events: hub.clone(),
        masters: masters_told,
        listeners: Arc::new(Semaphore::new(limits.connections)),
        metrics: metrics.clone(),
        stats: stats.clone(),
        findings: findings.clone(),
        verbosity: verbosity.clone(),
        secret: config.secret.clone(),
        authentication: config.authentication.clone(),
        rate: http::rate::Gate::new(&config.rate_limits),
        limits: limits.clone(),
        flows: Flows::new(RENDERERS, limits.long_answers, stop.clone()),
        renderers: Arc::new(Semaphore::new(RENDERERS)),
        backups: Arc::new(Semaphore::new(http::backup::AT_ONCE)),
        stop: stop.clone(),
    });

    let event_loop = tracker.spawn(event_loop.run());
    if let (Some(path), Some(hosts)) = (config.whitelist.clone(), whitelist) {
        tracker.spawn(whitelist::watch(path, hosts, handle.clone(), stop.clone()));
    }
    let auditing = audit::Parts {
        node_id: config.node_id,
        board: board.clone(),
        replica: app.replica.clone(),
        findings: findings.clone(),
        handle: handle.clone(),
        role: role.clone(),
        interval: config.timers.checkpoint_interval,
    };
    tracker.spawn(audit::lead(auditing, stop.clone()));
    let announcer = Announcer {
        api_address: addresses.advertised.clone(),
        board: board.clone(),
        members: app.replica.members(),
        role: role.clone(),
        handle: handle.clone(),
        told,
    };
    tracker.spawn(announcer.run(stop.clone()));
    tracker.spawn(operator_events.run(stop.clone()));
    tracker.spawn(Changes::new(board.clone(), stats_feed, role.clone(), stats).run(stop.clone()));
    tracker.spawn(regions::watch(config.domain.clone(), board.clone(), app.replica.clone(), stop.clone()));
    let looking = levels::watch(board.clone(), app.replica.clone(), handle.clone(), stop.clone());
    tracker.spawn(looking);
    tracker.spawn(verbosity.run(stop.clone()));
    let hub_stop = stop.clone();
    tracker.spawn(async move { hub.run(hub_stop).await });
    let router = http::router::router(app);
    let granted = connections::Bounds::new(limits.connections);
    let serving = http::listener::serve(listener, router, granted, metrics, tracker.clone(), stop.clone());
    tracker.spawn(serving);
    Server { config, addresses, store, handle, role, board, event_loop, tracker, stop }
}

fn info(config: &Config, addresses: &Addresses) -> Info {
    Info {
        node_id: config.node_id,
        hostname: config.advertised_host(),
        ip: addresses.api.ip().to_string(),
        port: addresses.api.port(),
        api_address: addresses.advertised.clone(),
        cluster: config.cluster.clone(),
        origin: config.origin,
        started_wall_ms: timers::wall_ms(),
        log_file: config.log.file.clone(),
        flags: settings::flags(config),
    }
}

/// The part of the identity that lasts; the rest is drawn anew for each leadership.
fn identity(info: &Info) -> MasterIdentity {
    MasterIdentity {
        master_id: String::new(),
        node_id: info.node_id,
        hostname: info.hostname.clone(),
        ip: info.ip.clone(),
        port: info.port,
        version: MESOS_VERSION.to_owned(),
        cluster_id: String::new(),
        domain: None,
        term: 0,
    }
}

/// Where the other masters reach this one: as the list says, which may lead through a gateway, else the port that it listens on.
fn peer_address(config: &Config, port: u16) -> String {
    let listed = config.masters.iter().find(|master| master.node_id == config.node_id);
    match listed.filter(|master| master.peer_port != 0) {
        Some(master) => master.peer().peer_addr,
        None => format!("{}:{port}", config.advertised_host()),
    }
}

/// All masters; this one with the ports that it really has.
fn members(config: &Config, addresses: &Addresses) -> BTreeMap<NodeId, Peer> {
    let mut members: BTreeMap<NodeId, Peer> =
        config.masters.iter().map(|master| (master.node_id, master.peer())).collect();
    let me = Peer {
        peer_addr: peer_address(config, addresses.peer.port()),
        api_addr: addresses.advertised.clone(),
    };
    members.insert(config.node_id, me);
    members
}

/// The number of a master that joins: from its folder, or from the cluster.
async fn number(config: &Config, me: Peer) -> Result<NodeId, ServerError> {
    let dir = config.work_dir.join("raft");
    let secret = config.secret.as_ref().map(|secret| secret.expose().to_owned());
    Ok(RaftStore::claim(&dir, me, &config.join, secret, JOIN_WITHIN).await?)
}

/// Creates the cluster if that was asked for and has not happened.
async fn bootstrap(
    config: &Config,
    store: &RaftStore,
    members: BTreeMap<NodeId, Peer>,
) -> Result<(), ServerError> {
    if !config.bootstrap {
        return Ok(());
    }
    if let Some(cluster_id) = store.cluster_id() {
        tracing::info!(cluster_id, "already part of a cluster; nothing to bootstrap");
        return Ok(());
    }
    match store.bootstrap(members).await {
        Ok(cluster_id) => tracing::info!(cluster_id, "created the cluster"),
        Err(BootstrapError::AlreadyBootstrapped { cluster_id }) => {
            tracing::info!(cluster_id, "already part of a cluster; nothing to bootstrap");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn warn_of_exposure(config: &Config) {
    if !config.ip.is_loopback() {
        let secret = config.secret.is_some();
        let authentication = config.authentication.readwrite && config.authentication.frameworks;
        tracing::warn!(ip = %config.ip, secret, authentication, "listening beyond loopback without TLS");
    }
}

/// Makes the folder, and takes away what an earlier process said about its addresses.
fn prepare_folder(config: &Config) -> Result<(), ServerError> {
    let path = &config.work_dir;
    std::fs::create_dir_all(path).map_err(|source| ServerError::File {
        what: "create",
        path: path.clone(),
        source,
    })?;
    let endpoint = path.join("endpoint.json");
    match std::fs::remove_file(&endpoint) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(ServerError::File { what: "remove", path: endpoint, source })
        }
        _ => Ok(()),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })
}

/// Tells other processes on this host where this one listens. They never see half a file.
fn write_endpoint(config: &Config, addresses: &Addresses) -> Result<(), ServerError> {
    let text = serde_json::json!({
        "api": addresses.api.to_string(),
        "peer": addresses.peer.to_string(),
        "pid": std::process::id(),
    });
    let (path, draft) = (config.work_dir.join("endpoint.json"), config.work_dir.join("endpoint.json.new"));
    std::fs::write(&draft, format!("{text}\n"))
        .and_then(|()| std::fs::rename(&draft, &path))
        .map_err(|source| ServerError::File { what: "write", path, source })
}

async fn first_reason(fatal: &mut watch::Receiver<Option<String>>) -> String {
    let reason = fatal.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
    match reason {
        Some(reason) => reason,
        // Nobody is left who could fail.
        None => std::future::pending().await,
    }
}
