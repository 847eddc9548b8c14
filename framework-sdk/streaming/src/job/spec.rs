//! The checked form of a job description. Values of these types come only from `check.rs`, so their users rely on them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::expr::Expr;
use super::{JobError, check, edit, topology};
use crate::value::{Column, Type};

/// A checked streaming job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Also the driver's name, and the scope of the job's registers.
    pub name: String,
    /// Role in which driver and executors take resources.
    pub role: String,
    /// Pieces that a batch is cut into; they run in parallel.
    pub slots: u32,
    pub source: Source,
    pub operators: Vec<Operator>,
    pub aggregate: Option<Aggregate>,
    pub sink: Sink,
    pub checkpoint: Checkpoint,
    pub batch: Batch,
    pub executors: Executors,
    pub back_pressure: BackPressure,
    /// The text it was made from; it travels to drivers and executors, which check it again.
    pub(crate) text: String,
}

impl Job {
    /// Checks a job description.
    ///
    /// # Errors
    /// All problems found, each naming its key.
    pub fn from_toml_str(text: &str) -> Result<Self, JobError> {
        check::job(text)
    }

    /// Returns the job with relative paths taken from `base`.
    ///
    /// # Errors
    /// If the changed description does not hold together any more; the original always does.
    pub fn with_base(&self, base: &Path) -> Result<Self, JobError> {
        let absolute = |path: &Path| toml::Value::String(base.join(path).display().to_string());
        let text = edit(
            &self.text,
            &[
                ("source.path", absolute(&self.source.path)),
                ("sink.path", absolute(&self.sink.path)),
                ("checkpoint.path", absolute(&self.checkpoint.path)),
            ],
        )?;
        Self::from_toml_str(&text)
    }

    /// Returns the first folder whose path is not absolute: such a job cannot run elsewhere.
    pub fn relative_path(&self) -> Option<(&'static str, &Path)> {
        [
            ("source.path", &self.source.path),
            ("sink.path", &self.sink.path),
            ("checkpoint.path", &self.checkpoint.path),
        ]
        .into_iter()
        .find(|(_, path)| path.is_relative())
        .map(|(key, path)| (key, path.as_path()))
    }

    /// Returns the TOML that this job was made from.
    pub fn as_toml(&self) -> &str {
        &self.text
    }

    /// Returns the columns that reach the sink or the aggregation, in order.
    pub fn pipeline_columns(&self) -> Vec<Column> {
        let mut columns = self.source.columns.clone();
        for operator in &self.operators {
            if let Operator::Project(projections) = operator {
                columns = projections.iter().map(|p| p.output.clone()).collect();
            }
        }
        columns
    }

    /// Returns the columns of the output files, in order.
    pub fn output_columns(&self) -> Vec<Column> {
        let columns = self.pipeline_columns();
        let Some(aggregate) = &self.aggregate else { return columns };
        let mut output = vec![
            Column { name: "window_start".to_owned(), kind: Type::Time },
            Column { name: "window_end".to_owned(), kind: Type::Time },
        ];
        output
            .extend(aggregate.keys.iter().filter_map(|key| columns.iter().find(|c| c.name == *key).cloned()));
        output.extend(aggregate.values.iter().map(|v| Column { name: v.name.clone(), kind: v.output }));
        output
    }

    /// Returns a hash of everything that gives committed state its meaning: a driver refuses to continue a register that was
    /// written by a job with another one. Paths, batch sizes and executors may change freely.
    pub fn topology_hash(&self) -> String {
        topology::hash(self)
    }
}

/// A folder of CSV files.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    pub compression: Compression,
    /// The stream ends when every file of the folder has been consumed.
    pub finite: bool,
    /// The columns that are read; others in the files are ignored.
    pub columns: Vec<Column>,
    /// Field texts that stand for an absent value.
    pub null_values: Vec<String>,
    pub event_time: Option<EventTime>,
    pub on_bad_record: OnBadRecord,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    /// By the file's name: `.gz` is gzip.
    Auto,
}

/// Where a record's own time stands, and how long to wait for stragglers.
#[derive(Clone, Debug)]
pub struct EventTime {
    pub column: String,
    pub format: TimeFormat,
    /// How far the watermark stays behind the highest event time seen.
    pub watermark_delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    Rfc3339,
    /// Date and time without an offset, taken as UTC.
    DateTimeUtc,
    UnixMs,
    UnixS,
}

/// What happens to a record that does not fit its declared types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRecord {
    /// The job fails, naming file and record.
    Fail,
    /// The record is counted and left out.
    Skip,
}

/// One step of the pipeline.
#[derive(Clone, Debug)]
pub enum Operator {
    Filter(Expr),
    Project(Vec<Projection>),
}

/// One column of a `project` operator.
#[derive(Clone, Debug, Serialize)]
pub struct Projection {
    pub input: String,
    pub output: Column,
}

/// Aggregation by key within tumbling windows of event time.
#[derive(Clone, Debug)]
pub struct Aggregate {
    pub window: Window,
    pub keys: Vec<String>,
    pub values: Vec<AggregateValue>,
}

/// Windows `[k·size + offset, (k+1)·size + offset)` since 1970, UTC.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Window {
    pub size_ms: i64,
    pub offset_ms: i64,
}

#[derive(Clone, Debug, Serialize)]
pub struct AggregateValue {
    pub name: String,
    pub function: AggregateFunction,
    /// `None` for a count of records.
    pub column: Option<Column>,
    /// Type of the result.
    pub output: Type,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AggregateFunction {
    /// Records, or records in which the column is present.
    Count,
    /// Zero for no values.
    Sum,
    Min,
    Max,
    Avg,
}

/// A folder of files, each visible only once its batch is committed.
#[derive(Clone, Debug)]
pub struct Sink {
    pub path: PathBuf,
    pub format: SinkFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkFormat {
    Csv,
    Jsonl,
}

impl SinkFormat {
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

/// Where state lives: a folder that every agent and driver of this job sees under the same path.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub path: PathBuf,
}

impl Checkpoint {
    pub(crate) fn state_folder(&self) -> PathBuf {
        self.path.join("state")
    }
}

#[derive(Clone, Debug)]
pub struct Batch {
    /// Shortest time between the starts of two batches.
    pub interval: Duration,
    pub max_records: u64,
    /// Uncompressed bytes.
    pub max_bytes: u64,
    /// After this time without an answer a slot is run elsewhere as well.
    pub slot_timeout: Duration,
}

#[derive(Clone, Debug)]
pub struct Executors {
    pub count: u32,
    pub cpus: f64,
    pub mem_mib: u64,
}

#[derive(Clone, Debug)]
pub struct BackPressure {
    pub enabled: bool,
    /// Processing time that batches are sized for.
    pub target: Duration,
    /// Batches are never made smaller than this.
    pub min_records: u64,
}
