//! What is too long for the log: launches are divided, tasks and statuses go in without what makes them long.

use tepui_proto::tepui::agent_link::AgentTask;
use tepui_proto::v1::{self, TaskState};

use super::running;
use crate::registry::{Operation, decode_envelope};
use crate::testing::{AgentPeer, Harness, LONGEST_COMMAND, resources, task, uuid};

fn longest(harness: &Harness) -> usize {
    harness.log.iter().map(bytes::Bytes::len).max().unwrap_or_default()
}

#[test]
fn one_accept_of_many_long_tasks_becomes_several_launches() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:200;mem:20000");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    let long = |number: usize| v1::TaskInfo {
        data: Some(vec![b'x'; 200 << 10].into()),
        ..task(&format!("t{number:03}"), "cpus:1;mem:32")
    };
    harness.accept(&peer, &[&offer], (0..100).map(long).collect());
    let launches = harness.log_of_launches();
    assert!(launches.len() > 2 && launches.iter().sum::<usize>() == 100, "{launches:?}");
    assert!(longest(&harness) < LONGEST_COMMAND / 2);
    let orders = harness.orders(&agent);
    let sent = orders.iter().filter_map(|order| order.run_task.as_ref());
    let names: Vec<_> =
        sent.map(|run| run.task.as_ref().unwrap().task_id.as_ref().unwrap().value()).collect();
    assert!(names.len() == 100 && names.is_sorted(), "all of them, in their order");
}

#[test]
fn an_executor_with_megabytes_of_data_can_be_launched_and_joined() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:8;mem:20000");
    let peer = harness.framework("f");
    let with = |name: &str, data: &'static str| {
        let mut info = task(name, "cpus:1;mem:32");
        info.executor = Some(v1::ExecutorInfo {
            executor_id: Some(v1::ExecutorId { value: Some("e".to_owned()) }),
            command: info.command.take(),
            resources: resources("cpus:1;mem:32"),
            data: Some(data.repeat(20 << 20).into()),
            ..Default::default()
        });
        info
    };
    let offer = harness.offer(&peer);
    harness.accept(&peer, &[&offer], vec![with("a", "x")]);
    let sent = harness.take_launch(&mut agent);
    assert_eq!(sent.task.unwrap().executor.unwrap().data.unwrap().len(), 20 << 20, "whole to its agent");
    let offer = harness.offer(&peer);
    harness.accept(&peer, &[&offer], vec![with("b", "x")]);
    harness.take_launch(&mut agent);
    let offer = harness.offer(&peer);
    harness.accept(&peer, &[&offer], vec![with("c", "y")]);
    let error = harness.update(&peer);
    assert_eq!(error.state(), TaskState::TaskError);
    assert!(error.message().contains("live executor"), "{}", error.message());
    assert!(longest(&harness) < 1 << 20);
}

#[test]
fn a_status_that_could_not_be_read_from_the_log_is_refused() {
    let (mut harness, agent, peer) = running();
    let id = |parent| v1::ContainerId { value: Some("c".to_owned()), parent };
    let container_id = (1..97).fold(id(None), |inner, _| id(Some(Box::new(inner))));
    let status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        state: Some(TaskState::TaskFailed as i32),
        container_status: Some(v1::ContainerStatus {
            container_id: Some(container_id),
            ..Default::default()
        }),
        uuid: Some(uuid(7)),
        ..Default::default()
    };
    let answer = harness.report_status(&agent, Some(peer.id.to_proto()), status, TaskState::TaskFailed);
    assert_eq!(answer, 400);
    // The harness reads every entry back.
    harness.advance(200);
}

#[test]
fn a_huge_status_is_told_whole_and_recorded_short() {
    let (mut harness, agent, peer) = running();
    let status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        state: Some(TaskState::TaskFailed as i32),
        source: Some(v1::task_status::Source::Executor as i32),
        message: Some("\u{e9}".repeat(20 << 20)),
        data: Some(vec![7; 1 << 20].into()),
        uuid: Some(uuid(7)),
        ..Default::default()
    };
    harness.report_status(&agent, Some(peer.id.to_proto()), status.clone(), TaskState::TaskFailed);
    assert_eq!(harness.update(&peer).message, status.message);
    harness.advance(200);
    assert!(longest(&harness) < 1 << 20);
    let record = harness.registry.tasks.iter().next().unwrap().1.clone();
    assert_eq!(record.state(), TaskState::TaskFailed);
    assert_eq!(record.last_status.as_ref().unwrap().uuid, Some(uuid(7)));
}

