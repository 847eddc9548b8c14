//! `tepui logs`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tepui_sdk::operator::Client;
use tepui_sdk::v1;

use crate::args::ClientArgs;
use crate::sandbox::SandboxFile;

const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Looks at the file between two looks at the task's state.
const LOOKS_PER_STATE: u32 = 5;

/// Flags of `tepui logs`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui logs run-5f0c2a1e
  tepui logs flights -f             the newest launch of a driver
  tepui logs flights --generation 2 --stderr")]
pub struct LogsArgs {
    /// A task's id, or a driver's name.
    task: String,
    /// Go on until the task has ended.
    #[arg(long, short)]
    follow: bool,
    /// Standard error instead of standard output.
    #[arg(long)]
    stderr: bool,
    /// Another file of the sandbox.
    #[arg(long, value_name = "NAME", conflicts_with = "stderr")]
    file: Option<String>,
    /// Only the last so many bytes of what is there already.
    #[arg(long, value_name = "BYTES")]
    tail: Option<u64>,
    /// Which launch of a driver; the newest if not given.
    #[arg(long, value_name = "N")]
    generation: Option<u64>,
    /// The framework, if several have a task of this id.
    #[arg(long, value_name = "ID")]
    framework: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Prints what a task has written.
///
/// # Errors
/// When no leading master answers, the task is unknown, or its agent does not answer.
pub async fn run(args: LogsArgs) -> anyhow::Result<ExitCode> {
    let client = args.client.client()?;
    let task_id = task_id(&client, &args).await?;
    let task = find(&client, &task_id, args.framework.as_deref()).await?;
    let agent_id = task.agent_id.as_ref().map(|id| id.value()).unwrap_or_default();
    let agent = agent_address(&client, agent_id).await?;
    let framework_id = task.framework_id.as_ref().map(|id| id.value().to_owned()).unwrap_or_default();
    let name = args.file.as_deref().unwrap_or(if args.stderr { "stderr" } else { "stdout" });
    let mut file = SandboxFile::new(client.caller().transport(), &agent, &framework_id, &task_id, name);
    if let Some(bytes) = args.tail {
        file.skip_to_last(bytes).await.context("read the sandbox")?;
    }
    let mut looks = 0;
    let mut has_ended = !args.follow;
    loop {
        // What was written before the task ended is read after that is known.
        let was_over = has_ended;
        copy(&mut file).await?;
        if was_over {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        looks += 1;
        if looks % LOOKS_PER_STATE == 0 {
            let task = find(&client, &task_id, Some(&framework_id)).await;
            has_ended = task.is_ok_and(|task| task.state().is_terminal());
        }
    }
}

async fn copy(file: &mut SandboxFile) -> anyhow::Result<()> {
    loop {
        let data = file.read().await.context("read the sandbox")?;
        if data.is_empty() {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(&data)?;
        out.flush()?;
    }
}

/// A driver's task is named after its launch.
async fn task_id(client: &Client, args: &LogsArgs) -> anyhow::Result<String> {
    // A foreign master has no drivers.
    let drivers = client.get_drivers(Some(&args.task)).await.unwrap_or_default();
    let Some(driver) = drivers.first() else { return Ok(args.task.clone()) };
    if let Some(generation) = args.generation {
        let mut attempts = driver.attempts.iter();
        let attempt = attempts.find(|attempt| attempt.generation() == generation);
        let known = attempt.and_then(|attempt| attempt.task_id.as_ref()).map(|id| id.value().to_owned());
        return Ok(known.unwrap_or_else(|| format!("{}.g{generation}", args.task)));
    }
    let current = driver.task_id.as_ref().map(|id| id.value().to_owned());
    let last =
        driver.attempts.last().and_then(|attempt| attempt.task_id.as_ref()).map(|id| id.value().to_owned());
    current.or(last).with_context(|| format!("driver {} has not been launched yet", args.task))
}

async fn find(client: &Client, task_id: &str, framework_id: Option<&str>) -> anyhow::Result<v1::Task> {
    let tasks = client.get_tasks().await.context("get the tasks")?;
    let all = tasks.tasks.into_iter().chain(tasks.unreachable_tasks).chain(tasks.completed_tasks);
    let mut found: Vec<v1::Task> = all
        .filter(|task| task.task_id.as_ref().is_some_and(|id| id.value() == task_id))
        .filter(|task| {
            let of = task.framework_id.as_ref().map(|id| id.value());
            framework_id.is_none_or(|wanted| of == Some(wanted))
        })
        .collect();
    anyhow::ensure!(
        found.len() <= 1,
        "several frameworks have a task {task_id}: choose one with --framework"
    );
    found.pop().with_context(|| format!("there is no task or driver {task_id}"))
}

/// Returns `host:port` of an agent.
pub(crate) async fn agent_address(client: &Client, agent_id: &str) -> anyhow::Result<String> {
    let agents = client.get_agents().await.context("get the agents")?;
    let infos = agents.agents.iter().filter_map(|agent| agent.agent_info.as_ref());
    let info = infos
        .chain(&agents.recovered_agents)
        .find(|info| info.id.as_ref().is_some_and(|id| id.value() == agent_id))
        .with_context(|| format!("agent {agent_id} is not there any more"))?;
    Ok(format!("{}:{}", info.hostname(), info.port.unwrap_or(5051)))
}
