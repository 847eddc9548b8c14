//! REGISTER: ids, retries, tasks that differ.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::v1::{self, TaskState};

use super::{launched, running};
use crate::ids::TaskKey;
use crate::master::Input;
use crate::testing::{Harness, amount_to, framework_info, task, uuid};

#[test]
fn agents_are_numbered() {
    let mut harness = Harness::new();
    assert_eq!(harness.agent("cpus:1;mem:64").id.as_str(), "m1-S0");
    assert_eq!(harness.agent("cpus:1;mem:64").id.as_str(), "m1-S1");
}

#[test]
fn an_agent_that_missed_the_answer_keeps_its_id() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:1;mem:64");
    agent.id = "".into();
    harness.register(&mut agent);
    assert_eq!(agent.id.as_str(), "m1-S0", "the same boot");
    assert_eq!(harness.registry.agents.len(), 1);
    harness.elect();
    agent.id = "".into();
    harness.register(&mut agent);
    assert_eq!(agent.id.as_str(), "m1-S0", "a new leader knows it too");
}

#[test]
fn strangers_are_turned_away() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:1;mem:64");
    let (connection, stream_id) = (harness.next_id(), "s".to_owned());
    let mut call = tepui_proto::tepui::agent_link::Call {
        format: Some(1),
        r#type: Some(tepui_proto::tepui::agent_link::call::Type::Register as i32),
        register: Some(tepui_proto::tepui::agent_link::call::Register {
            boot_id: Some("b".to_owned()),
            agent_info: Some(agent.info.clone()),
            cluster_id: Some("another".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    harness.input(Input::AgentRegister { connection, stream_id: stream_id.clone(), call: call.clone() });
    assert!(harness.is_closed(connection), "another cluster");
    call.register.as_mut().unwrap().cluster_id = None;
    call.format = Some(2);
    let connection = harness.next_id();
    harness.input(Input::AgentRegister { connection, stream_id: stream_id.clone(), call: call.clone() });
    assert!(harness.is_closed(connection), "another format");
    call.format = Some(1);
    call.register.as_mut().unwrap().epoch = Some(99);
    let connection = harness.next_id();
    harness.input(Input::AgentRegister { connection, stream_id, call });
    assert!(harness.is_closed(connection), "it has seen a later leader");
    assert_eq!(harness.registry.agents.len(), 1);
    harness.register(&mut agent);
}

#[test]
fn a_launch_that_never_arrived_is_delivered_again_with_its_number() {
    let mut harness = Harness::new();
    let (mut agent, _) = launched(&mut harness);
    harness.break_stream(agent.connection);
    harness.register(&mut agent);
    let run = harness.take_launch(&mut agent);
    assert_eq!(run.launch_seq, Some(1));
    harness.elect();
    harness.register(&mut agent);
    assert_eq!(harness.orders(&agent), [], "now it has it");
}

#[test]
fn launches_are_delivered_again_in_order() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    // Names in another order than the launches.
    let tasks = vec![task("z", "cpus:1;mem:64"), task("m", "cpus:1;mem:64"), task("a", "cpus:1;mem:64")];
    harness.accept(&peer, &[&offer], tasks);
    harness.elect();
    harness.register(&mut agent);
    let names: Vec<_> =
        (0..3).map(|_| harness.take_launch(&mut agent).task.unwrap().name().to_owned()).collect();
    assert_eq!(names, ["z", "m", "a"]);
}

#[test]
fn a_task_that_the_agent_lost_is_asked_for() {
    let (mut harness, mut agent, peer) = running();
    harness.break_stream(agent.connection);
    harness.forget(&mut agent, "t");
    harness.register(&mut agent);
    let asked = harness.order(&agent).reconcile.unwrap();
    assert_eq!(asked.launch_seq, Some(1));
    let status = v1::TaskStatus {
        task_id: asked.task_id,
        state: Some(TaskState::TaskGone as i32),
        uuid: Some(uuid(7)),
        ..Default::default()
    };
    harness.report_status(&agent, asked.framework_id, status, TaskState::TaskGone);
    let told = harness.update(&peer);
    assert_eq!(told.state(), TaskState::TaskLost, "the framework knows no GONE");
    harness.acknowledge(&peer, &told);
    harness.advance(200);
    assert!(harness.registry.tasks.is_empty() && harness.registry.charges.is_empty());
}

#[test]
fn the_agents_word_wins() {
    let (mut harness, mut agent, peer) = running();
    harness.break_stream(agent.connection);
    agent.tasks[0].state = Some(TaskState::TaskFinished as i32);
    harness.register(&mut agent);
    assert!(harness.registry.charges.is_empty(), "it holds nothing any more");
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.update(&peer);
    harness.acknowledge(&peer, &status);
    harness.advance(200);
    assert!(harness.registry.tasks.is_empty());
}

#[test]
fn an_acknowledged_end_is_settled_when_the_agent_forgot_it() {
    let (mut harness, mut agent, peer) = running();
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.update(&peer);
    harness.advance(200);
    harness.orders(&agent);
    harness.hold();
    harness.acknowledge(&peer, &status);
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge]);
    // The leader dies before it could commit the acknowledgement that the agent already has.
    harness.forget(&mut agent, "t");
    harness.held = false;
    harness.elect();
    assert_eq!(harness.registry.tasks.len(), 1);
    harness.register(&mut agent);
    assert!(harness.registry.tasks.is_empty());
    assert_eq!(harness.orders(&agent), []);
    let history = harness.registry.history.get(&peer.id).unwrap();
    assert_eq!(history.last().unwrap().state(), TaskState::TaskFinished);
}

