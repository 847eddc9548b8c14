//! What a master keeps ready for the day it leads: the allocator with every agent and framework, and what is held on each.
//!
//! ```text
//! standby ──Follow──► compares the Registry with the one before ──► what differs waits ──► taken in, a slice at a time
//! leader  ──Elected─► the rest that waits is taken in behind calls and registrations, and deadlines are armed, a slice at a time
//! ```
//!
//! Until nothing waits any more the leader plans nothing: shares would be counted without some of those who hold something. All else
//! it decides on the Registry, which is whole from the first moment; whoever registers or subscribes meanwhile is taken in at once.

use std::collections::BTreeSet;
use std::ops::Bound;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::core::Master;
use super::input::{OperatorCall, RequestId};
use super::leadership::Phase;
use super::timers::Timer;
use crate::ids::{AgentId, FrameworkId};
use crate::registry::Registry;

/// Work of one slice, in holders of something: each agent counts as a few. About four milliseconds.
const SLICE: usize = 600;
const AGENT_COST: usize = 3;
const FRAMEWORK_COST: usize = 3;
/// Deadlines armed in one slice, and what one costs of a slice.
const DEADLINES: usize = 1_000;

/// Keys of a table that wait for something.
#[derive(Debug)]
pub(super) struct Waiting<K> {
    /// Nothing behind this one has been looked at yet. So a beginning costs nothing, however long the table is.
    behind: Option<K>,
    keys: BTreeSet<K>,
}

impl<K: Ord + Clone + for<'a> From<&'a str>> Waiting<K> {
    /// The whole table waits.
    fn all() -> Self {
        Self { behind: Some(K::from("")), keys: BTreeSet::new() }
    }

    fn none() -> Self {
        Self { behind: None, keys: BTreeSet::new() }
    }

    fn is_empty(&self) -> bool {
        self.behind.is_none() && self.keys.is_empty()
    }

    pub(super) fn contains(&self, key: &K) -> bool {
        self.keys.contains(key) || self.is_behind(key)
    }

    fn is_behind(&self, key: &K) -> bool {
        self.behind.as_ref().is_some_and(|last| key > last)
    }

    fn add(&mut self, key: &K) {
        if !self.is_behind(key) {
            self.keys.insert(key.clone());
        }
    }

