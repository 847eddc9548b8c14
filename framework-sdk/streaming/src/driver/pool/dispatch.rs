//! Which slot runs where: pure, with the time as an argument.
//!
//! A slot without a running attempt goes to whoever has most room. A slot that is slow beyond the limit, or far slower than the
//! others once nothing else is left to do, gets a second attempt elsewhere; the first answer wins. A lost executor's slots are
//! spread over the rest.

use std::collections::BTreeMap;

use super::ConnectionId;
use crate::batch::{SlotDone, SlotFailure, SlotTask};

/// Attempts of one slot that may fail before the batch does.
const MAX_FAILURES: u32 = 5;
/// Attempts of one slot that may run at once.
const MAX_RUNNING: usize = 2;
/// A slot is far slower than the others beyond this multiple of their median, and at least this time.
const STRAGGLER_FACTOR: u64 = 4;
const STRAGGLER_MIN_MS: u64 = 1000;

#[derive(Debug)]
struct Attempt {
    name: String,
    connection: ConnectionId,
    started_ms: u64,
}

#[derive(Debug)]
struct Slot {
    task: SlotTask,
    running: Vec<Attempt>,
    failures: u32,
    /// Where an attempt failed last: the next one is made elsewhere if possible.
    avoid: Option<ConnectionId>,
    done: Option<SlotDone>,
}

/// The slots of one batch on their way.
#[derive(Debug)]
pub(super) struct Dispatch {
    slots: Vec<Slot>,
    slot_timeout_ms: u64,
    took_ms: Vec<u64>,
}

impl Dispatch {
    pub(super) fn new(tasks: Vec<SlotTask>, slot_timeout_ms: u64) -> Self {
        let slot = |task| Slot { task, running: Vec::new(), failures: 0, avoid: None, done: None };
        Self { slots: tasks.into_iter().map(slot).collect(), slot_timeout_ms, took_ms: Vec::new() }
    }

    /// Returns the attempts to start now. `room` says how many more each executor takes, and is used up by what is returned;
    /// `name` gives a new attempt its name.
    pub(super) fn assign(
        &mut self,
        now_ms: u64,
        room: &mut BTreeMap<ConnectionId, u32>,
        mut name: impl FnMut() -> String,
    ) -> Vec<(ConnectionId, SlotTask)> {
        let mut starts = Vec::new();
        let all_placed = self.slots.iter().all(|slot| slot.done.is_some() || !slot.running.is_empty());
        let straggler_ms = all_placed.then(|| self.straggler_ms()).flatten();
        for slot in self.slots.iter_mut().filter(|slot| slot.done.is_none()) {
            let oldest = slot.running.iter().map(|attempt| attempt.started_ms).min();
            let wanted = match oldest {
                None => true,
                Some(started_ms) => {
                    let age_ms = now_ms.saturating_sub(started_ms);
                    let is_slow =
                        age_ms >= self.slot_timeout_ms || straggler_ms.is_some_and(|limit| age_ms >= limit);
                    is_slow && slot.running.len() < MAX_RUNNING
                }
            };
            if !wanted {
                continue;
            }
            let elsewhere = |id: &ConnectionId| slot.running.iter().all(|attempt| attempt.connection != *id);
            let Some(connection) = roomiest(room, |id| elsewhere(id) && slot.avoid != Some(*id))
                .or_else(|| roomiest(room, elsewhere))
            else {
                continue;
            };
            if let Some(left) = room.get_mut(&connection) {
                *left -= 1;
            }
            let attempt = Attempt { name: name(), connection, started_ms: now_ms };
            starts.push((connection, SlotTask { attempt: attempt.name.clone(), ..slot.task.clone() }));
            slot.running.push(attempt);
        }
        starts
    }

    /// Takes an answer; one to an attempt that nobody waits for changes nothing.
    pub(super) fn on_done(&mut self, now_ms: u64, done: SlotDone) {
        let found = self.slots.iter_mut().find(|slot| slot.running.iter().any(|a| a.name == done.attempt));
        let Some(slot) = found.filter(|slot| slot.done.is_none()) else { return };
        if let Some(attempt) = slot.running.iter().find(|attempt| attempt.name == done.attempt) {
            self.took_ms.push(now_ms.saturating_sub(attempt.started_ms));
        }
        slot.running.clear();
        slot.done = Some(done);
    }

