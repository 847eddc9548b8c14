//! Agents: pings, silence, absence, loss, return.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::tepui::agent_link::{Call, call};
use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::scheduler::event;
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{self, TaskState};

use super::running;
use crate::registry::encode_envelope;
use crate::testing::{Harness, framework_info, launch, task, uuid};

#[test]
fn pings_come_every_interval_and_answers_keep_the_agent() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:1;mem:64");
    for _ in 0..20 {
        harness.advance(5_000);
        assert_eq!(harness.order(&agent).r#type(), Order::Ping);
        harness.pong(&agent);
    }
    assert!(!harness.is_closed(agent.connection));
}

#[test]
fn a_silent_agent_is_given_up_after_five_pings() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:1;mem:64");
    let peer = harness.framework("f");
    harness.offer(&peer);
    harness.advance(29_000);
    assert!(!harness.is_closed(agent.connection));
    harness.advance(1_000);
    assert!(harness.is_closed(agent.connection));
    let record = harness.registry.agents.get(&agent.id).unwrap();
    assert!(record.unreachable_ms.is_some());
    let types: Vec<_> = harness.events(&peer).iter().map(|event| event.r#type()).collect();
    assert_eq!(types, [event::Type::Rescind, event::Type::Failure]);
}

#[test]
fn a_broken_stream_rescinds_offers_and_gives_time() {
    let (mut harness, mut agent, peer) = running();
    harness.bare(&peer, v1::scheduler::call::Type::Revive);
    let offer = harness.offer(&peer);
    harness.break_stream(agent.connection);
    let events = harness.events(&peer);
    assert_eq!(events.len(), 1, "no spurious update: {events:?}");
    assert_eq!(events[0].rescind.as_ref().unwrap().offer_id, offer.id);
    harness.advance(24_000);
    assert_eq!(harness.events(&peer), []);
    harness.register(&mut agent);
    assert_eq!(harness.orders(&agent), [], "nothing to settle");
    assert_eq!(harness.offer(&peer).resources, offer.resources);
    let record = harness.registry.tasks.values().next().unwrap();
    assert_eq!(record.state(), TaskState::TaskRunning);
}

#[test]
fn tasks_of_an_unreachable_agent_are_lost_or_unreachable_and_come_back() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let plain = harness.framework("plain");
    let offer = harness.offer(&plain);
    harness.accept(&plain, &[&offer], vec![task("p", "cpus:1;mem:64")]);
    let rest = harness.offer(&plain);
    let mut info = framework_info("aware");
    info.capabilities = vec![Capability { r#type: Some(capability::Type::PartitionAware as i32) }];
    let aware = harness.framework_with(info);
    harness.decline(&plain, &rest, 1000.0);
    let offer = harness.offer(&aware);
    let mut a = task("a", "cpus:1;mem:64");
    a.agent_id = offer.agent_id.clone();
    harness.accept_with(&aware, &[&offer], vec![launch(vec![a])], Some(1000.0));
    for id in ["p", "a"] {
        harness.take_launch(&mut agent);
        harness.report(&mut agent, id, TaskState::TaskRunning, uuid(1));
    }
    harness.events(&plain);
    harness.events(&aware);
    harness.advance(200);

    harness.break_stream(agent.connection);
    harness.advance(26_000);
    let told = harness.events(&plain);
    let status = told[0].update.as_ref().unwrap().status.as_ref().unwrap();
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentRemoved));
    assert!(status.unreachable_time.is_some());
    assert_eq!(told[1].failure.as_ref().unwrap().agent_id, Some(agent.id.to_proto()));
    let told = harness.events(&aware);
    assert_eq!(told[0].update.as_ref().unwrap().status.as_ref().unwrap().state(), TaskState::TaskUnreachable);
    assert!(harness.registry.charges.is_empty());
    harness.reconcile(&aware, &[]);
    assert_eq!(harness.events(&aware), [], "implicit reconciliation names active tasks only");
    harness.reconcile(&aware, &[("a", None)]);
    assert_eq!(harness.update(&aware).state(), TaskState::TaskUnreachable);

    harness.register(&mut agent);
    for (peer, id) in [(&plain, "p"), (&aware, "a")] {
        let status = harness.update(peer);
        assert_eq!(status.task_id.as_ref().unwrap().value(), id);
        assert_eq!((status.state(), status.reason()), (TaskState::TaskRunning, Reason::AgentReregistered));
        assert_eq!(status.uuid, None);
    }
    assert_eq!(harness.registry.charges.len(), 1);
    harness.registry.check_capacity();
    assert_eq!(harness.orders(&agent), []);
}

