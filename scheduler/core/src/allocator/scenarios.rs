//! Stories about offers: who gets what, and why somebody else does not.

use std::collections::BTreeMap;

use tepui_proto::resources::Resources;
use tepui_proto::v1::framework_info::capability::Type as Capability;
use tepui_proto::v1::{self, FrameworkInfo};

use super::explain::Reason;
use super::state::Allocator;
use super::{Allocation, Demand, Options, Plan};
use crate::ids::{AgentId, FrameworkId};
use crate::testing::resources;

const NOW: u64 = 1_000;

pub(super) fn framework(roles: &[&str], capabilities: &[Capability]) -> FrameworkInfo {
    let mut all = vec![Capability::MultiRole];
    all.extend(capabilities);
    FrameworkInfo {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        capabilities: all
            .into_iter()
            .map(|one| v1::framework_info::Capability { r#type: Some(one as i32) })
            .collect(),
        ..FrameworkInfo::default()
    }
}

pub(super) fn id(text: &str) -> FrameworkId {
    FrameworkId::from(text)
}

/// A cluster in a few words.
pub(super) struct Story {
    pub(super) allocator: Allocator,
}

impl Story {
    pub(super) fn new() -> Story {
        Story { allocator: Allocator::new(7) }
    }

    pub(super) fn with(options: Options) -> Story {
        Story { allocator: Allocator::with(7, options) }
    }

    pub(super) fn agent(mut self, name: &str, resources: &str) -> Story {
        self.set_agent(name, resources);
        self
    }

    pub(super) fn framework(mut self, name: &str, roles: &[&str]) -> Story {
        self.allocator.set_framework(&id(name), &framework(roles, &[]), &[], true);
        self
    }

    fn set_agent(&mut self, name: &str, resources: &str) {
        let info = v1::AgentInfo {
            resources: Resources::parse(resources).unwrap().to_proto(),
            ..v1::AgentInfo::default()
        };
        self.allocator.set_agent(&AgentId::from(name), &info);
    }

    /// Plans all that is dirty, as if offers had been made.
    pub(super) fn offer(&mut self) -> Vec<Allocation> {
        let Plan { allocations, more } = self.allocator.plan(NOW, usize::MAX);
        assert!(!more);
        self.allocator.check_invariants();
        allocations
    }

    pub(super) fn give_back(&mut self, one: &Allocation) {
        self.allocator.recover(&one.framework, &one.role, &one.agent, &one.resources);
        self.allocator.check_invariants();
    }

    /// `framework@agent=resources` for each allocation, sorted.
    fn told(&mut self) -> Vec<String> {
        let mut told: Vec<String> = self.offer().iter().map(text).collect();
        told.sort();
        told
    }

    pub(super) fn hold(&mut self, framework: &str, role: &str, agent: &str, resources: &str) {
        let resources = Resources::parse(resources).unwrap();
        self.allocator.charge(&id(framework), role, &AgentId::from(agent), &resources);
        self.allocator.check_invariants();
    }

    fn reason(&self, framework: &str, role: &str) -> Vec<Reason> {
        let explanation = self.allocator.explain(&id(framework), role, NOW, |_| Reason::AgentNotConnected);
        explanation.framework.into_iter().chain(explanation.agents.into_keys()).collect()
    }
}

fn text(one: &Allocation) -> String {
    format!("{}@{}={}", one.framework, one.agent, one.resources)
}

#[test]
fn an_agent_goes_whole_to_one_framework() {
    let mut story =
        Story::new().agent("a", "cpus:4;mem:512;ports:[1-9]").framework("f", &["*"]).framework("g", &["*"]);
    assert_eq!(story.told(), ["f@a=cpus:4;mem:512;ports:[1-9]"]);
    assert_eq!(story.told(), Vec::<String>::new(), "what is offered is not offered again");
    assert_eq!(story.reason("g", "*"), [Reason::NothingFree]);
}

#[test]
fn equal_frameworks_share_agents_equally() {
    let mut story = Story::new().framework("f", &["*"]).framework("g", &["*"]);
    for agent in 0..10 {
        story.set_agent(&format!("a{agent}"), "cpus:4;mem:512");
    }
    let offers = story.offer();
    assert_eq!(offers.iter().filter(|one| one.framework == "f").count(), 5);
    assert_eq!(offers.len(), 10);
}

#[test]
fn the_dominant_share_decides() {
    // The classical example: `f` is short of memory, `g` of processors.
    let mut story =
        Story::new().agent("big", "cpus:9;mem:18432").framework("f", &["r1"]).framework("g", &["r2"]);
    story.hold("f", "r1", "big", "cpus:3;mem:12288");
    story.hold("g", "r2", "big", "cpus:5;mem:1024");
    // 2/3 of the memory against 5/9 of the processors.
    assert_eq!(story.told(), ["g@big=cpus:1;mem:5120"]);
}

#[test]
fn weights_divide_shares() {
    let mut story = Story::new().framework("f", &["one"]).framework("g", &["two"]);
    story.allocator.set_weight("two", 2.0).unwrap();
    for agent in 0..30 {
        story.set_agent(&format!("a{agent:02}"), "cpus:1;mem:64");
    }
    let offers = story.offer();
    let of = |name: &str| offers.iter().filter(|one| one.framework == name).count();
    assert_eq!((of("f"), of("g")), (10, 20));
    assert!(story.allocator.set_weight("two", 0.0).is_err());
}

#[test]
fn shares_are_summed_up_the_tree() {
    // `a` has two children, `b` has none: `b` gets half, the children of `a` a quarter each.
    let mut story = Story::new().framework("f", &["a/x"]).framework("g", &["a/y"]).framework("h", &["b"]);
    for agent in 0..16 {
        story.set_agent(&format!("a{agent:02}"), "cpus:1;mem:64");
    }
    let offers = story.offer();
    let of = |name: &str| offers.iter().filter(|one| one.framework == name).count();
    assert_eq!((of("f"), of("g"), of("h")), (4, 4, 8));
}

#[test]
fn a_role_with_children_and_frameworks_queues_as_a_virtual_leaf() {
    let mut story = Story::new().framework("inner", &["a"]).framework("leaf", &["a/x"]);
    for agent in 0..8 {
        story.set_agent(&format!("a{agent}"), "cpus:1;mem:64");
    }
    let offers = story.offer();
    let of = |name: &str| offers.iter().filter(|one| one.framework == name).count();
    assert_eq!((of("inner"), of("leaf")), (4, 4));
}

#[test]
fn a_refusal_hides_subsets_until_it_ends() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512").framework("f", &["*"]);
    story.hold("g", "*", "a", "cpus:2;mem:256");
    let offers = story.offer();
    story.give_back(&offers[0]);
    story.allocator.refuse(&id("f"), "*", &AgentId::from("a"), &offers[0].resources, NOW + 5_000);
    assert_eq!(story.told(), Vec::<String>::new());
    assert_eq!(story.reason("f", "*"), [Reason::Refused]);
    assert_eq!(story.allocator.filter_count(&id("f"), "*", NOW), 1);
    // More becomes free than was refused.
    let held = Resources::parse("cpus:2;mem:256").unwrap();
    story.allocator.recover(&id("g"), "*", &AgentId::from("a"), &held);
    assert_eq!(story.told(), ["f@a=cpus:4;mem:512"]);
}

#[test]
fn a_refusal_ends_by_itself_and_by_revive() {
    for revive in [true, false] {
        let mut story = Story::new().agent("a", "cpus:4;mem:512").framework("f", &["*"]);
        let offers = story.offer();
        story.give_back(&offers[0]);
        story.allocator.refuse(&id("f"), "*", &AgentId::from("a"), &offers[0].resources, NOW + 5_000);
        assert_eq!(story.told(), Vec::<String>::new());
        assert_eq!(story.allocator.next_deadline(), Some(NOW + 5_000));
        if revive {
            story.allocator.revive(&id("f"), &["*".into()]);
        } else {
            story.allocator.expire(NOW + 4_999);
            assert!(!story.allocator.dirty());
            story.allocator.expire(NOW + 5_000);
        }
        assert_eq!(story.told().len(), 1);
        assert_eq!(story.allocator.next_deadline(), None);
    }
}

#[test]
fn a_refusal_binds_only_its_framework_role_and_agent() {
    let mut story =
        Story::new().agent("a", "cpus:4;mem:512").framework("f", &["r1", "r2"]).framework("g", &["r1"]);
    let offers = story.offer();
    assert_eq!((offers[0].framework.as_str(), &*offers[0].role), ("f", "r1"));
    story.give_back(&offers[0]);
    story.allocator.refuse(&id("f"), "r1", &AgentId::from("a"), &offers[0].resources, NOW + 5_000);
    let second = story.offer();
    story.give_back(&second[0]);
    let third_role = (second[0].framework.to_string(), second[0].role.to_string());
    assert!(
        third_role == ("g".into(), "r1".into()) || third_role == ("f".into(), "r2".into()),
        "{third_role:?}"
    );
}

#[test]
fn a_changed_agent_forgets_refusals_and_the_same_one_does_not() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512").framework("f", &["*"]);
    let offers = story.offer();
    story.give_back(&offers[0]);
    story.allocator.refuse(&id("f"), "*", &AgentId::from("a"), &offers[0].resources, NOW + 5_000);
    story.set_agent("a", "cpus:4;mem:512");
    assert_eq!(story.told(), Vec::<String>::new());
    story.set_agent("a", "cpus:4;mem:500");
    assert_eq!(story.told(), ["f@a=cpus:4;mem:500"]);
}

