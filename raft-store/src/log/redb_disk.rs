//! The log in a redb database: one table of entries, one of everything else, one transaction per commit.
//!
//! Owns the database, and how long its commits take. When the newer of its two commit slots does not verify, redb falls back to
//! the older: right for a commit that a crash interrupted, a loss if it was acknowledged. The guard tells the two apart, so every
//! commit is followed by a synced record there. Every value carries our own checksum. A panic inside the database counts as an error.

use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition, TableError,
};

use super::disk::{Change, Commit, Damage, LogDisk, Recovered, Tail};
use super::faults::Faults;
use super::guard::Guard;
use super::pace::Pace;
use crate::codec::{self, LogIdRecord};
use crate::types::RaftEntry;

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const META: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("meta");

/// Keys of [`META`], also the place that their checksums cover. Never renumbered.
mod key {
    pub(super) const TAIL: u64 = 1;
    pub(super) const IDENTITY: u64 = 2;
    pub(super) const VOTE: u64 = 3;
    pub(super) const COMMITTED: u64 = 4;
    pub(super) const PURGED: u64 = 5;
}

/// Memory that redb may use for pages; recent entries are cached above it.
const PAGE_CACHE_BYTES: usize = 16 << 20;

/// See the module head.
pub(crate) struct RedbDisk {
    database: RwLock<Option<Database>>,
    guard: Option<Guard>,
    path: Option<PathBuf>,
    pace: Pace,
    faults: Faults,
}

/// Why a database does not open.
#[derive(Debug)]
pub(crate) enum RedbOpenError {
    InUse,
    Damaged(Damage),
    Io(io::Error),
}

impl RedbDisk {
    /// Opens or creates the database in this file. Everything in it is verified, which reads the whole file.
    pub(crate) fn open(path: &Path) -> Result<RedbDisk, RedbOpenError> {
        let mut disk = Self::open_with(|builder| builder.create(path))?;
        disk.path = Some(path.to_owned());
        Ok(disk)
    }

    /// Opens or creates the database in any storage.
    #[cfg(test)]
    pub(crate) fn open_backend(backend: impl redb::StorageBackend) -> Result<RedbDisk, RedbOpenError> {
        Self::open_with(|builder| builder.create_with_backend(backend))
    }

    fn open_with(
        open: impl FnOnce(&Builder) -> Result<Database, DatabaseError>,
    ) -> Result<RedbDisk, RedbOpenError> {
        let mut builder = Builder::new();
        builder.set_cache_size(PAGE_CACHE_BYTES).set_check_integrity_on_open(true);
        let opened = catch_unwind(AssertUnwindSafe(|| open(&builder)));
        let database = match opened {
            Ok(Ok(database)) => database,
            Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => return Err(RedbOpenError::InUse),
            Ok(Err(DatabaseError::Storage(redb::StorageError::Io(e)))) if !says_damage(&e) => {
                return Err(RedbOpenError::Io(e));
            }
            Ok(Err(e)) => return Err(RedbOpenError::Damaged(Damage(e.to_string()))),
            Err(panic) => {
                let text = format!("the database does not open: {}", panic_text(&*panic));
                return Err(RedbOpenError::Damaged(Damage(text)));
            }
        };
        let database = RwLock::new(Some(database));
        Ok(RedbDisk { database, guard: None, path: None, pace: Pace::new(), faults: Faults::default() })
    }

    /// From now on every commit is recorded in the guard as well.
    pub(crate) fn with_guard(mut self, guard: Guard) -> RedbDisk {
        self.guard = Some(guard);
        self
    }

    /// From now on it misbehaves as it is told, for tests.
    pub(crate) fn with_faults(mut self, faults: Faults) -> RedbDisk {
        self.faults = faults;
        self
    }

    /// Runs something on the database; its panic is an error.
    fn run<T>(&self, f: impl FnOnce(&Database) -> Result<T, redb::Error>) -> io::Result<T> {
        let slot = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = slot.as_ref().ok_or_else(|| io::Error::other("the log is closed"))?;
        match catch_unwind(AssertUnwindSafe(|| f(database))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(redb::Error::Io(e))) => Err(e),
            Ok(Err(e)) => Err(io::Error::other(e.to_string())),
            Err(panic) => Err(io::Error::other(format!("the database panicked: {}", panic_text(&*panic)))),
        }
    }

    fn read_meta(&self) -> io::Result<Vec<(u64, Vec<u8>)>> {
        self.run(|db| {
            let txn = db.begin_read()?;
            let Some(table) = if_exists(txn.open_table(META))? else { return Ok(Vec::new()) };
            table
                .iter()?
                .map(|item| item.map(|(k, v)| (k.value(), v.value().to_vec())))
                .collect::<Result<_, _>>()
                .map_err(redb::Error::from)
        })
    }

    /// Reads every entry and checks that they are whole, without a gap, in order, and as many as there should be.
    fn scan(&self, purged: Option<LogIdRecord>, recent_bytes: usize) -> io::Result<Scan> {
        self.run(|db| {
            let mut scan = Scan { last: purged, ..Scan::default() };
            let txn = db.begin_read()?;
            let Some(table) = if_exists(txn.open_table(ENTRIES))? else { return Ok(scan) };
            for item in table.iter()? {
                let (key, value) = item?;
                if let Err(text) = scan.take(key.value(), value.value(), recent_bytes) {
                    scan.damage = Some(text);
                    return Ok(scan);
                }
            }
            let (counted, stored) = (scan.count, table.len()?);
            if counted != stored {
                scan.damage = Some(format!("{counted} entries are readable but {stored} are stored"));
            }
            Ok(scan)
        })
    }
}

