//! Reads ahead from a position, only to find where records end: so that a plan can name exact ranges.
//!
//! The scout of the driver keeps the file that it is in open, so that a compressed file is decompressed once, not once per
//! batch. It decides nothing: [`crate::batch::plan`] cuts what it found into slots.

use std::path::PathBuf;

use super::error::SourceError;
use super::listing::{self, Entry};
use super::open::{OpenFile, RecordReader, is_complete};
use super::position::{FilePosition, Position};
use crate::job::Source;

/// Files that one batch may touch: bounds the plan in the register.
const MAX_FILES_PER_SCAN: usize = 64;

/// Consecutive records of one file, with their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) file: String,
    /// Offset of the first byte.
    pub(crate) start: u64,
    pub(crate) data: Vec<u8>,
    /// End of each record within `data`.
    pub(crate) ends: Vec<usize>,
    /// Position of the file once this chunk has been consumed.
    pub(crate) after: FilePosition,
}

/// What lies ahead of a position, as far as the limits let the scout look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) chunks: Vec<Chunk>,
    /// Every listed file has been read to its end.
    pub(crate) exhausted: bool,
}

/// How far to look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanLimits {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Looks ahead in one folder.
pub(crate) struct Scout {
    folder: PathBuf,
    source: Source,
    current: Option<OpenFile>,
}

impl Scout {
    pub(crate) fn new(source: &Source) -> Self {
        Self { folder: source.path.clone(), source: source.clone(), current: None }
    }

    /// Returns what follows `position`.
    ///
    /// # Errors
    /// If the folder cannot be read, or contradicts the position.
    pub(crate) fn scan(&mut self, position: &Position, limits: ScanLimits) -> Result<Scan, SourceError> {
        let listing = listing::list(&self.folder, self.source.compression)?;
        listing::check(position, &listing)?;
        let mut scan = Scan::default();
        let mut left = limits;
        for entry in &listing {
            let at = position.get(&entry.name);
            if at.is_some_and(|at| at.done && at.size == entry.size) {
                continue;
            }
            if left.records == 0 || left.bytes == 0 || scan.chunks.len() == MAX_FILES_PER_SCAN {
                return Ok(scan);
            }
            let chunk = self.read(entry, at, left)?;
            left.records -= chunk.ends.len() as u64;
            left.bytes = left.bytes.saturating_sub(chunk.data.len() as u64);
            let more = !chunk.after.done;
            scan.chunks.push(chunk);
            if more {
                return Ok(scan);
            }
        }
        scan.exhausted = true;
        Ok(scan)
    }

