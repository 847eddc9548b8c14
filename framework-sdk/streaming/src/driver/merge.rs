//! Merges the slots' answers into the keyed state, and closes windows. File I/O and exact arithmetic, no decisions.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::error::EngineError;
use crate::batch::SlotDone;
use crate::files::Disk;
use crate::names;
use crate::ops::{Aggregator, Groups};
use crate::register::{OutputFile, StateRefs};
use crate::sink::files::FileSink;
use crate::state;

/// What merging needs to know.
pub(super) struct Merger {
    pub(super) aggregator: Aggregator,
    pub(super) sink: FileSink,
    pub(super) state_folder: PathBuf,
    pub(super) disk: Disk,
    pub(super) batch: u64,
    pub(super) generation: u64,
    pub(super) watermark_ms: Option<i64>,
}

/// What came of it.
pub(super) struct Merged {
    /// The open groups.
    pub(super) groups: Groups,
    pub(super) refs: StateRefs,
    pub(super) closed_output: Option<OutputFile>,
    pub(super) windows_closed: u64,
}

impl Merger {
    /// Adds the deltas of `done` to `groups`, closes what has ended at the watermark and stages its rows.
    pub(super) fn merge(
        &self,
        mut groups: Groups,
        mut refs: StateRefs,
        done: &[SlotDone],
    ) -> Result<Merged, EngineError> {
        let mut deltas: Vec<_> =
            done.iter().filter_map(|answer| Some((answer.slot, answer.delta.as_ref()?))).collect();
        deltas.sort_by_key(|(slot, _)| *slot);
        for (_, reference) in deltas {
            let delta = state::read(&self.state_folder, reference)?;
            Aggregator::merge(&mut groups, &delta).map_err(state::StateError::Overflow)?;
            refs.deltas.push(reference.clone());
        }
        let closed = match self.watermark_ms {
            Some(watermark_ms) => self.aggregator.close(&mut groups, watermark_ms),
            None => Groups::new(),
        };
        let windows: BTreeSet<i64> = closed.keys().map(|key| key.window_start).collect();
        let rows: Vec<_> = closed.iter().map(|(key, values)| self.aggregator.row(key, values)).collect();
        let closed_output = self.sink.stage(self.batch, self.generation, 0, &rows)?;
        if groups.is_empty() {
            refs = StateRefs { base: None, base_batch: self.batch, deltas: Vec::new() };
        } else if state::wants_base(&refs, self.batch) {
            let name = names::unique(self.batch, self.generation, "base");
            let base = state::write(self.disk, &self.state_folder, &name, &groups)?;
            refs = StateRefs { base: Some(base), base_batch: self.batch, deltas: Vec::new() };
        }
        Ok(Merged { groups, refs, closed_output, windows_closed: windows.len() as u64 })
    }
}
