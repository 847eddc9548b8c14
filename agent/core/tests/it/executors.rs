//! Custom executors: their life, their tasks, and what the master and the framework hear of it.

use bytes::Bytes;
use tepui_agent_core::{Effect, ExecutorKey, Exit, Found, Input, Standing};
use tepui_proto::tepui::agent_link::{call as link_call, event as link_event};
use tepui_proto::v1::{self, TaskState as State};
use v1::executor::{Event, call, event::Type};
use v1::task_status::{Reason, Source};

use crate::rig::{Rig, executor_task, framework_id, task_id};

fn key(executor: &str) -> ExecutorKey {
    ExecutorKey::new("f", executor)
}

impl Rig {
    pub(crate) fn run_executor(&mut self, task: &str, executor: &str, seq: u64) {
        self.run_with(task, seq, |run| {
            run.task = Some(executor_task(task, executor));
        });
    }

    fn run_group(&mut self, tasks: &[&str], executor: &str, seq: u64) {
        self.run_with("", seq, |run| {
            run.task = None;
            let tasks = tasks.iter().map(|task| executor_task(task, executor)).collect();
            run.task_group = Some(v1::TaskGroupInfo { tasks });
        });
    }

    pub(crate) fn started(&mut self, executor: &str) {
        self.input(Input::ExecutorLaunched { executor: key(executor), pid: 9 });
    }

    pub(crate) fn subscribe(&mut self, executor: &str, connection: u64, known: &[&str]) {
        let tasks = known.iter().map(|task| executor_task(task, executor)).collect();
        let subscribe = call::Subscribe { unacknowledged_tasks: tasks, unacknowledged_updates: Vec::new() };
        self.input(Input::ExecutorSubscribed {
            executor: key(executor),
            connection,
            subscribe: Box::new(subscribe),
        });
    }

    pub(crate) fn status(&mut self, executor: &str, task: &str, state: State, uuid: u8) {
        let status = v1::TaskStatus {
            task_id: task_id(task),
            state: Some(state.into()),
            source: Some(Source::Executor.into()),
            uuid: Some(Bytes::copy_from_slice(&[uuid; 16])),
            ..Default::default()
        };
        self.input(Input::ExecutorUpdate { executor: key(executor), status: Box::new(status) });
    }

    pub(crate) fn executor_exit(&mut self, executor: &str, status: i32) {
        let exit = Exit::Status { status, kill_asked: false };
        self.input(Input::ExecutorExited { executor: key(executor), exit });
    }

    /// Takes the events that executors got, with the streams they went to.
    fn heard(&mut self) -> Vec<(u64, Event)> {
        let mut heard = Vec::new();
        self.effects.retain(|effect| match effect {
            Effect::ToExecutor { connection, event } => {
                heard.push((*connection, (**event).clone()));
                false
            }
            _ => true,
        });
        heard
    }

