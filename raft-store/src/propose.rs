//! The way of a command into the log: in the order in which it was asked for, under one lead, many at a time.
//!
//! Owns the queue in front of raft. A command takes its place when it is submitted. Batches are handed to raft whole, as one
//! message that raft takes or refuses as one, and only when it is known which the next one follows. A batch that raft refused
//! because its lease had lapsed for a moment is tried again as long as the lead holds; any other refusal ends the lead. So
//! nothing overtakes anything. Every command names its term and has no effect in another one, however it got there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, ForwardReason};
use openraft::raft::WriteResult;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::NodeId;
use crate::error::ProposeError;
use crate::leadership::{Gate, quorum_contact};
use crate::mutants::{self, Mutant};
use crate::status::{Applied, Lead};
use crate::types::{Answer, Command, Raft, TypeConfig};

/// So many bytes may be submitted and unanswered; every command counts a little more than its length.
const IN_FLIGHT_BYTES: usize = 64 << 20;
const COMMAND_OVERHEAD: usize = 256;
/// At most so many commands go to raft at once …
const BATCH: usize = 1024;
/// … or so many bytes, the last command beyond them included.
const BATCH_BYTES: usize = 4 << 20;
/// How often a lapsed lease is looked at, should raft not tell.
const LEASE_POLL: Duration = Duration::from_millis(20);

type Outcome = Result<Applied, ProposeError>;
type RaftOutcome = Result<WriteResult<TypeConfig>, Fatal<TypeConfig>>;

/// A command on its way.
struct Submitted {
    lead: Lead,
    command: Bytes,
    outcome: oneshot::Sender<Outcome>,
}

/// Where commands are submitted. All clones feed the same queue.
#[derive(Clone)]
pub(crate) struct Proposer {
    queue: mpsc::UnboundedSender<Submitted>,
    gate: Arc<Gate>,
    in_flight: Arc<Semaphore>,
    limit: usize,
}

impl Proposer {
    /// The proposer, and the task that serves it.
    pub(crate) fn new(
        node_id: NodeId,
        raft: Raft,
        gate: Arc<Gate>,
        lease: Duration,
        limit: usize,
    ) -> (Proposer, impl Future<Output = ()> + Send) {
        // Bounded by the permits, which every entry of the queue holds.
        let (queue, submitted) = mpsc::unbounded_channel();
        let feeder = Feeder { node_id, raft, gate: Arc::clone(&gate), lease, answering: JoinSet::new() };
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_BYTES));
        (Proposer { queue, gate, in_flight, limit }, feeder.run(submitted))
    }

    /// Submits at once; the future resolves with the outcome.
    pub(crate) fn propose(
        &self,
        lead: &Lead,
        command: Bytes,
    ) -> impl Future<Output = Outcome> + Send + use<> {
        let submitted = self.submit(lead.clone(), command);
        let (gate, lead) = (Arc::clone(&self.gate), lead.clone());
        async move {
            let (outcome, _permit) = submitted?;
            let unknown = |text: &str| Err(ProposeError::Unknown(text.to_owned()));
            tokio::select! {
                biased;
                outcome = outcome => outcome.unwrap_or_else(|_| unknown("the store stopped")),
                () = gate.ended(&lead) => unknown("the leadership ended before the outcome was known"),
            }
        }
    }

    fn submit(
        &self,
        lead: Lead,
        command: Bytes,
    ) -> Result<(oneshot::Receiver<Outcome>, OwnedSemaphorePermit), ProposeError> {
        if command.len() > self.limit {
            return Err(ProposeError::TooLarge { bytes: command.len(), limit: self.limit });
        }
        if !self.gate.holds(&lead) {
            return Err(not_leading(&self.gate));
        }
        self.gate.health().admit(lead.serial)?;
        let weight = u32::try_from(command.len() + COMMAND_OVERHEAD).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_many_owned(weight) else {
            return Err(ProposeError::Busy);
        };
        let (outcome, receiver) = oneshot::channel();
        let queued = self.queue.send(Submitted { lead, command, outcome });
        queued.map_err(|_| ProposeError::NotLeading { leader: None })?;
        Ok((receiver, permit))
    }
}

fn not_leading(gate: &Gate) -> ProposeError {
    ProposeError::NotLeading { leader: gate.other_leader() }
}

