//! How many there are of everything: one walk over the Registry for metrics and summaries.

use std::collections::BTreeMap;

use tepui_proto::v1::TaskState;
use tepui_scheduler_core::Registry;

use crate::view::agents::{Standing, standing};
use crate::view::amounts::{Scalars, round, scalars};
use crate::view::tasks;

/// The numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    /// Registered with the present leader.
    pub(crate) agents_registered: usize,
    /// Of these: offered, because no operator deactivated or drained them.
    pub(crate) agents_active: usize,
    /// Known but not there: disconnected or not yet back after a leader change.
    pub(crate) agents_disconnected: usize,
    pub(crate) agents_unreachable: usize,
    pub(crate) frameworks_connected: usize,
    pub(crate) frameworks_disconnected: usize,
    /// Live tasks by state, and ended ones that are still remembered.
    pub(crate) tasks: BTreeMap<&'static str, usize>,
    /// By state.
    pub(crate) drivers: BTreeMap<&'static str, usize>,
    pub(crate) total: Scalars,
    pub(crate) allocated: Scalars,
}

/// Counts everything.
pub(crate) fn count(registry: &Registry) -> Counts {
    let mut counts = Counts::default();
    for agent in registry.agents.values() {
        match standing(registry, agent) {
            Standing::Registered => {
                counts.agents_registered += 1;
                counts.agents_active += usize::from(!agent.deactivated);
            }
            Standing::Disconnected | Standing::Recovered => counts.agents_disconnected += 1,
            Standing::Unreachable => {
                counts.agents_unreachable += 1;
                continue;
            }
        }
        add(&mut counts.total, &scalars(agent.total()));
        if let Some(charges) = registry.charges.get(&agent.id()) {
            add(&mut counts.allocated, &scalars(&charges.total.to_proto()));
        }
    }
    for framework in registry.frameworks.values() {
        if framework.internal || registry.framework_connected(framework) {
            counts.frameworks_connected += 1;
        } else {
            counts.frameworks_disconnected += 1;
        }
    }
    for record in tasks::visible(registry).chain(registry.history.values().flatten()) {
        *counts.tasks.entry(state_name(record.state())).or_default() += 1;
    }
    for driver in registry.drivers.values() {
        *counts.drivers.entry(driver.state().as_str_name()).or_default() += 1;
    }
    counts
}

/// The state's name on the wire.
pub(crate) fn state_name(state: TaskState) -> &'static str {
    state.as_str_name()
}

fn add(sum: &mut Scalars, more: &Scalars) {
    sum.cpus = round(sum.cpus + more.cpus);
    sum.mem = round(sum.mem + more.mem);
    sum.disk = round(sum.disk + more.disk);
    sum.gpus = round(sum.gpus + more.gpus);
}
