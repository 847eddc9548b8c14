//! How often three healthy masters elect without need: while nothing happens, and beside two busy loops of normal priority. The number
//! wanted is zero; where it cannot be had together with P4, it goes first.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use tepui::cluster::{LocalCluster, Options};
use tepui_sdk::operator::Client;

use super::{Figure, Settings};
use crate::harness::{PATIENCE, lock};

/// Between two looks at the term.
const LOOK: Duration = Duration::from_millis(500);

/// Processes that do nothing but compute, until dropped.
struct BusyLoops(Vec<Child>);

impl BusyLoops {
    fn start(count: usize) -> anyhow::Result<Self> {
        let mut loops = BusyLoops(Vec::new());
        for _ in 0..count {
            let shell = Command::new("sh")
                .args(["-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .context("start a busy loop")?;
            loops.0.push(shell);
        }
        Ok(loops)
    }
}

impl Drop for BusyLoops {
    fn drop(&mut self) {
        for shell in &mut self.0 {
            // Gone already: fine.
            drop(shell.kill());
            drop(shell.wait());
        }
    }
}

/// Counts elections of a healthy cluster, idle and beside busy loops.
pub(super) async fn spurious(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let _lock = lock()?;
    let folder = tempfile::Builder::new().prefix("tepui-bench-").tempdir()?;
    let mut options = Options::new(&settings.executable, folder.path().join("cluster"));
    options.agents = 1;
    options.log = "info".to_owned();
    options.master_args = settings.master_args();
    let cluster = LocalCluster::start(options)?;
    cluster.wait_for_leader(PATIENCE).await?;
    let operator = Client::new(cluster.masters())?;
    let mut figures = Vec::new();
    for (beside, count) in [("idle", 0), ("beside two busy loops", 2)] {
        let _loops = BusyLoops::start(count)?;
        let elections = watch(&cluster, &operator, Duration::from_secs_f64(settings.minutes * 60.0)).await?;
        let what = format!(
            "elections of three healthy masters in {} minutes, {beside}, profile {}",
            settings.minutes,
            settings.profile_name()
        );
        figures.push(Figure::of("elections", &what, "", "0", vec![elections as f64]));
    }
    Ok(figures)
}

/// How far the term rose.
async fn watch(cluster: &LocalCluster, operator: &Client, length: Duration) -> anyhow::Result<u64> {
    let first = term(cluster, operator).await.context("no master says its term")?;
    let began = Instant::now();
    let mut last = first;
    while began.elapsed() < length {
        tokio::time::sleep(LOOK).await;
        // A master that does not answer now will answer later; terms only rise.
        let Some(now) = term(cluster, operator).await else { continue };
        if now > last {
            eprintln!("term {last} -> {now} after {:.1} s", began.elapsed().as_secs_f64());
            last = now;
        }
    }
    Ok(last - first)
}

/// The highest term that any master knows.
async fn term(cluster: &LocalCluster, operator: &Client) -> Option<u64> {
    let mut highest = None;
    for master in cluster.masters() {
        if let Ok(status) = operator.get_raft(&master).await {
            highest = highest.max(status.term);
        }
    }
    highest
}
