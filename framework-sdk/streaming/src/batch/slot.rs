//! What a slot does: reads exactly its ranges, computes, and stages what came of it. Runs on executors.
//!
//! Refuses to decide anything about the batch: a slot that ran twice has merely left a second set of staged files.

use std::path::PathBuf;

use super::task::{SlotDone, SlotFailure, SlotTask};
use crate::files::Disk;
use crate::job::{Job, OnBadRecord};
use crate::names;
use crate::ops::{Aggregator, Groups, Observed, Pipeline};
use crate::sink::files::FileSink;
use crate::source::decode::{Decoder, Row};
use crate::source::range::{RangeData, RangeReader};
use crate::source::{Range, SourceError};
use crate::state::{self, StateError};
use crate::value::Value;

/// Runs slots of one job, one after the other.
pub(crate) struct SlotRunner {
    job: Job,
    pipeline: Pipeline,
    aggregator: Option<Aggregator>,
    reader: RangeReader,
    sink: FileSink,
    state_folder: PathBuf,
    disk: Disk,
}

/// What has come of the rows so far.
#[derive(Default)]
struct Progress {
    records: u64,
    filtered: u64,
    late: u64,
    bad: u64,
    max_event_ms: Option<i64>,
    groups: Groups,
    rows: Vec<Vec<Value>>,
}

impl SlotRunner {
    pub(crate) fn new(job: &Job, disk: Disk) -> Self {
        Self {
            job: job.clone(),
            pipeline: Pipeline::new(job),
            aggregator: Aggregator::new(job),
            reader: RangeReader::new(&job.source),
            sink: FileSink::new(job, disk),
            state_folder: job.checkpoint.state_folder(),
            disk,
        }
    }

    /// Runs one attempt.
    ///
    /// # Errors
    /// Transient ones may be tried again; others are in the data or in the job.
    pub(crate) fn run(&mut self, task: &SlotTask) -> Result<SlotDone, SlotFailure> {
        let mut progress = Progress::default();
        for range in &task.ranges {
            let content = self.reader.read(range).map_err(source_failure)?;
            self.process(range, &content, task.watermark_ms, &mut progress)?;
        }
        let mut delta = None;
        if !progress.groups.is_empty() {
            let name = names::unique(task.batch, task.generation, &format!("delta{:05}", task.slot));
            let written = state::write(self.disk, &self.state_folder, &name, &progress.groups);
            delta = Some(written.map_err(state_failure)?);
        }
        let output = self
            .sink
            .stage(task.batch, task.generation, task.slot, &progress.rows)
            .map_err(|error| SlotFailure::transient(error.to_string()))?;
        Ok(SlotDone {
            generation: task.generation,
            batch: task.batch,
            plan_hash: task.plan_hash.clone(),
            slot: task.slot,
            attempt: task.attempt.clone(),
            records: progress.records,
            filtered: progress.filtered,
            late: progress.late,
            bad: progress.bad,
            max_event_ms: progress.max_event_ms,
            delta,
            output,
        })
    }

    fn process(
        &self,
        range: &Range,
        content: &RangeData,
        watermark_ms: Option<i64>,
        progress: &mut Progress,
    ) -> Result<(), SlotFailure> {
        let decoder = Decoder::new(&self.job.source, &range.file, &content.header).map_err(source_failure)?;
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(content.data.as_slice());
        let mut record = csv::ByteRecord::new();
        let mut records = 0;
        loop {
            let offset = range.start + reader.position().byte();
            match reader.read_byte_record(&mut record) {
                Ok(false) => break,
                Ok(true) => records += 1,
                Err(error) => {
                    return Err(SlotFailure::fatal(format!("{}, byte {offset}: {error}", range.file)));
                }
            }
            let decoded = decoder.decode(&record).and_then(|row| self.row(row, watermark_ms, progress));
            match decoded {
                Ok(()) => {}
                Err(_) if self.job.source.on_bad_record == OnBadRecord::Skip => progress.bad += 1,
                Err(detail) => {
                    let file = range.file.clone();
                    return Err(source_failure(SourceError::BadRecord { file, offset, detail }));
                }
            }
        }
        if records != range.records {
            let detail = format!("{} records planned, {records} found", range.records);
            return Err(source_failure(SourceError::Changed { file: range.file.clone(), detail }));
        }
        progress.records += records;
        Ok(())
    }

    fn row(&self, row: Row, watermark_ms: Option<i64>, progress: &mut Progress) -> Result<(), String> {
        let Some(values) = self.pipeline.apply(row.values)? else {
            progress.filtered += 1;
            progress.max_event_ms = progress.max_event_ms.max(row.event_ms);
            return Ok(());
        };
        match (&self.aggregator, row.event_ms) {
            (Some(aggregator), Some(event_ms)) => {
                let observed = aggregator
                    .observe(&mut progress.groups, &values, event_ms, watermark_ms)
                    .map_err(|overflow| overflow.to_string())?;
                progress.late += u64::from(observed == Observed::Late);
            }
            (Some(_), None) => return Err("it has no time of its own".to_owned()),
            (None, _) => progress.rows.push(values),
        }
        progress.max_event_ms = progress.max_event_ms.max(row.event_ms);
        Ok(())
    }
}

fn source_failure(error: SourceError) -> SlotFailure {
    SlotFailure { transient: error.is_transient(), message: error.to_string() }
}

fn state_failure(error: StateError) -> SlotFailure {
    SlotFailure::transient(error.to_string())
}
