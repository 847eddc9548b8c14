//! The stream itself, its driver supervised by the masters: it outlives the absence of all masters, and a driver that was paused until
//! its successor had taken over changes nothing.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tepui::cluster::{NODE_VARIABLE, find_processes};
use tepui::demo::{self, picture};
use tepui::live::Live;
use tepui_tests::harness::{self, PATIENCE, TestCluster};

use crate::TEPUI;

const JOB: &str = "flights";

/// A cluster on which the month of departures has begun to stream.
struct Streaming {
    test: TestCluster,
    live: Live,
    files: demo::Files,
    _folder: tempfile::TempDir,
}

impl Streaming {
    async fn begin() -> anyhow::Result<Streaming> {
        let test = harness::start(harness::options(TEPUI, 3, 2)).await?;
        let folder = tempfile::tempdir()?;
        let files = demo::lay_out(folder.path())?;
        let text = std::fs::read_to_string(&files.job)?;
        let job =
            tepui_streaming::Job::from_toml_str(&text.replace("interval_ms = 500", "interval_ms = 200"))?;
        tepui::commands::submit::submit_job(&test.cluster.masters(), &job).await?;
        let live = Live::follow(test.cluster.masters());
        let mut streaming = Streaming { test, live, files, _folder: folder };
        streaming.beyond("the first batches", 5).await?;
        Ok(streaming)
    }

    /// Waits for something in the live picture.
    async fn wait(&mut self, what: &str, is_there: impl Fn(&Live) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_there(&self.live) {
            let driver = picture::driver(&self.live, JOB);
            anyhow::ensure!(
                Instant::now() < deadline,
                "no {what} after {PATIENCE:?}: {driver:?}\n{}",
                self.test.cluster.tails()
            );
            self.live.changed(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits until a batch later than this one is committed.
    async fn beyond(&mut self, what: &str, batch: u64) -> anyhow::Result<u64> {
        self.wait(what, |live| picture::stream(live, JOB).batch > batch).await?;
        Ok(picture::stream(&self.live, JOB).batch)
    }

    /// Waits for the end of the stream and counts again.
    async fn counted_once(&mut self) -> anyhow::Result<()> {
        self.wait("end of the stream", |live| picture::driver(live, JOB).state == "FINISHED").await?;
        let count = demo::recount(&self.files.input, &self.files.output)?;
        assert!(count.agrees(), "{} lost, {} twice: {:?}", count.lost, count.duplicated, count.differences);
        assert_eq!(count.records_in, demo::RECORDS);
        Ok(())
    }

    async fn ended_in_generation(&self, generation: u64, because: &str) -> anyhow::Result<()> {
        let drivers = self.test.operator()?.get_drivers(Some(JOB)).await?;
        let attempts: Vec<_> = drivers.iter().flat_map(|driver| &driver.attempts).collect();
        let found = drivers.first().and_then(|driver| driver.generation);
        assert_eq!(found, Some(generation), "{because}: {attempts:#?}\n{}", self.test.cluster.tails());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_all_masters_were_away_for_a_minute() -> anyhow::Result<()> {
    let mut streaming = Streaming::begin().await?;
    for master in 0..3 {
        streaming.test.cluster.kill_master(master);
    }
    // Several times the driver's lease and the agents' timeout: deadlines are cluster time and stand still meanwhile.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = picture::stream(&streaming.live, JOB).batch;
    for master in 0..3 {
        streaming.test.cluster.start_master(master)?;
    }
    streaming.beyond("batch after the outage", before).await?;
    streaming.test.wait_for_agents(2).await?;
    streaming.counted_once().await?;
    streaming.ended_in_generation(1, "no deadline fired: the driver that was there went on").await
}

fn signal(pids: &[i32], signal: Signal) {
    for pid in pids {
        let _gone = kill(Pid::from_raw(*pid), signal);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_stream_driver_that_comes_back_changes_nothing() -> anyhow::Result<()> {
    let mut streaming = Streaming::begin().await?;
    let cluster = &streaming.test.cluster;
    let dir = cluster.dir().to_path_buf();
    let agent_id = picture::driver(&streaming.live, JOB).agent_id;
    let address = picture::agent_address(&streaming.live, &agent_id);
    let agent = cluster.agents().iter().position(|found| Some(found) == address.as_ref());
    let agent_dir = cluster.agent_dir(agent.ok_or_else(|| anyhow::anyhow!("no agent at {address:?}"))?);
    // Its whole host stands still, so that nobody there can end it on the masters' order.
    let host = find_processes(&[(NODE_VARIABLE, agent_dir), ("TEPUI_WORK_DIR", agent_dir)]);
    let first = demo::driver_processes(&dir, 1);
    assert!(!first.is_empty() && first.iter().all(|pid| host.contains(pid)), "{first:?} {host:?}");
    signal(&host, Signal::SIGSTOP);
    streaming.wait("second generation", |live| picture::driver(live, JOB).generation == 2).await?;
    let before = picture::stream(&streaming.live, JOB).batch;
    let after = streaming.beyond("batch of the successor", before + 1).await?;

    // The driver alone goes on, from the middle of whatever it did.
    signal(&first, Signal::SIGCONT);
    harness::eventually("end of the driver that was replaced", || async {
        demo::driver_processes(&dir, 1).is_empty().then_some(())
    })
    .await?;
    streaming.beyond("batch after the return", after).await?;
    signal(&host, Signal::SIGCONT);
    streaming.counted_once().await?;
    streaming.ended_in_generation(2, "the successor was not disturbed").await
}