    /// The next one that waits.
    fn take<V: Clone>(&mut self, table: &OrdMap<K, V>) -> Option<K> {
        if let Some(key) = self.keys.pop_first() {
            return Some(key);
        }
        let last = self.behind.as_ref()?;
        let next = table.range((Bound::Excluded(last.clone()), Bound::Unbounded)).next();
        self.behind = next.map(|(key, _)| key.clone());
        self.behind.clone()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Warm {
    /// Whose place in the allocator is not what the Registry says.
    pub(super) agents: Waiting<AgentId>,
    frameworks: Waiting<FrameworkId>,
    /// Of a new leader: whose deadlines are not armed yet.
    deadlines: Waiting<AgentId>,
    framework_deadlines: Waiting<FrameworkId>,
    /// Calls of operators that only a whole allocator can answer.
    calls: Vec<(RequestId, OperatorCall)>,
}

impl Warm {
    /// Nothing is ready.
    pub(super) fn cold() -> Self {
        Self {
            agents: Waiting::all(),
            frameworks: Waiting::all(),
            deadlines: Waiting::none(),
            framework_deadlines: Waiting::none(),
            calls: Vec::new(),
        }
    }

    /// Nobody was taken in so far, so what differs waits anyway.
    fn is_cold(&self) -> bool {
        let cold = |last: Option<&str>| last.is_some_and(str::is_empty);
        cold(self.agents.behind.as_ref().map(AgentId::as_str))
            && cold(self.frameworks.behind.as_ref().map(FrameworkId::as_str))
    }

    pub(super) fn waits_for_frameworks(&self) -> bool {
        !self.frameworks.is_empty()
    }

    fn is_behind(&self) -> bool {
        !self.agents.is_empty() || !self.frameworks.is_empty()
    }
}

impl Master {
    /// A standby sees a newer Registry.
    pub(super) fn on_follow(&mut self, registry: Registry) {
        if self.phase == Phase::Idle {
            self.see(registry);
            self.sync_settings();
            self.catch_up();
        }
    }

    /// Whether a standby has more to take in of the Registry that it saw last: it wants to be told of it again, soon.
    pub fn behind(&self) -> bool {
        self.warm.is_behind()
    }

    /// Takes over a newer Registry while nobody but the Registry tells what changed.
    pub(super) fn see(&mut self, registry: Registry) {
        let before = std::mem::replace(&mut self.registry, registry);
        if self.warm.is_cold() {
            return;
        }
        for key in changed(&before.agents, &self.registry.agents) {
            self.warm.agents.add(key);
        }
        for key in changed(&before.charges, &self.registry.charges) {
            self.warm.agents.add(key);
        }
        for key in changed(&before.frameworks, &self.registry.frameworks) {
            self.warm.frameworks.add(key);
        }
    }

    /// A leader that serves has deadlines to arm, beside what waits anyway.
    pub(super) fn warm_took_lead(&mut self) {
        self.warm.deadlines = Waiting::all();
        self.warm.framework_deadlines = Waiting::all();
        self.go_on_catching_up();
    }

    /// The next slice.
    pub(super) fn go_on_catching_up(&mut self) {
        self.catch_up();
        if !self.catches_up() {
            self.arm_some_deadlines();
            for (request, call) in std::mem::take(&mut self.warm.calls) {
                self.operator_call(request, call, None, None);
            }
        }
        if self.catches_up() || self.arms_deadlines() {
            // The rest follows at once, but in a turn of its own.
            self.timers.arm(self.now.cluster_ms + 1, Timer::CatchUp);
        }
    }

    /// Keeps a call for the moment in which the allocator is whole; hands it back if it can be answered now.
    pub(super) fn defer(&mut self, request: RequestId, call: OperatorCall) -> Option<OperatorCall> {
        let needs_all = matches!(
            call,
            OperatorCall::UpdateQuota { .. } | OperatorCall::SetQuota(_) | OperatorCall::ExplainOffers(_)
        );
        if needs_all && self.catches_up() {
            self.warm.calls.push((request, call));
            return None;
        }
        Some(call)
    }

    /// Whether the allocator lacks somebody: nothing may be planned then.
    pub(super) fn catches_up(&self) -> bool {
        self.warm.is_behind()
    }

    /// Whether the allocator does not know an agent, and nothing will tell it.
    pub(super) fn is_missed(&self, id: &AgentId) -> bool {
        !self.holdings.knows(id) && !self.warm.agents.contains(id)
    }

    /// Whether somebody who is away may have no deadline yet.
    pub(super) fn arms_deadlines(&self) -> bool {
        !self.warm.deadlines.is_empty() || !self.warm.framework_deadlines.is_empty()
    }

    fn catch_up(&mut self) {
        let mut spent = 0;
        while spent < SLICE {
            if let Some(id) = self.warm.frameworks.take(&self.registry.frameworks) {
                self.tell_allocator_framework(&id);
                spent += FRAMEWORK_COST;
            } else if let Some(id) = self.warm.agents.take(&self.registry.agents) {
                self.tell_allocator_agent(&id);
                self.holdings.touch(&id);
                spent += AGENT_COST + self.registry.charges.get(&id).map_or(0, |held| held.by_client.len());
            } else {
                break;
            }
        }
        self.settle_holdings();
    }

    fn arm_some_deadlines(&mut self) {
        for _ in 0..DEADLINES {
            if let Some(id) = self.warm.framework_deadlines.take(&self.registry.frameworks) {
                self.arm_framework_deadline(&id);
            } else if let Some(id) = self.warm.deadlines.take(&self.registry.agents) {
                self.arm_agent_deadline(&id);
            } else {
                return;
            }
        }
    }
}

/// Keys whose values differ.
fn changed<'a, K: Ord + Clone, V: Clone + PartialEq>(
    before: &'a OrdMap<K, V>,
    after: &'a OrdMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    before.diff(after).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key,
        DiffItem::Update { new: (key, _), .. } => key,
    })
}
