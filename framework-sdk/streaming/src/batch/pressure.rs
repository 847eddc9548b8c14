//! Back-pressure: how many records the next batch may hold, from how long the last one took.

use crate::job::Job;

/// One step never goes beyond these factors, in percent.
const MIN_STEP: u64 = 50;
const MAX_STEP: u64 = 125;

/// Returns the limit for the next batch. Steers the processing time towards the job's target, and stays within its bounds.
/// Batches that were small because input was scarce say nothing about speed, unless they were slow all the same.
pub(crate) fn next_limit(job: &Job, limit: u64, records: u64, took_ms: u64) -> u64 {
    let (low, high) = (job.back_pressure.min_records, job.batch.max_records);
    if !job.back_pressure.enabled {
        return high;
    }
    let limit = limit.clamp(low, high);
    let target_ms = u64::try_from(job.back_pressure.target.as_millis()).unwrap_or(u64::MAX).max(1);
    let full = records.saturating_mul(10) >= limit.saturating_mul(9);
    if records == 0 || (!full && took_ms <= target_ms) {
        return limit;
    }
    let percent = (target_ms.saturating_mul(100) / took_ms.max(1)).clamp(MIN_STEP, MAX_STEP);
    (limit.saturating_mul(percent) / 100).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(enabled: bool) -> Job {
        let text = format!(
            "name = 'a'\n[source]\nkind = 'files'\npath = '/in'\ncolumns = [{{ name = 'x' }}]\n[sink]\nkind = 'files'\n\
             path = '/out'\n[checkpoint]\npath = '/state'\n[batch]\nmax_records = 1000\n\
             [backpressure]\nenabled = {enabled}\ntarget_ms = 100\nmin_records = 100\n"
        );
        Job::from_toml_str(&text).unwrap()
    }

    #[test]
    fn steers_towards_the_target_within_bounds() {
        let job = job(true);
        for (limit, records, took_ms, next, why) in [
            (400, 400, 100, 400, "on target"),
            (400, 400, 200, 200, "twice as slow as wanted"),
            (400, 400, 10_000, 200, "one step is bounded below"),
            (400, 400, 1, 500, "and above"),
            (400, 10, 1, 400, "a small quick batch says nothing"),
            (400, 10, 300, 200, "a small slow one does"),
            (120, 120, 900, 100, "lower bound"),
            (1000, 1000, 1, 1000, "upper bound"),
            (5000, 1000, 100, 1000, "a limit from an older job is brought into the bounds"),
            (400, 0, 5, 400, "nothing was read"),
        ] {
            assert_eq!(next_limit(&job, limit, records, took_ms), next, "{why}");
        }
    }

    #[test]
    fn settles_where_batches_take_the_target_time() {
        let job = job(true);
        let mut limit = 1000;
        for _ in 0..20 {
            let took_ms = 20 + limit / 4;
            limit = next_limit(&job, limit, limit, took_ms);
        }
        let took_ms = 20 + limit / 4;
        assert!((90..=110).contains(&took_ms), "{limit} records in {took_ms} ms");
    }

    #[test]
    fn switched_off_it_leaves_the_maximum() {
        assert_eq!(next_limit(&job(false), 100, 100, 100_000), 1000);
    }
}
