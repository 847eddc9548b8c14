//! What is done to the cluster in each cycle, drawn from the seed. Does nothing itself.

use std::fmt;
use std::time::Duration;

use rand::Rng;

/// One disturbance. Followers go by their place among those that do not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` for the leading master.
    KillLeader,
    /// `kill -9` for another master.
    KillFollower(usize),
    /// SIGSTOP for the leading master, for so long.
    PauseLeader(Duration),
    PauseFollower(usize, Duration),
    /// `kill -9` for the driver.
    KillDriver,
    /// SIGTERM for the leading master.
    StopLeader,
    /// `kill -9` for the stream's driver.
    KillStream,
    /// `kill -9` for one of the stream's executors.
    KillExecutor,
    /// `kill -9` for an agent, back after so long; its tasks go on.
    KillAgent(usize, Duration),
    /// SIGSTOP for an agent; its tasks go on.
    PauseAgent(usize, Duration),
    /// The leading master is cut off from the others for so long, but not from agents, frameworks and drivers.
    CutLeader(Way, Duration),
    /// The leading master is cut off from one of the others.
    CutFollower(usize, Way, Duration),
    /// An agent, with all that it runs, is cut off from all masters.
    CutAgent(usize, Way, Duration),
    /// Clients are cut off from the leading master, which goes on leading.
    CutClients(Duration),
    /// Links are interrupted one after the other, each for a moment.
    Flap(Duration),
    /// Packets are lost on all ways between servers.
    Lossy(Duration),
    /// What the leading master gets from others and sends to them comes late.
    SlowLeader(Duration),
    /// A follower gets what the leader sends a few bytes at a time.
    DripFollower(usize, Duration),
    /// The small disk of the last master is full.
    FullDisk(Duration),
    /// The leading master can open no more files and connections.
    FewFiles(Duration),
    /// Files of a follower are damaged while it is down: it must refuse to start, and is put back by an operator.
    DamagedFollower(usize),
    /// The wall clock of a host jumps by so many hours and back; hosts are the masters and, after them, the agents.
    ClockJump(usize, i32, Duration),
    /// All masters are stopped and started, one after the other.
    RollingRestart,
    /// All masters are killed at once and started again.
    FullRestart,
}

/// Which messages are held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Both,
    /// Those that it sends.
    Out,
    /// Those that it gets.
    In,
}

/// What there is to disturb, and what the campaign is able to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) masters: usize,
    pub(super) agents: usize,
    pub(super) small_disk: bool,
    pub(super) clocks: bool,
    pub(super) stream: bool,
}

impl Fault {
    /// Draws one; leaders and drivers more often than the rest.
    pub(super) fn draw(random: &mut impl Rng, reach: Reach) -> Self {
        let mut span = |least: u64, most: u64| Duration::from_millis(random.random_range(least..=most));
        let (pause, absence, cut, long) =
            (span(500, 3_000), span(50, 1_000), span(500, 4_000), span(2_000, 6_000));
        let follower = random.random_range(0..reach.masters.max(2) - 1);
        let agent = random.random_range(0..reach.agents);
        let way = [Way::Both, Way::Out, Way::In][random.random_range(0..3)];
        let host = random.random_range(0..reach.masters + reach.agents);
        let hours = [-24 * 30, -1, 1, 24 * 400][random.random_range(0..4)];
        let choices = [
            (6, Fault::KillLeader),
            (2, Fault::KillFollower(follower)),
            (4, Fault::PauseLeader(pause)),
            (1, Fault::PauseFollower(follower, pause)),
            (4, Fault::KillDriver),
            (if reach.stream { 2 } else { 0 }, Fault::KillStream),
            (if reach.stream { 2 } else { 0 }, Fault::KillExecutor),
            (2, Fault::StopLeader),
            (2, Fault::KillAgent(agent, absence)),
            (1, Fault::PauseAgent(agent, pause)),
            (6, Fault::CutLeader(way, cut)),
            (2, Fault::CutFollower(follower, way, cut)),
            (2, Fault::CutAgent(agent, way, cut)),
            (1, Fault::CutClients(cut)),
            (2, Fault::Flap(long)),
            (2, Fault::Lossy(long)),
            (2, Fault::SlowLeader(cut)),
            (1, Fault::DripFollower(follower, cut)),
            (if reach.small_disk { 2 } else { 0 }, Fault::FullDisk(cut)),
            (1, Fault::FewFiles(cut)),
            (1, Fault::DamagedFollower(follower)),
            (if reach.clocks { 2 } else { 0 }, Fault::ClockJump(host, hours, cut)),
            (1, Fault::RollingRestart),
            (1, Fault::FullRestart),
        ];
        let all: u32 = choices.iter().map(|(weight, _)| weight).sum();
        let mut lot = random.random_range(0..all);
        for (weight, fault) in choices {
            match lot.checked_sub(weight) {
                Some(rest) => lot = rest,
                None => return fault,
            }
        }
        Fault::KillLeader
    }

