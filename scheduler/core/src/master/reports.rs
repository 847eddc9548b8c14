//! What agents reported and the Registry does not say yet: the open batch, those in flight, and what they will change.
//!
//! Updates are forwarded at once and committed in batches. Until then decisions look here first: a task that has ended holds
//! nothing any more, and reconciliation answers what the framework was last told.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;
use tepui_proto::v1::{self, TaskState};

use super::core::Master;
use super::pipeline::Pending;
use super::supervise::acknowledge_event;
use super::timers::Timer;
use crate::ids::{AgentId, FrameworkId, TaskKey};
use crate::registry::{
    Observation, Observe, Observed, ObservedAccept, ObservedAcknowledgement, ObservedExecutorExit,
    ObservedStatus, Operation,
};

/// A batch is proposed early when it has this many events …
const MAX_EVENTS: usize = 4096;
/// … or this many bytes: well below what the log takes in one piece, since what is too long for it is never committed.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// Tag and length of an event within a batch.
const EVENT_OVERHEAD: usize = 8;
/// A status above this is recorded without what its executor has put into it.
const MAX_STATUS_BYTES: usize = 64 << 10;
/// Characters of the message of such a status that are recorded.
const MAX_MESSAGE: usize = 1000;

/// An acknowledgement on its way to an agent.
#[derive(Clone, Debug)]
pub(super) struct Acknowledgement {
    pub(super) agent: AgentId,
    pub(super) task: TaskKey,
    pub(super) uuid: Bytes,
}

/// What is committed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    number: u64,
    events: Vec<Observed>,
    /// Of the events.
    bytes: usize,
    /// To be passed on once this is applied.
    acknowledgements: Vec<Acknowledgement>,
}

/// What was reported of a task and is not applied yet.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) latest: TaskState,
    pub(super) status: v1::TaskStatus,
    agent: AgentId,
    batch: u64,
}

#[derive(Debug, Default)]
pub(super) struct Reports {
    open: Batch,
    /// Batches that did not commit, oldest first: proposed again, each as it was, before what came later.
    failed: Vec<Batch>,
    /// Highest launch that each agent said it accepted, not applied yet.
    accepted: BTreeMap<AgentId, u64>,
    seen: BTreeMap<TaskKey, Seen>,
    /// Tasks that have ended, by agent.
    ended: BTreeMap<AgentId, BTreeSet<TaskKey>>,
}

impl Reports {
    /// Returns what was reported last, if it is not applied yet.
    pub(super) fn seen(&self, key: &TaskKey) -> Option<&Seen> {
        self.seen.get(key)
    }

    /// Tasks of this agent that hold nothing any more, although the Registry says they do.
    pub(super) fn ended_on(&self, agent: &AgentId) -> impl Iterator<Item = &TaskKey> {
        self.ended.get(agent).into_iter().flatten()
    }

    fn note(&mut self, key: &TaskKey, mut seen: Seen) {
        seen.batch = self.open.number;
        if seen.latest.is_terminal() {
            self.ended.entry(seen.agent.clone()).or_default().insert(key.clone());
        }
        self.seen.insert(key.clone(), seen);
    }

    fn forget_batch(&mut self, batch: &Batch) {
        for event in &batch.events {
            if let Some(Observation::Status(status)) = &event.observation
                && let Some(id) = status.status.as_ref().and_then(|status| status.task_id.as_ref())
            {
                let key = TaskKey::new(status.framework_id.as_str(), id.value());
                if self.seen.get(&key).is_some_and(|seen| seen.batch == batch.number) {
                    self.forget(&key);
                }
            }
        }
    }

    fn forget(&mut self, key: &TaskKey) {
        let Some(seen) = self.seen.remove(key) else { return };
        if let Some(keys) = self.ended.get_mut(&seen.agent) {
            keys.remove(key);
            if keys.is_empty() {
                self.ended.remove(&seen.agent);
            }
        }
    }

    /// The agent was given up: what it reported before is overruled.
    pub(super) fn forget_agent(&mut self, agent: &AgentId) {
        self.ended.remove(agent);
        self.seen.retain(|_, seen| seen.agent != *agent);
        self.accepted.remove(agent);
    }
}

impl Master {
    /// Puts a forwarded status into the open batch.
    pub(super) fn report_status(
        &mut self,
        agent: &AgentId,
        key: &TaskKey,
        mut status: v1::TaskStatus,
        latest: TaskState,
    ) {
        shorten(&mut status);
        self.reports.note(key, Seen { latest, status: status.clone(), agent: agent.clone(), batch: 0 });
        if latest.is_terminal() {
            self.holdings.touch(agent);
            self.large_tasks.remove(key);
        }
        self.report(Observation::Status(ObservedStatus {
            framework_id: key.framework.as_str().to_owned(),
            status: Some(status),
            latest_state: Some(latest as i32),
        }));
    }

    /// Puts an acknowledgement into the open batch, and has it passed on: after that batch if the end that it acknowledges is
    /// not applied yet, at once otherwise.
    pub(super) fn report_acknowledgement(&mut self, acknowledgement: Acknowledgement) {
        let Acknowledgement { task, uuid, .. } = acknowledgement.clone();
        if self.reports.seen(&task).is_some() && !mutant!("end-acknowledged-before-its-commit") {
            self.reports.open.acknowledgements.push(acknowledgement);
        } else {
            self.pass_on(acknowledgement);
        }
        self.report(Observation::Acknowledged(ObservedAcknowledgement {
            framework_id: task.framework.as_str().to_owned(),
            task_id: task.task.as_str().to_owned(),
            uuid,
        }));
    }

