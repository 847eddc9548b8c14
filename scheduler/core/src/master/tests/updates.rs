//! Status updates: forwarded at once, committed in batches, acknowledged in order.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::tepui::agent_link::{Call, call};
use tepui_proto::v1::scheduler::event;
use tepui_proto::v1::{self, TaskState};

use super::{launched, running};
use crate::registry::{Operation, decode_envelope};
use crate::testing::{Harness, uuid};

fn observes(harness: &Harness) -> usize {
    let entries = harness.log.iter().map(|bytes| decode_envelope(bytes.clone()).unwrap());
    entries.filter(|entry| matches!(entry.operation, Some(Operation::Observe(_)))).count()
}

#[test]
fn updates_are_forwarded_at_once_and_committed_together() {
    let mut harness = Harness::new();
    let (mut agent, peer) = launched(&mut harness);
    harness.take_launch(&mut agent);
    let before = observes(&harness);
    harness.report(&mut agent, "t", TaskState::TaskStarting, uuid(1));
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(2));
    let told = harness.updates(&peer);
    let expected = [("t".to_owned(), TaskState::TaskStarting), ("t".to_owned(), TaskState::TaskRunning)];
    assert_eq!(told, expected);
    assert_eq!(observes(&harness), before, "nothing committed yet");
    assert_eq!(harness.registry.tasks.values().next().unwrap().state(), TaskState::TaskStaging);
    harness.advance(100);
    assert_eq!(observes(&harness), before + 1, "one entry for both");
    let record = harness.registry.tasks.values().next().unwrap().clone();
    assert_eq!(record.state(), TaskState::TaskRunning);
    assert_eq!(record.task.as_ref().unwrap().statuses.len(), 2);
    assert_eq!(record.info, None, "the agent has it, so the log need not keep it");
}

#[test]
fn a_repeated_update_is_forwarded_but_not_committed_again() {
    let (mut harness, mut agent, peer) = running();
    let before = harness.log.len();
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    assert_eq!(harness.updates(&peer).len(), 1);
    harness.advance(500);
    assert_eq!(harness.log.len(), before);
}

#[test]
fn the_end_is_acknowledged_to_the_agent_only_when_it_is_committed() {
    let (mut harness, mut agent, peer) = running();
    harness.hold();
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.update(&peer);
    assert_eq!(harness.acknowledge(&peer, &status), 202);
    harness.advance(500);
    assert_eq!(harness.orders(&agent), [], "the agent must keep the task");
    harness.commit();
    harness.advance(200);
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge]);
    assert!(harness.registry.tasks.is_empty());
    let history = harness.registry.history.get(&peer.id).unwrap();
    assert_eq!(history.last().unwrap().state(), TaskState::TaskFinished);
}

#[test]
fn a_committed_end_is_acknowledged_at_once() {
    let (mut harness, mut agent, peer) = running();
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.update(&peer);
    harness.advance(200);
    harness.orders(&agent);
    harness.acknowledge(&peer, &status);
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge]);
    assert_eq!(harness.registry.tasks.len(), 1, "active until the acknowledgement is committed");
    harness.advance(200);
    assert!(harness.registry.tasks.is_empty());
}

#[test]
fn other_updates_are_acknowledged_at_once() {
    let mut harness = Harness::new();
    let (mut agent, peer) = launched(&mut harness);
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    let status = harness.update(&peer);
    harness.acknowledge(&peer, &status);
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge]);
}

/// As Mesos does: which of its updates is still open, the agent knows best.
#[test]
fn an_acknowledgement_of_an_earlier_update_reaches_the_agent() {
    let (mut harness, mut agent, peer) = running();
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    let earlier = harness.update(&peer);
    harness.report(&mut agent, "t", TaskState::TaskKilling, uuid(2));
    let last = harness.update(&peer);
    for status in [&earlier, &last] {
        harness.acknowledge(&peer, status);
        let orders = harness.orders(&agent);
        assert_eq!(orders.len(), 1);
        assert_eq!(orders[0].acknowledge.as_ref().unwrap().uuid, status.uuid);
    }
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(3));
    harness.events(&peer);
    harness.acknowledge(&peer, &earlier);
    harness.advance(500);
    assert_eq!(harness.registry.tasks.len(), 1, "the end is not acknowledged");
}

