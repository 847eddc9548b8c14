//! Weights, quotas, constraints, regions and lists of hosts, from the call to the offer; and why there is none.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::tepui::operator::{RoleOffers, response::ExplainOffers};
use tepui_proto::v1::domain_info::{FaultDomain, fault_domain};
use tepui_proto::v1::framework_info::capability::Type as Capability;
use tepui_proto::v1::scheduler::attribute_constraint::{self, Selector, predicate, selector};
use tepui_proto::v1::scheduler::offer_constraints::{RoleConstraints, role_constraints::Group};
use tepui_proto::v1::scheduler::{AttributeConstraint, Call, OfferConstraints, call, event};
use tepui_proto::v1::{self, quota, value};

use crate::master::{Config, Input, OperatorCall, Reply};
use crate::testing::{FrameworkPeer, Harness, framework_info, resources, task};

fn in_roles(name: &str, roles: &[&str]) -> v1::FrameworkInfo {
    with(
        v1::FrameworkInfo {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..framework_info(name)
        },
        Capability::MultiRole,
    )
}

fn with(mut info: v1::FrameworkInfo, capability: Capability) -> v1::FrameworkInfo {
    info.capabilities.push(v1::framework_info::Capability { r#type: Some(capability as i32) });
    info
}

fn config(role: &str, guarantee: &[(&str, f64)], limit: &[(&str, f64)]) -> quota::QuotaConfig {
    let scalars = |amounts: &[(&str, f64)]| -> BTreeMap<String, value::Scalar> {
        let scalar = |value| value::Scalar { value: Some(value) };
        amounts.iter().map(|(name, value)| ((*name).to_owned(), scalar(*value))).collect()
    };
    quota::QuotaConfig { role: Some(role.to_owned()), guarantees: scalars(guarantee), limits: scalars(limit) }
}

fn status(reply: Option<Reply>) -> u16 {
    match reply {
        Some(Reply::Ok) => 200,
        Some(Reply::Rejected { status, reason }) => {
            assert!(!reason.is_empty());
            status
        }
        other => panic!("{other:?}"),
    }
}

impl Harness {
    fn quota(&mut self, force: bool, configs: Vec<quota::QuotaConfig>) -> u16 {
        status(self.operator(OperatorCall::UpdateQuota { force, configs }, None))
    }

    fn weight(&mut self, role: &str, weight: f64) -> u16 {
        let infos = vec![v1::WeightInfo { weight: Some(weight), role: Some(role.to_owned()) }];
        status(self.operator(OperatorCall::UpdateWeights(infos), None))
    }

    fn explain(&mut self, peer: &FrameworkPeer) -> ExplainOffers {
        self.operate(OperatorCall::ExplainOffers(peer.id.clone()), None).explain_offers.unwrap()
    }

    /// The ids of offers that were rescinded, and all new offers.
    fn rescinded(&mut self, peer: &FrameworkPeer) -> (usize, Vec<v1::Offer>) {
        self.advance(self.config.allocation_delay_ms);
        let events = self.events(peer);
        let rescinded = events.iter().filter(|one| one.r#type() == event::Type::Rescind).count();
        let offers = events.into_iter().filter_map(|one| one.offers).flat_map(|offers| offers.offers);
        (rescinded, offers.collect())
    }
}

fn cpus(offers: &[v1::Offer]) -> f64 {
    let all = offers.iter().flat_map(|offer| &offer.resources);
    all.filter(|one| one.name() == "cpus").map(|one| one.scalar.as_ref().unwrap().value()).sum()
}

fn reasons(role: &RoleOffers) -> Vec<&str> {
    role.obstacles.iter().map(|one| one.reason()).collect()
}

#[test]
fn a_weight_is_kept_and_offers_of_its_role_are_rescinded() {
    let mut h = Harness::new();
    let heavy = h.framework_with(in_roles("heavy", &["heavy/inner"]));
    let light = h.framework_with(in_roles("light", &["light"]));
    for _ in 0..6 {
        h.agent("cpus:1;mem:64");
    }
    let before = (h.offers(&heavy).len(), h.offers(&light).len());
    assert_eq!(before, (3, 3));
    assert_eq!(h.weight("heavy", 2.0), 200);
    let (rescinded, offers) = h.rescinded(&heavy);
    assert_eq!(rescinded, 3);
    // One of the three that came free goes to nobody else: two to one is what the weights say.
    assert_eq!((offers.len(), h.rescinded(&light).0), (3, 0));
    for bad in [0.0, -1.0, f64::NAN] {
        assert_eq!(h.weight("heavy", bad), 400);
    }
    h.elect();
    assert_eq!(h.registry.weights.get("heavy"), Some(&2.0));
    let heavy = h.resubscribe(&heavy);
    let light = h.resubscribe(&light);
    for _ in 0..6 {
        h.agent("cpus:1;mem:64");
    }
    assert_eq!((h.offers(&heavy).len(), h.offers(&light).len()), (4, 2));
}

#[test]
fn quotas_are_set_together_or_not_at_all() {
    let mut h = Harness::new();
    h.agent("cpus:4;mem:1024");
    assert_eq!(
        h.quota(false, vec![config("a", &[("cpus", 1.0)], &[]), config("b/c", &[], &[("cpus", 1.0)])]),
        400
    );
    assert!(h.registry.quotas.is_empty());
    assert_eq!(
        h.quota(false, vec![config("a", &[("cpus", 3.0)], &[]), config("b", &[("cpus", 2.0)], &[])]),
        400
    );
    assert!(h.registry.quotas.is_empty(), "five are more than the cluster has");
    assert_eq!(
        h.quota(true, vec![config("a", &[("cpus", 3.0)], &[]), config("b", &[("cpus", 2.0)], &[])]),
        200
    );
    assert_eq!(h.registry.quotas.len(), 2);
    // What promises and limits nothing is no quota.
    assert_eq!(h.quota(false, vec![config("a", &[], &[])]), 200);
    assert_eq!(h.registry.quotas.keys().map(|role| role.to_string()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_limit_below_what_tasks_use_needs_force() {
    let mut h = Harness::new();
    let mut agent = h.agent("cpus:4;mem:1024");
    let peer = h.framework_with(in_roles("f", &["r/x"]));
    let offer = h.offer(&peer);
    h.accept(&peer, &[&offer], vec![task("t", "cpus:3")]);
    h.take_launch(&mut agent);
    assert_eq!(cpus(&h.offers(&peer)), 1.0);
    assert_eq!(h.quota(false, vec![config("r", &[], &[("cpus", 2.0)])]), 400);
    // Offers do not count: they can be taken back, and are.
    assert_eq!(h.quota(false, vec![config("r", &[], &[("cpus", 3.0)])]), 200);
    let (rescinded, offers) = h.rescinded(&peer);
    assert_eq!((rescinded, cpus(&offers)), (1, 0.0), "the rest is memory: {offers:?}");
    assert_eq!(h.quota(true, vec![config("r", &[], &[("cpus", 2.0)])]), 200);
}

#[test]
fn a_new_guarantee_takes_offers_from_others() {
    let mut h = Harness::new();
    h.agent("cpus:4;mem:1024");
    h.agent("cpus:4;mem:1024");
    let greedy = h.framework_with(in_roles("greedy", &["greedy"]));
    assert_eq!(h.offers(&greedy).len(), 2);
    assert_eq!(h.quota(false, vec![config("r", &[("cpus", 3.0)], &[])]), 200);
    let (rescinded, offers) = h.rescinded(&greedy);
    assert_eq!((rescinded, cpus(&offers)), (1, 1.0), "three of the four are kept");
    let poor = h.framework_with(in_roles("poor", &["r"]));
    assert_eq!(cpus(&h.offers(&poor)), 3.0);
}

#[test]
fn what_was_kept_for_a_guarantee_is_offered_when_nobody_needs_it_any_more() {
    let mut harness = Harness::new();
    assert_eq!(harness.quota(true, vec![config("owed", &[("cpus", 4.0)], &[])]), 200);
    let peer = harness.framework("greedy");
    harness.agent("cpus:4;mem:512");
    assert_eq!(cpus(&harness.offers(&peer)), 0.0);
    // The guarantee is met by what is reserved on another agent, and nothing happens on the first one.
    harness.agent("cpus(owed):4");
    harness.advance(1_000);
    assert_eq!(cpus(&harness.offers(&peer)), 4.0);
}

#[test]
fn the_older_calls_set_once_and_remove_what_is_there() {
    let mut h = Harness::new();
    h.agent("cpus:4;mem:1024");
    let ask = |role: &str, text: &str| {
        OperatorCall::SetQuota(quota::QuotaRequest {
            force: None,
            role: Some(role.to_owned()),
            guarantee: resources(text),
        })
    };
    assert_eq!(status(h.operator(ask("r", "cpus:1"), None)), 200);
    assert_eq!(status(h.operator(ask("r", "cpus:2"), None)), 400);
    assert_eq!(status(h.operator(ask("s", "cpus:9"), None)), 400);
    assert_eq!(status(h.operator(OperatorCall::RemoveQuota("r".to_owned()), None)), 200);
    assert_eq!(status(h.operator(OperatorCall::RemoveQuota("r".to_owned()), None)), 400);
}

#[test]
fn with_a_quota_a_new_leader_waits_for_most_agents() {
    let mut h = Harness::new();
    let mut agents: Vec<_> = (0..5).map(|_| h.agent("cpus:1;mem:64")).collect();
    let peer = h.framework_with(in_roles("f", &["f"]));
    h.offers(&peer);
    h.quota(false, vec![config("r", &[("cpus", 1.0)], &[])]);
    h.elect();
    let peer = h.resubscribe(&peer);
    for agent in &mut agents[..3] {
        h.register(agent);
    }
    assert_eq!(h.offers(&peer).len(), 0);
    assert_eq!(h.explain(&peer).awaits_agents, Some(true));
    h.register(&mut agents[3]);
    let offers = h.offers(&peer);
    assert_eq!(cpus(&offers), 3.0, "four are back, one is kept for `r`");
    // Those that are given up are not waited for.
    h.elect();
    let peer = h.resubscribe(&peer);
    h.register(&mut agents[0]);
    assert_eq!(h.offers(&peer).len(), 0);
    h.advance(h.config.agent_grace_ms + 1_000);
    let (_, offers) = h.rescinded(&peer);
    assert_eq!(cpus(&offers), 0.0, "the one that is back is kept for `r`");
    assert_eq!(h.explain(&peer).awaits_agents, Some(false));
}

#[test]
fn a_new_leader_does_not_wait_for_agents_for_ever() {
    let mut h = Harness::with(Config { quota_recovery_ms: 5_000, ..Config::default() });
    let mut agents: Vec<_> = (0..5).map(|_| h.agent("cpus:1;mem:64")).collect();
    let peer = h.framework_with(in_roles("f", &["f"]));
    h.quota(false, vec![config_of_one("r")]);
    h.elect();
    let peer = h.resubscribe(&peer);
    h.register(&mut agents[0]);
    h.register(&mut agents[1]);
    assert_eq!(h.offers(&peer).len(), 0);
    h.advance(5_000);
    let (_, offers) = h.rescinded(&peer);
    assert_eq!(cpus(&offers), 1.0, "two of five are back, one is kept for `r`");
}

fn config_of_one(role: &str) -> quota::QuotaConfig {
    config(role, &[("cpus", 1.0)], &[])
}

fn only_rack(role: &str, regex: &str) -> OfferConstraints {
    let matches = predicate::TextMatches { regex: Some(regex.to_owned()) };
    let constraint = AttributeConstraint {
        selector: Some(Selector { selector: Some(selector::Selector::AttributeName("rack".to_owned())) }),
        predicate: Some(attribute_constraint::Predicate {
            predicate: Some(predicate::Predicate::TextMatches(matches)),
        }),
    };
    let groups = vec![Group { attribute_constraints: vec![constraint] }];
    OfferConstraints { role_constraints: BTreeMap::from([(role.to_owned(), RoleConstraints { groups })]) }
}

#[test]
fn constraints_choose_agents_and_outlive_the_leader() {
    let mut h = Harness::new();
    let mut agents = Vec::new();
    for rack in ["a1", "b1"] {
        let mut agent = h.agent("cpus:1;mem:64");
        agent.info.attributes = tepui_proto::resources::parse_attributes(&format!("rack:{rack}")).unwrap();
        h.register(&mut agent);
        agents.push(agent);
    }
    let peer = h.framework("f");
    assert_eq!(h.offers(&peer).len(), 2);
    let update = |constraints: Option<OfferConstraints>| Call {
        r#type: Some(call::Type::UpdateFramework as i32),
        update_framework: Some(call::UpdateFramework {
            framework_info: Some(peer.info.clone()),
            suppressed_roles: vec![],
            offer_constraints: constraints,
        }),
        ..Default::default()
    };
    assert_eq!(h.call(&peer, update(Some(only_rack("*", "(a{99}){99}")))), 400);
    assert_eq!(h.call(&peer, update(Some(only_rack("other", "a")))), 400);
    assert_eq!(h.call(&peer, update(Some(only_rack("*", "a[0-9]")))), 200);
    h.elect();
    // A new leader knows them from the Registry; a subscription without any replaces them.
    assert!(h.registry.frameworks.values().any(|record| record.offer_constraints.is_some()));
    let peer = h.resubscribe(&peer);
    for agent in &mut agents {
        h.register(agent);
    }
    let offers = h.offers(&peer);
    assert_eq!(offers.len(), 2);
    assert_eq!(h.call(&peer, update(Some(only_rack("*", "b.")))), 200);
    assert_eq!(h.rescinded(&peer).0, 0, "offers that are out stay out");
    for offer in &offers {
        h.decline(&peer, offer, 0.0);
    }
    let offers = h.offers(&peer);
    assert_eq!(offers.len(), 1);
    assert_eq!(offers[0].agent_id, Some(agents[1].id.to_proto()));
    assert_eq!(reasons(&h.explain(&peer).roles[0]), ["OFFER_CONSTRAINTS", "NOTHING_FREE"]);
}

fn domain(region: &str) -> Option<v1::DomainInfo> {
    let region = fault_domain::RegionInfo { name: Some(region.to_owned()) };
    let zone = fault_domain::ZoneInfo { name: Some("z".to_owned()) };
    Some(v1::DomainInfo { fault_domain: Some(FaultDomain { region: Some(region), zone: Some(zone) }) })
}

#[test]
fn other_regions_are_for_those_who_know_regions() {
    let mut h = Harness::new();
    let mut agent = h.agent("cpus:1;mem:64");
    agent.info.domain = domain("south");
    h.send_register(&mut agent);
    assert!(h.is_closed(agent.connection), "the master has no domain");
    h.domain = domain("north");
    h.elect();
    h.register(&mut agent);
    let plain = h.framework("plain");
    assert_eq!(h.offers(&plain).len(), 0);
    assert_eq!(reasons(&h.explain(&plain).roles[0]), ["OTHER_REGION"]);
    let aware = h.framework_with(with(framework_info("aware"), Capability::RegionAware));
    let offer = h.offer(&aware);
    assert_eq!(offer.domain, domain("south"));
    let here = h.agent("cpus:2;mem:64");
    assert_eq!(h.offer(&plain).agent_id, Some(here.id.to_proto()), "no domain is no other region");
}

#[test]
fn agents_without_a_domain_can_be_refused() {
    let mut h = Harness::new();
    h.domain = domain("north");
    h.elect();
    let mut agent = h.agent("cpus:1;mem:64");
    h.config.require_agent_domain = true;
    h.elect();
    h.send_register(&mut agent);
    assert!(h.is_closed(agent.connection), "it has no domain");
    agent.info.domain = domain("south");
    h.register(&mut agent);
}

#[test]
fn hosts_that_are_not_listed_are_not_offered() {
    let mut h = Harness::new();
    let agent = h.agent("cpus:1;mem:64");
    h.input(Input::Whitelist(Some(BTreeSet::new())));
    let peer = h.framework("f");
    assert_eq!(h.offers(&peer).len(), 0);
    assert_eq!(reasons(&h.explain(&peer).roles[0]), ["NOT_LISTED"]);
    h.input(Input::Whitelist(Some(BTreeSet::from([agent.info.hostname().to_owned()]))));
    assert_eq!(h.offers(&peer).len(), 1);
    h.input(Input::Whitelist(None));
}

#[test]
fn a_guarantee_that_is_too_much_is_named() {
    let mut h = Harness::new();
    h.agent("cpus:4;mem:64");
    assert_eq!(h.quota(false, vec![config("a", &[("cpus", 3.0)], &[])]), 200);
    let configs = vec![config("c", &[("mem", 64.0)], &[]), config("b", &[("cpus", 2.0)], &[])];
    let refused = h.operator(OperatorCall::UpdateQuota { force: false, configs }, None);
    let Some(Reply::Rejected { status: 400, reason }) = refused else { panic!("{refused:?}") };
    let named = "2 of 'cpus' for role 'b' and 3 for other roles, of 4 in all";
    assert!(reason.contains("guarantees exceed") && reason.contains(named), "{reason}");
}

#[test]
fn settings_of_the_cluster_reach_the_allocator() {
    let mut config = Config::default();
    config.allocator.filter_gpus = false;
    config.allocator.minimum = crate::allocator::Minimums::parse("cpus:2").unwrap();
    let mut h = Harness::with(config);
    h.agent("cpus:1;mem:4096");
    let gpus = h.agent("cpus:2;mem:64;gpus:1");
    let peer = h.framework("f");
    assert_eq!(h.offer(&peer).agent_id, Some(gpus.id.to_proto()));
    let explained = h.explain(&peer);
    assert_eq!(explained.roles[0].min_allocatable(), "cpus:2");
    assert_eq!(reasons(&explained.roles[0]), ["NOTHING_FREE", "TOO_SMALL"]);
}

#[test]
fn an_explanation_counts_what_became_of_offers() {
    let mut h = Harness::new();
    let mut agent = h.agent("cpus:4;mem:1024");
    let peer = h.framework("f");
    let offer = h.offer(&peer);
    h.accept(&peer, &[&offer], vec![task("t", "cpus:1")]);
    h.take_launch(&mut agent);
    let offer = h.offer(&peer);
    h.decline(&peer, &offer, 100.0);
    h.advance(1_000);
    let explained = h.explain(&peer);
    assert_eq!((explained.connected, explained.name.as_deref()), (Some(true), Some("f")));
    let role = &explained.roles[0];
    let counts =
        [role.offers_made(), role.offers_accepted(), role.offers_declined(), role.offers_outstanding()];
    assert_eq!(counts, [2, 1, 1, 0]);
    assert_eq!((role.filters(), role.filters_end_in_ms), (1, Some(99_000)));
    assert_eq!((role.dominant_share(), role.weight()), (0.25, 1.0));
    assert_eq!(role.largest_free["cpus"].value(), 3.0);
    let refused = &role.obstacles[0];
    assert_eq!((refused.reason(), refused.agents(), refused.ends_in_ms), ("REFUSED", 1, Some(99_000)));
    h.bare(&peer, call::Type::Suppress);
    assert!(h.explain(&peer).roles[0].blocked[0].contains("suppressed"));
    let unknown = h.operator(OperatorCall::ExplainOffers("nobody".into()), None);
    assert_eq!(status(unknown), 404);
}