#[test]
fn refusals_survive_a_failover_but_not_the_framework() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512").framework("f", &["*"]);
    let offers = story.offer();
    story.give_back(&offers[0]);
    story.allocator.refuse(&id("f"), "*", &AgentId::from("a"), &offers[0].resources, NOW + 5_000);
    story.allocator.set_framework(&id("f"), &framework(&["*"], &[]), &[], false);
    assert_eq!(story.reason("f", "*"), [Reason::NotConnected]);
    story = story.framework("f", &["*"]);
    assert_eq!(story.told(), Vec::<String>::new());
    story.allocator.remove_framework(&id("f"));
    story = story.framework("f", &["*"]);
    assert_eq!(story.told().len(), 1);
}

#[test]
fn a_suppressed_role_leaves_the_queue() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512").framework("f", &["*"]).framework("g", &["*"]);
    story.allocator.suppress(&id("f"), &["*".into()]);
    assert_eq!(story.reason("f", "*"), [Reason::Suppressed]);
    assert_eq!(story.told(), ["g@a=cpus:4;mem:512"]);
    story.set_agent("b", "cpus:1;mem:64");
    story.allocator.suppress(&id("g"), &["*".into()]);
    assert_eq!(story.told(), Vec::<String>::new());
    story.allocator.revive(&id("f"), &["*".into()]);
    assert_eq!(story.told(), ["f@b=cpus:1;mem:64"]);
}