/// Without a status of which the framework was told, there is nothing that it could acknowledge.
#[test]
fn an_acknowledgement_before_any_update_is_dropped() {
    let mut harness = Harness::new();
    let (mut agent, peer) = launched(&mut harness);
    harness.take_launch(&mut agent);
    let status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        agent_id: Some(agent.id.to_proto()),
        uuid: Some(uuid(1)),
        ..Default::default()
    };
    assert_eq!(harness.acknowledge(&peer, &status), 202);
    harness.advance(500);
    assert_eq!(harness.orders(&agent), []);
    // Of a task that nobody knows the agent may say what it likes.
    let unknown = v1::TaskId { value: Some("u".to_owned()) };
    harness.acknowledge(&peer, &v1::TaskStatus { task_id: Some(unknown), ..status });
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge]);
}

#[test]
fn an_acknowledgement_for_an_absent_agent_is_dropped() {
    let (mut harness, mut agent, peer) = running();
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.update(&peer);
    harness.break_stream(agent.connection);
    harness.acknowledge(&peer, &status);
    harness.advance(500);
    assert_eq!(harness.registry.tasks.len(), 1, "the agent will repeat the update");
    harness.register(&mut agent);
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.events(&peer).into_iter().find_map(|event| event.update).unwrap().status.unwrap();
    harness.acknowledge(&peer, &status);
    harness.advance(500);
    assert!(harness.registry.tasks.is_empty());
}

/// The framework heard of the end from a leader that died before anything of it was committed.
#[test]
fn the_end_that_an_earlier_leader_forwarded_is_not_forgotten_by_its_agent() {
    let (mut harness, mut agent, peer) = running();
    harness.hold();
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.update(&peer);
    harness.held = false;
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.register(&mut agent);
    harness.orders(&agent);
    assert_eq!(harness.acknowledge(&peer, &status), 202);
    harness.advance(500);
    assert_eq!(harness.order_types(&agent), [], "the agent must keep the task");
    // It repeats the update, and so everybody comes to know.
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.update(&peer);
    harness.acknowledge(&peer, &status);
    harness.advance(500);
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge]);
    let history = harness.registry.history.get(&peer.id).unwrap();
    assert_eq!(history.last().unwrap().state(), TaskState::TaskFinished);
}

#[test]
fn a_newer_state_than_the_update_frees_the_resources() {
    let (mut harness, mut agent, peer) = running();
    let framework = agent.tasks[0].framework_id.clone();
    let status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        state: Some(TaskState::TaskKilling as i32),
        uuid: Some(uuid(2)),
        ..Default::default()
    };
    harness.report_status(&agent, framework, status, TaskState::TaskKilled);
    assert_eq!(harness.updates(&peer), [("t".to_owned(), TaskState::TaskKilling)]);
    harness.advance(200);
    assert!(harness.registry.charges.is_empty());
    let record = harness.registry.tasks.values().next().unwrap().clone();
    assert_eq!(record.state(), TaskState::TaskKilled);
    assert_eq!(record.task.as_ref().unwrap().status_update_state(), TaskState::TaskKilling);
    harness.report(&mut agent, "t", TaskState::TaskKilled, uuid(3));
    let last = harness.update(&peer);
    harness.acknowledge(&peer, &last);
    harness.advance(200);
    assert!(harness.registry.tasks.is_empty());
}

#[test]
fn a_repeated_update_with_a_newer_state_frees_the_resources() {
    let (mut harness, agent, peer) = running();
    let framework = agent.tasks[0].framework_id.clone();
    let status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        state: Some(TaskState::TaskRunning as i32),
        uuid: Some(uuid(2)),
        ..Default::default()
    };
    harness.report_status(&agent, framework.clone(), status.clone(), TaskState::TaskRunning);
    harness.advance(200);
    assert!(!harness.registry.charges.is_empty());
    harness.report_status(&agent, framework.clone(), status.clone(), TaskState::TaskFinished);
    harness.advance(200);
    assert!(
        harness.registry.charges.is_empty(),
        "the framework's silence must not keep resources from others"
    );
    assert_eq!(harness.updates(&peer).len(), 2);
    let before = harness.log.len();
    harness.report_status(&agent, framework, status, TaskState::TaskFinished);
    harness.advance(500);
    assert_eq!(harness.log.len(), before, "nothing is new any more");
}

