//! Runs scenarios one after the other on shared clusters and counts. Judges nothing itself.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tepui_proto::MediaType;

use super::context::Context;
use super::{Built, Needs, Scenario, Skipped, State, table};
use crate::harness;

/// Longest that one scenario may take in one encoding.
const LONGEST: Duration = Duration::from_secs(120);

/// What to run, and with which executable.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The executable that acts as `tepui`.
    pub executable: PathBuf,
    /// Numbers of scenarios; empty for all.
    pub numbers: Vec<String>,
}

/// How one run of one scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// One scenario in one encoding.
#[derive(Clone, Debug)]
pub struct Report {
    pub number: &'static str,
    /// With its number: `s007_subscribe_with_stream_id [json]`.
    pub name: String,
    pub encoding: MediaType,
    pub outcome: Outcome,
    pub took: Duration,
    /// What it has measured on the way.
    pub timings: Vec<(&'static str, Duration)>,
}

/// All that was run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub reports: Vec<Report>,
}

impl Summary {
    /// Numbers of scenarios that were run and passed in every encoding.
    pub fn passing(&self) -> Vec<&'static str> {
        let passed = |number: &str| {
            let mut of_it = self.reports.iter().filter(|report| report.number == number).peekable();
            of_it.peek().is_some() && of_it.all(|report| report.outcome == Outcome::Passed)
        };
        table().iter().map(|scenario| scenario.number).filter(|number| passed(number)).collect()
    }

    /// Numbers of scenarios that were run and not skipped in every encoding.
    pub fn applicable(&self) -> Vec<&'static str> {
        let applies = |number: &str| {
            let mut of_it = self.reports.iter().filter(|report| report.number == number);
            of_it.any(|report| !matches!(report.outcome, Outcome::Skipped(_)))
        };
        table().iter().map(|scenario| scenario.number).filter(|number| applies(number)).collect()
    }

    /// Every failure with its reason.
    pub fn failures(&self) -> Vec<(&str, &str)> {
        let failure = |report| match report {
            &Report { ref name, outcome: Outcome::Failed(ref reason), .. } => {
                Some((name.as_str(), reason.as_str()))
            }
            _other => None,
        };
        self.reports.iter().filter_map(failure).collect()
    }
}

/// Runs what is asked for, telling each report as it is made.
///
/// # Errors
/// When a number is unknown, or a cluster does not come up.
pub async fn run(settings: &Settings, mut tell: impl FnMut(&Report)) -> anyhow::Result<Summary> {
    let chosen = choose(&settings.numbers)?;
    let mut summary = Summary::default();
    // One cluster at a time on a machine, whoever else tests on it.
    let _lock = tokio::task::block_in_place(harness::lock)?;
    for needs in [Needs::Calm, Needs::Quick, Needs::Limited, Needs::Trio, Needs::Swift, Needs::Mixed] {
        let here: Vec<_> = chosen.iter().filter(|(_, built)| built.needs == needs).collect();
        let mut context: Option<Context> = None;
        for (scenario, built) in here {
            for media in built.encodings.list() {
                let mut cluster = match context.take() {
                    Some(context) => context,
                    None => Box::pin(Context::start(needs, &settings.executable)).await?,
                };
                let began = Instant::now();
                let mut outcome = Box::pin(attempt(built, &mut cluster, *media)).await;
                let timings = std::mem::take(&mut cluster.timings);
                // A cluster that cannot be mended is replaced, and that is a failure of this scenario.
                match cluster.mend().await {
                    Ok(()) => context = Some(cluster),
                    Err(error) if outcome == Outcome::Passed => {
                        outcome =
                            Outcome::Failed(format!("afterwards {error:#}\n{}", cluster.cluster.tails()));
                    }
                    Err(_again) => {}
                }
                let encoding = if *media == MediaType::Json { "json" } else { "protobuf" };
                let report = Report {
                    number: scenario.number,
                    name: format!("{}_{} [{encoding}]", scenario.tag(), scenario.name),
                    encoding: *media,
                    outcome,
                    took: began.elapsed(),
                    timings,
                };
                tell(&report);
                summary.reports.push(report);
            }
        }
    }
    Ok(summary)
}

fn choose(numbers: &[String]) -> anyhow::Result<Vec<(&'static Scenario, Built)>> {
    if let Some(unknown) =
        numbers.iter().find(|number| !table().iter().any(|one| one.number == number.as_str()))
    {
        anyhow::bail!("there is no scenario {unknown}");
    }
    let wanted =
        |scenario: &Scenario| numbers.is_empty() || numbers.iter().any(|number| number == scenario.number);
    let built = |scenario: &'static Scenario| match scenario.state {
        State::Built(built) => Some((scenario, built)),
        State::Later(_) => None,
    };
    Ok(table().iter().filter(|scenario| wanted(scenario)).filter_map(built).collect())
}

async fn attempt(built: &Built, context: &mut Context, media: MediaType) -> Outcome {
    if let Err(error) = context.begin(media) {
        return Outcome::Failed(format!("{error:#}"));
    }
    let guarded = AssertUnwindSafe((built.run)(context)).catch_unwind();
    let error = match tokio::time::timeout(LONGEST, guarded).await {
        Ok(Ok(Ok(()))) => return Outcome::Passed,
        Ok(Ok(Err(error))) => error,
        Ok(Err(_panic)) => anyhow::anyhow!("panicked"),
        Err(_late) => anyhow::anyhow!("did not end within {LONGEST:?}"),
    };
    match error.downcast::<Skipped>() {
        Ok(skipped) => Outcome::Skipped(skipped.0),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}
