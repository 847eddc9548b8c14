//! One story per rule of the agent.

use tepui_agent_core::{Effect, Exit, Found, Input};
use tepui_proto::tepui::agent_link::{call, event};
use tepui_proto::v1;
use v1::TaskState as State;
use v1::task_status::Reason;

use crate::rig::{Rig, framework_id, key, task_id};

#[test]
fn a_command_runs_and_its_updates_come_in_order() {
    let mut rig = Rig::registered();
    rig.run("t", 1);
    assert_eq!(rig.launched.len(), 1);
    assert_eq!(rig.sent.iter().filter(|call| call.r#type() == call::Type::Accepted).count(), 1);
    rig.input(Input::Launched { task: key("t"), pid: 7 });
    rig.exit("t", 0);
    assert_eq!(rig.states(), [State::TaskStarting], "only the oldest is under way");
    rig.acknowledge_all();
    assert_eq!(rig.states(), [State::TaskStarting, State::TaskRunning, State::TaskFinished]);
    assert_eq!(rig.agent.tasks().count(), 0);
    assert_eq!(rig.agent.completed_tasks().count(), 1);
    assert!(rig.disk.tasks.is_empty() && rig.disk.frameworks.is_empty());
    let first = rig.sent.iter().find_map(|call| call.update.as_ref()).unwrap();
    let status = first.status.as_ref().unwrap();
    let container = status.container_status.as_ref().unwrap();
    assert_eq!(container.network_infos[0].ip_addresses[0].ip_address(), "10.0.0.1");
    assert!(container.container_id.is_some());
    assert_eq!(status.uuid().len(), 16);
    assert_eq!(status.executor_id.as_ref().unwrap().value(), "t");
    assert!(rig.sent.iter().filter(|call| call.update.is_some()).all(|call| call.accepted_launch_seq() == 1));
}

#[test]
fn the_newest_state_travels_with_the_oldest_update() {
    let mut rig = Rig::registered();
    rig.running("t", 1);
    rig.exit("t", 3 << 8);
    let update = rig.sent[0].update.as_ref().unwrap();
    assert_eq!(update.latest_state(), State::TaskFailed);
    assert_eq!(update.status.as_ref().unwrap().message(), "command exited with status 3");
}

#[test]
fn nothing_starts_and_nothing_is_told_before_it_is_durable() {
    let mut rig = Rig::registered();
    rig.slow_disk = true;
    rig.run("t", 1);
    assert!(rig.launched.is_empty() && rig.sent.is_empty());
    rig.come_back();
    let register = rig.last_register();
    assert!(register.tasks.is_empty(), "a launch that may be lost is not claimed");
    assert_eq!(rig.sent[0].accepted_launch_seq(), 0);
    rig.register();
    rig.sent.clear();
    rig.sync(2);
    assert_eq!(rig.launched.len(), 1);
    assert!(rig.updates().is_empty(), "STARTING is not durable yet");
    rig.sync(1);
    assert_eq!(rig.states(), [State::TaskStarting]);
}

#[test]
fn a_state_that_a_crash_would_take_back_is_not_told() {
    let mut rig = Rig::registered();
    rig.running("t", 1);
    rig.slow_disk = true;
    rig.exit("t", 0);
    rig.register();
    let told = rig.last_register().tasks.remove(0);
    assert_eq!(told.state(), State::TaskRunning);
    assert_eq!(told.latest_status.unwrap().state(), State::TaskRunning);
    rig.sync(usize::MAX);
    rig.register();
    assert_eq!(rig.last_register().tasks[0].state(), State::TaskFinished);
}

#[test]
fn a_launch_that_comes_again_runs_once() {
    let mut rig = Rig::registered();
    rig.slow_disk = true;
    rig.run("t", 5);
    rig.run("t", 5);
    rig.slow_disk = false;
    rig.sync(usize::MAX);
    rig.run("t", 5);
    rig.run("other", 4);
    assert_eq!(rig.launched.len(), 1);
    assert_eq!(rig.agent.accepted_launch_seq(), 5);
    rig.restart(vec![(key("t"), Found::Running { pid: 7 })]);
    rig.register();
    rig.run("t", 5);
    assert!(rig.launched.is_empty());
}

#[test]
fn a_kill_before_the_start_means_that_it_never_starts() {
    let mut rig = Rig::registered();
    rig.slow_disk = true;
    rig.run("t", 1);
    rig.kill("t", None);
    rig.slow_disk = false;
    rig.sync(usize::MAX);
    assert!(rig.launched.is_empty());
    assert_eq!(rig.states(), [State::TaskKilled]);
    assert_eq!(rig.statuses()[0].reason(), Reason::TaskKilledDuringLaunch);
}

#[test]
fn a_kill_while_it_starts_reaches_it_with_what_is_left_of_the_grace() {
    let mut rig = Rig::registered();
    rig.run("t", 1);
    rig.kill("t", Some(500));
    assert!(rig.kills().is_empty());
    rig.wait(200);
    rig.input(Input::Launched { task: key("t"), pid: 7 });
    assert_eq!(rig.kills(), [300]);
    rig.exit("t", 15);
    rig.acknowledge_all();
    assert_eq!(rig.states(), [State::TaskStarting, State::TaskKilled]);
}

#[test]
fn a_drain_cuts_the_grace_that_only_the_agent_knows() {
    for (max_ms, expected) in [(500, 500), (60_000, 3_000)] {
        let mut rig = Rig::registered();
        rig.running("t", 1);
        rig.drain("t", max_ms);
        assert_eq!(rig.kills(), [expected]);
    }
}

#[test]
fn a_nearer_end_wins_and_a_later_one_is_ignored() {
    let mut rig = Rig::registered();
    rig.running("t", 1);
    rig.kill("t", None);
    rig.kill("t", Some(60_000));
    rig.kill("t", None);
    rig.kill("t", Some(100));
    assert_eq!(rig.kills(), [3_000, 100]);
    rig.exit("t", 0);
    assert_eq!(rig.states(), [State::TaskKilled], "a kill was asked for, whatever the exit status");
}

#[test]
fn killing_is_told_only_to_frameworks_that_know_it() {
    for capable in [false, true] {
        let mut rig = Rig::registered();
        let capability = v1::framework_info::Capability {
            r#type: Some(v1::framework_info::capability::Type::TaskKillingState.into()),
        };
        rig.run_with("t", 1, |run| {
            if capable {
                run.framework.as_mut().unwrap().capabilities.push(capability);
            }
        });
        rig.input(Input::Launched { task: key("t"), pid: 7 });
        rig.kill("t", None);
        rig.exit("t", 15);
        rig.acknowledge_all();
        assert_eq!(rig.states().contains(&State::TaskKilling), capable);
        assert_eq!(rig.states().last(), Some(&State::TaskKilled));
    }
}

#[test]
fn updates_repeat_with_growing_pauses_and_at_once_after_a_new_registration() {
    let mut rig = Rig::registered();
    rig.run("t", 1);
    let mut sent_after = Vec::new();
    for second in 1..=75 {
        let before = rig.updates().len();
        rig.wait(1_000);
        rig.ping();
        if rig.updates().len() > before {
            sent_after.push(second);
        }
    }
    assert_eq!(sent_after, [10, 30, 70]);
    let before = rig.updates().len();
    rig.input(Input::LinkDown);
    rig.register();
    assert_eq!(rig.updates().len(), before + 1);
    let statuses = rig.statuses();
    assert!(statuses.iter().all(|status| status.uuid == statuses[0].uuid));
}

#[test]
fn an_acknowledgement_counts_once_and_only_for_the_oldest() {
    let mut rig = Rig::registered();
    rig.run("t", 1);
    rig.input(Input::Launched { task: key("t"), pid: 7 });
    let starting = rig.statuses()[0].uuid.clone().unwrap();
    rig.acknowledge("t", vec![0; 16].into());
    assert_eq!(rig.states(), [State::TaskStarting]);
    rig.acknowledge("t", starting.clone());
    rig.acknowledge("t", starting);
    assert_eq!(rig.states(), [State::TaskStarting, State::TaskRunning]);
}

#[test]
fn orders_of_a_past_epoch_are_refused_even_after_a_restart() {
    let mut rig = Rig::new();
    rig.epoch = 7;
    rig.register();
    rig.epoch = 6;
    rig.run("t", 1);
    assert!(rig.launched.is_empty());
    assert_eq!(rig.reconnects().len(), 1);
    rig.epoch = 7;
    rig.run("t", 1);
    assert!(rig.launched.is_empty(), "the link was given up");
    rig.restart(vec![]);
    rig.epoch = 6;
    rig.register();
    assert!(!rig.agent.is_registered());
    assert_eq!(rig.last_register().epoch(), 7);
}

#[test]
fn a_foreign_cluster_another_format_and_another_id_are_refused() {
    let id = |id: &str| Some(v1::AgentId { value: Some(id.to_owned()) });
    let cases = [
        (event::Registered { agent_id: id("a"), cluster_id: Some("x".to_owned()), ..Default::default() }, 1),
        (event::Registered { agent_id: id("b"), cluster_id: Some("c".to_owned()), ..Default::default() }, 1),
        (event::Registered { agent_id: None, cluster_id: Some("c".to_owned()), ..Default::default() }, 1),
        (event::Registered { agent_id: id("a"), cluster_id: Some("c".to_owned()), ..Default::default() }, 2),
    ];
    for (registered, format) in cases {
        let mut rig = Rig::registered();
        rig.input(Input::LinkUp);
        rig.event(event::Type::Registered, |event| {
            event.registered = Some(registered.clone());
            event.format = Some(format);
        });
        assert!(!rig.agent.is_registered(), "{registered:?}");
        assert_eq!(rig.reconnects().len(), 1, "{registered:?}");
    }
}

#[test]
fn a_cluster_founded_anew_is_followed_and_the_former_one_never_again() {
    let registered = |cluster: &str, former: &[&str]| event::Registered {
        agent_id: Some(v1::AgentId { value: Some("a".to_owned()) }),
        cluster_id: Some(cluster.to_owned()),
        former_cluster_ids: former.iter().map(|one| (*one).to_owned()).collect(),
        ..Default::default()
    };
    let mut rig = Rig::registered();
    rig.run("t", 1);
    let link = |rig: &mut Rig, epoch: u64, answer: event::Registered| {
        rig.epoch = epoch;
        rig.come_back();
        rig.event(event::Type::Registered, |event| event.registered = Some(answer));
        rig.agent.is_registered()
    };
    assert!(!link(&mut rig, 1_000_002, registered("new", &["b"])), "it continues another one");
    assert!(link(&mut rig, 1_000_002, registered("new", &["b", "c"])));
    assert_eq!((rig.disk.cluster_id.as_str(), rig.disk.epoch), ("new", 1_000_002), "it is remembered");
    let told = rig.last_register();
    assert_eq!((told.cluster_id(), told.tasks.len()), ("c", 1), "it came with its task");
    // A master of the former cluster is of a past epoch, and of a foreign cluster whatever its epoch.
    for epoch in [2, 2_000_000] {
        assert!(!link(&mut rig, epoch, registered("c", &[])), "{epoch}");
    }
    rig.restart(vec![]);
    assert!(link(&mut rig, 1_000_003, registered("new", &["b", "c"])));
    assert_eq!(rig.last_register().cluster_id(), "new");
}

#[test]
fn a_silent_master_is_left_and_an_unanswered_registration_is_given_up() {
    let mut rig = Rig::registered();
    rig.wait(4_000);
    rig.ping();
    assert_eq!(rig.sent.last().unwrap().r#type(), call::Type::Pong);
    rig.wait(4_999);
    assert!(rig.reconnects().is_empty());
    rig.wait(1);
    assert_eq!(rig.reconnects(), ["master is silent"]);
    rig.input(Input::LinkUp);
    rig.wait(10_000);
    assert_eq!(rig.reconnects().len(), 2);
}

#[test]
fn reconciliation_tells_a_launch_that_never_came_from_a_task_that_is_gone() {
    let mut rig = Rig::registered();
    rig.running("known", 5);
    for (task, seq) in [("known", 5), ("gone", 3), ("never", 9)] {
        let reconcile =
            event::Reconcile { framework_id: framework_id(), task_id: task_id(task), launch_seq: Some(seq) };
        rig.event(event::Type::Reconcile, |event| event.reconcile = Some(reconcile));
    }
    let expected = [("gone".to_owned(), State::TaskGone), ("never".to_owned(), State::TaskDropped)];
    assert_eq!(rig.updates(), expected);
    rig.wait(1_000);
    rig.ping();
    rig.acknowledge_all();
    rig.sent.clear();
    for _ in 0..60 {
        rig.wait(1_000);
        rig.ping();
    }
    assert!(rig.updates().is_empty(), "answers end with their acknowledgement");
}

#[test]
fn tasks_of_a_removed_framework_end_and_are_forgotten_without_acknowledgement() {
    let mut rig = Rig::registered();
    rig.running("t", 1);
    rig.run("u", 2);
    rig.exit("u", 0);
    rig.sent.clear();
    rig.event(event::Type::ShutdownFramework, |event| event.shutdown_framework = framework_id());
    assert_eq!(rig.kills(), [3_000]);
    assert_eq!(
        rig.states(),
        [State::TaskFinished],
        "the master heard only of its start and charges it until now"
    );
    assert_eq!(rig.agent.tasks().count(), 1, "what has ended is forgotten at once");
    rig.sent.clear();
    rig.exit("t", 15);
    assert_eq!(rig.states(), [State::TaskKilled]);
    assert_eq!(rig.statuses()[0].reason(), Reason::FrameworkRemoved);
    assert_eq!(rig.agent.tasks().count(), 0);
}

#[test]
fn an_end_without_a_framework_during_a_registration_is_told_after_it() {
    let mut rig = Rig::registered();
    rig.running("t", 1);
    rig.event(event::Type::ShutdownFramework, |event| event.shutdown_framework = framework_id());
    rig.come_back();
    assert_eq!(rig.last_register().tasks.len(), 1, "the master is told that the task is there");
    rig.sent.clear();
    rig.exit("t", 15);
    assert!(rig.updates().is_empty(), "nobody listens yet");
    rig.confirm();
    assert_eq!(rig.states(), [State::TaskKilled]);
    assert_eq!(rig.agent.tasks().count(), 0);
}

#[test]
fn shutdown_waits_for_the_tasks_but_not_for_ever() {
    let mut rig = Rig::registered();
    rig.running("t", 1);
    rig.running("u", 2);
    rig.event(event::Type::Shutdown, |_| {});
    assert_eq!(rig.kills().len(), 2);
    rig.run("late", 3);
    assert!(rig.disk.accepted_launch_seq < 3, "a leaving agent accepts nothing");
    rig.exit("t", 15);
    let left = |rig: &Rig| rig.effects.iter().any(|effect| matches!(effect, Effect::Shutdown { .. }));
    assert!(!left(&rig));
    rig.wait(8_000);
    assert!(left(&rig));
}

#[test]
fn a_leaving_agent_says_what_it_can_but_does_not_register_again() {
    let mut rig = Rig::registered();
    rig.running("t", 1);
    rig.running("u", 2);
    rig.event(event::Type::Shutdown, |_| {});
    rig.exit("t", 15);
    assert_eq!(rig.updates().last().map(|(task, _)| task.as_str()), Some("t"), "while the master listens");
    rig.input(Input::LinkDown);
    rig.sent.clear();
    rig.input(Input::LinkUp);
    rig.wait(10);
    assert!(rig.sent.is_empty(), "{:?}", rig.sent);
    let left = |rig: &Rig| rig.effects.iter().any(|effect| matches!(effect, Effect::Shutdown { .. }));
    assert!(!left(&rig));
    rig.exit("u", 15);
    assert!(left(&rig) && rig.sent.is_empty());
}

#[test]
fn what_cannot_run_here_is_refused_with_its_reason_and_stays_refused() {
    let mut rig = Rig::registered();
    rig.run_with("t", 1, |run| run.task.as_mut().unwrap().executor = Some(v1::ExecutorInfo::default()));
    assert!(rig.launched.is_empty());
    assert_eq!(rig.states(), [State::TaskError]);
    assert!(rig.statuses()[0].message().contains("executor"));
    assert_eq!(rig.disk.accepted_launch_seq, 1);
}

#[test]
fn a_task_that_may_only_run_so_long_is_ended_then() {
    let mut rig = Rig::registered();
    rig.run_with("t", 1, |run| {
        run.task.as_mut().unwrap().max_completion_time =
            Some(v1::DurationInfo { nanoseconds: Some(2_000_000_000) });
    });
    rig.input(Input::Launched { task: key("t"), pid: 7 });
    rig.acknowledge_all();
    rig.wait(1_999);
    assert!(rig.kills().is_empty());
    rig.wait(1);
    assert_eq!(rig.kills(), [3_000]);
    rig.exit("t", 15);
    let status = rig.statuses().pop().unwrap();
    assert_eq!((status.state(), status.reason()), (State::TaskFailed, Reason::MaxCompletionTimeReached));
}

#[test]
fn an_id_is_used_again_although_the_former_end_was_never_acknowledged() {
    let mut rig = Rig::registered();
    rig.running("t", 1);
    rig.exit("t", 0);
    rig.run("t", 2);
    assert_eq!(rig.launched.len(), 2);
    assert_ne!(rig.launched[0].container_id, rig.launched[1].container_id);
    rig.run("t", 3);
    assert_eq!(rig.launched.len(), 2, "it runs: the id is taken");
}

#[test]
fn a_restarted_agent_says_what_became_of_its_tasks() {
    let cases = [
        (Some(Found::Running { pid: 9 }), None, None),
        (Some(Found::NeverStarted), Some(State::TaskLost), Some(Reason::AgentRestarted)),
        (
            Some(Found::Exited(Exit::Status { status: 0, kill_asked: false })),
            Some(State::TaskFinished),
            Some(Reason::CommandExecutorFailed),
        ),
        (Some(Found::Exited(Exit::Status { status: 15, kill_asked: true })), Some(State::TaskKilled), None),
        (
            Some(Found::Lost { message: "x".to_owned() }),
            Some(State::TaskFailed),
            Some(Reason::ExecutorTerminated),
        ),
        (None, Some(State::TaskFailed), Some(Reason::ExecutorTerminated)),
    ];
    for (found, state, reason) in cases {
        let mut rig = Rig::registered();
        rig.running("t", 1);
        let container = rig.launched[0].container_id.clone();
        rig.restart(found.clone().map(|found| (key("t"), found)).into_iter().collect());
        rig.register();
        let register = rig.last_register();
        assert_eq!(register.tasks.len(), 1, "{found:?}");
        assert_eq!(register.tasks[0].launch_seq(), 1);
        assert_eq!(register.tasks[0].state(), state.unwrap_or(State::TaskRunning));
        assert_eq!(register.frameworks.len(), 1);
        assert_eq!(rig.states(), state.into_iter().collect::<Vec<_>>(), "{found:?}");
        if let (Some(status), Some(reason)) = (rig.statuses().pop(), reason) {
            assert_eq!(status.reason(), reason);
        }
        assert!(rig.launched.is_empty(), "nothing is started again");
        assert_eq!(rig.agent.tasks().next().unwrap().container_id, container);
    }
}

#[test]
fn a_restart_keeps_updates_until_they_are_acknowledged() {
    let mut rig = Rig::registered();
    rig.run("t", 1);
    rig.input(Input::Launched { task: key("t"), pid: 7 });
    rig.exit("t", 0);
    rig.restart(vec![]);
    rig.register();
    assert_eq!(rig.last_register().tasks[0].unacknowledged.as_ref().unwrap().state(), State::TaskStarting);
    rig.acknowledge_all();
    assert_eq!(rig.states(), [State::TaskStarting, State::TaskRunning, State::TaskFinished]);
    assert_eq!(rig.agent.tasks().count(), 0);
}

#[test]
fn the_shortest_checkpoint_means_the_same() {
    let mut rig = Rig::registered();
    rig.running("t", 1);
    rig.run("u", 2);
    rig.input(Input::Launched { task: key("u"), pid: 8 });
    let mut folded = tepui_agent_core::checkpoint::State::default();
    for record in rig.disk.records() {
        folded.apply(&record);
    }
    assert_eq!(folded, rig.disk);
    assert_eq!(folded.tasks.len(), 2);
}