    fn heard_types(&mut self) -> Vec<Type> {
        self.heard().iter().map(|(_, event)| event.r#type()).collect()
    }

    /// An executor that runs one task.
    fn with_executor(&mut self, task: &str, executor: &str) {
        self.run_executor(task, executor, 1);
        self.started(executor);
        self.subscribe(executor, 1, &[]);
        self.status(executor, task, State::TaskRunning, 1);
        self.acknowledge_all();
        self.sent.clear();
        self.heard();
    }

    fn exits(&self) -> Vec<i32> {
        self.sent
            .iter()
            .filter_map(|call| call.executor_exited.as_ref())
            .map(|exited| exited.status())
            .collect()
    }

    fn executor_kills(&self) -> Vec<u64> {
        let kill = |effect: &Effect| match effect {
            Effect::KillExecutor { grace_ms, .. } => Some(*grace_ms),
            _ => None,
        };
        self.effects.iter().filter_map(kill).collect()
    }

    fn reasons(&self) -> Vec<(State, Reason)> {
        self.statuses().iter().map(|status| (status.state(), status.reason())).collect()
    }

    fn launched_executors(&self) -> usize {
        self.effects.iter().filter(|effect| matches!(effect, Effect::LaunchExecutor(_))).count()
    }
}

#[test]
fn tasks_wait_for_their_executor_and_share_it() {
    let mut rig = Rig::registered();
    rig.slow_disk = true;
    rig.run_executor("t1", "e", 1);
    assert_eq!(rig.launched_executors(), 0, "nothing starts before it is durable");
    rig.sync(usize::MAX);
    rig.slow_disk = false;
    rig.run_executor("t2", "e", 2);
    rig.started("e");
    assert_eq!(rig.launched_executors(), 1);
    assert_eq!(rig.agent.executor_standing(&key("e")), Standing::NotSubscribed);
    assert_eq!(rig.agent.executor_standing(&key("x")), Standing::UnknownExecutor);
    assert_eq!(rig.agent.executor_standing(&ExecutorKey::new("g", "e")), Standing::UnknownFramework);
    rig.subscribe("e", 1, &[]);
    assert_eq!(rig.agent.executor_standing(&key("e")), Standing::Subscribed);
    let heard = rig.heard();
    let types: Vec<Type> = heard.iter().map(|(_, event)| event.r#type()).collect();
    assert_eq!(types, [Type::Subscribed, Type::Launch, Type::Launch]);
    let subscribed = heard[0].1.subscribed.clone().unwrap();
    assert_eq!(subscribed.executor_info, executor_task("t1", "e").executor, "data included");
    assert_eq!(heard[1].1.launch.clone().unwrap().task, Some(executor_task("t1", "e")));
    assert!(rig.updates().is_empty(), "nothing is reported on behalf of an executor");
    rig.run_executor("t3", "e", 3);
    assert_eq!(rig.heard_types(), [Type::Launch]);
}

#[test]
fn an_update_is_acknowledged_when_it_is_durable_and_counts_once() {
    let mut rig = Rig::registered();
    rig.with_executor("t", "e");
    rig.slow_disk = true;
    rig.status("e", "t", State::TaskFinished, 2);
    rig.status("e", "t", State::TaskFinished, 2);
    assert!(rig.heard().is_empty() && rig.updates().is_empty());
    rig.sync(usize::MAX);
    rig.slow_disk = false;
    assert_eq!(rig.heard_types(), [Type::Acknowledged]);
    assert_eq!(rig.states(), [State::TaskFinished]);
    let status = rig.statuses().remove(0);
    assert_eq!((status.source(), status.uuid()), (Source::Executor, &[2; 16][..]));
    assert_eq!(status.executor_id.unwrap().value(), "e");
    assert_eq!(status.agent_id.unwrap().value(), "a");
    assert!(status.container_status.unwrap().container_id.is_some() && status.timestamp.is_some());
    // Again, after its end, and for a task that there never was: all are acknowledged, none goes further.
    rig.status("e", "t", State::TaskFinished, 2);
    rig.status("e", "t", State::TaskRunning, 3);
    rig.status("e", "none", State::TaskRunning, 4);
    assert_eq!(rig.heard_types(), [Type::Acknowledged; 3]);
    assert_eq!(rig.states(), [State::TaskFinished]);
    rig.acknowledge_all();
    assert_eq!(rig.agent.tasks().count(), 0);
    assert_eq!(rig.agent.executors().count(), 1, "it stays without a task");
    rig.executor_exit("e", 0);
    assert_eq!((rig.agent.executors().count(), rig.agent.frameworks().count()), (0, 0));
    assert_eq!(rig.exits(), [0]);
}

#[test]
fn a_task_that_is_killed_before_its_delivery_never_runs() {
    let mut rig = Rig::registered();
    rig.run_executor("t1", "e", 1);
    rig.started("e");
    rig.kill("t1", None);
    assert_eq!(rig.reasons(), [(State::TaskKilled, Reason::TaskKilledDuringLaunch)]);
    // Nothing is left to do for it.
    assert_eq!(rig.executor_kills(), [5_000]);
    rig.subscribe("e", 1, &[]);
    assert_eq!(rig.heard_types(), [Type::Shutdown]);
    rig.run_executor("t2", "e", 2);
    assert_eq!(rig.reasons()[1], (State::TaskLost, Reason::ExecutorTerminated));
    rig.executor_exit("e", 15);
    assert_eq!(rig.exits(), [15]);
    // Before the launch is durable there is no process to be killed.
    rig.slow_disk = true;
    rig.run_executor("t3", "other", 3);
    rig.kill("t3", None);
    rig.sync(usize::MAX);
    assert_eq!(rig.launched_executors(), 1);
    assert_eq!(rig.exits(), [15, -1], "the master charges it no longer");
}

#[test]
fn a_group_is_delivered_as_one_and_killed_as_one() {
    let mut rig = Rig::registered();
    rig.run_group(&["a", "b"], "e", 1);
    rig.started("e");
    rig.subscribe("e", 1, &[]);
    let heard = rig.heard();
    assert_eq!(heard[1].1.r#type(), Type::LaunchGroup);
    let tasks = heard[1].1.launch_group.clone().unwrap().task_group.unwrap().tasks;
    assert_eq!(tasks, [executor_task("a", "e"), executor_task("b", "e")]);
    assert_eq!(rig.agent.accepted_launch_seq(), 2);
    rig.run_group(&["a", "b"], "e", 1);
    assert!(rig.heard().is_empty(), "it came again");

    rig.run_group(&["c", "d"], "late", 3);
    rig.kill("c", None);
    assert_eq!(rig.states(), [State::TaskKilled, State::TaskKilled]);
    // One bad member spoils all of it.
    rig.run_with("", 5, |run| {
        let bad = executor_task("y", "worse");
        run.task = None;
        run.task_group = Some(v1::TaskGroupInfo { tasks: vec![executor_task("x", "bad"), bad] });
    });
    assert_eq!(rig.states()[2..], [State::TaskError, State::TaskError]);
    assert_eq!(rig.exits(), [-1]);
}

#[test]
fn the_end_of_an_executor_is_the_end_of_its_tasks() {
    let mut rig = Rig::registered();
    rig.with_executor("t1", "e");
    rig.input(Input::ExecutorDisconnected { executor: key("e"), connection: 1 });
    rig.run_executor("t2", "e", 2);
    rig.executor_exit("e", 9);
    assert_eq!(
        rig.reasons(),
        [(State::TaskFailed, Reason::ExecutorTerminated), (State::TaskLost, Reason::ExecutorTerminated)]
    );
    assert!(rig.statuses()[0].message().contains("SIGKILL"));
    assert_eq!(rig.exits(), [9]);
    assert!(rig.effects.iter().any(|effect| matches!(effect, Effect::ExecutorForgotten { .. })));
    // The same id again is a new executor.
    rig.run_executor("t3", "e", 3);
    assert_eq!(rig.launched_executors(), 2);
    rig.input(Input::ExecutorLaunchFailed { executor: key("e"), message: "no".to_owned() });
    assert_eq!(rig.reasons()[2], (State::TaskFailed, Reason::ContainerLaunchFailed));
    assert_eq!(rig.exits(), [9, -1]);
}

#[test]
fn the_end_of_a_refused_executor_covers_the_launch_that_would_have_brought_it() {
    let refused = |task: &str| {
        let mut info = executor_task(task, "e");
        let uri = v1::command_info::Uri { value: Some("http://x/y".to_owned()), ..Default::default() };
        info.executor.as_mut().unwrap().command.get_or_insert_default().uris.push(uri);
        info
    };
    for group in [false, true] {
        let mut rig = Rig::registered();
        rig.slow_disk = true;
        rig.run_with("t", 1, |run| {
            run.task = (!group).then(|| refused("t"));
            run.task_group = group.then(|| v1::TaskGroupInfo { tasks: vec![refused("t"), refused("u")] });
        });
        assert!(rig.exits().is_empty(), "the launch does not count as accepted yet");
        rig.sync(usize::MAX);
        let tasks = if group { 2 } else { 1 };
        assert_eq!(rig.reasons(), vec![(State::TaskFailed, Reason::ContainerLaunchFailed); tasks]);
        let end = rig.sent.iter().position(|call| call.executor_exited.is_some()).unwrap();
        assert_eq!(rig.sent[end].accepted_launch_seq, Some(tasks as u64));
        assert!(rig.sent[end..].iter().all(|call| call.update.is_none()), "after the word of its tasks");
        assert_eq!(rig.exits(), [-1]);
        // A launch that came meanwhile brings the executor.
        rig.run_with("v", 3, |run| run.task = Some(refused("v")));
        rig.run_executor("w", "e", 4);
        rig.sync(usize::MAX);
        assert_eq!((rig.exits(), rig.agent.executors().count()), (vec![-1], 1));
    }
}

#[test]
fn an_executor_that_only_the_master_knows_ends_with_its_framework() {
    let mut rig = Rig::registered();
    rig.with_executor("t", "e");
    let named = ["e", "phantom"].map(|name| v1::ExecutorId { value: Some(name.to_owned()) });
    rig.event(link_event::Type::ShutdownFramework, |event| {
        event.shutdown_framework = framework_id();
        event.charged_executors = named.to_vec();
    });
    let ends = rig.sent.iter().filter_map(|call| call.executor_exited.clone());
    let ends: Vec<String> = ends.filter_map(|end| end.executor_id.and_then(|id| id.value)).collect();
    assert_eq!(ends, ["phantom"], "the other one still runs");
}

#[test]
fn an_end_that_no_master_heard_of_is_told_to_the_next() {
    let mut rig = Rig::registered();
    rig.with_executor("t", "e");
    rig.input(Input::LinkDown);
    rig.executor_exit("e", 256);
    assert!(rig.exits().is_empty());
    rig.register();
    assert_eq!(rig.exits(), [256]);
}

#[test]
fn one_that_does_not_subscribe_in_time_is_destroyed() {
    let mut rig = Rig::registered();
    rig.run_executor("t", "e", 1);
    rig.wait(50_000);
    rig.ping();
    rig.started("e");
    rig.wait(59_999);
    assert!(rig.executor_kills().is_empty(), "the time counts from the start of the process");
    rig.wait(1);
    assert_eq!(rig.executor_kills(), [0]);
    rig.register();
    rig.executor_exit("e", 9);
    assert_eq!(rig.reasons(), [(State::TaskFailed, Reason::ExecutorRegistrationTimeout)]);
}

#[test]
fn a_shutdown_is_forced_after_the_grace() {
    let mut rig = Rig::registered();
    rig.with_executor("t", "e");
    let shutdown = link_event::ShutdownExecutor {
        framework_id: framework_id(),
        executor_id: Some(v1::ExecutorId { value: Some("e".to_owned()) }),
    };
    rig.event(link_event::Type::ShutdownExecutor, |event| event.shutdown_executor = Some(shutdown));
    assert_eq!(rig.heard_types(), [Type::Shutdown]);
    rig.status("e", "t", State::TaskKilled, 2);
    assert_eq!(rig.states(), [State::TaskKilled], "what it says meanwhile counts");
    rig.wait(4_999);
    assert!(rig.executor_kills().is_empty());
    rig.wait(1);
    assert_eq!(rig.executor_kills(), [0]);
}

#[test]
fn a_removed_framework_takes_its_executors_along() {
    let mut rig = Rig::registered();
    rig.with_executor("t1", "e");
    rig.run_executor("t2", "idle", 2);
    rig.started("idle");
    rig.subscribe("idle", 2, &[]);
    rig.status("idle", "t2", State::TaskFinished, 7);
    rig.acknowledge_all();
    rig.sent.clear();
    rig.heard();
    rig.event(link_event::Type::ShutdownFramework, |event| event.shutdown_framework = framework_id());
    assert_eq!(rig.heard_types(), [Type::Shutdown, Type::Shutdown]);
    rig.executor_exit("e", 0);
    rig.executor_exit("idle", 0);
    assert_eq!(rig.reasons(), [(State::TaskKilled, Reason::FrameworkRemoved)]);
    assert_eq!((rig.agent.tasks().count(), rig.agent.frameworks().count()), (0, 0));
    assert!(rig.disk.executors.is_empty() && rig.disk.frameworks.is_empty());
}

#[test]
fn an_end_that_overtakes_the_news_of_the_start_is_asked_for_again() {
    let mut rig = Rig::registered();
    rig.run_executor("t", "e", 1);
    rig.subscribe("e", 1, &[]);
    rig.input(Input::ExecutorDisconnected { executor: key("e"), connection: 1 });
    rig.event(link_event::Type::ShutdownFramework, |event| event.shutdown_framework = framework_id());
    let asked = rig.executor_kills().len();
    rig.started("e");
    assert_eq!(rig.executor_kills().len(), asked + 1, "the first may have found no process");
}

#[test]
fn an_executor_without_tasks_is_shut_down_with_its_framework() {
    let mut rig = Rig::registered();
    rig.with_executor("t", "e");
    rig.status("e", "t", State::TaskFinished, 7);
    rig.acknowledge_all();
    rig.heard();
    assert_eq!(rig.agent.tasks().count(), 0);
    rig.event(link_event::Type::ShutdownFramework, |event| event.shutdown_framework = framework_id());
    assert_eq!(rig.heard_types(), [Type::Shutdown]);
    rig.wait(4_999);
    rig.ping();
    assert!(rig.executor_kills().is_empty());
    rig.wait(1);
    assert_eq!(rig.executor_kills(), [0], "it does not listen");
    rig.executor_exit("e", 9);
    assert_eq!((rig.exits(), rig.agent.frameworks().count()), (vec![9], 0));
}

#[test]
fn a_second_stream_ends_the_first_and_kills_are_told_again() {
    let mut rig = Rig::registered();
    rig.with_executor("t", "e");
    rig.input(Input::ExecutorDisconnected { executor: key("e"), connection: 1 });
    rig.kill("t", Some(1_000));
    assert!(rig.heard().is_empty());
    rig.subscribe("e", 2, &["t"]);
    let heard = rig.heard();
    assert!(heard.iter().all(|(connection, _)| *connection == 2));
    let kill = heard[1].1.kill.clone().unwrap();
    assert_eq!(kill.kill_policy.unwrap().grace_period.unwrap().nanoseconds(), 1_000_000_000);
    rig.subscribe("e", 3, &["t"]);
    assert!(rig.effects.iter().any(|effect| matches!(effect, Effect::CloseExecutor { connection: 2 })));
    rig.input(Input::ExecutorDisconnected { executor: key("e"), connection: 2 });
    assert_eq!(rig.agent.executor_standing(&key("e")), Standing::Subscribed);
    rig.wait(1_800_000);
    assert!(rig.heard_types().contains(&Type::Heartbeat));
}

#[test]
fn a_restarted_agent_takes_its_executors_back() {
    let mut rig = Rig::registered();
    rig.with_executor("known", "e");
    rig.run_executor("lost", "e", 2);
    rig.restart_with(Vec::new(), vec![(key("e"), Found::Running { pid: 9 })]);
    assert_eq!(rig.agent.executor_standing(&key("e")), Standing::Recovering);
    rig.register();
    let told = rig.last_register();
    assert_eq!((told.tasks.len(), told.executors.len()), (2, 1));
    assert_eq!(told.executors[0].executor.as_ref().unwrap().data, None);
    rig.kill("known", None);
    rig.subscribe("e", 5, &["known"]);
    assert_eq!(rig.heard_types(), [Type::Subscribed, Type::Kill]);
    assert_eq!(rig.reasons(), [(State::TaskLost, Reason::AgentRestarted)], "it never got that one");
    rig.wait(10_000);
    assert!(rig.executor_kills().is_empty());

    rig.restart_with(Vec::new(), vec![(key("e"), Found::Running { pid: 9 })]);
    rig.wait(2_000);
    assert_eq!(rig.executor_kills(), [0]);
    rig.executor_exit("e", 9);
    rig.register();
    assert!(rig.reasons().contains(&(State::TaskLost, Reason::ExecutorReregistrationTimeout)));
    assert_eq!(rig.exits(), [9]);
}

#[test]
fn what_ended_while_the_agent_was_away_is_told() {
    let mut rig = Rig::registered();
    rig.with_executor("t", "e");
    rig.restart_with(
        Vec::new(),
        vec![(key("e"), Found::Exited(Exit::Status { status: 9, kill_asked: false }))],
    );
    rig.register();
    assert!(rig.last_register().executors.is_empty());
    assert_eq!(rig.reasons(), [(State::TaskFailed, Reason::ExecutorTerminated)]);
    assert_eq!(rig.exits(), [9]);
}

#[test]
fn without_checkpointing_nothing_is_left_after_a_restart() {
    let mut rig = Rig::registered();
    let unchecked = |run: &mut link_event::RunTask| run.framework.as_mut().unwrap().checkpoint = None;
    rig.run_with("t", 1, |run| {
        unchecked(run);
        run.task = Some(executor_task("t", "e"));
    });
    rig.started("e");
    rig.subscribe("e", 1, &[]);
    // Commands likewise: one that runs, one whose end nobody acknowledged, one that is still being accepted.
    for (seq, task) in (2..).zip(["runs", "ended"]) {
        rig.run_with(task, seq, unchecked);
        rig.input(Input::Launched { task: crate::rig::key(task), pid: 7 });
    }
    rig.exit("ended", 0);
    rig.run_with("late", 4, unchecked);
    rig.sent.clear();
    // Whatever the shell says of them.
    let found = ["runs", "late"].map(|task| (crate::rig::key(task), Found::Running { pid: 7 }));
    rig.restart(found.to_vec());
    assert_eq!((rig.agent.tasks().count(), rig.agent.executors().count()), (0, 0));
    rig.register();
    assert!(rig.last_register().tasks.is_empty() && rig.updates().is_empty());
    assert_eq!(rig.disk.records().len(), 3, "identity, epoch and launch sequence: {:?}", rig.disk);
}

#[test]
fn messages_go_both_ways_while_somebody_listens() {
    let mut rig = Rig::registered();
    rig.run_executor("t", "e", 1);
    let message = |data: &'static [u8]| link_event::Message {
        framework_id: framework_id(),
        executor_id: Some(v1::ExecutorId { value: Some("e".to_owned()) }),
        data: Some(Bytes::from_static(data)),
    };
    rig.event(link_event::Type::Message, |event| event.message = Some(message(b"early")));
    rig.started("e");
    rig.subscribe("e", 1, &[]);
    rig.heard();
    rig.event(link_event::Type::Message, |event| event.message = Some(message(b"\xff\0")));
    assert_eq!(rig.heard()[0].1.message.clone().unwrap().data(), &b"\xff\0"[..]);
    rig.input(Input::ExecutorMessage { executor: key("e"), data: Bytes::from_static(b"up") });
    let sent = rig.sent.last().unwrap();
    assert_eq!(sent.r#type(), link_call::Type::Message);
    assert_eq!(sent.message.clone().unwrap().data(), &b"up"[..]);
}

#[test]
fn an_update_that_was_taken_before_a_restart_is_known_after_it() {
    let mut rig = Rig::registered();
    rig.with_executor("t", "e");
    for uuid in [2, 3] {
        rig.status("e", "t", State::TaskRunning, uuid);
        rig.acknowledge_all();
    }
    // The shortest checkpoint remembers them as the long one does.
    let mut folded = tepui_agent_core::checkpoint::State::default();
    rig.disk.records().iter().for_each(|record| folded.apply(record));
    assert_eq!(folded, rig.disk);
    rig.restart_with(vec![], vec![(key("e"), Found::Running { pid: 9 })]);
    rig.register();
    rig.sent.clear();
    rig.subscribe("e", 7, &["t"]);
    rig.heard();
    for uuid in [1, 2, 3] {
        rig.status("e", "t", State::TaskRunning, uuid);
    }
    assert_eq!(rig.heard_types(), [Type::Acknowledged; 3]);
    assert_eq!(rig.statuses(), [], "the scheduler has had all of them");
}
