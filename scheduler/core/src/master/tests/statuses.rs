//! What a status says that the masters make themselves: source, agent and executor, no uuid, and how the task was last known to be.

use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::task_status::{Reason, Source};
use tepui_proto::v1::{self, TaskState};

use crate::testing::{AgentPeer, FrameworkPeer, Harness, executor_task, framework_info, launch, uuid};

fn aware(harness: &mut Harness) -> FrameworkPeer {
    let capability = Capability { r#type: Some(capability::Type::PartitionAware as i32) };
    harness.framework_with(v1::FrameworkInfo { capabilities: vec![capability], ..framework_info("aware") })
}

/// A task of executor `e`.
fn of_executor(id: &str, agent: &AgentPeer) -> v1::TaskInfo {
    let info = executor_task(id, "cpus:1;mem:64", "e", "cpus:1;mem:32");
    v1::TaskInfo { agent_id: Some(agent.id.to_proto()), ..info }
}

/// An agent on which `t` runs in executor `e` and is known to be healthy. Everything told is taken, the rest of the offer refused.
fn running(harness: &mut Harness) -> (AgentPeer, FrameworkPeer) {
    let mut agent = harness.agent("cpus:4;mem:1024");
    let peer = aware(harness);
    let offer = harness.offer(&peer);
    harness.accept_with(&peer, &[&offer], vec![launch(vec![of_executor("t", &agent)])], Some(1e9));
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    let status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        state: Some(TaskState::TaskRunning as i32),
        healthy: Some(true),
        check_status: Some(v1::CheckStatusInfo::default()),
        container_status: Some(v1::ContainerStatus { executor_pid: Some(7), ..Default::default() }),
        uuid: Some(uuid(2)),
        ..Default::default()
    };
    let told = &mut agent.tasks[0];
    told.unacknowledged = None;
    told.latest_status = Some(status.clone());
    harness.report_status(&agent, Some(peer.id.to_proto()), status, TaskState::TaskRunning);
    harness.advance(200);
    harness.events(&peer);
    (agent, peer)
}

fn by_master(status: &v1::TaskStatus, state: TaskState, reason: Reason) {
    assert_eq!((status.state(), status.reason()), (state, reason), "{status:?}");
    assert_eq!(status.source(), Source::Master, "{status:?}");
    assert_eq!(status.executor_id.as_ref().map(v1::ExecutorId::value), Some("e"), "{status:?}");
    assert!(status.agent_id.is_some() && status.timestamp.is_some() && status.uuid.is_none(), "{status:?}");
}

#[test]
fn a_refused_task_names_its_own_executor() {
    let mut harness = Harness::new();
    let (agent, peer) = running(&mut harness);
    harness.bare(&peer, v1::scheduler::call::Type::Revive);
    let offer = harness.offer(&peer);
    let mut again = of_executor("t", &agent);
    again.executor.as_mut().unwrap().executor_id = Some(v1::ExecutorId { value: Some("other".to_owned()) });
    harness.accept_with(&peer, &[&offer], vec![launch(vec![again])], Some(0.0));
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskError, Reason::TaskInvalid));
    assert_eq!(status.executor_id.unwrap().value(), "other");
    // The offer is used up.
    harness.accept_with(&peer, &[&offer], vec![launch(vec![of_executor("u", &agent)])], Some(0.0));
    by_master(&harness.update(&peer), TaskState::TaskDropped, Reason::InvalidOffers);
}

#[test]
fn a_launch_that_comes_too_late_names_its_executor() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024");
    let peer = aware(&mut harness);
    let offer = harness.offer(&peer);
    harness.hold();
    harness.accept_with(&peer, &[&offer], vec![launch(vec![of_executor("t", &agent)])], Some(0.0));
    harness.reconcile(&peer, &[("t", None)]);
    by_master(&harness.update(&peer), TaskState::TaskStaging, Reason::Reconciliation);
    harness.break_stream(agent.connection);
    // The agent's absence is written before the launch.
    harness.queue.rotate_left(1);
    harness.commit();
    by_master(&harness.statuses(&peer).remove(0), TaskState::TaskDropped, Reason::AgentDisconnected);
}

#[test]
fn a_kill_of_an_unreachable_task_is_answered_and_carried_out_when_its_agent_is_back() {
    let mut harness = Harness::new();
    let (mut agent, peer) = running(&mut harness);
    harness.break_stream(agent.connection);
    harness.advance(26_000);
    let told: Vec<_> = harness.events(&peer).into_iter().filter_map(|event| event.update).collect();
    by_master(told[0].status.as_ref().unwrap(), TaskState::TaskUnreachable, Reason::AgentRemoved);

    assert_eq!(harness.kill(&peer, "t"), 202);
    let status = harness.update(&peer);
    by_master(&status, TaskState::TaskUnreachable, Reason::Reconciliation);
    assert!(status.unreachable_time.is_some(), "{status:?}");

    harness.register(&mut agent);
    use tepui_proto::tepui::agent_link::event::Type as Order;
    assert_eq!(harness.order_types(&agent), [Order::KillTask]);
    // The framework hears that it is back, and how it was.
    let status = harness.update(&peer);
    by_master(&status, TaskState::TaskRunning, Reason::AgentReregistered);
    assert_eq!(status.healthy, Some(true), "{status:?}");
    assert!(status.check_status.is_some() && status.container_status.is_some(), "{status:?}");
}

#[test]
fn reconciliation_tells_how_the_task_was() {
    let mut harness = Harness::new();
    let (_agent, peer) = running(&mut harness);
    harness.reconcile(&peer, &[]);
    let status = harness.update(&peer);
    by_master(&status, TaskState::TaskRunning, Reason::Reconciliation);
    assert_eq!(status.healthy, Some(true), "{status:?}");
    assert!(status.check_status.is_some() && status.container_status.is_some(), "{status:?}");
}

#[test]
fn an_agent_that_left_for_good_takes_the_executor_along() {
    let mut harness = Harness::new();
    let (agent, peer) = running(&mut harness);
    harness.agent_call(
        &agent,
        tepui_proto::tepui::agent_link::Call {
            r#type: Some(tepui_proto::tepui::agent_link::call::Type::Unregister as i32),
            ..Default::default()
        },
    );
    let told: Vec<_> = harness.events(&peer).into_iter().filter_map(|event| event.update).collect();
    by_master(told[0].status.as_ref().unwrap(), TaskState::TaskGone, Reason::AgentRemoved);
}
