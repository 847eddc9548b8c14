//! A disk that misbehaves on demand: for tests in this process and for faults injected into real ones. Off unless a file is named.
//!
//! Owns the little language of that file, read anew before every sync: lines `delay MILLISECONDS`, `fail`, `free BYTES`. What it does
//! not understand it ignores, so that a half-written file harms nobody.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, thread};

/// See the module head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    file: Option<PathBuf>,
}

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    delay: Duration,
    fail: bool,
    free: Option<u64>,
}

impl Faults {
    pub(crate) fn told_by(file: Option<&Path>) -> Faults {
        Faults { file: file.map(Path::to_owned) }
    }

    /// Waits or fails as told. Blocks.
    pub(crate) fn before_sync(&self) -> io::Result<()> {
        let told = self.told();
        if !told.delay.is_zero() {
            thread::sleep(told.delay);
        }
        if told.fail { Err(io::Error::other("told to fail")) } else { Ok(()) }
    }

    /// How many bytes of the disk are free, if it is not the disk that is to be asked.
    pub(crate) fn free(&self) -> Option<u64> {
        self.told().free
    }

    fn told(&self) -> Told {
        let text = self.file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        text.map(|text| parse(&text)).unwrap_or_default()
    }
}

fn parse(text: &str) -> Told {
    let mut told = Told::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next().and_then(|word| word.parse().ok())) {
            (Some("delay"), Some(ms)) => told.delay = Duration::from_millis(ms),
            (Some("fail"), _) => told.fail = true,
            (Some("free"), Some(bytes)) => told.free = Some(bytes),
            _ => {}
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_understands_it_does() {
        let told = Told { delay: Duration::from_millis(5), fail: true, free: Some(7) };
        assert_eq!(parse("delay 5\nfree 7\nnonsense\ndelay x\nfail\n"), told);
        assert_eq!(parse(""), Told::default());
        Faults::default().before_sync().unwrap();
    }
}
