//! `tepui state`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context;
use tepui_sdk::operator::Client;
use tepui_sdk::v1;
use tepui_sdk::v1::master::response::GetState;

use super::drivers;
use super::tally::Scalars;
use crate::args::ClientArgs;
use crate::output;

/// Flags of `tepui state`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui state
  tepui state --output json | jq '.get_agents.agents | length'")]
pub struct StateArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Shows the cluster at a glance; the JSON form is the whole state, as GET_STATE answers it.
///
/// # Errors
/// When no leading master answers.
pub async fn run(args: StateArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let state = client.get_state().await.context("get the state")?;
    let text = match args.client.output {
        output::Format::Table => glance(&client, &state).await,
        output::Format::Json => String::new(),
    };
    output::print(args.client.output, &state, || text)?;
    Ok(ExitCode::SUCCESS)
}

async fn glance(client: &Client, state: &GetState) -> String {
    let agents = state.get_agents.as_ref().map(|agents| agents.agents.as_slice()).unwrap_or_default();
    let frameworks = state.get_frameworks.as_ref().map(|all| all.frameworks.as_slice()).unwrap_or_default();
    let (mut total, mut used) = (Scalars::default(), Scalars::default());
    for agent in agents {
        total.add(&agent.total_resources);
        used.add(&agent.allocated_resources);
    }
    let active = agents.iter().filter(|agent| agent.active()).count();
    let connected = frameworks.iter().filter(|framework| framework.connected()).count();
    let leader = client.caller().detector().leader().unwrap_or_else(|| "unknown".to_owned());
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "leader      {leader}");
    let _ = writeln!(text, "agents      {} ({active} active)", agents.len());
    for name in ["cpus", "mem", "disk", "gpus"] {
        if total.get(name) > 0.0 {
            let _ = writeln!(text, "{name:<12}{}", used.share(&total, name).replace('/', " of "));
        }
    }
    let _ = writeln!(text, "frameworks  {} ({connected} connected)", frameworks.len());
    let _ = writeln!(text, "tasks       {}", task_counts(state));
    // An older or foreign master has none of these.
    if let Ok(all) = client.get_drivers(None).await {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        all.iter().for_each(|driver| *counts.entry(drivers::state(driver)).or_default() += 1);
        let _ = writeln!(text, "drivers     {}", listed(&counts));
    }
    text
}

fn task_counts(state: &GetState) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    if let Some(tasks) = &state.get_tasks {
        for task in tasks.tasks.iter().chain(&tasks.unreachable_tasks).chain(&tasks.completed_tasks) {
            *counts.entry(short(task)).or_default() += 1;
        }
    }
    listed(&counts)
}

fn short(task: &v1::Task) -> &'static str {
    let name = task.state().as_str_name();
    name.strip_prefix("TASK_").unwrap_or(name)
}

fn listed(counts: &BTreeMap<&str, usize>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts
        .iter()
        .map(|(name, count)| format!("{count} {}", name.to_lowercase()))
        .collect::<Vec<_>>()
        .join(", ")
}
