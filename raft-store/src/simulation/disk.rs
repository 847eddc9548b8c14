//! A modelled disk for the log: what was committed is there at once and durable once the disk had its time; a crash in between leaves
//! it or not, a failed sync as well.
//!
//! Owns one replica's platter, which outlives its processes, and the faults that can be put on it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::dice::Dice;
use super::machine::lock;
use crate::codec::{self, LogIdRecord, VoteRecord};
use crate::log::simulated::{Change, Commit, Damage, Identity, LogDisk, Recovered, SimulatedDisk, Tail};
use crate::types::RaftEntry;

/// What is on it.
#[derive(Clone, Debug, Default)]
struct Contents {
    entries: BTreeMap<u64, Vec<u8>>,
    identity: Option<Identity>,
    vote: Option<VoteRecord>,
    committed: Option<LogIdRecord>,
    purged: Option<LogIdRecord>,
    tail: Tail,
}

impl Contents {
    fn take(&mut self, commit: &Commit) {
        for change in &commit.changes {
            match change {
                Change::Append(list) => {
                    let encoded = list.iter().map(|e| (e.log_id.index, codec::encode_entry(e)));
                    self.entries.extend(encoded);
                }
                Change::TruncateFrom(index) => drop(self.entries.split_off(index)),
                Change::PurgeThrough(id) => {
                    self.entries = self.entries.split_off(&(id.index + 1));
                    self.purged = Some(*id);
                }
                Change::Vote(vote) => self.vote = Some(*vote),
                Change::Committed(id) => self.committed = Some(*id),
                Change::Identity(identity) => self.identity = Some(identity.clone()),
            }
        }
        self.tail = commit.tail;
    }
}

/// What goes wrong with it.
#[derive(Clone, Debug, Default)]
pub(super) struct DiskFaults {
    /// The next sync fails.
    pub(super) error: bool,
    /// No space is left.
    pub(super) full: bool,
    /// Every sync takes so long, in milliseconds.
    pub(super) slow_ms: u64,
}

struct Platter {
    seen: Contents,
    durable: Contents,
    faults: DiskFaults,
    damaged: bool,
    /// A sync failed: nothing more becomes durable in this life of the process.
    failed: bool,
    commits: u64,
    dice: Dice,
}

/// See the module head. All clones are the same disk.
#[derive(Clone)]
pub(super) struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    pub(super) fn new(seed: u64) -> Disk {
        Disk(Arc::new(Mutex::new(Platter {
            seen: Contents::default(),
            durable: Contents::default(),
            faults: DiskFaults::default(),
            damaged: false,
            failed: false,
            commits: 0,
            dice: Dice::new(seed),
        })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        lock(&self.0)
    }

    /// The process that wrote is gone: what was not synced may be there or not.
    pub(super) fn crash(&self) {
        let mut platter = self.platter();
        platter.failed = false;
        if platter.dice.percent(50) {
            platter.seen = platter.durable.clone();
        } else {
            platter.durable = platter.seen.clone();
        }
    }

    pub(super) fn faults(&self, change: impl FnOnce(&mut DiskFaults)) {
        change(&mut self.platter().faults);
    }

    pub(super) fn has_faults(&self) -> bool {
        let platter = self.platter();
        platter.faults.error || platter.faults.full || platter.faults.slow_ms > 0
    }

    /// Some bytes change while nobody looks.
    pub(super) fn damage(&self) {
        self.platter().damaged = true;
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.platter().damaged
    }

    pub(super) fn commits(&self) -> u64 {
        self.platter().commits
    }

    /// Where the log begins, and its entries as they were written.
    pub(super) fn entries(&self) -> (Option<u64>, BTreeMap<u64, Vec<u8>>) {
        let platter = self.platter();
        (platter.seen.purged.map(|id| id.index), platter.seen.entries.clone())
    }

    pub(super) fn entry(&self, index: u64) -> Option<RaftEntry> {
        let platter = self.platter();
        codec::decode_entry(index, platter.seen.entries.get(&index)?).ok()
    }
}

impl LogDisk for Disk {
    fn recover(&self, recent_bytes: usize) -> Result<Recovered, Damage> {
        let platter = self.platter();
        if platter.damaged {
            return Err(Damage("a checksum does not match".to_owned()));
        }
        let contents = &platter.seen;
        let last = contents.entries.last_key_value().map(|(index, _)| *index);
        if last.or(contents.purged.map(|id| id.index)) != contents.tail.last.map(|id| id.index) {
            return Err(Damage(format!(
                "it ends with {last:?} but should end with {:?}",
                contents.tail.last
            )));
        }
        let mut recent = Vec::new();
        let mut weight = 0;
        for (index, bytes) in contents.entries.iter().rev() {
            let entry = codec::decode_entry(*index, bytes).map_err(|e| Damage(e.to_string()))?;
            weight += codec::entry_weight(&entry);
            if weight > recent_bytes {
                break;
            }
            recent.push(entry);
        }
        recent.reverse();
        Ok(Recovered {
            identity: contents.identity.clone(),
            vote: contents.vote,
            committed: contents.committed,
            purged: contents.purged,
            tail: contents.tail,
            recent,
        })
    }

    fn commit(&self, commit: &Commit) -> io::Result<()> {
        let mut platter = self.platter();
        if platter.faults.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        platter.commits += 1;
        platter.seen.take(commit);
        if std::mem::take(&mut platter.faults.error) {
            platter.failed = true;
            return Err(io::Error::other("the sync failed"));
        }
        Ok(())
    }

    fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<RaftEntry>> {
        let platter = self.platter();
        let mut out = Vec::new();
        let mut bytes = 0;
        for (index, encoded) in platter.seen.entries.range(range) {
            bytes += encoded.len();
            if bytes > max_bytes && !out.is_empty() {
                break;
            }
            out.push(codec::decode_entry(*index, encoded).map_err(io::Error::other)?);
        }
        Ok(out)
    }

    fn close(&self) {}
}

impl SimulatedDisk for Disk {
    fn delay(&self) -> Duration {
        let mut platter = self.platter();
        let slow = platter.faults.slow_ms;
        let usual =
            if platter.dice.percent(2) { platter.dice.between(5, 30) } else { platter.dice.between(1, 3) };
        Duration::from_millis(usual + slow)
    }

    fn settle(&self) {
        let mut platter = self.platter();
        if !platter.failed {
            platter.durable = platter.seen.clone();
        }
    }
}
