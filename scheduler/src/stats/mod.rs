//! What this master has counted, under the names that dashboards for Mesos know.
//!
//! ```text
//!   HTTP handlers ──▶ calls, by framework          Hands ──▶ events, by framework; how long the log takes
//!   Registry before and after ──▶ changes.rs ──▶ registrations, removals, states of tasks
//! ```
//! Owns the numbers that grow. What can be counted in the Registry is counted when it is asked for (`http/legacy/snapshot.rs`). Counts
//! only while this master leads, as Mesos does: a standby's numbers stand still.

mod calls;
mod changes;
mod frameworks;
mod names;
mod principals;
mod size;
mod system;
mod window;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tepui_proto::v1::{TaskState, TaskStatus, scheduler, task_status};
use tepui_scheduler_core::{ConnectionId, Registry};

pub(crate) use changes::Changes;
pub(crate) use frameworks::{PerFramework, prefix};
pub(crate) use names::Counter;
pub(crate) use principals::Principals;
use size::Size;
pub(crate) use system::system;
use window::Window;

/// Into which state a task came, who said so and why.
type Transition = (TaskState, task_status::Source, Option<task_status::Reason>);

/// All numbers of one master.
pub(crate) struct Stats {
    counters: Vec<AtomicU64>,
    /// Transitions of tasks by state, source and reason; bounded by what the protocol names.
    transitions: Mutex<BTreeMap<Transition, u64>>,
    pub(crate) frameworks: PerFramework,
    pub(crate) principals: Principals,
    /// From an election until the Registry served, milliseconds.
    fetch: Window,
    store: Window,
    allocation: Window,
    allocation_latency: Window,
    size: Size,
}

impl Stats {
    /// All at zero; with or without numbers for each framework.
    pub(crate) fn new(per_framework: bool) -> Stats {
        Stats {
            counters: names::NAMES.iter().map(|_| AtomicU64::new(0)).collect(),
            transitions: Mutex::default(),
            frameworks: PerFramework::new(per_framework),
            principals: Principals::default(),
            fetch: Window::default(),
            store: Window::default(),
            allocation: Window::default(),
            allocation_latency: Window::default(),
            size: Size::default(),
        }
    }

