//! The replicated log as raft sees it: entries readable at once, durable soon, told in order.
//!
//! Owns the handle that raft, the replication streams and the state machine share. Keeps the newest entries in memory, hands
//! every change to the writer thread, and reads older entries from the disk on blocking threads. Order of requests is order on
//! disk: votes and entries go through the same queue.

#[cfg(test)]
mod crash_tests;
mod disk;
#[cfg(test)]
mod exhaustive_tests;
pub(crate) mod faults;
mod guard;
mod memory;
mod open;
pub(crate) mod pace;
mod redb_disk;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;
mod writer;
#[cfg(test)]
mod writer_tests;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::oneshot;

pub(crate) use self::disk::Identity;
use self::disk::{Change, LogDisk, Recovered};
use self::memory::Memory;
pub(crate) use self::open::{open, open_existing};
use self::pace::Pace;
use self::writer::{Done, Job, Request};
use crate::fatal::Fatal;
use crate::mutants::{self, Mutant};
use crate::types::{LogId, RaftEntry, TypeConfig, Vote};

/// How much of the end of the log is kept in memory, in bytes.
const CACHE_BYTES: usize = 32 << 20;
/// How much one read for replication or apply returns, in bytes.
const READ_BYTES: usize = 4 << 20;

/// The log. All clones are the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    memory: Arc<Mutex<Memory>>,
    disk: Arc<dyn LogDisk>,
    jobs: Jobs,
    fatal: Fatal,
}

/// The way to the writer.
#[derive(Clone)]
enum Jobs {
    Thread(Sender<Job>),
    #[cfg(any(test, feature = "simulation"))]
    Task(tokio::sync::mpsc::UnboundedSender<Job>),
}

impl Jobs {
    /// False if the writer is gone.
    fn send(&self, job: Job) -> bool {
        match self {
            Jobs::Thread(sender) => sender.send(job).is_ok(),
            #[cfg(any(test, feature = "simulation"))]
            Jobs::Task(sender) => sender.send(job).is_ok(),
        }
    }
}

impl LogStore {
    /// Starts the writer on a disk that has been recovered.
    fn start(disk: Arc<dyn LogDisk>, found: Recovered, name: String, fatal: Fatal) -> io::Result<LogStore> {
        let tail = found.tail;
        let memory = Arc::new(Mutex::new(Memory::new(found, CACHE_BYTES)));
        let (jobs, queue) = std::sync::mpsc::channel();
        writer::start(name, Arc::clone(&disk), Arc::clone(&memory), tail, queue, fatal.clone())?;
        Ok(LogStore { memory, disk, jobs: Jobs::Thread(jobs), fatal })
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.memory().identity.clone()
    }