#[test]
fn leftovers_that_are_too_small_are_not_offered() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512;disk:900").framework("f", &["*"]);
    story.hold("g", "*", "a", "cpus:3.995;mem:490");
    assert_eq!(story.told(), Vec::<String>::new());
    assert_eq!(story.reason("f", "*"), [Reason::TooSmall]);
    // A role may have its own idea of small.
    let mut info = framework(&["*"], &[]);
    let minimum = v1::OfferFilters { min_allocatable_resources: Some(Default::default()) };
    info.offer_filters.insert("*".into(), minimum);
    story.allocator.set_framework(&id("f"), &info, &[], true);
    assert_eq!(story.told(), ["f@a=cpus:0.005;disk:900;mem:22"]);
}

#[test]
fn gpu_agents_are_for_those_who_know_gpus() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512;gpus:1").framework("f", &["*"]);
    assert_eq!(story.told(), Vec::<String>::new());
    assert_eq!(story.reason("f", "*"), [Reason::GpuAgent]);
    story.allocator.set_framework(&id("g"), &framework(&["*"], &[Capability::GpuResources]), &[], true);
    assert_eq!(story.told(), ["g@a=cpus:4;gpus:1;mem:512"]);
}

#[test]
fn reservations_reach_their_role_and_the_rest_goes_to_others() {
    let mut story = Story::new().agent("a", "cpus(r):2;mem(r):64;cpus:2;mem:64").framework("f", &["other"]);
    let offers = story.told();
    assert_eq!(offers, ["f@a=cpus:2;mem:64"]);
    story = story.framework("g", &["r/below"]);
    assert_eq!(story.told(), ["g@a=cpus(r):2;mem(r):64"]);
    assert_eq!(story.reason("f", "other"), [Reason::NothingFree]);
}

