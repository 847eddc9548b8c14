//! When the next snapshot is due: after so many entries or bytes since the last one.
//!
//! Owns two counters and a bell. Takes no snapshot itself.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// See the module head.
#[derive(Debug)]
pub(crate) struct Meter {
    every_entries: u64,
    every_bytes: u64,
    entries: AtomicU64,
    bytes: AtomicU64,
    due: Notify,
}

impl Meter {
    pub(crate) fn new(every_entries: u64, every_bytes: u64) -> Meter {
        Meter {
            every_entries,
            every_bytes,
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            due: Notify::new(),
        }
    }

    /// Counts applied entries and their bytes; rings when a limit is reached.
    pub(crate) fn applied(&self, entries: usize, bytes: usize) {
        let entries = self.entries.fetch_add(entries as u64, Ordering::Relaxed) + entries as u64;
        let bytes = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if entries >= self.every_entries || bytes >= self.every_bytes {
            self.due.notify_one();
        }
    }

    /// A snapshot of all that was counted is being taken.
    pub(crate) fn reset(&self) {
        self.entries.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Resolves when a snapshot is due.
    pub(crate) async fn due(&self) {
        self.due.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn either_limit_rings() {
        for (entries, bytes, rings) in [(9, 99, false), (10, 0, true), (1, 100, true)] {
            let meter = Meter::new(10, 100);
            meter.applied(entries, bytes);
            assert_eq!(meter.due().now_or_never().is_some(), rings, "{entries} entries, {bytes} bytes");
        }
    }

    #[test]
    fn counting_starts_again_after_a_snapshot() {
        let meter = Meter::new(10, 100);
        meter.applied(9, 0);
        meter.reset();
        meter.applied(9, 0);
        assert!(meter.due().now_or_never().is_none());
    }
}
