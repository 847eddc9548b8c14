//! Clocks and the alarm of the event loop.
//!
//! Owns the translation between cluster time, which only committed operations advance, and this process' monotonic time. The
//! instants themselves are given, so that everything here can be tested without waiting.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tepui_scheduler_core::Now;
use tokio::time::Instant;

/// While it leads, the core hears from the clock at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The clock of one leadership.
#[derive(Debug)]
pub(crate) struct Clock {
    cluster_ms_at_start: u64,
    started_at: Instant,
    wake_at: Instant,
}

impl Clock {
    /// Starts at the cluster time that the Registry stood at when this master was elected.
    pub(crate) fn start(cluster_ms: u64, started_at: Instant) -> Clock {
        Clock { cluster_ms_at_start: cluster_ms, started_at, wake_at: started_at + LONGEST_SLEEP }
    }

    /// An instant in cluster time, with the wall time of this moment.
    pub(crate) fn now(&self, instant: Instant) -> Now {
        let elapsed = instant.saturating_duration_since(self.started_at);
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Now { cluster_ms: self.cluster_ms_at_start.saturating_add(elapsed_ms), wall_ms: wall_ms() }
    }

    /// Sets the alarm to a cluster time, in place of what was set before.
    pub(crate) fn wake_at(&mut self, cluster_ms: u64, now: Instant) {
        let after_start = Duration::from_millis(cluster_ms.saturating_sub(self.cluster_ms_at_start));
        let latest = now + LONGEST_SLEEP;
        self.wake_at = self.started_at.checked_add(after_start).map_or(latest, |wanted| wanted.min(latest));
    }

    /// Whether the alarm rang; sets it anew if so.
    pub(crate) fn rang(&mut self, now: Instant) -> bool {
        let rang = now >= self.wake_at;
        if rang {
            self.wake_at = now + LONGEST_SLEEP;
        }
        rang
    }

    /// When the alarm rings.
    pub(crate) fn alarm(&self) -> Instant {
        self.wake_at
    }
}

/// Milliseconds since 1970, for display only.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn cluster_time_continues_from_the_registry() {
        let start = Instant::now();
        let clock = Clock::start(5000, start);
        assert_eq!(clock.now(start).cluster_ms, 5000);
        assert_eq!(clock.now(start + 300 * MS).cluster_ms, 5300);
    }

    #[test]
    fn the_last_wish_counts_and_the_longest_sleep_bounds_it() {
        let start = Instant::now();
        let mut clock = Clock::start(5000, start);
        clock.wake_at(5100, start);
        clock.wake_at(5300, start);
        assert!(!clock.rang(start + 200 * MS));
        assert_eq!(clock.alarm(), start + 300 * MS);
        assert!(clock.rang(start + 300 * MS));
        assert!(!clock.rang(start + 300 * MS));
        clock.wake_at(u64::MAX, start + 300 * MS);
        assert!(!clock.rang(start + 1299 * MS));
        assert!(clock.rang(start + 1300 * MS));
    }
}
