//! Carries out one fault: begins it, waits for the first write that is acknowledged afterwards, ends it, and brings back what was taken.

use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::network::{Site, Trouble, Weather, between, links};
use super::run::Campaign;
use super::writer::open;
use super::{Fault, Way, hosts};
use crate::harness::{PATIENCE, eventually};

/// How late packets are where they are slow.
const LATE: Duration = Duration::from_millis(80);
/// Of a thousand packets so many are lost.
const LOST: u32 = 50;
/// Bytes a second of a slow drip.
const DRIP: u32 = 2_000;
/// A link that is interrupted is so for the first part of this time.
const FLAP: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(600));

/// A fault that has begun.
struct Begun {
    at: Instant,
    leader: usize,
    /// The driver's generation from which on writes count.
    generation: u64,
    /// How far the streams had come.
    progress: u64,
    /// What can open only so many files, and how many it could.
    limited: Option<(i32, u64)>,
}

impl Campaign {
    /// Does it, waits for the first write that is acknowledged afterwards, and brings back what was taken away. Returns how long that
    /// write took.
    ///
    /// # Errors
    /// When there is no such write in time, or something cannot be done.
    pub(super) async fn disturb(&mut self, fault: Fault, launches: &[String]) -> anyhow::Result<Duration> {
        let leader = self.cluster.wait_for_leader(PATIENCE).await?;
        let begun = self.begin(fault, leader)?;
        for id in launches {
            self.tasks.launch(id);
        }
        let steps = self.restarts(fault, leader).await?;
        let recovery = self.recovered(fault, &begun).await?;
        if steps == Steps::Left {
            self.bring_back(fault, leader).await?;
        }
        Ok(recovery)
    }

    fn begin(&mut self, fault: Fault, leader: usize) -> anyhow::Result<Begun> {
        let generation = self.drivers.newest();
        let progress = self.progress();
        let mut begun = Begun { at: Instant::now(), leader, generation, progress, limited: None };
        match fault {
            Fault::KillLeader => begun.at = self.cluster.kill_master(leader),
            Fault::KillFollower(place) | Fault::DamagedFollower(place) => {
                let follower = self.follower(leader, place);
                begun.at = self.cluster.kill_master(follower);
            }
            Fault::PauseLeader(_) => self.cluster.pause_master(leader),
            Fault::PauseFollower(place, _) => self.cluster.pause_master(self.follower(leader, place)),
            Fault::KillDriver => {
                begun.at = self.drivers.kill_newest();
                begun.generation += 1;
            }
            Fault::KillStream => self.stream.as_ref().context("a stream")?.kill("stream-driver", false),
            Fault::KillExecutor => self.stream.as_ref().context("a stream")?.kill("stream-executor", true),
            Fault::StopLeader => self.signal(self.cluster.master_pid(leader), Signal::SIGTERM)?,
            Fault::KillAgent(agent, _) => begun.at = self.cluster.kill_agent(agent),
            Fault::PauseAgent(agent, _) => self.signal(self.cluster.agent_pid(agent), Signal::SIGSTOP)?,
            Fault::FullDisk(_) => self.disk.as_ref().context("a small disk")?.fill()?,
            Fault::FewFiles(_) => {
                let pid = self.cluster.master_pid(leader).context("the leader runs")?;
                begun.limited = Some((pid, hosts::few_files(pid)?));
            }
            Fault::ClockJump(host, hours, _) => {
                let by = Duration::from_secs(3_600 * u64::from(hours.unsigned_abs()));
                self.clocks.as_ref().context("clocks")?.set(host, by, hours > 0)?;
            }
            Fault::FullRestart => {
                for master in 0..self.reach.masters {
                    self.cluster.kill_master(master);
                }
            }
            Fault::RollingRestart => {}
            _network => {
                let weather = self.weather(fault, leader, Duration::ZERO);
                self.network.set(weather)?;
            }
        }
        Ok(begun)
    }

    /// What the network is like so long after the beginning of a fault.
    fn weather(&self, fault: Fault, leader: usize, elapsed: Duration) -> Weather {
        let (masters, agents) = (self.reach.masters, self.reach.agents);
        let others: Vec<Site> = (0..masters).filter(|one| *one != leader).map(Site::Master).collect();
        let all: Vec<Site> = (0..masters).map(Site::Master).collect();
        let lead = [Site::Master(leader)];
        match fault {
            Fault::CutLeader(way, _) => only(way, lead[0], between(&lead, &others, Trouble::Cut)),
            Fault::CutFollower(place, way, _) => {
                let follower = Site::Master(self.follower(leader, place));
                only(way, follower, between(&[follower], &lead, Trouble::Cut))
            }
            Fault::CutAgent(agent, way, _) => {
                let agent = Site::Agent(agent);
                only(way, agent, between(&[agent], &all, Trouble::Cut))
            }
            Fault::CutClients(_) => between(&[Site::Clients], &lead, Trouble::Broken),
            Fault::Lossy(_) => {
                let mut servers = all.clone();
                servers.extend((0..agents).map(Site::Agent));
                between(&all, &servers, Trouble::Loss(LOST))
            }
            Fault::SlowLeader(_) => between(&lead, &others, Trouble::Slow(LATE)),
            Fault::DripFollower(place, _) => {
                let follower = Site::Master(self.follower(leader, place));
                only(Way::In, follower, between(&[follower], &lead, Trouble::Drip(DRIP)))
            }
            Fault::Flap(_) => {
                let links = links(masters, agents);
                let turn = elapsed.as_millis() / FLAP.1.as_millis();
                let begins = FLAP.1 * u32::try_from(turn).unwrap_or(u32::MAX);
                let (one, other) = links[usize::try_from(turn).unwrap_or(0) % links.len()];
                let interrupted = elapsed.saturating_sub(begins) < FLAP.0;
                if interrupted { between(&[one], &[other], Trouble::Cut) } else { Weather::new() }
            }
            _other => Weather::new(),
        }
    }

