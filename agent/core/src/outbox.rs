//! The updates of one task that the master has not acknowledged, oldest first. Only the oldest is under way, and only once
//! its record is durable. Owns the order and the pauses between attempts; sends nothing.

use std::collections::VecDeque;

use prost::Message as _;
use tepui_proto::v1;

/// Updates of one task that may wait. A scheduler that acknowledges nothing, and an executor that reports without end, must not fill
/// the agent.
const WAITING_MAX: usize = 1_000;
const WAITING_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Queued>,
    /// Pause after the attempt that is under way; `None` if none is.
    pause_ms: Option<u64>,
    latest: Option<v1::TaskStatus>,
    /// The newest that left the queue.
    settled: Option<v1::TaskStatus>,
}

#[derive(Debug)]
struct Queued {
    status: v1::TaskStatus,
    /// Number of the checkpoint record that makes it durable; 0 needs none.
    record: u64,
    bytes: usize,
}

impl Queued {
    fn new(status: v1::TaskStatus, record: u64) -> Self {
        Self { bytes: status.encoded_len(), status, record }
    }
}

impl Outbox {
    /// Returns the outbox that a checkpoint describes; all of it is durable.
    pub(crate) fn recovered(
        unacknowledged: VecDeque<v1::TaskStatus>,
        latest: Option<v1::TaskStatus>,
    ) -> Self {
        let queue = unacknowledged.into_iter().map(|status| Queued::new(status, 0)).collect();
        Self { queue, pause_ms: None, settled: latest.clone(), latest }
    }

    pub(crate) fn push(&mut self, status: v1::TaskStatus, record: u64) {
        self.latest = Some(status.clone());
        self.queue.push_back(Queued::new(status, record));
    }

    /// Returns the oldest update if it may be sent now, given the newest durable record, and counts the attempt.
    pub(crate) fn start(&mut self, durable: u64, first_pause_ms: u64) -> Option<(&v1::TaskStatus, u64)> {
        let head = if mutant!("newest-update-first") { self.queue.back() } else { self.queue.front() };
        let head = head.filter(|head| head.record <= durable || mutant!("told-before-it-is-durable"))?;
        if self.pause_ms.is_some() {
            return None;
        }
        self.pause_ms = Some(first_pause_ms);
        Some((&head.status, first_pause_ms))
    }

    /// Returns the update that is under way, to be sent again, and the pause after that.
    pub(crate) fn repeat(&mut self, longest_pause_ms: u64) -> Option<(&v1::TaskStatus, u64)> {
        if mutant!("update-not-repeated") {
            return None;
        }
        let pause_ms = self.pause_ms?.saturating_mul(2).min(longest_pause_ms);
        self.pause_ms = Some(pause_ms);
        self.queue.front().map(|head| (&head.status, pause_ms))
    }

    /// Holds the oldest back until this record is durable.
    pub(crate) fn hold(&mut self, record: u64) {
        if let Some(head) = self.queue.front_mut() {
            head.record = head.record.max(record);
        }
    }

    /// Nothing is under way any more: the link it went over is gone.
    pub(crate) fn interrupt(&mut self) {
        self.pause_ms = None;
    }

    /// Takes the acknowledged update out. Returns it, or `None` if `uuid` is not that of the oldest.
    pub(crate) fn acknowledge(&mut self, uuid: &[u8]) -> Option<v1::TaskStatus> {
        if self.queue.front().is_none_or(|head| head.status.uuid() != uuid) {
            return None;
        }
        self.pause_ms = None;
        self.settled = self.queue.pop_front().map(|head| head.status);
        self.settled.clone()
    }

    /// Replaces the newest update without sending it.
    pub(crate) fn replace_latest(&mut self, status: v1::TaskStatus) {
        self.settled = Some(status.clone());
        self.latest = Some(status);
    }

    /// Drops everything that waits.
    pub(crate) fn clear(&mut self) {
        self.settled = self.latest.clone();
        self.queue.clear();
        self.pause_ms = None;
    }

    /// Drops everything that waits but the newest.
    pub(crate) fn keep_newest(&mut self) {
        let newest = self.queue.pop_back();
        self.clear();
        self.queue.extend(newest);
    }

