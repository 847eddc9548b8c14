//! Keyed partial results within windows of event time, and when a window is complete.
//!
//! The *watermark* stands still within a batch: it moves when a batch is committed. A record whose window had ended at the
//! watermark of the batch it is in is late: it is counted and left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::accumulate::{Accumulator, Overflow};
use crate::job::{Aggregate, Job, Window};
use crate::value::{Column, Value};

/// A window and the keys within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct GroupKey {
    /// Milliseconds since 1970.
    pub(crate) window_start: i64,
    pub(crate) keys: Vec<Value>,
}

/// Partial results of all open groups.
pub(crate) type Groups = BTreeMap<GroupKey, Vec<Accumulator>>;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    Added,
    Late,
}

/// The compiled aggregation of a job.
#[derive(Clone)]
pub(crate) struct Aggregator {
    spec: Aggregate,
    keys: Vec<usize>,
    inputs: Vec<Option<usize>>,
}

impl Aggregator {
    /// Returns `None` for a job without aggregation.
    pub(crate) fn new(job: &Job) -> Option<Self> {
        let spec = job.aggregate.clone()?;
        let columns = job.pipeline_columns();
        let index_of =
            |name: &str| columns.iter().position(|c: &Column| c.name == name).expect("checked with the job");
        let keys = spec.keys.iter().map(|key| index_of(key)).collect();
        let inputs = spec.values.iter().map(|v| v.column.as_ref().map(|c| index_of(&c.name))).collect();
        Some(Self { spec, keys, inputs })
    }

    /// Adds one row to `groups`, unless its window has ended at `watermark_ms`.
    pub(crate) fn observe(
        &self,
        groups: &mut Groups,
        row: &[Value],
        event_ms: i64,
        watermark_ms: Option<i64>,
    ) -> Result<Observed, Overflow> {
        let window_start = window_start(self.spec.window, event_ms);
        if watermark_ms.is_some_and(|watermark| self.has_ended(window_start, watermark)) {
            return Ok(Observed::Late);
        }
        let keys = self.keys.iter().map(|index| row[*index].clone()).collect();
        let accumulators = groups
            .entry(GroupKey { window_start, keys })
            .or_insert_with(|| self.spec.values.iter().map(|v| Accumulator::empty(v.function)).collect());
        for (accumulator, input) in accumulators.iter_mut().zip(&self.inputs) {
            accumulator.add(input.map(|index| &row[index]))?;
        }
        Ok(Observed::Added)
    }

