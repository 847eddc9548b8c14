//! Random histories: launches that come again, kills, exits, lost links, lagging disks, restarts. The laws: a launch starts
//! at most once, updates of a task come in their order, an end is final, and once the world calms down every end is told.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tepui_agent_core::checkpoint::State;
use tepui_agent_core::{Exit, Found, Input, TaskKey};
use tepui_proto::v1::{TaskState, TaskStatus};

use crate::rig::{Rig, key};

#[derive(Clone, Debug)]
enum Step {
    Run { task: u8, seq: u64 },
    RunNext { task: u8 },
    Kill { task: u8, grace_ms: i64 },
    Started { nth: usize, fails: bool },
    Ended { nth: usize, status: i32 },
    AcknowledgeOldest { nth: usize },
    Sync { count: usize },
    LinkDown,
    Register,
    Wait { ms: u64 },
    RemoveFramework,
    RaiseEpoch,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0u8..4, 0u64..20).prop_map(|(task, seq)| Step::Run { task, seq }),
        6 => (0u8..4).prop_map(|task| Step::RunNext { task }),
        3 => (0u8..4, 0i64..5_000).prop_map(|(task, grace_ms)| Step::Kill { task, grace_ms }),
        6 => (any::<usize>(), prop::bool::weighted(0.1)).prop_map(|(nth, fails)| Step::Started { nth, fails }),
        5 => (any::<usize>(), prop_oneof![Just(0), Just(256), Just(9)])
            .prop_map(|(nth, status)| Step::Ended { nth, status }),
        8 => any::<usize>().prop_map(|nth| Step::AcknowledgeOldest { nth }),
        8 => (1usize..5).prop_map(|count| Step::Sync { count }),
        2 => Just(Step::LinkDown),
        4 => Just(Step::Register),
        3 => (0u64..40_000).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::RemoveFramework),
        1 => Just(Step::RaiseEpoch),
        2 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..120)
}

/// The world around the agent, as it really is.
#[derive(Default)]
struct World {
    /// Ordered, but not started yet.
    starting: Vec<TaskKey>,
    running: BTreeMap<TaskKey, String>,
    /// How each container ended.
    ended: BTreeMap<String, i32>,
    /// Containers that were ever ordered to start.
    started: BTreeSet<String>,
    next_seq: u64,
    /// By container: the order in which updates were first seen.
    seen: BTreeMap<String, Vec<TaskStatus>>,
    taken: usize,
}

impl World {
    fn observe(&mut self, rig: &mut Rig) {
        for launch in rig.launched.drain(..) {
            assert!(self.started.insert(launch.container_id.clone()), "started twice: {}", launch.task);
            assert!(!self.running.contains_key(&launch.task), "two at once: {}", launch.task);
            self.starting.push(launch.task.clone());
            self.running.insert(launch.task, launch.container_id);
        }
        for status in rig.statuses().drain(..).skip(self.taken) {
            self.taken += 1;
            let Some(container) =
                status.container_status.as_ref().and_then(|status| status.container_id.clone())
            else {
                continue;
            };
            let seen = self.seen.entry(container.value.unwrap()).or_default();
            if seen.iter().any(|known| known.uuid == status.uuid) {
                assert_eq!(seen.last().unwrap().uuid, status.uuid, "an older update came again");
                continue;
            }
            if let Some(last) = seen.last() {
                assert!(!is_end(last.state()), "{:?} after {:?}", status.state(), last.state());
                assert!(
                    rank(last.state()) < rank(status.state()),
                    "{:?} after {:?}",
                    status.state(),
                    last.state()
                );
            }
            seen.push(status);
        }
    }
}

fn is_end(state: TaskState) -> bool {
    rank(state) == 4
}

fn rank(state: TaskState) -> u8 {
    match state {
        TaskState::TaskStarting => 1,
        TaskState::TaskRunning => 2,
        TaskState::TaskKilling => 3,
        _ => 4,
    }
}

fn pick<T: Clone>(items: &[T], nth: usize) -> Option<T> {
    items.get(nth.checked_rem(items.len())?).cloned()
}

