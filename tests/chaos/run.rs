//! The cycles: disturb, wait for recovery, mend, compare. Owns the cluster.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tepui::cluster::{LocalCluster, Options};
use tepui_proto::tepui::operator::RaftMember;
use tepui_sdk::operator::Client;

use super::drivers::Drivers;
use super::gateways::Gateways;
use super::ledger::Ledger;
use super::tasks::Tasks;
use super::writer::{Book, Registers, open, zombie_is_fenced};
use super::{Cycle, Fault, Report, Settings, Way};
use crate::harness::{PATIENCE, eventually, lock};

/// How far a follower may be behind and still count as in step.
const IN_STEP: u64 = 200;

/// Everything that runs during a campaign.
struct Campaign {
    cluster: LocalCluster,
    gateways: Gateways,
    operator: Client,
    registers: Registers,
    book: Book,
    drivers: Drivers,
    tasks: Tasks,
    random: StdRng,
}

/// Carries out the cycles, telling each as it ends. Stops at the first broken promise.
///
/// # Errors
/// When the cluster does not come up, or does not come back: that is a loss, too, and the message says what was being done.
pub async fn run(settings: &Settings, mut tell: impl FnMut(&Cycle)) -> anyhow::Result<Report> {
    let _lock = tokio::task::block_in_place(lock)?;
    let folder = tempfile::Builder::new().prefix("tepui-chaos-").tempdir()?;
    let mut campaign = Box::pin(Campaign::start(settings, folder.path())).await?;
    let mut report = Report::default();
    for number in 1..=settings.cycles {
        let drawn = Fault::draw(&mut campaign.random, settings.masters, settings.agents);
        let first = usize::try_from(number - 1).ok().and_then(|index| settings.first.get(index));
        let fault = first.copied().unwrap_or(drawn);
        let cycle = Box::pin(campaign.cycle(number, fault, &mut report))
            .await
            .with_context(|| format!("cycle {number} ({fault})\n{}", campaign.cluster.tails()))?;
        tell(&cycle);
        report.cycles.push(cycle);
        if !report.losses.is_empty() {
            break;
        }
    }
    report.writes = open(&campaign.book).count();
    report.generations = campaign.drivers.launches.len();
    campaign.drivers.stop().await;
    campaign.tasks.stop().await;
    Ok(report)
}

impl Campaign {
    async fn start(settings: &Settings, folder: &Path) -> anyhow::Result<Self> {
        let mut options = Options::new(&settings.executable, folder.join("cluster"));
        options.masters = settings.masters;
        options.agents = settings.agents;
        options.master_args.clone_from(&settings.master_args);
        let mut gateways = Gateways::listen(settings.masters).await?;
        options.peer_gateways = gateways.ports()?;
        let mut cluster = LocalCluster::prepare(options)?;
        let folders: Vec<&Path> = (0..settings.masters).map(|index| cluster.master_dir(index)).collect();
        gateways.open(&cluster.peer_ports(), &folders);
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
        let tasks = Tasks::start(cluster.masters(), &folder.join("marks"))?;
        let random = StdRng::seed_from_u64(settings.seed);
        let mut campaign = Campaign { cluster, gateways, operator, registers, book, drivers, tasks, random };
        campaign.healthy().await?;
        Ok(campaign)
    }

