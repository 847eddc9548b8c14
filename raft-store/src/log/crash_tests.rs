//! A disk that dies in the middle: whatever was acknowledged before is there afterwards, in every one of some hundred crashes.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use openraft::EntryPayload;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redb::StorageBackend;

use super::disk::{Change, Commit, LogDisk, Tail};
use super::redb_disk::RedbDisk;
use crate::codec::{LogIdRecord, VoteRecord};
use crate::types::{Command, RaftEntry, log_id};

/// What a disk keeps of writes that were never synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    All,
    /// Each write survives or not.
    Some,
    /// Each sector of 512 bytes survives or not.
    Torn,
}

/// The state of a disk: what is durable, and what was written since.
#[derive(Debug, Default)]
pub(super) struct Platter {
    pub(super) durable: Vec<u8>,
    seen: Vec<u8>,
    /// Written since the last sync: either a change of length or bytes at a place.
    pub(super) unsynced: Vec<Write>,
    /// Operations until the disk dies.
    left: u64,
    pub(super) operations: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Write {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Write {
    pub(super) fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Write::Length(length) => to.resize(*length, 0),
            Write::Bytes(at, bytes) => {
                if to.len() < at + bytes.len() {
                    to.resize(at + bytes.len(), 0);
                }
                to[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

impl Platter {
    pub(super) fn crash(&self, loss: Loss, rng: &mut StdRng) -> Vec<u8> {
        let mut out = self.durable.clone();
        for write in &self.unsynced {
            match (loss, write) {
                (Loss::All, _) => {}
                (Loss::Torn, Write::Bytes(at, bytes)) => {
                    for (i, sector) in bytes.chunks(512).enumerate() {
                        if rng.random() {
                            Write::Bytes(at + i * 512, sector.to_vec()).apply(&mut out);
                        }
                    }
                }
                (Loss::Some | Loss::Torn, write) => {
                    if rng.random() {
                        write.apply(&mut out);
                    }
                }
            }
        }
        out
    }
}

#[derive(Clone, Debug)]
pub(super) struct Disk(pub(super) Arc<Mutex<Platter>>);

impl Disk {
    pub(super) fn new(bytes: Vec<u8>, left: u64) -> Disk {
        let platter = Platter { seen: bytes.clone(), durable: bytes, left, ..Platter::default() };
        Disk(Arc::new(Mutex::new(platter)))
    }

    fn step(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let mut platter = self.0.lock().unwrap();
        platter.operations += 1;
        if platter.left == 0 {
            return Err(io::Error::other("the disk is dead"));
        }
        platter.left -= 1;
        Ok(platter)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.0.lock().unwrap();
        let at = offset as usize;
        let bytes = platter.seen.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.step()?;
        let write = Write::Length(len as usize);
        write.apply(&mut platter.seen);
        platter.unsynced.push(write);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.step()?;
        platter.durable = platter.seen.clone();
        platter.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.step()?;
        let write = Write::Bytes(offset as usize, data.to_vec());
        write.apply(&mut platter.seen);
        platter.unsynced.push(write);
        Ok(())
    }
}

/// The log as it should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    pub(super) entries: BTreeMap<u64, RaftEntry>,
    pub(super) vote: Option<VoteRecord>,
    pub(super) purged: Option<LogIdRecord>,
    pub(super) serial: u64,
}

impl Model {
    pub(super) fn last(&self) -> Option<LogIdRecord> {
        self.entries.values().next_back().map(|e| e.log_id.into()).or(self.purged)
    }

    /// The next random commit, and the model after it.
    pub(super) fn next(&self, rng: &mut StdRng) -> (Commit, Model) {
        let mut after = self.clone();
        let mut changes = Vec::new();
        let term = self.serial + 1;
        if !self.entries.is_empty() && rng.random_ratio(1, 6) {
            let from = self.last().unwrap().index;
            after.entries.remove(&from);
            changes.push(Change::TruncateFrom(from));
        }
        if after.entries.len() > 20 {
            let id = LogIdRecord::from(after.entries.values().nth(9).unwrap().log_id);
            after.entries.retain(|index, _| *index > id.index);
            after.purged = Some(id);
            changes.push(Change::PurgeThrough(id));
        }
        let begin = after.last().map_or(0, |id| id.index + 1);
        let new: Vec<RaftEntry> = (begin..begin + rng.random_range(0..5))
            .map(|index| {
                let bytes: Vec<u8> = (0..rng.random_range(0..3000)).map(|_| rng.random()).collect();
                RaftEntry {
                    log_id: log_id(term, 1, index),
                    payload: EntryPayload::Normal(Command { term, bytes: bytes.into() }),
                }
            })
            .collect();
        after.entries.extend(new.iter().map(|e| (e.log_id.index, e.clone())));
        changes.push(Change::Append(new));
        if rng.random_ratio(1, 4) {
            let vote = VoteRecord { term, node: 1, committed: rng.random() };
            after.vote = Some(vote);
            changes.push(Change::Vote(vote));
        }
        after.serial += 1;
        (Commit { changes, tail: Tail { serial: after.serial, last: after.last() } }, after)
    }
}

pub(super) fn contents(disk: &RedbDisk) -> Model {
    let found = disk.recover(usize::MAX).unwrap();
    Model {
        entries: found.recent.into_iter().map(|e| (e.log_id.index, e)).collect(),
        vote: found.vote,
        purged: found.purged,
        serial: found.tail.serial,
    }
}

pub(super) fn entry_of_2_kib(index: u64) -> RaftEntry {
    let command = Command { term: 1, bytes: vec![index as u8; 2048].into() };
    RaftEntry { log_id: log_id(1, 1, index), payload: EntryPayload::Normal(command) }
}

/// One life after the other on one disk, each ended by a crash. Returns how many crashes hit a commit.
fn crash_again_and_again(seed: u64, crashes: u32) -> u32 {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut bytes = Vec::new();
    let mut model = Model::default();
    let mut interrupted = 0;
    for crash in 0..crashes {
        let loss = [Loss::All, Loss::Some, Loss::Torn][rng.random_range(0..3)];
        let what = format!("seed {seed}, crash {crash}, {loss:?}");
        let backend = Disk::new(bytes, rng.random_range(10..200));
        // Dying while it opens is a crash as well.
        if let Ok(disk) = RedbDisk::open_backend(backend.clone()) {
            let found = contents(&disk);
            assert_eq!(found, model, "{what}: something acknowledged is gone");
            loop {
                let (commit, after) = model.next(&mut rng);
                if disk.commit(&commit).is_err() {
                    interrupted += 1;
                    // It may or may not be there; nobody was told.
                    let survivor = backend.0.lock().unwrap().crash(loss, &mut rng);
                    let reopened = RedbDisk::open_backend(Disk::new(survivor.clone(), u64::MAX));
                    let found = contents(&reopened.unwrap_or_else(|e| panic!("{what}: {e:?}")));
                    assert!(found == model || found == after, "{what}: neither before nor after");
                    model = found;
                    bytes = survivor;
                    break;
                }
                model = after;
            }
            assert!(disk.commit(&model.next(&mut rng).0).is_err(), "{what}: written after an error");
        } else {
            bytes = backend.0.lock().unwrap().crash(loss, &mut rng);
        }
    }
    interrupted
}

#[test]
fn no_acknowledged_entry_is_lost_in_a_crash() {
    let interrupted: u32 = (0..8).map(|seed| crash_again_and_again(seed, 50)).sum();
    assert!(interrupted > 100, "only {interrupted} of 400 crashes hit a commit");
}
