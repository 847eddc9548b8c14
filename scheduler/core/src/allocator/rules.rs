//! Rules of Mesos' allocator that no other story tells, one by one: what counts for a share, what a framework can be given at all, how
//! long a refusal holds.

use std::collections::BTreeMap;

use tepui_proto::resources::Resources;
use tepui_proto::v1::framework_info::capability::Type as Capability;
use tepui_proto::v1::{self, FrameworkInfo};

use super::scenarios::{Story, framework, id};
use super::{Allocation, DEFAULT_REFUSE_MS, MAX_REFUSE_MS, Options, refuse_ms};
use crate::ids::AgentId;
use crate::testing::{reserved, resources, shared, volume};

fn add_agent(story: &mut Story, name: &str, all: Vec<v1::Resource>, attributes: &str) {
    let info = v1::AgentInfo {
        resources: all,
        attributes: tepui_proto::resources::parse_attributes(attributes).unwrap(),
        ..v1::AgentInfo::default()
    };
    story.allocator.set_agent(&AgentId::from(name), &info);
}

fn served(story: &mut Story) -> Vec<String> {
    story.offer().iter().map(|one| one.framework.to_string()).collect()
}

#[test]
fn excluded_kinds_do_not_count_for_shares() {
    for (excluded, next) in [(false, "g"), (true, "f")] {
        let names = excluded.then(|| "gpus".to_owned());
        let options = Options { excluded_from_shares: names.into_iter().collect(), ..Options::default() };
        let mut story = Story::with(options).agent("big", "cpus:100;mem:6400;gpus:1");
        for name in ["f", "g"] {
            story.allocator.set_framework(
                &id(name),
                &framework(&["r"], &[Capability::GpuResources]),
                &[],
                true,
            );
        }
        // All GPUs there are, against a twentieth of the processors.
        story.hold("f", "r", "big", "gpus:1;cpus:1");
        story.hold("g", "r", "big", "cpus:5");
        assert_eq!(served(&mut story), [next], "excluded: {excluded}");
    }
}

#[test]
fn what_is_no_scalar_and_what_is_reserved_but_not_held_count_for_no_share() {
    let mut story = Story::new()
        .agent("big", "cpus:100;mem:6400;ports:[1-100]")
        .agent("own", "cpus(f):50;mem(f):3200")
        .framework("f", &["f"])
        .framework("g", &["g"]);
    // `f` has half of the cluster reserved, and all ports; `g` holds one processor.
    story.hold("f", "f", "big", "ports:[1-100]");
    story.hold("g", "g", "big", "cpus:1");
    story.allocator.deactivate_agent(&AgentId::from("own"));
    assert_eq!(served(&mut story), ["f"]);
    // A reservation that is held does count.
    let mut story = Story::new()
        .agent("big", "cpus:100;mem:6400")
        .agent("own", "cpus(f):50;mem(f):3200")
        .framework("f", &["f"])
        .framework("g", &["g"]);
    story.hold("f", "f", "own", "cpus(f):50;mem(f):3200");
    story.hold("g", "g", "big", "cpus:1");
    assert_eq!(served(&mut story), ["g"]);
}

#[test]
fn equals_are_served_by_number_of_allocations_and_then_by_name() {
    let mut story = Story::new().framework("f", &["y", "x"]).framework("e", &["y"]);
    let mut order = Vec::new();
    for round in 0..4 {
        story = story.agent(&format!("a{round}"), "cpus:1;mem:64");
        let one: Allocation = story.offer().remove(0);
        story.give_back(&one);
        story.allocator.remove_agent(&one.agent);
        order.push(format!("{}/{}", one.role, one.framework));
    }
    assert_eq!(order, ["x/f", "y/e", "x/f", "y/f"]);
}

/// What a framework of role `a/b` with these capabilities is offered of an agent that has some of everything.
fn offered_to(capabilities: &[Capability]) -> Resources {
    let mut all = resources("cpus:2;mem:64");
    all.extend(reserved("disk:3", &["a", "a/b"]));
    all.push(shared(volume(10, "a", "v")));
    let mut lent = resources("cpus:7").remove(0);
    lent.revocable = Some(v1::resource::RevocableInfo {});
    all.push(lent);
    let mut story = Story::new();
    story.allocator.set_framework(&id("f"), &framework(&["a/b"], capabilities), &[], true);
    add_agent(&mut story, "a", all, "");
    story.offer().iter().map(|one| &one.resources).sum()
}

#[test]
fn what_a_framework_does_not_know_is_left_out_of_its_offers() {
    let plain = (2_000, 64_000, 0);
    let told = |capabilities: &[Capability]| {
        let offered = offered_to(capabilities);
        (offered.scalar("cpus").0, offered.scalar("mem").0, offered.scalar("disk").0)
    };
    assert_eq!(told(&[]), plain);
    assert_eq!(told(&[Capability::SharedResources]), (2_000, 64_000, 10_000));
    assert_eq!(told(&[Capability::RevocableResources]), (9_000, 64_000, 0));
    assert_eq!(told(&[Capability::ReservationRefinement]), (2_000, 64_000, 3_000));
    let all =
        [Capability::SharedResources, Capability::RevocableResources, Capability::ReservationRefinement];
    assert_eq!(told(&all), (9_000, 64_000, 13_000));
}

