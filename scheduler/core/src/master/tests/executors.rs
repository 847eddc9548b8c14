//! Custom executors: what they hold, for how long, and groups of tasks.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{self, TaskState};

use crate::master::Input;
use crate::testing::{
    AgentPeer, FrameworkPeer, Harness, amount_to, executor_task, launch_group, resources, uuid,
};

fn peers(harness: &mut Harness) -> (AgentPeer, FrameworkPeer) {
    (harness.agent("cpus:4;mem:1024;disk:100"), harness.framework("f"))
}

/// A task of executor `e` on this agent.
fn on(agent: &AgentPeer, task: &str) -> v1::TaskInfo {
    let info = executor_task(task, "cpus:1;mem:64", "e", "cpus:1;mem:32;disk:10");
    v1::TaskInfo { agent_id: Some(agent.id.to_proto()), ..info }
}

fn executors(harness: &Harness) -> usize {
    crate::master::view::get_executors(&harness.registry).get_executors.unwrap().executors.len()
}

#[test]
fn an_executor_on_its_way_is_held_once_whatever_becomes_of_its_launches() {
    for unknown in [false, true] {
        let mut harness = Harness::new();
        let (agent, peer) = peers(&mut harness);
        let offer = harness.offer(&peer);
        harness.hold();
        harness.accept(&peer, &[&offer], vec![on(&agent, "a")]);
        let offer = harness.offer(&peer);
        harness.accept(&peer, &[&offer], vec![on(&agent, "b")]);
        let rest = harness.offer(&peer);
        assert!(amount_to(&rest.resources, "cpus:1;mem:864;disk:90"), "{rest:?}");
        // The launch that brings the executor is lost: the other one needs it all the same.
        let (proposal, _) = harness.queue.pop_front().unwrap();
        harness.input(Input::ProposalFailed { proposal, unknown, reason: "lost".to_owned() });
        let free = harness.master.allocator.free(&agent.id).to_string();
        assert_eq!(free, if unknown { "" } else { "cpus:1;mem:64" });
        harness.commit();
        let free = harness.master.allocator.free(&agent.id).to_string();
        assert_eq!(free, if unknown { "" } else { "cpus:1;mem:64" }, "neither more nor less than before");
    }
}

#[test]
fn an_executor_is_charged_once_and_until_it_ends() {
    let mut harness = Harness::new();
    let (mut agent, peer) = peers(&mut harness);
    let offer = harness.offer(&peer);
    harness.accept(&peer, &[&offer], vec![on(&agent, "a"), on(&agent, "b")]);
    assert_eq!(harness.take_launch(&mut agent).task.unwrap().executor.unwrap().data(), &b"data"[..]);
    harness.take_launch(&mut agent);
    let rest = harness.offer(&peer);
    assert!(amount_to(&rest.resources, "cpus:1;mem:864;disk:90"));
    assert_eq!(rest.executor_ids.len(), 1);
    harness.report(&mut agent, "a", TaskState::TaskFinished, uuid(1));
    harness.events(&peer);
    assert!(amount_to(&harness.offer(&peer).resources, "cpus:1;mem:64"));
    harness.report(&mut agent, "b", TaskState::TaskFinished, uuid(2));
    harness.events(&peer);
    let rest = harness.offer(&peer);
    assert!(amount_to(&rest.resources, "cpus:1;mem:64"), "the executor still runs");
    assert_eq!(rest.executor_ids.len(), 1);
    harness.advance(200);
    assert_eq!(executors(&harness), 1);

    // Another task of it pays for itself alone.
    harness.accept(&peer, &[&rest], vec![on(&agent, "c")]);
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "c", TaskState::TaskFinished, uuid(3));
    harness.executor_exits(&mut agent, &peer.id, "e", 256);
    let events = harness.events(&peer);
    let failure = events.iter().find_map(|event| event.failure.clone()).unwrap();
    assert_eq!((failure.status, failure.executor_id.unwrap().value()), (Some(256), "e"));
    harness.advance(200);
    assert!(harness.registry.charges.is_empty() && harness.registry.executors.is_empty());
    assert_eq!(executors(&harness), 0);
}

