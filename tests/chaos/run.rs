//! The cycles: disturb, wait for recovery, mend, compare. Owns the cluster.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tepui::cluster::{LocalCluster, Options, Place};
use tepui_sdk::operator::Client;

use super::clients::Clients;
use super::drivers::Drivers;
use super::faults::Reach;
use super::hosts::{Clocks, SmallDisk};
use super::inside;
use super::ledger::Ledger;
use super::network::Network;
use super::stream::Stream;
use super::tasks::Tasks;
use super::watch::Watch;
use super::writer::{Book, Registers, open, zombie_is_fenced};
use super::{Cycle, Fault, Report, Settings};
use crate::harness::{PATIENCE, eventually, lock};

/// Everything that runs during a campaign. The order is that in which it ends.
pub(super) struct Campaign {
    pub(super) tasks: Tasks,
    pub(super) clients: Clients,
    watch: Watch,
    pub(super) stream: Option<Stream>,
    pub(super) drivers: Drivers,
    pub(super) cluster: LocalCluster,
    pub(super) network: Network,
    pub(super) disk: Option<SmallDisk>,
    pub(super) clocks: Option<Clocks>,
    pub(super) operator: Client,
    pub(super) http: reqwest::Client,
    registers: Registers,
    pub(super) book: Book,
    pub(super) random: StdRng,
    pub(super) reach: Reach,
    /// Masters that ended by themselves where they may.
    pub(super) ended: Vec<String>,
    without: Vec<String>,
}

/// Carries out the cycles, telling each as it ends, and what was lost in it. Stops at the first broken promise.
///
/// # Errors
/// When the cluster does not come up, or does not come back: that is a loss, too, and the message says what was being done.
pub async fn run(
    settings: &Settings,
    mut tell: impl FnMut(&Cycle, &[String]) -> anyhow::Result<()>,
) -> anyhow::Result<Report> {
    let _lock = tokio::task::block_in_place(lock)?;
    let mut folder = tempfile::Builder::new().prefix(&inside::folder_prefix()).tempdir()?;
    folder.disable_cleanup(settings.keep);
    let mut campaign = Box::pin(Campaign::start(settings, folder.path())).await?;
    let mut report = Report::default();
    let began = Instant::now();
    for number in 1..=settings.cycles {
        if settings.within.is_some_and(|within| began.elapsed() >= within) {
            break;
        }
        let drawn = campaign.draw(settings.only.as_deref())?;
        let first = usize::try_from(number - 1).ok().and_then(|index| settings.first.get(index));
        let fault = first.copied().unwrap_or(drawn);
        let cycle = Box::pin(campaign.cycle(number, fault, &mut report))
            .await
            .with_context(|| format!("cycle {number} ({fault})\n{}", campaign.cluster.tails()))?;
        tell(&cycle, &report.losses)?;
        report.cycles.push(cycle);
        if !report.losses.is_empty() {
            break;
        }
    }
    report.writes = open(&campaign.book).count();
    report.generations = campaign.drivers.launches.len();
    report.operations = campaign.clients.shared.histories().counts;
    report.looks = campaign.watch.take().1;
    if let Some(stream) = &campaign.stream {
        let seen = stream.seen();
        (report.streams, report.batches) = (seen.counted, seen.progress);
    }
    report.without.append(&mut campaign.without);
    report.without.append(&mut campaign.ended);
    campaign.end().await;
    Ok(report)
}