    // A chunk may be empty: that a file has ended has to be remembered too.
    fn read(
        &mut self,
        entry: &Entry,
        at: Option<&FilePosition>,
        limits: ScanLimits,
    ) -> Result<Chunk, SourceError> {
        let whole = self.source.finite || entry.gzip;
        let wanted = at.map_or(0, |at| at.offset);
        let mut file = match self.current.take() {
            Some(file) if file.name == entry.name && !file.header.is_empty() && file.can_move_to(wanted) => {
                file
            }
            _ => OpenFile::open(&self.folder, entry, whole)?,
        };
        let mut chunk = Chunk {
            file: entry.name.clone(),
            start: wanted.max(file.header_end),
            data: Vec::new(),
            ends: Vec::new(),
            after: FilePosition {
                offset: wanted,
                records: at.map_or(0, |at| at.records),
                size: entry.size,
                done: true,
            },
        };
        if file.header.is_empty() {
            return Ok(chunk);
        }
        file.move_to(chunk.start)?;
        let mut record = csv::ByteRecord::new();
        let mut reader = RecordReader::new(&mut file, limits.bytes);
        let mut at_end = false;
        while (chunk.ends.len() as u64) < limits.records && (reader.end() as u64) < limits.bytes {
            if !reader.next(&mut record)? {
                at_end = true;
                break;
            }
            chunk.ends.push(reader.end());
        }
        let data = reader.finish();
        if !whole && let Some(last) = chunk.ends.pop() {
            let before = chunk.ends.last().copied().unwrap_or(0);
            if is_complete(&data, before, last) {
                chunk.ends.push(last);
            } else {
                at_end = true;
            }
        }
        // What follows the last record (blank lines, or half a record) stays unread.
        let keep = chunk.ends.last().copied().unwrap_or(0);
        chunk.data = file.keep(data, keep);
        chunk.after.offset = chunk.start + keep as u64;
        chunk.after.records += chunk.ends.len() as u64;
        // A growing file that ends in half a record is done as well, until its size changes.
        chunk.after.done = at_end;
        self.current = Some(file);
        Ok(chunk)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::job::Job;

    fn source(folder: &std::path::Path, finite: bool) -> Source {
        let text = format!(
            "name = 'a'\n[source]\nkind = 'files'\npath = '{}'\nfinite = {finite}\ncolumns = [{{ name = 'x' }}]\n\
             [sink]\nkind = 'files'\npath = '/out'\n[checkpoint]\npath = '/state'\n",
            folder.display()
        );
        Job::from_toml_str(&text).unwrap().source
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// Reads everything in scans of `records`, and returns the records' texts.
    fn drain(scout: &mut Scout, position: &mut Position, records: u64) -> Vec<String> {
        let mut seen = Vec::new();
        for _ in 0..1000 {
            let scan = scout.scan(position, ScanLimits { records, bytes: 1 << 20 }).unwrap();
            let mut count = 0;
            for chunk in scan.chunks {
                let mut start = 0;
                for end in chunk.ends {
                    seen.push(String::from_utf8(chunk.data[start..end].to_vec()).unwrap().trim().to_owned());
                    start = end;
                    count += 1;
                }
                position.insert(chunk.file, chunk.after);
            }
            assert!(count <= records);
            if scan.exhausted {
                return seen;
            }
        }
        panic!("no end");
    }

    #[test]
    fn every_record_once_whatever_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.csv"), "x,y\n1,\"a\nb\"\n2,c\n\n").unwrap();
        std::fs::write(at("b.csv.gz"), gzip("y,x\r\nd,3\r\ne,4\r\nf,5")).unwrap();
        std::fs::write(at("c.csv"), "").unwrap();
        std::fs::write(at("d.csv"), "x\n").unwrap();
        std::fs::write(at("e.csv"), "x\n6").unwrap();
        for finite in [true, false] {
            let source = source(folder.path(), finite);
            for records in 1..8 {
                let mut position = Position::new();
                let mut scout = Scout::new(&source);
                let seen = drain(&mut scout, &mut position, records);
                let mut expected = vec!["1,\"a\nb\"", "2,c", "d,3", "e,4", "f,5"];
                if finite {
                    expected.push("6");
                }
                assert_eq!(seen, expected, "finite {finite}, {records} at a time");
                let again =
                    Scout::new(&source).scan(&position, ScanLimits { records: 9, bytes: 99 }).unwrap();
                assert!(again.exhausted && again.chunks.is_empty(), "{again:?}");
            }
        }
    }

    #[test]
    fn a_growing_file_gives_whole_records_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        let source = source(folder.path(), false);
        let (mut scout, mut position, mut seen) = (Scout::new(&source), Position::new(), Vec::new());
        let text = "x,y\n1,a\n2,\"b\nc\"\n3,d\n";
        let mut file = std::fs::File::create(&path).unwrap();
        for byte in text.as_bytes() {
            file.write_all(&[*byte]).unwrap();
            seen.extend(drain(&mut scout, &mut position, 5));
        }
        assert_eq!(seen, ["1,a", "2,\"b\nc\"", "3,d"]);
        std::fs::write(&path, "x,y\n1,a\n").unwrap();
        let error = scout.scan(&position, ScanLimits { records: 1, bytes: 1 }).unwrap_err();
        assert!(matches!(error, SourceError::Shrunk { .. }), "{error}");
    }

    #[test]
    fn a_record_without_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.csv"), format!("x\n{}", "y".repeat(3 << 20))).unwrap();
        let limits = ScanLimits { records: 10, bytes: 1 << 16 };
        let error = Scout::new(&source(folder.path(), true)).scan(&Position::new(), limits).unwrap_err();
        assert!(error.to_string().contains("a.csv"), "{error}");
    }
}
