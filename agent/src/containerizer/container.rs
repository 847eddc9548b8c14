//! The live containers: starting them, ending them, and a watch over each. Owns which processes are signalled.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::Signal;
use tepui_agent_core::{Input, ShowVolumes, VolumeName};
use tokio::process::Child;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::isolators::{self, Isolator};
use super::recovery::Adopted;
use super::start::{Owner, Start};
use super::{launcher, watch};
use crate::config::Timers;
use crate::executor_tokens::Tokens;
use crate::layout::Layout;
use crate::runtime::Handle;
use crate::supervise::processes;
use crate::supervise::records::{self, Kill, Started};
use crate::volumes;

/// Starts under way at once; more would only compete for the disk.
const STARTS_MAX: usize = 16;

/// What containers need to know of their agent.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) layout: Layout,
    /// `ip:port` of the agent.
    pub(crate) endpoint: String,
    /// For tasks: the agent's own program.
    pub(crate) executable: String,
    pub(crate) supervisor_command: Vec<OsString>,
    pub(crate) timers: Timers,
    /// Signs what executors prove themselves with, if they are to have that.
    pub(crate) tokens: Option<Tokens>,
}

/// Starts and ends containers.
pub(crate) struct Containerizer {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    isolators: Vec<Box<dyn Isolator>>,
    handle: Handle,
    tracker: TaskTracker,
    /// The agent stops: containers are left to themselves.
    stop: CancellationToken,
    starts: Semaphore,
    live: Mutex<BTreeMap<Owner, Live>>,
}

/// A container whose supervising process is thought to run.
#[derive(Clone, Debug)]
struct Live {
    folder: PathBuf,
    started: Started,
}

impl Containerizer {
    pub(crate) fn new(
        settings: Settings,
        handle: Handle,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let shared = Shared {
            settings,
            isolators: isolators::all(),
            handle,
            tracker,
            stop,
            starts: Semaphore::new(STARTS_MAX),
            live: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Starts a command or an executor; the event loop hears of it.
    pub(crate) fn launch(&self, start: impl Into<Start>) {
        let shared = self.shared.clone();
        self.shared.tracker.spawn(Box::pin(shared.run(start.into())));
    }

    /// Watches containers that an earlier run of the agent started.
    pub(crate) fn adopt(&self, adopted: Vec<Adopted>) {
        for one in adopted {
            let shared = self.shared.clone();
            let live =
                Live { folder: shared.settings.layout.container(&one.container_id), started: one.started };
            shared.remember(&one.owner, live);
            self.shared.tracker.spawn(async move { shared.watch_adopted(one).await });
        }
    }

    /// Ends a command, by force when the grace is over.
    pub(crate) fn kill(&self, owner: &Owner, grace_ms: u64) {
        let Some(live) = self.shared.live().get(owner).cloned() else {
            tracing::debug!(%owner, "nothing left to kill");
            return;
        };
        if let Err(error) = records::write_kill(&live.folder, Kill { grace_ms }) {
            tracing::warn!(%owner, %error, "failed to tell the grace of a kill");
        }
        if processes::is_alive(live.started) {
            processes::signal(live.started.pid, Signal::SIGTERM);
        }
    }

    /// Removes volumes and makes others. Only names are changed here; what is in a volume is removed later.
    pub(crate) fn volumes(&self, destroy: &[VolumeName], create: &[VolumeName]) {
        let layout = &self.shared.settings.layout;
        for name in destroy {
            if let Err(error) = volumes::destroy(layout, name) {
                tracing::warn!(role = name.role, id = name.id, %error, "failed to destroy a volume");
            }
        }
        for name in create {
            if let Err(error) = volumes::create(layout, name) {
                tracing::warn!(role = name.role, id = name.id, %error, "failed to create a volume");
            }
        }
        if !destroy.is_empty() {
            let layout = layout.clone();
            self.shared.tracker.spawn_blocking(move || volumes::empty_trash(&layout));
        }
    }

    /// Shows volumes in the sandbox of an executor that runs; the event loop hears of it.
    pub(crate) fn show_volumes(&self, show: ShowVolumes) {
        let shared = self.shared.clone();
        self.shared.tracker.spawn(async move {
            let ShowVolumes { executor, container_id, agent_id, tasks, wanted, held } = show;
            let layout = shared.settings.layout.clone();
            let runs = layout.runs(&agent_id, &executor.framework_id, &executor.executor_id);
            let sandbox = runs.join(&container_id);
            let work = move || volumes::show(&layout, &wanted, &held, &sandbox);
            let Some(shown) = shared.blocking(work).await else { return };
            let failure = shown.err().map(|error| format!("show the volumes of the task: {error}"));
            shared.handle.input(Input::VolumesShown { executor, container_id, tasks, failure }).await;
        });
    }

    /// Removes what the agent kept about a container that nobody asks about any more.
    pub(crate) fn forget(&self, container_id: String) {
        let shared = self.shared.clone();
        self.shared.tracker.spawn_blocking(move || {
            for isolator in shared.isolators.iter().rev() {
                isolator.clean_up(&shared.settings.layout, &container_id);
            }
            let folder = shared.settings.layout.container(&container_id);
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(container_id, %error, "failed to remove a container's folder");
                }
                Ok(()) | Err(_) => {}
            }
        });
    }
}

