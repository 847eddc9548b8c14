//! Reads the clocks. Nothing else in the agent does so on behalf of the core.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tepui_agent_core::Now;

/// Monotonic milliseconds count from its making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono_ms: milliseconds(self.start.elapsed()), wall_ms: milliseconds(wall) }
    }

    /// Returns the instant at which `mono_ms` is reached; `None` if it never is.
    pub(crate) fn instant(&self, mono_ms: u64) -> Option<Instant> {
        self.start.checked_add(Duration::from_millis(mono_ms))
    }
}

/// Returns whole milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