    /// Takes a failed attempt.
    ///
    /// # Errors
    /// If no further attempt would help.
    pub(super) fn on_failed(&mut self, attempt: &str, failure: SlotFailure) -> Result<(), SlotFailure> {
        let found = self.slots.iter_mut().find(|slot| slot.running.iter().any(|a| a.name == attempt));
        let Some(slot) = found else { return Ok(()) };
        slot.avoid = slot.running.iter().find(|a| a.name == attempt).map(|a| a.connection);
        slot.running.retain(|a| a.name != attempt);
        slot.failures += 1;
        if failure.transient && slot.failures < MAX_FAILURES { Ok(()) } else { Err(failure) }
    }

    /// Takes the loss of an executor: what ran there runs elsewhere. Costs no slot a failure.
    pub(super) fn on_left(&mut self, connection: ConnectionId) {
        for slot in &mut self.slots {
            slot.running.retain(|attempt| attempt.connection != connection);
        }
    }

    /// Returns all answers, once there is one for each slot.
    pub(super) fn finished(&mut self) -> Option<Vec<SlotDone>> {
        if self.slots.iter().any(|slot| slot.done.is_none()) {
            return None;
        }
        Some(self.slots.iter_mut().filter_map(|slot| slot.done.take()).collect())
    }

    /// Slots that nobody runs.
    pub(super) fn waiting(&self) -> usize {
        self.slots.iter().filter(|slot| slot.done.is_none() && slot.running.is_empty()).count()
    }

    fn straggler_ms(&self) -> Option<u64> {
        let mut took = self.took_ms.clone();
        took.sort_unstable();
        let median = took.get(took.len() / 2)?;
        Some(median.saturating_mul(STRAGGLER_FACTOR).max(STRAGGLER_MIN_MS))
    }
}

