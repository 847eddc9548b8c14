//! The thread that makes the log durable: takes whatever has queued up, commits it as one, then tells everybody in order.
//!
//! Owns group commit and the rule that the first error is the last: after a failed commit nothing more is written and every
//! later request gets the same error. Runs on a thread of its own, because commits block.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{io, thread};

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::disk::{Change, Commit, LogDisk, Tail};
use super::memory::Memory;
use crate::codec::{LogIdRecord, entry_weight};
use crate::fatal::Fatal;
use crate::priority;
use crate::types::TypeConfig;

/// At most so many changes share a commit …
const MAX_CHANGES: usize = 4096;
/// … or so many bytes.
const MAX_BYTES: usize = 8 << 20;
/// An advanced commit index that nobody else's commit took along is written after this time.
const IDLE: Duration = Duration::from_secs(1);

/// Whom to tell.
pub(super) enum Done {
    Nobody,
    Raft(IOFlushed<TypeConfig>),
    Waiter(oneshot::Sender<io::Result<()>>),
}

impl Done {
    fn tell(self, result: io::Result<()>) {
        match self {
            Done::Nobody => {}
            Done::Raft(callback) => callback.io_completed(result),
            // A waiter that went away needs no answer.
            Done::Waiter(sender) => drop(sender.send(result)),
        }
    }
}

/// A change on its way to the disk.
pub(super) struct Request {
    /// Rises by one with every request.
    pub(super) serial: u64,
    pub(super) change: Change,
    /// Where the log ends once this is done.
    pub(super) last: Option<LogIdRecord>,
    pub(super) done: Done,
}

pub(super) enum Job {
    Write(Request),
    /// Write what is open, release the files, answer, end.
    Close(oneshot::Sender<()>),
}

/// Starts the thread. It ends when told to close or when the log store is gone.
pub(super) fn start(
    name: String,
    disk: Arc<dyn LogDisk>,
    memory: Arc<Mutex<Memory>>,
    tail: Tail,
    jobs: Receiver<Job>,
    fatal: Fatal,
) -> io::Result<()> {
    let mut writer = Writer::new(disk, memory, tail, fatal);
    // The thread is not joined: closing is answered over a channel, and a process that ends needs no farewell.
    thread::Builder::new()
        .name(name)
        .spawn(move || {
            priority::raise();
            writer.run(&jobs);
        })
        .map(drop)
}

/// A commit that was tried, and whoever waits for it.
pub(super) struct Committed {
    serial: Option<u64>,
    waiting: Vec<Done>,
    result: Result<(), String>,
}

pub(super) struct Writer {
    disk: Arc<dyn LogDisk>,
    memory: Arc<Mutex<Memory>>,
    tail: Tail,
    fatal: Fatal,
    broken: Option<String>,
}

impl Writer {
    pub(super) fn new(
        disk: Arc<dyn LogDisk>,
        memory: Arc<Mutex<Memory>>,
        tail: Tail,
        fatal: Fatal,
    ) -> Writer {
        Writer { disk, memory, tail, fatal, broken: None }
    }

    fn run(&mut self, jobs: &Receiver<Job>) {
        let mut close = None;
        while close.is_none() {
            let mut batch = Vec::new();
            match jobs.recv_timeout(IDLE) {
                Ok(Job::Write(request)) => batch.push(request),
                Ok(Job::Close(answer)) => close = Some(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let mut bytes = batch.iter().map(weight).sum::<usize>();
            while close.is_none() && !batch.is_empty() && batch.len() < MAX_CHANGES && bytes < MAX_BYTES {
                match jobs.try_recv() {
                    Ok(Job::Write(request)) => {
                        bytes += weight(&request);
                        batch.push(request);
                    }
                    Ok(Job::Close(answer)) => close = Some(answer),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.write(batch);
        }
        self.write(Vec::new());
        self.disk.close();
        if let Some(answer) = close {
            // Nobody waits any more: fine.
            let _ = answer.send(());
        }
    }

    fn write(&mut self, batch: Vec<Request>) {
        if let Some(open) = self.begin(batch) {
            self.tell(open);
        }
    }

    /// Commits, and returns who is to be told what.
    pub(super) fn begin(&mut self, batch: Vec<Request>) -> Option<Committed> {
        let committed = lock(&self.memory).take_unwritten_committed();
        if batch.is_empty() && committed.is_none() {
            return None;
        }
        let serial = batch.last().map(|r| r.serial);
        let last = batch.last().map_or(self.tail.last, |r| r.last);
        let mut changes = Vec::with_capacity(batch.len() + 1);
        let mut waiting = Vec::with_capacity(batch.len());
        for request in batch {
            changes.push(request.change);
            waiting.push(request.done);
        }
        changes.extend(committed.map(Change::Committed));
        let result = self.commit(Commit { changes, tail: Tail { serial: self.tail.serial + 1, last } });
        Some(Committed { serial, waiting, result })
    }

    pub(super) fn tell(&self, done: Committed) {
        let Committed { serial, waiting, result } = done;
        if let (Ok(()), Some(serial)) = (&result, serial) {
            lock(&self.memory).written(serial);
        }
        for done in waiting {
            done.tell(match &result {
                Ok(()) => Ok(()),
                Err(text) => Err(io::Error::other(text.clone())),
            });
        }
    }

    fn commit(&mut self, commit: Commit) -> Result<(), String> {
        if let Some(text) = &self.broken {
            return Err(text.clone());
        }
        match self.disk.commit(&commit) {
            Ok(()) => {
                self.tail = commit.tail;
                Ok(())
            }
            Err(e) => {
                // Never tried again: after a failed sync nobody knows what the disk holds.
                let text = format!("the log could not be written: {e}");
                self.fatal.report(text.clone());
                self.broken = Some(text.clone());
                Err(text)
            }
        }
    }
}

fn weight(request: &Request) -> usize {
    match &request.change {
        Change::Append(entries) => entries.iter().map(entry_weight).sum(),
        _ => 64,
    }
}

fn lock(memory: &Mutex<Memory>) -> std::sync::MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