#[test]
fn a_disconnected_agent_is_not_planned_but_still_counts() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512").framework("f", &["*"]);
    story.allocator.deactivate_agent(&AgentId::from("a"));
    story.allocator.check_invariants();
    assert_eq!(story.told(), Vec::<String>::new());
    assert_eq!(story.reason("f", "*"), [Reason::AgentNotConnected]);
    story.set_agent("a", "cpus:4;mem:512");
    assert_eq!(story.told().len(), 1);
}

#[test]
fn a_removed_agent_takes_its_charges_along() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512").framework("f", &["*"]);
    story.hold("gone", "x/y", "a", "cpus:1");
    story.offer();
    story.allocator.remove_agent(&AgentId::from("a"));
    story.allocator.check_invariants();
    assert!(!story.allocator.dirty());
    assert!(story.allocator.ledger.find("gone", "x/y").is_none(), "idle clients and roles are forgotten");
    assert!(story.allocator.ledger.top_of("x/y").is_none());
}

#[test]
fn recovering_more_than_was_charged_changes_nothing() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512").framework("f", &["*"]);
    story.hold("f", "*", "a", "cpus:1");
    let too_much = Resources::parse("cpus:3;mem:64").unwrap();
    story.allocator.recover(&id("f"), "*", &AgentId::from("a"), &too_much);
    story.allocator.recover(&id("f"), "*", &AgentId::from("a"), &too_much);
    story.allocator.check_invariants();
    assert_eq!(story.told(), ["f@a=cpus:4;mem:512"]);
}

#[test]
fn an_agent_that_shrank_below_what_it_holds_offers_the_rest() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512").framework("f", &["*"]);
    story.hold("g", "*", "a", "cpus:3;mem:64");
    story.set_agent("a", "cpus:2;mem:512");
    story.allocator.check_invariants();
    assert_eq!(story.told(), ["f@a=mem:448"]);
}

#[test]
fn limits_are_respected() {
    let mut story =
        Story::new().agent("a", "cpus:4;mem:512").agent("b", "cpus:4;mem:512").framework("f", &["r/x"]);
    let limits = BTreeMap::from([("cpus".to_owned(), 5_000)]);
    story.allocator.set_quota("r", &BTreeMap::new(), &limits).unwrap();
    let offers = story.offer();
    let cpus: i64 = offers.iter().map(|one| one.resources.scalar("cpus").0).sum();
    let mem: i64 = offers.iter().map(|one| one.resources.scalar("mem").0).sum();
    assert_eq!((cpus, mem), (5_000, 1_024_000));
    story.set_agent("c", "cpus:4");
    assert_eq!(story.told(), Vec::<String>::new());
    assert!(story.reason("f", "r/x").contains(&Reason::Quota));
    assert!(story.allocator.set_quota("r/x", &limits, &limits).is_err());
    for kind in 0..4 {
        let odd = BTreeMap::from([(format!("odd{kind}"), 1)]);
        story.allocator.set_quota("r", &odd, &BTreeMap::new()).unwrap();
    }
}

#[test]
fn guarantees_are_held_back_from_others() {
    let mut story =
        Story::new().agent("a", "cpus:4;mem:512").agent("b", "cpus:4;mem:512").framework("f", &["greedy"]);
    let guarantees = BTreeMap::from([("cpus".to_owned(), 6_000)]);
    story.allocator.set_quota("r", &guarantees, &BTreeMap::new()).unwrap();
    let offers = story.offer();
    let cpus: i64 = offers.iter().map(|one| one.resources.scalar("cpus").0).sum();
    assert_eq!(cpus, 2_000, "six of eight are kept for `r`");
    story = story.framework("g", &["r"]);
    let offers = story.offer();
    let owed: i64 = offers.iter().map(|one| one.resources.scalar("cpus").0).sum();
    assert_eq!(owed, 6_000);
    assert!(offers.iter().all(|one| one.framework == "g"));
}

#[test]
fn a_guarantee_is_met_before_others_are_served() {
    let mut story = Story::new()
        .agent("a", "cpus:4;mem:512")
        .agent("b", "cpus:4;mem:512")
        .framework("f", &["aaa"])
        .framework("g", &["r"]);
    let guarantees = BTreeMap::from([("cpus".to_owned(), 8_000)]);
    story.allocator.set_quota("r", &guarantees, &BTreeMap::new()).unwrap();
    let offers = story.offer();
    let of = |name: &str| -> i64 {
        offers.iter().filter(|one| one.framework == name).map(|one| one.resources.scalar("cpus").0).sum()
    };
    assert_eq!((of("f"), of("g")), (0, 8_000));
}

