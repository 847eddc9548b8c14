//! `tepui run`: one command as a task, as if it ran here.
//!
//! ```text
//! mod       flags, and the driver around it all
//! request   what to run and what it needs
//! runner    offers, updates, Ctrl-C
//! output    the task's output, copied to our own
//! verdict   the task's end as an exit code
//! ```

mod output;
mod request;
mod runner;
mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tepui_sdk::scheduler::Driver;
use tepui_sdk::transport::Transport;
use tepui_sdk::v1;

use crate::args::ClientArgs;
use crate::output::note;
use request::Request;
pub(super) use request::command;
use runner::Runner;

/// A leader change is far quicker than this; a `tepui run` that was killed leaves its task this long.
const FAILOVER_TIMEOUT_SECONDS: f64 = 60.0;
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// Flags of `tepui run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui run -- echo hello
  tepui run --cpus 2 --mem 512 -- make test
  tepui run 'for i in 1 2 3; do echo $i; sleep 1; done'    one argument is a shell command
  tepui run --env LEVEL=3 --name nightly -- ./job.sh

The exit code is the task's, 128 + n if signal n ended it, and 130 after Ctrl-C, which kills the task.")]
pub struct RunArgs {
    /// CPUs of the task.
    #[arg(long, default_value_t = 0.5)]
    cpus: f64,
    /// Memory of the task, MiB.
    #[arg(long, default_value_t = 128.0)]
    mem: f64,
    /// Disk of the task, MiB.
    #[arg(long, default_value_t = 0.0)]
    disk: f64,
    /// Resources as Mesos writes them, instead of the three flags above.
    #[arg(long, value_name = "RESOURCES", conflicts_with_all = ["cpus", "mem", "disk"])]
    resources: Option<String>,
    /// Name of the task.
    #[arg(long)]
    name: Option<String>,
    /// Role in which to ask for offers.
    #[arg(long, default_value = "*")]
    role: String,
    /// User to show for the task; the one of this process if not given. It has no effect yet: agents run tasks as their own user.
    #[arg(long)]
    user: Option<String>,
    /// Variable for the task; may be repeated.
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Say less on standard error.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    client: ClientArgs,
    /// The command: one argument for a shell, or a program with its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs the command to its end.
///
/// # Errors
/// When no leading master is found, or the cluster refuses or loses the task.
pub async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let request = Request::new(&args)?;
    if let Some(text) = request::in_vain(&args) {
        note(&text);
    }
    let framework = v1::FrameworkInfo {
        user: Some(request.user.clone()),
        name: Some(format!("tepui run {}", request.name)),
        role: Some(args.role.clone()),
        checkpoint: Some(true),
        failover_timeout: Some(FAILOVER_TIMEOUT_SECONDS),
        capabilities: vec![capability(v1::framework_info::capability::Type::PartitionAware)],
        ..Default::default()
    };
    let transport = Transport::new()?;
    let builder = Driver::builder(framework).masters(args.client.masters()).transport(transport.clone());
    let (driver, handle, events) = builder.build()?;
    let mut drive = std::pin::pin!(driver.run());
    let mut runner = Runner::new(request, handle.clone(), transport, args.client.timeout, args.quiet);
    let outcome = tokio::select! {
        outcome = Box::pin(runner.run(events)) => outcome,
        refused = &mut drive => match refused {
            Ok(()) => Err(anyhow::anyhow!("the connection to the masters ended")),
            Err(error) => Err(error).context("stay connected to the masters"),
        },
    };
    // Without a master there is nothing to leave.
    if handle.teardown().await.is_ok() {
        drop(handle);
        drop(runner);
        let _ = tokio::time::timeout(LEAVE_LIMIT, drive).await;
    }
    outcome.map(ExitCode::from)
}

fn capability(kind: v1::framework_info::capability::Type) -> v1::framework_info::Capability {
    v1::framework_info::Capability { r#type: Some(kind as i32) }
}
