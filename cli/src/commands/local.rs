//! `tepui local`: a cluster on this host that stays up until Ctrl-C.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::signals::StopRequests;
use crate::cluster::{LocalCluster, Options};
use crate::logging::SERVER_LOG;
use crate::output::{self, Format};

const START_LIMIT: Duration = Duration::from_secs(60);

/// Flags of `tepui local`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui local                              three masters, two agents, data in a temporary folder
  tepui local --masters 1 --agents 1
  tepui local --dir ./cluster --resources 'cpus:8;mem:8192'")]
pub struct LocalArgs {
    /// Number of masters.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    masters: u8,
    /// Number of agents.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=50))]
    agents: u8,
    /// Resources of each agent.
    #[arg(long, default_value = "cpus:2;mem:2048;disk:4096;ports:[31000-32000]", value_name = "RESOURCES")]
    resources: String,
    /// Folder for data and logs; a temporary one, removed at the end, if not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Log filter of the servers, whose logs are in the folder.
    #[arg(long, env = "TEPUI_LOG", default_value = SERVER_LOG, value_name = "FILTER")]
    log: String,
    /// How to print the addresses.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Runs the cluster.
///
/// # Errors
/// When it does not come up.
pub async fn run(args: LocalArgs) -> anyhow::Result<ExitCode> {
    let mut stop = StopRequests::listen().context("listen for Ctrl-C")?;
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new().prefix("tepui-local-").tempdir().context("make a temporary folder")?,
        ),
    };
    let dir = args.dir.clone().or_else(|| temporary.as_ref().map(|dir| dir.path().to_path_buf()));
    let mut options = Options::new(
        std::env::current_exe().context("find the own executable")?,
        dir.context("choose a folder")?,
    );
    options.masters = args.masters.into();
    options.agents = args.agents.into();
    options.resources = args.resources.clone();
    options.log = args.log.clone();
    let mut cluster = LocalCluster::start(options)?;
    let outcome = tokio::select! {
        leader = cluster.wait_for_leader(START_LIMIT) => leader.and_then(|leader| announce(&cluster, leader, args.output)),
        () = stop.next() => Ok(false),
    };
    if let Ok(true) = outcome {
        stop.next().await;
    }
    cluster.stop_all();
    outcome?;
    Ok(ExitCode::SUCCESS)
}

fn announce(cluster: &LocalCluster, leader: usize, format: Format) -> anyhow::Result<bool> {
    let (masters, agents) = (cluster.masters(), cluster.agents());
    let told = serde_json::json!({
        "masters": masters,
        "agents": agents,
        "leader": masters[leader],
        "dashboard": format!("http://{}/", masters[leader]),
        "dir": cluster.dir(),
        "secret_file": cluster.secret_file(),
    });
    output::print(format, &told, || {
        let list = masters.join(",");
        format!(
            "masters    {list}\nagents     {}\ndashboard  http://{}/\ndata       {}\n\n\
             In another terminal:\n  export TEPUI_MASTERS={list}\n  tepui run -- echo hello\n\nCtrl-C stops everything.\n",
            agents.join(","),
            masters[leader],
            cluster.dir().display(),
        )
    })?;
    Ok(true)
}