#[test]
fn what_is_kept_for_a_guarantee_is_offered_once_it_is_met_elsewhere() {
    let mut story = Story::new().agent("a", "cpus:4").framework("f", &["*"]);
    let guarantees = BTreeMap::from([("cpus".to_owned(), 4_000)]);
    story.allocator.set_quota("r", &guarantees, &BTreeMap::new()).unwrap();
    assert_eq!(story.told(), Vec::<String>::new());
    // Nothing happens on `a`, but nothing of it is owed any more.
    story.set_agent("b", "cpus(r):4");
    assert_eq!(story.told(), Vec::<String>::new());
    assert!(story.allocator.room_grew());
    story.allocator.expire(NOW);
    assert_eq!(story.told(), ["f@a=cpus:4"]);
    assert!(!story.allocator.room_grew());
}

#[test]
fn a_role_below_its_limit_again_may_take_from_any_agent() {
    let mut story = Story::new().agent("a", "cpus:2").agent("b", "cpus:2");
    let limits = BTreeMap::from([("cpus".to_owned(), 2_000)]);
    story.allocator.set_quota("r", &BTreeMap::new(), &limits).unwrap();
    story.hold("f", "r", "b", "cpus:2");
    story = story.framework("f", &["r"]);
    assert_eq!(story.told(), Vec::<String>::new());
    // Its task ends, on an agent that offers nothing now.
    story.allocator.deactivate_agent(&AgentId::from("b"));
    let two = Resources::parse("cpus:2").unwrap();
    story.allocator.recover(&id("f"), "r", &AgentId::from("b"), &two);
    assert_eq!(story.allocator.next_deadline(), Some(0));
    story.allocator.expire(NOW);
    assert_eq!(story.told(), ["f@a=cpus:2"]);
}

/// An agent with a shared volume of role `r` besides.
fn with_shared_volume(story: &mut Story, name: &str, resources: &str) {
    let mut all = Resources::parse(resources).unwrap().to_proto();
    all.push(crate::testing::shared(crate::testing::volume(10, "r", "v")));
    let info = v1::AgentInfo { resources: all, ..v1::AgentInfo::default() };
    story.allocator.set_agent(&AgentId::from(name), &info);
}

#[test]
fn a_shared_volume_goes_to_several_in_one_plan() {
    let mut story = Story::new();
    let shares = framework(&["r", "r/x"], &[Capability::SharedResources]);
    story.allocator.set_framework(&id("f"), &shares, &[], true);
    with_shared_volume(&mut story, "a", "cpus:2;cpus(r/x):2");
    let offers = story.offer();
    assert_eq!(offers.len(), 2, "{offers:?}");
    assert!(offers.iter().all(|one| !one.resources.shared().is_empty()), "{offers:?}");
}

#[test]
fn a_shared_volume_alone_is_not_offered_when_a_quota_leaves_nothing_else() {
    let mut story = Story::new();
    let mut shares = framework(&["r"], &[Capability::SharedResources]);
    let anything = v1::OfferFilters { min_allocatable_resources: Some(Default::default()) };
    shares.offer_filters.insert("r".into(), anything);
    story.allocator.set_framework(&id("f"), &shares, &[], true);
    let limits = BTreeMap::from([("cpus".to_owned(), 0)]);
    story.allocator.set_quota("r", &BTreeMap::new(), &limits).unwrap();
    with_shared_volume(&mut story, "a", "cpus:2");
    assert_eq!(story.told(), Vec::<String>::new());
    assert_eq!(story.reason("f", "r"), [Reason::Quota]);
}

