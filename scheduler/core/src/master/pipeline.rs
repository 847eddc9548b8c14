//! Proposals in flight: what was asked of the log, and what to do when it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_proto::resources::Resources;
use tepui_proto::v1;

use super::core::Master;
use super::drivers::Tag;
use super::effect::Effect;
use super::fleet::FleetPending;
use super::input::{ConnectionId, ProposalId, RequestId};
use super::reports::Batch;
use crate::ids::{self, AgentId, ExecutorId, FrameworkId, TaskKey};
use crate::registry::{Envelope, Operation};

/// Why something was proposed.
#[derive(Debug)]
pub(super) enum Pending {
    TakeLead,
    Tick,
    /// The cluster's level rises.
    Level,
    Subscription(Subscription),
    /// UPDATE_FRAMEWORK by a connected framework.
    FrameworkChange {
        framework: FrameworkId,
        request: RequestId,
    },
    FrameworkLeft,
    /// Weights or quotas, set by an operator.
    Settings {
        request: RequestId,
        /// What is to be said if guarantees turn out to exceed what the cluster has.
        exceeding: Option<String>,
    },
    FrameworkRemoval {
        framework: FrameworkId,
        request: Option<RequestId>,
    },
    Registration {
        agent: AgentId,
        connection: ConnectionId,
        /// Nothing of what the agent said follows.
        last: bool,
    },
    /// ATTACH of agents that stand as they are known.
    Attach {
        agents: Vec<(AgentId, ConnectionId)>,
    },
    AgentLeft {
        agent: AgentId,
    },
    AgentUnreachable {
        agent: AgentId,
    },
    AgentRemoval {
        agent: AgentId,
    },
    Launch(PendingLaunch),
    Kill,
    /// REVIVE or SUPPRESS.
    Suppression {
        framework: FrameworkId,
    },
    Reports(Batch),
    Fleet(FleetPending),
    Supervisor(Tag),
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) framework: FrameworkId,
    pub(super) connection: ConnectionId,
    pub(super) stream_id: String,
    /// Checked again when it is applied.
    pub(super) driver_token: Option<String>,
}

/// Tasks that are not in the Registry yet, but known, charged, and killable.
#[derive(Debug)]
pub(super) struct PendingLaunch {
    pub(super) framework: FrameworkId,
    pub(super) agent: AgentId,
    pub(super) role: Arc<str>,
    /// Without allocation.
    pub(super) amounts: Resources,
    /// Custom executors whose resources are in `amounts`. Its other ones were there when it was proposed, or came with another launch.
    pub(super) brings: BTreeSet<ExecutorId>,
    pub(super) tasks: Vec<PendingTask>,
    /// Conversions of resources, in the order of the proposed steps.
    pub(super) operations: Vec<PendingOperation>,
    /// The operator's, who waits for it.
    pub(super) request: Option<RequestId>,
    /// The supervisor's, for a driver's launch.
    pub(super) tag: Option<Tag>,
}

impl PendingLaunch {
    /// The custom executors of its tasks, with what each needs, without allocation.
    pub(super) fn executors(&self) -> BTreeMap<ExecutorId, Resources> {
        let infos = self.tasks.iter().filter_map(|task| task.info.executor.as_ref());
        let needs = |info: &v1::ExecutorInfo| crate::registry::unallocated(&info.resources);
        infos.map(|info| (ids::of(info.executor_id.as_ref()), needs(info))).collect()
    }
}

/// A conversion that is not applied yet.
#[derive(Debug)]
pub(super) struct PendingOperation {
    /// As the framework named it.
    pub(super) id: Option<v1::OperationId>,
    pub(super) kind: v1::offer::operation::Type,
}

#[derive(Debug)]
pub(super) struct PendingTask {
    pub(super) key: TaskKey,
    pub(super) info: v1::TaskInfo,
    /// A KILL came before the commit: it will never be sent.
    pub(super) killed: bool,
    /// Neighbours with the same number other than 0 are sent as one.
    pub(super) group: u32,
}

#[derive(Debug, Default)]
pub(super) struct Pipeline {
    last: ProposalId,
    proposed_ms: u64,
    pending: BTreeMap<ProposalId, Pending>,
    launches: BTreeMap<AgentId, Vec<ProposalId>>,
    tasks: BTreeMap<TaskKey, ProposalId>,
}

