//! The case in which Mesos with Chronos broke for good in 2015: the network was interrupted for moments, again and again; the scheduler
//! was given up, or did not come back, and its jobs never ran again until somebody restarted it.
//!
//! Here every link is interrupted for moments, in turn and all at once, while a scheduler with the default settings launches jobs. It must
//! always go on by itself, as the same framework.

use std::time::{Duration, Instant};

use anyhow::Context;
use rand::Rng;

use super::network::{Site, Trouble, Weather, between, links, sites};
use super::run::Campaign;
use super::{Settings, inside};
use crate::harness::lock;

/// How long a link is interrupted, and how long it is whole before the next one is, milliseconds.
const INTERRUPTED: (u64, u64) = (50, 900);
const WHOLE: (u64, u64) = (20, 300);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Brief {
    pub interruptions: u64,
    /// Jobs that ran, once each.
    pub jobs: usize,
    /// Jobs of which the scheduler was told that they did not run.
    pub dropped: usize,
    /// After each round, how long it took until a job that was wanted then had run, milliseconds.
    pub goes_on_after: Vec<f64>,
    /// Broken promises.
    pub losses: Vec<String>,
}

/// Interrupts every link so many times, in two ways: packets that vanish, and connections that break.
///
/// # Errors
/// When the cluster does not come up, or jobs do not run any more.
pub async fn interrupt(settings: &Settings, rounds: u64) -> anyhow::Result<Brief> {
    let _lock = tokio::task::block_in_place(lock)?;
    let folder = tempfile::Builder::new().prefix(&inside::folder_prefix()).tempdir()?;
    let mut campaign = Box::pin(Campaign::start(settings, folder.path())).await?;
    let mut brief = Brief::default();
    for round in 1..=rounds {
        Box::pin(campaign.round(round, &mut brief))
            .await
            .with_context(|| format!("round {round}\n{}", campaign.cluster.tails()))?;
        if !brief.losses.is_empty() {
            break;
        }
    }
    campaign.end().await;
    Ok(brief)
}

impl Campaign {
    async fn round(&mut self, round: u64, brief: &mut Brief) -> anyhow::Result<()> {
        self.tasks.go_on(true);
        let (masters, agents) = (self.reach.masters, self.reach.agents);
        let mut turns: Vec<(Vec<Site>, Vec<Site>)> =
            links(masters, agents).into_iter().map(|(one, other)| (vec![one], vec![other])).collect();
        // And all at once.
        turns.push(((0..masters).map(Site::Master).collect(), sites(masters, agents)));
        for (ones, others) in &turns {
            for trouble in [Trouble::Cut, Trouble::Broken] {
                let (interrupted, whole) = (self.moment(INTERRUPTED), self.moment(WHOLE));
                self.network.set(between(ones, others, trouble))?;
                tokio::time::sleep(interrupted).await;
                self.network.set(Weather::new())?;
                tokio::time::sleep(whole).await;
                self.look()?;
                brief.interruptions += 1;
            }
        }
        let since = Instant::now();
        self.tasks.go_on(false);
        self.tasks.launch(&format!("after-round-{round}"));
        self.tasks.settle().await.context("jobs do not run any more")?;
        brief.goes_on_after.push(since.elapsed().as_secs_f64() * 1_000.0);
        self.healthy().await?;
        let (tally, wrong) = self.tasks.check(false)?;
        brief.jobs += tally.finished;
        brief.dropped += tally.dropped;
        brief.losses.extend(wrong);
        brief.losses.extend(self.differing().await);
        brief.losses.extend(self.broken_promises());
        let ids = self.tasks.ids();
        if ids.len() != 1 {
            brief.losses.push(format!("the scheduler had to become another framework: {ids:?}"));
        }
        let known = self.operator.get_frameworks().await?;
        if !known.completed_frameworks.is_empty() || known.frameworks.iter().any(|one| !one.active()) {
            brief.losses.push("a framework was given up, or is not active".to_owned());
        }
        Ok(())
    }

    fn moment(&mut self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(self.random.random_range(least..=most))
    }
}