#[test]
fn an_agent_that_gets_other_attributes_is_offered_again() {
    let mut story = Story::new().framework("f", &["*"]);
    add_agent(&mut story, "a", resources("cpus:1;mem:64"), "rack:one");
    let one = story.offer().remove(0);
    story.give_back(&one);
    story.allocator.refuse(&one.framework, &one.role, &one.agent, &one.resources, u64::MAX);
    add_agent(&mut story, "a", resources("cpus:1;mem:64"), "rack:one");
    assert!(story.offer().is_empty());
    add_agent(&mut story, "a", resources("cpus:1;mem:64"), "rack:two");
    assert_eq!(served(&mut story), ["f"]);
}

#[test]
fn a_refusal_holds_as_long_as_it_says_within_bounds() {
    for (seconds, interval_ms, held_ms) in [
        (None, 1_000, DEFAULT_REFUSE_MS),
        (None, 8_000, 8_000),
        (Some(-1.0), 1_000, DEFAULT_REFUSE_MS),
        (Some(f64::NAN), 1_000, DEFAULT_REFUSE_MS),
        (Some(0.0), 1_000, 0),
        (Some(0.01), 1_000, 1_000),
        (Some(2.5), 1_000, 2_500),
        (Some(4_294_967_295.0), 1_000, MAX_REFUSE_MS),
        (Some(f64::INFINITY), 1_000, MAX_REFUSE_MS),
    ] {
        assert_eq!(refuse_ms(seconds, interval_ms), held_ms, "{seconds:?}");
    }
}

#[test]
fn a_guarantee_takes_what_it_lacks_and_all_else_that_nobody_is_owed() {
    // One processor of four is owed to `r`, three to a role without anybody: those stay. Memory and ports come along.
    let mut story = Story::new().agent("a", "cpus:4;mem:512;ports:[1-9]").framework("f", &["r"]);
    let guarantee = |milli: u64| BTreeMap::from([("cpus".to_owned(), milli)]);
    story.allocator.set_quota("r", &guarantee(1_000), &BTreeMap::new()).unwrap();
    story.allocator.set_quota("absent", &guarantee(2_000), &BTreeMap::new()).unwrap();
    let offers = story.offer();
    assert_eq!(offers.len(), 1, "one piece: {offers:?}");
    assert_eq!(offers[0].resources, Resources::parse("cpus:2;mem:512;ports:[1-9]").unwrap());
}

#[test]
fn what_a_lost_agent_takes_from_a_guarantee_is_given_elsewhere() {
    // `r` is owed five processors, and one is kept for a role without anybody: it gets one here and four of the five there.
    let mut story = Story::new().framework("f", &["r"]).agent("small", "cpus:1");
    let guarantee = |milli: u64| BTreeMap::from([("cpus".to_owned(), milli)]);
    story.allocator.set_quota("r", &guarantee(5_000), &BTreeMap::new()).unwrap();
    story.allocator.set_quota("absent", &guarantee(1_000), &BTreeMap::new()).unwrap();
    assert_eq!(served(&mut story), ["f"]);
    story = story.agent("large", "cpus:5");
    assert_eq!(story.offer()[0].resources.scalar("cpus").0, 4_000);
    // All agents are looked at once more, since one came; then there is nothing to be done.
    story.allocator.expire(0);
    assert!(story.offer().is_empty() && !story.allocator.room_grew());
    story.allocator.remove_agent(&AgentId::from("small"));
    // Nothing happens on the large one, but of what is kept there one is owed to `r` again.
    assert!(story.allocator.room_grew());
    story.allocator.expire(u64::MAX);
    assert_eq!(story.offer()[0].resources.scalar("cpus").0, 1_000);
    assert!(!story.allocator.room_grew());
}

#[test]
fn a_minimum_of_a_role_is_a_choice_of_amounts() {
    let least = |amounts: &[(&str, f64)]| {
        let scalar = |value| v1::value::Scalar { value: Some(value) };
        v1::offer_filters::ResourceQuantities {
            quantities: amounts.iter().map(|(name, value)| ((*name).to_owned(), scalar(*value))).collect(),
        }
    };
    let quantities = vec![least(&[("cpus", 2.0), ("mem", 128.0)]), least(&[("disk", 5.0)])];
    let minimum = v1::offer_filters::MinAllocatableResources { quantities };
    let filters = v1::OfferFilters { min_allocatable_resources: Some(minimum) };
    let mut info: FrameworkInfo = framework(&["r", "s"], &[]);
    info.offer_filters.insert("r".to_owned(), filters);
    for (agent, role) in
        [("cpus:2;mem:64", "s"), ("cpus:2;mem:128", "r"), ("cpus:0.1;disk:5", "r"), ("cpus:0.1;disk:4", "s")]
    {
        let mut story = Story::new().agent("a", agent);
        story.allocator.set_framework(&id("f"), &info, &[], true);
        assert_eq!(&*story.offer()[0].role, role, "{agent}");
    }
}
