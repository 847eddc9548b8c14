//! The executor's process: locate the driver, connect, serve, and again, until it is dismissed or nobody has needed it for long.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tepui_sdk::backoff::Backoff;
use tepui_sdk::environment::{DRIVER_NAME, MASTERS, parse_masters};
use tepui_sdk::operator::Client;
use tokio::time::Instant;
use tracing::{debug, info};

use super::locate::MastersLocate;
use super::session::{SessionEnd, Worker};
use super::{HighestGeneration, Locate, Location};
use crate::environment;
use crate::files::Disk;
use crate::job::Job;

const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// Without any driver for this long, the executor gives its resources back.
const ORPHANED: Duration = Duration::from_secs(15 * 60);

/// Why an executor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExecutorEnd {
    /// Nobody needs it any more: the job has finished, or the driver said so.
    Dismissed,
    Orphaned,
}

/// Runs the hidden subcommand `stream-executor`: everything comes from the environment. Returns the exit code.
///
/// # Errors
/// If the environment is not that of an executor's task.
pub async fn executor_main() -> anyhow::Result<u8> {
    let variable =
        |name: &str| std::env::var(name).with_context(|| format!("the variable {name} is not set"));
    let job = environment::job().context("read the job")?;
    let scope = variable(DRIVER_NAME)?;
    let masters = parse_masters(&variable(MASTERS)?);
    let name = variable("MESOS_TASK_ID")?;
    let sandbox = PathBuf::from(variable("MESOS_SANDBOX")?);
    let client = Client::new(masters).context("make a client")?.patience(Duration::from_secs(3));
    let mut highest = HighestGeneration::load(&sandbox).context("read the highest generation")?;
    info!(executor = name, job = job.name, generation = highest.get(), "executor starts");
    let locate = MastersLocate::new(client, &scope);
    let end = serve_driver(&job, &name, &locate, &mut highest, Disk::DURABLE, ORPHANED).await;
    info!(?end, "executor ends");
    Ok(if end == ExecutorEnd::Dismissed { 0 } else { 1 })
}

/// Serves one driver after the other.
pub(crate) async fn serve_driver(
    job: &Job,
    name: &str,
    locate: &impl Locate,
    highest: &mut HighestGeneration,
    disk: Disk,
    orphaned: Duration,
) -> ExecutorEnd {
    let worker = Worker::new(job, name, capacity(job), disk);
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let mut wanted_at = Instant::now();
    while wanted_at.elapsed() < orphaned {
        match locate.locate().await {
            Ok(Location::Finished) => return ExecutorEnd::Dismissed,
            Ok(Location::Driver { address, generation }) if generation >= highest.get() => {
                let mut proved = false;
                match worker.serve(&address, highest, || proved = true).await {
                    SessionEnd::Dismissed(reason) => {
                        info!(reason, "dismissed");
                        return ExecutorEnd::Dismissed;
                    }
                    // A driver that was served is news; one that cannot be found yet is looked for many times.
                    SessionEnd::Lost(reason) if proved => info!(address, reason, "driver lost"),
                    SessionEnd::Lost(reason) => debug!(address, reason, "no driver"),
                }
                if proved {
                    wanted_at = Instant::now();
                    backoff.reset();
                }
            }
            Ok(location) => debug!(?location, "no driver yet"),
            Err(reason) => debug!(reason, "cannot read the job's register"),
        }
        tokio::time::sleep(backoff.next(rand::random())).await;
    }
    ExecutorEnd::Orphaned
}

/// Slots at once: one per whole processor, at least one.
fn capacity(job: &Job) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be between 0 and 1024"
    )]
    let cpus = job.executors.cpus.floor() as u32;
    cpus.max(1)
}
