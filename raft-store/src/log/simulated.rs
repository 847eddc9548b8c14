//! The log on a simulated disk: the same store, memory and group commit, with a task in virtual time where a thread would wait.
//!
//! Owns that task. A commit is written at once, becomes durable when the disk has had its time, and only then is anybody told.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

pub(crate) use super::disk::{Change, Commit, Damage, Identity, LogDisk, Recovered, Tail};
use super::memory::Memory;
use super::writer::{Job, Writer};
use super::{Jobs, LogStore};
use crate::fatal::Fatal;
use crate::mutants::{self, Mutant};

/// See `writer.rs`.
const IDLE: Duration = Duration::from_secs(1);
const MAX_CHANGES: usize = 4096;

/// A disk that takes its time.
pub(crate) trait SimulatedDisk: LogDisk {
    /// How long the next sync takes.
    fn delay(&self) -> Duration;

    /// Everything committed so far is durable now.
    fn settle(&self);
}

/// The first commit of a new log.
pub(crate) fn create(disk: &dyn SimulatedDisk, node_id: u64) -> io::Result<Recovered> {
    let identity = Identity { node_id, cluster_id: None, created_here: false };
    let tail = Tail { serial: 1, last: None };
    disk.commit(&Commit { changes: vec![Change::Identity(identity.clone())], tail })?;
    disk.settle();
    Ok(Recovered { identity: Some(identity), tail, ..Recovered::default() })
}

/// Starts the writer on a disk that has been recovered, on the runtime of the caller.
pub(crate) fn start(
    disk: Arc<dyn SimulatedDisk>,
    found: Recovered,
    cache_bytes: usize,
    fatal: Fatal,
) -> LogStore {
    let tail = found.tail;
    let memory = Arc::new(Mutex::new(Memory::new(found, cache_bytes)));
    let (jobs, queue) = tokio::sync::mpsc::unbounded_channel();
    let plain: Arc<dyn LogDisk> = Arc::<dyn SimulatedDisk>::clone(&disk);
    let writer = Writer::new(Arc::clone(&plain), Arc::clone(&memory), tail, fatal.clone());
    let running = tokio::runtime::Handle::current().spawn(run(writer, disk, queue));
    // It ends with the store or with the runtime.
    drop(running);
    LogStore { memory, disk: plain, jobs: Jobs::Task(jobs), fatal }
}

async fn run(mut writer: Writer, disk: Arc<dyn SimulatedDisk>, mut jobs: UnboundedReceiver<Job>) {
    loop {
        let mut batch = Vec::new();
        let mut close = None;
        match tokio::time::timeout(IDLE, jobs.recv()).await {
            Ok(Some(Job::Write(request))) => batch.push(request),
            Ok(Some(Job::Close(answer))) => close = Some(answer),
            Ok(None) => return,
            Err(_) => {}
        }
        while close.is_none() && !batch.is_empty() && batch.len() < MAX_CHANGES {
            match jobs.try_recv() {
                Ok(Job::Write(request)) => batch.push(request),
                Ok(Job::Close(answer)) => close = Some(answer),
                Err(_) => break,
            }
        }
        if let Some(done) = writer.begin(batch) {
            if mutants::on(Mutant::TellBeforeSync) {
                writer.tell(done);
                tokio::time::sleep(disk.delay()).await;
                disk.settle();
            } else {
                tokio::time::sleep(disk.delay()).await;
                disk.settle();
                writer.tell(done);
            }
        }
        if let Some(answer) = close {
            disk.close();
            // Nobody waits any more: fine.
            let _ = answer.send(());
            return;
        }
    }
}