#[derive(Default)]
struct Scan {
    last: Option<LogIdRecord>,
    count: u64,
    recent: std::collections::VecDeque<RaftEntry>,
    weight: usize,
    damage: Option<String>,
}

impl Scan {
    fn take(&mut self, index: u64, bytes: &[u8], recent_bytes: usize) -> Result<(), String> {
        let entry = codec::decode_entry(index, bytes).map_err(|e| format!("entry {index}: {e}"))?;
        let id = LogIdRecord::from(entry.log_id);
        if let Some(last) = self.last {
            if id.index != last.index + 1 {
                return Err(format!("entry {} is followed by entry {}", last.index, id.index));
            }
            if (id.term, id.node) < (last.term, last.node) {
                return Err(format!("entry {index} is of an older leader than the one before it"));
            }
        } else if index != 0 {
            return Err(format!("the log begins with entry {index} although nothing was purged"));
        }
        self.last = Some(id);
        self.count += 1;
        self.weight += codec::entry_weight(&entry);
        self.recent.push_back(entry);
        while self.weight > recent_bytes
            && let Some(oldest) = self.recent.pop_front()
        {
            self.weight -= codec::entry_weight(&oldest);
        }
        Ok(())
    }
}

impl LogDisk for RedbDisk {
    fn recover(&self, recent_bytes: usize) -> Result<Recovered, Damage> {
        let unreadable = |e: io::Error| Damage(format!("unreadable: {e}"));
        let mut found = Recovered::default();
        for (key, bytes) in self.read_meta().map_err(unreadable)? {
            let body = codec::unseal(key, &bytes).map_err(|e| Damage(format!("record {key}: {e}")))?;
            let parsed = match key {
                key::TAIL => codec::from_bytes(body).map(|v| found.tail = v),
                key::IDENTITY => codec::from_bytes(body).map(|v| found.identity = Some(v)),
                key::VOTE => codec::from_bytes(body).map(|v| found.vote = Some(v)),
                key::COMMITTED => codec::from_bytes(body).map(|v| found.committed = Some(v)),
                key::PURGED => codec::from_bytes(body).map(|v| found.purged = Some(v)),
                other => return Err(Damage(format!("unknown record {other}"))),
            };
            parsed.map_err(|e| Damage(format!("record {key}: {e}")))?;
        }
        let scan = self.scan(found.purged, recent_bytes).map_err(unreadable)?;
        if let Some(text) = scan.damage {
            return Err(Damage(text));
        }
        if scan.last != found.tail.last {
            let name =
                |id: Option<LogIdRecord>| id.map_or("nothing".to_owned(), |id| format!("entry {}", id.index));
            return Err(Damage(format!(
                "it ends with {} but should end with {}",
                name(scan.last),
                name(found.tail.last)
            )));
        }
        found.recent = scan.recent.into();
        Ok(found)
    }

    fn commit(&self, commit: &Commit) -> io::Result<()> {
        let _running = self.pace.begin();
        self.faults.before_sync()?;
        self.run(|db| {
            let txn = db.begin_write()?;
            {
                let mut entries = txn.open_table(ENTRIES)?;
                let mut meta = txn.open_table(META)?;
                let mut put = |key: u64, body: Vec<u8>| -> Result<(), redb::Error> {
                    meta.insert(key, codec::seal(key, &body).as_slice())?;
                    Ok(())
                };
                for change in &commit.changes {
                    match change {
                        Change::Append(list) => {
                            for entry in list {
                                let bytes = codec::encode_entry(entry);
                                entries.insert(entry.log_id.index, bytes.as_slice())?;
                            }
                        }
                        Change::TruncateFrom(index) => entries.retain_in(*index.., |_, _| false)?,
                        Change::PurgeThrough(id) => {
                            entries.retain_in(..=id.index, |_, _| false)?;
                            put(key::PURGED, codec::to_bytes(id))?;
                        }
                        Change::Vote(vote) => put(key::VOTE, codec::to_bytes(vote))?,
                        Change::Committed(id) => put(key::COMMITTED, codec::to_bytes(id))?,
                        Change::Identity(identity) => put(key::IDENTITY, codec::to_bytes(identity))?,
                    }
                }
                put(key::TAIL, codec::to_bytes::<Tail>(&commit.tail))?;
            }
            txn.commit()?;
            Ok(())
        })?;
        self.guard.as_ref().map_or(Ok(()), |guard| guard.write(commit.tail))
    }

    fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<RaftEntry>> {
        let raw: Vec<(u64, Vec<u8>)> = self.run(|db| {
            let txn = db.begin_read()?;
            let mut out = Vec::new();
            let Some(table) = if_exists(txn.open_table(ENTRIES))? else { return Ok(out) };
            let mut bytes = 0;
            for item in table.range(range)? {
                let (key, value) = item?;
                bytes += value.value().len();
                if bytes > max_bytes && !out.is_empty() {
                    break;
                }
                out.push((key.value(), value.value().to_vec()));
            }
            Ok(out)
        })?;
        raw.iter()
            .map(|(index, bytes)| {
                codec::decode_entry(*index, bytes).map_err(|e| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("log entry {index}: {e}"))
                })
            })
            .collect()
    }

    fn size(&self) -> u64 {
        self.path.as_ref().and_then(|path| std::fs::metadata(path).ok()).map_or(0, |meta| meta.len())
    }

    fn pace(&self) -> Option<&Pace> {
        Some(&self.pace)
    }

    fn close(&self) {
        let taken = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        // Closing writes; what it says no longer matters to anybody.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(taken)));
    }
}

fn if_exists<T>(opened: Result<T, TableError>) -> Result<Option<T>, redb::Error> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn says_damage(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput
    )
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