    async fn cycle(&mut self, number: u64, fault: Fault, report: &mut Report) -> anyhow::Result<Cycle> {
        open(&self.book).forget_times();
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
        self.tasks.settle().await?;
        self.registers.read(&self.book).await;
        let agent_died = matches!(fault, Fault::KillAgent(..));
        let (tally, wrong) = self.tasks.check(agent_died)?;
        report.losses.extend(wrong);
        if self.drivers.newest() > generation {
            self.zombie(generation, report).await?;
        } else if fault == Fault::KillDriver {
            report.losses.push("a killed driver was not launched again".to_owned());
        }
        report.losses.append(&mut open(&self.book).violations);
        report.tasks += tally.finished;
        report.dropped += tally.dropped;
        Ok(Cycle { number, fault, recovery, tasks: tally.finished, dropped: tally.dropped })
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
}

impl Campaign {
    /// Does it, waits for the first write that is acknowledged afterwards, and brings back what was taken away. Returns how long that
    /// write took.
    async fn disturb(&mut self, fault: Fault, launches: &[String]) -> anyhow::Result<Duration> {
        let leader = self.cluster.wait_for_leader(PATIENCE).await?;
        let masters = self.cluster.masters().len();
        let newest = self.drivers.newest();
        let mut dead = None;
        let (at, generation) = match fault {
            Fault::KillLeader => {
                dead = Some(leader);
                (self.cluster.kill_master(leader), newest)
            }
            Fault::KillFollower(place) => {
                let follower = (leader + 1 + place) % masters;
                dead = Some(follower);
                (self.cluster.kill_master(follower), newest)
            }
            Fault::PauseLeader(_) => {
                let at = Instant::now();
                self.cluster.pause_master(leader);
                (at, newest)
            }
            Fault::KillDriver => (self.drivers.kill_newest(), newest + 1),
            Fault::StopLeader => {
                dead = Some(leader);
                let pid = self.cluster.master_pid(leader).context("the leader runs")?;
                let at = Instant::now();
                kill(Pid::from_raw(pid), Signal::SIGTERM)?;
                (at, newest)
            }
            Fault::KillAgent(agent, _) => (self.cluster.kill_agent(agent), newest),
            Fault::CutLeader(way, _) => {
                let at = Instant::now();
                let others = (0..masters).filter(|other| *other != leader);
                let out = others.clone().map(|other| (leader, other)).filter(|_| way != Way::In);
                let back = others.map(|other| (other, leader)).filter(|_| way != Way::Out);
                self.gateways.cut(out.chain(back));
                (at, newest)
            }
        };
        for id in launches {
            self.tasks.launch(id);
        }
        let recovery = self.recovered(fault, leader, at, generation).await?;
        if let Some(master) = dead {
            if fault == Fault::StopLeader {
                self.cluster.stop_master(master, PATIENCE).await?;
            }
            self.cluster.start_master(master)?;
        }
        Ok(recovery)
    }

    /// Waits for a write that was sent after the fault; ends faults that last.
    async fn recovered(
        &mut self,
        fault: Fault,
        leader: usize,
        at: Instant,
        generation: u64,
    ) -> anyhow::Result<Duration> {
        let mut lasts = fault.span();
        let mut first = None;
        loop {
            if lasts.is_some_and(|span| at.elapsed() >= span) {
                lasts = None;
                match fault {
                    Fault::KillAgent(agent, _) => self.cluster.start_agent(agent)?,
                    Fault::CutLeader(..) => self.gateways.heal(),
                    _paused => self.cluster.resume_master(leader),
                }
            }
            self.drivers.look()?;
            first = first.or_else(|| open(&self.book).first_since(at, generation));
            if let (Some(first), None) = (first, lasts) {
                return Ok(first.at.saturating_duration_since(at));
            }
            anyhow::ensure!(at.elapsed() < PATIENCE, "no write was acknowledged after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until all masters are in step, all agents are there and the newest launch of the driver writes: each cycle begins in health.
    async fn healthy(&mut self) -> anyhow::Result<()> {
        let since = Instant::now();
        loop {
            self.drivers.look()?;
            let writes = open(&self.book).first_since(since, self.drivers.newest()).is_some();
            let missing = match (writes, self.missing().await) {
                (true, None) => return Ok(()),
                (_, Some(missing)) => missing,
                (false, None) => "a write of the newest launch".to_owned(),
            };
            anyhow::ensure!(
                since.elapsed() < PATIENCE,
                "not healthy after {PATIENCE:?}: {missing} is missing"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the cluster lacks, if anything.
    async fn missing(&self) -> Option<String> {
        let masters = self.cluster.masters();
        let Some(leader) = self.cluster.leader().await else { return Some("a leader".to_owned()) };
        let Ok(raft) = self.operator.get_raft(&masters[leader]).await else {
            return Some("the leader's word on replication".to_owned());
        };
        let last = raft.last_log_index();
        let in_step = |member: &&RaftMember| member.matched_index.is_some_and(|at| at + IN_STEP >= last);
        if raft.members.iter().filter(in_step).count() < masters.len() {
            return Some("a master in step".to_owned());
        }
        let agents = match self.operator.get_agents().await {
            Ok(answer) => answer.agents.iter().filter(|agent| agent.active()).count(),
            Err(_changing) => 0,
        };
        (agents < self.cluster.agents().len()).then(|| "an agent".to_owned())
    }
}