#[test]
fn an_agent_that_says_farewell_is_gone_for_good() {
    let (mut harness, mut agent, peer) = running();
    let unregister = Call { r#type: Some(call::Type::Unregister as i32), ..Default::default() };
    assert_eq!(harness.agent_call(&agent, unregister), 202);
    assert!(harness.is_closed(agent.connection));
    let events = harness.events(&peer);
    let status = events[0].update.as_ref().unwrap().status.as_ref().unwrap();
    assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentRemoved));
    assert_eq!(events[1].r#type(), event::Type::Failure);
    assert!(harness.registry.tasks.is_empty() && harness.registry.agents.is_empty());
    harness.send_register(&mut agent);
    assert_eq!(harness.order_types(&agent), [Order::Shutdown]);
    assert!(harness.is_closed(agent.connection));
}

#[test]
fn calls_on_an_old_stream_make_the_agent_register_again() {
    let (mut harness, mut agent, _) = running();
    let old = agent.clone();
    harness.register(&mut agent);
    assert!(harness.is_closed(old.connection), "the newer stream wins");
    let pong = Call { r#type: Some(call::Type::Pong as i32), ..Default::default() };
    assert_eq!(harness.agent_call(&old, pong.clone()), 400);
    assert_eq!(harness.agent_call(&agent, pong), 202);
    harness.break_stream(old.connection);
    let record = harness.registry.agents.get(&agent.id).unwrap();
    assert!(harness.registry.agent_connected(record), "the end of the old stream means nothing");
}

#[test]
fn a_return_that_is_committed_after_its_stream_broke_is_told_all_the_same() {
    let (mut harness, mut agent, peer) = running();
    harness.break_stream(agent.connection);
    harness.advance(26_000);
    let told = harness.events(&peer);
    assert_eq!(told.last().unwrap().r#type(), event::Type::Failure);
    harness.hold();
    harness.send_register(&mut agent);
    harness.break_stream(agent.connection);
    harness.commit();
    let told = harness.statuses(&peer);
    let told: Vec<_> = told.iter().map(|status| (status.state(), status.reason())).collect();
    assert_eq!(told, [(TaskState::TaskRunning, Reason::AgentReregistered)]);
    harness.register(&mut agent);
    assert_eq!(harness.statuses(&peer), [], "once is enough");
}

#[test]
fn a_framework_that_only_an_agent_remembers_does_not_stay_for_ever() {
    let (_, mut agent, peer) = running();
    let mut harness = Harness::new();
    harness.register(&mut agent);
    assert!(harness.registry.frameworks.contains_key(&peer.id));
    let timeout_ms = (peer.info.failover_timeout() * 1000.0) as u64;
    for _ in 0..timeout_ms.max(30_000) / 1_000 + 2 {
        harness.advance(1_000);
        harness.pong(&agent);
    }
    assert!(harness.registry.completed(&peer.id).is_some());
}

#[test]
fn large_tasks_do_not_keep_their_agent_from_registering() {
    let (mut harness, mut agent, _peer) = running();
    for told in &mut agent.tasks {
        let info = told.task.as_mut().unwrap();
        info.data = Some(vec![1; 1 << 20].into());
        info.command.get_or_insert_default().value = Some("x".repeat(1 << 20));
    }
    harness.elect();
    harness.hold();
    harness.send_register(&mut agent);
    let longest = harness.queue.iter().map(|(_, envelope)| encode_envelope(envelope).len()).max();
    assert!(longest.unwrap() < 100_000, "{longest:?}");
    harness.commit();
}
