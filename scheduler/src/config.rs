//! What one master is told at start, as plain checked data.
//!
//! Owns the [`Config`] of a master process, its defaults and the check that the parts fit together. Reads no flags, no
//! environment and no files: that is the command line's work.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tepui_proto::basic::Credentials;
use tepui_proto::origin::Origin;
use tepui_raft_store::{DiskLimits, NodeId, Timing};
use tepui_scheduler_core::allocator::{Minimums, Sorter};
use tepui_scheduler_core::rate_limits::RateLimits;
use tepui_scheduler_core::registry::FEATURE_LEVEL;

/// A text that must not reach a log: it prints as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text without the white space around it.
    pub fn new(text: &str) -> Secret {
        Secret(text.trim().to_owned())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One entry of the list of masters: `1=host:peer_port/api_port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterAddress {
    pub node_id: NodeId,
    /// Host name or IPv4 address under which the other masters, agents and frameworks reach it.
    pub host: String,
    pub peer_port: u16,
    pub api_port: u16,
}

impl MasterAddress {
    /// The form in which the replicated store keeps it.
    pub fn peer(&self) -> tepui_raft_store::Peer {
        tepui_raft_store::Peer {
            peer_addr: format!("{}:{}", self.host, self.peer_port),
            api_addr: format!("{}:{}", self.host, self.api_port),
        }
    }
}

impl FromStr for MasterAddress {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ConfigError::Master(text.to_owned());
        let (id, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (peer, api_port) = rest.rsplit_once('/').ok_or_else(wrong)?;
        let (host, peer_port) = peer.rsplit_once(':').ok_or_else(wrong)?;
        // Clients of the v1 API split addresses at the first colon, so an IPv6 literal cannot be advertised.
        if host.is_empty() || host.contains([':', '/', ' ']) {
            return Err(wrong());
        }
        Ok(MasterAddress {
            node_id: id.trim().parse().map_err(|_| wrong())?,
            host: host.to_owned(),
            peer_port: peer_port.parse().map_err(|_| wrong())?,
            api_port: api_port.parse().map_err(|_| wrong())?,
        })
    }
}

/// Everything that waits, each changeable so that tests can run fast.
#[derive(Clone, Debug, PartialEq)]
pub struct Timers {
    /// Between heartbeats on scheduler and operator streams.
    pub heartbeat_interval: Duration,
    /// Between pings to an agent.
    pub agent_ping_interval: Duration,
    /// Unanswered pings until an agent counts as unreachable.
    pub agent_ping_timeouts: u32,
    /// How long agents may take to come back after a leader change.
    pub agent_failover_grace: Duration,
    /// The least time that a framework held as connected gets after a leader change.
    pub framework_failover_grace: Duration,
    /// The least time that a framework held as disconnected gets after a leader change.
    pub framework_disconnected_grace: Duration,
    /// Lease of a supervised driver whose specification names none.
    pub driver_lease: Duration,
    /// How long observed task states are collected before they are committed.
    pub observe_interval: Duration,
    /// How long changes are collected before resources are offered.
    pub allocation_delay: Duration,
    /// The least life of a decline filter.
    pub allocation_interval: Duration,
    /// An unanswered offer is rescinded after this long; `None` keeps it for ever.
    pub offer_timeout: Option<Duration>,
    /// Pause before the status of an operation that its framework does not acknowledge is repeated; doubles each time …
    pub operation_retry_min: Duration,
    /// … up to this.
    pub operation_retry_max: Duration,
    /// Least time between two agents that are given up for their silence; zero sets no limit.
    pub agent_removal_interval: Duration,
    /// Between two looks for agents to be forgotten …
    pub registry_gc_interval: Duration,
    /// … that were unreachable or gone for longer than this.
    pub registry_max_agent_age: Duration,
    /// Between heartbeats on the event stream of the dashboard.
    pub event_heartbeat_interval: Duration,
    /// The shortest time between two updates of one object on that stream.
    pub event_coalescing: Duration,
    /// Longest time between two comparisons of the masters' states while anything is applied; zero: they are not compared.
    pub checkpoint_interval: Duration,
    /// A leader without a quorum's answer for this long steps down.
    pub leader_contact_timeout: Duration,
    /// How long a leader that stops waits for another to take over.
    pub hand_over_timeout: Duration,
    /// How long open connections get to end when the master stops.
    pub drain_timeout: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            heartbeat_interval: Duration::from_secs(15),
            agent_ping_interval: Duration::from_secs(5),
            agent_ping_timeouts: 5,
            agent_failover_grace: Duration::from_secs(60),
            framework_failover_grace: Duration::from_secs(30),
            framework_disconnected_grace: Duration::from_secs(10),
            driver_lease: Duration::from_secs(10),
            observe_interval: Duration::from_millis(100),
            allocation_delay: Duration::from_millis(20),
            allocation_interval: Duration::from_secs(1),
            offer_timeout: Some(Duration::from_secs(300)),
            operation_retry_min: Duration::from_secs(10),
            operation_retry_max: Duration::from_mins(10),
            agent_removal_interval: Duration::ZERO,
            registry_gc_interval: Duration::from_mins(15),
            registry_max_agent_age: Duration::from_hours(14 * 24),
            event_heartbeat_interval: Duration::from_secs(5),
            event_coalescing: Duration::from_millis(200),
            checkpoint_interval: Duration::from_secs(10),
            leader_contact_timeout: Duration::from_secs(1),
            hand_over_timeout: Duration::from_secs(1),
            drain_timeout: Duration::from_millis(500),
        }
    }
}

/// Upper bounds that protect the process from its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request body, in bytes; longer ones get 413.
    pub body_bytes: usize,
    /// Inputs that wait for the event loop; beyond that callers wait.
    pub queued_inputs: usize,
    /// Proposals in flight; beyond that no new input is taken.
    pub proposals_in_flight: usize,
    /// Records that wait for one slow consumer before it is disconnected …
    pub stream_records: usize,
    /// … or bytes, whichever comes first.
    pub stream_bytes: usize,
    /// Open client connections; further ones are closed at once.
    pub connections: usize,
    /// Long answers on their way at once; further ones get 503.
    pub long_answers: usize,
    /// Subscribers of the operator event stream; the oldest goes when one more comes.
    pub operator_subscribers: usize,
    /// Subscribers of the dashboard's event stream; further ones get 503.
    pub event_subscribers: usize,
    /// Tasks that the snapshot of that stream holds.
    pub event_tasks: usize,
    /// Unreachable agents, and gone ones, that are remembered.
    pub registry_max_agent_count: usize,
    /// After a change of leader no agent is given up while more than so many of a hundred are missing.
    pub recovery_agent_removal_percent: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            body_bytes: 80 << 20,
            queued_inputs: 4096,
            proposals_in_flight: 4096,
            stream_records: 1 << 18,
            stream_bytes: 64 << 20,
            connections: 65_536,
            long_answers: 64,
            operator_subscribers: 1000,
            event_subscribers: 1000,
            event_tasks: 5000,
            registry_max_agent_count: 102_400,
            recovery_agent_removal_percent: 100,
        }
    }
}

/// Makes the process log more: 0 is what it was started with, 1 more, 2 and above everything.
pub type SetVerbosity = Arc<dyn Fn(u32) + Send + Sync>;

/// The process' own log, as far as a master shows and changes it.
#[derive(Clone, Default)]
pub struct Log {
    /// The file that it is written to, if it is one.
    pub file: Option<PathBuf>,
    /// Absent if the log cannot be changed while the process runs.
    pub set_verbosity: Option<SetVerbosity>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = self.set_verbosity.is_some();
        f.debug_struct("Log").field("file", &self.file).field("changes", &changes).finish()
    }
}

/// Which parts of the API ask who is there. All are open by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    /// Endpoints that only read.
    pub readonly: bool,
    /// Endpoints that can change something, and the operator API.
    pub readwrite: bool,
    /// The scheduler API.
    pub frameworks: bool,
    /// Who may come in.
    pub credentials: Credentials,
}

/// What is offered to whom, as far as it is set for the whole cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Offers {
    /// How roles are sorted, and the frameworks of a role.
    pub role_sorter: Sorter,
    pub framework_sorter: Sorter,
    /// The roles that can be used besides `*`; all without a list.
    pub roles: Option<BTreeSet<String>>,
    /// `cpus:0.01|mem:32`: what an offer must hold, one of the alternatives; no text is no minimum.
    pub min_allocatable_resources: String,
    /// Kinds of resources that do not count for shares.
    pub fair_sharing_excluded_resource_names: Vec<String>,
    /// Hides agents with GPUs from frameworks that do not know them.
    pub filter_gpu_resources: bool,
}

impl Default for Offers {
    fn default() -> Self {
        Self {
            role_sorter: Sorter::default(),
            framework_sorter: Sorter::default(),
            roles: None,
            min_allocatable_resources: "cpus:0.01|mem:32".to_owned(),
            fair_sharing_excluded_resource_names: Vec::new(),
            filter_gpu_resources: true,
        }
    }
}

/// Everything a master is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Number of this master; never reused after its disk was lost.
    pub node_id: NodeId,
    /// Address on which the public API listens.
    pub ip: IpAddr,
    /// Port of the public API; 0 takes a free one.
    pub port: u16,
    /// Port for the other masters; 0 takes a free one.
    pub peer_port: u16,
    /// Name under which clients are sent here; by default the entry in `masters`, else `ip`.
    pub hostname: Option<String>,
    /// The master's own folder.
    pub work_dir: PathBuf,
    /// All masters, this one included. Empty stands for a cluster of this one alone.
    pub masters: Vec<MasterAddress>,
    /// Creates the cluster if this master belongs to none.
    pub bootstrap: bool,
    /// Comes into a cluster that exists: `host:port` of peer listeners of masters in it. The number of this master then comes from
    /// its folder or from the cluster.
    pub join: Vec<String>,
    /// Whether it asks for a vote as soon as it has the log, when it joins.
    pub vote: bool,
    /// Shown by agents and by the other masters.
    pub secret: Option<Secret>,
    pub authentication: Authentication,
    /// How many calls frameworks may send.
    pub rate_limits: RateLimits,
    /// Whether frameworks may run as `root`.
    pub root_submissions: bool,
    pub log: Log,
    /// Whether `/metrics/snapshot` has numbers for each framework.
    pub per_framework_metrics: bool,
    /// Which commit the executable was built from.
    pub origin: Origin,
    /// Name of the cluster, for display.
    pub cluster: Option<String>,
    /// Region and zone of this master.
    pub domain: Option<tepui_proto::v1::DomainInfo>,
    /// Whether agents without a domain are refused.
    pub require_agent_domain: bool,
    /// File with the hosts whose agents may be offered; all without it.
    pub whitelist: Option<PathBuf>,
    pub offers: Offers,
    /// What this master claims to be able to do; less than this build can stands for an older one in tests of upgrades.
    pub feature_level: u32,
    pub raft_timing: Timing,
    /// What the replicated log asks of its disk.
    pub disk: DiskLimits,
    /// A file that tells the disk to misbehave, for tests.
    pub disk_faults: Option<PathBuf>,
    /// A snapshot is taken after this many applied entries; `None` leaves it to the store.
    pub raft_snapshot_entries: Option<u64>,
    pub timers: Timers,
    pub limits: Limits,
    /// For tests: once this is true, the state of this master goes astray with the next entry.
    #[doc(hidden)]
    pub astray: Arc<AtomicBool>,
}

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("master {0:?} is not of the form id=host:peer_port/api_port")]
    Master(String),
    #[error("node id {0} is given twice in the list of masters")]
    DuplicateMaster(NodeId),
    #[error("node id {0} is not in the list of masters")]
    NotAMaster(NodeId),
    #[error("join cannot be used: {0}")]
    Join(String),
    #[error("hostname {0:?} cannot be advertised: a host name or an IPv4 address without port is needed")]
    Hostname(String),
    #[error("feature level {0} is more than this build can do, which is {FEATURE_LEVEL}")]
    FeatureLevel(u32),
    #[error("authentication is switched on, but credentials name nobody who could come in")]
    NoCredentials,
    #[error("roles cannot be used: {0}")]
    Roles(String),
    #[error("min_allocatable_resources cannot be used: {0}")]
    MinAllocatable(String),
    #[error("domain cannot be used: it needs the name of a region and of a zone")]
    Domain,
    #[error(
        "require_agent_domain needs a domain of the master's own: it refuses agents that have one otherwise"
    )]
    RequiredDomain,
    #[error("{0} must not be zero")]
    Zero(&'static str),
}

impl Config {
    /// A configuration with the house defaults: loopback, port 5050, one master.
    pub fn new(node_id: NodeId, work_dir: impl Into<PathBuf>) -> Config {
        Config {
            node_id,
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 5050,
            peer_port: 5060,
            hostname: None,
            work_dir: work_dir.into(),
            masters: Vec::new(),
            bootstrap: false,
            join: Vec::new(),
            vote: true,
            secret: None,
            authentication: Authentication::default(),
            rate_limits: RateLimits::default(),
            root_submissions: true,
            log: Log::default(),
            per_framework_metrics: true,
            origin: Origin::default(),
            cluster: None,
            domain: None,
            require_agent_domain: false,
            whitelist: None,
            offers: Offers::default(),
            feature_level: FEATURE_LEVEL,
            raft_timing: Timing::default(),
            disk: DiskLimits::default(),
            disk_faults: None,
            raft_snapshot_entries: None,
            timers: Timers::default(),
            limits: Limits::default(),
            astray: Arc::default(),
        }
    }

    /// Refuses a configuration whose parts contradict each other.
    ///
    /// # Errors
    /// Names the first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeMap::new();
        for master in &self.masters {
            if seen.insert(master.node_id, ()).is_some() {
                return Err(ConfigError::DuplicateMaster(master.node_id));
            }
        }
        if !self.masters.is_empty() && !seen.contains_key(&self.node_id) {
            return Err(ConfigError::NotAMaster(self.node_id));
        }
        self.check_join()?;
        if self.feature_level > FEATURE_LEVEL {
            return Err(ConfigError::FeatureLevel(self.feature_level));
        }
        if let Some(hostname) = &self.hostname
            && (hostname.is_empty() || hostname.contains([':', '/', ' ']))
        {
            return Err(ConfigError::Hostname(hostname.clone()));
        }
        let Authentication { readonly, readwrite, frameworks, credentials } = &self.authentication;
        if (*readonly || *readwrite || *frameworks) && credentials.is_empty() {
            return Err(ConfigError::NoCredentials);
        }
        for role in self.offers.roles.iter().flatten() {
            tepui_proto::role::validate(role)
                .map_err(|error| ConfigError::Roles(format!("{role:?}: {error}")))?;
        }
        Minimums::parse(&self.offers.min_allocatable_resources).map_err(ConfigError::MinAllocatable)?;
        if self.domain.as_ref().is_some_and(|domain| !is_complete(domain)) {
            return Err(ConfigError::Domain);
        }
        if self.require_agent_domain && self.domain.is_none() {
            return Err(ConfigError::RequiredDomain);
        }
        let timers = &self.timers;
        let intervals = [
            ("heartbeat_interval", timers.heartbeat_interval),
            ("operation_retry_min", timers.operation_retry_min),
            ("agent_ping_interval", timers.agent_ping_interval),
            ("driver_lease", timers.driver_lease),
            ("event_heartbeat_interval", timers.event_heartbeat_interval),
        ];
        for (name, value) in intervals {
            if value.is_zero() {
                return Err(ConfigError::Zero(name));
            }
        }
        let limits = &self.limits;
        let bounds = [
            ("body_bytes", limits.body_bytes),
            ("queued_inputs", limits.queued_inputs),
            ("proposals_in_flight", limits.proposals_in_flight),
            ("stream_records", limits.stream_records),
            ("stream_bytes", limits.stream_bytes),
            ("operator_subscribers", limits.operator_subscribers),
            ("connections", limits.connections),
        ];
        for (name, value) in bounds {
            if value == 0 {
                return Err(ConfigError::Zero(name));
            }
        }
        Ok(())
    }

    fn check_join(&self) -> Result<(), ConfigError> {
        let wrong = |text: &str| Err(ConfigError::Join(text.to_owned()));
        if self.join.is_empty() {
            return Ok(());
        }
        if self.bootstrap || !self.masters.is_empty() {
            return wrong("bootstrap and masters are for those that found the cluster");
        }
        if self.peer_port == 0 {
            return wrong("the others must know the peer_port beforehand, so it cannot be 0");
        }
        let host = |contact: &str| {
            let (host, port) = contact.rsplit_once(':')?;
            (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| host.to_owned())
        };
        let local = |host: &str| host == "localhost" || host.starts_with("127.");
        for contact in &self.join {
            match host(contact) {
                None => return wrong(&format!("{contact:?} is not of the form host:peer_port")),
                Some(there) if local(&self.advertised_host()) && !local(&there) => {
                    return wrong(
                        "the others would be told a loopback address; give an ip or a hostname that they can reach",
                    );
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The name under which clients are sent to this master.
    pub fn advertised_host(&self) -> String {
        let listed = self.masters.iter().find(|m| m.node_id == self.node_id).map(|m| m.host.clone());
        self.hostname.clone().or(listed).unwrap_or_else(|| match self.ip {
            // Nobody can be sent to "any address"; loopback is the only one that is certainly ours.
            ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            ip => ip.to_string(),
        })
    }
}

/// Whether a domain says where it is.
fn is_complete(domain: &tepui_proto::v1::DomainInfo) -> bool {
    let fault = domain.fault_domain.as_ref();
    let region = fault.and_then(|fault| fault.region.as_ref()).is_some_and(|one| !one.name().is_empty());
    let zone = fault.and_then(|fault| fault.zone.as_ref()).is_some_and(|one| !one.name().is_empty());
    region && zone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_address_is_read_and_its_parts_end_up_in_the_peer() {
        let master: MasterAddress = "2=node-2.example:5060/5050".parse().unwrap();
        assert_eq!(master.node_id, 2);
        assert_eq!(master.peer().peer_addr, "node-2.example:5060");
        assert_eq!(master.peer().api_addr, "node-2.example:5050");
    }

    #[test]
    fn broken_master_addresses_are_refused() {
        for text in [
            "",
            "1",
            "1=host",
            "1=host:1",
            "1=host/2",
            "x=host:1/2",
            "1=:1/2",
            "1=host:1/99999",
            "1=[::1]:1/2",
        ] {
            assert_eq!(text.parse::<MasterAddress>(), Err(ConfigError::Master(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let good = Config::new(1, "/nowhere");
        good.check().unwrap();
        type Spoil = fn(&mut Config);
        let cases: [(Spoil, ConfigError); 7] = [
            (|c| c.require_agent_domain = true, ConfigError::RequiredDomain),
            (|c| c.authentication.frameworks = true, ConfigError::NoCredentials),
            (|c| c.masters = vec!["2=h:1/2".parse().unwrap()], ConfigError::NotAMaster(1)),
            (
                |c| c.masters = vec!["1=h:1/2".parse().unwrap(), "1=h:1/2".parse().unwrap()],
                ConfigError::DuplicateMaster(1),
            ),
            (|c| c.hostname = Some("a:1".into()), ConfigError::Hostname("a:1".into())),
            (|c| c.timers.heartbeat_interval = Duration::ZERO, ConfigError::Zero("heartbeat_interval")),
            (|c| c.limits.stream_records = 0, ConfigError::Zero("stream_records")),
        ];
        for (spoil, expected) in cases {
            let mut config = good.clone();
            spoil(&mut config);
            assert_eq!(config.check(), Err(expected));
        }
    }

    #[test]
    fn the_advertised_host_prefers_the_flag_then_the_list_then_the_address() {
        let mut config = Config::new(1, "/nowhere");
        config.ip = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        assert_eq!(config.advertised_host(), "127.0.0.1");
        config.masters = vec!["1=listed:1/2".parse().unwrap()];
        assert_eq!(config.advertised_host(), "listed");
        config.hostname = Some("flag".into());
        assert_eq!(config.advertised_host(), "flag");
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new(" hush\n");
        assert_eq!(secret.expose(), "hush");
        assert!(!format!("{secret:?}").contains("hush"));
    }
}
