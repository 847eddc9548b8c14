//! Looks after this replica once a second: gives the leadership away when its disk is slow or nearly full, keeps the log within its
//! bounds, and notes what operators are shown.
//!
//! Owns the rhythm and the memory of what was tried when, so that a leadership never swings to and fro. Measures and judges nothing
//! itself: `pace.rs`, `space.rs` and `meter.rs` do.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::Config;
use crate::handover;
use crate::leadership::Gate;
use crate::log::LogStore;
use crate::log::faults::Faults;
use crate::meter::Meter;
use crate::space::{DiskLevel, Space};
use crate::status::Leadership;
use crate::types::Raft;

const EVERY: Duration = Duration::from_secs(1);
/// After a hand-over, or an attempt at one, this replica keeps what it has for so long.
const PAUSE: Duration = Duration::from_secs(60);
/// How long a successor may take; nothing is written meanwhile.
const HAND_OVER_WITHIN: Duration = Duration::from_millis(500);
/// A replica that should not lead stands for election all the same when nobody has led for so many contact timeouts: perhaps all are
/// in the same position.
const LEADERLESS: u32 = 5;

/// See the module head.
pub(crate) struct Caretaker {
    config: Config,
    raft: Raft,
    gate: Arc<Gate>,
    log: LogStore,
    meter: Arc<Meter>,
    space: Option<Space>,
    tried: Option<Instant>,
    /// Whether this replica may stand for election.
    standing: bool,
    /// The commit index that has not moved, and since when, while something waits for it.
    stalled: Option<(Option<u64>, Instant)>,
}

impl Caretaker {
    pub(crate) fn new(
        config: &Config,
        raft: Raft,
        gate: Arc<Gate>,
        log: LogStore,
        meter: Arc<Meter>,
    ) -> Self {
        let faults = Faults::told_by(config.faults.as_deref());
        let space = Space::new(&config.dir, config.disk, faults);
        Caretaker {
            config: config.clone(),
            raft,
            gate,
            log,
            meter,
            space: space.watched().then_some(space),
            tried: None,
            standing: true,
            stalled: None,
        }
    }

    /// Runs until dropped.
    pub(crate) async fn run(mut self) {
        let mut clock = tokio::time::interval(EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            self.look_at_space().await;
            self.look_at_pace();
            self.look_at_commits();
            self.bound_log().await;
            self.stand();
            if self.gate.health().unfit() {
                self.give_away().await;
            }
        }
    }

    async fn look_at_space(&mut self) {
        let Some(mut space) = self.space.take() else { return };
        let looked = crate::blocking::run(move || {
            let found = space.look();
            (space, found)
        });
        // It panicked: from now on nobody looks, and the disk says itself when it is full.
        let Ok((space, found)) = looked.await else { return };
        self.space = Some(space);
        let (free, level) = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot tell how much room the disk has");
                return;
            }
        };
        let before = self.gate.health().level();
        if level > before {
            tracing::warn!(free, ?level, "the disk of this replica fills up");
        } else if level < before {
            tracing::info!(free, ?level, "the disk of this replica has room again");
        }
        self.gate.health().note_space(free, level);
    }

    fn look_at_pace(&self) {
        let (limit, seconds) = (self.config.disk.slow_sync, self.config.disk.slow_for.as_secs());
        let slow = !limit.is_zero() && self.log.pace().is_some_and(|pace| pace.slow(limit, seconds));
        let health = self.gate.health();
        if slow != health.slow() {
            health.note_slow(slow);
            match slow {
                true => tracing::warn!(?limit, seconds, "the disk of this replica is slow"),
                false => tracing::info!("the disk of this replica is quick again"),
            }
        }
    }

    fn look_at_commits(&mut self) {
        let metrics = self.raft.metrics();
        let (last, committed) = {
            let metrics = metrics.borrow_watched();
            (metrics.last_log_index, metrics.local_committed.map(|id| id.index))
        };
        let now = Instant::now();
        self.stalled = match self.stalled {
            _ if last <= committed => None,
            Some((stuck, since)) if stuck == committed => Some((stuck, since)),
            _ => Some((committed, now)),
        };
        let stall = self.stalled.map_or(Duration::ZERO, |(_, since)| now - since);
        self.gate.health().note_stall(stall);
    }

    /// Purges what is behind the snapshot and more than the log should keep, in bytes. Entries are bounded by raft itself.
    async fn bound_log(&self) {
        let snapshot = self.raft.metrics().borrow_watched().snapshot.map(|id| id.index);
        if let Some(upto) = self.meter.excess(self.config.keep_bytes).filter(|upto| Some(*upto) <= snapshot) {
            // It ended: nothing grows any more.
            drop(self.raft.trigger().purge_log(upto).await);
            self.meter.purged(upto);
        }
    }

    /// Who should not lead does not stand for election, unless nobody else seems to.
    fn stand(&mut self) {
        let leaderless = self.gate.unheard() > self.config.contact_timeout() * LEADERLESS;
        let standing = !self.gate.health().unfit() || leaderless || self.leads();
        if standing != self.standing {
            self.standing = standing;
            self.raft.runtime_config().elect(standing);
        }
    }

    async fn give_away(&mut self) {
        let pause = pause_after(self.gate.health().level());
        let paused = self.tried.is_some_and(|at| at.elapsed() < pause);
        if paused || !self.leads() {
            return;
        }
        let fresh = Duration::from_millis(2 * self.config.timing.election_max_ms);
        if !handover::has_fit_successor(&self.raft, &self.gate, self.config.node_id, fresh) {
            return;
        }
        self.tried = Some(Instant::now());
        let given =
            handover::hand_over(&self.raft, &self.gate, self.config.node_id, None, fresh, HAND_OVER_WITHIN)
                .await;
        let full = self.gate.health().level() >= DiskLevel::Low;
        match given {
            Ok(to) => tracing::warn!(to, full, "gave the leadership away because of the disk"),
            Err(error) => {
                tracing::warn!(%error, full, "nobody took the leadership in time: the others elect")
            }
        }
    }

    fn leads(&self) -> bool {
        matches!(&*self.gate.watch().borrow(), Leadership::Leading(_))
    }
}

/// How long this replica keeps the leadership after it gave one away: one that can take no command serves nobody by keeping it.
fn pause_after(level: DiskLevel) -> Duration {
    if level >= DiskLevel::Full { Duration::ZERO } else { PAUSE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leader_that_still_takes_commands_keeps_the_leadership_for_a_while() {
        for level in [DiskLevel::Enough, DiskLevel::Low] {
            assert_eq!(pause_after(level), PAUSE, "{level:?}");
        }
        for level in [DiskLevel::Full, DiskLevel::Exhausted] {
            assert_eq!(pause_after(level), Duration::ZERO, "{level:?}");
        }
    }
}
