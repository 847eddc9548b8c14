//! What is due when. Owns no clock.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ExecutorKey, TaskKey};

/// Something that will be due. There is at most one instant for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The link is silent for too long.
    Link,
    /// The head of a task's updates is sent again.
    Retry(TaskKey),
    /// The answer about an unknown task is sent again.
    AnswerRetry(TaskKey),
    /// A task has run for as long as it may.
    MaxCompletion(TaskKey),
    /// An executor has not subscribed in time.
    ExecutorRegistration(ExecutorKey),
    /// An executor is told that the agent is still there.
    ExecutorHeartbeat(ExecutorKey),
    /// An executor that was asked to end is forced to.
    ExecutorShutdown(ExecutorKey),
    /// Shutdown no longer waits.
    Shutdown,
}

#[derive(Default)]
pub(crate) struct Timers {
    at: BTreeMap<Timer, u64>,
    order: BTreeSet<(u64, Timer)>,
    announced: Option<u64>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at_ms: u64) {
        self.cancel(&timer);
        self.order.insert((at_ms, timer.clone()));
        self.at.insert(timer, at_ms);
    }

    pub(crate) fn cancel(&mut self, timer: &Timer) {
        if let Some(at_ms) = self.at.remove(timer) {
            self.order.remove(&(at_ms, timer.clone()));
        }
    }

    /// Takes the next timer that is due.
    pub(crate) fn pop_due(&mut self, now_ms: u64) -> Option<Timer> {
        if self.order.first().is_none_or(|(at_ms, _)| *at_ms > now_ms) {
            return None;
        }
        let (_, timer) = self.order.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }

    /// Returns the instant to be woken at, if the one that was announced last would be too late or has passed.
    pub(crate) fn announce(&mut self, now_ms: u64) -> Option<u64> {
        let next = self.order.first().map(|(at_ms, _)| *at_ms)?;
        if self.announced.is_some_and(|announced| announced > now_ms && announced <= next) {
            return None;
        }
        self.announced = Some(next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_instant_of_a_timer_counts() {
        let mut timers = Timers::default();
        timers.set(Timer::Link, 100);
        timers.set(Timer::Link, 200);
        assert_eq!(timers.pop_due(150), None);
        assert_eq!(timers.pop_due(200), Some(Timer::Link));
        assert_eq!(timers.pop_due(1000), None);
    }

    #[test]
    fn a_wake_up_is_announced_only_when_it_is_nearer_or_the_last_one_passed() {
        let mut timers = Timers::default();
        timers.set(Timer::Link, 100);
        assert_eq!(timers.announce(0), Some(100));
        timers.set(Timer::Link, 200);
        assert_eq!(timers.announce(50), None);
        assert_eq!(timers.announce(100), Some(200));
        timers.set(Timer::Shutdown, 150);
        assert_eq!(timers.announce(110), Some(150));
    }
}
