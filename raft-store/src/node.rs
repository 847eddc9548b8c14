//! One running replica: everything below the handle, put together in order and taken apart in order.
//!
//! Owns the runtime that raft, the peer network and the leadership watch run on, so that load elsewhere in the process cannot
//! delay a heartbeat, and all tasks on it. Decides nothing itself.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::SnapshotPolicy;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caretaker::Caretaker;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::error::OpenError;
use crate::fatal::Fatal;
use crate::join::{self, Desk};
use crate::keeper::Keeper;
use crate::leadership::{self, Gate};
use crate::log::LogStore;
use crate::log::pace::Pace;
use crate::machine::Machine;
use crate::membership::Changes;
use crate::meter::Meter;
use crate::network::{Asker, Network, Server};
use crate::priority;
use crate::propose::Proposer;
use crate::read::Freshness;
use crate::roster::Roster;
use crate::snapshot::{SnapshotFile, Snapshots};
use crate::space::DiskLevel;
use crate::state::Replica;
use crate::status::Storage;
use crate::surroundings::{Real, Serve, Surroundings};
use crate::types::{LogId, Raft};

const THREADS: usize = 2;
/// How long closing waits for tasks that should have ended by themselves.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module head. Dropping it stops everything at once, as if the process had died.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) raft: Raft,
    pub(crate) cluster: Cluster,
    pub(crate) roster: Roster,
    pub(crate) changes: Changes,
    pub(crate) gate: Arc<Gate>,
    pub(crate) proposer: Proposer,
    pub(crate) asker: Asker,
    pub(crate) fatal: Fatal,
    pub(crate) listen: SocketAddr,
    pub(crate) network: Network,
    pub(crate) freshness: Arc<Freshness>,
    log: LogStore,
    pub(crate) snapshots: Snapshots,
    cancel: CancellationToken,
    tasks: TaskTracker,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

impl Node {
    pub(crate) async fn open(config: Config, machine: Box<dyn Machine>) -> Result<Node, OpenError> {
        config.check()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(format!("raft-{}", config.node_id))
            .on_thread_start(priority::raise)
            .enable_all()
            .build()
            .map_err(|source| OpenError::Io { what: "raft runtime".to_owned(), source })?;
        let handle = runtime.handle().clone();
        let opening = handle.spawn(start(config, machine, &Real));
        let opened = opening.await.unwrap_or_else(|e| Err(OpenError::Raft(e.to_string())));
        match opened {
            Ok(mut node) => {
                node.runtime = Mutex::new(Some(runtime));
                Ok(node)
            }
            Err(e) => {
                // A runtime must not be dropped where async code runs.
                runtime.shutdown_background();
                Err(e)
            }
        }
    }

    /// Opens a replica on the runtime of the caller, in other surroundings than the real ones.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) async fn open_in(
        surroundings: &dyn Surroundings,
        config: Config,
        machine: Box<dyn Machine>,
    ) -> Result<Node, OpenError> {
        config.check()?;
        start(config, machine, surroundings).await
    }

    /// Runs something on the runtime of this replica. `None` if it was closed meanwhile.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.tasks.spawn_on(work, &self.handle).await.ok()
    }

    pub(crate) fn storage(&self) -> Storage {
        let (health, pace) = (self.gate.health(), self.log.pace().map(Pace::shown).unwrap_or_default());
        let snapshot = self.snapshots.current();
        Storage {
            syncs: pace.count,
            sync_p50: pace.p50,
            sync_p99: pace.p99,
            slow: health.slow(),
            commit_stall: health.stall(),
            log_bytes: self.log.size(),
            snapshot_age: snapshot.as_ref().and_then(SnapshotFile::age),
            snapshot_bytes: snapshot.as_ref().map(SnapshotFile::size),
            free_bytes: (self.config.disk.low_bytes > 0).then(|| health.free()),
            level: health.level(),
            unfit_members: health.unfit_peers(),
        }
    }

    /// Stops everything in order. Afterwards the folder can be opened again.
    pub(crate) async fn close(&self) {
        self.fatal.closing();
        self.cancel.cancel();
        let raft = self.raft.clone();
        // Raft answers when its core has ended; an error means that it had ended before.
        let _ = self.run(async move { drop(raft.shutdown().await) }).await;
        self.tasks.close();
        if tokio::time::timeout(PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "tasks of the replicated store did not end in time");
        }
        self.log.close().await;
        self.stop_runtime();
    }

    fn stop_runtime(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.fatal.closing();
        self.cancel.cancel();
        self.stop_runtime();
    }
}

