//! The book of all register writes: what was tried, what was acknowledged, what was read. Finds every contradiction. Pure.
//!
//! Each write carries its position, which must be the register's version, and a hash over all writes before it. So one value that is read
//! vouches for the whole history: an acknowledged write that was lost, replaced or written twice breaks the chain.

use std::collections::BTreeMap;
use std::time::Instant;

use sha2::{Digest, Sha256};

/// One value of the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// Position, and the version that the register gets by it.
    pub(super) version: u64,
    pub(super) generation: u64,
    /// Chain of the write before.
    before: String,
    chain: String,
}

impl Write {
    /// The write that follows another, or the first.
    pub(super) fn after(last: Option<&Write>, generation: u64) -> Self {
        let version = last.map_or(1, |last| last.version + 1);
        let before = last.map_or_else(String::new, |last| last.chain.clone());
        let digest = Sha256::digest(format!("{before} {version} {generation}"));
        let chain = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Write { version, generation, before, chain }
    }

    /// The bytes of the register.
    pub(super) fn value(&self) -> String {
        format!("{} {} {} {}", self.version, self.generation, self.chain, self.before)
    }

    /// Reads the bytes back.
    fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut words = text.split(' ');
        Some(Write {
            version: words.next()?.parse().ok()?,
            generation: words.next()?.parse().ok()?,
            chain: words.next()?.to_owned(),
            before: words.next()?.to_owned(),
        })
    }
}

/// When a write was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    /// When the request that was answered was sent.
    pub(super) sent: Instant,
    pub(super) at: Instant,
    pub(super) generation: u64,
}

/// All writes of one register.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    tried: BTreeMap<u64, Vec<Write>>,
    acknowledged: BTreeMap<u64, Write>,
    /// Since the last call of [`Ledger::forget_times`].
    times: Vec<Acknowledged>,
    /// Generations that were told that they are fenced.
    pub(super) fenced: Vec<u64>,
    pub(super) violations: Vec<String>,
}

impl Ledger {
    /// A write is about to be sent.
    pub(super) fn try_write(&mut self, write: &Write) {
        let tried = self.tried.entry(write.version).or_default();
        if !tried.contains(write) {
            tried.push(write.clone());
        }
    }

    /// A write was answered OK.
    pub(super) fn acknowledge(&mut self, write: &Write, sent: Instant) {
        if let Some(other) = self.acknowledged.get(&write.version).filter(|other| *other != write) {
            self.violations.push(format!(
                "position {} was acknowledged to generation {} and to generation {}",
                write.version, other.generation, write.generation
            ));
        } else if let Some(last) = self.last().filter(|last| last.version >= write.version) {
            self.violations
                .push(format!("position {} was acknowledged after position {}", write.version, last.version));
        }
        self.check_predecessor(write);
        self.acknowledged.insert(write.version, write.clone());
        self.times.push(Acknowledged { sent, at: Instant::now(), generation: write.generation });
    }

    /// A write was answered CONFLICT although its writer is the newest it knows of.
    pub(super) fn conflict(&mut self, write: &Write, version: u64) {
        self.violations.push(format!(
            "generation {} wants to write position {}, but the register is at {version}",
            write.generation, write.version
        ));
    }

    /// The register was read. `floor` is what was acknowledged before the question.
    pub(super) fn read(&mut self, floor: u64, version: u64, value: &[u8]) -> Option<Write> {
        if version < floor {
            self.violations
                .push(format!("position {floor} was acknowledged, but the register is at {version}"));
        }
        if version == 0 {
            return None;
        }
        let Some(found) = Write::parse(value).filter(|found| found.version == version) else {
            let text = String::from_utf8_lossy(value);
            self.violations.push(format!("version {version} of the register is {text:?}"));
            return None;
        };
        if !self.tried.get(&version).is_some_and(|tried| tried.contains(&found)) {
            self.violations.push(format!("nobody ever wrote {found:?}"));
        }
        if let Some(other) = self.acknowledged.get(&version).filter(|other| **other != found) {
            self.violations.push(format!("{other:?} was acknowledged, but the register holds {found:?}"));
        }
        self.check_predecessor(&found);
        Some(found)
    }

    /// What a write builds upon must be the write that was acknowledged there, or at least one that was tried.
    fn check_predecessor(&mut self, write: &Write) {
        let Some(before) = write.version.checked_sub(1).filter(|before| *before > 0) else { return };
        let known = match self.acknowledged.get(&before) {
            Some(acknowledged) => acknowledged.chain == write.before,
            None => {
                let tried = self.tried.get(&before).into_iter().flatten();
                tried.into_iter().any(|tried| tried.chain == write.before)
            }
        };
        if !known {
            self.violations.push(format!("{write:?} does not build upon what was acknowledged before it"));
        }
    }

