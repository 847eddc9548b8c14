//! One replica: its disk and folder, which stay, and its processes, which come and go, each on a runtime and a clock of its own.
//!
//! Owns the steps of time. A paused process does nothing while its clock goes on, as under SIGSTOP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};

use super::disk::Disk;
use super::machine::{Machine, SharedChecks, State};
use super::network::Socket;
use crate::card::{self, Card};
use crate::config::{Config, Peer, Timing};
use crate::error::OpenError;
use crate::fatal::Fatal;
use crate::log::LogStore;
use crate::log::simulated::{self, LogDisk};
use crate::network::Carrier;
use crate::seat::Incarnation;
use crate::store::RaftStore;
use crate::surroundings::{Serve, Surroundings};

/// So small that reads go to the disk now and then, in bytes.
const CACHE_BYTES: usize = 8 << 10;

/// What a simulated process finds around it.
struct Simulated {
    disk: Disk,
    socket: Arc<Socket>,
}

impl Surroundings for Simulated {
    fn open_log(
        &self,
        config: &Config,
        fatal: Fatal,
    ) -> BoxFuture<'static, Result<(LogStore, Incarnation), OpenError>> {
        let (disk, node_id, dir) = (self.disk.clone(), config.node_id, config.dir.clone());
        Box::pin(async move {
            let damaged =
                |damage: simulated::Damage| OpenError::Damaged { file: dir.clone(), reason: damage.0 };
            card::make_folder(&dir)?;
            let mut found = disk.recover(CACHE_BYTES).map_err(damaged)?;
            if found.identity.is_none() {
                found = simulated::create(&disk, node_id)
                    .map_err(|source| OpenError::Io { what: "simulated disk".to_owned(), source })?;
            }
            let log = simulated::start(Arc::new(disk), found, CACHE_BYTES, fatal);
            Ok((log, Card::complete(&dir, node_id)?))
        })
    }

    fn carrier(&self, _config: &Config) -> Result<Arc<dyn Carrier>, OpenError> {
        Ok(Arc::<Socket>::clone(&self.socket))
    }

    fn listen(&self, config: &Config) -> BoxFuture<'static, Result<(SocketAddr, Serve), OpenError>> {
        let listening = self.socket.listen(config.peer_listen);
        Box::pin(async move { Ok(listening) })
    }
}

/// A running process.
pub(super) struct Process {
    pub(super) store: RaftStore,
    pub(super) state: Arc<Mutex<State>>,
    runtime: Runtime,
}

impl Process {
    /// What is called while this lives goes by the clock of this process.
    pub(super) fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Runs something beside the store.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // It ends by itself or with the process.
        drop(self.runtime.spawn(work));
    }
}

/// See the module head.
pub(super) struct Replica {
    pub(super) id: u64,
    pub(super) disk: Disk,
    dir: PathBuf,
    pub(super) process: Option<Process>,
    lives: u64,
    /// Time that went by while it was paused, in milliseconds.
    asleep_ms: u64,
    pub(super) paused: bool,
    /// When to start it again.
    pub(super) down_until: Option<u64>,
    /// Why it does not start any more.
    pub(super) refuses: Option<String>,
    /// The serial of the lead it reports.
    pub(super) lead: Option<u64>,
    /// Since when it leads without having heard from a quorum.
    pub(super) out_of_touch_since: Option<u64>,
}

/// Where a replica is reached.
pub(super) fn peer(id: u64) -> Peer {
    Peer { peer_addr: format!("10.0.0.{id}:7000"), api_addr: format!("api-{id}") }
}

impl Replica {
    pub(super) fn new(id: u64, dir: PathBuf, seed: u64) -> Replica {
        Replica {
            id,
            disk: Disk::new(seed),
            dir,
            process: None,
            lives: 0,
            asleep_ms: 0,
            paused: false,
            down_until: None,
            refuses: None,
            lead: None,
            out_of_touch_since: None,
        }
    }

    /// The number of the next process.
    pub(super) fn next_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    /// Starts a process.
    pub(super) fn start(
        &mut self,
        life: u64,
        socket: Socket,
        checks: &SharedChecks,
    ) -> Result<(), OpenError> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|source| OpenError::Io { what: "runtime".to_owned(), source })?;
        let machine = Machine::new(self.id, life, Arc::clone(checks));
        let state = machine.shared();
        let around = Simulated { disk: self.disk.clone(), socket: Arc::new(socket) };
        let store = runtime.block_on(RaftStore::open_in(&around, self.config(), machine))?;
        self.process = Some(Process { store, state, runtime });
        self.asleep_ms = 0;
        self.paused = false;
        self.lead = None;
        Ok(())
    }

    fn config(&self) -> Config {
        let addr = SocketAddr::from(([10, 0, 0, u8::try_from(self.id).unwrap_or(0)], 7000));
        let mut config = Config::new(self.id, &self.dir, addr, peer(self.id));
        config.secret = Some("simulated".to_owned());
        config.timing = Timing::default();
        config.snapshot_every_entries = 150;
        config.keep_entries = 60;
        // Room is a matter of the real disk.
        config.disk.low_bytes = 0;
        config
    }

    pub(super) fn contact_timeout_ms(&self) -> u64 {
        u64::try_from(self.config().contact_timeout().as_millis()).unwrap_or(u64::MAX)
    }

    /// One millisecond goes by.
    pub(super) fn step(&mut self) {
        if self.paused {
            self.asleep_ms += 1;
            return;
        }
        let asleep = std::mem::take(&mut self.asleep_ms);
        if let Some(process) = &self.process {
            process.runtime.block_on(async {
                if asleep > 0 {
                    tokio::time::advance(Duration::from_millis(asleep)).await;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            });
        }
    }

    /// The process ends at once; what it did not sync may be lost.
    pub(super) fn crash(&mut self) {
        if let Some(process) = self.process.take() {
            // Tasks first: nothing runs any more when the store is dropped.
            drop(process.runtime);
            drop(process.store);
            self.disk.crash();
        }
        self.paused = false;
        self.lead = None;
        self.out_of_touch_since = None;
    }
}