    /// Adds one.
    pub(crate) fn count(&self, counter: Counter) {
        if let Some(number) = self.counters.get(counter as usize) {
            number.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A task came into the state that this status tells.
    pub(crate) fn transition(&self, status: &TaskStatus) {
        let state = status.state();
        if let Some(counter) = names::ended(state) {
            self.count(counter);
        }
        let reason = status.reason.and_then(|reason| task_status::Reason::try_from(reason).ok());
        let key = (state, status.source(), reason);
        *self.transitions.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }

    /// An event goes to the framework at this connection.
    pub(crate) fn event(&self, connection: ConnectionId, event: &scheduler::Event) {
        self.frameworks.event(connection, event);
        // What became of a task that never was has no place in the Registry, so it counts where it is told.
        let status = event.update.as_ref().and_then(|update| update.status.as_ref());
        if let Some(status) = status.filter(|status| never_was(status)) {
            self.transition(status);
        }
    }

    /// An entry of the log took this long from the proposal to its commit.
    pub(crate) fn stored(&self, took: Duration) {
        self.store.observe(took.as_secs_f64() * 1000.0);
    }

    /// After an election the Registry served this much later.
    pub(crate) fn fetched(&self, took: Duration) {
        self.fetch.observe(took.as_secs_f64() * 1000.0);
    }

    /// A run of the allocator took this long in all its turns, and had waited for so many milliseconds.
    pub(crate) fn allocated(&self, took: Duration, latency_ms: u64) {
        self.allocation.observe(took.as_secs_f64() * 1000.0);
        self.allocation_latency.observe(latency_ms as f64);
    }

    /// Bytes of the Registry when it is written out, about as of now.
    pub(crate) fn registry_bytes(&self, registry: &Registry, applied_index: u64) -> Option<u64> {
        self.size.of(registry, applied_index)
    }

    /// Everything under its name.
    pub(crate) fn numbers(&self, registry: &Registry) -> Vec<(String, f64)> {
        let counted = names::NAMES.iter().zip(&self.counters);
        let mut all: Vec<(String, f64)> = counted
            .map(|(name, number)| ((*name).to_owned(), number.load(Ordering::Relaxed) as f64))
            .collect();
        all.extend(names::ZEROS.iter().map(|name| ((*name).to_owned(), 0.0)));
        let transitions = self.transitions.lock().unwrap_or_else(PoisonError::into_inner);
        for ((state, source, reason), number) in transitions.iter() {
            let Some(reason) = reason else { continue };
            let name = format!(
                "master/{}/{}/{}",
                state.as_str_name().to_lowercase(),
                source.as_str_name().to_lowercase(),
                reason.as_str_name().to_lowercase()
            );
            all.push((name, *number as f64));
        }
        drop(transitions);
        for (window, name) in [
            (&self.fetch, "registrar/state_fetch_ms"),
            (&self.store, "registrar/state_store_ms"),
            (&self.allocation, "allocator/mesos/allocation_run_ms"),
            (&self.allocation_latency, "allocator/mesos/allocation_run_latency_ms"),
        ] {
            all.extend(window.numbers(name));
        }
        all.extend(self.frameworks.numbers(registry));
        all.extend(self.principals.numbers(registry));
        all
    }
}

/// Whether a status of the master tells that a task was refused.
fn never_was(status: &TaskStatus) -> bool {
    use task_status::Reason::{
        InvalidOffers, TaskGroupInvalid, TaskGroupUnauthorized, TaskInvalid, TaskUnauthorized,
    };
    let refused = [TaskInvalid, TaskGroupInvalid, TaskUnauthorized, TaskGroupUnauthorized, InvalidOffers];
    status.source() == task_status::Source::Master
        && status.reason.is_some_and(|reason| refused.iter().any(|one| *one as i32 == reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(stats: &Stats, name: &str) -> Option<f64> {
        stats
            .numbers(&Registry::default())
            .into_iter()
            .find(|(known, _)| known == name)
            .map(|(_, number)| number)
    }

    #[test]
    fn every_counter_is_shown_under_its_own_name_from_the_start() {
        let stats = Stats::new(true);
        let names: std::collections::BTreeSet<String> =
            stats.numbers(&Registry::default()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), names::NAMES.len() + names::ZEROS.len());
        stats.count(Counter::MessagesKillTask);
        stats.count(Counter::MessagesKillTask);
        assert_eq!(find(&stats, "master/messages_kill_task"), Some(2.0));
        assert_eq!(find(&stats, "master/messages_launch_tasks"), Some(0.0));
    }

    #[test]
    fn transitions_have_names_of_their_own() {
        let stats = Stats::new(true);
        let mut status = TaskStatus {
            state: Some(TaskState::TaskFailed as i32),
            source: Some(task_status::Source::Executor as i32),
            reason: Some(task_status::Reason::CommandExecutorFailed as i32),
            ..Default::default()
        };
        stats.transition(&status);
        assert_eq!(
            find(&stats, "master/task_failed/source_executor/reason_command_executor_failed"),
            Some(1.0)
        );
        assert_eq!(find(&stats, "master/tasks_failed"), Some(1.0));
        status.reason = None;
        stats.transition(&status);
        assert_eq!(find(&stats, "master/tasks_failed"), Some(2.0));
    }

    #[test]
    fn what_took_time_is_shown_with_its_spread() {
        let stats = Stats::new(false);
        assert_eq!(find(&stats, "registrar/state_store_ms/count"), None);
        stats.stored(Duration::from_millis(3));
        assert_eq!(find(&stats, "registrar/state_store_ms/count"), Some(1.0));
        assert_eq!(find(&stats, "registrar/state_store_ms"), Some(3.0));
    }
}
