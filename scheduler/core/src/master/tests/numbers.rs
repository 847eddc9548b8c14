//! What metrics are told of allocation, refusals and operations.

use tepui_proto::v1::offer::operation::Type;
use tepui_proto::v1::scheduler::call;

use crate::master::OperationNumbers;
use crate::testing::{Harness, create, launch, reserve, reserved, resources, task, unreserve, volume};

#[test]
fn runs_of_the_allocator_are_counted_with_how_long_they_waited() {
    let mut harness = Harness::new();
    let before = harness.master.allocation();
    assert_eq!((before.runs, before.waiting), (0, 0));
    harness.framework("f");
    harness.agent("cpus:4");
    assert_eq!(harness.master.allocation().waiting, 1, "the agent waits for the run");
    harness.advance(100);
    let after = harness.master.allocation();
    assert!(after.runs >= 1 && after.slices >= after.runs, "{after:?}");
    assert_eq!(after.latency_ms, harness.config.allocation_delay_ms);
    assert_eq!(after.waiting, 0);
    harness.advance(10_000);
    assert_eq!(harness.master.allocation().runs, after.runs, "nothing to do, nothing done");
}

#[test]
fn refusals_are_counted_by_role_while_they_live() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:64");
    harness.agent("cpus:4;mem:64");
    let peer = harness.framework("f");
    let filters = |harness: &Harness| harness.master.local_view().numbers.filters.get("*").copied();
    assert_eq!(filters(&harness), None);
    for (offer, seconds) in harness.offers(&peer).into_iter().zip([5.0, 1e6]) {
        harness.decline(&peer, &offer, seconds);
    }
    assert_eq!(filters(&harness), Some(2));
    harness.advance(10_000);
    assert_eq!(filters(&harness), Some(1), "one is over");
    harness.bare(&peer, call::Type::Revive);
    assert_eq!(filters(&harness), None, "REVIVE ends all");
}

#[test]
fn operations_are_counted_by_type_and_by_what_became_of_them() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;disk:100");
    let mut info = crate::testing::framework_info("f");
    info.role = Some("web".to_owned());
    let peer = harness.framework_with(info);
    let of = |harness: &Harness, kind: Type| {
        harness.master.local_view().numbers.operations.get(&(kind as i32)).copied().unwrap_or_default()
    };
    let offer = harness.offer(&peer);
    harness.hold();
    let operations = vec![
        reserve(reserved("cpus:1", &["web"])),
        // More than there is, and no operation at all.
        reserve(reserved("cpus:100", &["web"])),
        create(resources("disk:1")),
    ];
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    assert_eq!(
        of(&harness, Type::Reserve),
        OperationNumbers { total: 2, pending: 1, error: 1, ..Default::default() }
    );
    harness.commit();
    harness.take_resources(&mut agent);
    assert_eq!(
        of(&harness, Type::Reserve),
        OperationNumbers { total: 2, finished: 1, error: 1, ..Default::default() }
    );
    assert_eq!(of(&harness, Type::Create), OperationNumbers { total: 1, error: 1, ..Default::default() });
    // What is not committed is dropped.
    let offer = harness.offer(&peer);
    harness.hold();
    let mut one = task("t", "cpus:1");
    one.agent_id = offer.agent_id.clone();
    harness.accept_with(
        &peer,
        &[&offer],
        vec![unreserve(reserved("cpus:1", &["web"])), launch(vec![one])],
        None,
    );
    harness.lose(false);
    let dropped = OperationNumbers { total: 1, dropped: 1, ..Default::default() };
    assert_eq!(of(&harness, Type::Unreserve), dropped);
    // A call with a stale offer fails as a whole.
    harness.accept_with(&peer, &[&offer], vec![create(vec![volume(1, "web", "v")])], None);
    assert_eq!(of(&harness, Type::Create), OperationNumbers { total: 2, error: 2, ..Default::default() });
    harness.elect();
    assert_eq!(of(&harness, Type::Reserve), OperationNumbers::default(), "of one leadership");
}
