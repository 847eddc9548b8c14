//! What a run leaves behind: a hash of everything that happened, in order, and, if somebody wants to read it, the last things in words.
//! Knows no address, no thread and no clock, so that equal seeds leave equal hashes in every process.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Lines that are kept for a violation's report.
const KEPT: usize = 60;
const FACTOR: u64 = 0x517c_c1b7_2722_0a95;

/// The last lines of a run; outlives a run that panics.
pub(crate) type Lines = Rc<RefCell<VecDeque<String>>>;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    lines: Option<Lines>,
    /// Everything is printed as it happens.
    loud: bool,
}

impl Trace {
    /// A trace in words as well.
    pub(crate) fn telling(lines: Lines) -> Self {
        Trace { lines: Some(lines), loud: std::env::var_os("TEPUI_SIM_TRACE").is_some(), ..Trace::default() }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn tells(&self) -> bool {
        self.lines.is_some()
    }

    pub(crate) fn is_loud(&self) -> bool {
        self.loud
    }

    pub(crate) fn mix(&mut self, word: u64) {
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }

    pub(crate) fn mix_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let tail = rest.iter().fold(bytes.len() as u64, |tail, byte| tail << 8 | u64::from(*byte));
        self.mix(tail);
    }

    pub(crate) fn tell(&self, line: String) {
        if self.loud {
            eprintln!("{line}");
        }
        let Some(lines) = &self.lines else { return };
        let mut lines = lines.borrow_mut();
        lines.push_back(line);
        if lines.len() > KEPT {
            lines.pop_front();
        }
    }
}
