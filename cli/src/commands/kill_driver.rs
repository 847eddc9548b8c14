//! `tepui kill-driver`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::args::{ClientArgs, parse_duration};
use crate::output;

/// Flags of `tepui kill-driver`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui kill-driver flights
  tepui kill-driver flights --grace 30secs")]
pub struct KillDriverArgs {
    /// The driver's name.
    name: String,
    /// Time between SIGTERM and SIGKILL.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    grace: Option<Duration>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Ends a driver for good.
///
/// # Errors
/// When no leading master answers, or the driver does not exist.
pub async fn run(args: KillDriverArgs) -> anyhow::Result<ExitCode> {
    let grace_ms = args.grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    args.client
        .client()?
        .kill_driver(&args.name, grace_ms)
        .await
        .with_context(|| format!("kill the driver {}", args.name))?;
    output::note(&format!("driver {} is being killed", args.name));
    Ok(ExitCode::SUCCESS)
}
