//! Masters compare the hashes of their states: each counts its own beside the log, the leader collects what they found and has it
//! committed, and whoever differs from a majority stops.
//!
//! ```text
//! Registrar ──Judge, Freeze──► Auditor (a thread, in log order) ──► Findings ◄── questions of the leader
//! leader: every so many entries or seconds ──► asks the voters ──► Checkpoint { words } ──► log ──► every Registrar
//! ```
//!
//! Owns the thread, what was found, and when the leader asks. What the words mean is judged in the core, by the words alone. Nothing
//! here delays the log: when the thread cannot follow, a checkpoint stays without a hash.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tepui_raft_store::NodeId;
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::registry::{
    CHECKPOINTS_LEVEL, Checkpoint, HashWord, STATE_HASH_VERSION, StateDigest, StateHash, Verdict,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::runtime::board::Board;
use crate::runtime::handle::Handle;
use crate::runtime::replica::Replica;
use crate::runtime::role::Role;

/// Jobs that wait for the thread; more are dropped.
const QUEUE: usize = 8;
/// Checkpoints whose hashes are remembered.
const REMEMBERED: usize = 16;
/// Every so many checkpoints everything is counted anew.
const COUNT_ALL: u64 = 64;
/// Checkpoints that are so many entries apart need not be some time apart.
const ENTRIES: u64 = 1_000;
/// How long the others have to say what they found.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// How often the leader looks whether it is time.
const LOOK: Duration = Duration::from_millis(100);

/// What this master found, for whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    digests: BTreeMap<u64, StateDigest>,
    compared: u64,
    undecided: u64,
    /// Why this master must stop.
    odd: Option<String>,
}

/// What is shown of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The newest checkpoint whose hash is known here.
    pub(crate) newest: u64,
    /// Comparisons with the words of a majority.
    pub(crate) compared: u64,
    /// Comparisons in which masters contradicted each other and none had a majority.
    pub(crate) undecided: u64,
    pub(crate) odd: bool,
}

impl Findings {
    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, number: u64, digest: StateDigest) {
        let mut found = self.lock();
        found.digests.insert(number, digest);
        while found.digests.len() > REMEMBERED {
            found.digests.pop_first();
        }
    }

    fn digest(&self, number: u64) -> Option<StateDigest> {
        self.lock().digests.get(&number).copied()
    }

    /// Why this master must not go on, if it is the odd one.
    pub(crate) fn odd(&self) -> Option<String> {
        self.lock().odd.clone()
    }

    pub(crate) fn counts(&self) -> Counts {
        let found = self.lock();
        Counts {
            newest: found.digests.last_key_value().map_or(0, |(number, _)| *number),
            compared: found.compared,
            undecided: found.undecided,
            odd: found.odd.is_some(),
        }
    }

    /// Answers another master: its question is the number of a checkpoint.
    pub(crate) fn answer(&self, node_id: NodeId, question: &[u8]) -> Bytes {
        let number = question.try_into().map(u64::from_be_bytes);
        let word = number.ok().and_then(|number| self.word(node_id, number));
        word.map(|word| word.to_bytes()).unwrap_or_default()
    }

    fn word(&self, node_id: NodeId, number: u64) -> Option<HashWord> {
        let digest = self.digest(number)?;
        Some(HashWord { node_id, version: STATE_HASH_VERSION, hash: Bytes::copy_from_slice(&digest.0) })
    }
}

enum Job {
    /// The state was replaced.
    Reset(Registry),
    Judge(Checkpoint),
    Freeze(u64, Registry),
}

/// The thread, as the state machine sees it.
pub(crate) struct Auditor {
    jobs: SyncSender<Job>,
    pub(crate) findings: Arc<Findings>,
}

impl Auditor {
    /// Starts the thread; it ends with this.
    pub(crate) fn start(node_id: NodeId, board: Arc<Board>) -> Auditor {
        let (jobs, queue) = sync_channel(QUEUE);
        let findings = Arc::new(Findings::default());
        let worker =
            Worker { node_id, findings: findings.clone(), board, hash: StateHash::default(), number: 0 };
        let thread = std::thread::Builder::new().name(format!("audit-{node_id}"));
        if let Err(error) = thread.spawn(move || worker.run(&queue)) {
            tracing::warn!(%error, "states of masters are not compared: no thread");
        }
        Auditor { jobs, findings }
    }

    /// A checkpoint was applied, and this is the state after it.
    pub(crate) fn passed(&self, checkpoint: &Checkpoint, registry: &Registry) {
        if checkpoint.of > 0 {
            self.send(Job::Judge(checkpoint.clone()));
        }
        self.send(Job::Freeze(registry.checkpoint, registry.clone()));
    }

    pub(crate) fn reset(&self, registry: &Registry) {
        self.send(Job::Reset(registry.clone()));
    }

    fn send(&self, job: Job) {
        // Whatever is dropped is missed once; the next checkpoint counts from wherever the thread stands.
        let _ = self.jobs.try_send(job);
    }
}

