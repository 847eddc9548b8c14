//! `tepui agents`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use tepui_sdk::v1::DrainState;

use super::fate::Action;
use super::tally::Scalars;
use crate::args::ClientArgs;
use crate::output::{self, Table};

/// Flags of `tepui agents`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  tepui agents
  tepui agents drain 5f0e…-S3 --max-grace 30secs
  tepui agents reactivate 5f0e…-S3
  tepui agents --masters m1:5050,m2:5050 --output json"
)]
pub struct AgentsArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Shows agents with what is allocated of them.
///
/// # Errors
/// When no leading master answers.
pub async fn run(args: AgentsArgs) -> anyhow::Result<ExitCode> {
    if let Some(action) = args.action {
        return super::fate::run(action).await;
    }
    let client = args.client.client()?;
    let agents = client.get_agents().await.context("get the agents")?;
    let tasks = client.get_tasks().await.context("get the tasks")?.tasks;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for task in &tasks {
        *counts.entry(task.agent_id.as_ref().map_or("", |id| id.value())).or_default() += 1;
    }
    output::print(args.client.output, &agents, || {
        let headings = ["ID", "ADDRESS", "STATE", "CPUS", "MEM", "DISK", "GPUS", "TASKS"];
        let mut table = Table::new(headings, "no agents");
        for agent in &agents.agents {
            let info = agent.agent_info.clone().unwrap_or_default();
            let id = info.id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default();
            let total = Scalars::of(&agent.total_resources);
            let used = Scalars::of(&agent.allocated_resources);
            let drain = agent.drain_info.as_ref().map(|drain| drain.state());
            let state = match (agent.active(), agent.deactivated()) {
                _ if drain == Some(DrainState::Draining) => "draining",
                _ if drain == Some(DrainState::Drained) => "drained",
                (_, true) => "deactivated",
                (true, _) => "registered",
                (false, _) => "disconnected",
            };
            let count = counts.get(id.as_str()).copied().unwrap_or_default();
            table.row([
                id,
                format!("{}:{}", info.hostname(), info.port.unwrap_or(5051)),
                state.to_owned(),
                used.share(&total, "cpus"),
                used.share(&total, "mem"),
                used.share(&total, "disk"),
                used.share(&total, "gpus"),
                count.to_string(),
            ]);
        }
        for info in &agents.recovered_agents {
            let id = info.id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default();
            let address = format!("{}:{}", info.hostname(), info.port.unwrap_or(5051));
            let blank = String::new;
            table.row([id, address, "recovered".to_owned(), blank(), blank(), blank(), blank(), blank()]);
        }
        table.render()
    })?;
    Ok(ExitCode::SUCCESS)
}
