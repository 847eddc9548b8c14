//! When the next snapshot is due, after so many entries or bytes since the last one, and how much of the log is behind it.
//!
//! Owns the counters and a bell. A snapshot of a large state is due less often: what is written for it never exceeds what was
//! written since the last one by much. Takes no snapshot and purges nothing itself.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// States smaller than this do not make snapshots rarer, in bytes.
const SMALL: u64 = 16 << 20;
/// Where the log is marked, in bytes of commands.
const STEP: u64 = 1 << 20;
/// So many marks at most; further apart when there would be more.
const MARKS: usize = 4096;

/// See the module head.
#[derive(Debug)]
pub(crate) struct Meter {
    every_entries: u64,
    every_bytes: u64,
    entries: AtomicU64,
    bytes: AtomicU64,
    /// How large the last snapshot was.
    size: AtomicU64,
    marks: Mutex<Marks>,
    due: Notify,
}

/// How many bytes of commands lay in front of some entries of the log.
#[derive(Debug, Default)]
struct Marks {
    total: u64,
    list: VecDeque<(u64, u64)>,
}

impl Meter {
    pub(crate) fn new(every_entries: u64, every_bytes: u64) -> Meter {
        Meter {
            every_entries,
            every_bytes,
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            size: AtomicU64::new(0),
            marks: Mutex::default(),
            due: Notify::new(),
        }
    }

    /// Counts applied entries, the last of which has this index, and their bytes; rings when a limit is reached.
    pub(crate) fn applied(&self, last_index: u64, entries: usize, bytes: usize) {
        self.marks().count(last_index, bytes as u64);
        let entries = self.entries.fetch_add(entries as u64, Ordering::Relaxed) + entries as u64;
        let bytes = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let size = Some(self.size.load(Ordering::Relaxed)).filter(|size| *size >= SMALL).unwrap_or(0);
        if bytes >= self.every_bytes.max(size) || (entries >= self.every_entries && bytes >= size / 4) {
            self.due.notify_one();
        }
    }

    /// A snapshot of all that was counted is being taken.
    pub(crate) fn reset(&self) {
        self.entries.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// A snapshot of so many bytes was written or installed.
    pub(crate) fn took(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }

    /// Resolves when a snapshot is due.
    pub(crate) async fn due(&self) {
        self.due.notified().await;
    }

    /// The last entry behind which the log still holds at least `keep` bytes, as far as this process applied it.
    pub(crate) fn excess(&self, keep: u64) -> Option<u64> {
        let marks = self.marks();
        let end = marks.total.checked_sub(keep)?;
        let behind = marks.list.partition_point(|(_, before)| *before <= end);
        marks.list.get(behind.checked_sub(1)?).map(|(index, _)| *index)
    }

    /// The log begins behind this entry now.
    pub(crate) fn purged(&self, upto: u64) {
        let mut marks = self.marks();
        while marks.list.front().is_some_and(|(index, _)| *index <= upto) {
            marks.list.pop_front();
        }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Marks {
    fn count(&mut self, last_index: u64, bytes: u64) {
        self.total += bytes;
        if self.list.back().is_none_or(|(_, before)| before + STEP <= self.total) {
            self.list.push_back((last_index, self.total));
        }
        if self.list.len() > MARKS {
            let mut odd = false;
            self.list.retain(|_| {
                odd = !odd;
                odd
            });
        }
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
            meter.applied(0, entries, bytes);
            assert_eq!(meter.due().now_or_never().is_some(), rings, "{entries} entries, {bytes} bytes");
        }
    }

    #[test]
    fn counting_starts_again_after_a_snapshot() {
        let meter = Meter::new(10, 100);
        meter.applied(8, 9, 0);
        meter.reset();
        meter.applied(17, 9, 0);
        assert!(meter.due().now_or_never().is_none());
    }

    #[test]
    fn a_large_state_is_written_less_often() {
        let rings = |entries, bytes| {
            let meter = Meter::new(10, 100);
            meter.took(40 << 20);
            meter.applied(0, entries, bytes);
            meter.due().now_or_never().is_some()
        };
        assert!(!rings(1, 39 << 20) && rings(1, 40 << 20));
        assert!(!rings(10, 9 << 20) && rings(10, 10 << 20));
    }

    #[test]
    fn the_excess_leaves_what_is_to_be_kept() {
        let meter = Meter::new(u64::MAX, u64::MAX);
        assert_eq!(meter.excess(0), None, "nothing was applied");
        for index in 0..100 {
            meter.applied(index, 1, 1 << 20);
        }
        assert_eq!(meter.excess(200 << 20), None);
        // Behind entry 59 there are forty of a mebibyte each.
        assert_eq!(meter.excess(40 << 20), Some(59));
        meter.purged(59);
        assert_eq!(meter.excess(40 << 20), None);
        assert_eq!(meter.excess(39 << 20), Some(60));
    }

    #[test]
    fn marks_are_bounded() {
        let meter = Meter::new(u64::MAX, u64::MAX);
        for index in 0..20_000 {
            meter.applied(index, 1, 1 << 20);
        }
        assert!(meter.marks().list.len() <= MARKS);
        let excess = meter.excess(1000 << 20).unwrap();
        assert!((18_000..19_000).contains(&excess), "{excess}");
    }
}