#[test]
fn an_end_is_final() {
    let (mut harness, mut agent, _) = running();
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    harness.advance(200);
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(3));
    harness.advance(200);
    assert_eq!(harness.registry.tasks.values().next().unwrap().state(), TaskState::TaskFinished);
    assert!(harness.registry.charges.is_empty());
}

#[test]
fn data_is_forwarded_and_not_kept() {
    let (mut harness, agent, peer) = running();
    let framework = agent.tasks[0].framework_id.clone();
    let status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        state: Some(TaskState::TaskRunning as i32),
        data: Some("secret".into()),
        uuid: Some(uuid(2)),
        ..Default::default()
    };
    harness.report_status(&agent, framework, status, TaskState::TaskRunning);
    assert_eq!(harness.update(&peer).data.unwrap(), "secret");
    harness.advance(200);
    assert!(harness.log.iter().all(|entry| !entry.windows(6).any(|window| window == b"secret")));
}

#[test]
fn updates_for_a_framework_that_is_away_are_remembered() {
    let (mut harness, mut agent, peer) = running();
    harness.break_stream(peer.connection);
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    harness.advance(200);
    let peer = harness.resubscribe(&peer);
    harness.reconcile(&peer, &[]);
    assert_eq!(harness.updates(&peer), [("t".to_owned(), TaskState::TaskFinished)]);
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    assert_eq!(harness.updates(&peer).len(), 1, "the agent repeats what nobody acknowledged");
}

#[test]
fn a_lost_batch_is_reported_again() {
    let (mut harness, mut agent, peer) = running();
    harness.hold();
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.update(&peer);
    harness.acknowledge(&peer, &status);
    harness.advance(150);
    for unknown in [false, true] {
        harness.lose(unknown);
        harness.hold();
        harness.advance(150);
    }
    assert_eq!(harness.orders(&agent), []);
    harness.commit();
    assert!(harness.registry.tasks.is_empty());
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge]);
}

#[test]
fn messages_and_exits_reach_the_other_side() {
    let (mut harness, agent, peer) = running();
    let executor = Some(v1::ExecutorId { value: Some("e".to_owned()) });
    let framework_id = Some(peer.id.to_proto());
    let exited = call::ExecutorExited {
        framework_id: framework_id.clone(),
        executor_id: executor.clone(),
        status: Some(9),
    };
    harness.agent_call(
        &agent,
        Call {
            r#type: Some(call::Type::ExecutorExited as i32),
            executor_exited: Some(exited),
            ..Default::default()
        },
    );
    let failure = harness.event(&peer).failure.unwrap();
    assert_eq!((failure.status, failure.executor_id.clone()), (Some(9), executor.clone()));
    let message = call::Message { framework_id, executor_id: executor.clone(), data: Some("up".into()) };
    harness.agent_call(
        &agent,
        Call { r#type: Some(call::Type::Message as i32), message: Some(message), ..Default::default() },
    );
    let event = harness.event(&peer);
    assert_eq!(event.r#type(), event::Type::Message);
    assert_eq!(event.message.unwrap().data.unwrap(), "up");

    use tepui_proto::v1::scheduler::{Call as Scheduler, call as scheduler};
    let agent_id = Some(agent.id.to_proto());
    let down = scheduler::Message {
        agent_id: agent_id.clone(),
        executor_id: executor.clone(),
        data: Some("down".into()),
    };
    harness.call(
        &peer,
        Scheduler {
            r#type: Some(scheduler::Type::Message as i32),
            message: Some(down),
            ..Default::default()
        },
    );
    assert_eq!(harness.order(&agent).message.unwrap().data.unwrap(), "down");
    harness.call(
        &peer,
        Scheduler {
            r#type: Some(scheduler::Type::Shutdown as i32),
            shutdown: Some(scheduler::Shutdown { executor_id: executor, agent_id }),
            ..Default::default()
        },
    );
    assert_eq!(harness.order_types(&agent), [Order::ShutdownExecutor]);
}
