//! What must hold after every input. Owns nothing; panics for tests and the simulation.

use crate::agent::Agent;
use crate::task::Phase;

impl Agent {
    /// Panics if what must always hold does not.
    pub fn check_invariants(&self) {
        assert!(
            self.accepted_launch_seq <= self.taken_launch_seq,
            "told the master of a launch that may be lost"
        );
        let goes_on = |framework: &str, container: &str| {
            let mut executors = self.executors.values();
            executors.any(|one| one.key.framework_id == framework && one.container_id == container)
        };
        self.history.check(goes_on, |framework| self.frameworks.contains_key(framework));
        self.operations.check();
        for (key, task) in &self.tasks {
            assert_eq!(*key, task.key);
            assert!(task.launch_seq <= self.taken_launch_seq, "task {key} was never accepted");
            assert!(self.frameworks.contains_key(&key.framework_id), "framework of task {key} is unknown");
            let states: Vec<_> = task.outbox.statuses().map(|status| status.state()).collect();
            let early = states.iter().rev().skip(1).find(|state| state.is_terminal());
            assert!(early.is_none(), "task {key} has updates behind its end: {states:?}");
            assert_eq!(
                task.phase == Phase::Done,
                task.outbox.latest_state().is_terminal(),
                "task {key} is {:?}, its state is {:?}",
                task.phase,
                task.outbox.latest_state()
            );
            if matches!(task.phase, Phase::Queued | Phase::Launching | Phase::Running) {
                assert!(task.record <= self.durable_record, "task {key} runs, but its launch is not durable");
            }
            if let Some(executor) = task.executor.as_ref().filter(|_| task.phase != Phase::Done && self.ready)
            {
                let live = self.executors.get(executor);
                assert!(live.is_some(), "task {key} waits for executor {executor}, which is gone");
                assert_eq!(live.map(|one| &one.container_id), Some(&task.container_id), "container of {key}");
            }
            if task.abandoned && !task.outbox.is_empty() {
                assert_eq!(task.phase, Phase::Done, "abandoned task {key} waits for acknowledgements");
            }
        }
        for (key, executor) in &self.executors {
            assert_eq!(*key, executor.key);
            assert!(
                self.frameworks.contains_key(&key.framework_id),
                "framework of executor {key} is unknown"
            );
        }
        for framework_id in self.frameworks.keys() {
            assert!(
                self.tasks.keys().any(|key| key.framework_id == *framework_id)
                    || self.executors.keys().any(|key| key.framework_id == *framework_id),
                "framework {framework_id} has no task and no executor left"
            );
        }
    }
}
