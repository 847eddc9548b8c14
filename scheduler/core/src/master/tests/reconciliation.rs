//! RECONCILE: what is known, what can be said of the unknown, and when to say nothing.

use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::task_status::{Reason, Source};
use tepui_proto::v1::{self, TaskState};

use super::{launched, running};
use crate::testing::{FrameworkPeer, Harness, framework_info, uuid};

fn aware(harness: &mut Harness) -> FrameworkPeer {
    let mut info = framework_info("aware");
    info.capabilities = vec![Capability { r#type: Some(capability::Type::PartitionAware as i32) }];
    harness.framework_with(info)
}

#[test]
fn all_active_tasks_are_told() {
    let (mut harness, _, peer) = running();
    harness.reconcile(&peer, &[]);
    let status = harness.update(&peer);
    assert_eq!(status.state(), TaskState::TaskRunning);
    assert_eq!(status.reason(), Reason::Reconciliation);
    assert_eq!(status.source(), Source::Master);
    assert_eq!(status.uuid, None);
    assert!(harness.events(&peer).is_empty());
}

#[test]
fn the_answer_is_what_was_told_last_not_what_is_newest() {
    let (mut harness, agent, peer) = running();
    let framework = agent.tasks[0].framework_id.clone();
    let status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        state: Some(TaskState::TaskKilling as i32),
        uuid: Some(uuid(2)),
        ..Default::default()
    };
    harness.report_status(&agent, framework, status, TaskState::TaskKilled);
    harness.events(&peer);
    for _ in 0..2 {
        harness.reconcile(&peer, &[("t", None)]);
        assert_eq!(harness.update(&peer).state(), TaskState::TaskKilling);
        harness.advance(200);
    }
}

#[test]
fn a_launch_that_was_not_heard_of_is_staging() {
    let mut harness = Harness::new();
    let (_, peer) = launched(&mut harness);
    harness.reconcile(&peer, &[]);
    assert_eq!(harness.update(&peer).state(), TaskState::TaskStaging);
}

#[test]
fn the_table_of_unknown_tasks() {
    let mut harness = Harness::new();
    let here = harness.agent("cpus:1;mem:64");
    let lost = harness.agent("cpus:1;mem:64");
    let gone = harness.agent("cpus:1;mem:64");
    let (plain, aware) = (harness.framework("plain"), aware(&mut harness));
    harness.agent_call(
        &gone,
        tepui_proto::tepui::agent_link::Call {
            r#type: Some(tepui_proto::tepui::agent_link::call::Type::Unregister as i32),
            ..Default::default()
        },
    );
    harness.break_stream(lost.connection);
    harness.advance(26_000);
    for peer in [&plain, &aware] {
        harness.events(peer);
    }
    let cases = [
        (Some(here.id.as_str()), TaskState::TaskGone),
        (Some(lost.id.as_str()), TaskState::TaskUnreachable),
        (Some(gone.id.as_str()), TaskState::TaskGoneByOperator),
        (Some("never-seen"), TaskState::TaskUnknown),
        (None, TaskState::TaskUnknown),
    ];
    for (agent, expected) in cases {
        harness.reconcile(&aware, &[("x", agent)]);
        let status = harness.update(&aware);
        assert_eq!(status.state(), expected, "{agent:?}");
        let unreachable = expected == TaskState::TaskUnreachable;
        assert_eq!(status.unreachable_time.is_some(), unreachable, "{agent:?}");
        harness.reconcile(&plain, &[("x", agent)]);
        let status = harness.update(&plain);
        assert_eq!(status.state(), TaskState::TaskLost, "{agent:?}");
        assert_eq!(status.unreachable_time.is_some(), unreachable, "{agent:?}");
    }
}

#[test]
fn nothing_is_said_while_an_agent_may_still_come_back() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:1;mem:64");
    let peer = harness.framework("f");
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.reconcile(&peer, &[("x", Some(agent.id.as_str())), ("x", None)]);
    assert_eq!(harness.events(&peer), []);
    harness.register(&mut agent);
    harness.advance(20);
    harness.events(&peer);
    harness.reconcile(&peer, &[("x", Some(agent.id.as_str())), ("x", None)]);
    assert_eq!(harness.updates(&peer).len(), 2);
}

#[test]
fn a_known_task_is_answered_even_while_its_agent_is_away() {
    let (mut harness, _, peer) = running();
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.reconcile(&peer, &[("t", None)]);
    assert_eq!(harness.update(&peer).state(), TaskState::TaskRunning);
}

#[test]
fn operations_are_unknown() {
    use tepui_proto::v1::scheduler::{Call, call};
    let mut harness = Harness::new();
    let peer = harness.framework("f");
    let operation = call::reconcile_operations::Operation {
        operation_id: Some(v1::OperationId { value: Some("op".to_owned()) }),
        ..Default::default()
    };
    harness.call(
        &peer,
        Call {
            r#type: Some(call::Type::ReconcileOperations as i32),
            reconcile_operations: Some(call::ReconcileOperations { operations: vec![operation] }),
            ..Default::default()
        },
    );
    let status = harness.event(&peer).update_operation_status.unwrap().status.unwrap();
    assert_eq!(status.state(), v1::OperationState::OperationUnknown);
}
