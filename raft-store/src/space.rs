//! Room on the disk: how much is left, what that means, and a reserve for the time when it is nearly gone.
//!
//! Owns the watermarks and one file of nothing, which is deleted when the disk fills up, so that votes and the entries of a new leader
//! still find room. Decides nothing about leadership or commands; whoever asks for the level does.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::config::DiskLimits;
use crate::log::faults::Faults;

const RESERVE_FILE: &str = "reserve";
/// The reserve is no larger than this, in bytes.
const MAX_RESERVE: u64 = 64 << 20;

/// How much room there is, from the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskLevel {
    /// Enough for everything.
    #[default]
    Enough,
    /// This replica should not lead: others have more.
    Low,
    /// A leader takes no commands.
    Full,
    /// Not even a follower takes entries.
    Exhausted,
}

/// See the module head.
pub(crate) struct Space {
    dir: PathBuf,
    limits: DiskLimits,
    faults: Faults,
    level: DiskLevel,
}

impl Space {
    pub(crate) fn new(dir: &Path, limits: DiskLimits, faults: Faults) -> Space {
        Space { dir: dir.to_owned(), limits, faults, level: DiskLevel::Enough }
    }

    /// Whether anything is to be watched.
    pub(crate) fn watched(&self) -> bool {
        self.limits.low_bytes > 0
    }

    /// Looks at the disk, and releases or restores the reserve. Returns the bytes that are free and what they mean. Blocks.
    pub(crate) fn look(&mut self) -> io::Result<(u64, DiskLevel)> {
        let free = match self.faults.free() {
            Some(told) => told,
            None => {
                let found = statvfs(&self.dir)?;
                found.f_bavail.saturating_mul(found.f_frsize)
            }
        };
        let held = fs::metadata(self.path()).map_or(0, |meta| meta.len());
        // What was released is not there to be filled: else writing would go on into the reserve.
        let released = reserve(&self.limits).saturating_sub(held);
        let counted = if self.level >= DiskLevel::Full { free.saturating_sub(released) } else { free };
        self.level = judge(&self.limits, self.level, counted);
        match self.level {
            DiskLevel::Enough if released > 0 => self.restore()?,
            DiskLevel::Full | DiskLevel::Exhausted if held > 0 => fs::remove_file(self.path())?,
            _ => {}
        }
        Ok((free, self.level))
    }

    fn path(&self) -> PathBuf {
        self.dir.join(RESERVE_FILE)
    }

    fn restore(&self) -> io::Result<()> {
        let file = File::options().write(true).create(true).truncate(false).open(self.path())?;
        fallocate(&file, FallocateFlags::empty(), 0, reserve(&self.limits))?;
        Ok(())
    }
}

fn reserve(limits: &DiskLimits) -> u64 {
    (limits.full_bytes / 4).min(MAX_RESERVE)
}

/// What so many free bytes mean after `before`. A level is left upwards only when there is a quarter more than it takes.
fn judge(limits: &DiskLimits, before: DiskLevel, free: u64) -> DiskLevel {
    let levels = [
        (DiskLevel::Exhausted, limits.full_bytes / 4),
        (DiskLevel::Full, limits.full_bytes),
        (DiskLevel::Low, limits.low_bytes),
    ];
    for (level, below) in levels {
        let below = if before >= level { below.saturating_add(below / 4) } else { below };
        if free < below {
            return level;
        }
    }
    DiskLevel::Enough
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DiskLimits = DiskLimits { low_bytes: 1000, full_bytes: 400, ..DiskLimits::DEFAULT };

    #[test]
    fn levels_are_left_with_a_margin() {
        let mut level = DiskLevel::Enough;
        for (free, expected) in [
            (1000, DiskLevel::Enough),
            (999, DiskLevel::Low),
            (1100, DiskLevel::Low),
            (399, DiskLevel::Full),
            (450, DiskLevel::Full),
            (99, DiskLevel::Exhausted),
            (120, DiskLevel::Exhausted),
            (125, DiskLevel::Full),
            (500, DiskLevel::Low),
            (1250, DiskLevel::Enough),
            (0, DiskLevel::Exhausted),
        ] {
            level = judge(&LIMITS, level, free);
            assert_eq!(level, expected, "{free} free");
        }
    }

    #[test]
    fn the_reserve_is_given_up_when_the_disk_is_full_and_taken_back_after() {
        let dir = tempfile::tempdir().unwrap();
        let told = dir.path().join("faults");
        let limits = DiskLimits { low_bytes: 1 << 22, full_bytes: 1 << 20, ..DiskLimits::DEFAULT };
        let mut space = Space::new(dir.path(), limits, Faults::told_by(Some(&told)));
        let reserve = dir.path().join(RESERVE_FILE);
        let mut look = |free: u64| {
            fs::write(&told, format!("free {free}")).unwrap();
            space.look().unwrap().1
        };
        assert_eq!(look(1 << 30), DiskLevel::Enough);
        assert_eq!(fs::metadata(&reserve).unwrap().len(), 1 << 18);
        assert_eq!(look(1 << 21), DiskLevel::Low);
        assert!(reserve.exists());
        assert_eq!(look((1 << 20) - 1), DiskLevel::Full);
        assert!(!reserve.exists());
        // What that freed must not count.
        assert_eq!(look((1 << 20) + (1 << 18)), DiskLevel::Full);
        assert_eq!(look(1 << 30), DiskLevel::Enough);
        assert!(reserve.exists());
    }

    #[test]
    fn a_real_disk_answers() {
        let dir = tempfile::tempdir().unwrap();
        let mut space = Space::new(dir.path(), DiskLimits::DEFAULT, Faults::default());
        assert!(space.look().unwrap().0 > 0);
    }
}