impl Pipeline {
    /// An empty pipeline that goes on counting where `old` stopped.
    pub(super) fn after(old: &Self) -> Self {
        Self { last: old.last, ..Self::default() }
    }

    /// Cluster time of the last proposal.
    pub(super) fn proposed_ms(&self) -> u64 {
        self.proposed_ms
    }

    /// Everything that has no outcome yet.
    pub(super) fn all(&self) -> impl Iterator<Item = &Pending> {
        self.pending.values()
    }

    pub(super) fn take(&mut self, proposal: ProposalId) -> Option<Pending> {
        let pending = self.pending.remove(&proposal)?;
        if let Pending::Launch(launch) = &pending {
            for task in &launch.tasks {
                self.tasks.remove(&task.key);
            }
            if let Some(launches) = self.launches.get_mut(&launch.agent) {
                launches.retain(|one| *one != proposal);
                if launches.is_empty() {
                    self.launches.remove(&launch.agent);
                }
            }
        }
        Some(pending)
    }

    pub(super) fn put_back(&mut self, proposal: ProposalId, pending: Pending) {
        if let Pending::Launch(launch) = &pending {
            for task in &launch.tasks {
                self.tasks.insert(task.key.clone(), proposal);
            }
            self.launches.entry(launch.agent.clone()).or_default().push(proposal);
        }
        self.pending.insert(proposal, pending);
    }

    /// Launches of this agent that are not applied yet.
    pub(super) fn launches_on<'a>(&'a self, agent: &AgentId) -> impl Iterator<Item = &'a PendingLaunch> {
        let proposals = self.launches.get(agent).into_iter().flatten();
        proposals.filter_map(|proposal| match self.pending.get(proposal) {
            Some(Pending::Launch(launch)) => Some(launch),
            _ => None,
        })
    }

    pub(super) fn launches(&self) -> impl Iterator<Item = &PendingLaunch> {
        self.pending.values().filter_map(|pending| match pending {
            Pending::Launch(launch) => Some(launch),
            _ => None,
        })
    }

    /// Whether a REVIVE or SUPPRESS of this framework is not applied yet.
    pub(super) fn holds_suppression(&self, id: &FrameworkId) -> bool {
        self.pending
            .values()
            .any(|pending| matches!(pending, Pending::Suppression { framework } if framework == id))
    }

    pub(super) fn holds_task(&self, key: &TaskKey) -> bool {
        self.tasks.contains_key(key)
    }

    pub(super) fn task(&self, key: &TaskKey) -> Option<(&PendingLaunch, &PendingTask)> {
        let Some(Pending::Launch(launch)) = self.pending.get(self.tasks.get(key)?) else { return None };
        Some((launch, launch.tasks.iter().find(|task| task.key == *key)?))
    }

    /// Marks a task so that it will not be sent; returns whether it was not marked before.
    pub(super) fn mark_killed(&mut self, key: &TaskKey) -> bool {
        let Some(proposal) = self.tasks.get(key) else { return false };
        let Some(Pending::Launch(launch)) = self.pending.get_mut(proposal) else { return false };
        let task = launch.tasks.iter_mut().find(|task| task.key == *key);
        task.is_some_and(|task| !std::mem::replace(&mut task.killed, true))
    }

    /// Tasks of this framework that are not applied yet, in order.
    pub(super) fn tasks_of(&self, framework: &FrameworkId) -> Vec<TaskKey> {
        let first = TaskKey::new(framework.clone(), "");
        let keys = self.tasks.range(first..).map(|(key, _)| key);
        keys.take_while(|key| key.framework == *framework).cloned().collect()
    }
}

impl Master {
    /// Proposes an operation, behind everything that agents have reported so far.
    pub(super) fn propose(&mut self, operation: Operation, pending: Pending) {
        if !matches!(
            operation,
            Operation::Observe(_) | Operation::TakeLead(_) | Operation::Tick(_) | Operation::Checkpoint(_)
        ) {
            self.propose_reports();
        }
        self.pipeline.last += 1;
        self.pipeline.proposed_ms = self.now.cluster_ms;
        let proposal = self.pipeline.last;
        self.pipeline.put_back(proposal, pending);
        let envelope = Envelope {
            epoch: self.registry.epoch,
            cluster_ms: self.now.cluster_ms,
            wall_ms: self.now.wall_ms,
            proposal,
            node_id: self.identity.node_id,
            operation: Some(operation),
        };
        self.out.push(Effect::Propose { proposal, envelope });
    }
}
