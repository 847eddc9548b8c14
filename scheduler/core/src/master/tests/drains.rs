//! Agents that operators empty, deactivate and mark gone.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::scheduler::event;
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{self, TaskState};

use super::running;
use crate::ids::AgentId;
use crate::master::{FleetCall, Input, OperatorCall, Reply};
use crate::testing::{AgentPeer, FrameworkPeer, Harness, framework_info, launch, task, uuid};

/// Makes a call; returns its status.
pub(super) fn order(harness: &mut Harness, call: FleetCall) -> u16 {
    match harness.operator(OperatorCall::Fleet(call), None) {
        Some(Reply::Ok) => 200,
        Some(Reply::Rejected { status, .. }) => status,
        other => panic!("no plain reply: {other:?}"),
    }
}

fn drain(harness: &mut Harness, agent: &AgentPeer, max_grace_ms: Option<u64>, mark_gone: bool) -> u16 {
    order(harness, FleetCall::Drain { agent: agent.id.clone(), max_grace_ms, mark_gone })
}

fn reactivate(harness: &mut Harness, agent: &AgentPeer) -> u16 {
    order(harness, FleetCall::Reactivate(agent.id.clone()))
}

fn nanoseconds(policy: Option<v1::KillPolicy>) -> Option<i64> {
    policy?.grace_period?.nanoseconds
}

fn aware() -> v1::FrameworkInfo {
    let mut info = framework_info("aware");
    info.capabilities = vec![Capability { r#type: Some(capability::Type::PartitionAware as i32) }];
    info
}

/// Like `running` with a framework that knows of partitions, and a grace of the task's own.
fn aware_running() -> (Harness, AgentPeer, FrameworkPeer) {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework_with(aware());
    let offer = harness.offer(&peer);
    let mut one = task("t", "cpus:1;mem:64");
    one.agent_id = Some(agent.id.to_proto());
    let grace_period = Some(v1::DurationInfo { nanoseconds: Some(60_000_000_000) });
    one.kill_policy = Some(v1::KillPolicy { grace_period });
    harness.accept_with(&peer, &[&offer], vec![launch(vec![one])], Some(1e9));
    harness.take_launch(&mut agent);
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    let status = harness.update(&peer);
    harness.acknowledge(&peer, &status);
    harness.advance(200);
    harness.events(&peer);
    harness.orders(&agent);
    (harness, agent, peer)
}

/// The agent ends its task, and the end is acknowledged.
fn end(harness: &mut Harness, agent: &mut AgentPeer, peer: &FrameworkPeer) -> v1::TaskStatus {
    harness.report(agent, "t", TaskState::TaskKilled, uuid(2));
    let status = harness.update(peer);
    harness.acknowledge(peer, &status);
    harness.advance(200);
    harness.forget(agent, "t");
    status
}

fn record(harness: &Harness, agent: &AgentPeer) -> crate::registry::AgentRecord {
    harness.registry.agents.get(&agent.id).expect("the agent").as_ref().clone()
}

fn drained(harness: &Harness, agent: &AgentPeer) -> bool {
    record(harness, agent).drain.is_some_and(|drain| drain.drained)
}

#[test]
fn a_drained_agent_is_emptied_and_offered_again_when_it_is_reactivated() {
    let (mut harness, mut agent, peer) = running();
    harness.bare(&peer, v1::scheduler::call::Type::Revive);
    let offer = harness.offer(&peer);
    assert_eq!(drain(&mut harness, &agent, None, false), 200);
    let rescinded = harness.events(&peer);
    assert_eq!(rescinded[0].rescind.as_ref().unwrap().offer_id, offer.id);
    let kill = harness.order(&agent);
    assert_eq!(kill.r#type(), Order::KillTask);
    assert_eq!(kill.kill_task.unwrap().kill_policy, None, "its own grace");
    assert_eq!(reactivate(&mut harness, &agent), 400, "still draining");

    harness.report(&mut agent, "t", TaskState::TaskKilled, uuid(2));
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskKilled, Reason::AgentDraining));
    harness.advance(5_000);
    harness.pong(&agent);
    assert!(!drained(&harness, &agent), "the end is not acknowledged");
    harness.acknowledge(&peer, &status);
    harness.advance(200);
    assert!(drained(&harness, &agent));
    assert_eq!(harness.offers(&peer), [], "nothing of it is offered");

    assert_eq!(reactivate(&mut harness, &agent), 200);
    assert_eq!(harness.offers(&peer).len(), 1);
    assert_eq!(reactivate(&mut harness, &agent), 400, "it is active");
}

#[test]
fn no_grace_is_longer_than_the_operator_allows() {
    for (max_ms, expected) in
        [(None, None), (Some(5_000), Some(5_000_000_000)), (Some(90_000), Some(60_000_000_000))]
    {
        let (mut harness, agent, _) = aware_running();
        drain(&mut harness, &agent, max_ms, false);
        let kill = harness.order(&agent).kill_task.unwrap();
        let expected = expected.or(Some(60_000_000_000));
        assert_eq!(nanoseconds(kill.kill_policy), expected, "{max_ms:?}");
        assert_eq!(kill.max_grace_ms, max_ms, "for tasks whose grace only their agent knows");
    }
}

#[test]
fn a_later_drain_shortens_the_grace() {
    let (mut harness, agent, _) = aware_running();
    drain(&mut harness, &agent, None, false);
    harness.orders(&agent);
    assert_eq!(drain(&mut harness, &agent, Some(1_000), false), 200);
    let kill = harness.order(&agent).kill_task.unwrap();
    assert_eq!(nanoseconds(kill.kill_policy), Some(1_000_000_000));
}

#[test]
fn with_mark_gone_tasks_are_gone_by_operator_and_then_the_agent_is() {
    let (mut harness, mut agent, peer) = aware_running();
    drain(&mut harness, &agent, None, true);
    harness.orders(&agent);
    let status = end(&mut harness, &mut agent, &peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskGoneByOperator, Reason::AgentDraining));
    assert!(harness.registry.is_gone(&agent.id));
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge, Order::Shutdown]);
    assert!(harness.is_closed(agent.connection));
    let types: Vec<_> = harness.events(&peer).iter().map(|event| event.r#type()).collect();
    assert_eq!(types, [event::Type::Failure]);
    let history = harness.registry.history.get(&peer.id).unwrap();
    assert_eq!(history.last().unwrap().state(), TaskState::TaskGoneByOperator);
}

