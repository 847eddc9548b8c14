//! What is done to the cluster in each cycle, drawn from the seed. Does nothing itself.

use std::fmt;
use std::time::Duration;

use rand::Rng;

/// One disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` for the leading master.
    KillLeader,
    /// `kill -9` for another master, by its place among the others.
    KillFollower(usize),
    /// SIGSTOP for the leading master, for so long.
    PauseLeader(Duration),
    /// `kill -9` for the driver.
    KillDriver,
    /// SIGTERM for the leading master.
    StopLeader,
    /// `kill -9` for an agent, back after so long; its tasks go on.
    KillAgent(usize, Duration),
    /// The leading master is cut off from the others for so long, but not from agents, frameworks and drivers.
    CutLeader(Way, Duration),
}

/// Which messages of a master are held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Both,
    /// Those that it sends.
    Out,
    /// Those that it gets.
    In,
}

impl Fault {
    /// Draws one; leaders and drivers more often than the rest.
    pub(super) fn draw(random: &mut impl Rng, masters: usize, agents: usize) -> Self {
        let mut short = |least: u64, most: u64| Duration::from_millis(random.random_range(least..=most));
        let (pause, absence, cut) = (short(500, 3_000), short(50, 1_000), short(500, 4_000));
        match random.random_range(0..14) {
            0..=2 => Fault::KillLeader,
            3 => Fault::KillFollower(random.random_range(0..masters.max(2) - 1)),
            4..=5 => Fault::PauseLeader(pause),
            6..=7 => Fault::KillDriver,
            8 => Fault::StopLeader,
            9 => Fault::KillAgent(random.random_range(0..agents), absence),
            10..=11 => Fault::CutLeader(Way::Both, cut),
            12 => Fault::CutLeader(Way::Out, cut),
            _ => Fault::CutLeader(Way::In, cut),
        }
    }

    /// The kind alone, for figures.
    pub fn kind(self) -> &'static str {
        match self {
            Fault::KillLeader => "leader kill -9",
            Fault::KillFollower(_) => "follower kill -9",
            Fault::PauseLeader(_) => "leader SIGSTOP",
            Fault::KillDriver => "driver kill -9",
            Fault::StopLeader => "leader SIGTERM",
            Fault::KillAgent(..) => "agent kill -9",
            Fault::CutLeader(Way::Both, _) => "leader cut off",
            Fault::CutLeader(Way::Out, _) => "leader mute",
            Fault::CutLeader(Way::In, _) => "leader deaf",
        }
    }

    /// How long it lasts, if it does not end by itself at once.
    pub(super) fn span(self) -> Option<Duration> {
        match self {
            Fault::PauseLeader(span) | Fault::KillAgent(_, span) | Fault::CutLeader(_, span) => Some(span),
            Fault::KillLeader | Fault::KillFollower(_) | Fault::KillDriver | Fault::StopLeader => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::PauseLeader(span) | Fault::CutLeader(_, span) => {
                write!(f, "{} for {} ms", self.kind(), span.as_millis())
            }
            Fault::KillAgent(index, span) => {
                write!(f, "{} ({}, back after {} ms)", self.kind(), index + 1, span.as_millis())
            }
            _plain => f.write_str(self.kind()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn drawn(seed: u64) -> Vec<Fault> {
        let mut random = StdRng::seed_from_u64(seed);
        (0..200).map(|_| Fault::draw(&mut random, 3, 2)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_and_all_kinds_occur() {
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let kinds: BTreeSet<&str> = drawn(7).into_iter().map(Fault::kind).collect();
        assert_eq!(kinds.len(), 9, "{kinds:?}");
    }
}