    fn last(&self) -> Option<&Write> {
        self.acknowledged.values().next_back()
    }

    /// The highest position that was acknowledged.
    pub(super) fn position(&self) -> u64 {
        self.last().map_or(0, |last| last.version)
    }

    /// How many writes were acknowledged.
    pub(super) fn count(&self) -> usize {
        self.acknowledged.len()
    }

    /// The first acknowledgement of a write that was sent at or after this instant by this generation or a later one.
    pub(super) fn first_since(&self, instant: Instant, generation: u64) -> Option<Acknowledged> {
        let fits = |one: &&Acknowledged| one.sent >= instant && one.generation >= generation;
        self.times.iter().filter(fits).min_by_key(|one| one.at).copied()
    }

    /// Forgets when writes were acknowledged, but not that they were.
    pub(super) fn forget_times(&mut self) {
        self.times.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes so many positions as one generation, each acknowledged.
    fn written(ledger: &mut Ledger, last: Option<Write>, count: usize, generation: u64) -> Option<Write> {
        let mut last = last;
        for _ in 0..count {
            let write = Write::after(last.as_ref(), generation);
            ledger.try_write(&write);
            ledger.acknowledge(&write, Instant::now());
            last = Some(write);
        }
        last
    }

    fn read(ledger: &mut Ledger, write: &Write) -> bool {
        let floor = ledger.position();
        ledger.read(floor, write.version, write.value().as_bytes());
        ledger.violations.is_empty()
    }

    #[test]
    fn an_honest_history_has_no_contradiction() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.read(0, 0, b""), None);
        let last = written(&mut ledger, None, 5, 1).unwrap();
        // A write whose outcome nobody knows may have happened, and the next generation builds upon it.
        let unknown = Write::after(Some(&last), 1);
        ledger.try_write(&unknown);
        assert!(read(&mut ledger, &unknown));
        written(&mut ledger, Some(unknown), 3, 2);
        assert_eq!(ledger.violations, Vec::<String>::new());
        assert_eq!(ledger.position(), 9);
        assert_eq!(ledger.count(), 8);
    }

    #[test]
    fn a_lost_write_is_found() {
        let mut ledger = Ledger::default();
        let kept = written(&mut ledger, None, 4, 1).unwrap();
        written(&mut ledger, Some(kept.clone()), 1, 1);
        assert!(!read(&mut ledger, &kept), "the register fell behind");
    }

    #[test]
    fn a_replaced_write_is_found_even_later() {
        let mut ledger = Ledger::default();
        let kept = written(&mut ledger, None, 4, 1).unwrap();
        written(&mut ledger, Some(kept.clone()), 1, 1);
        let other = Write::after(Some(&kept), 2);
        ledger.try_write(&other);
        let later = Write::after(Some(&other), 2);
        ledger.try_write(&later);
        assert!(!read(&mut ledger, &later), "it builds upon another fifth position");
    }

    #[test]
    fn two_generations_at_one_position_are_found() {
        let mut ledger = Ledger::default();
        let kept = written(&mut ledger, None, 4, 1).unwrap();
        written(&mut ledger, Some(kept.clone()), 1, 1);
        written(&mut ledger, Some(kept), 1, 2);
        assert!(ledger.violations[0].contains("generation 1 and to generation 2"), "{:?}", ledger.violations);
    }

    #[test]
    fn what_nobody_wrote_is_found() {
        let mut ledger = Ledger::default();
        let last = written(&mut ledger, None, 2, 1).unwrap();
        assert!(!read(&mut ledger, &Write::after(Some(&last), 7)));
        ledger.violations.clear();
        ledger.read(0, 3, b"nonsense");
        assert_eq!(ledger.violations.len(), 1);
    }

    #[test]
    fn the_first_acknowledgement_after_an_instant_counts_from_sending() {
        let mut ledger = Ledger::default();
        let before = Instant::now();
        let last = written(&mut ledger, None, 1, 1);
        std::thread::sleep(std::time::Duration::from_millis(2));
        let instant = Instant::now();
        let late = Write::after(last.as_ref(), 1);
        ledger.try_write(&late);
        ledger.acknowledge(&late, before);
        assert!(ledger.first_since(instant, 1).is_none(), "sent before");
        written(&mut ledger, Some(late), 1, 2);
        assert_eq!(ledger.first_since(instant, 1).unwrap().generation, 2);
        assert!(ledger.first_since(instant, 3).is_none());
    }
}