#[test]
fn batches_of_reports_are_bounded_and_a_failed_one_stays_as_it_was() {
    let (mut harness, agent, peer) = running();
    harness.hold();
    let before = harness.log.len();
    let healthy = |number: u32| v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        state: Some(TaskState::TaskRunning as i32),
        source: Some(v1::task_status::Source::Executor as i32),
        message: Some(format!("{number}{}", "m".repeat(60 << 10))),
        uuid: Some(uuid(u8::try_from(number).unwrap())),
        ..Default::default()
    };
    for number in 2..202 {
        harness.report_status(&agent, Some(peer.id.to_proto()), healthy(number), TaskState::TaskRunning);
    }
    harness.advance(100);
    let batches = harness.queue.len();
    assert!(batches >= 3, "12 MB in {batches} batches");
    for _ in 0..3 {
        harness.fail(false);
        harness.advance(1_000);
        let observed = |(_, envelope): &(_, crate::registry::Envelope)| {
            matches!(envelope.operation, Some(Operation::Observe(_)))
        };
        assert_eq!(
            harness.queue.iter().filter(|one| observed(one)).count(),
            batches,
            "none is merged or lost"
        );
    }
    harness.commit();
    let seen: usize = harness.log[before..]
        .iter()
        .map(|bytes| match decode_envelope(bytes.clone()).unwrap().operation {
            Some(Operation::Observe(observe)) => observe.events.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(seen, 200);
    assert!(longest(&harness) < LONGEST_COMMAND / 2);
    let record = harness.registry.tasks.iter().next().unwrap().1.clone();
    assert_eq!(record.last_status.as_ref().unwrap().uuid, Some(uuid(201)), "in the order in which they came");
}

/// An agent that holds so many tasks of a framework that nobody knows, each with a label of so many bytes.
fn loaded(harness: &mut Harness, tasks: usize, bytes: usize) -> AgentPeer {
    let mut agent = harness.agent("cpus:100");
    let framework_id = Some(v1::FrameworkId { value: Some("far".to_owned()) });
    agent.frameworks =
        vec![v1::FrameworkInfo { id: framework_id.clone(), ..crate::testing::framework_info("far") }];
    let label = v1::Label { key: Some("k".to_owned()), value: Some("x".repeat(bytes)) };
    let told = |number: usize| AgentTask {
        framework_id: framework_id.clone(),
        task: Some(v1::TaskInfo {
            labels: Some(v1::Labels { labels: vec![label.clone()] }),
            agent_id: Some(agent.id.to_proto()),
            ..task(&format!("t{number:05}"), "cpus:0.01")
        }),
        launch_seq: Some(number as u64 + 1),
        state: Some(TaskState::TaskRunning as i32),
        ..Default::default()
    };
    let tasks_told = (0..tasks).map(told).collect();
    agent.tasks = tasks_told;
    agent.accepted_launch_seq = tasks as u64;
    agent
}

#[test]
fn an_agent_with_thousands_of_long_tasks_comes_back_in_several_commands() {
    let mut harness = Harness::new();
    let mut agent = loaded(&mut harness, 2500, 10 << 10);
    let before = harness.log.len();
    harness.break_stream(agent.connection);
    harness.register(&mut agent);
    let commands = harness.log.len() - before;
    assert!((6..20).contains(&commands), "{commands} commands for 25 MB");
    assert!(longest(&harness) < LONGEST_COMMAND / 2);
    assert_eq!(harness.registry.tasks.len(), 2500);
    let record = harness.registry.agents[&agent.id].clone();
    assert!(harness.registry.agent_connected(&record));
    assert!(harness.orders(&agent).is_empty(), "both sides agree");
    // After a change of leader it says all of that again, without one that it has forgotten: only that one is asked for.
    harness.elect();
    agent.tasks.remove(1234);
    harness.register(&mut agent);
    let orders = harness.orders(&agent);
    let asked: Vec<_> = orders.iter().filter_map(|order| order.reconcile.as_ref()).collect();
    assert!(orders.len() == 1 && asked[0].task_id.as_ref().unwrap().value() == "t01234", "{orders:?}");
    assert_eq!(harness.registry.tasks.len(), 2500);
}

#[test]
fn a_long_registration_that_is_not_committed_is_made_again() {
    let mut harness = Harness::new();
    let mut agent = loaded(&mut harness, 600, 20 << 10);
    harness.break_stream(agent.connection);
    harness.hold();
    harness.send_register(&mut agent);
    assert!(harness.queue.len() > 2);
    harness.lose(false);
    assert!(harness.is_closed(agent.connection), "the agent has to come again");
    harness.register(&mut agent);
    assert_eq!(harness.registry.tasks.len(), 600);
}

#[test]
fn an_agent_whose_word_no_log_takes_is_refused_by_name_and_troubles_nobody_else() {
    let mut harness = Harness::new();
    let mut agent = loaded(&mut harness, 1, 10);
    agent.frameworks[0].name = Some("n".repeat(20 << 20));
    harness.break_stream(agent.connection);
    let before = harness.log.len();
    harness.send_register(&mut agent);
    assert!(harness.is_closed(agent.connection));
    assert_eq!(harness.log.len(), before, "nothing of it is committed");
    let note = harness.notes.iter().find(|note| note.message == "agent refused").unwrap();
    let reason = note.fields.iter().map(|(_, text)| text.chars().take(200).collect::<String>());
    let reason: Vec<_> = reason.collect();
    assert!(reason.iter().any(|text| text.contains("framework 'nnn")), "{reason:?}");
    harness.advance(5_000);
    let other = harness.agent("cpus:1");
    let peer = harness.framework("f");
    assert_eq!(harness.offer(&peer).agent_id, Some(other.id.to_proto()));
}

#[test]
fn a_group_that_is_too_long_together_goes_in_without_its_bytes() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:200;mem:20000;disk:1000");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    let long = |number: usize| v1::TaskInfo {
        data: Some(vec![b'x'; 200 << 10].into()),
        agent_id: Some(agent.id.to_proto()),
        ..task(&format!("t{number:03}"), "cpus:1;mem:32")
    };
    let mut group = crate::testing::launch_group((0..100).map(long).collect());
    if let Some(launch) = &mut group.launch_group {
        launch.executor = Some(v1::ExecutorInfo {
            r#type: Some(v1::executor_info::Type::Default as i32),
            executor_id: Some(v1::ExecutorId { value: Some("e".to_owned()) }),
            resources: resources("cpus:1;mem:32;disk:10"),
            ..Default::default()
        });
    }
    harness.accept_with(&peer, &[&offer], vec![group], None);
    let refused = harness.statuses(&peer);
    assert!(refused.is_empty(), "{:?}", refused[0]);
    let run = harness.take_launch(&mut agent);
    let tasks = run.task_group.unwrap().tasks;
    assert!(tasks.len() == 100 && tasks.iter().all(|one| one.data.as_ref().unwrap().len() == 200 << 10));
    assert!(longest(&harness) < 1 << 20);
}

#[test]
fn what_no_log_takes_is_answered() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:64");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    let named = v1::TaskInfo { name: Some("n".repeat(20 << 20)), ..task("long", "cpus:1;mem:8") };
    harness.accept(&peer, &[&offer], vec![task("short", "cpus:1;mem:8"), named]);
    harness.advance(5_000);
    let update = harness.update(&peer);
    assert_eq!(update.task_id.as_ref().unwrap().value(), "long");
    assert_eq!(update.state(), TaskState::TaskLost);
    assert!(update.message().contains("longer than the log takes"), "{}", update.message());
    assert_eq!(harness.registry.tasks.len(), 1, "the other one runs");
}
