//! `tepui master`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tepui_raft_store::Timing;
use tepui_scheduler::{Config, Log, MasterAddress, Secret, Server, SetVerbosity};

use super::disk_flags::DiskArgs;
use super::master_http::HttpArgs;
use super::offer_flags::OfferArgs;
use super::removal_flags::RemovalArgs;
use super::signals::interrupted;
use crate::args::parse_duration;
use crate::logging::LogArgs;

/// Flags of `tepui master`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  One master alone:
    tepui master --node-id 1 --work-dir /var/lib/tepui/master --bootstrap
  The first of three, each on its own host; the others the same without --bootstrap:
    tepui master --node-id 1 --ip 10.0.0.1 --work-dir /var/lib/tepui/master --secret-file /etc/tepui/secret \\
      --masters 1=10.0.0.1:5060/5050,2=10.0.0.2:5060/5050,3=10.0.0.3:5060/5050 --bootstrap
  A further one, which gets its number from the cluster:
    tepui master --ip 10.0.0.4 --work-dir /var/lib/tepui/master --secret-file /etc/tepui/secret \\
      --join 10.0.0.1:5060,10.0.0.2:5060,10.0.0.3:5060

Every flag can also be given as TEPUI_MASTER_<FLAG> or in the [master] table of a settings file.")]
pub struct MasterArgs {
    /// Number of this master, one to the cluster; never reused after its disk was lost. A master that joins gets it from the cluster.
    #[arg(long, value_name = "N", conflicts_with = "join")]
    node_id: Option<u64>,
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    ip: IpAddr,
    /// Port of the public API; 0 takes a free one and writes it to endpoint.json in the work folder.
    #[arg(long, default_value_t = 5050)]
    port: u16,
    /// Port for the other masters.
    #[arg(long, default_value_t = 5060)]
    peer_port: u16,
    /// Name or IPv4 address under which clients are sent here; by default the one in --masters, else --ip.
    #[arg(long, value_name = "HOST")]
    hostname: Option<String>,
    /// The master's own folder: log, snapshots, identity.
    #[arg(long, value_name = "FOLDER")]
    work_dir: PathBuf,
    /// All masters, this one included; leave out for one alone.
    #[arg(long, value_name = "ID=HOST:PEER_PORT/API_PORT,…", value_delimiter = ',')]
    masters: Vec<MasterAddress>,
    /// Create the cluster, if this master belongs to none yet. For exactly one of the masters.
    #[arg(long)]
    bootstrap: bool,
    /// Come into a cluster that exists, with an empty --work-dir: where masters of it listen for the others, any of them. Given again
    /// at every start.
    #[arg(long, value_name = "HOST:PEER_PORT,…", value_delimiter = ',', conflicts_with_all = ["bootstrap", "masters"])]
    join: Vec<String>,
    /// With --join: follow the log without a vote, until `tepui raft add`.
    #[arg(long, requires = "join")]
    learner: bool,
    /// File with the secret that masters and agents of this cluster share.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Name of the cluster, for people.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Claim to be able to do less than this build can: stands for an older one in tests of upgrades.
    #[arg(long, value_name = "N", hide = true)]
    feature_level: Option<u32>,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    offers: OfferArgs,
    #[command(flatten)]
    timers: TimerArgs,
    #[command(flatten)]
    removals: RemovalArgs,
    #[command(flatten)]
    disk: DiskArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Timers and limits")]
struct TimerArgs {
    /// Between heartbeats on the streams of frameworks and operators [15secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    heartbeat_interval: Option<Duration>,
    /// Between pings to an agent, each of which may stay unanswered this long [5secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    agent_ping_timeout: Option<Duration>,
    /// Unanswered pings until an agent counts as unreachable [5].
    #[arg(long, value_name = "N")]
    max_agent_ping_timeouts: Option<u32>,
    /// How long agents may take to come back after a change of leader [60secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    agent_failover_grace: Option<Duration>,
    /// The least time that a connected framework gets after a change of leader [30secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    framework_failover_grace: Option<Duration>,
    /// The least time that a disconnected framework gets after a change of leader [10secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    framework_disconnected_grace: Option<Duration>,
    /// Lease of a supervised driver that names none [10secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    driver_lease: Option<Duration>,
    /// How long reported task states are collected before they are committed [100ms].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    observe_interval: Option<Duration>,
    /// How long changes are collected before resources are offered [20ms].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    allocation_delay: Option<Duration>,
    /// The least life of a refusal [1secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    allocation_interval: Option<Duration>,
    /// An unanswered offer is taken back after this long; 0secs keeps it for ever [5mins].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    offer_timeout: Option<Duration>,
    /// Until the status of an operation that its framework does not acknowledge is repeated; doubles each time [10secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    operation_retry_min: Option<Duration>,
    /// The longest pause between two such repetitions [10mins].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    operation_retry_max: Option<Duration>,
    /// A leader without contact to a majority for this long steps down [1secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    leader_contact_timeout: Option<Duration>,
    /// How soon the masters miss their leader: `lan` is 30, 100 and 150 ms for the three flags below, `wan` 100, 500 and 1000 ms [lan].
    #[arg(long, value_name = "PROFILE")]
    raft_profile: Option<RaftProfile>,
    /// Between heartbeats of the leading master to the others [30ms].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    raft_heartbeat: Option<Duration>,
    /// Shortest silence of the leader before another master stands for election [100ms].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    raft_election_min: Option<Duration>,
    /// Longest such silence [150ms].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    raft_election_max: Option<Duration>,
    /// Entries of the log between two snapshots [100000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    raft_snapshot_entries: Option<u64>,
    /// Whether frameworks may run as the user `root` [true].
    #[arg(long, value_name = "BOOL")]
    root_submissions: Option<bool>,
    /// Longest request body, bytes [83886080].
    #[arg(long, value_name = "BYTES")]
    max_body_bytes: Option<usize>,
}

/// How patient the masters are with each other.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RaftProfile {
    /// Masters near each other, on disks that sync within milliseconds.
    Lan,
    /// Masters far apart, or on slow disks.
    Wan,
}