#[test]
fn a_launch_on_its_way_is_dropped_with_the_reason() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework_with(aware());
    let offer = harness.offer(&peer);
    harness.hold();
    let request = harness.operator(
        OperatorCall::Fleet(FleetCall::Drain {
            agent: agent.id.clone(),
            max_grace_ms: None,
            mark_gone: false,
        }),
        None,
    );
    assert_eq!(request, None, "the answer waits for the log");
    harness.accept(&peer, &[&offer], vec![task("late", "cpus:1;mem:64")]);
    harness.commit();
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskDropped, Reason::AgentDraining));
    harness.advance(200);
    assert!(drained(&harness, &agent), "nothing was on it");
}

#[test]
fn a_launch_that_an_absent_agent_never_got_is_dropped_when_it_is_back() {
    let mut harness = Harness::new();
    let (mut agent, peer) = super::launched(&mut harness);
    harness.break_stream(agent.connection);
    drain(&mut harness, &agent, None, false);
    harness.events(&peer);
    harness.register(&mut agent);
    assert_eq!(harness.orders(&agent), [], "neither launched nor killed");
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentDraining));
    harness.advance(500);
    assert!(drained(&harness, &agent));
}

#[test]
fn an_absent_agent_is_drained_when_it_is_back() {
    let (mut harness, mut agent, peer) = aware_running();
    harness.break_stream(agent.connection);
    assert_eq!(drain(&mut harness, &agent, Some(7), false), 200);
    harness.advance(30_000);
    assert!(record(&harness, &agent).unreachable_ms.is_some());
    assert!(!drained(&harness, &agent), "nobody knows whether it is empty");
    harness.events(&peer);
    harness.register(&mut agent);
    let kill = harness.order(&agent);
    assert_eq!(nanoseconds(kill.kill_task.unwrap().kill_policy), Some(7_000_000));
    harness.events(&peer);
    end(&mut harness, &mut agent, &peer);
    assert!(drained(&harness, &agent));
}

