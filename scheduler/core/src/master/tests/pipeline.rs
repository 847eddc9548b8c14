//! Proposals in flight: many at once, in order.

use crate::registry::{Operation, decode_envelope};
use crate::testing::{Harness, task, uuid};
use tepui_proto::v1::TaskState;

#[test]
fn proposals_do_not_wait_for_each_other() {
    let mut harness = Harness::new();
    for _ in 0..3 {
        harness.agent("cpus:1;mem:64");
    }
    let peer = harness.framework("f");
    let offers = harness.offers(&peer);
    harness.hold();
    for (number, offer) in offers.iter().enumerate() {
        harness.accept(&peer, &[offer], vec![task(&format!("t{number}"), "cpus:1;mem:64")]);
    }
    assert_eq!(harness.queue.len(), 3);
    let numbers: Vec<_> = harness.queue.iter().map(|(proposal, _)| *proposal).collect();
    assert!(numbers.is_sorted());
    harness.commit();
    assert_eq!(harness.registry.tasks.len(), 3);
}

#[test]
fn a_log_that_fails_at_once_is_not_flooded() {
    let (mut harness, mut agent, peer) = super::running();
    let mut other = harness.agent("cpus:1;mem:64");
    let mut info = crate::testing::framework_info("volatile");
    info.failover_timeout = None;
    let volatile = harness.framework_with(info);
    harness.hold();
    for connection in [agent.connection, peer.connection, volatile.connection] {
        harness.break_stream(connection);
    }
    use tepui_proto::tepui::agent_link::{Call, call};
    let farewell = Call { r#type: Some(call::Type::Unregister as i32), ..Default::default() };
    harness.agent_call(&other, farewell);
    assert_eq!(harness.queue.len(), 4);
    for _ in 0..3 {
        harness.fail(false);
        assert!(harness.queue.is_empty(), "nothing is proposed again at once: {:?}", harness.queue);
        harness.advance(1_000);
        assert!(!harness.queue.is_empty(), "but it is not forgotten either");
    }
    harness.commit();
    harness.advance(1_000);
    assert!(harness.registry.is_gone(&other.id));
    assert!(harness.registry.completed(&volatile.id).is_some());
    let away = harness.registry.frameworks.get(&peer.id).unwrap();
    assert!(!harness.registry.framework_connected(away));
    harness.register(&mut agent);
    harness.send_register(&mut other);
}

#[test]
fn the_log_order_is_what_the_leader_saw() {
    let (mut harness, mut agent, peer) = super::running();
    let before = harness.log.len();
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    harness.bare(&peer, tepui_proto::v1::scheduler::call::Type::Teardown);
    let kinds: Vec<_> = harness.log[before..]
        .iter()
        .map(|bytes| decode_envelope(bytes.clone()).unwrap().operation.unwrap())
        .collect();
    assert!(matches!(kinds[0], Operation::Observe(_)), "{kinds:?}");
    assert!(matches!(kinds[1], Operation::RemoveFramework(_)), "{kinds:?}");
    let history = harness.registry.history.get(&peer.id).unwrap();
    assert_eq!(history.last().unwrap().state(), TaskState::TaskFinished, "it had finished before");
}