impl RaftProfile {
    fn timing(self) -> Timing {
        match self {
            RaftProfile::Lan => Timing::LAN,
            RaftProfile::Wan => Timing::WAN,
        }
    }
}

/// Runs a master until it is told to stop.
///
/// # Errors
/// When it cannot start, or cannot go on.
pub async fn run(args: MasterArgs, verbosity: SetVerbosity) -> anyhow::Result<ExitCode> {
    let mut config = config(&args)?;
    config.log = Log { file: args.log.log_file.clone(), set_verbosity: Some(verbosity) };
    let server = Server::start(config).await.context("start the master")?;
    server.run_until(interrupted()).await.context("run the master")?;
    Ok(ExitCode::SUCCESS)
}

fn config(args: &MasterArgs) -> anyhow::Result<Config> {
    // Not a required flag of the parser's, because `config show` tells what is still missing.
    let node_id = match args.node_id {
        Some(number) => number,
        // The cluster gives it one.
        None if !args.join.is_empty() => 0,
        None => {
            anyhow::bail!("expecting --node-id, or --join for a master that comes into a running cluster")
        }
    };
    let mut config = Config::new(node_id, &args.work_dir);
    config.ip = args.ip;
    config.port = args.port;
    config.peer_port = args.peer_port;
    config.hostname = args.hostname.clone();
    config.masters = args.masters.clone();
    config.bootstrap = args.bootstrap;
    config.join = args.join.clone();
    config.vote = !args.learner;
    config.cluster = args.cluster.clone();
    config.origin = crate::ORIGIN;
    config.feature_level = args.feature_level.unwrap_or(config.feature_level);
    config.secret = match &args.secret_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read the secret file {}", path.display()))?;
            Some(Secret::new(&text))
        }
        None => None,
    };
    args.http.apply(&mut config)?;
    args.offers.apply(&mut config);
    args.timers.apply(&mut config)?;
    args.removals.apply(&mut config);
    args.disk.apply(&mut config);
    Ok(config)
}