#[test]
fn a_new_leader_goes_on_draining() {
    let (mut harness, mut agent, peer) = aware_running();
    drain(&mut harness, &agent, Some(7), false);
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.register(&mut agent);
    assert_eq!(harness.order_types(&agent), [Order::KillTask]);
    assert_eq!(harness.offers(&peer), []);
    end(&mut harness, &mut agent, &peer);
    assert!(drained(&harness, &agent));
    harness.elect();
    harness.register(&mut agent);
    assert!(drained(&harness, &agent), "and it stays so");
    assert_eq!(harness.orders(&agent), []);
}

#[test]
fn an_emptiness_that_could_not_be_committed_is_committed_later() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:1;mem:64");
    harness.hold();
    let call = FleetCall::Drain { agent: agent.id.clone(), max_grace_ms: None, mark_gone: false };
    harness.operator(OperatorCall::Fleet(call), None);
    let input = harness.queue.len();
    assert_eq!(input, 1);
    harness.commit();
    assert!(drained(&harness, &agent), "at once");
    // The same with a log that fails.
    assert_eq!(reactivate(&mut harness, &agent), 200);
    drain_but_fail(&mut harness, &agent);
    harness.advance(1_000);
    assert!(drained(&harness, &agent));
}

/// The drain commits, the first word of its end does not.
fn drain_but_fail(harness: &mut Harness, agent: &AgentPeer) {
    let (mut other, peer) = (harness.agent("cpus:1;mem:64"), harness.framework("busy"));
    let offers = harness.offers(&peer);
    let own = offers.iter().find(|offer| offer.agent_id == Some(agent.id.to_proto())).unwrap();
    harness.accept(&peer, &[own], vec![task("t", "cpus:1;mem:64")]);
    let mut busy = agent.clone();
    harness.take_launch(&mut busy);
    drain(harness, agent, None, false);
    harness.report(&mut busy, "t", TaskState::TaskKilled, bytes::Bytes::new());
    harness.hold();
    harness.advance(200);
    harness.fail(false);
    harness.fail(false);
    harness.held = false;
    harness.advance(200);
    harness.pong(&busy);
    harness.pong(&other);
    other.tasks.clear();
}

#[test]
fn a_deactivated_agent_keeps_its_tasks_and_is_not_offered() {
    let (mut harness, mut agent, peer) = running();
    harness.bare(&peer, v1::scheduler::call::Type::Revive);
    harness.offer(&peer);
    assert_eq!(order(&mut harness, FleetCall::Deactivate(agent.id.clone())), 200);
    assert_eq!(order(&mut harness, FleetCall::Deactivate(agent.id.clone())), 200, "twice is as good");
    let types: Vec<_> = harness.events(&peer).iter().map(|event| event.r#type()).collect();
    assert_eq!(types, [event::Type::Rescind]);
    assert_eq!(harness.orders(&agent), []);
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.register(&mut agent);
    assert_eq!(harness.offers(&peer), [], "a new leader knows");
    assert_eq!(reactivate(&mut harness, &agent), 200);
    assert_eq!(harness.offers(&peer).len(), 1);
}

#[test]
fn a_gone_agent_is_told_to_leave_and_never_admitted_again() {
    let (mut harness, mut agent, peer) = aware_running();
    let gone = |agent: &AgentPeer| FleetCall::MarkGone(agent.id.clone());
    assert_eq!(order(&mut harness, FleetCall::MarkGone(AgentId::from("nobody"))), 404);
    assert_eq!(order(&mut harness, gone(&agent)), 200);
    assert_eq!(order(&mut harness, gone(&agent)), 200, "twice is as good");
    let status = harness.events(&peer)[0].update.clone().unwrap().status.unwrap();
    let expected = (TaskState::TaskGoneByOperator, Reason::AgentRemovedByOperator);
    assert_eq!((status.state(), status.reason()), expected);
    assert_eq!(harness.order_types(&agent), [Order::Shutdown]);
    harness.reconcile(&peer, &[("t", Some(agent.id.as_str()))]);
    assert_eq!(harness.update(&peer).state(), TaskState::TaskGoneByOperator);
    for _ in 0..2 {
        harness.send_register(&mut agent);
        assert_eq!(harness.order_types(&agent), [Order::Shutdown]);
        harness.elect();
    }
    let call = FleetCall::Drain { agent: agent.id.clone(), max_grace_ms: None, mark_gone: false };
    assert_eq!(order(&mut harness, call), 400, "there is nothing to drain");
}

#[test]
fn an_agent_in_the_midst_of_a_change_is_not_changed() {
    let (mut harness, mut agent, _) = aware_running();
    harness.hold();
    let gone = || OperatorCall::Fleet(FleetCall::MarkGone(agent.id.clone()));
    assert_eq!(harness.operator(gone(), None), None, "the answer waits for the log");
    let refused = |harness: &mut Harness, call| match harness.operator(call, None) {
        Some(Reply::Rejected { status, .. }) => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&mut harness, gone()), 503);
    let call = FleetCall::Drain { agent: agent.id.clone(), max_grace_ms: None, mark_gone: false };
    assert_eq!(refused(&mut harness, OperatorCall::Fleet(call)), 409);
    harness.lose(false);
    assert!(harness.registry.agents.contains_key(&agent.id));
    harness.break_stream(agent.connection);
    harness.hold();
    harness.send_register(&mut agent);
    assert_eq!(refused(&mut harness, OperatorCall::Fleet(FleetCall::MarkGone(agent.id.clone()))), 503);
}

