//! What the log is right now, durable or not: its ends, the vote, and the newest entries.
//!
//! Owns the numbers that raft is told about and a bounded cache of the newest entries, in which everything not yet durable
//! stays, so that an entry is readable as soon as it was appended. Does no I/O.

use std::collections::VecDeque;
use std::ops::Range;

use super::disk::{Identity, Recovered};
use crate::codec::{LogIdRecord, VoteRecord, entry_weight};
use crate::types::RaftEntry;

struct Cached {
    entry: RaftEntry,
    weight: usize,
    /// The write that carries it; it may leave the cache once that is durable.
    serial: u64,
}

/// See the module head.
pub(super) struct Memory {
    pub(super) identity: Option<Identity>,
    pub(super) vote: Option<VoteRecord>,
    pub(super) committed: Option<LogIdRecord>,
    pub(super) purged: Option<LogIdRecord>,
    pub(super) last: Option<LogIdRecord>,
    /// The index of the oldest entry that exists, or the one the next entry will get.
    start: u64,
    committed_unwritten: bool,
    cache: VecDeque<Cached>,
    weight: usize,
    limit: usize,
    /// The newest write asked for, and the newest one that is durable.
    asked: u64,
    durable: u64,
    /// Rises whenever entries are taken back, so that a reader notices.
    pub(super) truncations: u64,
}

impl Memory {
    pub(super) fn new(found: Recovered, limit: usize) -> Memory {
        let cache: VecDeque<Cached> = found
            .recent
            .into_iter()
            .map(|entry| Cached { weight: entry_weight(&entry), entry, serial: 0 })
            .collect();
        Memory {
            identity: found.identity,
            vote: found.vote,
            committed: found.committed,
            purged: found.purged,
            last: found.tail.last,
            start: found.purged.map_or(0, |id| id.index + 1),
            committed_unwritten: false,
            weight: cache.iter().map(|c| c.weight).sum(),
            cache,
            limit,
            asked: 0,
            durable: 0,
            truncations: 0,
        }
    }

    /// The number of the next write.
    pub(super) fn next_serial(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }

    /// Everything up to this write is durable.
    pub(super) fn written(&mut self, serial: u64) {
        self.durable = serial;
        self.shrink();
    }

    pub(super) fn append(&mut self, entries: &[RaftEntry], serial: u64) {
        if let Some(first) = entries.first()
            && self.last.is_none()
        {
            self.start = first.log_id.index;
        }
        for entry in entries {
            let weight = entry_weight(entry);
            self.weight += weight;
            self.last = Some(entry.log_id.into());
            self.cache.push_back(Cached { entry: entry.clone(), weight, serial });
        }
        self.shrink();
    }

    /// Takes back everything behind `last`, which may lie behind the end already.
    pub(super) fn truncate_after(&mut self, last: Option<LogIdRecord>) {
        let end = last.map_or(0, |id| id.index + 1);
        while self.cache.back().is_some_and(|c| c.entry.log_id.index >= end) {
            self.weight -= self.cache.pop_back().map_or(0, |c| c.weight);
        }
        if end < self.end() {
            self.last = last.max(self.purged);
        }
        self.truncations += 1;
    }

    pub(super) fn purge(&mut self, through: LogIdRecord) {
        while self.cache.front().is_some_and(|c| c.entry.log_id.index <= through.index) {
            self.weight -= self.cache.pop_front().map_or(0, |c| c.weight);
        }
        self.purged = Some(through);
        self.start = through.index + 1;
        if self.last.is_none_or(|last| last.index <= through.index) {
            self.last = Some(through);
        }
    }

    pub(super) fn set_committed(&mut self, id: Option<LogIdRecord>) {
        self.committed = id;
        self.committed_unwritten = id.is_some();
    }

    pub(super) fn take_unwritten_committed(&mut self) -> Option<LogIdRecord> {
        std::mem::take(&mut self.committed_unwritten).then_some(self.committed).flatten()
    }

