//! Agents that are away, for a while or for good: who hears of it, what is lost, and what is said of operations there.

use tepui_proto::v1::framework_info::{Capability, capability::Type as Can};
use tepui_proto::v1::scheduler::{Call, call, event};
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{self, OperationState, TaskState};

use super::drains::order;
use super::operations::states;
use crate::master::FleetCall;
use crate::testing::{AgentPeer, FrameworkPeer, Harness, executor_task, framework_info, launch, task, uuid};

fn on(agent: &AgentPeer, mut info: v1::TaskInfo) -> v1::TaskInfo {
    info.agent_id = Some(agent.id.to_proto());
    info
}

/// A framework that knows of partitions and of checkpoints as told.
fn framework(harness: &mut Harness, name: &str, checkpoint: bool) -> FrameworkPeer {
    let mut info = framework_info(name);
    info.checkpoint = Some(checkpoint);
    info.capabilities = vec![Capability { r#type: Some(Can::PartitionAware as i32) }];
    harness.framework_with(info)
}

/// Runs one task of this framework on the agent and keeps all else from it.
fn run(harness: &mut Harness, agent: &mut AgentPeer, peer: &FrameworkPeer, info: v1::TaskInfo) {
    let offer = harness.offer(peer);
    let id = info.name().to_owned();
    harness.accept_with(peer, &[&offer], vec![launch(vec![on(agent, info)])], Some(1e9));
    harness.take_launch(agent);
    harness.report(agent, &id, TaskState::TaskRunning, uuid(1));
    harness.advance(200);
    harness.events(peer);
}

#[test]
fn a_broken_connection_costs_a_loose_framework_its_executors_too_however_much_it_knows() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let loose = framework(&mut harness, "loose", false);
    run(&mut harness, &mut agent, &loose, executor_task("l", "cpus:1;mem:64", "e", "cpus:1;mem:32"));
    let firm = framework(&mut harness, "firm", true);
    run(&mut harness, &mut agent, &firm, executor_task("f", "cpus:1;mem:64", "e", "cpus:0.5;mem:32"));
    assert_eq!(harness.registry.executors_on(&agent.id).count(), 2);
    harness.break_stream(agent.connection);
    let status = harness.update(&loose);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentDisconnected));
    assert_eq!((status.uuid.clone(), status.source()), (None, v1::task_status::Source::Master));
    assert_eq!(harness.events(&firm), [], "its tasks go on");
    let left: Vec<_> =
        harness.registry.executors_on(&agent.id).map(|(key, _)| key.framework.clone()).collect();
    assert_eq!(left, std::slice::from_ref(&firm.id));
    let held = harness.registry.charges[&agent.id].total.clone();
    assert_eq!(held.scalar("cpus").to_f64(), 1.5);
}

#[test]
fn everybody_hears_of_an_unreachable_agent_and_nobody_keeps_an_offer_of_it() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024");
    let holder = harness.framework("holder");
    harness.offer(&holder);
    let other = harness.framework("other");
    harness.events(&other);
    // It goes silent, but its connection stays.
    harness.advance(60_000);
    let types = |harness: &mut Harness, peer: &FrameworkPeer| {
        let events = harness.events(peer).into_iter();
        let told: Vec<_> = events.filter(|event| event.r#type() != event::Type::Heartbeat).collect();
        for failure in told.iter().filter_map(|event| event.failure.as_ref()) {
            assert_eq!(failure.agent_id, Some(agent.id.to_proto()));
            assert_eq!((failure.executor_id.clone(), failure.status), (None, None));
        }
        told.iter().map(|event| event.r#type()).collect::<Vec<_>>()
    };
    assert_eq!(types(&mut harness, &holder), [event::Type::Rescind, event::Type::Failure]);
    assert_eq!(types(&mut harness, &other), [event::Type::Failure]);
}

#[test]
fn the_id_of_a_task_that_is_unreachable_is_taken() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let peer = framework(&mut harness, "f", true);
    run(&mut harness, &mut agent, &peer, task("t", "cpus:1;mem:64"));
    harness.break_stream(agent.connection);
    harness.advance(26_000);
    harness.events(&peer);
    let elsewhere = harness.agent("cpus:4;mem:1024");
    let offer = harness.offer(&peer);
    let again = on(&elsewhere, task("t", "cpus:1;mem:64"));
    harness.accept_with(&peer, &[&offer], vec![launch(vec![again])], Some(0.0));
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskError, Reason::TaskInvalid));
    assert!(status.message().contains("in use"), "{status:?}");
    let record = harness.registry.tasks.values().next().unwrap();
    assert!(record.unreachable_wall_ms.is_some(), "the first one is still awaited");
}

/// Asks for one operation, on an agent if one is named.
fn ask(harness: &mut Harness, peer: &FrameworkPeer, agent: Option<&str>) -> OperationState {
    let operation = call::reconcile_operations::Operation {
        operation_id: Some(v1::OperationId { value: Some("unknown".to_owned()) }),
        agent_id: agent.map(|id| v1::AgentId { value: Some(id.to_owned()) }),
        ..Default::default()
    };
    let call = Call {
        r#type: Some(call::Type::ReconcileOperations as i32),
        reconcile_operations: Some(call::ReconcileOperations { operations: vec![operation] }),
        ..Default::default()
    };
    assert_eq!(harness.call(peer, call), 202);
    let told = states(harness, peer);
    assert_eq!(told.len(), 1, "{told:?}");
    told[0].1
}

#[test]
fn an_unknown_operation_is_answered_by_where_its_agent_is() {
    use OperationState::{
        OperationGoneByOperator, OperationRecovering, OperationUnknown, OperationUnreachable,
    };
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let id = agent.id.as_str().to_owned();
    let peer = harness.framework("f");
    harness.events(&peer);
    assert_eq!(ask(&mut harness, &peer, Some(&id)), OperationUnknown);
    assert_eq!(ask(&mut harness, &peer, Some("nobody")), OperationUnknown);
    assert_eq!(ask(&mut harness, &peer, None), OperationUnknown);
    harness.elect();
    let peer = harness.resubscribe(&peer);
    assert_eq!(ask(&mut harness, &peer, Some(&id)), OperationRecovering, "it may still come back");
    assert_eq!(ask(&mut harness, &peer, None), OperationUnknown);
    harness.register(&mut agent);
    assert_eq!(ask(&mut harness, &peer, Some(&id)), OperationUnknown);
    harness.break_stream(agent.connection);
    assert_eq!(ask(&mut harness, &peer, Some(&id)), OperationUnknown, "away is not unreachable yet");
    harness.advance(60_000);
    assert_eq!(ask(&mut harness, &peer, Some(&id)), OperationUnreachable);
    assert_eq!(order(&mut harness, FleetCall::MarkGone(agent.id.clone())), 200);
    assert_eq!(ask(&mut harness, &peer, Some(&id)), OperationGoneByOperator);
}