#[test]
fn a_shared_volume_counts_once_for_each_that_holds_it() {
    let mut story = Story::new();
    let capable = [Capability::SharedResources];
    for (name, role) in [("f", "r"), ("g", "r"), ("h", "r/x")] {
        story.allocator.set_framework(&id(name), &framework(&[role], &capable), &[], true);
    }
    story.set_agent("rest", "disk:90");
    let volume = crate::testing::shared(crate::testing::volume(10, "r", "v"));
    let copy = Resources::from_proto(std::slice::from_ref(&volume)).unwrap();
    let all = [resources("cpus:2;mem:64"), vec![volume]].concat();
    story.allocator.set_agent(&AgentId::from("a"), &v1::AgentInfo { resources: all, ..Default::default() });
    let agent = AgentId::from("a");
    let share = |story: &Story, role: &str| story.allocator.role_view(&id("f"), role, NOW).share;
    // The volume is a tenth of all disk.
    for (framework, role, expected) in
        [("f", "r", 0.1), ("f", "r", 0.1), ("g", "r", 0.1), ("h", "r/x", 0.1), ("h", "r/x", 0.1)]
    {
        story.allocator.charge(&id(framework), role, &agent, &copy);
        story.allocator.check_invariants();
        assert!((share(&story, "r") - expected).abs() < 1e-9, "{framework}: {}", share(&story, "r"));
    }
    assert!((share(&story, "r/x") - 0.1).abs() < 1e-9);
    // As long as somebody has a copy, the role holds it; not a moment longer.
    for (framework, role, below, whole) in [
        ("h", "r/x", 0.1, 0.1),
        ("h", "r/x", 0.0, 0.1),
        ("f", "r", 0.0, 0.1),
        ("g", "r", 0.0, 0.1),
        ("f", "r", 0.0, 0.0),
        ("f", "r", 0.0, 0.0),
    ] {
        story.allocator.recover(&id(framework), role, &agent, &copy);
        story.allocator.check_invariants();
        assert!((share(&story, "r/x") - below).abs() < 1e-9 && (share(&story, "r") - whole).abs() < 1e-9);
    }
    // Whoever holds a volume twice holds no more than whoever holds it once: the names decide, not the copies.
    for framework in ["f", "f", "g"] {
        story.allocator.charge(&id(framework), "r", &agent, &copy);
    }
    story.allocator.suppress(&id("h"), &["r/x".into()]);
    let offers = story.offer();
    assert_eq!(offers[0].framework, "f", "{offers:?}");
}

#[test]
fn a_driver_gets_exactly_what_it_asks_for_and_before_others() {
    let mut story = Story::new().agent("a", "cpus:4;mem:512").framework("f", &["*"]);
    let demand = Demand {
        driver: "d".into(),
        framework: id("drivers"),
        role: "*".into(),
        resources: Resources::parse("cpus:0.5;mem:64").unwrap(),
        elsewhere: None,
    };
    story.allocator.set_demands(vec![Demand { elsewhere: Some("a".into()), ..demand.clone() }]);
    assert_eq!(story.told(), ["f@a=cpus:4;mem:512"], "not on that agent");
    let all = Resources::parse("cpus:4;mem:512").unwrap();
    story.allocator.recover(&id("f"), "*", &AgentId::from("a"), &all);
    story.allocator.set_demands(vec![demand.clone()]);
    let offers = story.offer();
    assert_eq!(offers[0].driver.as_deref(), Some("d"));
    assert_eq!(
        offers.iter().map(text).collect::<Vec<_>>(),
        ["drivers@a=cpus:0.5;mem:64", "f@a=cpus:3.5;mem:448"]
    );
    // The next one wants more than there is anywhere: nothing happens until a new agent comes.
    let large = Demand { driver: "e".into(), resources: Resources::parse("cpus:8").unwrap(), ..demand };
    story.allocator.set_demands(vec![large]);
    assert_eq!(story.told(), Vec::<String>::new());
    story.set_agent("b", "cpus:8;mem:64");
    assert_eq!(story.told(), ["drivers@b=cpus:8", "f@b=mem:64"]);
}

#[test]
fn an_explanation_counts_agents_and_names_a_few() {
    let mut story = Story::new().framework("f", &["*"]);
    for agent in 0..9 {
        story.set_agent(&format!("a{agent}"), "cpus:1;mem:64");
    }
    let explanation = story.allocator.explain(&id("f"), "*", NOW, |_| Reason::AgentNotConnected);
    let group = &explanation.agents[&Reason::Waiting];
    assert_eq!((group.agents, group.examples.len()), (9, 5));
    assert_eq!(story.reason("nobody", "*"), [Reason::UnknownFramework]);
    assert_eq!(story.reason("f", "other"), [Reason::NotSubscribed]);
}