    /// Has an acknowledgement passed on when everything reported so far is applied.
    pub(super) fn pass_on_later(&mut self, acknowledgement: Acknowledgement) {
        self.reports.open.acknowledgements.push(acknowledgement);
        self.arm_reports();
    }

    pub(super) fn pass_on(&mut self, acknowledgement: Acknowledgement) {
        let event = acknowledge_event(&acknowledgement.task, acknowledgement.uuid);
        self.send_to_agent(&acknowledgement.agent, event);
    }

    /// The agent has checkpointed its launches up to this one.
    pub(super) fn note_accepted(&mut self, agent: &AgentId, launch_seq: u64) {
        let known = self.registry.agents.get(agent).map_or(0, |record| record.accepted_launch_seq);
        if launch_seq <= known {
            return;
        }
        // It has checkpointed them, so nobody else need keep them.
        let tasks = &self.registry.tasks;
        self.large_tasks.retain(|key, _| {
            tasks.get(key).is_none_or(|task| task.agent_id() != *agent || task.launch_seq > launch_seq)
        });
        let told = self.reports.accepted.entry(agent.clone()).or_default();
        if launch_seq > *told {
            *told = launch_seq;
            self.arm_reports();
        }
    }

    /// Puts the end of an executor into the open batch.
    pub(super) fn report_executor_exit(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        executor: Option<&v1::ExecutorId>,
        accepted_launch_seq: u64,
    ) {
        self.report(Observation::ExecutorExited(ObservedExecutorExit {
            agent_id: agent.as_str().to_owned(),
            framework_id: framework.as_str().to_owned(),
            executor_id: executor.map(|id| id.value().to_owned()).unwrap_or_default(),
            accepted_launch_seq,
        }));
    }

    pub(super) fn report(&mut self, observation: Observation) {
        let observed = Observed { observation: Some(observation) };
        self.reports.open.bytes += observed.encoded_len() + EVENT_OVERHEAD;
        self.reports.open.events.push(observed);
        if self.reports.open.events.len() >= MAX_EVENTS || self.reports.open.bytes >= MAX_BATCH_BYTES {
            self.propose_reports();
        } else {
            self.arm_reports();
        }
    }

    fn arm_reports(&mut self) {
        if !self.reports_armed {
            self.reports_armed = true;
            self.timers.arm(self.now.cluster_ms + self.config.observe_interval_ms, Timer::Reports);
        }
    }

    pub(super) fn reports_due(&mut self) {
        self.reports_armed = false;
        self.propose_reports();
    }

    /// Proposes the open batch, if there is anything in it.
    pub(super) fn propose_reports(&mut self) {
        for batch in std::mem::take(&mut self.reports.failed) {
            self.propose_batch(batch);
        }
        let accepted = std::mem::take(&mut self.reports.accepted);
        let accepted = accepted.into_iter().map(|(agent, launch_seq)| {
            let agent_id = agent.as_str().to_owned();
            Observed { observation: Some(Observation::Accepted(ObservedAccept { agent_id, launch_seq })) }
        });
        self.reports.open.events.extend(accepted);
        let number = self.reports.open.number + 1;
        if self.reports.open.events.is_empty() && self.reports.open.acknowledgements.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.reports.open, Batch { number, ..Batch::default() });
        self.propose_batch(batch);
    }

    fn propose_batch(&mut self, batch: Batch) {
        let observe = Observe { events: batch.events.clone() };
        self.propose(Operation::Observe(observe), Pending::Reports(batch));
    }

    pub(super) fn reports_applied(&mut self, batch: Batch) {
        self.reports.forget_batch(&batch);
        for event in &batch.events {
            match &event.observation {
                Some(Observation::Status(status)) => {
                    if let Some(id) = status.status.as_ref().and_then(|status| status.agent_id.as_ref()) {
                        self.holdings.touch(&AgentId::from(id));
                    }
                }
                Some(Observation::ExecutorExited(exited)) => {
                    self.holdings.touch(&AgentId::from(exited.agent_id.as_str()));
                }
                Some(
                    Observation::Acknowledged(_)
                    | Observation::Accepted(_)
                    | Observation::Resources(_)
                    | Observation::OperationAcknowledged(_),
                )
                | None => {}
            }
        }
        for acknowledgement in batch.acknowledgements {
            self.pass_on(acknowledgement);
        }
    }

    /// The batch did not commit, or nobody knows: it is proposed again, since applying it twice does no harm. It stays as it is,
    /// because two batches in one could be more than the log takes.
    pub(super) fn reports_failed(&mut self, batch: Batch) {
        self.reports.failed.push(batch);
        self.reports.failed.sort_by_key(|batch| batch.number);
        self.arm_reports();
    }
}

/// Leaves out what the Registry does not need: the payload always, and of a huge status everything that is not about its state.
pub(super) fn shorten(status: &mut v1::TaskStatus) {
    status.data = None;
    if status.encoded_len() <= MAX_STATUS_BYTES {
        return;
    }
    status.labels = None;
    status.container_status = None;
    status.check_status = None;
    status.limitation = None;
    if let Some(message) = &mut status.message
        && let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE)
    {
        message.truncate(end);
        message.push_str("...");
    }
}
