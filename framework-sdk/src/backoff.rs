//! How long to wait before the next attempt: exponential, bounded, spread by chance.
//!
//! Owns the arithmetic only. The random number is an argument, so the same numbers give the same waits; it reads no clock.

use std::time::Duration;

/// Waits that grow by a quarter with every attempt until they reach a maximum. The growth is slow because what is waited for
/// is mostly an election: nobody should come much later than the new leader.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    /// Starts at `initial` and never waits longer than `max`.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Backoff { initial, max: max.max(initial), attempt: 0 }
    }

    /// Returns the next wait. `random` in `[0, 1)` spreads it over 75 % to 125 % of the planned length, so that many
    /// clients that lost the same master do not come back in step.
    pub fn next(&mut self, random: f64) -> Duration {
        let planned = self.planned();
        self.attempt = self.attempt.saturating_add(1);
        let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.5 };
        planned.mul_f64(0.75 + random / 2.0).min(self.max)
    }

    /// Returns how many waits have been handed out since the last reset.
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Begins anew, after something succeeded.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    fn planned(&self) -> Duration {
        // Beyond 100 steps every sensible pair of bounds has met its maximum; the exponent stays finite.
        let factor = 1.25_f64.powi(self.attempt.min(100) as i32);
        let seconds = (self.initial.as_secs_f64() * factor).min(self.max.as_secs_f64());
        Duration::from_secs_f64(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_maximum_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        let waits: Vec<u128> = (0..20).map(|_| backoff.next(0.5).as_millis()).collect();
        assert_eq!(waits[..4], [20, 25, 31, 39]);
        assert_eq!(waits[19], 1000);
        assert_eq!(backoff.attempts(), 20);
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::from_millis(20));
    }

    #[test]
    fn spreads_by_a_quarter_to_either_side() {
        let wait = |random| Backoff::new(Duration::from_millis(100), Duration::from_secs(1)).next(random);
        assert_eq!(wait(0.0), Duration::from_millis(75));
        assert_eq!(wait(1.0), Duration::from_millis(125));
        assert_eq!(wait(f64::NAN), Duration::from_millis(100));
    }

    #[test]
    fn stays_within_its_maximum_whatever_the_numbers() {
        let mut backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(1));
        for _ in 0..200 {
            assert!(backoff.next(1.0) <= Duration::from_secs(5));
        }
    }
}
