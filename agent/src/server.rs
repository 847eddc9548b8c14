//! Puts an agent together, and takes it apart in order. Owns every task and the order of stopping.
//!
//! Stopping: no more HTTP requests, the link closes, the event loop ends, the journal is written to its end. Tasks run on
//! under their supervising processes.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use rand::RngCore;
use tepui_agent_core::{Agent, Input};
use tepui_proto::v1;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::checkpoint::{Journal, JournalFile};
use crate::config::{Config, Timers};
use crate::containerizer::{self, Containerizer, Recovered, Settings};
use crate::executor_tokens::Tokens;
use crate::layout::{Layout, WorkDirLock, write_atomically};
use crate::master_link::MasterLink;
use crate::runtime::{EventLoop, Handle, Observed, Parts, Queues};
use crate::{Error, PRODUCT_VERSION, flags, gc, http, resources, volumes};

/// A running agent.
pub struct Server {
    address: SocketAddr,
    timers: Timers,
    event_loop: JoinHandle<Result<Option<String>, Error>>,
    journal: JoinHandle<Result<(), Error>>,
    tracker: TaskTracker,
    /// Stops what comes from outside: HTTP and the link.
    stop_outside: CancellationToken,
    stop: CancellationToken,
    _lock: WorkDirLock,
}

impl Server {
    /// Starts an agent; it looks for a leading master by itself from then on.
    ///
    /// # Errors
    /// The configuration, the work folder or the address cannot be used.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let resources = {
            let parent = config.work_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
            resources::resources(config.resources.as_deref(), parent)?
        };
        let attributes = resources::attributes(config.attributes.as_deref())?;
        let tokens = config.jwt_secret_key.as_deref().map(Tokens::read).transpose()?;
        if config.authenticate_http_executors && tokens.is_none() {
            let reason = "authenticate_http_executors needs jwt_secret_key, which signs the tokens";
            return Err(Error::Config(reason.to_owned()));
        }
        let (layout, lock) = Layout::open(&config.work_dir)?;
        let file = JournalFile::open(&layout.journal())?;
        let state = file.state().clone();
        let (listener, address) = listen(&config).await?;
        let host = advertised_ip(&config);
        let advertised = SocketAddr::new(host, address.port());

        let tracker = TaskTracker::new();
        let (stop_outside, stop) = (CancellationToken::new(), CancellationToken::new());
        // If anything fails from here on, what has begun by then ends.
        let given_up = (stop_outside.clone().drop_guard(), stop.clone().drop_guard());
        let (handle, Queues { messages, ended_streams }) = Handle::new();
        let observed = Observed::new();
        // Before the recovery: whoever asks meanwhile is told to come again instead of finding nobody.
        let facts = http::Facts {
            layout: layout.clone(),
            address: advertised,
            flags: flags::flags(&config, address),
            origin: config.origin,
            log_file: config.log_file.clone(),
            log_level: config.log_level.clone(),
            gc_delay: config.timers.gc_delay,
            body_timeout: config.timers.body_timeout,
            executor_tokens: tokens.clone().filter(|_| config.authenticate_http_executors),
        };
        let app =
            http::App::new(facts, handle.clone(), observed.clone(), tracker.clone(), stop_outside.clone());
        tracker.spawn(http::serve(listener, app, config.bounds(), stop_outside.clone()));
        let endpoint = format!("{{\"api\":\"{advertised}\",\"pid\":{}}}\n", std::process::id());
        write_atomically(&layout.endpoint(), endpoint.as_bytes())
            .map_err(Error::file("write", &layout.endpoint()))?;
        let recovery = {
            let (layout, state) = (layout.clone(), state.clone());
            tokio::task::spawn_blocking(move || containerizer::recover(&layout, &state)).await
        };
        let Recovered { processes, executors, adopted } =
            recovery.map_err(|_| Error::Ended("recovery"))??;

        {
            let layout = layout.clone();
            tracker.spawn_blocking(move || volumes::empty_trash(&layout));
        }
        let settings = settings(&config, layout.clone(), advertised, tokens)?;
        let containers = Containerizer::new(settings, handle.clone(), tracker.clone(), stop.clone());
        containers.adopt(adopted);
        let core = core_config(&config, host, address.port(), resources, attributes);
        let (masters, told) = watch::channel(state.masters.clone());
        let link = MasterLink::new(&config, core.tasks_max, handle.clone(), observed.clone(), told)?;
        let (journal, durable, write) = Journal::new(file);
        let journal_task = tokio::task::spawn_blocking(write);

        let anything = !state.tasks.is_empty() || !state.executors.is_empty();
        let agent = Agent::new(core, state);
        let streams = handle.executors().clone();
        let parts = Parts {
            agent,
            messages,
            journal,
            durable,
            containers,
            executors: streams.clone(),
            masters,
            observed: observed.clone(),
            stop: stop.clone(),
        };
        let first = if anything { vec![Input::Recovered { processes, executors }] } else { Vec::new() };
        // Both are owned by this server, which awaits them.
        let event_loop = tracker.spawn(EventLoop::new(parts).run(first));

        tracker.spawn(streams.watch(ended_streams, handle.clone(), stop_outside.clone()));
        tracker.spawn(gc::run(layout, handle, config.timers.clone(), observed, stop_outside.clone()));
        tracker.spawn(link.run(stop_outside.clone()));
        drop((given_up.0.disarm(), given_up.1.disarm()));
        tracing::info!(%address, work_dir = %config.work_dir.display(), "agent started");
        Ok(Self {
            address,
            timers: config.timers,
            event_loop,
            journal: journal_task,
            tracker,
            stop_outside,
            stop,
            _lock: lock,
        })
    }

    /// Returns where the agent's endpoints listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until `shutdown` is ready or a master tells the agent to leave. Tasks run on in the first case and are ended in
    /// the second.
    ///
    /// # Errors
    /// The agent could not go on.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let ended = tokio::select! {
            () = shutdown => {
                tracing::info!("agent stops; its tasks run on");
                None
            }
            ended = &mut self.event_loop => Some(ended),
        };
        self.stop_outside.cancel();
        self.stop.cancel();
        let ended = match ended {
            Some(ended) => ended,
            None => self.event_loop.await,
        };
        // The event loop held the journal's other end: it writes what it has, and ends.
        let written = self.journal.await.map_err(|_| Error::Ended("journal")).flatten();
        self.tracker.close();
        if tokio::time::timeout(self.timers.drain_timeout, self.tracker.wait()).await.is_err() {
            tracing::debug!("some connections were cut off");
        }
        match (ended, written) {
            (_, Err(error)) => Err(Error::Checkpoint(Box::new(error))),
            (Err(_), _) => Err(Error::Ended("event loop")),
            (Ok(Err(error)), _) => Err(error),
            (Ok(Ok(Some(message))), _) => {
                tracing::info!(reason = message, "agent leaves, as its master said");
                Ok(())
            }
            (Ok(Ok(None)), _) => Ok(()),
        }
    }
}