/// Opens everything, on the runtime it will run on.
async fn start(
    config: Config,
    machine: Box<dyn Machine>,
    surroundings: &dyn Surroundings,
) -> Result<Node, OpenError> {
    let fatal = Fatal::new();
    let (log, incarnation) = surroundings.open_log(&config, fatal.clone()).await?;
    let roster = Roster::new(config.node_id, incarnation, fatal.clone());
    let started = start_on(config, machine, log.clone(), roster, fatal, surroundings).await;
    if started.is_err() {
        // So that the folder can be opened again at once.
        log.close().await;
    }
    started
}

async fn start_on(
    config: Config,
    machine: Box<dyn Machine>,
    log: LogStore,
    roster: Roster,
    fatal: Fatal,
    surroundings: &dyn Surroundings,
) -> Result<Node, OpenError> {
    let cluster = Cluster::of_level(config.node_id, config.secret.clone(), log.clone(), config.level);
    let snapshot_dir = config.dir.join("snapshots");
    let dir = snapshot_dir.clone();
    let snapshots = crate::blocking::run(move || Snapshots::open(&dir))
        .await
        .unwrap_or_else(|e| Err(OpenError::Raft(e.to_string())))?;
    check_together(&snapshot_dir, &log, &snapshots, &cluster)?;
    let meter = Arc::new(Meter::new(config.snapshot_every_entries, config.snapshot_every_bytes));
    let replica = Replica::open(
        machine,
        snapshots.clone(),
        cluster.clone(),
        roster.clone(),
        Arc::clone(&meter),
        fatal.clone(),
    )
    .await?;
    let answerer = replica.answerer();
    let asker = Asker::new(cluster.clone(), roster.clone()).map_err(|e| OpenError::Raft(e.to_string()))?;
    let gate = Gate::new(config.contact_timeout());
    let freshness = Arc::new(Freshness::new());
    let carrier = surroundings.carrier(&config)?;
    let network = Network::new(&config, cluster.clone(), roster.clone(), Arc::clone(&gate), carrier);
    let (listen, serving) = surroundings.listen(&config).await?;
    let raft =
        Raft::build(config.node_id, Arc::new(raft_config(&config)?), network.clone(), log.clone(), replica)
            .await
            .map_err(|e| OpenError::Raft(e.to_string()))?;
    raft.run();

    let lease = Duration::from_millis(config.timing.election_max_ms);
    let (proposer, feeding) =
        Proposer::new(config.node_id, raft.clone(), Arc::clone(&gate), lease, config.max_command_bytes);
    let (tasks, cancel, handle) = (TaskTracker::new(), CancellationToken::new(), Handle::current());
    let look_every = Duration::from_millis(config.timing.heartbeat_ms.clamp(10, 100));
    let watching = leadership::watch_raft(
        config.node_id,
        raft.clone(),
        Arc::clone(&gate),
        roster.clone(),
        look_every,
        fatal.clone(),
        cancel.clone(),
    );
    tasks.spawn_on(watching, &handle);
    let until_cancelled = |work: futures::future::BoxFuture<'static, ()>| {
        let cancel = cancel.clone();
        tasks.spawn_on(async move { cancel.run_until_cancelled(work).await.unwrap_or_default() }, &handle);
    };
    until_cancelled(Box::pin(feeding));
    let changes = Changes::new(raft.clone(), roster.clone(), config.node_id, config.fresh());
    let desk = Desk {
        cluster: cluster.clone(),
        changes: changes.clone(),
        gate: Arc::clone(&gate),
        roster: roster.clone(),
    };
    let server = Server::new(
        raft.clone(),
        cluster.clone(),
        desk,
        snapshots.clone(),
        Arc::clone(&gate),
        Arc::clone(&freshness),
        config.contact_timeout(),
        answerer,
    );
    until_cancelled(Box::pin(serve(server, serving, fatal.clone())));
    let caretaker = Caretaker::new(&config, raft.clone(), Arc::clone(&gate), log.clone(), Arc::clone(&meter));
    until_cancelled(Box::pin(caretaker.run()));
    until_cancelled(Box::pin(take_snapshots(raft.clone(), meter, Arc::clone(&gate))));
    let keeper = Keeper {
        me: config.node_id,
        raft: raft.clone(),
        gate: Arc::clone(&gate),
        roster: roster.clone(),
        changes: changes.clone(),
        network: network.clone(),
    };
    until_cancelled(Box::pin(keeper.run()));
    if let Some(join) = config.join.clone() {
        let me = (config.node_id, config.me.clone());
        let settling = join::settle(join, me, config.secret.clone(), roster.clone(), fatal.clone());
        until_cancelled(Box::pin(settling));
    }
    let runtime = Mutex::new(None);
    Ok(Node {
        config,
        raft,
        cluster,
        roster,
        changes,
        gate,
        proposer,
        asker,
        fatal,
        listen,
        network,
        freshness,
        log,
        snapshots,
        cancel,
        tasks,
        handle,
        runtime,
    })
}

