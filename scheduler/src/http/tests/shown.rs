//! What the plain endpoints show of masters, agents and frameworks beyond the everyday: fault domains, and frameworks that are over.

use tepui_proto::v1;
use tepui_proto::v1::scheduler::call;
use tepui_scheduler_core::testing::Harness;

use super::fixture::{Fixture, json};

fn domain() -> v1::DomainInfo {
    use v1::domain_info::{FaultDomain, fault_domain};
    v1::DomainInfo {
        fault_domain: Some(FaultDomain {
            region: Some(fault_domain::RegionInfo { name: Some("north".to_owned()) }),
            zone: Some(fault_domain::ZoneInfo { name: Some("n-1".to_owned()) }),
        }),
    }
}

#[tokio::test]
async fn the_domains_of_masters_and_agents_are_shown() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4");
    harness.domain = Some(domain());
    harness.elect();
    agent.info.domain = Some(domain());
    harness.register(&mut agent);
    let leader = Fixture::leading();
    leader.publish(harness.registry.clone());
    let state = json(leader.get("/state").await).await;
    let slaves = json(leader.get("/slaves").await).await;
    for shown in [&state, &state["leader_info"], &state["slaves"][0], &slaves["slaves"][0]] {
        assert_eq!(shown["domain"]["fault_domain"]["region"]["name"], "north", "{shown}");
        assert_eq!(shown["domain"]["fault_domain"]["zone"]["name"], "n-1", "{shown}");
    }
}

#[tokio::test]
async fn a_framework_that_is_over_is_shown_as_such_everywhere() {
    let mut harness = Harness::new();
    let peer = harness.framework("f");
    harness.bare(&peer, call::Type::Teardown);
    let leader = Fixture::leading();
    leader.publish(harness.registry.clone());
    leader.board.publish_local(Some(harness.master.local_view()));
    let answer = json(leader.post_json("/api/v1", r#"{"type":"GET_FRAMEWORKS"}"#).await).await;
    let completed = &answer["get_frameworks"]["completed_frameworks"][0];
    assert_eq!(completed["framework_info"]["id"]["value"], peer.id.as_str());
    assert!(completed["unregistered_time"]["nanoseconds"].as_i64() > Some(0), "{completed}");
    let plain = json(leader.get(&format!("/frameworks?framework_id={}", peer.id)).await).await;
    assert!(plain["frameworks"].as_array().unwrap().is_empty(), "{plain}");
    let shown = &plain["completed_frameworks"][0];
    assert!(shown["unregistered_time"].as_f64() > Some(0.0), "{shown}");
    for one in [completed, shown] {
        assert_eq!((&one["active"], &one["connected"]), (&false.into(), &false.into()), "{one}");
    }
}
