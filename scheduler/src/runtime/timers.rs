//! Clocks and the alarm of the event loop. The only place of the master that reads a clock for the core.
//!
//! Owns the translation between cluster time, which only committed operations advance, and this process' monotonic time.

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
    pub(crate) fn start(cluster_ms: u64) -> Clock {
        let started_at = Instant::now();
        Clock { cluster_ms_at_start: cluster_ms, started_at, wake_at: started_at + LONGEST_SLEEP }
    }

    /// The present moment in both times.
    pub(crate) fn now(&self) -> Now {
        let elapsed_ms = u64::try_from(self.started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { cluster_ms: self.cluster_ms_at_start.saturating_add(elapsed_ms), wall_ms: wall_ms() }
    }

    /// Sets the alarm to a cluster time, in place of what was set before.
    pub(crate) fn wake_at(&mut self, cluster_ms: u64) {
        let after_start = Duration::from_millis(cluster_ms.saturating_sub(self.cluster_ms_at_start));
        let latest = Instant::now() + LONGEST_SLEEP;
        self.wake_at = self.started_at.checked_add(after_start).map_or(latest, |wanted| wanted.min(latest));
    }

    /// Whether the alarm rang; sets it anew if so.
    pub(crate) fn rang(&mut self) -> bool {
        let now = Instant::now();
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
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn cluster_time_continues_from_the_registry() {
        let clock = Clock::start(5000);
        assert_eq!(clock.now().cluster_ms, 5000);
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!(clock.now().cluster_ms, 5300);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_wish_counts_and_the_longest_sleep_bounds_it() {
        let mut clock = Clock::start(5000);
        clock.wake_at(5100);
        clock.wake_at(5300);
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(!clock.rang());
        tokio::time::sleep_until(clock.alarm()).await;
        assert!(clock.now().cluster_ms >= 5300, "{:?}", clock.now());
        assert!(clock.rang());
        assert!(!clock.rang());
        clock.wake_at(u64::MAX);
        tokio::time::advance(LONGEST_SLEEP).await;
        assert!(clock.rang());
    }
}
