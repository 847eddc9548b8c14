//! The command line: which commands there are.
//!
//! Names follow Mesos' flags where the meaning is the same; `settings.rs` adds the spellings with underscores, the environment
//! and the settings file to all of them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tepui_sdk::environment::parse_masters;
use tepui_sdk::operator::Client;

use crate::commands;
use crate::demo::DemoArgs;
use crate::logging::{LogArgs, SERVER_LOG};
use crate::output::Format;

const EXAMPLES: &str = "Examples:
  tepui local                                a cluster to try things on
  tepui run -- echo hello                    one command as a task
  tepui submit job.toml                      a streaming job under supervision
  tepui tasks --output json                  for programs
  tepui demo                                 the main job, with kills

Exit codes: 0 done, 1 failed, 2 wrong use, 3 no leading master found; `run` exits with its task's code.";

/// A Mesos-compatible cluster scheduler: masters, agents, and everything to work with them.
#[derive(Debug, Parser)]
#[command(name = "tepui", version, after_help = EXAMPLES, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// Settings file (TOML) with one table per command, such as `[master]`; flags and environment win over it.
    #[arg(long, global = true, env = "TEPUI_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a master.
    Master(Box<commands::master::MasterArgs>),
    /// Run an agent.
    Agent(Box<commands::agent::AgentArgs>),
    /// Run a cluster on this host until Ctrl-C.
    Local(commands::local::LocalArgs),
    /// Run the main job on a cluster of its own, with kills, and count everything again.
    Demo(DemoArgs),
    /// Run one command as a task and stream its output.
    Run(Box<commands::run::RunArgs>),
    /// Submit a streaming job, or any command, as a supervised driver.
    Submit(Box<commands::submit::SubmitArgs>),
    /// Show supervised drivers.
    #[command(visible_alias = "status")]
    Drivers(commands::drivers::DriversArgs),
    /// End a supervised driver.
    KillDriver(commands::kill_driver::KillDriverArgs),
    /// Show the cluster at a glance.
    State(commands::state::StateArgs),
    /// Show agents; drain, deactivate or give one up.
    Agents(commands::agents::AgentsArgs),
    /// Plan work on machines, take them down and bring them up.
    Maintenance(commands::maintenance::MaintenanceArgs),
    /// Show frameworks.
    Frameworks(commands::frameworks::FrameworksArgs),
    /// Tell why a framework is not getting offers.
    Explain(commands::explain::ExplainArgs),
    /// Show tasks.
    Tasks(commands::tasks::TasksArgs),
    /// Show what a task or a driver has written.
    Logs(commands::logs::LogsArgs),
    /// Look at the replication of the masters.
    Raft(commands::raft::RaftArgs),
    /// Look at settings.
    Config(commands::config::ConfigArgs),
    /// Stand by one task (started by agents).
    #[command(hide = true)]
    Supervise(commands::supervise::SuperviseArgs),
    /// Drive a streaming job (started by the masters' supervisor).
    #[command(hide = true)]
    StreamDriver(commands::stream::StreamArgs),
    /// Execute slots of a streaming job (started by its driver).
    #[command(hide = true)]
    StreamExecutor(commands::stream::StreamArgs),
}

/// Flags of every command that asks a cluster.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClientArgs {
    /// Masters, any of which may be asked.
    #[arg(long, env = "TEPUI_MASTERS", default_value = "127.0.0.1:5050", value_name = "HOST:PORT,…")]
    pub masters: String,
    /// How long to look for a leading master.
    #[arg(long, default_value = "10secs", value_parser = parse_duration, value_name = "DURATION")]
    pub timeout: Duration,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

impl ClientArgs {
    /// Returns the masters as a list.
    pub(crate) fn masters(&self) -> Vec<String> {
        parse_masters(&self.masters)
    }

    /// Makes a client that looks for a leader as long as it was told to.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.masters())?.patience(self.timeout))
    }
}

/// Reads a duration as Mesos writes them: `10secs`, `500ms`, `5mins`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    tepui_proto::duration::parse(text)
        .map_err(|error| format!("{error}; write it like 10secs, 500ms or 5mins"))
}

pub(crate) fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    // Supervises one task on a busy host: the smaller the better, so no runtime.
    if let Command::Supervise(args) = cli.command {
        return Ok(commands::supervise::run(args));
    }
    tepui_sdk::transport::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the asynchronous runtime")?;
    let result = runtime.block_on(perform(cli.command, cli.config));
    // Reads of standard input and the like may never end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn perform(command: Command, config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let verbosity = match &command {
        Command::Master(args) => args.log.start(SERVER_LOG)?,
        Command::Agent(args) => args.log.start(SERVER_LOG)?,
        Command::StreamDriver(args) | Command::StreamExecutor(args) => args.log.start("info")?,
        _ => LogArgs { log: std::env::var("TEPUI_LOG").ok(), log_file: None }.start("warn")?,
    };
    match command {
        Command::Master(args) => Box::pin(commands::master::run(*args, verbosity)).await,
        Command::Agent(args) => Box::pin(commands::agent::run(*args, verbosity)).await,
        Command::Local(args) => Box::pin(commands::local::run(args)).await,
        Command::Demo(args) => Box::pin(crate::demo::run(args)).await,
        Command::Run(args) => Box::pin(commands::run::run(*args)).await,
        Command::Submit(args) => Box::pin(commands::submit::run(*args)).await,
        Command::Drivers(args) => Box::pin(commands::drivers::run(args)).await,
        Command::KillDriver(args) => Box::pin(commands::kill_driver::run(args)).await,
        Command::State(args) => Box::pin(commands::state::run(args)).await,
        Command::Agents(args) => Box::pin(commands::agents::run(args)).await,
        Command::Maintenance(args) => Box::pin(commands::maintenance::run(args)).await,
        Command::Frameworks(args) => Box::pin(commands::frameworks::run(args)).await,
        Command::Explain(args) => Box::pin(commands::explain::run(args)).await,
        Command::Tasks(args) => Box::pin(commands::tasks::run(args)).await,
        Command::Logs(args) => Box::pin(commands::logs::run(args)).await,
        Command::Raft(args) => Box::pin(commands::raft::run(args)).await,
        Command::Config(args) => commands::config::run(args, config),
        Command::Supervise(args) => Ok(commands::supervise::run(args)),
        Command::StreamDriver(_) => Box::pin(commands::stream::driver()).await,
        Command::StreamExecutor(_) => Box::pin(commands::stream::executor()).await,
    }
}
