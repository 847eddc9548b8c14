//! Writing a large file beside a log whose syncs somebody waits for: in small portions, each synced, and not faster than the disk
//! bears.
//!
//! Owns the portions. One sync of hundreds of megabytes at the end would hold up every sync of the log behind it. Blocks.

use std::fs::File;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

/// Synced whenever so many bytes were written.
const PORTION: u64 = 4 << 20;
/// Not more than so many bytes a second.
const RATE: u64 = 150 << 20;

/// See the module head.
pub(super) struct Paced {
    file: File,
    began: Instant,
    written: u64,
    synced: u64,
}

impl Paced {
    pub(super) fn new(file: File) -> Paced {
        Paced { file, began: Instant::now(), written: 0, synced: 0 }
    }

    /// Makes everything durable.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn rest(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced = self.written;
        if let Some(ahead) = due(self.written).checked_sub(self.began.elapsed()) {
            thread::sleep(ahead);
        }
        Ok(())
    }
}

/// How long so many bytes should take at least.
pub(crate) fn due(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / RATE)
}

impl Write for Paced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.file.write(bytes)?;
        self.written += taken as u64;
        if self.written - self.synced >= PORTION {
            self.rest()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_in_synced_portions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut paced = Paced::new(File::create(&path).unwrap());
        let bytes: Vec<u8> = (0..3 * PORTION as usize + 5).map(|i| i as u8).collect();
        for piece in bytes.chunks(1 << 20) {
            paced.write_all(piece).unwrap();
        }
        assert_eq!(paced.synced, 3 * PORTION);
        paced.finish().unwrap();
        assert!(std::fs::read(path).unwrap() == bytes);
        assert_eq!(due(RATE), Duration::from_secs(1));
    }
}