/// Hands batches to raft.
struct Feeder {
    node_id: NodeId,
    raft: Raft,
    gate: Arc<Gate>,
    lease: Duration,
    /// One task for each batch that raft took and has not answered yet.
    answering: JoinSet<()>,
}

impl Feeder {
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Submitted>) {
        let mut received = Vec::with_capacity(BATCH);
        let mut open = VecDeque::new();
        while queue.recv_many(&mut received, BATCH).await > 0 {
            open.extend(received.drain(..));
            while !open.is_empty() {
                while self.answering.try_join_next().is_some() {}
                if self.feed(&mut open).await.is_none() {
                    // Raft stopped: the outcomes that are dropped with the queue tell so.
                    return;
                }
            }
        }
    }

    /// Hands the front of the queue to raft. What must be tried again stays there.
    async fn feed(&mut self, open: &mut VecDeque<Submitted>) -> Option<()> {
        let lead = open.front()?.lead.clone();
        self.await_lease(&lead).await;
        if !self.gate.holds(&lead) {
            let over = open.iter().take_while(|s| s.lead == lead).count();
            self.refuse(open.drain(..over));
            return Some(());
        }
        let mut bytes = 0;
        let fits = |s: &&Submitted| {
            let room = bytes < BATCH_BYTES;
            bytes += s.command.len();
            room && s.lead == lead
        };
        let count = open.iter().take_while(fits).count();
        let commands = open.iter().take(count).map(|s| Command { term: lead.term, bytes: s.command.clone() });
        let mut outcomes = self.raft.client_write_many(commands.collect::<Vec<_>>()).await.ok()?;
        // Raft works its messages off in order: after this answer all of the batch is in the log, or all of it is refused.
        self.raft.with_raft_state(|_| ()).await.ok()?;
        let first = tokio::task::unconstrained(outcomes.next()).now_or_never().flatten();
        if let Some(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) = &first {
            if forward.reason != ForwardReason::LeaseExpired {
                self.gate.refused(&lead);
                self.refuse(open.drain(..count));
            }
            return Some(());
        }
        let waiting: Vec<_> = open.drain(..count).map(|s| s.outcome).collect();
        let outcomes = futures::stream::iter(first).chain(outcomes).boxed();
        self.answering.spawn(answer(outcomes, waiting, lead, Arc::clone(&self.gate)));
        Some(())
    }

    fn refuse(&self, refused: impl Iterator<Item = Submitted>) {
        for submitted in refused {
            // Nobody may be waiting any more.
            drop(submitted.outcome.send(Err(not_leading(&self.gate))));
        }
    }

    /// Waits until raft would take a command, or the lead is over.
    async fn await_lease(&self, lead: &Lead) {
        let mut metrics = self.raft.metrics();
        while self.gate.holds(lead) {
            let valid = {
                let metrics = metrics.borrow_watched();
                let alone = metrics.membership_config.membership().voter_ids().eq([self.node_id]);
                // A margin, because raft looks at it a moment later.
                alone || quorum_contact(&metrics).is_some_and(|age| age < self.lease * 3 / 4)
            };
            if valid {
                return;
            }
            tokio::select! {
                biased;
                () = self.gate.ended(lead) => return,
                changed = metrics.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LEASE_POLL) => {}
            }
        }
    }
}

/// Passes the outcomes of a batch on, each as soon as it is known.
async fn answer(
    mut outcomes: BoxStream<'static, RaftOutcome>,
    waiting: Vec<oneshot::Sender<Outcome>>,
    lead: Lead,
    gate: Arc<Gate>,
) {
    for waiter in waiting {
        // No outcome: raft stopped, and the waiters that are dropped learn it.
        let Some(Ok(outcome)) = outcomes.next().await else { return };
        let outcome = match outcome {
            Ok(response) => match response.response {
                Answer::Applied(answer) => Ok(Applied { index: response.log_id.index, answer }),
                Answer::Stale => Err(not_leading(&gate)),
            },
            Err(ClientWriteError::ForwardToLeader(_)) => Err(not_leading(&gate)),
            // The entry was in the log and another leader replaced it here: it may have been committed elsewhere.
            Err(_) if mutants::on(Mutant::RefuseReplaced) => Err(not_leading(&gate)),
            Err(e) => Err(ProposeError::Unknown(e.to_string())),
        };
        if matches!(outcome, Err(ProposeError::NotLeading { .. })) {
            gate.refused(&lead);
        }
        // Nobody may be waiting any more.
        drop(waiter.send(outcome));
    }
}