    /// The last entry that is no longer in the log.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.memory().purged.map(LogId::from)
    }

    /// Whether nothing was ever logged or voted for.
    pub(crate) fn is_pristine(&self) -> bool {
        let memory = self.memory();
        memory.vote.is_none() && memory.last.is_none()
    }

    /// Makes a new identity durable.
    pub(crate) async fn save_identity(&self, identity: Identity) -> io::Result<()> {
        let wait = {
            let mut memory = self.memory();
            memory.identity = Some(identity.clone());
            self.request_and_wait(&mut memory, Change::Identity(identity))
        };
        wait.await.unwrap_or_else(|_| Err(closed()))
    }

    /// How many bytes its files take.
    pub(crate) fn size(&self) -> u64 {
        self.disk.size()
    }

    /// How long commits take, if that is measured.
    pub(crate) fn pace(&self) -> Option<&Pace> {
        self.disk.pace()
    }

    /// Writes what is open and releases the files.
    pub(crate) async fn close(&self) {
        let (answer, wait) = oneshot::channel();
        if self.jobs.send(Job::Close(answer)) {
            // An error means that the writer was already gone.
            drop(wait.await);
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a change. Called with the memory locked, so that the order of changes is the order in the queue.
    fn request(&self, memory: &mut Memory, change: Change, done: Done) {
        let serial = memory.next_serial();
        self.request_as(memory, serial, change, done);
    }

    fn request_as(&self, memory: &Memory, serial: u64, change: Change, done: Done) {
        let request = Request { serial, change, last: memory.last, done };
        // If the writer is gone the request is dropped, and with it whoever waits learns that the log is closed.
        let _: bool = self.jobs.send(Job::Write(request));
    }

    fn request_and_wait(&self, memory: &mut Memory, change: Change) -> oneshot::Receiver<io::Result<()>> {
        let (sender, receiver) = oneshot::channel();
        self.request(memory, change, Done::Waiter(sender));
        receiver
    }

    /// Entries of a range: at least the first that exists, at most `max_bytes` beyond it.
    async fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<RaftEntry>> {
        loop {
            let (range, first_cached, truncations) = {
                let memory = self.memory();
                let range = range.start.max(memory.start())..range.end.min(memory.end());
                if range.is_empty() {
                    return Ok(Vec::new());
                }
                if range.start >= memory.first_cached() {
                    return Ok(memory.read(range, max_bytes));
                }
                (range, memory.first_cached(), memory.truncations)
            };
            let wanted = range.start..range.end.min(first_cached);
            let disk = Arc::clone(&self.disk);
            let asked = wanted.clone();
            let read = crate::blocking::run(move || disk.read(asked, max_bytes)).await;
            let found = read.unwrap_or_else(|e| Err(io::Error::other(e.to_string())));
            let memory = self.memory();
            if memory.truncations != truncations || memory.start() > range.start {
                // The log changed under the read: its result is neither the old nor the new log.
                continue;
            }
            let found = found.and_then(|entries| without_gap(entries, wanted.start));
            if let Err(e) = &found {
                self.fatal.report(format!("the log could not be read: {e}"));
            }
            return found;
        }
    }

    /// All entries of a range.
    async fn read_all(&self, range: Range<u64>) -> io::Result<Vec<RaftEntry>> {
        let mut out = Vec::new();
        let mut next = range.start;
        while next < range.end {
            let mut more = self.read(next..range.end, READ_BYTES).await?;
            let Some(last) = more.last() else { break };
            next = last.log_id.index + 1;
            out.append(&mut more);
        }
        Ok(out)
    }
}

fn without_gap(entries: Vec<RaftEntry>, start: u64) -> io::Result<Vec<RaftEntry>> {
    let indexes = entries.iter().map(|entry| entry.log_id.index);
    let gap =
        (start..).zip(indexes).find(|(expected, found)| expected != found).map(|(expected, _)| expected);
    match gap.or(entries.is_empty().then_some(start)) {
        None => Ok(entries),
        Some(missing) => {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("log entry {missing} is missing")))
        }
    }
}

fn closed() -> io::Error {
    io::Error::other("the log is closed")
}

fn to_range(bounds: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match bounds.start_bound() {
        Bound::Included(i) => *i,
        Bound::Excluded(i) => i.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match bounds.end_bound() {
        Bound::Included(i) => i.saturating_add(1),
        Bound::Excluded(i) => *i,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, io::Error> {
        self.read_all(to_range(&range)).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.memory().vote.map(Vote::from))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        self.read(start..end, READ_BYTES).await
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<RaftEntry, io::Error>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        // In pieces, so that applying a long log does not hold all of it in memory.
        let pieces = stream::try_unfold((self.clone(), to_range(&range)), |(log, range)| async move {
            let piece = log.read(range.clone(), READ_BYTES).await?;
            let Some(last) = piece.last() else { return Ok::<_, io::Error>(None) };
            let rest = last.log_id.index + 1..range.end;
            Ok(Some((piece, (log, rest))))
        });
        pieces.flat_map(|piece| {
            stream::iter(match piece {
                Ok(entries) => entries.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(e) => vec![Err(e)],
            })
        })
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let memory = self.memory();
        Ok(LogState {
            last_purged_log_id: memory.purged.map(LogId::from),
            last_log_id: memory.last.map(LogId::from),
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let wait = {
            let mut memory = self.memory();
            memory.vote = Some((*vote).into());
            if mutants::on(Mutant::VoteInMemory) {
                return Ok(());
            }
            self.request_and_wait(&mut memory, Change::Vote((*vote).into()))
        };
        wait.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        // Lazily: it travels with the next commit, or is written when nothing else is.
        self.memory().set_committed(committed.map(Into::into));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.memory().committed.map(LogId::from))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        let mut memory = self.memory();
        let serial = memory.next_serial();
        memory.append(&entries, serial);
        self.request_as(&memory, serial, Change::Append(entries), Done::Raft(callback));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let mut memory = self.memory();
        memory.truncate_after(last_log_id.map(Into::into));
        let from = memory.end();
        if mutants::on(Mutant::ForgetTruncate) {
            return Ok(());
        }
        self.request(&mut memory, Change::TruncateFrom(from), Done::Nobody);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let mut memory = self.memory();
        if memory.purged.is_some_and(|purged| purged.index >= log_id.index) {
            return Ok(());
        }
        memory.purge(log_id.into());
        self.request(&mut memory, Change::PurgeThrough(log_id.into()), Done::Nobody);
        Ok(())
    }
}
