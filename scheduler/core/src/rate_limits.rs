//! How many calls the frameworks of a principal may send.
//!
//! Owns the limits, as Mesos' `--rate_limits` names them, and the buckets that carry them out. Pure: the time is an argument, and
//! there are never more buckets than limits. Reads no flags, knows no call and chooses no status.

use std::collections::BTreeMap;
use std::fmt;

/// The longest pause that is asked for, seconds.
const LONGEST_WAIT_SECS: f64 = 3600.0;

/// A rate and how far it may be exceeded for a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    qps: f64,
    capacity: f64,
}

impl Rate {
    /// `qps` calls a second; after a quiet time `capacity` calls may come at once, by default as many as in one second.
    ///
    /// # Errors
    /// Which of the two is wrong, and what it must be.
    pub fn new(qps: f64, capacity: Option<u64>) -> Result<Rate, WrongRate> {
        if !qps.is_finite() || qps <= 0.0 {
            return Err(WrongRate::Qps);
        }
        let capacity = match capacity {
            Some(0) => return Err(WrongRate::Capacity),
            Some(capacity) => capacity as f64,
            None => qps.ceil(),
        };
        Ok(Rate { qps, capacity: capacity.max(1.0) })
    }

    /// Calls a second.
    pub fn qps(&self) -> f64 {
        self.qps
    }

    /// Calls that may come at once.
    pub fn capacity(&self) -> f64 {
        self.capacity
    }
}

/// What of a rate cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongRate {
    /// It must be a number above zero.
    Qps,
    /// It must be one or more.
    Capacity,
}

/// The limits of all principals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RateLimits {
    /// By principal; one without a rate is not limited.
    pub limits: BTreeMap<String, Option<Rate>>,
    /// What all other frameworks share, those without a principal included; none is no limit.
    pub aggregate_default: Option<Rate>,
}

impl RateLimits {
    /// Whether nobody is limited.
    pub fn is_empty(&self) -> bool {
        self.aggregate_default.is_none() && self.limits.values().all(Option::is_none)
    }
}

/// A call came too early.
#[derive(Clone, Debug, PartialEq)]
pub struct Exceeded {
    principal: Option<String>,
    shared: bool,
    rate: Rate,
    /// Whole seconds until a call is taken if none is sent meanwhile, 1 to 3600.
    pub retry_after_secs: u64,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.principal {
            Some(principal) => write!(f, "principal '{principal}' exceeds ")?,
            None => f.write_str("a framework without a principal exceeds ")?,
        }
        let Rate { qps, capacity } = self.rate;
        match self.shared {
            true => write!(
                f,
                "the limit that all frameworks without one of their own share \
                 (aggregate_default_qps {qps}, aggregate_default_capacity {capacity})"
            )?,
            false => write!(f, "its rate limit (qps {qps}, capacity {capacity})")?,
        }
        write!(f, "; try again in {} s", self.retry_after_secs)
    }
}

/// Says of each call whether it comes within the limits.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    buckets: BTreeMap<String, Option<Bucket>>,
    shared: Option<Bucket>,
}

impl RateLimiter {
    /// All buckets full.
    pub fn new(limits: &RateLimits) -> RateLimiter {
        let bucket = |rate: &Option<Rate>| rate.map(Bucket::new);
        RateLimiter {
            buckets: limits.limits.iter().map(|(name, rate)| (name.clone(), bucket(rate))).collect(),
            shared: bucket(&limits.aggregate_default),
        }
    }

    /// Takes one call of `principal` at `now_ms`, milliseconds on any clock that does not go back.
    ///
    /// # Errors
    /// The call is not to be carried out; when to try again.
    pub fn take(&mut self, principal: Option<&str>, now_ms: u64) -> Result<(), Exceeded> {
        let own = principal.and_then(|name| self.buckets.get_mut(name));
        let shared = own.is_none();
        let Some(bucket) = own.unwrap_or(&mut self.shared) else { return Ok(()) };
        bucket.take(now_ms).map_err(|retry_after_secs| Exceeded {
            principal: principal.map(str::to_owned),
            shared,
            rate: bucket.rate,
            retry_after_secs,
        })
    }
}

/// What a principal may still send. It holds as many calls as Mesos' queue would have free places, so the two take and refuse the
/// same calls; those that Mesos would let wait are carried out at once.
#[derive(Clone, Debug)]
struct Bucket {
    rate: Rate,
    left: f64,
    seen_ms: u64,
}

impl Bucket {
    fn new(rate: Rate) -> Bucket {
        Bucket { rate, left: rate.capacity, seen_ms: 0 }
    }

