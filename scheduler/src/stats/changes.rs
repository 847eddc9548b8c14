//! Counts what happened to agents and tasks as the difference between two Registries, so that no place that changes them has to
//! think of it.

use std::sync::Arc;

use tepui_proto::v1::TaskStatus;
use tepui_scheduler_core::ids::TaskKey;
use tepui_scheduler_core::registry::AgentRecord;
use tepui_scheduler_core::{Change, Registry};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Counter, Stats};
use crate::runtime::board::{Board, ChangeFeed};
use crate::runtime::role::Role;
use crate::view;
use crate::view::agents::{Standing, standing};

/// Follows the changes.
pub(crate) struct Changes {
    board: Arc<Board>,
    feed: Arc<ChangeFeed>,
    role: watch::Receiver<Role>,
    stats: Arc<Stats>,
    seen: Registry,
}

impl Changes {
    pub(crate) fn new(
        board: Arc<Board>,
        feed: Arc<ChangeFeed>,
        role: watch::Receiver<Role>,
        stats: Arc<Stats>,
    ) -> Changes {
        Changes { board, feed, role, stats, seen: Registry::default() }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.feed.ready() => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let changes = self.feed.take(usize::MAX);
        let newest = self.board.newest().registry.clone();
        // What is read from the log at start, or learned from a leader, did not happen here.
        if self.role.borrow().is_leader() {
            for key in &changes.keys {
                count(&self.stats, &self.seen, &newest, key);
            }
        } else {
            self.stats.frameworks.clear();
            self.stats.principals.clear();
        }
        self.seen = newest;
    }
}

fn count(stats: &Stats, before: &Registry, after: &Registry, key: &Change) {
    match key {
        Change::Agent(id) => agent(stats, before, before.agents.get(id), after.agents.get(id)),
        Change::Task(key) => task(stats, before, after, key),
        Change::Framework(id) if !after.frameworks.contains_key(id) => stats.frameworks.forget(id),
        _ => {}
    }
}

fn agent(
    stats: &Stats,
    registry: &Registry,
    before: Option<&Arc<AgentRecord>>,
    after: Option<&Arc<AgentRecord>>,
) {
    match (before, after) {
        (None, Some(_)) => stats.count(Counter::SlaveRegistrations),
        (Some(_), None) => {
            stats.count(Counter::SlaveRemovals);
            stats.count(Counter::SlaveRemovalsUnregistered);
        }
        (Some(old), Some(new)) => {
            if new.connected_epoch != old.connected_epoch && new.connected_epoch != 0 {
                stats.count(Counter::SlaveReregistrations);
            }
            if old.unreachable_ms.is_none() && new.unreachable_ms.is_some() {
                stats.count(Counter::SlaveRemovals);
                stats.count(Counter::SlaveRemovalsUnhealthy);
                if standing(registry, old) == Standing::Recovered {
                    stats.count(Counter::RecoverySlaveRemovals);
                }
            }
        }
        (None, None) => {}
    }
}

fn task(stats: &Stats, before: &Registry, after: &Registry, key: &TaskKey) {
    let Some(new) = view::tasks::find(after, key) else { return };
    let old = view::tasks::find(before, key).filter(|old| old.launch_seq == new.launch_seq);
    if old.is_some_and(|old| old.state() == new.state()) {
        return;
    }
    // A status that was recorded together with the state explains it; without one there is only the state.
    let status = new.last_status.as_ref().filter(|status| status.state() == new.state());
    let bare = || TaskStatus { state: Some(new.state() as i32), ..Default::default() };
    stats.transition(&status.cloned().unwrap_or_else(bare));
}

#[cfg(test)]
mod tests {
    use tepui_proto::v1::{Task, TaskState, task_status};
    use tepui_scheduler_core::registry::{FrameworkRecord, TaskRecord};

    use super::*;

    fn number(stats: &Stats, name: &str) -> f64 {
        let name = format!("master/{name}");
        stats
            .numbers(&Registry::default())
            .into_iter()
            .find(|(known, _)| *known == name)
            .map_or(0.0, |(_, number)| number)
    }

    #[test]
    fn agents_come_go_and_come_back() {
        let with = |connected_epoch, unreachable_ms| {
            let mut registry = Registry { epoch: 3, ..Registry::default() };
            let record = AgentRecord { connected_epoch, unreachable_ms, ..Default::default() };
            registry.agents.insert("a".into(), Arc::new(record));
            registry
        };
        let stats = Stats::new(true);
        let key = Change::Agent("a".into());
        let none = Registry { epoch: 3, ..Registry::default() };
        let (old, here, away) = (with(2, None), with(3, None), with(0, Some(5)));
        for (before, after) in
            [(&none, &here), (&here, &here), (&old, &here), (&old, &away), (&away, &here), (&here, &none)]
        {
            count(&stats, before, after, &key);
        }
        for (name, expected) in [
            ("slave_registrations", 1.0),
            ("slave_reregistrations", 2.0),
            ("slave_removals", 2.0),
            ("slave_removals/reason_unhealthy", 1.0),
            ("slave_removals/reason_unregistered", 1.0),
            ("recovery_slave_removals", 1.0),
        ] {
            assert_eq!(number(&stats, name), expected, "{name}");
        }
    }

    #[test]
    fn a_task_counts_once_for_each_state_that_it_comes_into() {
        let with = |state: Option<TaskState>| {
            let mut registry = Registry::default();
            registry.frameworks.insert("f".into(), Arc::new(FrameworkRecord::default()));
            let status = state.map(|state| TaskStatus {
                state: Some(state as i32),
                source: Some(task_status::Source::Executor as i32),
                reason: Some(task_status::Reason::CommandExecutorFailed as i32),
                ..Default::default()
            });
            let record = TaskRecord {
                launch_seq: 1,
                task: Some(Task { state: state.map(|state| state as i32), ..Default::default() }),
                last_status: status,
                ..Default::default()
            };
            registry.tasks.insert(TaskKey::new("f", "t"), Arc::new(record));
            registry
        };
        let stats = Stats::new(true);
        let key = Change::Task(TaskKey::new("f", "t"));
        let (running, failed) = (with(Some(TaskState::TaskRunning)), with(Some(TaskState::TaskFailed)));
        for (before, after) in [
            (&Registry::default(), &running),
            (&running, &running),
            (&running, &failed),
            (&failed, &failed),
            (&failed, &Registry::default()),
        ] {
            count(&stats, before, after, &key);
        }
        assert_eq!(number(&stats, "tasks_failed"), 1.0);
        let name = "task_failed/source_executor/reason_command_executor_failed";
        assert_eq!(number(&stats, name), 1.0);
    }
}