#[test]
fn tasks_and_frameworks_that_nobody_knows_are_adopted() {
    let (harness, mut agent, peer) = running();
    drop(harness);
    let mut harness = Harness::new();
    harness.register(&mut agent);
    let key = TaskKey::new(peer.id.as_str(), "t");
    let record = harness.registry.tasks.get(&key).expect("adopted").clone();
    assert_eq!(record.state(), TaskState::TaskRunning);
    let framework = harness.registry.frameworks.get(&peer.id).unwrap();
    assert!(framework.recovered && framework.deadline_ms.is_some());
    assert_eq!(harness.registry.charges.len(), 1);
    assert_eq!(harness.registry.agents.get(&agent.id).unwrap().launch_seq, 1, "no number twice");
    let peer = harness.resubscribe(&peer);
    let rest = harness.offer(&peer);
    harness.reconcile(&peer, &[]);
    assert_eq!(harness.updates(&peer), [("t".to_owned(), TaskState::TaskRunning)]);
    harness.accept(&peer, &[&rest], vec![task("next", "cpus:3;mem:900")]);
    assert_eq!(harness.take_launch(&mut agent).launch_seq, Some(2));
    harness.registry.check_capacity();
}

#[test]
fn tasks_of_a_completed_framework_are_ended() {
    let (mut harness, mut agent, peer) = running();
    harness.break_stream(agent.connection);
    harness.bare(&peer, v1::scheduler::call::Type::Teardown);
    harness.register(&mut agent);
    assert_eq!(harness.order_types(&agent), [Order::ShutdownFramework]);
    assert!(!harness.registry.frameworks.contains_key(&peer.id), "not adopted again");
    harness.report(&mut agent, "t", TaskState::TaskKilled, uuid(2));
    harness.advance(200);
    assert!(harness.registry.charges.is_empty());
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge]);
}

#[test]
fn another_task_of_the_same_name_is_killed_there() {
    let (mut harness, first, peer) = running();
    let mut second = harness.agent("cpus:4;mem:1024");
    harness.break_stream(second.connection);
    second.tasks = first.tasks.clone();
    harness.register(&mut second);
    let order = harness.order(&second);
    assert_eq!(order.r#type(), Order::KillTask);
    harness.events(&peer);
    harness.report(&mut second, "t", TaskState::TaskKilled, uuid(5));
    assert_eq!(harness.events(&peer), [], "its end is nobody's business");
    assert_eq!(harness.order_types(&second), [Order::Acknowledge]);
    assert_eq!(harness.registry.tasks.values().next().unwrap().agent_id(), first.id);
}

#[test]
fn changed_resources_are_offered_as_they_are() {
    let (mut harness, mut agent, peer) = running();
    harness.break_stream(agent.connection);
    agent.info.resources = crate::testing::resources("cpus:8;mem:2048");
    harness.register(&mut agent);
    assert!(amount_to(&harness.offer(&peer).resources, "cpus:7;mem:1984"));
}

#[test]
fn a_registration_that_is_lost_is_tried_again() {
    let (mut harness, mut agent, _) = running();
    harness.break_stream(agent.connection);
    harness.hold();
    harness.send_register(&mut agent);
    harness.lose(false);
    assert!(harness.is_closed(agent.connection));
    harness.register(&mut agent);
    let record = harness.registry.agents.get(&agent.id).unwrap();
    assert!(harness.registry.agent_connected(record));
}

#[test]
fn a_stream_that_ends_before_the_commit_leaves_the_agent_away() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    harness.break_stream(agent.connection);
    harness.hold();
    harness.send_register(&mut agent);
    harness.break_stream(agent.connection);
    harness.commit();
    let record = harness.registry.agents.get(&agent.id).unwrap();
    assert!(!harness.registry.agent_connected(record));
    let peer = harness.framework_with(framework_info("f"));
    assert_eq!(harness.offers(&peer), []);
    harness.advance(26_000);
    assert!(harness.registry.agents.get(&agent.id).unwrap().unreachable_ms.is_some());
}