    /// Returns whether an update of this uuid waits here, or is the newest of all.
    pub(crate) fn has(&self, uuid: &[u8]) -> bool {
        let newest = self.latest.as_ref().is_some_and(|status| status.uuid() == uuid);
        newest || self.queue.iter().any(|queued| queued.status.uuid() == uuid)
    }

    /// Returns whether a crash would not take the update of this uuid back; one that has left the queue was durable.
    pub(crate) fn is_durable(&self, uuid: &[u8], durable: u64) -> bool {
        self.queue.iter().all(|queued| queued.status.uuid() != uuid || queued.record <= durable)
    }

    /// Returns whether nothing but the end may be added.
    pub(crate) fn is_full(&self) -> bool {
        let bytes: usize = self.queue.iter().map(|queued| queued.bytes).sum();
        self.queue.len() >= WAITING_MAX || bytes >= WAITING_BYTES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the oldest update if it is durable.
    pub(crate) fn head(&self, durable: u64) -> Option<&v1::TaskStatus> {
        self.queue.front().filter(|head| head.record <= durable).map(|head| &head.status)
    }

    /// Returns the newest update that a crash would not take back: what others may be told.
    pub(crate) fn latest_durable(&self, durable: u64) -> Option<&v1::TaskStatus> {
        let queued = self.queue.iter().rev().find(|queued| queued.record <= durable);
        queued.map(|queued| &queued.status).or(self.settled.as_ref())
    }

    /// Returns its state; STAGING before the first update.
    pub(crate) fn durable_state(&self, durable: u64) -> v1::TaskState {
        self.latest_durable(durable).map_or(v1::TaskState::TaskStaging, v1::TaskStatus::state)
    }

    /// Returns the newest update, acknowledged or not.
    pub(crate) fn latest(&self) -> Option<&v1::TaskStatus> {
        self.latest.as_ref()
    }

    /// Returns the newest state; STAGING before the first update.
    pub(crate) fn latest_state(&self) -> v1::TaskState {
        self.latest.as_ref().map_or(v1::TaskState::TaskStaging, v1::TaskStatus::state)
    }

    pub(crate) fn statuses(&self) -> impl Iterator<Item = &v1::TaskStatus> {
        self.queue.iter().map(|queued| &queued.status)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn status(uuid: u8) -> v1::TaskStatus {
        v1::TaskStatus { uuid: Some(Bytes::copy_from_slice(&[uuid])), ..Default::default() }
    }

    #[test]
    fn one_at_a_time_in_order_and_never_before_it_is_durable() {
        let mut outbox = Outbox::default();
        outbox.push(status(1), 5);
        outbox.push(status(2), 6);
        assert!(outbox.start(4, 10).is_none());
        assert_eq!(outbox.start(5, 10).unwrap().0.uuid(), &[1][..]);
        assert!(outbox.start(6, 10).is_none(), "the first is under way");
        assert!(outbox.acknowledge(&[2]).is_none(), "the second was never sent");
        assert!(outbox.acknowledge(&[1]).is_some());
        assert!(outbox.acknowledge(&[1]).is_none());
        assert_eq!(outbox.start(6, 10).unwrap().0.uuid(), &[2][..]);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_an_interruption() {
        let mut outbox = Outbox::default();
        assert!(outbox.repeat(100).is_none());
        outbox.push(status(1), 0);
        outbox.start(0, 10);
        let pauses: Vec<u64> = (0..5).map(|_| outbox.repeat(100).unwrap().1).collect();
        assert_eq!(pauses, [20, 40, 80, 100, 100]);
        outbox.interrupt();
        assert_eq!(outbox.start(0, 10).unwrap().1, 10);
    }

    #[test]
    fn what_waits_has_a_bound_in_number_and_in_bytes() {
        let mut outbox = Outbox::default();
        for _ in 0..WAITING_MAX {
            assert!(!outbox.is_full());
            outbox.push(status(1), 0);
        }
        assert!(outbox.is_full());
        outbox.acknowledge(&[1]);
        assert!(!outbox.is_full());
        let mut large = status(1);
        large.data = Some(vec![0; WAITING_BYTES_MAX].into());
        outbox.push(large, 0);
        assert!(outbox.is_full());
    }
}
