//! Offers: made, declined, expired, suppressed, revived.

use tepui_proto::v1;
use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::scheduler::{call, event};

use crate::testing::{Harness, amount_to, framework_info};

#[test]
fn an_offer_says_everything_about_its_agent() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024;ports:[31000-32000]");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    assert_eq!(offer.id.as_ref().unwrap().value(), "m1-O0");
    assert_eq!(offer.framework_id, Some(peer.id.to_proto()));
    assert_eq!(offer.agent_id, Some(agent.id.to_proto()));
    assert_eq!(offer.hostname(), agent.info.hostname());
    let address = offer.url.as_ref().unwrap().address.as_ref().unwrap();
    assert_eq!((address.ip(), address.port()), ("10.0.0.9", 5051));
    assert_eq!(offer.allocation_info, None, "without MULTI_ROLE");
    assert!(offer.resources.iter().all(|one| one.allocation_info.is_none()));
    assert_eq!(offer.resources.len(), 3);
}

#[test]
fn a_multi_role_framework_sees_allocations() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let mut info = framework_info("f");
    info.capabilities = vec![Capability { r#type: Some(capability::Type::MultiRole as i32) }];
    info.roles = vec!["dev".to_owned()];
    let peer = harness.framework_with(info);
    let offer = harness.offer(&peer);
    assert_eq!(offer.allocation_info.as_ref().unwrap().role(), "dev");
    assert!(offer.resources.iter().all(|one| one.allocation_info.as_ref().unwrap().role() == "dev"));
}

#[test]
fn changes_close_together_share_one_allocation() {
    let mut harness = Harness::new();
    let peer = harness.framework("f");
    harness.agent("cpus:1;mem:64");
    harness.advance(10);
    harness.agent("cpus:1;mem:64");
    harness.advance(9);
    assert_eq!(harness.events(&peer), []);
    harness.advance(1);
    let events = harness.events(&peer);
    assert_eq!(events.len(), 1, "one event");
    assert_eq!(events[0].offers.as_ref().unwrap().offers.len(), 2);
}

#[test]
fn a_declined_offer_comes_back_after_its_filter() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    assert_eq!(harness.decline(&peer, &offer, 10.0), 202);
    keep(&mut harness, &agent, 9_900);
    assert_eq!(harness.events(&peer), []);
    keep(&mut harness, &agent, 200);
    let again = harness.events(&peer);
    assert_eq!(again.len(), 1);
    assert_ne!(again[0].offers.as_ref().unwrap().offers[0].id, offer.id);
}

fn keep(harness: &mut Harness, agent: &crate::testing::AgentPeer, ms: u64) {
    harness.pong(agent);
    harness.advance(ms);
}

#[test]
fn a_filter_of_zero_is_no_filter_and_others_are_not_hidden() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.decline(&peer, &offer, 0.0);
    let offer = harness.offer(&peer);
    harness.decline(&peer, &offer, 1000.0);
    let other = harness.framework("g");
    assert_eq!(harness.offers(&other).len(), 1, "what one refuses the next one gets");
}

#[test]
fn revive_drops_filters() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.decline(&peer, &offer, 1000.0);
    assert_eq!(harness.offers(&peer), []);
    assert_eq!(harness.bare(&peer, call::Type::Revive), 202);
    assert_eq!(harness.offers(&peer).len(), 1);
}

#[test]
fn suppressed_frameworks_are_left_alone_until_they_revive() {
    let mut harness = Harness::new();
    let peer = harness.framework("f");
    assert_eq!(harness.bare(&peer, call::Type::Suppress), 202);
    harness.agent("cpus:4;mem:1024");
    assert_eq!(harness.offers(&peer), []);
    harness.bare(&peer, call::Type::Revive);
    assert_eq!(harness.offers(&peer).len(), 1);
}

#[test]
fn suppressing_does_not_rescind() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.bare(&peer, call::Type::Suppress);
    assert_eq!(harness.events(&peer), []);
    assert!(harness.master.local_view().offers.contains_key(offer.id.as_ref().unwrap().value()));
}

#[test]
fn a_role_that_is_not_subscribed_spoils_the_whole_call() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.decline(&peer, &offer, 1000.0);
    let revive = call::Revive { roles: vec!["*".to_owned(), "other".to_owned()] };
    let call = v1::scheduler::Call {
        r#type: Some(call::Type::Revive as i32),
        revive: Some(revive),
        ..Default::default()
    };
    assert_eq!(harness.call(&peer, call), 202);
    assert_eq!(harness.offers(&peer), []);
}

#[test]
fn an_old_offer_is_rescinded_and_made_again() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    for _ in 0..31 {
        keep(&mut harness, &agent, 10_000);
    }
    let events = harness.events(&peer);
    let types: Vec<_> = events.iter().map(|event| event.r#type()).collect();
    assert_eq!(types, [event::Type::Rescind, event::Type::Offers]);
    assert_eq!(events[0].rescind.as_ref().unwrap().offer_id, offer.id);
}

#[test]
fn offers_of_a_framework_that_leaves_go_to_others() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let first = harness.framework("f");
    harness.offer(&first);
    let second = harness.framework("g");
    assert_eq!(harness.offers(&second), []);
    harness.break_stream(first.connection);
    assert!(amount_to(&harness.offer(&second).resources, "cpus:4;mem:1024"));
}

#[test]
fn two_frameworks_share_the_cluster() {
    let mut harness = Harness::new();
    let first = harness.framework("f");
    let second = harness.framework("g");
    for _ in 0..4 {
        harness.agent("cpus:1;mem:64");
    }
    harness.advance(20);
    let count = |harness: &mut Harness, peer| harness.offers(peer).len();
    assert_eq!((count(&mut harness, &first), count(&mut harness, &second)), (2, 2));
}