#[test]
fn one_that_differs_from_the_live_one_is_refused() {
    let mut harness = Harness::new();
    let (mut agent, peer) = peers(&mut harness);
    let offer = harness.offer(&peer);
    harness.accept(&peer, &[&offer], vec![on(&agent, "a")]);
    harness.take_launch(&mut agent);
    let rest = harness.offer(&peer);
    let mut differs = on(&agent, "b");
    differs.executor.as_mut().unwrap().name = Some("another".to_owned());
    let same = on(&agent, "c");
    harness.accept(&peer, &[&rest], vec![differs, same]);
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskError, Reason::TaskInvalid));
    assert!(status.message().contains("differs from the live executor"), "{}", status.message());
    assert_eq!(harness.take_launch(&mut agent).task.unwrap().task_id.unwrap().value(), "c");
}

#[test]
fn one_whose_task_never_reached_the_agent_holds_nothing() {
    let mut harness = Harness::new();
    let (agent, peer) = peers(&mut harness);
    let offer = harness.offer(&peer);
    harness.hold();
    harness.accept(&peer, &[&offer], vec![on(&agent, "a")]);
    harness.kill(&peer, "a");
    harness.commit();
    harness.advance(200);
    assert!(harness.registry.charges.is_empty() && harness.registry.executors.is_empty());
}

#[test]
fn an_agent_says_at_its_return_which_executors_live() {
    let mut harness = Harness::new();
    let (mut agent, peer) = peers(&mut harness);
    let offer = harness.offer(&peer);
    harness.accept(&peer, &[&offer], vec![on(&agent, "a")]);
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "a", TaskState::TaskFinished, uuid(1));
    let status = harness.statuses(&peer).pop().unwrap();
    harness.acknowledge(&peer, &status);
    harness.advance(200);
    harness.forget(&mut agent, "a");
    harness.elect();
    let connection = agent.connection;
    harness.break_stream(connection);
    harness.register(&mut agent);
    assert_eq!(harness.registry.executors.len(), 1, "it said so");
    agent.executors.clear();
    harness.register(&mut agent);
    assert!(harness.registry.executors.is_empty() && harness.registry.charges.is_empty());
}

/// An executor whose only task has ended and is forgotten.
fn idle(harness: &mut Harness) -> (AgentPeer, FrameworkPeer) {
    let (mut agent, peer) = peers(harness);
    let offer = harness.offer(&peer);
    harness.accept(&peer, &[&offer], vec![on(&agent, "a")]);
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "a", TaskState::TaskFinished, uuid(1));
    let status = harness.statuses(&peer).pop().unwrap();
    harness.acknowledge(&peer, &status);
    harness.advance(200);
    harness.forget(&mut agent, "a");
    harness.orders(&agent);
    assert!(harness.registry.tasks.is_empty() && harness.registry.executors.len() == 1);
    (agent, peer)
}

#[test]
fn an_executor_without_tasks_ends_with_its_framework() {
    let mut harness = Harness::new();
    let (mut agent, peer) = idle(&mut harness);
    harness.bare(&peer, v1::scheduler::call::Type::Teardown);
    assert_eq!(harness.order_types(&agent), [Order::ShutdownFramework]);
    assert_eq!(harness.registry.charges.len(), 1, "charged until the agent says that it has ended");
    harness.executor_exits(&mut agent, &peer.id, "e", 0);
    harness.advance(200);
    assert!(harness.registry.charges.is_empty() && harness.registry.executors.is_empty());
}

#[test]
fn a_refused_launch_leaves_no_executor() {
    for teardown in [false, true] {
        let mut harness = Harness::new();
        let (mut agent, peer) = peers(&mut harness);
        let offer = harness.offer(&peer);
        harness.accept(&peer, &[&offer], vec![on(&agent, "a")]);
        harness.take_launch(&mut agent);
        harness.report(&mut agent, "a", TaskState::TaskFailed, uuid(1));
        harness.advance(200);
        let charged = harness.registry.executors.len();
        assert_eq!((charged, executors(&harness)), (1, 1), "only the agent knows that there is none");
        if teardown {
            harness.bare(&peer, v1::scheduler::call::Type::Teardown);
            let orders = harness.orders(&agent);
            let named = orders.iter().flat_map(|order| &order.charged_executors);
            assert_eq!(named.map(v1::ExecutorId::value).collect::<Vec<_>>(), ["e"], "so it can say so");
        }
        harness.executor_exits(&mut agent, &peer.id, "e", -1);
        harness.advance(200);
        assert!(harness.registry.executors.is_empty() && harness.registry.charges.is_empty());
        assert_eq!(executors(&harness), 0);
    }
}

