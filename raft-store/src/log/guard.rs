//! A few bytes beside the log that say how far it was acknowledged. If the log is ever found behind them, entries are gone.
//!
//! Owns one small file, overwritten in place and synced after every commit and before anybody is told of it: it is never newer
//! than the log, and never older than what was acknowledged. So a log that lost its end to damage differs from one whose end
//! was never finished, which the database cannot tell by itself: it takes the older of its two commit slots for both.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::disk::{Damage, Tail};
use crate::codec;

const PLACE: u64 = 0x6775_6172_6400;
/// Fixed size, so that a shorter record never leaves the end of a longer one behind.
const SIZE: usize = 64;

/// The open guard file.
#[derive(Debug)]
pub(crate) struct Guard {
    path: PathBuf,
    file: File,
}

impl Guard {
    /// Reads the guard if there is one.
    pub(crate) fn read(path: &Path) -> Result<Option<Tail>, GuardError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(GuardError::Io(e)),
        };
        let damaged = |what: String| GuardError::Damaged(Damage(what));
        if bytes.len() != SIZE {
            return Err(damaged(format!("it has {} bytes instead of {SIZE}", bytes.len())));
        }
        let body = codec::unseal(PLACE, &bytes).map_err(|e| damaged(e.to_string()))?;
        let (tail, _padding) = codec::split(body).map_err(|e| damaged(e.to_string()))?;
        Ok(Some(tail))
    }

    /// Opens the guard for writing, creating it durably if it is missing.
    pub(crate) fn open(path: &Path, tail: Tail) -> io::Result<Guard> {
        let missing = !path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let guard = Guard { path: path.to_owned(), file };
        guard.write(tail)?;
        if missing {
            guard.file.sync_all()?;
            if let Some(parent) = path.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(guard)
    }

    /// Records that everything up to this commit may be acknowledged.
    pub(crate) fn write(&self, tail: Tail) -> io::Result<()> {
        let mut body = codec::to_bytes(&tail);
        body.resize(SIZE - 5, 0);
        // One sector: it is there whole or not at all.
        self.file
            .write_all_at(&codec::seal(PLACE, &body), 0)
            .and_then(|()| self.file.sync_data())
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.path.display())))
    }
}

/// Why the guard could not be read.
#[derive(Debug)]
pub(crate) enum GuardError {
    Damaged(Damage),
    Io(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::LogIdRecord;

    fn tail(serial: u64) -> Tail {
        Tail { serial, last: Some(LogIdRecord { term: u64::MAX, node: u64::MAX, index: u64::MAX - serial }) }
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard");
        assert!(Guard::read(&path).unwrap().is_none());
        let guard = Guard::open(&path, Tail::default()).unwrap();
        assert_eq!(Guard::read(&path).unwrap(), Some(Tail::default()));
        guard.write(tail(u64::MAX)).unwrap();
        guard.write(tail(3)).unwrap();
        assert_eq!(Guard::read(&path).unwrap(), Some(tail(3)));
    }

    #[test]
    fn damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard");
        Guard::open(&path, tail(9)).unwrap();
        let good = std::fs::read(&path).unwrap();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 4;
            std::fs::write(&path, &bad).unwrap();
            assert!(matches!(Guard::read(&path), Err(GuardError::Damaged(_))), "byte {byte}");
        }
        std::fs::write(&path, &good[..20]).unwrap();
        assert!(matches!(Guard::read(&path), Err(GuardError::Damaged(_))));
    }
}