    /// Waits for a write that was sent after the fault; ends faults that last.
    async fn recovered(&mut self, fault: Fault, begun: &Begun) -> anyhow::Result<Duration> {
        let mut lasts = fault.span();
        let mut first = None;
        loop {
            let elapsed = begun.at.elapsed();
            if lasts.is_some_and(|span| elapsed >= span) {
                lasts = None;
                self.end_fault(fault, begun)?;
            } else if matches!(fault, Fault::Flap(_)) && lasts.is_some() {
                let weather = self.weather(fault, begun.leader, elapsed);
                self.network.set(weather)?;
            }
            self.look()?;
            first = first.or_else(|| {
                if fault.hits_the_stream() {
                    return (self.progress() > begun.progress).then(Instant::now);
                }
                open(&self.book).first_since(begun.at, begun.generation).map(|first| first.at)
            });
            if let (Some(first), None) = (first, lasts) {
                return Ok(first.saturating_duration_since(begun.at));
            }
            anyhow::ensure!(elapsed < PATIENCE, "no write was acknowledged after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Ends a fault that lasts.
    fn end_fault(&mut self, fault: Fault, begun: &Begun) -> anyhow::Result<()> {
        match fault {
            Fault::PauseLeader(_) => self.cluster.resume_master(begun.leader),
            Fault::PauseFollower(place, _) => self.cluster.resume_master(self.follower(begun.leader, place)),
            Fault::KillAgent(agent, _) => self.cluster.start_agent(agent)?,
            Fault::PauseAgent(agent, _) => self.signal(self.cluster.agent_pid(agent), Signal::SIGCONT)?,
            Fault::FullDisk(_) => self.disk.as_ref().context("a small disk")?.clear()?,
            Fault::FewFiles(_) => {
                if let Some((pid, before)) = begun.limited
                    && !self.cluster.master_has_ended(begun.leader)
                {
                    hosts::allow_files(pid, before)?;
                }
            }
            Fault::ClockJump(host, ..) => {
                self.clocks.as_ref().context("clocks")?.set(host, Duration::ZERO, true)?;
            }
            _network => self.network.set(Weather::new())?,
        }
        Ok(())
    }

    /// Steps of a fault that come before anything can be expected of the cluster.
    async fn restarts(&mut self, fault: Fault, leader: usize) -> anyhow::Result<Steps> {
        match fault {
            Fault::FullRestart => {
                for master in 0..self.reach.masters {
                    self.cluster.start_master(master)?;
                }
            }
            Fault::RollingRestart => {
                for step in 0..self.reach.masters {
                    let master = (leader + step) % self.reach.masters;
                    self.cluster.stop_master(master, PATIENCE).await?;
                    self.cluster.start_master(master)?;
                    self.healthy()
                        .await
                        .with_context(|| format!("after the restart of master {}", master + 1))?;
                }
            }
            _other => return Ok(Steps::Left),
        }
        Ok(Steps::Done)
    }

    /// Starts what does not run.
    async fn bring_back(&mut self, fault: Fault, leader: usize) -> anyhow::Result<()> {
        match fault {
            Fault::KillLeader => self.cluster.start_master(leader)?,
            Fault::KillFollower(place) => self.cluster.start_master(self.follower(leader, place))?,
            Fault::DamagedFollower(place) => self.damaged(self.follower(leader, place)).await?,
            Fault::StopLeader => {
                self.cluster.stop_master(leader, PATIENCE).await?;
                self.cluster.start_master(leader)?;
            }
            _other => {}
        }
        for master in 0..self.reach.masters {
            if self.cluster.master_has_ended(master) {
                anyhow::ensure!(fault.may_end_a_master(), "master {} ended by itself", master + 1);
                self.ended.push(format!("{}: a master ended and was started again", fault.kind()));
                self.cluster.start_master(master)?;
            }
        }
        Ok(())
    }

    /// A master that is down finds its files damaged, and must not start with them; then somebody puts them back.
    async fn damaged(&mut self, master: usize) -> anyhow::Result<()> {
        let folder = self.cluster.master_dir(master).to_path_buf();
        let files = hosts::copy(&folder)?;
        let name = hosts::damage(&files, "log")?;
        self.cluster.start_master(master)?;
        let cluster = std::cell::RefCell::new(&mut self.cluster);
        eventually(&format!("refusal of the damaged {name}"), || async {
            cluster.borrow_mut().master_has_ended(master).then_some(())
        })
        .await?;
        hosts::restore(&folder, &files)?;
        self.cluster.start_master(master)
    }

    /// Signals a process that was started by this campaign and not reaped since.
    fn signal(&self, pid: Option<i32>, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(pid.context("it runs")?), signal)?)
    }

    fn progress(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| stream.seen().progress)
    }

    fn follower(&self, leader: usize, place: usize) -> usize {
        (leader + 1 + place) % self.reach.masters
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Steps {
    Done,
    Left,
}

/// Of this weather only what a site sends, or gets.
fn only(way: Way, site: Site, weather: Weather) -> Weather {
    let fits = |from: Site| match way {
        Way::Both => true,
        Way::Out => from == site,
        Way::In => from != site,
    };
    weather.into_iter().filter(|((from, _), _)| fits(*from)).collect()
}
