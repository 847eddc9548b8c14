//! Keyed state on the shared checkpoint folder: delta files of slots, base files of the driver.
//!
//! File: `TPSD`, format version (u32, little endian), postcard of the groups in key order. References carry the SHA-256.

use std::path::Path;

use crate::files::{Disk, FileFault, FileRef, read_verified};
use crate::ops::{Accumulator, Aggregator, GroupKey, Groups, Overflow};
use crate::register::StateRefs;

const MAGIC: &[u8; 4] = b"TPSD";
const FORMAT: u32 = 1;
/// References in the register.
const MAX_DELTAS: usize = 64;
/// A base is written at least this often.
const MAX_BATCHES_SINCE_BASE: u64 = 20;
/// Below this size of all deltas together no base is written for their size's sake.
const COMPACT_ABOVE_BYTES: u64 = 256 << 10;

/// State that cannot be read or merged.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(transparent)]
    File(#[from] FileFault),
    #[error("state file {name} has format {found}, this version knows format {FORMAT}")]
    UnknownFormat { name: String, found: u32 },
    #[error("state file {name} is not readable: {detail}")]
    Unreadable { name: String, detail: String },
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// Writes `groups` as a new file.
pub(crate) fn write(disk: Disk, folder: &Path, name: &str, groups: &Groups) -> Result<FileRef, StateError> {
    let mut content = Vec::from(*MAGIC);
    content.extend_from_slice(&FORMAT.to_le_bytes());
    let items: Vec<(&GroupKey, &Vec<Accumulator>)> = groups.iter().collect();
    let content = postcard::to_extend(&items, content)
        .map_err(|error| StateError::Unreadable { name: name.to_owned(), detail: error.to_string() })?;
    Ok(disk.write_new(folder, name, &content)?)
}

/// Reads and verifies a state file.
pub(crate) fn read(folder: &Path, reference: &FileRef) -> Result<Groups, StateError> {
    let content = read_verified(folder, reference)?;
    let unreadable =
        |detail: &str| StateError::Unreadable { name: reference.name.clone(), detail: detail.to_owned() };
    let rest =
        content.strip_prefix(MAGIC).ok_or_else(|| unreadable("it does not start as a state file does"))?;
    let (format, body) = rest.split_first_chunk::<4>().ok_or_else(|| unreadable("it is too short"))?;
    let found = u32::from_le_bytes(*format);
    if found != FORMAT {
        return Err(StateError::UnknownFormat { name: reference.name.clone(), found });
    }
    let items: Vec<(GroupKey, Vec<Accumulator>)> =
        postcard::from_bytes(body).map_err(|error| unreadable(&error.to_string()))?;
    Ok(items.into_iter().collect())
}

/// Reads the state that `refs` stand for, without the groups that had ended at `watermark_ms`.
pub(crate) fn load(
    folder: &Path,
    refs: &StateRefs,
    aggregator: &Aggregator,
    watermark_ms: Option<i64>,
) -> Result<Groups, StateError> {
    let mut groups = Groups::new();
    for reference in refs.base.iter().chain(&refs.deltas) {
        Aggregator::merge(&mut groups, &read(folder, reference)?)?;
    }
    if let Some(watermark_ms) = watermark_ms {
        drop(aggregator.close(&mut groups, watermark_ms));
    }
    Ok(groups)
}

/// Returns whether a base should take the place of `refs` after `batch`.
pub(crate) fn wants_base(refs: &StateRefs, batch: u64) -> bool {
    let delta_bytes: u64 = refs.deltas.iter().map(|d| d.bytes).sum();
    let base_bytes = refs.base.as_ref().map_or(0, |b| b.bytes);
    !refs.deltas.is_empty()
        && (refs.deltas.len() > MAX_DELTAS
            || batch.saturating_sub(refs.base_batch) >= MAX_BATCHES_SINCE_BASE
            || delta_bytes > base_bytes.max(COMPACT_ABOVE_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn groups() -> Groups {
        let key = |n: i64| GroupKey { window_start: n, keys: vec![Value::Text(n.to_string()), Value::Null] };
        let accumulators = |n: i64| {
            vec![
                Accumulator::Count(n.unsigned_abs()),
                Accumulator::Sum(i128::MIN),
                Accumulator::Min(Value::Int(n)),
            ]
        };
        (-3..3).map(|n| (key(n), accumulators(n))).collect()
    }

    #[test]
    fn round_trip_and_damage() {
        let folder = tempfile::tempdir().unwrap();
        let reference = write(Disk::VOLATILE, folder.path(), "d", &groups()).unwrap();
        assert_eq!(read(folder.path(), &reference).unwrap(), groups());
        let path = folder.path().join("d");
        let mut content = std::fs::read(&path).unwrap();
        let last = content.len() - 1;
        content[last] ^= 1;
        std::fs::write(&path, &content).unwrap();
        assert!(read(folder.path(), &reference).unwrap_err().to_string().contains("SHA-256"));
    }

    #[test]
    fn an_unknown_format_is_refused_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = Vec::from(*MAGIC);
        content.extend_from_slice(&9u32.to_le_bytes());
        let reference = Disk::VOLATILE.write_new(folder.path(), "d", &content).unwrap();
        assert!(read(folder.path(), &reference).unwrap_err().to_string().contains("format 9"));
        for (name, content) in [("e", &b"TPSD\x01"[..]), ("f", b"nope"), ("g", b"TPSD\x01\0\0\0\xff\xff\xff")]
        {
            let reference = Disk::VOLATILE.write_new(folder.path(), name, content).unwrap();
            assert!(matches!(read(folder.path(), &reference), Err(StateError::Unreadable { .. })));
        }
    }
}
