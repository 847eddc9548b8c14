//! `tepui demo`: the main job. A cluster of real processes on loopback runs a supervised stream over a month of departures while its leading
//! master, its driver and its driver's agent are killed; at the end everything is counted again, independently.
//! Owns the story and the exit code; the cluster lives in `cluster/`.

mod chaos;
mod data;
pub mod picture;
mod recount;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::cluster::{LocalCluster, Options};
use crate::commands::signals::StopRequests;
use crate::live::Live;
use chaos::Kill;
pub use chaos::driver_processes;
pub use data::{Files, RECORDS, lay_out};
pub use recount::{Counts, Recount, recount};

/// The whole demo is given up after this time, builds not included.
const LIMIT: Duration = Duration::from_secs(300);

/// Flags of `tepui demo`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  tepui demo                    run it, with three kills
  tepui demo --no-chaos         run it in peace
  tepui demo --keep --dir d     leave the cluster running, with its data in d")]
pub struct DemoArgs {
    /// Folder for the cluster's data and logs; a temporary one, removed at the end, if not given.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Leave the cluster and its dashboard running at the end.
    #[arg(long)]
    pub keep: bool,
    /// Kill nothing.
    #[arg(long)]
    pub no_chaos: bool,
}

/// Runs the demo.
///
/// # Errors
/// When it could not be carried out; a wrong result is an exit code of 1 and no error.
#[expect(clippy::print_stdout, reason = "the demo talks to people")]
pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let mut stop = StopRequests::listen().context("listen for Ctrl-C")?;
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new().prefix("tepui-demo-").tempdir().context("make a temporary folder")?,
        ),
    };
    let dir = match (&args.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, Some(temporary)) => temporary.path().to_path_buf(),
        (None, None) => unreachable!("one of the two was chosen above"),
    };
    let fresh = !dir.join("input").exists();
    anyhow::ensure!(fresh, "{} holds an earlier run: choose another --dir", dir.display());
    let executable = std::env::current_exe().context("find the own executable")?;
    let mut options = Options::new(executable, &dir);
    options.log = std::env::var("TEPUI_LOG").unwrap_or(options.log);
    let mut cluster = LocalCluster::prepare(options)?;

    let outcome = tokio::select! {
        outcome = Box::pin(story(&mut cluster, &args)) => outcome,
        () = stop.next() => {
            println!("interrupted: stopping everything");
            cluster.stop_all();
            return Ok(ExitCode::from(130));
        }
    };
    let good = match outcome {
        Ok(good) => good,
        Err(error) => {
            println!("the demo failed: {error:#}\n{}", cluster.tails());
            false
        }
    };
    if args.keep {
        println!(
            "left running: masters {}, data in {}",
            cluster.masters().join(","),
            cluster.dir().display()
        );
        println!("stop it with: pkill -KILL -f -- {}", cluster.dir().display());
        cluster.keep_running();
        if let Some(temporary) = temporary {
            let _kept = temporary.keep();
        }
    } else {
        cluster.stop_all();
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// From the first process to the verdict.
#[expect(clippy::print_stdout, reason = "the demo talks to people")]
async fn story(cluster: &mut LocalCluster, args: &DemoArgs) -> anyhow::Result<bool> {
    let began = Instant::now();
    let files = data::lay_out(cluster.dir())?;
    for index in 0..cluster.masters().len() {
        cluster.start_master(index)?;
    }
    for index in 0..cluster.agents().len() {
        cluster.start_agent(index)?;
    }
    let leader = cluster.wait_for_leader(Duration::from_secs(60)).await?;
    println!("three masters, three agents in {}", cluster.dir().display());
    println!("dashboard: http://{}/", cluster.masters()[leader]);
    let mut live = Live::follow(cluster.masters());
    wait(&mut live, began, "three agents", |live| picture::registered_agents(live) == 3).await?;

    let text = std::fs::read_to_string(&files.job).context("read the job")?;
    let job = tepui_streaming::Job::from_toml_str(&text)?;
    submit(cluster, &job).await?;
    println!("submitted {} over {} departures of January 2013", job.name, data::RECORDS);

    let kills = follow(cluster, &mut live, &job.name, began, !args.no_chaos).await?;
    println!();
    let result = recount(&files.input, &files.output)?;
    println!("{}", report::table(&result));
    print!("{}", report::kills(&kills));
    for difference in result.differences.iter().take(20) {
        println!("difference: {difference}");
    }
    println!("{}", report::verdict(&result));
    let every_kill_survived = kills.iter().all(|kill| kill.gap_ms.is_some());
    Ok(result.agrees() && result.records_in == data::RECORDS && every_kill_survived)
}

async fn submit(cluster: &LocalCluster, job: &tepui_streaming::Job) -> anyhow::Result<()> {
    crate::commands::submit::submit_job(&cluster.masters(), job).await.map(|_answer| ())
}

/// Waits for something in the picture.
async fn wait(
    live: &mut Live,
    began: Instant,
    what: &str,
    is_there: impl Fn(&Live) -> bool,
) -> anyhow::Result<()> {
    while !is_there(live) {
        anyhow::ensure!(began.elapsed() < LIMIT, "no {what} after {LIMIT:?}");
        live.changed(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Shows progress and kills, until the driver has finished.
#[expect(clippy::print_stdout, reason = "the demo talks to people")]
async fn follow(
    cluster: &mut LocalCluster,
    live: &mut Live,
    job: &str,
    began: Instant,
    chaos: bool,
) -> anyhow::Result<Vec<Kill>> {
    let mut plan: &[_] = if chaos { &chaos::PLAN } else { &[] };
    let mut kills: Vec<Kill> = Vec::new();
    let mut shown = (Instant::now(), 0);
    loop {
        anyhow::ensure!(began.elapsed() < LIMIT, "the stream has not ended after {LIMIT:?}");
        live.changed(Duration::from_millis(200)).await;
        let stream = picture::stream(live, job);
        let driver = picture::driver(live, job);
        if let Some(kill) = kills.last_mut().filter(|kill| kill.gap_ms.is_none()) {
            kill.observe(&stream);
            if let (Some(gap), Some(master)) = (kill.gap_ms, kill.master) {
                println!(
                    "          the next batch was committed {gap} ms after the kill; master {} starts again",
                    master + 1
                );
                cluster.start_master(master)?;
            }
        }
        let settled = kills.last().is_none_or(|kill| kill.gap_ms.is_some());
        if let Some(((victim, at), rest)) = plan.split_first()
            && settled
            && stream.records as f64 >= data::RECORDS as f64 * at
            && driver.state == "RUNNING"
            && (picture::registered_agents(live) == 3)
        {
            let kill = chaos::strike(cluster, live, job, *victim, data::RECORDS).await?;
            println!("  kill -9 {} ({})", victim.describe(), kill.what);
            kills.push(kill);
            plan = rest;
        }
        if shown.0.elapsed() >= Duration::from_secs(1) {
            let rate = (stream.records.saturating_sub(shown.1)) as f64 / shown.0.elapsed().as_secs_f64();
            let leader = cluster.leader().await.map_or("-".to_owned(), |index| (index + 1).to_string());
            println!(
                "{}",
                report::progress(
                    began.elapsed(),
                    stream.records,
                    data::RECORDS,
                    rate,
                    stream.batch,
                    &leader,
                    driver.generation,
                    &driver.state
                )
            );
            shown = (Instant::now(), stream.records);
        }
        match driver.state.as_str() {
            "FINISHED" => break,
            "FAILED" | "KILLED" => anyhow::bail!("the driver ended as {}: {}", driver.state, driver.message),
            _going_on => {}
        }
    }
    // The last picture may be newer than the last look at the kills.
    let stream = picture::stream(live, job);
    for kill in &mut kills {
        kill.observe(&stream);
    }
    anyhow::ensure!(plan.is_empty(), "the stream ended before everything was killed");
    Ok(kills)
}