#[test]
fn an_agent_that_was_away_hears_at_its_return_of_executors_without_framework() {
    let mut harness = Harness::new();
    let (mut agent, peer) = idle(&mut harness);
    harness.break_stream(agent.connection);
    harness.bare(&peer, v1::scheduler::call::Type::Teardown);
    harness.register(&mut agent);
    assert_eq!(harness.order_types(&agent), [Order::ShutdownFramework]);
    assert!(!harness.registry.frameworks.contains_key(&peer.id), "not adopted again");
}

#[test]
fn a_group_is_launched_as_one() {
    let mut harness = Harness::new();
    let (mut agent, peer) = peers(&mut harness);
    let offer = harness.offer(&peer);
    let group = launch_group(vec![on(&agent, "a"), on(&agent, "b")]);
    harness.accept_with(&peer, &[&offer], vec![group], None);
    let run = harness.take_launch(&mut agent);
    assert_eq!(run.task_group.unwrap().tasks.len(), 2);
    assert_eq!((run.launch_seq, agent.accepted_launch_seq), (Some(1), 2));
    assert_eq!(harness.order_types(&agent), []);
    let charged = harness.registry.charges.values().next().unwrap().total.to_string();
    assert_eq!(charged, v1_text("cpus:3;mem:160;disk:10"), "the executor once");
}

fn v1_text(text: &str) -> String {
    tepui_proto::resources::Resources::from_proto(&resources(text)).unwrap().to_string()
}

#[test]
fn one_bad_member_spoils_its_group_and_no_other() {
    let mut harness = Harness::new();
    let (mut agent, peer) = peers(&mut harness);
    let offer = harness.offer(&peer);
    let mut greedy = on(&agent, "b");
    greedy.resources = resources("cpus:9");
    let mut small = on(&agent, "c");
    small.executor.as_mut().unwrap().resources = resources("cpus:1;mem:32");
    let operations = vec![
        launch_group(vec![on(&agent, "a"), greedy]),
        launch_group(vec![small]),
        launch_group(vec![on(&agent, "d"), on(&agent, "d")]),
        launch_group(vec![on(&agent, "e"), on(&agent, "f")]),
    ];
    harness.accept_with(&peer, &[&offer], operations, None);
    let refused: Vec<(String, Reason, String)> = harness
        .statuses(&peer)
        .into_iter()
        .map(|status| {
            assert_eq!(status.state(), TaskState::TaskError);
            let reason = status.reason();
            (status.task_id.clone().unwrap().value.unwrap(), reason, status.message.unwrap())
        })
        .collect();
    let tasks: Vec<&str> = refused.iter().map(|(task, _, _)| task.as_str()).collect();
    assert_eq!(tasks, ["a", "b", "c", "d", "d"], "{refused:?}");
    assert!(refused.iter().all(|(_, reason, _)| *reason == Reason::TaskGroupInvalid));
    assert!(refused[2].2.contains("disk"), "{refused:?}");
    let run = harness.take_launch(&mut agent);
    let launched = run.task_group.unwrap().tasks;
    assert_eq!(launched.iter().map(v1::TaskInfo::name).collect::<Vec<_>>(), ["e", "f"]);
}

#[test]
fn a_kill_before_the_commit_takes_the_group_along() {
    let mut harness = Harness::new();
    let (agent, peer) = peers(&mut harness);
    let offer = harness.offer(&peer);
    harness.hold();
    let group = launch_group(vec![on(&agent, "a"), on(&agent, "b")]);
    harness.accept_with(&peer, &[&offer], vec![group], None);
    harness.kill(&peer, "b");
    harness.commit();
    assert_eq!(harness.order_types(&agent), []);
    let told = harness.updates(&peer);
    let killed = |task: &str| (task.to_owned(), TaskState::TaskKilled);
    assert_eq!(told, [killed("a"), killed("b")]);
    harness.advance(200);
    assert!(harness.registry.charges.is_empty());
}

#[test]
fn a_new_leader_delivers_a_group_that_nobody_took() {
    let mut harness = Harness::new();
    let (mut agent, peer) = peers(&mut harness);
    let offer = harness.offer(&peer);
    let group = launch_group(vec![on(&agent, "a"), on(&agent, "b")]);
    harness.accept_with(&peer, &[&offer], vec![group], None);
    harness.orders(&agent);
    harness.elect();
    harness.register(&mut agent);
    assert_eq!(harness.registry.executors.len(), 1, "its tasks are on their way");
    let run = harness.take_launch(&mut agent);
    assert_eq!(run.task_group.unwrap().tasks.len(), 2);
    assert_eq!(harness.order_types(&agent), [] as [Order; 0]);
}