/// Log and snapshots must fit: nothing between them may be missing.
pub(crate) fn check_together(
    dir: &Path,
    log: &LogStore,
    snapshots: &Snapshots,
    cluster: &Cluster,
) -> Result<(), OpenError> {
    let current = snapshots.current();
    if let (Some(file), Some(here)) = (&current, cluster.id())
        && file.header.cluster_id != here
    {
        let reason = format!("it is of cluster {}, the log is of cluster {here}", file.header.cluster_id);
        return Err(OpenError::Foreign { file: file.path.clone(), reason });
    }
    let covered = current.and_then(|file| file.header.last).map(LogId::from);
    let purged = log.purged();
    if purged.map(|id| id.index) > covered.map(|id| id.index) {
        let name = |id: Option<LogId>| id.map_or("none".to_owned(), |id| format!("entry {}", id.index));
        let reason = format!(
            "the log was purged through {}, but the newest snapshot ends with {}",
            name(purged),
            name(covered)
        );
        return Err(OpenError::Damaged { file: dir.to_owned(), reason });
    }
    Ok(())
}

async fn serve(server: Server, serving: Serve, fatal: Fatal) {
    if let Err(e) = serving(server.router()).await {
        fatal.report(format!("the peer listener ended: {e}"));
    }
}

async fn take_snapshots(raft: Raft, meter: Arc<Meter>, gate: Arc<Gate>) {
    loop {
        meter.due().await;
        if gate.health().level() >= DiskLevel::Full {
            // It would not fit. It stays due, and every entry that is applied says so again.
            continue;
        }
        if raft.trigger().snapshot().await.is_err() {
            return;
        }
    }
}

fn raft_config(config: &Config) -> Result<openraft::Config, OpenError> {
    openraft::Config {
        cluster_name: "tepui".to_owned(),
        heartbeat_interval: config.timing.heartbeat_ms,
        election_timeout_min: config.timing.election_min_ms,
        election_timeout_max: config.timing.election_max_ms,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        backoff: "20ms 40ms 80ms ...200ms".to_owned(),
        max_payload_entries: 2048,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.keep_entries,
        // A replica further behind than this is sent a snapshot; it must be more than what the log keeps.
        replication_lag_threshold: config.keep_entries.saturating_mul(4).max(1000),
        purge_batch_size: (config.keep_entries / 16).clamp(1, 1024),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|e| OpenError::Config(e.to_string()))
}