    fn take(&mut self, now_ms: u64) -> Result<(), u64> {
        let gained = now_ms.saturating_sub(self.seen_ms) as f64 / 1000.0 * self.rate.qps;
        self.left = (self.left + gained).min(self.rate.capacity);
        self.seen_ms = self.seen_ms.max(now_ms);
        // Sums of fractions come out a little short.
        if self.left >= 1.0 - 1e-9 {
            self.left = (self.left - 1.0).max(0.0);
            return Ok(());
        }
        let wait = ((1.0 - self.left) / self.rate.qps).ceil();
        Err(wait.clamp(1.0, LONGEST_WAIT_SECS) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(qps: f64, capacity: Option<u64>) -> Option<Rate> {
        Some(Rate::new(qps, capacity).unwrap())
    }

    fn limiter(limits: &[(&str, Option<Rate>)], aggregate_default: Option<Rate>) -> RateLimiter {
        let limits = limits.iter().map(|(name, rate)| ((*name).to_owned(), *rate)).collect();
        RateLimiter::new(&RateLimits { limits, aggregate_default })
    }

    fn taken(limiter: &mut RateLimiter, principal: Option<&str>, at: impl Iterator<Item = u64>) -> usize {
        at.filter(|now_ms| limiter.take(principal, *now_ms).is_ok()).count()
    }

    #[test]
    fn a_full_bucket_is_a_burst_and_then_the_rate_decides() {
        let mut limiter = limiter(&[("foo", rate(10.0, Some(5)))], None);
        assert_eq!(taken(&mut limiter, Some("foo"), std::iter::repeat_n(1000, 8)), 5);
        // Ten seconds of a call each millisecond: ten a second pass.
        assert_eq!(taken(&mut limiter, Some("foo"), 1001..=11_000), 100);
        // However long the silence was, no more than the capacity comes at once.
        assert_eq!(taken(&mut limiter, Some("foo"), std::iter::repeat_n(u64::MAX, 100)), 5);
    }

    #[test]
    fn over_any_time_no_more_passes_than_capacity_and_rate_allow() {
        for (qps, capacity) in [(0.5, 1), (3.0, 7), (55.5, 20), (1000.0, 1)] {
            for step in [1, 7, 100, 1001] {
                let mut limiter = limiter(&[("p", rate(qps, Some(capacity)))], None);
                let passed = taken(&mut limiter, Some("p"), (0..60_000).step_by(step)) as f64;
                assert!(passed <= capacity as f64 + 60.0 * qps + 1.0, "{qps} {capacity} {step}: {passed}");
                // As many as the rate allows or as were sent, whichever is less.
                let sent = 60_000_f64 / step as f64;
                assert!(passed >= (60.0 * qps).min(sent).floor() - 1.0, "{qps} {capacity} {step}: {passed}");
            }
        }
    }

    #[test]
    fn the_wait_is_whole_seconds_and_enough() {
        for (qps, secs) in [(10.0, 1), (1.0, 1), (0.3, 4), (1e-9, 3600), (f64::MIN_POSITIVE, 3600)] {
            let mut limiter = limiter(&[("p", rate(qps, Some(1)))], None);
            limiter.take(Some("p"), 0).unwrap();
            let exceeded = limiter.take(Some("p"), 0).unwrap_err();
            assert_eq!(exceeded.retry_after_secs, secs, "{qps}");
            if secs < 3600 {
                limiter.take(Some("p"), secs * 1000).unwrap();
            }
        }
    }

    #[test]
    fn a_principal_without_a_rate_is_free_and_those_without_an_entry_share_one() {
        let entries = [("foo", rate(1.0, Some(1))), ("free", None)];
        let mut limiter = limiter(&entries, rate(1.0, Some(3)));
        assert_eq!(taken(&mut limiter, Some("free"), std::iter::repeat_n(0, 1000)), 1000);
        assert_eq!(taken(&mut limiter, Some("foo"), std::iter::repeat_n(0, 9)), 1);
        assert!(limiter.take(Some("bar"), 0).is_ok());
        assert!(limiter.take(None, 0).is_ok());
        assert!(limiter.take(Some("baz"), 0).is_ok());
        let shared = limiter.take(Some("bar"), 0).unwrap_err().to_string();
        assert!(shared.contains("'bar'") && shared.contains("aggregate_default_qps 1,"), "{shared}");
        let nobody = limiter.take(None, 0).unwrap_err().to_string();
        assert!(nobody.contains("without a principal"), "{nobody}");
        let own = limiter.take(Some("foo"), 0).unwrap_err().to_string();
        assert_eq!(own, "principal 'foo' exceeds its rate limit (qps 1, capacity 1); try again in 1 s");
        assert_eq!((limiter.buckets.len(), entries.len()), (2, 2), "strangers make no buckets");
    }

    #[test]
    fn without_limits_everything_passes() {
        let mut limiter = limiter(&[], None);
        assert_eq!(taken(&mut limiter, Some("x"), std::iter::repeat_n(0, 1000)), 1000);
        assert!(RateLimits::default().is_empty());
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let mut limiter = limiter(&[("p", rate(1.0, Some(1)))], None);
        limiter.take(Some("p"), 10_000).unwrap();
        assert!(limiter.take(Some("p"), 0).is_err());
        assert!(limiter.take(Some("p"), 10_999).is_err());
        assert!(limiter.take(Some("p"), 11_000).is_ok());
    }

    #[test]
    fn rates_that_let_nothing_pass_are_refused() {
        for qps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Rate::new(qps, None), Err(WrongRate::Qps), "{qps}");
        }
        assert_eq!(Rate::new(1.0, Some(0)), Err(WrongRate::Capacity));
        assert_eq!(Rate::new(0.1, None).unwrap().capacity(), 1.0);
        assert_eq!(Rate::new(55.5, None).unwrap().capacity(), 56.0);
    }
}
