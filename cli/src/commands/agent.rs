//! `tepui agent`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tepui_agent::{Config, LogLevel, Secret, Server};
use tepui_proto::v1::DomainInfo;
use tepui_sdk::environment::parse_masters;

use super::offer_flags::parse_domain;
use super::signals::interrupted;
use crate::args::parse_duration;
use crate::logging::{LogArgs, SetVerbosity};

/// Flags of `tepui agent`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui agent --masters 127.0.0.1:5050 --work-dir /var/lib/tepui/agent
  tepui agent --masters m1:5050,m2:5050,m3:5050 --ip 10.0.0.7 --work-dir /var/lib/tepui/agent \\
    --resources 'cpus:8;mem:16384;ports:[31000-32000]' --attributes 'rack:a' --secret-file /etc/tepui/secret

Every flag can also be given as TEPUI_AGENT_<FLAG> or in the [agent] table of a settings file.")]
pub struct AgentArgs {
    /// Masters, any of which may lead.
    #[arg(long, visible_alias = "master", value_name = "HOST:PORT,…", default_value = "127.0.0.1:5050")]
    masters: String,
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    ip: IpAddr,
    /// Port to listen on; 0 takes a free one and writes it to endpoint.json in the work folder.
    #[arg(long, default_value_t = 5051)]
    port: u16,
    /// Name shown in offers; the address if not given.
    #[arg(long, value_name = "HOST")]
    hostname: Option<String>,
    /// The agent's own folder: identity, checkpoint, sandboxes.
    #[arg(long, value_name = "FOLDER")]
    work_dir: PathBuf,
    /// What to offer, such as `cpus:4;mem:4096;ports:[31000-32000]`; what is not named is detected.
    #[arg(long, value_name = "RESOURCES")]
    resources: Option<String>,
    /// What frameworks may choose by, such as `rack:a;zone:1`.
    #[arg(long, value_name = "ATTRIBUTES")]
    attributes: Option<String>,
    /// Region and zone of this agent as DomainInfo in JSON; the masters need a domain, too.
    #[arg(long, value_name = "JSON", value_parser = parse_domain)]
    domain: Option<DomainInfo>,
    /// File with the secret that masters and agents of this cluster share.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// File with the key that signs executors' tokens: its bytes as they are, 32 at least.
    #[arg(long, value_name = "FILE")]
    jwt_secret_key: Option<PathBuf>,
    /// Answer 401 to executors that show no token of this agent; needs --jwt-secret-key.
    #[arg(long, requires = "jwt_secret_key")]
    authenticate_http_executors: bool,
    #[command(flatten)]
    timers: TimerArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// As in Mesos: meanwhile nobody knows what the executors of the agent do.
const REREGISTRATION_TIMEOUT_MAX: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Timers")]
struct TimerArgs {
    /// Longest wait before a master is tried again [2secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    registration_backoff_max: Option<Duration>,
    /// First wait before an update without acknowledgement is sent again [10secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    update_retry_min: Option<Duration>,
    /// Grace of a kill, if neither the kill nor the task says otherwise [3secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    kill_grace: Option<Duration>,
    /// Time in which an executor must subscribe, from its start [1mins].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    executor_registration_timeout: Option<Duration>,
    /// Time in which executors must subscribe again after a restart of the agent, at most 15secs [2secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    executor_reregistration_timeout: Option<Duration>,
    /// Grace between asking an executor to end and forcing it, if it names none [5secs].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    executor_shutdown_grace_period: Option<Duration>,
    /// Time that executors are told to wait for an agent that is away [15mins].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    recovery_timeout: Option<Duration>,
    /// Age at which the sandbox of an ended task goes [1weeks].
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    gc_delay: Option<Duration>,
}

/// Runs an agent until it is told to stop. Its tasks go on.
///
/// # Errors
/// When it cannot start, or cannot go on.
pub async fn run(args: AgentArgs, verbosity: SetVerbosity) -> anyhow::Result<ExitCode> {
    let mut config = config(&args)?;
    config.log_level = Some(LogLevel::new(move |level| verbosity(level)));
    let server = Server::start(config).await.context("start the agent")?;
    server.run_until(interrupted()).await.context("run the agent")?;
    Ok(ExitCode::SUCCESS)
}

fn config(args: &AgentArgs) -> anyhow::Result<Config> {
    let mut config = Config::new(parse_masters(&args.masters), &args.work_dir);
    config.ip = args.ip;
    config.port = args.port;
    config.hostname = args.hostname.clone();
    config.resources = args.resources.clone();
    config.attributes = args.attributes.clone();
    config.domain.clone_from(&args.domain);
    config.secret = match &args.secret_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read the secret file {}", path.display()))?;
            Some(Secret::new(&text))
        }
        None => None,
    };
    config.jwt_secret_key.clone_from(&args.jwt_secret_key);
    config.authenticate_http_executors = args.authenticate_http_executors;
    config.log_file.clone_from(&args.log.log_file);
    config.origin = crate::ORIGIN;
    let set = |to: &mut Duration, from: Option<Duration>| *to = from.unwrap_or(*to);
    set(&mut config.timers.reconnect_max, args.timers.registration_backoff_max);
    set(&mut config.timers.update_retry_min, args.timers.update_retry_min);
    set(&mut config.timers.kill_grace, args.timers.kill_grace);
    set(&mut config.timers.gc_delay, args.timers.gc_delay);
    set(&mut config.timers.executor_registration_timeout, args.timers.executor_registration_timeout);
    set(&mut config.timers.executor_reregistration_timeout, args.timers.executor_reregistration_timeout);
    set(&mut config.timers.executor_shutdown_grace, args.timers.executor_shutdown_grace_period);
    set(&mut config.timers.recovery_timeout, args.timers.recovery_timeout);
    anyhow::ensure!(
        config.timers.executor_reregistration_timeout <= REREGISTRATION_TIMEOUT_MAX,
        "--executor-reregistration-timeout must not be longer than 15secs"
    );
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;

    #[test]
    fn flags_reach_the_configuration() {
        let line = "tepui agent --masters a:1,b:2 --work_dir /x --port 7 --resources cpus:1 --kill-grace 1secs \
             --authenticate_http_executors --jwt_secret_key /key";
        let cli = crate::settings::parse(line.split(' ').map(Into::into)).unwrap();
        let Command::Agent(args) = cli.command else { panic!("not an agent") };
        let config = config(&args).unwrap();
        assert_eq!(config.masters, ["a:1", "b:2"]);
        assert_eq!((config.port, config.work_dir), (7, PathBuf::from("/x")));
        assert_eq!(config.resources.as_deref(), Some("cpus:1"));
        assert_eq!(config.timers.kill_grace, Duration::from_secs(1));
        assert!(config.authenticate_http_executors);
        assert_eq!(config.jwt_secret_key, Some(PathBuf::from("/key")));
    }
}
