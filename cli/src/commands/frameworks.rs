//! `tepui frameworks`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;

use super::tally::{Scalars, roles};
use crate::args::ClientArgs;
use crate::output::{self, Table};

/// Flags of `tepui frameworks`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui frameworks
  tepui frameworks --all")]
pub struct FrameworksArgs {
    /// Completed frameworks, too.
    #[arg(long, short)]
    all: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Shows frameworks.
///
/// # Errors
/// When no leading master answers.
pub async fn run(args: FrameworksArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let mut frameworks = client.get_frameworks().await.context("get the frameworks")?;
    if !args.all {
        frameworks.completed_frameworks.clear();
    }
    let tasks = client.get_tasks().await.context("get the tasks")?.tasks;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for task in &tasks {
        *counts.entry(task.framework_id.as_ref().map_or("", |id| id.value())).or_default() += 1;
    }
    output::print(args.client.output, &frameworks, || {
        let headings = ["ID", "NAME", "USER", "ROLES", "STATE", "TASKS", "CPUS", "MEM"];
        let mut table = Table::new(headings, "no frameworks");
        let active = frameworks.frameworks.iter().map(|framework| (framework, false));
        let completed = frameworks.completed_frameworks.iter().map(|framework| (framework, true));
        for (framework, is_completed) in active.chain(completed) {
            let info = framework.framework_info.clone().unwrap_or_default();
            let id = info.id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default();
            let state = match (is_completed, framework.connected()) {
                (true, _) => "completed",
                (false, true) => "connected",
                (false, false) => "disconnected",
            };
            let used = Scalars::of(&framework.allocated_resources);
            let count = counts.get(id.as_str()).copied().unwrap_or_default();
            table.row([
                id,
                info.name().to_owned(),
                info.user().to_owned(),
                roles(&info),
                state.to_owned(),
                count.to_string(),
                used.amount("cpus"),
                used.amount("mem"),
            ]);
        }
        table.render()
    })?;
    Ok(ExitCode::SUCCESS)
}