struct Worker {
    node_id: NodeId,
    findings: Arc<Findings>,
    board: Arc<Board>,
    hash: StateHash,
    /// The checkpoint that it stands at; 0 if at none.
    number: u64,
}

impl Worker {
    fn run(mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            match job {
                Job::Reset(registry) => {
                    self.hash = StateHash::of(&registry);
                    self.number = 0;
                }
                Job::Judge(checkpoint) => self.judge(&checkpoint),
                Job::Freeze(number, registry) => self.freeze(number, &registry),
            }
        }
    }

    fn freeze(&mut self, number: u64, registry: &Registry) {
        self.hash.advance(registry);
        self.number = number;
        if number.is_multiple_of(COUNT_ALL) {
            self.count_all();
        }
        self.findings.remember(number, self.hash.digest());
    }

    /// Counts everything anew; returns whether that gives what was kept up to date.
    fn count_all(&mut self) -> bool {
        let anew = StateHash::of(self.hash.registry());
        let same = anew.digest() == self.hash.digest();
        if !same {
            tracing::error!(
                checkpoint = self.number,
                kept = %self.hash.digest(),
                anew = %anew.digest(),
                "the hash of the state that was kept up to date is not that of the state"
            );
            self.hash = anew;
        }
        same
    }

    fn judge(&mut self, checkpoint: &Checkpoint) {
        let own = self.findings.digest(checkpoint.of);
        match checkpoint.judge(own, STATE_HASH_VERSION) {
            Verdict::Sound => self.findings.lock().compared += u64::from(own.is_some()),
            Verdict::Undecided => {
                self.findings.lock().undecided += 1;
                let words: Vec<String> = checkpoint.words.iter().map(in_words).collect();
                tracing::error!(
                    checkpoint = checkpoint.of,
                    words = words.join(", "),
                    "masters differ in their states, and no majority tells which of them are right"
                );
            }
            Verdict::Odd { majority } => {
                // Only what is counted anew may stop a master.
                if self.number == checkpoint.of && !self.count_all() && self.hash.digest() == majority {
                    self.findings.remember(self.number, majority);
                    return;
                }
                let own = own.map_or_else(|| "unknown".to_owned(), |own| own.to_string());
                let reason = format!(
                    "the state of master {} differs from that of the majority at checkpoint {}: hash {own}, theirs {majority}",
                    self.node_id, checkpoint.of
                );
                self.findings.lock().odd = Some(reason.clone());
                self.board.fail(reason);
            }
        }
    }
}

fn in_words(word: &HashWord) -> String {
    let hash = StateDigest::from_slice(&word.hash).map_or_else(|| "?".to_owned(), |hash| hash.to_string());
    format!("master {} {hash}", word.node_id)
}

/// What the leader's part is made of.
pub(crate) struct Parts {
    pub(crate) node_id: NodeId,
    pub(crate) board: Arc<Board>,
    pub(crate) replica: Arc<dyn Replica>,
    pub(crate) findings: Arc<Findings>,
    pub(crate) handle: Handle,
    pub(crate) role: watch::Receiver<Role>,
    /// Longest time between two checkpoints while anything is applied; zero: none are made.
    pub(crate) interval: Duration,
}

/// Makes checkpoints as long as this master leads.
pub(crate) async fn lead(parts: Parts, stop: CancellationToken) {
    if parts.interval.is_zero() {
        return;
    }
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut index, mut since) = (0, Instant::now());
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let serving = matches!(*parts.role.borrow(), Role::Serving { .. });
        let newest = parts.board.newest();
        // The entry that is the last checkpoint's own is nothing new.
        let entries = newest.applied_index.saturating_sub(index + 1);
        let due = entries >= ENTRIES || entries > 0 && since.elapsed() >= parts.interval;
        let agreed = newest.registry.feature_level >= CHECKPOINTS_LEVEL;
        if !serving || !due || !agreed {
            continue;
        }
        let checkpoint = parts.collect(newest.registry.checkpoint).await;
        (index, since) = (parts.board.newest().applied_index, Instant::now());
        // Refused only if this master does not lead any more.
        let _ = parts.handle.checkpoint(checkpoint).await;
    }
}

impl Parts {
    /// Asks every voter what it found at this checkpoint.
    async fn collect(&self, of: u64) -> Checkpoint {
        let voters: BTreeMap<NodeId, tepui_raft_store::Peer> = self.replica.voters();
        let mut checkpoint = Checkpoint { of, words: Vec::new(), voters: voters.keys().copied().collect() };
        if of == 0 {
            return checkpoint;
        }
        checkpoint.words.extend(self.findings.word(self.node_id, of));
        let question = Bytes::copy_from_slice(&of.to_be_bytes());
        let others = voters.into_iter().filter(|(id, _)| *id != self.node_id);
        let answers = others.map(|(id, peer)| {
            let answer = self.replica.ask(id, peer, question.clone(), ASK_WITHIN);
            async move { (id, answer.await) }
        });
        for (id, answer) in futures::future::join_all(answers).await {
            let word = answer.and_then(HashWord::from_bytes);
            checkpoint.words.extend(word.filter(|word| word.node_id == id));
        }
        checkpoint
    }
}