    /// The index of the oldest entry in the cache, or the one the next entry will get.
    pub(super) fn first_cached(&self) -> u64 {
        self.cache.front().map_or_else(|| self.end(), |c| c.entry.log_id.index)
    }

    /// The index that the next entry will get.
    pub(super) fn end(&self) -> u64 {
        self.last.map_or(0, |id| id.index + 1)
    }

    /// The index of the oldest entry that exists, or the one the next entry will get.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Cached entries of this range: at least the first, then at most `max_bytes`.
    pub(super) fn read(&self, range: Range<u64>, max_bytes: usize) -> Vec<RaftEntry> {
        let first = self.first_cached();
        let skip = usize::try_from(range.start.saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = |cached: &&Cached| {
            let started = bytes > 0;
            bytes += cached.weight;
            cached.entry.log_id.index < range.end && (!started || bytes <= max_bytes)
        };
        self.cache.iter().skip(skip).take_while(fits).map(|c| c.entry.clone()).collect()
    }

    /// Drops the oldest durable entries while the cache is over its limit.
    fn shrink(&mut self) {
        while self.weight > self.limit
            && let Some(oldest) = self.cache.front()
            && oldest.serial <= self.durable
        {
            self.weight -= oldest.weight;
            self.cache.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::types::{Command, log_id};

    fn entries(range: Range<u64>) -> Vec<RaftEntry> {
        let payload = || EntryPayload::Normal(Command { term: 1, bytes: vec![0; 904].into() });
        range.map(|i| RaftEntry { log_id: log_id(1, 1, i), payload: payload() }).collect()
    }

    fn indexes(memory: &Memory, range: Range<u64>, max: usize) -> Vec<u64> {
        memory.read(range, max).iter().map(|e| e.log_id.index).collect()
    }

    #[test]
    fn only_durable_entries_leave_the_cache() {
        let mut m = Memory::new(Recovered::default(), 3000);
        let first = m.next_serial();
        m.append(&entries(0..5), first);
        let second = m.next_serial();
        m.append(&entries(5..10), second);
        assert_eq!((m.first_cached(), m.end()), (0, 10));
        m.written(first);
        assert_eq!(m.first_cached(), 5, "the first write is durable, the second is not");
        m.written(second);
        assert_eq!(m.first_cached(), 7);
    }

    #[test]
    fn reads_are_limited_but_never_empty() {
        let mut m = Memory::new(Recovered::default(), usize::MAX);
        m.append(&entries(0..10), 1);
        assert_eq!(indexes(&m, 2..9, 1), [2]);
        assert_eq!(indexes(&m, 2..9, 3000), [2, 3, 4]);
        assert_eq!(indexes(&m, 7..9, usize::MAX), [7, 8]);
        assert_eq!(indexes(&m, 9..99, usize::MAX), [9]);
    }

    #[test]
    fn purging_beyond_the_end_moves_the_end() {
        let mut m = Memory::new(Recovered::default(), usize::MAX);
        m.append(&entries(0..3), 1);
        m.purge(LogIdRecord { term: 2, node: 2, index: 9 });
        assert_eq!((m.start(), m.end(), m.first_cached()), (10, 10, 10));
    }

    #[test]
    fn truncation_forgets_the_end() {
        let mut m = Memory::new(Recovered::default(), usize::MAX);
        m.append(&entries(0..5), 1);
        m.truncate_after(Some(LogIdRecord { term: 1, node: 1, index: 1 }));
        assert_eq!((indexes(&m, 0..9, usize::MAX), m.end()), (vec![0, 1], 2));
        m.truncate_after(None);
        assert_eq!((m.end(), m.first_cached()), (0, 0));
    }

    #[test]
    fn the_commit_index_is_handed_out_once() {
        let mut m = Memory::new(Recovered::default(), 0);
        let id = LogIdRecord { term: 1, node: 1, index: 4 };
        m.set_committed(Some(id));
        assert_eq!(m.take_unwritten_committed(), Some(id));
        assert_eq!(m.take_unwritten_committed(), None);
        assert_eq!(m.committed, Some(id));
    }
}