#[test]
fn a_driver_is_no_worse_for_a_drain() {
    use tepui_proto::tepui::operator::DriverState;
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let spec = crate::testing::driver_spec("d", "cpus:1;mem:64");
    harness.operate(OperatorCall::SubmitDriver(spec), None);
    harness.advance(100);
    let run = harness.take_launch(&mut agent);
    let id = run.task.unwrap().task_id.unwrap();
    harness.report(&mut agent, id.value(), TaskState::TaskRunning, uuid(1));
    harness.advance(200);
    drain(&mut harness, &agent, None, false);
    harness.report(&mut agent, id.value(), TaskState::TaskKilled, uuid(2));
    harness.advance(300);
    let driver = harness.registry.driver("d").unwrap();
    assert_eq!(driver.state(), DriverState::DriverQueued);
    assert!(driver.failed_at_ms.is_empty(), "it costs nothing");
    assert!(drained(&harness, &agent));
    let mut other = harness.agent("cpus:4;mem:1024");
    harness.advance(100);
    harness.take_launch(&mut other);
}

#[test]
fn an_explanation_tells_what_operators_did_from_an_agent_that_is_away() {
    fn why(harness: &mut Harness, peer: &FrameworkPeer) -> String {
        let explained = harness.operate(OperatorCall::ExplainOffers(peer.id.clone()), None);
        let role = &explained.explain_offers.unwrap().roles[0];
        assert_eq!(role.obstacles.len(), 1, "{:?}", role.obstacles);
        role.obstacles[0].reason().to_owned()
    }
    let (mut harness, mut agent, peer) = aware_running();
    assert_eq!(order(&mut harness, FleetCall::Deactivate(agent.id.clone())), 200);
    assert_eq!(why(&mut harness, &peer), "AGENT_DEACTIVATED");
    assert_eq!(reactivate(&mut harness, &agent), 200);
    assert_eq!(drain(&mut harness, &agent, None, false), 200);
    assert_eq!(why(&mut harness, &peer), "AGENT_DRAINING");
    harness.report(&mut agent, "t", TaskState::TaskKilled, uuid(2));
    let status = harness.update(&peer);
    harness.acknowledge(&peer, &status);
    harness.advance(200);
    assert_eq!(why(&mut harness, &peer), "AGENT_DRAINED");
    harness.input(Input::ConnectionClosed { connection: agent.connection });
    assert_eq!(why(&mut harness, &peer), "AGENT_NOT_CONNECTED");
}
