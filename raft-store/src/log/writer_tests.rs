//! The writer against disks that stall or fail: nothing is told too early, and the first error is the last.

use std::ops::Range;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use openraft::EntryPayload;
use tokio::sync::oneshot;

use super::disk::{Commit, Damage, LogDisk, Recovered, Tail};
use super::*;
use crate::types::{Command, LeaderId, log_id};

/// A disk in memory whose commits wait for a permit and may fail.
#[derive(Default)]
struct Slow {
    state: Mutex<SlowState>,
    changed: Condvar,
}

#[derive(Default)]
struct SlowState {
    permits: usize,
    fail: bool,
    commits: Vec<Tail>,
}

impl Slow {
    fn permit(&self, count: usize) {
        self.state.lock().unwrap().permits += count;
        self.changed.notify_all();
    }

    fn fail(&self) {
        self.state.lock().unwrap().fail = true;
        self.changed.notify_all();
    }

    fn commits(&self) -> usize {
        self.state.lock().unwrap().commits.len()
    }
}

impl LogDisk for Slow {
    fn recover(&self, _: usize) -> Result<Recovered, Damage> {
        Ok(Recovered::default())
    }

    fn commit(&self, commit: &Commit) -> io::Result<()> {
        let state = self.state.lock().unwrap();
        let mut state = self.changed.wait_while(state, |s| s.permits == 0 && !s.fail).unwrap();
        if state.fail {
            return Err(io::Error::other("input/output error"));
        }
        state.permits -= 1;
        state.commits.push(commit.tail);
        Ok(())
    }

    fn read(&self, _: Range<u64>, _: usize) -> io::Result<Vec<RaftEntry>> {
        Err(io::Error::other("unreadable sector"))
    }

    fn close(&self) {}
}

fn start() -> (Arc<Slow>, LogStore, Fatal) {
    let disk = Arc::new(Slow::default());
    let fatal = Fatal::new();
    let log = LogStore::start(
        Arc::clone(&disk) as Arc<dyn LogDisk>,
        Recovered::default(),
        "log".into(),
        fatal.clone(),
    );
    (disk, log.unwrap(), fatal)
}

fn entry(index: u64) -> RaftEntry {
    RaftEntry {
        log_id: log_id(1, 1, index),
        payload: EntryPayload::Normal(Command { term: 1, bytes: "x".into() }),
    }
}

async fn append(log: &mut LogStore, index: u64) -> oneshot::Receiver<io::Result<()>> {
    let (callback, told) = TypeConfig::flushed();
    log.append([entry(index)], callback).await.unwrap();
    told
}

impl TypeConfig {
    /// A callback, and where it arrives.
    fn flushed() -> (IOFlushed<TypeConfig>, oneshot::Receiver<io::Result<()>>) {
        use openraft::type_config::TypeConfigExt;
        let (sender, receiver) = <TypeConfig as TypeConfigExt>::oneshot();
        (IOFlushed::signal(sender), receiver)
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("it must come")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_readable_at_once_and_told_only_when_durable() {
    let (disk, mut log, _) = start();
    let mut first = append(&mut log, 0).await;
    let second = append(&mut log, 1).await;
    assert_eq!(log.try_get_log_entries(..).await.unwrap(), [entry(0), entry(1)]);
    assert!(first.try_recv().is_err(), "nothing is durable yet");
    assert_eq!(disk.commits(), 0);
    disk.permit(2);
    within(first).await.unwrap().unwrap();
    within(second).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_queued_up_is_committed_together() {
    let (disk, mut log, _) = start();
    let mut told = Vec::new();
    for index in 0..100 {
        told.push(append(&mut log, index).await);
    }
    disk.permit(100);
    for told in told {
        within(told).await.unwrap().unwrap();
    }
    // The first may have gone alone; the rest waited for it.
    assert!(disk.commits() <= 2, "{} commits", disk.commits());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_is_final() {
    let (disk, mut log, fatal) = start();
    let mut fault = fatal.watch();
    let told = append(&mut log, 0).await;
    disk.fail();
    assert!(within(told).await.unwrap().is_err());
    let text = within(fault.wait_for(Option::is_some)).await.unwrap().clone().unwrap();
    assert!(text.contains("input/output error"), "{text}");
    // Even if the disk recovers, nothing is written any more.
    disk.state.lock().unwrap().fail = false;
    disk.permit(10);
    let vote = Vote { leader_id: LeaderId { term: 1, node_id: 1 }, committed: false };
    assert!(within(log.save_vote(&vote)).await.is_err());
    assert!(within(append(&mut log, 1).await).await.unwrap().is_err());
    assert_eq!(disk.commits(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_entry_is_a_fault() {
    let (disk, mut log, fatal) = start();
    disk.permit(1000);
    let big = vec![0; CACHE_BYTES / 2];
    for index in 0..4 {
        let (callback, told) = TypeConfig::flushed();
        let payload = EntryPayload::Normal(Command { term: 1, bytes: big.clone().into() });
        log.append([RaftEntry { log_id: log_id(1, 1, index), payload }], callback).await.unwrap();
        within(told).await.unwrap().unwrap();
    }
    assert!(log.try_get_log_entries(0..1).await.is_err());
    assert!(fatal.watch().borrow().as_ref().unwrap().contains("unreadable sector"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commit_index_is_written_even_if_nothing_else_is() {
    let (disk, mut log, _) = start();
    disk.permit(10);
    log.save_committed(Some(log_id(1, 1, 0))).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while disk.commits() == 0 {
        assert!(Instant::now() < deadline, "never written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
