//! The hash that ties committed state to the job that gives it its meaning.

use serde::Serialize;

use super::spec::*;
use crate::files::hex_sha256;
use crate::value::Column;

/// Raised when the meaning of state or positions changes between versions of this package.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Topology<'a> {
    format: u32,
    columns: &'a [Column],
    null_values: &'a [String],
    event_time: Option<(&'a str, TimeFormat, u128)>,
    on_bad_record: OnBadRecord,
    operators: Vec<Step<'a>>,
    window: Option<Window>,
    keys: Option<&'a [String]>,
    values: Option<&'a [AggregateValue]>,
    sink_format: SinkFormat,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Step<'a> {
    Filter(&'a super::Expr),
    Project(&'a [Projection]),
}

pub(super) fn hash(job: &Job) -> String {
    let source = &job.source;
    let topology = Topology {
        format: FORMAT,
        columns: &source.columns,
        null_values: &source.null_values,
        event_time: source
            .event_time
            .as_ref()
            .map(|e| (e.column.as_str(), e.format, e.watermark_delay.as_millis())),
        on_bad_record: source.on_bad_record,
        operators: job
            .operators
            .iter()
            .map(|operator| match operator {
                Operator::Filter(expr) => Step::Filter(expr),
                Operator::Project(projections) => Step::Project(projections),
            })
            .collect(),
        window: job.aggregate.as_ref().map(|a| a.window),
        keys: job.aggregate.as_ref().map(|a| a.keys.as_slice()),
        values: job.aggregate.as_ref().map(|a| a.values.as_slice()),
        sink_format: job.sink.format,
    };
    let bytes = serde_json::to_vec(&topology).expect("plain data with text keys always has a JSON form");
    hex_sha256(&bytes)
}
