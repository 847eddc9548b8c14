//! Reads exactly one planned range, and refuses bytes that are not the planned ones.

use std::io::Read;
use std::path::PathBuf;

use super::error::SourceError;
use super::listing::Entry;
use super::open::OpenFile;
use super::position::Range;
use crate::job::{Compression, Source};

/// Files that stay open for the next range.
const MAX_OPEN: usize = 4;

/// The bytes of a range, and the header of its file.
pub(crate) struct RangeData {
    pub(crate) header: Vec<String>,
    pub(crate) data: Vec<u8>,
}

/// Reads ranges of one folder. Keeps a few files open, because compressed ones can only be read forward.
pub(crate) struct RangeReader {
    folder: PathBuf,
    compression: Compression,
    open: Vec<OpenFile>,
}

impl RangeReader {
    pub(crate) fn new(source: &Source) -> Self {
        Self { folder: source.path.clone(), compression: source.compression, open: Vec::new() }
    }

    /// Returns the bytes that were planned.
    ///
    /// # Errors
    /// If the file cannot be read, or holds other bytes than when the range was planned.
    pub(crate) fn read(&mut self, range: &Range) -> Result<RangeData, SourceError> {
        if !crate::files::is_plain_name(&range.file) {
            let detail = "its name is no name of a file in the folder".to_owned();
            return Err(SourceError::Changed { file: range.file.clone(), detail });
        }
        let kept = self.open.iter().position(|f| f.name == range.file && f.can_move_to(range.start));
        let mut file = match kept {
            Some(index) => self.open.remove(index),
            None => OpenFile::open(&self.folder, &self.entry(&range.file), true)?,
        };
        file.move_to(range.start)?;
        let length = range.end.saturating_sub(range.start);
        let mut data = Vec::new();
        file.by_ref().take(length).read_to_end(&mut data).map_err(SourceError::io(&range.file))?;
        let changed = |detail: String| SourceError::Changed { file: range.file.clone(), detail };
        if data.len() as u64 != length {
            return Err(changed(format!("it ends before byte {} of the plan", range.end)));
        }
        let mut crc = flate2::Crc::new();
        crc.update(&data);
        if crc.sum() != range.crc {
            return Err(changed(format!("bytes {} to {} are not those of the plan", range.start, range.end)));
        }
        let header = file.header.clone();
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        self.open.push(file);
        Ok(RangeData { header, data })
    }

    fn entry(&self, name: &str) -> Entry {
        let gzip = match self.compression {
            Compression::None => false,
            Compression::Gzip => true,
            Compression::Auto => name.ends_with(".gz"),
        };
        Entry { name: name.to_owned(), size: 0, gzip }
    }
}