    /// The kind alone, for figures.
    pub fn kind(self) -> &'static str {
        match self {
            Fault::KillLeader => "leader kill -9",
            Fault::KillFollower(_) => "follower kill -9",
            Fault::PauseLeader(_) => "leader SIGSTOP",
            Fault::PauseFollower(..) => "follower SIGSTOP",
            Fault::KillDriver => "driver kill -9",
            Fault::KillStream => "stream driver kill -9",
            Fault::KillExecutor => "stream executor kill -9",
            Fault::StopLeader => "leader SIGTERM",
            Fault::KillAgent(..) => "agent kill -9",
            Fault::PauseAgent(..) => "agent SIGSTOP",
            Fault::CutLeader(Way::Both, _) => "leader cut off",
            Fault::CutLeader(Way::Out, _) => "leader mute",
            Fault::CutLeader(Way::In, _) => "leader deaf",
            Fault::CutFollower(_, Way::Both, _) => "leader cut off from one follower",
            Fault::CutFollower(_, Way::Out, _) => "follower mute to the leader",
            Fault::CutFollower(_, Way::In, _) => "follower deaf to the leader",
            Fault::CutAgent(_, Way::Both, _) => "agent cut off",
            Fault::CutAgent(_, Way::Out, _) => "agent mute",
            Fault::CutAgent(_, Way::In, _) => "agent deaf",
            Fault::CutClients(_) => "clients cut off from the leader",
            Fault::Flap(_) => "links interrupted in turn",
            Fault::Lossy(_) => "packets lost",
            Fault::SlowLeader(_) => "leader slow",
            Fault::DripFollower(..) => "slow drip to a follower",
            Fault::FullDisk(_) => "disk full",
            Fault::FewFiles(_) => "leader out of file handles",
            Fault::DamagedFollower(_) => "follower's files damaged",
            Fault::ClockJump(..) => "wall clock jumps",
            Fault::RollingRestart => "rolling restart",
            Fault::FullRestart => "all masters kill -9",
        }
    }

    /// How long it lasts, if it does not end by itself at once.
    pub(super) fn span(self) -> Option<Duration> {
        match self {
            Fault::PauseLeader(span)
            | Fault::PauseFollower(_, span)
            | Fault::KillAgent(_, span)
            | Fault::PauseAgent(_, span)
            | Fault::CutLeader(_, span)
            | Fault::CutFollower(_, _, span)
            | Fault::CutAgent(_, _, span)
            | Fault::CutClients(span)
            | Fault::Flap(span)
            | Fault::Lossy(span)
            | Fault::SlowLeader(span)
            | Fault::DripFollower(_, span)
            | Fault::FullDisk(span)
            | Fault::FewFiles(span)
            | Fault::ClockJump(_, _, span) => Some(span),
            Fault::KillLeader
            | Fault::KillFollower(_)
            | Fault::KillDriver
            | Fault::KillStream
            | Fault::KillExecutor
            | Fault::StopLeader
            | Fault::DamagedFollower(_)
            | Fault::RollingRestart
            | Fault::FullRestart => None,
        }
    }

    /// Whether it is the stream that must go on.
    pub(super) fn hits_the_stream(self) -> bool {
        matches!(self, Fault::KillStream | Fault::KillExecutor)
    }

    /// Whether a master may end by itself because of it.
    pub(super) fn may_end_a_master(self) -> bool {
        matches!(self, Fault::FullDisk(_) | Fault::FewFiles(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Fault::ClockJump(host, hours, _) => write!(f, " ({hours} h at host {})", host + 1)?,
            Fault::KillAgent(index, _) | Fault::PauseAgent(index, _) | Fault::CutAgent(index, ..) => {
                write!(f, " ({})", index + 1)?;
            }
            _alone => {}
        }
        self.span().map_or(Ok(()), |span| write!(f, " for {} ms", span.as_millis()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn drawn(seed: u64, able: bool) -> Vec<Fault> {
        let mut random = StdRng::seed_from_u64(seed);
        let reach = Reach { masters: 3, agents: 2, small_disk: able, clocks: able, stream: able };
        (0..1_000).map(|_| Fault::draw(&mut random, reach)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_all_kinds_occur() {
        assert_eq!(drawn(7, true), drawn(7, true));
        assert_ne!(drawn(7, true), drawn(8, true));
        let kinds = |able| drawn(7, able).into_iter().map(Fault::kind).collect::<BTreeSet<&str>>();
        assert_eq!(kinds(true).len(), 30, "{:?}", kinds(true));
        assert_eq!(kinds(false).len(), 26, "neither full disks nor clocks nor streams");
    }
}