impl Shared {
    fn live(&self) -> std::sync::MutexGuard<'_, BTreeMap<Owner, Live>> {
        // Nothing panics while it is held, and the map would be whole even then.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, owner: &Owner, live: Live) {
        self.live().insert(owner.clone(), live);
    }

    async fn run(self: Arc<Self>, start: Start) {
        let (owner, container_id) = (start.owner.clone(), start.container_id.clone());
        let child = match self.start(start).await {
            Ok(child) => child,
            Err(Stopped::Failed(message)) => {
                self.handle.input(owner.launch_failed(message)).await;
                return;
            }
            Err(Stopped::AgentLeaves) => return,
        };
        let pid = child.id().unwrap_or_default();
        let start_time = processes::stat(pid.cast_signed()).map(|stat| stat.start_time).unwrap_or_default();
        let folder = self.settings.layout.container(&container_id);
        let started = Started { pid: pid.cast_signed(), start_time };
        self.remember(&owner, Live { folder: folder.clone(), started });
        self.handle.input(owner.clone().launched(pid)).await;
        self.watch(owner, container_id, child).await;
    }

    /// Returns the supervising process of a command that runs.
    async fn start(self: &Arc<Self>, start: Start) -> Result<Child, Stopped> {
        let (container_id, tied) = (start.container_id.clone(), start.ends_with_agent());
        let permit = tokio::select! {
            permit = self.starts.acquire() => permit.map_err(|_| Stopped::AgentLeaves)?,
            () = self.stop.cancelled() => return Err(Stopped::AgentLeaves),
        };
        let shared = self.clone();
        let prepared =
            self.blocking(move || launcher::prepare(&shared.settings, &shared.isolators, &start)).await;
        match prepared {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(Stopped::Failed(format!("prepare the container: {error}"))),
            None => return Err(Stopped::AgentLeaves),
        }
        let timeout = self.settings.timers.launch_timeout;
        let started = tokio::select! {
            started = launcher::start(&self.settings, &container_id, tied, timeout) => started,
            () = self.stop.cancelled() => return Err(Stopped::AgentLeaves),
        };
        drop(permit);
        let (message, child) = match started {
            Ok(child) => return Ok(child),
            Err(failed) => failed,
        };
        if let Some(mut child) = child {
            // It may hang in the middle: nothing of it may be left when the task is reported as failed.
            let _gone = child.kill().await;
        }
        let folder = self.settings.layout.container(&container_id);
        let what = message.clone();
        self.blocking(move || watch::conclude(&folder, &container_id, &what)).await;
        Err(Stopped::Failed(message))
    }

    async fn watch(self: Arc<Self>, owner: Owner, container_id: String, mut child: Child) {
        // Waiting would close it, and with it a container that ends with the agent.
        let _tie = child.stdin.take();
        let ended = tokio::select! {
            ended = child.wait() => ended,
            () = self.stop.cancelled() => return,
        };
        let what = match ended {
            Ok(status) => format!("supervising process ended without an exit record ({status})"),
            Err(error) => format!("supervising process was lost ({error})"),
        };
        self.conclude(owner, container_id, what).await;
    }

    async fn watch_adopted(self: Arc<Self>, adopted: Adopted) {
        let folder = self.settings.layout.container(&adopted.container_id);
        loop {
            tokio::select! {
                () = tokio::time::sleep(watch::LOOK_INTERVAL) => {}
                () = self.stop.cancelled() => return,
            }
            match records::try_lock(&folder) {
                Ok(None) => {}
                Ok(Some(_)) => break,
                Err(error) => {
                    tracing::warn!(owner = %adopted.owner, %error, "failed to look at a container");
                    if !processes::is_alive(adopted.started) {
                        break;
                    }
                }
            }
        }
        let what = "supervising process ended without an exit record".to_owned();
        self.conclude(adopted.owner, adopted.container_id, what).await;
    }

    async fn conclude(self: Arc<Self>, owner: Owner, container_id: String, what: String) {
        let folder = self.settings.layout.container(&container_id);
        let Some(exit) = self.blocking(move || watch::conclude(&folder, &container_id, &what)).await else {
            return;
        };
        self.live().remove(&owner);
        self.handle.input(owner.exited(exit)).await;
    }

    /// Does blocking work on a thread that the tracker waits for. Returns `None` if the runtime is going down.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.tracker.spawn_blocking(work).await.ok()
    }
}

enum Stopped {
    Failed(String),
    /// The agent stops; the next one finds out how far this got.
    AgentLeaves,
}
