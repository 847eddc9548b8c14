//! The way of a command into the log: in the order in which it was asked for, under one lead, many at a time.
//!
//! Owns the queue in front of raft. A command takes its place when it is submitted; a batch is handed to raft whole, and only
//! when it is known which of it raft took does the next one follow. What raft refused because its lease had lapsed for a
//! moment is tried again in order as long as the lead holds; any other refusal ends the lead, so that nothing submitted later
//! can overtake something refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::config::NodeId;
use crate::error::ProposeError;
use crate::leadership::{Gate, quorum_contact};
use crate::status::{Applied, Lead};
use crate::types::{Command, LeaderId, Raft, TypeConfig};

/// So many bytes may be submitted and unanswered; every command counts a little more than its length.
const IN_FLIGHT_BYTES: usize = 64 << 20;
const COMMAND_OVERHEAD: usize = 256;
const BATCH: usize = 1024;
/// How often a lapsed lease is looked at, should raft not tell.
const LEASE_POLL: Duration = Duration::from_millis(20);

type Outcome = ClientWriteResult<TypeConfig>;

/// A command on its way.
struct Submitted {
    lead: Lead,
    command: Command,
    verdict: oneshot::Sender<Verdict>,
}

/// What raft did with a command.
enum Verdict {
    /// It is in the local log; the outcome follows.
    Taken(oneshot::Receiver<Outcome>),
    Known(Outcome),
    /// It never reached the log.
    Refused,
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
        let feeder = Feeder { node_id, raft, gate: Arc::clone(&gate), lease };
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_BYTES));
        (Proposer { queue, gate, in_flight, limit }, feeder.run(submitted))
    }

    /// Submits at once; the future resolves with the outcome.
    pub(crate) fn propose(
        &self,
        lead: &Lead,
        command: Bytes,
    ) -> impl Future<Output = Result<Applied, ProposeError>> + Send + use<> {
        let submitted = self.submit(lead.clone(), command);
        let (gate, lead) = (Arc::clone(&self.gate), lead.clone());
        async move {
            let (verdict, _permit) = submitted?;
            tokio::select! {
                biased;
                outcome = outcome(verdict, &gate) => outcome,
                () = gate.ended(&lead) => {
                    Err(ProposeError::Unknown("the leadership ended before the outcome was known".to_owned()))
                }
            }
        }
    }

    fn submit(
        &self,
        lead: Lead,
        command: Bytes,
    ) -> Result<(oneshot::Receiver<Verdict>, OwnedSemaphorePermit), ProposeError> {
        if command.len() > self.limit {
            return Err(ProposeError::TooLarge { bytes: command.len(), limit: self.limit });
        }
        if !self.gate.holds(&lead) {
            return Err(ProposeError::NotLeading { leader: self.gate.other_leader() });
        }
        let weight = u32::try_from(command.len() + COMMAND_OVERHEAD).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_many_owned(weight) else {
            return Err(ProposeError::Busy);
        };
        let (verdict, receiver) = oneshot::channel();
        self.queue
            .send(Submitted { lead, command: Command(command), verdict })
            .map_err(|_| ProposeError::NotLeading { leader: None })?;
        Ok((receiver, permit))
    }
}

async fn outcome(verdict: oneshot::Receiver<Verdict>, gate: &Gate) -> Result<Applied, ProposeError> {
    let stopped = || ProposeError::Unknown("the store stopped".to_owned());
    let outcome = match verdict.await.map_err(|_| stopped())? {
        Verdict::Refused => return Err(ProposeError::NotLeading { leader: gate.other_leader() }),
        Verdict::Known(outcome) => outcome,
        Verdict::Taken(outcome) => outcome.await.map_err(|_| stopped())?,
    };
    match outcome {
        Ok(response) => Ok(Applied { index: response.log_id.index, answer: response.data.0 }),
        Err(ClientWriteError::ForwardToLeader(forward)) => {
            Err(ProposeError::NotLeading { leader: forward.leader_id.zip(forward.leader_node) })
        }
        // The entry was in the log and another leader replaced it here: it may have been committed elsewhere.
        Err(e) => Err(ProposeError::Unknown(e.to_string())),
    }
}

/// Hands batches to raft.
struct Feeder {
    node_id: NodeId,
    raft: Raft,
    gate: Arc<Gate>,
    lease: Duration,
}

impl Feeder {
    async fn run(self, mut queue: mpsc::UnboundedReceiver<Submitted>) {
        let mut batch = Vec::with_capacity(BATCH);
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            let mut open = std::mem::take(&mut batch);
            while !open.is_empty() {
                open = self.feed(open).await;
            }
        }
    }

    /// Hands over what may go; returns what must be tried again.
    async fn feed(&self, batch: Vec<Submitted>) -> Vec<Submitted> {
        let Some(lead) = batch.first().map(|s| s.lead.clone()) else { return Vec::new() };
        self.await_lease(&lead).await;
        let mut taken = Vec::with_capacity(batch.len());
        for Submitted { lead, command, verdict } in batch {
            if !self.gate.holds(&lead) {
                // Nobody may be waiting any more.
                drop(verdict.send(Verdict::Refused));
                continue;
            }
            let (responder, outcome) = ProgressResponder::complete_only();
            let leader = LeaderId { term: lead.term, node_id: lead.node_id };
            let again = command.clone();
            let sent = self.raft.write(command).with_leader(leader).responder(responder).await;
            if sent.is_err() {
                // Raft stopped; the dropped verdict says so.
                return Vec::new();
            }
            taken.push((Submitted { lead, command: again, verdict }, outcome));
        }
        // Raft works its messages off in order: after this answer all of the batch is in the log or refused.
        if self.raft.with_raft_state(|_| ()).await.is_err() {
            return Vec::new();
        }
        self.sort_out(taken)
    }

    fn sort_out(&self, taken: Vec<(Submitted, oneshot::Receiver<Outcome>)>) -> Vec<Submitted> {
        let mut again = Vec::new();
        for (submitted, mut outcome) in taken {
            let verdict = match outcome.try_recv() {
                Err(TryRecvError::Closed) => continue,
                Err(TryRecvError::Empty) => Verdict::Taken(outcome),
                Ok(Err(ClientWriteError::ForwardToLeader(ForwardToLeader {
                    reason: ForwardReason::LeaseExpired,
                    ..
                }))) => {
                    again.push(submitted);
                    continue;
                }
                Ok(known) => {
                    if matches!(known, Err(ClientWriteError::ForwardToLeader(_))) {
                        self.gate.refused(&submitted.lead);
                    }
                    Verdict::Known(known)
                }
            };
            if !again.is_empty()
                && !matches!(verdict, Verdict::Known(Err(ClientWriteError::ForwardToLeader(_))))
            {
                // Something later got in before something refused: the order is broken, so this lead is over.
                for Submitted { lead, verdict, .. } in again.drain(..) {
                    self.gate.refused(&lead);
                    drop(verdict.send(Verdict::Refused));
                }
            }
            // Nobody may be waiting any more.
            drop(submitted.verdict.send(verdict));
        }
        again
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
                () = self.gate.ended(lead) => return,
                changed = metrics.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LEASE_POLL) => {}
            }
        }
    }
}