fn step(rig: &mut Rig, world: &mut World, step: Step) {
    let name = |task: u8| format!("t{task}");
    match step {
        Step::Run { task, seq } => {
            world.next_seq = world.next_seq.max(seq);
            rig.run(&name(task), seq);
        }
        Step::RunNext { task } => {
            // As a master does: an id is free again when its end was acknowledged.
            let known = rig.agent.tasks().any(|view| *view.key == key(&name(task)));
            if !known {
                world.next_seq += 1;
                rig.run(&name(task), world.next_seq);
            }
        }
        Step::Kill { task, grace_ms } => rig.kill(&name(task), Some(grace_ms)),
        Step::Started { nth, fails } => {
            if let Some(task) = pick(&world.starting, nth) {
                world.starting.retain(|other| *other != task);
                if fails {
                    world.running.remove(&task);
                    rig.input(Input::LaunchFailed { task, message: "no".to_owned() });
                } else {
                    rig.input(Input::Launched { task, pid: 1 });
                }
            }
        }
        Step::Ended { nth, status } => {
            let running: Vec<_> = world.running.keys().cloned().collect();
            if let Some(task) = pick(&running, nth).filter(|task| !world.starting.contains(task)) {
                if let Some(container) = world.running.remove(&task) {
                    world.ended.insert(container, status);
                }
                rig.input(Input::Exited { task, exit: Exit::Status { status, kill_asked: false } });
            }
        }
        Step::AcknowledgeOldest { nth } => {
            let statuses = rig.statuses();
            if let Some(status) = pick(&statuses, nth) {
                rig.acknowledge(status.task_id.unwrap().value(), status.uuid.unwrap());
            }
        }
        Step::Sync { count } => rig.sync(count),
        Step::LinkDown => rig.input(Input::LinkDown),
        Step::Register => rig.register(),
        Step::Wait { ms } => rig.wait(ms),
        Step::RemoveFramework => {
            rig.event(tepui_proto::tepui::agent_link::event::Type::ShutdownFramework, |event| {
                event.shutdown_framework = crate::rig::framework_id();
            });
        }
        Step::RaiseEpoch => rig.epoch += 1,
        Step::Restart => {
            let mut folded = State::default();
            rig.disk.records().iter().for_each(|record| folded.apply(record));
            assert_eq!(folded, rig.disk, "the shortest checkpoint means something else");
            let starting = std::mem::take(&mut world.starting);
            let mut processes = Vec::new();
            for (task, record) in &rig.disk.tasks {
                let found = if starting.contains(task) {
                    world.running.remove(task);
                    Found::NeverStarted
                } else if world.running.get(task) == Some(&record.container_id) {
                    Found::Running { pid: 1 }
                } else {
                    match world.ended.get(&record.container_id) {
                        Some(status) => Found::Exited(Exit::Status { status: *status, kill_asked: false }),
                        None => Found::Lost { message: "gone".to_owned() },
                    }
                };
                processes.push((task.clone(), found));
            }
            // What the checkpoint does not know any more is not adopted: the shell ends it.
            world.running.retain(|task, container| {
                rig.disk.tasks.get(task).is_some_and(|record| record.container_id == *container)
            });
            world.taken = 0;
            rig.restart(processes);
        }
    }
    world.observe(rig);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws_hold_in_any_history(steps in steps()) {
        let mut rig = Rig::registered();
        rig.slow_disk = true;
        let mut world = World::default();
        for one in steps {
            step(&mut rig, &mut world, one);
        }
        // The world calms down: everything becomes durable, starts, ends, and is acknowledged.
        rig.slow_disk = false;
        rig.sync(usize::MAX);
        rig.register();
        world.observe(&mut rig);
        for task in std::mem::take(&mut world.starting) {
            rig.input(Input::Launched { task, pid: 1 });
        }
        for task in std::mem::take(&mut world.running).into_keys() {
            rig.input(Input::Exited { task, exit: Exit::Status { status: 0, kill_asked: false } });
        }
        rig.register();
        rig.acknowledge_all();
        world.observe(&mut rig);
        let left: Vec<_> = rig.agent.tasks().map(|task| (task.key.clone(), task.state)).collect();
        prop_assert!(left.is_empty(), "never told: {left:?}");
        prop_assert!(rig.disk.tasks.is_empty());
    }
}
