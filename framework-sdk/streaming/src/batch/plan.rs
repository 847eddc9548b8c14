//! Cuts what the scout found into the slots of the next batch.

use crate::register::{Plan, SlotRanges};
use crate::source::{Chunk, Position, Range, Scan};

/// Plans batch `batch` over everything in `scan`, in at most `slots` slots of nearly equal record counts. `None` if there is
/// nothing to do: no input yet.
pub(crate) fn plan_next(
    batch: u64,
    scan: &Scan,
    slots: u32,
    finite: bool,
    batch_time_ms: i64,
) -> Option<Plan> {
    let records: u64 = scan.chunks.iter().map(|chunk| chunk.ends.len() as u64).sum();
    let end_of_input = records == 0;
    if end_of_input && !(finite && scan.exhausted) {
        return None;
    }
    let after: Position = scan.chunks.iter().map(|chunk| (chunk.file.clone(), chunk.after.clone())).collect();
    let slots = u64::from(slots).min(records);
    let bounds = |slot: u64| (slot * records / slots, (slot + 1) * records / slots);
    let slots = (0..slots).map(|slot| cut(&scan.chunks, bounds(slot))).collect();
    Some(Plan { batch, batch_time_ms, records, end_of_input, slots, after })
}

/// Returns the ranges of the records from number `first` up to `last`, counted over all chunks.
fn cut(chunks: &[Chunk], (first, last): (u64, u64)) -> SlotRanges {
    let mut ranges = SlotRanges::new();
    let mut before = 0;
    for chunk in chunks {
        let count = chunk.ends.len() as u64;
        let from = first.saturating_sub(before).min(count);
        let to = last.saturating_sub(before).min(count);
        before += count;
        if from == to {
            continue;
        }
        let at = |record: u64| match record {
            0 => 0,
            _ => usize::try_from(record - 1)
                .ok()
                .and_then(|i| chunk.ends.get(i))
                .copied()
                .unwrap_or(chunk.data.len()),
        };
        let (start, end) = (at(from), at(to));
        let mut crc = flate2::Crc::new();
        crc.update(&chunk.data[start..end]);
        ranges.push(Range {
            file: chunk.file.clone(),
            start: chunk.start + start as u64,
            end: chunk.start + end as u64,
            records: to - from,
            crc: crc.sum(),
        });
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::FilePosition;

    fn chunk(file: usize, start: u64, lengths: &[usize]) -> Chunk {
        let mut ends = Vec::new();
        let mut at = 0;
        for length in lengths {
            at += length;
            ends.push(at);
        }
        let records = ends.len() as u64;
        let after = FilePosition { offset: start + at as u64, records, size: 1000, done: true };
        let data = (0..at).map(|i| u8::try_from(i % 251).unwrap()).collect();
        Chunk { file: format!("f{file}"), start, data, ends, after }
    }

    #[test]
    fn only_a_finite_source_ends() {
        let empty = Scan { chunks: vec![chunk(0, 5, &[])], exhausted: true };
        assert_eq!(plan_next(1, &empty, 4, false, 0), None);
        let plan = plan_next(1, &empty, 4, true, 0).unwrap();
        assert!(plan.end_of_input && plan.slots.is_empty() && plan.records == 0);
        assert_eq!(plan.after.len(), 1);
        let unfinished = Scan { chunks: Vec::new(), exhausted: false };
        assert_eq!(plan_next(1, &unfinished, 4, true, 0), None);
    }

    proptest! {
        #[test]
        fn slots_cover_every_byte_once_and_evenly(
            files in prop::collection::vec((0u64..50, prop::collection::vec(1usize..9, 0..20)), 1..6),
            slots in 1u32..9,
        ) {
            let chunks: Vec<Chunk> =
                files.iter().enumerate().map(|(n, (start, lengths))| chunk(n, *start, lengths)).collect();
            let records: u64 = chunks.iter().map(|c| c.ends.len() as u64).sum();
            let scan = Scan { chunks: chunks.clone(), exhausted: false };
            let Some(plan) = plan_next(7, &scan, slots, true, 0) else {
                prop_assert_eq!(records, 0);
                return Ok(());
            };
            prop_assert_eq!(plan.records, records);
            let counts: Vec<u64> = plan.slots.iter().map(|s| s.iter().map(|r| r.records).sum()).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
            prop_assert!(counts.iter().all(|count| *count > 0));
            for chunk in &chunks {
                let ranges: Vec<_> = plan.slots.iter().flatten().filter(|r| r.file == chunk.file).collect();
                let mut at = chunk.start;
                for range in &ranges {
                    prop_assert_eq!(range.start, at);
                    at = range.end;
                }
                prop_assert_eq!(at, chunk.after.offset);
                prop_assert_eq!(ranges.iter().map(|r| r.records).sum::<u64>(), chunk.ends.len() as u64);
            }
        }
    }
}
