//! `tepui submit`: a streaming job, or any command, as a supervised driver.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tepui_proto::resources::Resources;
use tepui_sdk::operator::Client;
use tepui_sdk::tepui::operator::response::SubmitDriver;
use tepui_sdk::tepui::operator::{DriverSpec, Supervise, supervise};
use tepui_streaming::Job;
use tepui_streaming::submit::driver_spec;

use super::run;
use crate::args::{ClientArgs, parse_duration};
use crate::output;

/// The demo submits while its cluster is still coming up.
const SUBMIT_PATIENCE: Duration = Duration::from_secs(30);

/// Flags of `tepui submit`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui submit job.toml
  tepui submit --check job.toml                    only say what is wrong with it
  tepui submit --name nightly --max-restarts 3 -- ./driver.sh --level 3")]
pub struct SubmitArgs {
    /// Description of a streaming job. Relative paths in it start at its own folder.
    #[arg(required_unless_present = "command", conflicts_with_all = ["command", "name"])]
    job: Option<PathBuf>,
    /// Check the job and submit nothing.
    #[arg(long, requires = "job")]
    check: bool,
    /// Name of the driver.
    #[arg(long, requires = "command")]
    name: Option<String>,
    /// Role whose resources the driver takes.
    #[arg(long, requires = "command")]
    role: Option<String>,
    /// Resources of the driver.
    #[arg(long, value_name = "RESOURCES")]
    resources: Option<String>,
    /// Variable for the driver; may be repeated.
    #[arg(long, short, value_name = "NAME=VALUE", requires = "command")]
    env: Vec<String>,
    /// When to launch the driver again.
    #[arg(long, value_enum)]
    policy: Option<Policy>,
    /// Restarts allowed within the window.
    #[arg(long, value_name = "N")]
    max_restarts: Option<u32>,
    /// The window.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    within: Option<Duration>,
    /// First wait before a restart; it doubles.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    backoff: Option<Duration>,
    /// Longest such wait.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    backoff_max: Option<Duration>,
    /// Lease that the driver has to renew.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    lease: Option<Duration>,
    #[command(flatten)]
    client: ClientArgs,
    /// Any command instead of a job, after `--`.
    #[arg(last = true, requires = "name")]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Policy {
    /// Whenever it ends.
    Always,
    /// When it ends with an exit code other than 0, or is lost.
    OnFailure,
    /// Never.
    Never,
}

/// What any command gets that says nothing else.
const RESOURCES: &str = "cpus:0.1;mem:64";

/// Submits a driver.
///
/// # Errors
/// When the description is wrong, or no leading master answers, or another driver has the name.
pub async fn run(args: SubmitArgs) -> anyhow::Result<ExitCode> {
    let mut spec = match &args.job {
        Some(path) => driver_spec(&read_job(path)?)?,
        None => command_spec(&args)?,
    };
    if args.check {
        output::note(&format!("{} is a good job", spec.name()));
        return Ok(ExitCode::SUCCESS);
    }
    args.adjust(&mut spec)?;
    let answer = args.client.client()?.submit_driver(spec).await.context("submit the driver")?;
    output::print(args.client.output, &answer, || {
        let verb = if answer.created() { "submitted" } else { "had been submitted before" };
        format!("driver {} {verb}\n", answer.name())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Submits a checked job, whose paths must be absolute, to the masters at `host:port`.
///
/// # Errors
/// When no leading master answers, or another driver has the name.
pub async fn submit_job(masters: &[String], job: &Job) -> anyhow::Result<SubmitDriver> {
    let client = Client::new(masters.to_vec())?.patience(SUBMIT_PATIENCE);
    client.submit_driver(driver_spec(job)?).await.context("submit the driver")
}

fn read_job(path: &Path) -> anyhow::Result<Job> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("read {shown}"))?;
    let job = Job::from_toml_str(&text).with_context(|| format!("{shown} is not a job"))?;
    let path = std::path::absolute(path).with_context(|| format!("find the folder of {shown}"))?;
    let folder = path.parent().unwrap_or(&path);
    job.with_base(folder).with_context(|| format!("{shown} is not a job"))
}

fn command_spec(args: &SubmitArgs) -> anyhow::Result<DriverSpec> {
    Ok(DriverSpec {
        name: args.name.clone(),
        role: args.role.clone(),
        command: Some(run::command(&args.command, &args.env)?),
        resources: Resources::parse(RESOURCES).context("read the default resources")?.to_proto(),
        ..DriverSpec::default()
    })
}

impl SubmitArgs {
    /// Puts the flags over what the description says.
    fn adjust(&self, spec: &mut DriverSpec) -> anyhow::Result<()> {
        let milliseconds = |duration: Option<Duration>| {
            duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
        };
        if let Some(resources) = &self.resources {
            spec.resources = Resources::parse(resources).context("read --resources")?.to_proto();
        }
        spec.lease_ms = milliseconds(self.lease).or(spec.lease_ms);
        let policy = self.policy.map(|policy| match policy {
            Policy::Always => supervise::Policy::Always as i32,
            Policy::OnFailure => supervise::Policy::OnFailure as i32,
            Policy::Never => supervise::Policy::Never as i32,
        });
        let said = spec.supervise.take().unwrap_or_default();
        spec.supervise = Some(Supervise {
            policy: policy.or(said.policy),
            max_restarts: self.max_restarts.or(said.max_restarts),
            within_ms: milliseconds(self.within).or(said.within_ms),
            backoff_initial_ms: milliseconds(self.backoff).or(said.backoff_initial_ms),
            backoff_max_ms: milliseconds(self.backoff_max).or(said.backoff_max_ms),
            healthy_after_ms: said.healthy_after_ms,
        });
        Ok(())
    }
}
