//! KILL: before the commit, while running, while the agent is away.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::v1::scheduler::{Call, call};
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{self, TaskState};

use super::{launched, running};
use crate::testing::{Harness, task};

#[test]
fn a_running_task_is_killed_at_once_and_marked() {
    let (mut harness, agent, peer) = running();
    assert_eq!(harness.kill(&peer, "t"), 202);
    let order = harness.order(&agent);
    assert_eq!(order.r#type(), Order::KillTask);
    assert_eq!(order.kill_task.unwrap().task_id.unwrap().value(), "t");
    assert!(harness.registry.tasks.values().next().unwrap().kill.is_some());
    harness.kill(&peer, "t");
    assert_eq!(harness.order_types(&agent), [Order::KillTask], "sent again each time");
}

#[test]
fn a_kill_for_another_agent_is_ignored() {
    let (mut harness, agent, peer) = running();
    let kill = call::Kill {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        agent_id: Some(v1::AgentId { value: Some("other".to_owned()) }),
        kill_policy: None,
    };
    let call = Call { r#type: Some(call::Type::Kill as i32), kill: Some(kill), ..Default::default() };
    assert_eq!(harness.call(&peer, call), 202);
    assert_eq!(harness.orders(&agent), []);
    assert_eq!(harness.events(&peer), []);
}

#[test]
fn a_kill_before_the_commit_means_never_sent() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.hold();
    harness.accept(&peer, &[&offer], vec![task("t", "cpus:1;mem:64"), task("u", "cpus:1;mem:64")]);
    harness.kill(&peer, "t");
    harness.commit();
    let orders = harness.orders(&agent);
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert_eq!(orders[0].run_task.as_ref().unwrap().task.as_ref().unwrap().name(), "u");
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskKilled, Reason::TaskKilledDuringLaunch));
    harness.advance(200);
    assert_eq!(harness.registry.tasks.len(), 1);
    assert_eq!(harness.registry.history.get(&peer.id).unwrap().len(), 1);
}

#[test]
fn a_kill_of_an_unknown_task_is_a_reconciliation() {
    let (mut harness, _, peer) = running();
    harness.kill(&peer, "nobody");
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::Reconciliation));
}

#[test]
fn a_kill_while_the_agent_is_away_is_told_when_it_is_back() {
    let (mut harness, mut agent, peer) = running();
    harness.break_stream(agent.connection);
    harness.kill(&peer, "t");
    harness.register(&mut agent);
    assert_eq!(harness.order_types(&agent), [Order::KillTask]);
}

#[test]
fn a_kill_of_a_launch_that_never_arrived_ends_it_without_the_agent() {
    let mut harness = Harness::new();
    let (mut agent, peer) = launched(&mut harness);
    // The launch was sent, but the stream broke before the agent had it.
    harness.break_stream(agent.connection);
    harness.kill(&peer, "t");
    harness.register(&mut agent);
    assert_eq!(harness.orders(&agent), []);
    assert_eq!(harness.updates(&peer), [("t".to_owned(), TaskState::TaskKilled)]);
    harness.advance(200);
    assert!(harness.registry.tasks.is_empty() && harness.registry.charges.is_empty());
}

#[test]
fn a_marker_survives_the_leader() {
    let (mut harness, mut agent, peer) = running();
    harness.kill(&peer, "t");
    harness.elect();
    harness.register(&mut agent);
    assert_eq!(harness.order_types(&agent), [Order::KillTask]);
}