    /// Adds `delta` to `groups`.
    pub(crate) fn merge(groups: &mut Groups, delta: &Groups) -> Result<(), Overflow> {
        for (key, accumulators) in delta {
            match groups.get_mut(key) {
                None => {
                    groups.insert(key.clone(), accumulators.clone());
                }
                Some(existing) => {
                    if existing.len() != accumulators.len() {
                        return Err(Overflow);
                    }
                    for (a, b) in existing.iter_mut().zip(accumulators) {
                        a.merge(b)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes the groups whose window has ended at `watermark_ms` out of `groups`, in order of window and keys.
    pub(crate) fn close(&self, groups: &mut Groups, watermark_ms: i64) -> Groups {
        let first_open = groups.keys().find(|key| !self.has_ended(key.window_start, watermark_ms)).cloned();
        match first_open {
            None => std::mem::take(groups),
            Some(key) => {
                let open = groups.split_off(&key);
                std::mem::replace(groups, open)
            }
        }
    }

    /// Returns the output row of a closed group.
    pub(crate) fn row(&self, key: &GroupKey, accumulators: &[Accumulator]) -> Vec<Value> {
        let end = key.window_start.saturating_add(self.spec.window.size_ms);
        let mut row = vec![Value::Time(key.window_start), Value::Time(end)];
        row.extend(key.keys.iter().cloned());
        row.extend(accumulators.iter().zip(&self.spec.values).map(|(a, spec)| a.result(spec)));
        row
    }

    fn has_ended(&self, window_start: i64, watermark_ms: i64) -> bool {
        window_start.saturating_add(self.spec.window.size_ms) <= watermark_ms
    }
}

/// Returns the start of the window that `event_ms` falls into.
fn window_start(window: Window, event_ms: i64) -> i64 {
    let shifted = event_ms.saturating_sub(window.offset_ms);
    shifted.div_euclid(window.size_ms).saturating_mul(window.size_ms).saturating_add(window.offset_ms)
}

/// Returns the watermark after the highest event time `max_event_ms` has been seen; the end of input closes everything.
pub(crate) fn watermark_ms(job: &Job, max_event_ms: Option<i64>, end_of_input: bool) -> Option<i64> {
    if end_of_input {
        return Some(i64::MAX);
    }
    let delay = job.source.event_time.as_ref()?.watermark_delay;
    Some(max_event_ms?.saturating_sub(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JOB: &str = r#"
        name = "t"
        [source]
        kind = "files"
        path = "/in"
        columns = [{ name = "k" }, { name = "v", type = "int" }, { name = "t", type = "int" }]
        event_time = { column = "t", format = "unix_ms", watermark_delay = "10ms" }
        [window]
        size = "100ms"
        offset = "7ms"
        [aggregate]
        keys = ["k"]
        values = [
            { function = "count", as = "n" }, { function = "count", column = "v", as = "present" },
            { function = "sum", column = "v", as = "sum" }, { function = "min", column = "v", as = "min" },
            { function = "max", column = "v", as = "max" }, { function = "avg", column = "v", as = "avg" },
        ]
        [sink]
        kind = "files"
        path = "/out"
        [checkpoint]
        path = "/state"
    "#;

    fn row(key: u8, value: Option<i64>) -> Vec<Value> {
        vec![Value::Text(key.to_string()), value.map_or(Value::Null, Value::Int), Value::Null]
    }

    #[test]
    fn windows_end_at_the_watermark() {
        let job = Job::from_toml_str(JOB).unwrap();
        let aggregator = Aggregator::new(&job).unwrap();
        let mut groups = Groups::new();
        let add = |groups: &mut Groups, value, at, watermark| {
            aggregator.observe(groups, &row(1, value), at, watermark).unwrap()
        };
        assert_eq!(add(&mut groups, Some(1), 106, None), Observed::Added);
        assert_eq!(add(&mut groups, Some(2), 107, Some(106)), Observed::Added);
        assert_eq!(add(&mut groups, None, 206, Some(206)), Observed::Added);
        assert_eq!(add(&mut groups, Some(9), 206, Some(207)), Observed::Late);
        assert_eq!(add(&mut groups, Some(4), -1, Some(6)), Observed::Added);
        let starts = |groups: &Groups| groups.keys().map(|k| k.window_start).collect::<Vec<_>>();
        assert_eq!(starts(&groups), [-93, 7, 107]);
        assert!(aggregator.close(&mut groups, 6).is_empty());
        assert_eq!(starts(&aggregator.close(&mut groups, 107)), [-93, 7]);
        let closed = aggregator.close(&mut groups, i64::MAX);
        assert!(groups.is_empty());
        let (key, accumulators) = closed.iter().next().unwrap();
        let expected = [
            Value::Time(107),
            Value::Time(207),
            Value::Text("1".into()),
            Value::Int(2),
            Value::Int(1),
            Value::Int(2),
            Value::Int(2),
            Value::Int(2),
            Value::Decimal(2_000_000),
        ];
        assert_eq!(aggregator.row(key, accumulators), expected);
        assert_eq!(watermark_ms(&job, Some(50), false), Some(40));
        assert_eq!(watermark_ms(&job, None, false), None);
        assert_eq!(watermark_ms(&job, None, true), Some(i64::MAX));
    }

    #[test]
    fn no_values_give_zero_sums_and_absent_extremes() {
        let job = Job::from_toml_str(JOB).unwrap();
        let aggregator = Aggregator::new(&job).unwrap();
        let mut groups = Groups::new();
        aggregator.observe(&mut groups, &row(1, None), 50, None).unwrap();
        let (key, accumulators) = groups.iter().next().unwrap();
        let result = &aggregator.row(key, accumulators)[3..];
        assert_eq!(
            result,
            [Value::Int(1), Value::Int(0), Value::Int(0), Value::Null, Value::Null, Value::Null]
        );
    }

    proptest! {
        #[test]
        fn however_the_rows_are_cut_the_result_is_the_same(
            rows in prop::collection::vec((0u8..4, prop::option::of(any::<i64>()), -500i64..500), 0..60),
            cuts in prop::collection::vec(0usize..60, 0..6),
        ) {
            let job = Job::from_toml_str(JOB).unwrap();
            let aggregator = Aggregator::new(&job).unwrap();
            let add = |groups: &mut Groups, rows: &[(u8, Option<i64>, i64)]| {
                for (key, value, at) in rows {
                    aggregator.observe(groups, &row(*key, *value), *at, None).unwrap();
                }
            };
            let mut whole = Groups::new();
            add(&mut whole, &rows);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(rows.len())).collect();
            cuts.extend([0, rows.len()]);
            cuts.sort_unstable();
            let mut merged = Groups::new();
            for pair in cuts.windows(2).rev() {
                let mut part = Groups::new();
                add(&mut part, &rows[pair[0]..pair[1]]);
                Aggregator::merge(&mut merged, &part).unwrap();
            }
            prop_assert_eq!(whole, merged);
        }
    }
}
