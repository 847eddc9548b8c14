//! Files that other processes rely on: written once, fsynced, named by length and SHA-256, verified when read.
//!
//! Refuses to overwrite: every name is unique, so a stale writer can only leave an orphan behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A file below a known folder, and what must be in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Path below its folder.
    pub name: String,
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// A failed file operation, with the file it was about.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    #[error("{action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} does not hold what was written: {detail}", path.display())]
    Corrupt { path: PathBuf, detail: String },
    #[error(
        "{} was committed by this job and is gone: it is neither in {} nor staged there. Put it back; or, to begin the job afresh, \
         submit it under another `name`, with empty folders in `sink.path` and `checkpoint.path`",
        path.display(), root.display()
    )]
    Lost { path: PathBuf, root: PathBuf },
}

impl FileFault {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn corrupt(path: &Path, detail: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), detail: detail.into() }
    }
}

/// How hard files are pushed to disk. Simulated runs, whose crashes never lose the page cache, skip the fsyncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    sync: bool,
    /// Published files are replaced: only for tests that have to fail.
    careless: bool,
}

impl Disk {
    /// Every file and every folder change is fsynced.
    pub const DURABLE: Self = Self { sync: true, careless: false };
    /// Nothing is fsynced: for tests.
    pub const VOLATILE: Self = Self { sync: false, careless: false };
    #[cfg(test)]
    pub(crate) const CARELESS: Self = Self { sync: false, careless: true };

    /// Writes a new file `name` below `folder`, and returns its reference. The folder's own entry is made durable too.
    pub(crate) fn write_new(self, folder: &Path, name: &str, content: &[u8]) -> Result<FileRef, FileFault> {
        let path = folder.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(FileFault::io("create", &path))?;
        file.write_all(content).map_err(FileFault::io("write", &path))?;
        if self.sync {
            file.sync_all().map_err(FileFault::io("fsync", &path))?;
        }
        self.sync_folder(folder)?;
        Ok(FileRef { name: name.to_owned(), bytes: content.len() as u64, sha256: hex_sha256(content) })
    }

    /// Whether a file that exists may be replaced.
    pub(crate) fn replaces(self) -> bool {
        self.careless
    }

    /// Makes folder entries durable.
    pub(crate) fn sync_folder(self, folder: &Path) -> Result<(), FileFault> {
        if self.sync {
            File::open(folder).and_then(|f| f.sync_all()).map_err(FileFault::io("fsync folder", folder))?;
        }
        Ok(())
    }

    /// Makes `folder` and its parents, durably.
    pub(crate) fn make_folder(self, folder: &Path) -> Result<(), FileFault> {
        if folder.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(folder).map_err(FileFault::io("create folder", folder))?;
        if let Some(parent) = folder.parent() {
            self.sync_folder(parent)?;
        }
        Ok(())
    }
}

/// Reads a referenced file and verifies length and hash.
pub(crate) fn read_verified(folder: &Path, reference: &FileRef) -> Result<Vec<u8>, FileFault> {
    let path = folder.join(&reference.name);
    let file = File::open(&path).map_err(FileFault::io("open", &path))?;
    let mut content = Vec::new();
    // One byte more than expected is enough to see that a file is too long.
    file.take(reference.bytes.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(FileFault::io("read", &path))?;
    if content.len() as u64 != reference.bytes {
        return Err(FileFault::corrupt(&path, format!("{} bytes expected, length differs", reference.bytes)));
    }
    if hex_sha256(&content) != reference.sha256 {
        return Err(FileFault::corrupt(&path, "its SHA-256 differs"));
    }
    Ok(content)
}

/// Returns whether `name` can be joined to a folder without leaving it.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove_if_present(path: &Path) -> Result<(), FileFault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileFault::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Returns the SHA-256 of `content` in lower-case hexadecimal.
pub(crate) fn hex_sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_verified() {
        let folder = tempfile::tempdir().unwrap();
        let reference = Disk::DURABLE.write_new(folder.path(), "a", b"hello").unwrap();
        assert_eq!(read_verified(folder.path(), &reference).unwrap(), b"hello");
        assert!(Disk::DURABLE.write_new(folder.path(), "a", b"other").is_err(), "names are never reused");
        for changed in [&b"hellO"[..], b"hell", b"hello!"] {
            fs::write(folder.path().join("a"), changed).unwrap();
            assert!(matches!(read_verified(folder.path(), &reference), Err(FileFault::Corrupt { .. })));
        }
    }

    #[test]
    fn names_cannot_leave_their_folder() {
        assert!(is_plain_name("2013-01.csv.gz"));
        for name in ["", ".", "..", "a/b", "../x", "a\0"] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }
}
