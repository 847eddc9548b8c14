//! `tepui tasks`.

use std::process::ExitCode;

use anyhow::Context;
use tepui_sdk::v1;

use super::tally::Scalars;
use crate::args::ClientArgs;
use crate::output::{self, Table};

/// Flags of `tepui tasks`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui tasks
  tepui tasks --all --framework 6c2f…-0001
  tepui tasks --agent 6c2f…-S0 --output json")]
pub struct TasksArgs {
    /// Completed tasks, too.
    #[arg(long, short)]
    all: bool,
    /// Only tasks of this framework, by id or name of the framework.
    #[arg(long, value_name = "ID")]
    framework: Option<String>,
    /// Only tasks on this agent.
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Shows tasks.
///
/// # Errors
/// When no leading master answers.
pub async fn run(args: TasksArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let mut tasks = client.get_tasks().await.context("get the tasks")?;
    if !args.all {
        tasks.completed_tasks.clear();
    }
    let framework = match &args.framework {
        Some(wanted) => {
            let frameworks = client.get_frameworks().await.context("get the frameworks")?;
            Some(named(wanted, &frameworks))
        }
        None => None,
    };
    let wanted = |task: &v1::Task| {
        let is_of = |ids: &Vec<String>| {
            ids.iter().any(|id| Some(id.as_str()) == task.framework_id.as_ref().map(|id| id.value()))
        };
        framework.as_ref().is_none_or(is_of)
            && args
                .agent
                .as_ref()
                .is_none_or(|agent| task.agent_id.as_ref().map(|id| id.value()) == Some(agent))
    };
    tasks.tasks.retain(wanted);
    tasks.unreachable_tasks.retain(wanted);
    tasks.completed_tasks.retain(wanted);
    output::print(args.client.output, &tasks, || {
        let headings = ["ID", "NAME", "STATE", "FRAMEWORK", "AGENT", "CPUS", "MEM"];
        let mut table = Table::new(headings, "no tasks");
        for task in tasks.tasks.iter().chain(&tasks.unreachable_tasks).chain(&tasks.completed_tasks) {
            let used = Scalars::of(&task.resources);
            table.row([
                task.task_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default(),
                task.name().to_owned(),
                task.state().as_str_name().to_owned(),
                task.framework_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default(),
                task.agent_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default(),
                used.amount("cpus"),
                used.amount("mem"),
            ]);
        }
        table.render()
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the ids of the frameworks that a person means by an id or a name.
fn named(wanted: &str, frameworks: &v1::master::response::GetFrameworks) -> Vec<String> {
    let infos = frameworks.frameworks.iter().chain(&frameworks.completed_frameworks);
    let infos = infos.filter_map(|framework| framework.framework_info.as_ref());
    let ids = infos.filter(|info| info.name() == wanted).filter_map(|info| info.id.as_ref());
    ids.map(|id| id.value().to_owned()).chain([wanted.to_owned()]).collect()
}
