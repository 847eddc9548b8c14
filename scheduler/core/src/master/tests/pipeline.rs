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
