//! What an agent is told once, at start. Owns the defaults of the shell's timers; the core's stand in the core.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tepui_proto::connections::Bounds;
use tepui_proto::origin::Origin;

/// More connections are of use to nobody.
const CONNECTIONS_MAX: usize = 4096;

/// A text that must not reach a log: it prints as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text without the white space around it.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Sets how much this process logs: 0 is what it was started with, 1 adds debugging, more adds tracing.
#[derive(Clone)]
pub struct LogLevel(Arc<dyn Fn(u32) + Send + Sync>);

impl LogLevel {
    /// Takes what changes the level; it is called with the new one, and must not block.
    pub fn new(set: impl Fn(u32) + Send + Sync + 'static) -> Self {
        Self(Arc::new(set))
    }

    pub(crate) fn set(&self, level: u32) {
        (self.0)(level);
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogLevel(…)")
    }
}

/// Everything that waits, each changeable so that tests can run fast.
#[derive(Clone, Debug)]
pub struct Timers {
    /// First and longest pause before a master is tried again; the actual pause is drawn below it.
    pub reconnect_min: Duration,
    pub reconnect_max: Duration,
    /// How long a call to a master may take.
    pub call_timeout: Duration,
    /// How long REGISTER may stay unanswered.
    pub register_timeout: Duration,
    /// First and longest pause before an unacknowledged update is sent again.
    pub update_retry_min: Duration,
    pub update_retry_max: Duration,
    /// Grace of a kill where neither the kill nor the task names one.
    pub kill_grace: Duration,
    /// How long a supervising process may take to start a command.
    pub launch_timeout: Duration,
    /// How long the process of an executor may take to subscribe, counted from its start.
    pub executor_registration_timeout: Duration,
    /// How long executors have to subscribe again after the agent restarted.
    pub executor_reregistration_timeout: Duration,
    /// Grace between asking an executor to end and forcing it, where it names none itself.
    pub executor_shutdown_grace: Duration,
    /// Pause between two HEARTBEAT events to an executor.
    pub executor_heartbeat: Duration,
    /// How long executors of checkpointing frameworks are told to wait for an agent that is away.
    pub recovery_timeout: Duration,
    /// Age at which the sandbox of an ended task goes.
    pub gc_delay: Duration,
    pub gc_interval: Duration,
    /// How long the beginning of a call's body may take; one that is long gets more.
    pub body_timeout: Duration,
    /// How long the head of a request may take, and how long a connection is kept that is not used.
    pub head_timeout: Duration,
    pub idle_timeout: Duration,
    /// How long open connections get to end when the agent stops.
    pub drain_timeout: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        let bounds = Bounds::new(CONNECTIONS_MAX);
        Self {
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
            call_timeout: Duration::from_secs(10),
            register_timeout: Duration::from_secs(10),
            update_retry_min: Duration::from_secs(10),
            update_retry_max: Duration::from_secs(600),
            kill_grace: Duration::from_secs(3),
            launch_timeout: Duration::from_secs(30),
            executor_registration_timeout: Duration::from_secs(60),
            executor_reregistration_timeout: Duration::from_secs(2),
            executor_shutdown_grace: Duration::from_secs(5),
            executor_heartbeat: Duration::from_secs(30 * 60),
            recovery_timeout: Duration::from_secs(15 * 60),
            gc_delay: Duration::from_secs(7 * 24 * 3600),
            gc_interval: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            head_timeout: bounds.head,
            idle_timeout: bounds.idle,
            drain_timeout: Duration::from_millis(500),
        }
    }
}

/// Everything an agent is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// `host:port` of the masters' public API; any of them may lead.
    pub masters: Vec<String>,
    /// Address on which the agent's own endpoints listen.
    pub ip: IpAddr,
    /// 0 takes a free one.
    pub port: u16,
    /// Name shown in offers; by default the address.
    pub hostname: Option<String>,
    /// The agent's own folder; it keeps its identity and its tasks there.
    pub work_dir: PathBuf,
    /// `cpus:4;mem:4096;disk:10000;ports:[31000-32000]`; what it does not name is detected.
    pub resources: Option<String>,
    /// `rack:a;zone:1`
    pub attributes: Option<String>,
    /// Region and zone.
    pub domain: Option<tepui_proto::v1::DomainInfo>,
    /// Shown to the masters.
    pub secret: Option<Secret>,
    /// File with the key that signs executors' tokens; with it executors get one when they are started.
    pub jwt_secret_key: Option<PathBuf>,
    /// Refuse calls of executors that show no such token; needs the key.
    pub authenticate_http_executors: bool,
    /// Given to tasks as TEPUI_BIN; by default the running executable.
    pub executable: Option<PathBuf>,
    /// Program and first arguments that lead to [`crate::supervise_main`]; by default `<executable> supervise`.
    pub supervisor_command: Option<Vec<OsString>>,
    /// Where this process logs to, if to a file: shown as `/slave/log`.
    pub log_file: Option<PathBuf>,
    /// Lets operators change how much is logged; without it they are told that they cannot.
    pub log_level: Option<LogLevel>,
    /// Which commit the executable was built from.
    pub origin: Origin,
    /// Connections that may be open to the agent's endpoints, or half of the files that it may open, if that is less.
    pub connections_max: usize,
    pub timers: Timers,
}

impl Config {
    /// A configuration with the house defaults: loopback, port 5051, detected resources.
    pub fn new(masters: Vec<String>, work_dir: impl Into<PathBuf>) -> Self {
        Self {
            masters,
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 5051,
            hostname: None,
            work_dir: work_dir.into(),
            resources: None,
            attributes: None,
            domain: None,
            secret: None,
            jwt_secret_key: None,
            authenticate_http_executors: false,
            executable: None,
            supervisor_command: None,
            log_file: None,
            log_level: None,
            origin: Origin::default(),
            connections_max: CONNECTIONS_MAX,
            timers: Timers::default(),
        }
    }

    pub(crate) fn bounds(&self) -> Bounds {
        let Timers { head_timeout: head, idle_timeout: idle, .. } = self.timers;
        Bounds { connections: self.connections_max, head, idle }
    }
}
