//! One opened file of the folder: its header, and its uncompressed bytes from a known offset on.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::error::SourceError;
use super::listing::Entry;

/// Longest record, and longest header.
pub(super) const MAX_RECORD_BYTES: u64 = 1 << 20;

enum Decoder {
    Plain(File),
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

/// An opened file that stands at `offset`.
pub(super) struct OpenFile {
    pub(super) name: String,
    pub(super) gzip: bool,
    /// Column names; empty if the file has no complete header yet.
    pub(super) header: Vec<String>,
    /// Offset of the first record.
    pub(super) header_end: u64,
    pub(super) offset: u64,
    decoder: Decoder,
    /// Bytes that were read ahead, and come before those of the decoder.
    ahead: Vec<u8>,
}

impl OpenFile {
    /// Opens the file and reads its header. `whole` says that nothing will be appended, so a last line without an end counts.
    pub(super) fn open(folder: &Path, entry: &Entry, whole: bool) -> Result<Self, SourceError> {
        let file = File::open(folder.join(&entry.name)).map_err(SourceError::io(&entry.name))?;
        let decoder = if entry.gzip {
            Decoder::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 << 10, file))))
        } else {
            Decoder::Plain(file)
        };
        let mut opened = Self {
            name: entry.name.clone(),
            gzip: entry.gzip,
            header: Vec::new(),
            header_end: 0,
            offset: 0,
            decoder,
            ahead: Vec::new(),
        };
        let mut header = csv::ByteRecord::new();
        let mut records = RecordReader::new(&mut opened, 0);
        let found = records.next(&mut header)?;
        let (end, data) = (records.end(), records.finish());
        let complete = found && (whole || entry.gzip || is_complete(&data, 0, end));
        let keep = if complete { end } else { 0 };
        opened.unread(&data, keep);
        if complete {
            opened.header = header.iter().map(|f| String::from_utf8_lossy(f).trim().to_owned()).collect();
            opened.header_end = keep as u64;
        }
        Ok(opened)
    }

    /// Moves forward to `offset`; a plain file may also go back.
    pub(super) fn move_to(&mut self, offset: u64) -> Result<(), SourceError> {
        if let Decoder::Plain(file) = &mut self.decoder
            && offset != self.offset
        {
            file.seek(SeekFrom::Start(offset)).map_err(SourceError::io(&self.name))?;
            self.ahead.clear();
            self.offset = offset;
        }
        if offset < self.offset {
            let source =
                io::Error::new(io::ErrorKind::InvalidInput, "a compressed file cannot be read backwards");
            return Err(SourceError::Io { file: self.name.clone(), source });
        }
        let skip = offset - self.offset;
        let skipped =
            io::copy(&mut self.by_ref().take(skip), &mut io::sink()).map_err(SourceError::io(&self.name))?;
        if skipped != skip {
            let detail = format!("it ends at byte {} before the position {offset}", self.offset);
            return Err(SourceError::Changed { file: self.name.clone(), detail });
        }
        Ok(())
    }

    /// Whether the file can be moved to `offset` without being opened anew.
    pub(super) fn can_move_to(&self, offset: u64) -> bool {
        offset >= self.offset || !self.gzip
    }

    /// Puts back what was read beyond the first `keep` bytes of `data`, which was read from here.
    fn unread(&mut self, data: &[u8], keep: usize) {
        let rest = &data[keep..];
        self.offset -= rest.len() as u64;
        self.ahead.splice(0..0, rest.iter().copied());
    }
}

impl Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = if self.ahead.is_empty() {
            self.decoder.read(buffer)?
        } else {
            let count = buffer.len().min(self.ahead.len());
            buffer[..count].copy_from_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            count
        };
        self.offset += count as u64;
        Ok(count)
    }
}

/// Remembers every byte that passes, so that what was read ahead can be put back. Bounded, because a record has to end.
struct Capture<'a> {
    file: &'a mut OpenFile,
    data: Vec<u8>,
    limit: usize,
}

impl Read for Capture<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.data.len() >= self.limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a record has no end"));
        }
        let count = self.file.read(buffer)?;
        self.data.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

/// Reads records from where a file stands, and keeps their bytes.
pub(super) struct RecordReader<'a> {
    name: String,
    base: u64,
    reader: csv::Reader<Capture<'a>>,
    before: usize,
}

impl<'a> RecordReader<'a> {
    /// `limit_bytes` says after how many bytes the caller asks for no further record.
    pub(super) fn new(file: &'a mut OpenFile, limit_bytes: u64) -> Self {
        let (name, base) = (file.name.clone(), file.offset);
        let limit = usize::try_from(limit_bytes + 2 * MAX_RECORD_BYTES).unwrap_or(usize::MAX);
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(32 << 10)
            .from_reader(Capture { file, data: Vec::new(), limit });
        Self { name, base, reader, before: 0 }
    }

    /// Reads the next record; false at the end of the file.
    pub(super) fn next(&mut self, record: &mut csv::ByteRecord) -> Result<bool, SourceError> {
        self.before = self.end();
        let found = self.reader.read_byte_record(record).map_err(|error| SourceError::Io {
            file: self.name.clone(),
            source: match error.into_kind() {
                csv::ErrorKind::Io(source) => source,
                other => io::Error::new(io::ErrorKind::InvalidData, format!("{other:?}")),
            },
        })?;
        if (self.end() - self.before) as u64 > MAX_RECORD_BYTES {
            let offset = self.base + self.before as u64;
            return Err(SourceError::RecordTooLong {
                file: self.name.clone(),
                offset,
                limit: MAX_RECORD_BYTES,
            });
        }
        Ok(found)
    }

    /// Bytes from the start up to the end of the last record.
    pub(super) fn end(&self) -> usize {
        usize::try_from(self.reader.position().byte()).unwrap_or(usize::MAX)
    }

    /// Returns all bytes that were read, those ahead of the last record included.
    pub(super) fn finish(self) -> Vec<u8> {
        // The reader cannot be taken apart without its buffer; only the bytes are of interest.
        self.reader.into_inner().data
    }
}

impl OpenFile {
    /// Gives back the bytes beyond `keep`, and returns the rest. `data` is what a [`RecordReader`] read from here.
    pub(super) fn keep(&mut self, mut data: Vec<u8>, keep: usize) -> Vec<u8> {
        self.unread(&data, keep);
        data.truncate(keep);
        data
    }
}

/// Returns whether the record `data[start..end]` has more data behind it, or its line end outside of quotes: in a file that
/// may grow, the last record may be half written.
pub(super) fn is_complete(data: &[u8], start: usize, end: usize) -> bool {
    let record = &data[start..end];
    let closed = record.iter().filter(|b| **b == b'"').count() % 2 == 0;
    end < data.len() || (closed && matches!(record.last(), Some(b'\n' | b'\r')))
}