async fn listen(config: &Config) -> Result<(TcpListener, SocketAddr), Error> {
    let wanted = SocketAddr::new(config.ip, config.port);
    let failed = |source| Error::Listen { address: wanted.to_string(), source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Returns the address under which others reach this host: the one that it listens on, or, if it listens on all, the one
/// from which it would talk to the first master.
fn advertised_ip(config: &Config) -> IpAddr {
    if !config.ip.is_unspecified() {
        return config.ip;
    }
    let route = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Sends nothing: it only chooses a route.
        socket.connect(config.masters.first().map_or("", String::as_str))?;
        socket.local_addr()
    };
    route().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

fn settings(
    config: &Config,
    layout: Layout,
    advertised: SocketAddr,
    tokens: Option<Tokens>,
) -> Result<Settings, Error> {
    let executable = match &config.executable {
        Some(path) => path.clone(),
        None => std::env::current_exe().map_err(Error::file("find", Path::new("/proc/self/exe")))?,
    };
    let supervisor_command = config
        .supervisor_command
        .clone()
        .unwrap_or_else(|| vec![executable.clone().into_os_string(), "supervise".into()]);
    Ok(Settings {
        layout,
        endpoint: advertised.to_string(),
        executable: executable.display().to_string(),
        supervisor_command,
        timers: config.timers.clone(),
        tokens,
    })
}

fn core_config(
    config: &Config,
    host: IpAddr,
    port: u16,
    resources: Vec<v1::Resource>,
    attributes: Vec<v1::Attribute>,
) -> tepui_agent_core::Config {
    use crate::runtime::milliseconds;
    let info = v1::AgentInfo {
        hostname: Some(config.hostname.clone().unwrap_or_else(|| host.to_string())),
        port: Some(port.into()),
        resources,
        attributes,
        domain: config.domain.clone(),
        ..Default::default()
    };
    let mut seed = [0; 32];
    rand::rng().fill_bytes(&mut seed);
    let timers = &config.timers;
    let mut core = tepui_agent_core::Config::new(info, host.to_string(), seed);
    core.version = PRODUCT_VERSION.to_owned();
    core.boot_id = uuid::Uuid::new_v4().to_string();
    core.default_grace_ms = milliseconds(timers.kill_grace);
    core.update_retry_min_ms = milliseconds(timers.update_retry_min);
    core.update_retry_max_ms = milliseconds(timers.update_retry_max);
    core.register_timeout_ms = milliseconds(timers.register_timeout);
    core.executor_registration_timeout_ms = milliseconds(timers.executor_registration_timeout);
    core.executor_reregistration_timeout_ms = milliseconds(timers.executor_reregistration_timeout);
    core.executor_shutdown_grace_ms = milliseconds(timers.executor_shutdown_grace);
    core.executor_heartbeat_ms = milliseconds(timers.executor_heartbeat);
    core
}
