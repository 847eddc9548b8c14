//! The journal file: a header, then batches of records, each with its length and checksum.
//!
//! ```text
//! "tepuiagt" format:u32le │ length:u32le crc32c:u32le payload │ length … payload │ …
//!                           payload: (length:u32le record)*
//! ```
//! A batch is made durable before the next is written, so only the last one can be torn by a crash: that one was never
//! confirmed and is cut off. Anything else that does not add up is damage, and is refused with its place.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tepui_agent_core::checkpoint::{Record, State};

use crate::Error;
use crate::layout::sync_folder;

const MAGIC: &[u8; 8] = b"tepuiagt";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 12;
const FRAME_BYTES: usize = 8;
/// Below this the file is never rewritten; above, once it holds mostly what is no longer true.
const REWRITE_BYTES: u64 = 4 << 20;

/// An open journal and what it says.
pub(crate) struct JournalFile {
    path: PathBuf,
    file: File,
    state: State,
    bytes: u64,
    /// Size just after the last rewrite.
    bytes_live: u64,
}

impl JournalFile {
    /// Reads a journal, or begins one. Cuts a torn end off.
    ///
    /// # Errors
    /// The file is damaged, of an unknown format, or cannot be read or written.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        let state = if bytes.is_empty() { State::default() } else { read(path, &bytes)? };
        let (file, size) = write_whole(path, &state).map_err(Error::file("write", path))?;
        Ok(Self { path: path.to_owned(), file, state, bytes: size, bytes_live: size })
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Appends records as one batch and makes them durable.
    ///
    /// # Errors
    /// The file cannot be written; it must not be used further.
    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), Error> {
        for record in records {
            self.state.apply(record);
        }
        let frame = frame(records);
        let path = &self.path;
        self.file.write_all(&frame).map_err(Error::file("append to", path))?;
        self.file.sync_data().map_err(Error::file("make durable", path))?;
        self.bytes += frame.len() as u64;
        if self.bytes > REWRITE_BYTES && self.bytes > 4 * self.bytes_live {
            (self.file, self.bytes) = write_whole(path, &self.state).map_err(Error::file("rewrite", path))?;
            self.bytes_live = self.bytes;
        }
        Ok(())
    }
}

/// Writes the shortest journal with this meaning in place of the old one; returns it open for appending.
fn write_whole(path: &Path, state: &State) -> std::io::Result<(File, u64)> {
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&draft)?;
    file.write_all(MAGIC)?;
    file.write_all(&FORMAT.to_le_bytes())?;
    file.write_all(&frame(&state.records()))?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_folder(path)?;
    let size = file.seek(SeekFrom::End(0))?;
    Ok((file, size))
}

fn frame(records: &[Record]) -> Vec<u8> {
    let mut payload = Vec::new();
    for record in records {
        let bytes = record.encode();
        // A record holds one TaskInfo, which came in a message of bounded size.
        let length = u32::try_from(bytes.len()).expect("a record is smaller than 4 GiB");
        payload.extend_from_slice(&length.to_le_bytes());
        payload.extend_from_slice(&bytes);
    }
    let length = u32::try_from(payload.len()).expect("a batch is smaller than 4 GiB");
    let mut frame = Vec::with_capacity(payload.len() + FRAME_BYTES);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
    frame.extend_from_slice(&payload);
    frame
}

fn read(path: &Path, bytes: &[u8]) -> Result<State, Error> {
    let damaged = |offset: usize, reason: String| Error::Damaged {
        path: path.to_owned(),
        offset: offset as u64,
        reason,
    };
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return Err(damaged(0, "not an agent's journal".to_owned()));
    }
    let format = word(bytes, MAGIC.len()).unwrap_or_default();
    if format != FORMAT {
        return Err(Error::UnknownFormat { path: path.to_owned(), found: format, known: FORMAT });
    }
    let mut state = State::default();
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let Some(payload) = payload(bytes, at) else {
            tracing::warn!(path = %path.display(), offset = at, lost = bytes.len() - at, "cut a torn end off the journal");
            return Ok(state);
        };
        let sum = word(bytes, at + 4).unwrap_or_default();
        let end = at + FRAME_BYTES + payload.len();
        if crc32c::crc32c(payload) != sum || payload.is_empty() {
            // Behind a torn last batch there is nothing, or what the file system filled in.
            if bytes[end..].iter().all(|byte| *byte == 0) {
                tracing::warn!(path = %path.display(), offset = at, "cut a torn end off the journal");
                return Ok(state);
            }
            return Err(damaged(at, "wrong checksum".to_owned()));
        }
        let mut inner = 0;
        while inner < payload.len() {
            let record = word(payload, inner)
                .and_then(|length| payload.get(inner + 4..)?.get(..length as usize))
                .ok_or_else(|| damaged(at, "a record is longer than its batch".to_owned()))?;
            state.apply(&Record::decode(record).map_err(|error| damaged(at, error.to_string()))?);
            inner += 4 + record.len();
        }
        at = end;
    }
    Ok(state)
}

/// Returns the payload of the batch that begins at `at`, or `None` if the file ends before it does.
fn payload(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = word(bytes, at)?;
    bytes.get(at + FRAME_BYTES..)?.get(..length as usize)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word: [u8; 4] = bytes.get(at..)?.get(..4)?.try_into().ok()?;
    Some(u32::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use tepui_agent_core::checkpoint::{FORMAT as RECORD_FORMAT, Kind};

    use super::*;

    fn epoch(epoch: u64) -> Record {
        Record { format: RECORD_FORMAT, kind: Some(Kind::Epoch(epoch)) }
    }

    /// A journal of two batches behind the initial one; returns its path and bytes.
    fn journal(folder: &Path) -> (PathBuf, Vec<u8>) {
        let path = folder.join("journal");
        let mut journal = JournalFile::open(&path).unwrap();
        journal.append(&[epoch(1), epoch(2)]).unwrap();
        journal.append(&[epoch(3)]).unwrap();
        assert_eq!(journal.state().epoch, 3);
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    }

    #[test]
    fn what_was_appended_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = journal(folder.path());
        assert_eq!(JournalFile::open(&path).unwrap().state().epoch, 3);
    }

    #[test]
    fn a_torn_end_is_cut_off_wherever_it_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let (path, bytes) = journal(folder.path());
        let last = frame(&[epoch(3)]).len();
        for lost in 1..=last {
            fs::write(&path, &bytes[..bytes.len() - lost]).unwrap();
            assert_eq!(JournalFile::open(&path).unwrap().state().epoch, 2, "{lost} bytes lost");
        }
        let mut zeros = bytes[..bytes.len() - last].to_vec();
        zeros.extend([0; 100]);
        fs::write(&path, zeros).unwrap();
        assert_eq!(JournalFile::open(&path).unwrap().state().epoch, 2);
    }

    #[test]
    fn damage_in_the_middle_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut bytes) = journal(folder.path());
        let at = bytes.len() - frame(&[epoch(3)]).len() - 1;
        bytes[at] ^= 0xff;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(JournalFile::open(&path), Err(Error::Damaged { offset, .. }) if offset > 0));
    }

    #[test]
    fn unknown_formats_and_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mut bytes) = journal(folder.path());
        bytes[8] = 9;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(JournalFile::open(&path), Err(Error::UnknownFormat { found: 9, .. })));
        fs::write(&path, "something else").unwrap();
        assert!(matches!(JournalFile::open(&path), Err(Error::Damaged { offset: 0, .. })));
    }
}