fn roomiest(room: &BTreeMap<ConnectionId, u32>, may: impl Fn(&ConnectionId) -> bool) -> Option<ConnectionId> {
    room.iter().filter(|(id, left)| **left > 0 && may(id)).max_by_key(|(_, left)| **left).map(|(id, _)| *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn task(slot: u32) -> SlotTask {
        SlotTask {
            generation: 1,
            batch: 1,
            plan_hash: "p".into(),
            slot,
            attempt: String::new(),
            ranges: Vec::new(),
            watermark_ms: None,
        }
    }

    fn done(slot: u32, attempt: &str) -> SlotDone {
        SlotDone {
            generation: 1,
            batch: 1,
            plan_hash: "p".into(),
            slot,
            attempt: attempt.into(),
            records: 0,
            filtered: 0,
            late: 0,
            bad: 0,
            max_event_ms: None,
            delta: None,
            output: None,
        }
    }

    struct Desk {
        dispatch: Dispatch,
        named: u32,
    }

    impl Desk {
        fn new(slots: u32) -> Self {
            Self { dispatch: Dispatch::new((0..slots).map(task).collect(), 10_000), named: 0 }
        }

        /// Assigns, and shows what was started as (executor, slot, attempt).
        fn assign(&mut self, now_ms: u64, room: &[(ConnectionId, u32)]) -> Vec<(u64, u32, String)> {
            let mut room = room.iter().copied().collect();
            let named = &mut self.named;
            let name = || {
                *named += 1;
                format!("t{named}")
            };
            let starts = self.dispatch.assign(now_ms, &mut room, name);
            starts.into_iter().map(|(id, task)| (id.0, task.slot, task.attempt)).collect()
        }
    }

    fn starts(list: &[(u64, u32, &str)]) -> Vec<(u64, u32, String)> {
        list.iter().map(|(id, slot, attempt)| (*id, *slot, (*attempt).to_owned())).collect()
    }

    #[test]
    fn slots_are_spread_over_the_room_there_is() {
        let mut desk = Desk::new(4);
        assert_eq!(desk.assign(0, &[(A, 1), (B, 2)]), starts(&[(2, 0, "t1"), (2, 1, "t2"), (1, 2, "t3")]));
        assert_eq!(desk.dispatch.waiting(), 1);
        assert_eq!(desk.assign(1, &[(A, 0), (B, 0)]), []);
        desk.dispatch.on_done(5, done(0, "t1"));
        assert_eq!(desk.assign(5, &[(A, 0), (B, 1)]), starts(&[(2, 3, "t4")]));
        assert!(desk.dispatch.finished().is_none());
        for (slot, attempt) in [(1, "t2"), (2, "t3"), (3, "t4")] {
            desk.dispatch.on_done(9, done(slot, attempt));
        }
        assert_eq!(desk.dispatch.finished().unwrap().len(), 4);
    }

    #[test]
    fn a_lost_executors_slots_run_elsewhere() {
        let mut desk = Desk::new(3);
        assert_eq!(desk.assign(0, &[(A, 3)]).len(), 3);
        desk.dispatch.on_done(1, done(1, "t2"));
        desk.dispatch.on_left(A);
        assert_eq!(desk.assign(2, &[(B, 5)]), starts(&[(2, 0, "t4"), (2, 2, "t5")]));
        desk.dispatch.on_done(3, done(0, "t1"));
        assert_eq!(desk.dispatch.waiting(), 0);
        assert!(desk.dispatch.finished().is_none(), "the answer of a lost attempt does not count");
    }

    #[test]
    fn slow_slots_get_a_second_attempt_and_the_first_answer_wins() {
        let mut desk = Desk::new(2);
        desk.assign(0, &[(A, 2)]);
        assert_eq!(desk.assign(9_999, &[(B, 2)]), []);
        assert_eq!(desk.assign(10_000, &[(A, 2)]), [], "only elsewhere");
        assert_eq!(desk.assign(10_000, &[(B, 1)]), starts(&[(2, 0, "t3")]));
        assert_eq!(desk.assign(30_000, &[(B, 0)]), []);
        desk.dispatch.on_done(30_001, done(0, "t3"));
        desk.dispatch.on_done(30_002, done(0, "t1"));
        desk.dispatch.on_done(30_003, done(1, "t2"));
        let answers = desk.dispatch.finished().unwrap();
        assert_eq!(answers.iter().map(|d| d.attempt.as_str()).collect::<Vec<_>>(), ["t3", "t2"]);
    }

    #[test]
    fn a_straggler_is_run_again_when_nothing_else_is_to_do() {
        let mut desk = Desk::new(3);
        desk.assign(0, &[(A, 3)]);
        desk.dispatch.on_done(400, done(0, "t1"));
        desk.dispatch.on_done(500, done(1, "t2"));
        assert_eq!(desk.assign(1_999, &[(B, 1)]), []);
        assert_eq!(desk.assign(2_000, &[(B, 1)]), starts(&[(2, 2, "t4")]));
    }

    #[test]
    fn failures_move_elsewhere_and_are_bounded() {
        let mut desk = Desk::new(1);
        let transient = || SlotFailure::transient("disk");
        assert_eq!(desk.assign(0, &[(A, 1)]).len(), 1);
        assert_eq!(desk.dispatch.on_failed("t1", transient()), Ok(()));
        assert_eq!(desk.assign(0, &[(A, 5), (B, 1)]), starts(&[(2, 0, "t2")]));
        assert_eq!(desk.dispatch.on_failed("t1", transient()), Ok(()), "it is over already");
        for attempt in 2..5 {
            assert_eq!(desk.dispatch.on_failed(&format!("t{attempt}"), transient()), Ok(()));
            desk.assign(0, &[(A, 1)]);
        }
        assert!(desk.dispatch.on_failed("t5", transient()).is_err());

        let mut desk = Desk::new(1);
        desk.assign(0, &[(A, 1)]);
        assert_eq!(
            desk.dispatch.on_failed("t1", SlotFailure::fatal("data")),
            Err(SlotFailure::fatal("data"))
        );
    }
}
