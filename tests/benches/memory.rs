//! P12, idle part: proportional set size of a master and an agent that have nothing to do.

use std::time::Duration;

use anyhow::Context;
use tepui::cluster::{LocalCluster, Options};

use super::{Figure, Settings};
use crate::harness::{PATIENCE, lock};

/// PSS of a process, MB.
fn pss(pid: i32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context("read the memory map")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("find the Pss line")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}

pub(super) async fn idle(settings: &Settings) -> anyhow::Result<Vec<Figure>> {
    let _lock = lock()?;
    let folder = tempfile::Builder::new().prefix("tepui-bench-").tempdir()?;
    let mut options = Options::new(&settings.executable, folder.path().join("cluster"));
    options.log = "warn".to_owned();
    let cluster = LocalCluster::start(options)?;
    cluster.wait_for_leader(PATIENCE).await?;
    let (mut masters, mut agents) = (Vec::new(), Vec::new());
    for _sample in 0..if settings.short { 2 } else { 5 } {
        tokio::time::sleep(Duration::from_secs(2)).await;
        for index in 0..3 {
            masters.push(pss(cluster.master_pid(index).context("a master runs")?)?);
            agents.push(pss(cluster.agent_pid(index).context("an agent runs")?)?);
        }
    }
    Ok(vec![
        Figure::of(
            "P12",
            "PSS of an idle master, three masters and three agents on one host",
            "MB",
            "<= 40",
            masters,
        ),
        Figure::of(
            "P12",
            "PSS of an idle agent, three masters and three agents on one host",
            "MB",
            "<= 10",
            agents,
        ),
    ])
}
