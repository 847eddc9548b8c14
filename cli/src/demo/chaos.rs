//! The demo's kills: what, when, and how long until the next committed batch. Kills only processes of the demo's own cluster.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::picture::{self, Stream};
use crate::cluster::{CLUSTER_VARIABLE, LocalCluster, find_processes};
use crate::live::Live;

/// The things that the demo kills, in this order.
pub(super) const PLAN: [(Victim, f64); 3] =
    [(Victim::Leader, 0.15), (Victim::Driver, 0.40), (Victim::DriversAgent, 0.65)];

/// No kill happens behind this part of the records: batches must be left to be committed after it.
const LATEST: f64 = 0.92;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    Leader,
    Driver,
    DriversAgent,
}

impl Victim {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Victim::Leader => "the leading master",
            Victim::Driver => "the driver",
            Victim::DriversAgent => "the driver's agent and everything on it",
        }
    }
}

/// One kill that has happened.
#[derive(Clone, Debug)]
pub(super) struct Kill {
    pub(super) victim: Victim,
    /// In words: which master, which generation, which agent.
    pub(super) what: String,
    /// Committed batch at that moment.
    pub(super) batch: u64,
    /// Wall clock, milliseconds since 1970.
    pub(super) at_ms: u64,
    /// Milliseconds until the commit of the next batch, once there is one.
    pub(super) gap_ms: Option<u64>,
    /// Index of the master that was killed, to be started again.
    pub(super) master: Option<usize>,
}

impl Kill {
    /// Looks whether a batch was committed after the kill.
    pub(super) fn observe(&mut self, stream: &Stream) {
        if self.gap_ms.is_some() || stream.batch <= self.batch {
            return;
        }
        // The picture may be some batches old at the moment of the kill: only commits after it count.
        let next =
            stream.commits.iter().filter(|(_, at)| *at > self.at_ms).map(|(_, at)| at - self.at_ms).min();
        self.gap_ms = next;
    }
}

/// Carries out one kill.
///
/// # Errors
/// When there is nothing to kill, or the stream is too far already.
pub(super) async fn strike(
    cluster: &mut LocalCluster,
    live: &Live,
    job: &str,
    victim: Victim,
    total: u64,
) -> anyhow::Result<Kill> {
    let stream = picture::stream(live, job);
    anyhow::ensure!(
        (stream.records as f64) < total as f64 * LATEST,
        "the stream was at {} of {total} records when {} was to be killed: too late to prove anything",
        stream.records,
        victim.describe()
    );
    let mut struck = Kill {
        victim,
        what: String::new(),
        batch: stream.batch,
        at_ms: now_ms(),
        gap_ms: None,
        master: None,
    };
    match victim {
        Victim::Leader => {
            let leader = cluster.wait_for_leader(Duration::from_secs(20)).await?;
            struck.what = format!("master {}", leader + 1);
            cluster.kill_master(leader);
            struck.master = Some(leader);
        }
        Victim::Driver => {
            let driver = picture::driver(live, job);
            let pids = driver_processes(cluster.dir(), driver.generation);
            anyhow::ensure!(!pids.is_empty(), "no process of driver generation {}", driver.generation);
            struck.what = format!("generation {}, process {}", driver.generation, pids[0]);
            for pid in pids {
                kill(Pid::from_raw(pid), Signal::SIGKILL).context("kill the driver")?;
            }
        }
        Victim::DriversAgent => {
            let driver = picture::driver(live, job);
            let address = picture::agent_address(live, &driver.agent_id)
                .with_context(|| format!("no address of agent {}", driver.agent_id))?;
            let agent = cluster.agents().iter().position(|found| *found == address);
            let agent = agent.with_context(|| format!("no agent at {address}"))?;
            struck.what = format!("agent {} at {address}", agent + 1);
            cluster.kill_agent_host(agent);
        }
    }
    // Taken when the victim is gone: what it still answered before does not count as recovered.
    struck.at_ms = now_ms();
    Ok(struck)
}

/// The processes of one generation of the stream's driver.
pub fn driver_processes(dir: &Path, generation: u64) -> Vec<i32> {
    let wanted = format!("TEPUI_DRIVER_GENERATION={generation}");
    find_processes(&[(CLUSTER_VARIABLE, dir)])
        .into_iter()
        .filter(|pid| {
            let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            let has = |bytes: &[u8], word: &str| {
                bytes.split(|byte| *byte == 0).any(|found| found == word.as_bytes())
            };
            has(&read("cmdline"), "stream-driver") && has(&read("environ"), &wanted)
        })
        .collect()
}

/// Wall clock, milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_commit_after_the_kill_counts() {
        let mut kill = Kill {
            victim: Victim::Driver,
            what: String::new(),
            batch: 5,
            at_ms: 1_000,
            gap_ms: None,
            master: None,
        };
        let mut stream = Stream { batch: 6, commits: vec![(6, 990)], ..Stream::default() };
        kill.observe(&stream);
        assert_eq!(kill.gap_ms, None);
        stream.commits.extend([(7, 1_800), (8, 2_500)]);
        stream.batch = 8;
        kill.observe(&stream);
        assert_eq!(kill.gap_ms, Some(800));
    }
}