impl Campaign {
    pub(super) async fn start(settings: &Settings, folder: &Path) -> anyhow::Result<Self> {
        let mut without = Vec::new();
        let mut options = Options::new(&settings.executable, folder.join("cluster"));
        options.masters = settings.masters;
        options.agents = settings.agents;
        options.master_args.clone_from(&settings.master_args);
        let mut network = Network::prepare(settings.full, settings.masters, settings.agents)?;
        options.places = network.places().to_vec();
        options.places.resize_with(settings.masters + settings.agents, Place::default);
        let clocks = match Clocks::build(&folder.join("clocks")) {
            Ok(clocks) => Some(clocks),
            Err(error) => {
                without.push(format!("no wrong clocks: {error:#}"));
                None
            }
        };
        if let Some(clocks) = &clocks {
            for (host, place) in options.places.iter_mut().enumerate() {
                place.environment.extend(clocks.environment(host)?);
            }
        }
        let mut cluster = LocalCluster::prepare(options)?;
        let disk = if settings.full {
            Some(SmallDisk::over(cluster.master_dir(settings.masters - 1))?)
        } else {
            without.push("no full disk: that needs root".to_owned());
            None
        };
        network.open(&cluster).await?;
        for index in 0..settings.masters {
            cluster.start_master(index)?;
        }
        for index in 0..settings.agents {
            cluster.start_agent(index)?;
        }
        cluster.wait_for_leader(PATIENCE).await?;
        let operator = Client::new(cluster.masters())?;
        let registers = Registers::new(cluster.masters())?;
        let book: Book = Arc::new(Mutex::new(Ledger::default()));
        let drivers = Drivers::submit(&operator, &folder.join("drivers"), registers.clone(), book.clone())
            .await
            .with_context(|| cluster.tails())?;
        let mut tasks = Tasks::start(cluster.masters(), &folder.join("marks"))?;
        if let Some(pause) = Duration::from_secs(1).checked_div(settings.launches) {
            tasks.launch_steadily(pause);
        }
        let stream = settings
            .stream
            .then(|| Stream::start(cluster.masters(), cluster.dir(), folder.join("streams")))
            .transpose()?;
        let reach = Reach {
            masters: settings.masters,
            agents: settings.agents,
            small_disk: disk.is_some(),
            clocks: clocks.is_some(),
            stream: settings.stream,
        };
        let mut campaign = Campaign {
            tasks,
            clients: Clients::start(&cluster.masters(), settings.record.as_deref())?,
            watch: Watch::start(cluster.masters(), cluster.agents())?,
            stream,
            drivers,
            cluster,
            network,
            disk,
            clocks,
            operator,
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?,
            registers,
            book,
            random: StdRng::seed_from_u64(settings.seed),
            reach,
            ended: Vec::new(),
            without,
        };
        campaign.healthy().await.with_context(|| campaign.cluster.tails())?;
        Ok(campaign)
    }

    fn draw(&mut self, only: Option<&str>) -> anyhow::Result<Fault> {
        let mut drawn = (0..10_000).map(|_| Fault::draw(&mut self.random, self.reach));
        drawn
            .find(|fault| only.is_none_or(|only| fault.kind().contains(only)))
            .with_context(|| format!("no kind of fault has {:?} in it here", only.unwrap_or_default()))
    }

    async fn cycle(&mut self, number: u64, fault: Fault, report: &mut Report) -> anyhow::Result<Cycle> {
        open(&self.book).forget_times();
        self.tasks.go_on(true);
        let before = self.random.random_range(1..=3);
        let after = self.random.random_range(1..=3);
        for index in 0..before {
            self.tasks.launch(&format!("c{number}a{index}"));
        }
        // Sometimes in the middle of the launches, sometimes when they are over.
        tokio::time::sleep(Duration::from_millis(self.random.random_range(0..150))).await;
        let generation = self.drivers.newest();
        let launches: Vec<String> = (0..after).map(|index| format!("c{number}b{index}")).collect();
        let recovery = Box::pin(self.disturb(fault, &launches)).await?;
        self.healthy().await?;
        self.tasks.go_on(false);
        self.tasks.settle().await?;
        self.registers.read(&self.book).await;
        report.losses.extend(self.differing().await);
        let agent_died = matches!(fault, Fault::KillAgent(..));
        let (tally, wrong) = self.tasks.check(agent_died)?;
        report.losses.extend(wrong);
        if self.drivers.newest() > generation {
            self.zombie(generation, report).await?;
        } else if fault == Fault::KillDriver {
            report.losses.push("a killed driver was not launched again".to_owned());
        }
        report.losses.append(&mut self.broken_promises());
        report.tasks += tally.finished;
        report.dropped += tally.dropped;
        Ok(Cycle { number, fault, recovery, tasks: tally.finished, dropped: tally.dropped })
    }

    /// Everything that the ledger, the histories and the watch have found since the last call.
    pub(super) fn broken_promises(&self) -> Vec<String> {
        let mut found = std::mem::take(&mut open(&self.book).violations);
        found.append(&mut self.clients.shared.histories().violations);
        found.append(&mut self.watch.take().0);
        if let Some(stream) = &self.stream {
            found.append(&mut stream.seen().violations);
        }
        found
    }

    /// The launch before this one is over: whatever it still writes must be refused.
    async fn zombie(&mut self, generation: u64, report: &mut Report) -> anyhow::Result<()> {
        let old = self.drivers.launches.iter().find(|launch| launch.generation == generation);
        let token = old.context("the launch before")?.token.clone();
        let registers = self.registers.clone();
        if zombie_is_fenced(registers, &self.book, generation, &token).await {
            report.zombies_fenced += 1;
        } else {
            report.losses.push(format!("a write of generation {generation} was not fenced"));
        }
        // Its own writer finds out by itself.
        eventually("the end of the older writer", || async {
            open(&self.book).fenced.contains(&generation).then_some(())
        })
        .await
    }

    pub(super) async fn end(self) {
        self.drivers.stop().await;
        self.tasks.stop().await;
    }
}
