//! What live tasks hold on one agent: derived from the tasks, kept up to date as they change.
//!
//! Owns the rule of what counts: every task whose end is not known and whose agent is not given up, and each custom executor
//! that has not ended, however many tasks share it. All amounts are without allocation; the role stands in the key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tepui_proto::resources::Resources;
use tepui_proto::v1;

use super::amounts;
use super::records::{ExecutorRecord, TaskRecord};
use crate::ids::{self, ExecutorId, FrameworkId};

/// A framework in one of its roles.
pub type Client = (FrameworkId, Arc<str>);

#[derive(Clone, Debug, Default)]
pub struct AgentCharges {
    /// What each framework holds in each role; no empty entries.
    pub by_client: BTreeMap<Client, Resources>,
    /// The sum of it.
    pub total: Resources,
    /// Custom executors that have not ended.
    executors: BTreeSet<(FrameworkId, ExecutorId)>,
    /// Two tasks may hold the same port: an agent came back with one whose place was given away meanwhile. Then nothing can be
    /// subtracted, since the other one holds it still.
    overlaps: bool,
}

impl PartialEq for AgentCharges {
    fn eq(&self, other: &Self) -> bool {
        self.by_client == other.by_client && self.total == other.total && self.executors == other.executors
    }
}

impl AgentCharges {
    pub fn is_empty(&self) -> bool {
        self.by_client.is_empty() && self.executors.is_empty()
    }

    /// Whether this executor is charged already.
    pub fn holds_executor(&self, framework: &FrameworkId, executor: &ExecutorId) -> bool {
        self.executors.contains(&(framework.clone(), executor.clone()))
    }

    pub(super) fn charge_executor(&mut self, record: &ExecutorRecord) {
        let key = record.key();
        if self.executors.insert((key.framework.clone(), key.executor)) {
            let (role, amounts) = executor_amounts(record.info.as_ref());
            if mutant!("executor-not-charged") {
                return;
            }
            self.add(&(key.framework, role), &amounts);
        }
    }

    pub(super) fn release_executor(&mut self, record: &ExecutorRecord) {
        let key = record.key();
        if self.executors.remove(&(key.framework.clone(), key.executor)) {
            let (role, amounts) = executor_amounts(record.info.as_ref());
            self.subtract(&(key.framework, role), &amounts);
        }
    }

    /// Whether the end of a task asks for a recount.
    pub(super) fn overlaps(&self) -> bool {
        self.overlaps
    }

    pub(super) fn charge(&mut self, record: &TaskRecord) {
        let (client, amounts) = needs(record);
        self.add(&client, &amounts);
    }

    /// Like `release`, for whoever is ahead of the Registry and knows that a task has ended.
    pub(crate) fn release_if_charged(&mut self, record: &TaskRecord) {
        if is_charged(record) {
            self.release(record);
        }
    }

    pub(super) fn release(&mut self, record: &TaskRecord) {
        let (client, amounts) = needs(record);
        if mutant!("released-twice") {
            self.subtract(&client, &amounts);
        }
        self.subtract(&client, &amounts);
    }

    /// Whether what is left of `total` is enough for this task, and for its executor unless that runs already.
    pub(super) fn leaves_room_for(&self, record: &TaskRecord, total: &Resources) -> bool {
        // Subtracting shows an overlap of ranges, which adding would hide.
        let free = total.less(&self.total);
        let wanted = needs(record).1;
        if !free.covers(&wanted) {
            return false;
        }
        match executor_needs(record) {
            Some(((framework, executor), more)) => {
                self.holds_executor(&framework, &executor) || free.less(&wanted).covers(&more)
            }
            None => true,
        }
    }

    fn add(&mut self, client: &Client, amounts: &Resources) {
        if !amounts.is_empty() {
            *self.by_client.entry(client.clone()).or_default() += amounts;
            let sum = self.total.clone() + amounts;
            self.overlaps |= sum.saturating_sub(amounts) != self.total;
            self.total = sum;
        }
    }

    fn subtract(&mut self, client: &Client, amounts: &Resources) {
        self.total = self.total.saturating_sub(amounts);
        if let Some(held) = self.by_client.get_mut(client) {
            *held = held.saturating_sub(amounts);
            if held.is_empty() {
                self.by_client.remove(client);
            }
        }
    }
}

/// Whether this task holds resources of its agent.
pub(super) fn is_charged(record: &TaskRecord) -> bool {
    record.unreachable_wall_ms.is_none() && !record.state().is_terminal()
}

/// Returns the role that a task's resources were allocated to.
pub fn role_of(resources: &[v1::Resource]) -> Arc<str> {
    let role = resources.iter().find_map(|one| one.allocation_info.as_ref()?.role.as_deref());
    Arc::from(role.unwrap_or("*"))
}

fn needs(record: &TaskRecord) -> (Client, Resources) {
    let resources = record.task.as_ref().map(|task| task.resources.as_slice()).unwrap_or_default();
    ((record.key().framework, role_of(resources)), amounts::unallocated(resources))
}

fn executor_amounts(info: Option<&v1::ExecutorInfo>) -> (Arc<str>, Resources) {
    let resources = info.map(|info| info.resources.as_slice()).unwrap_or_default();
    (role_of(resources), amounts::unallocated(resources))
}

fn executor_needs(record: &TaskRecord) -> Option<((FrameworkId, ExecutorId), Resources)> {
    let executor = record.executor.as_ref()?;
    let key = (record.key().framework, ids::of(executor.executor_id.as_ref()));
    Some((key, amounts::unallocated(&executor.resources)))
}
