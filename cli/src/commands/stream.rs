//! `tepui stream-driver` and `tepui stream-executor`. Started by the masters' supervisor and by drivers, not by people.

use std::process::ExitCode;

use crate::logging::LogArgs;

/// Flags of both; what to do stands in the environment.
#[derive(Clone, Debug, clap::Args)]
pub struct StreamArgs {
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Drives a job.
///
/// # Errors
/// When the job failed.
pub async fn driver() -> anyhow::Result<ExitCode> {
    Ok(ExitCode::from(tepui_streaming::driver_main().await?))
}

/// Executes slots of a job.
///
/// # Errors
/// When the executor failed.
pub async fn executor() -> anyhow::Result<ExitCode> {
    Ok(ExitCode::from(tepui_streaming::executor_main().await?))
}