impl TimerArgs {
    fn apply(&self, config: &mut Config) -> anyhow::Result<()> {
        let timers = &mut config.timers;
        let set = |to: &mut Duration, from: Option<Duration>| *to = from.unwrap_or(*to);
        set(&mut timers.heartbeat_interval, self.heartbeat_interval);
        set(&mut timers.agent_ping_interval, self.agent_ping_timeout);
        set(&mut timers.agent_failover_grace, self.agent_failover_grace);
        set(&mut timers.framework_failover_grace, self.framework_failover_grace);
        set(&mut timers.framework_disconnected_grace, self.framework_disconnected_grace);
        set(&mut timers.driver_lease, self.driver_lease);
        set(&mut timers.observe_interval, self.observe_interval);
        set(&mut timers.allocation_delay, self.allocation_delay);
        set(&mut timers.allocation_interval, self.allocation_interval);
        set(&mut timers.operation_retry_min, self.operation_retry_min);
        set(&mut timers.operation_retry_max, self.operation_retry_max);
        set(&mut timers.leader_contact_timeout, self.leader_contact_timeout);
        timers.agent_ping_timeouts = self.max_agent_ping_timeouts.unwrap_or(timers.agent_ping_timeouts);
        if let Some(timeout) = self.offer_timeout {
            timers.offer_timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        }
        config.limits.body_bytes = self.max_body_bytes.unwrap_or(config.limits.body_bytes);
        config.root_submissions = self.root_submissions.unwrap_or(config.root_submissions);
        config.raft_snapshot_entries = self.raft_snapshot_entries;
        let house = self.raft_profile.map_or(config.raft_timing, RaftProfile::timing);
        config.raft_timing = Timing {
            heartbeat_ms: milliseconds(self.raft_heartbeat, house.heartbeat_ms)?,
            election_min_ms: milliseconds(self.raft_election_min, house.election_min_ms)?,
            election_max_ms: milliseconds(self.raft_election_max, house.election_max_ms)?,
        };
        Ok(())
    }
}

fn milliseconds(duration: Option<Duration>, default: u64) -> anyhow::Result<u64> {
    duration.map_or(Ok(default), |duration| {
        u64::try_from(duration.as_millis()).context("a raft timer is too long")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;

    fn parsed(line: &str) -> Config {
        let line = line.split_whitespace().map(Into::into);
        let cli = crate::settings::parse(line).unwrap();
        let Command::Master(args) = cli.command else { panic!("not a master") };
        config(&args).unwrap()
    }

    #[test]
    fn without_flags_the_house_defaults_apply() {
        let config = parsed("tepui master --node-id 1 --work_dir /x");
        let house = Config::new(1, "/x");
        assert_eq!(config.timers, house.timers);
        assert_eq!(config.limits, house.limits);
        assert_eq!(config.raft_timing, house.raft_timing);
        assert_eq!(config.disk, house.disk);
        assert_eq!((config.ip, config.port, config.peer_port), (house.ip, house.port, house.peer_port));
    }

    #[test]
    fn a_timer_of_its_own_goes_before_the_profile() {
        let start = "tepui master --node-id 1 --work-dir /x --raft-profile wan";
        assert_eq!(parsed(start).raft_timing, Timing::WAN);
        let mixed = parsed(&format!("{start} --raft-heartbeat 50ms")).raft_timing;
        assert_eq!(mixed, Timing { heartbeat_ms: 50, ..Timing::WAN });
    }

    #[test]
    fn flags_reach_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = folder.path().join("credentials");
        std::fs::write(&credentials, "alice secret\n").unwrap();
        let config = parsed(&format!(
            "tepui master --node-id 2 --work-dir /x --masters 1=a:1/2,2=b:3/4 --port 4 --peer_port 3 \
             --heartbeat_interval 1secs --offer-timeout 0secs --operation-retry-min 2secs --operation_retry_max 3secs --raft-election-max 200ms --disk-low 9 --disk_full 8 --slow-sync 1secs --bootstrap \
             --authenticate_http_readwrite --authenticate-http-frameworks=true \
             --authenticate-http-readonly=false --credentials file://{}",
            credentials.display(),
        ));
        assert_eq!(config.masters.len(), 2);
        assert_eq!((config.port, config.peer_port, config.bootstrap), (4, 3, true));
        assert_eq!(config.timers.heartbeat_interval, Duration::from_secs(1));
        assert_eq!(config.timers.offer_timeout, None);
        assert_eq!(config.timers.operation_retry_min, Duration::from_secs(2));
        assert_eq!(config.timers.operation_retry_max, Duration::from_secs(3));
        assert_eq!(config.raft_timing.election_max_ms, 200);
        assert_eq!((config.disk.low_bytes, config.disk.full_bytes), (9, 8));
        assert_eq!(config.disk.slow_sync, Duration::from_secs(1));
        let guarded = &config.authentication;
        assert_eq!((guarded.readonly, guarded.readwrite, guarded.frameworks), (false, true, true));
        config.check().unwrap();
    }
}
