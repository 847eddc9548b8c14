//! How long commits take, second by second, and whether the disk is slow.
//!
//! Owns the times of the last seconds, bounded. A second is slow when its 99th percentile exceeds the limit; the disk is slow when
//! nothing but slow seconds lie behind and there are enough of them, so that one long commit proves nothing.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many seconds are remembered.
const SECONDS: u64 = 60;
/// The percentiles that are shown cover this many.
const SHOWN: u64 = 10;
/// So many times are kept of one second; further ones replace older ones.
const SAMPLES: usize = 1024;

/// See the module head.
#[derive(Debug)]
pub(crate) struct Pace {
    begun: Instant,
    times: Mutex<Times>,
}

#[derive(Debug, Default)]
struct Times {
    seconds: VecDeque<Second>,
    count: u64,
    running: Option<Instant>,
}

#[derive(Debug)]
struct Second {
    number: u64,
    count: usize,
    micros: Vec<u32>,
}

/// A commit that is under way; it ends when this is dropped.
pub(crate) struct Running<'p> {
    pace: &'p Pace,
    began: Instant,
}

/// What is shown of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Commits so far.
    pub(crate) count: u64,
    /// Of the last ten seconds; none if there was no commit.
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace { begun: Instant::now(), times: Mutex::default() }
    }

    pub(crate) fn begin(&self) -> Running<'_> {
        let began = Instant::now();
        self.times().running = Some(began);
        Running { pace: self, began }
    }

    pub(crate) fn shown(&self) -> Shown {
        let now = self.second(Instant::now());
        let times = self.times();
        let mut micros: Vec<u32> = times
            .seconds
            .iter()
            .filter(|second| second.number + SHOWN > now)
            .flat_map(|second| second.micros.iter().copied())
            .collect();
        micros.sort_unstable();
        let at = |part| percentile(&micros, part).map(|micros| Duration::from_micros(micros.into()));
        Shown { count: times.count, p50: at(50), p99: at(99) }
    }

    /// Whether the last `seconds` whole seconds were slow: at least half of them saw a commit, and all that did were slow.
    pub(crate) fn slow(&self, limit: Duration, seconds: u64) -> bool {
        self.slow_at(Instant::now(), limit, seconds)
    }

    fn slow_at(&self, now: Instant, limit: Duration, seconds: u64) -> bool {
        let seconds = seconds.clamp(1, SECONDS - 1);
        let end = self.second(now);
        let times = self.times();
        let running = times.running.filter(|began| now.saturating_duration_since(*began) > limit);
        let waited_since = running.map(|began| self.second(began));
        let mut seen = 0;
        for number in end.saturating_sub(seconds)..end {
            let told = times.seconds.iter().find(|second| second.number == number);
            let worst = told.and_then(|second| {
                let mut micros = second.micros.clone();
                micros.sort_unstable();
                percentile(&micros, 99)
            });
            let waits = waited_since.is_some_and(|since| since <= number);
            match worst {
                Some(worst) if !waits && Duration::from_micros(worst.into()) <= limit => return false,
                Some(_) => seen += 1,
                None if waits => seen += 1,
                None => {}
            }
        }
        seen * 2 >= seconds
    }

    fn ended(&self, began: Instant, now: Instant) {
        let micros = u32::try_from(now.saturating_duration_since(began).as_micros()).unwrap_or(u32::MAX);
        let (first, last) = (self.second(began), self.second(now));
        let mut times = self.times();
        times.running = None;
        times.count += 1;
        // A commit that took seconds belongs to each of them.
        for number in first.max(last.saturating_sub(SECONDS))..=last {
            times.note(number, micros);
        }
    }

    fn second(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.begun).as_secs()
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    fn note(&mut self, number: u64, micros: u32) {
        if !self.seconds.iter().any(|second| second.number == number) {
            self.seconds.push_back(Second { number, count: 0, micros: Vec::new() });
        }
        while self.seconds.len() as u64 > SECONDS {
            self.seconds.pop_front();
        }
        let Some(second) = self.seconds.iter_mut().rev().find(|second| second.number == number) else {
            return;
        };
        if second.micros.len() < SAMPLES {
            second.micros.push(micros);
        } else {
            second.micros[second.count % SAMPLES] = micros;
        }
        second.count += 1;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.pace.ended(self.began, Instant::now());
    }
}

/// Of sorted samples.
fn percentile(sorted: &[u32], part: usize) -> Option<u32> {
    let place = (sorted.len() * part).div_ceil(100).max(1);
    sorted.get(place - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    /// Commits given as the millisecond at which each began and how many it took.
    fn slow(commits: &[(u64, u64)], now: u64) -> bool {
        let pace = Pace::new();
        let at = |ms| pace.begun + Duration::from_millis(ms);
        for (began, took) in commits {
            pace.ended(at(*began), at(began + took));
        }
        pace.slow_at(at(now), LIMIT, 10)
    }

    fn each_second(took: u64) -> Vec<(u64, u64)> {
        (0..10).map(|second| (second * 1000, took)).collect()
    }

    #[test]
    fn ten_slow_seconds_are_slow_and_one_quick_one_among_them_is_not() {
        assert!(slow(&each_second(150), 10_000));
        assert!(!slow(&each_second(100), 10_000), "not above the limit");
        let mut mixed = each_second(150);
        mixed[4].1 = 3;
        assert!(!slow(&mixed, 10_000));
        assert!(!slow(&each_second(150), 30_000), "long ago");
    }

    #[test]
    fn one_long_commit_on_a_quiet_disk_proves_nothing() {
        assert!(!slow(&[(5000, 900)], 10_000));
        assert!(!slow(&[], 10_000));
    }

    #[test]
    fn a_commit_that_takes_seconds_counts_for_each_of_them() {
        assert!(slow(&[(1000, 8000)], 10_000));
        let pace = Pace::new();
        pace.times().running = Some(pace.begun);
        assert!(pace.slow_at(pace.begun + Duration::from_secs(10), LIMIT, 10), "and while it is under way");
        assert!(!pace.slow_at(pace.begun + Duration::from_secs(4), LIMIT, 10), "but not yet after four");
    }

    #[test]
    fn percentiles_are_of_the_last_seconds() {
        let pace = Pace::new();
        assert_eq!(pace.shown(), Shown::default());
        for took in 1..=100 {
            pace.ended(pace.begun, pace.begun + Duration::from_micros(took));
        }
        let shown = pace.shown();
        let expected = (100, Some(Duration::from_micros(50)), Some(Duration::from_micros(99)));
        assert_eq!((shown.count, shown.p50, shown.p99), expected);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let pace = Pace::new();
        for second in 0..200 {
            for _ in 0..20 {
                let began = pace.begun + Duration::from_secs(second);
                pace.ended(began, began);
            }
        }
        for _ in 0..3000 {
            pace.ended(pace.begun, pace.begun);
        }
        assert!(pace.times().seconds.len() as u64 <= SECONDS);
        assert!(pace.times().seconds.iter().all(|second| second.micros.len() <= SAMPLES));
    }
}
