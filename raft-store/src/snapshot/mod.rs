//! Snapshot files: written beside, synced, renamed into place; verified before anybody relies on them.
//!
//! Owns the folder of snapshots, their names, and which one is current. Keeps the newest two. Refuses to start on a damaged
//! one rather than fall back to an older: the log behind it is gone.

mod format;
mod paced;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::format::Header;
use self::format::{SnapshotReader, SnapshotWriter};
use self::paced::Paced;
use crate::codec::LogIdRecord;
use crate::error::OpenError;
use crate::machine::Frozen;
use crate::types::{LogId, SnapshotMeta, StoredMembership};

const KEEP: usize = 2;
const BUFFER: usize = 1 << 20;
const SUFFIX: &str = "snap";
const TEMPORARY: &str = "tmp";

/// A verified snapshot on disk. Holding it keeps its bytes readable even after a newer one replaced it.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    file: Arc<File>,
}

impl SnapshotFile {
    /// Opens a file and verifies all of it.
    pub(crate) fn verify(path: &Path) -> io::Result<SnapshotFile> {
        let file = File::open(path)?;
        let (header, mut body) = SnapshotReader::new(BufReader::new(&file))?;
        io::copy(&mut body, &mut io::sink())?;
        Ok(SnapshotFile { path: path.to_owned(), header, file: Arc::new(file) })
    }

    /// The body, verified block by block while it is read.
    pub(crate) fn body(&self) -> io::Result<impl Read + use<>> {
        let whole = BufReader::new(FromStart { file: Arc::clone(&self.file), at: 0 });
        SnapshotReader::new(whole).map(|(_, body)| body)
    }

    /// The file as it is from this byte on, for sending; does not move anybody else's position.
    pub(crate) fn raw(&self, from: u64) -> impl Read + Send + use<> {
        FromStart { file: Arc::clone(&self.file), at: from }
    }

    /// Its last bytes, which seal all of it.
    pub(crate) fn trailer(&self) -> io::Result<[u8; format::TRAILER]> {
        let mut bytes = [0; format::TRAILER];
        let at = self.size().saturating_sub(format::TRAILER as u64);
        std::os::unix::fs::FileExt::read_exact_at(&*self.file, &mut bytes, at)?;
        Ok(bytes)
    }

    /// Length of the whole file.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    /// Its length in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |meta| meta.len())
    }

    /// How long ago it was written or received.
    pub(crate) fn age(&self) -> Option<std::time::Duration> {
        self.file.metadata().ok()?.modified().ok()?.elapsed().ok()
    }

    pub(crate) fn meta(&self) -> Result<SnapshotMeta, crate::codec::CodecError> {
        let last_membership = StoredMembership::try_from(self.header.membership.clone())?;
        Ok(SnapshotMeta { last_log_id: self.header.last.map(LogId::from), last_membership })
    }
}

struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let got = std::os::unix::fs::FileExt::read_at(&*self.file, out, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

/// The folder of snapshots. All clones are the same folder.
#[derive(Clone)]
pub(crate) struct Snapshots {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    current: Mutex<Option<SnapshotFile>>,
    /// Held by whoever changes what is in the folder.
    keeping: Mutex<()>,
    temporary: AtomicU64,
}

impl Snapshots {
    /// Opens the folder, removes what was never finished, and verifies the newest snapshot.
    pub(crate) fn open(dir: &Path) -> Result<Snapshots, OpenError> {
        let io_error = |source| OpenError::Io { what: dir.display().to_string(), source };
        fs::create_dir_all(dir).map_err(io_error)?;
        let mut newest: Option<PathBuf> = None;
        for entry in fs::read_dir(dir).map_err(io_error)? {
            let path = entry.map_err(io_error)?.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some(TEMPORARY) => fs::remove_file(&path).map_err(io_error)?,
                Some(SUFFIX) => newest = newest.max(Some(path)),
                _ => {}
            }
        }
        let current = match newest {
            None => None,
            Some(path) => Some(Self::verify_at_start(&path)?),
        };
        let shared = Shared {
            dir: dir.to_owned(),
            current: Mutex::new(current),
            keeping: Mutex::new(()),
            temporary: AtomicU64::new(0),
        };
        Ok(Snapshots { shared: Arc::new(shared) })
    }

    fn verify_at_start(path: &Path) -> Result<SnapshotFile, OpenError> {
        let damaged = |reason: String| OpenError::Damaged { file: path.to_owned(), reason };
        let file = SnapshotFile::verify(path).map_err(|e| damaged(e.to_string()))?;
        if path.file_name().and_then(|n| n.to_str()) != Some(&file_name(file.header.last)) {
            return Err(damaged(format!("its name does not fit its last entry {:?}", file.header.last)));
        }
        file.meta().map_err(|e| damaged(e.to_string()))?;
        Ok(file)
    }

    /// The newest snapshot.
    pub(crate) fn current(&self) -> Option<SnapshotFile> {
        self.lock().clone()
    }

    /// A name for a file that is being received or written.
    pub(crate) fn temporary(&self) -> PathBuf {
        let n = self.shared.temporary.fetch_add(1, Ordering::Relaxed);
        self.shared.dir.join(format!("{n:06}.{TEMPORARY}"))
    }

    /// Writes a frozen copy and makes it current. Blocks.
    pub(crate) fn write(&self, header: &Header, frozen: Frozen) -> io::Result<SnapshotFile> {
        let path = self.temporary();
        let written = File::create_new(&path).and_then(|file| {
            let mut writer = SnapshotWriter::new(BufWriter::with_capacity(BUFFER, Paced::new(file)), header)?;
            frozen(&mut writer)?;
            let paced = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
            paced.finish()
        });
        let kept = written.and_then(|()| self.keep(SnapshotFile::verify(&path)?));
        if kept.is_err() {
            // It stays behind at worst and is removed at the next start.
            drop(fs::remove_file(&path));
        }
        kept
    }

    /// Verifies a received file, which must be complete and synced. Blocks.
    pub(crate) fn check(&self, path: &Path) -> io::Result<SnapshotFile> {
        SnapshotFile::verify(path)
    }

    /// Gives a temporary file its final name and makes it current, unless a newer one already is. Blocks.
    pub(crate) fn keep(&self, file: SnapshotFile) -> io::Result<SnapshotFile> {
        let path = self.shared.dir.join(file_name(file.header.last));
        let mut source = file.path.clone();
        if source.parent() != Some(&self.shared.dir) {
            // From another folder: bring it here first, renaming must stay within one file system.
            source = self.temporary();
            fs::copy(&file.path, &source)?;
            File::open(&source)?.sync_all()?;
        }
        let _one_at_a_time = self.shared.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        fs::rename(&source, &path)?;
        File::open(&self.shared.dir)?.sync_all()?;
        let file = SnapshotFile { path, ..file };
        // Not held while the disk works: raft asks for it on the threads that keep its heartbeats.
        let mut current = self.lock();
        if current.as_ref().is_none_or(|c| c.header.last_index() <= file.header.last_index()) {
            *current = Some(file.clone());
        }
        drop(current);
        self.prune()?;
        Ok(file)
    }

    fn prune(&self) -> io::Result<()> {
        let mut all: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(&self.shared.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == SUFFIX) {
                all.push(path);
            }
        }
        all.sort();
        let excess = all.len().saturating_sub(KEEP);
        all.iter().take(excess).try_for_each(fs::remove_file)
    }

    fn lock(&self) -> MutexGuard<'_, Option<SnapshotFile>> {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sorts like the log.
fn file_name(last: Option<LogIdRecord>) -> String {
    let last = last.unwrap_or(LogIdRecord { term: 0, node: 0, index: 0 });
    format!("{:020}-{:020}-{:020}.{SUFFIX}", last.index, last.term, last.node)
}
