//! Laws of planning, on random clusters.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tepui_proto::resources::Resources;
use tepui_proto::v1;

use super::scenarios::{Story, framework, id};
use super::{Allocation, Demand};
use crate::ids::AgentId;

const ROLES: [&str; 5] = ["*", "a", "a/b", "a/c", "b"];

/// Something that happens to a cluster.
#[derive(Clone, Debug)]
enum Event {
    Agent { agent: u8, cpus: u8, mem: u8, reserved: bool },
    Lose { agent: u8, for_good: bool },
    Framework { framework: u8, roles: Vec<usize>, suppressed: bool },
    Remove { framework: u8 },
    Revive { framework: u8 },
    Weight { role: usize, weight: u8 },
    Quota { role: usize, guarantee: u8, limit: u8 },
    Demand { cpus: u8 },
    Plan,
    GiveBack { nth: u8, refuse: bool },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..8u8, 1..16u8, 0..16u8, any::<bool>())
            .prop_map(|(agent, cpus, mem, reserved)| Event::Agent { agent, cpus, mem, reserved }),
        1 => (0..8u8, any::<bool>()).prop_map(|(agent, for_good)| Event::Lose { agent, for_good }),
        4 => (0..6u8, prop::collection::vec(0..ROLES.len(), 1..3), any::<bool>())
            .prop_map(|(framework, roles, suppressed)| Event::Framework { framework, roles, suppressed }),
        1 => (0..6u8).prop_map(|framework| Event::Remove { framework }),
        1 => (0..6u8).prop_map(|framework| Event::Revive { framework }),
        1 => (0..ROLES.len(), 1..9u8).prop_map(|(role, weight)| Event::Weight { role, weight }),
        1 => (0..ROLES.len(), 0..9u8, 0..9u8)
            .prop_map(|(role, guarantee, limit)| Event::Quota { role, guarantee, limit }),
        1 => (1..9u8).prop_map(|cpus| Event::Demand { cpus }),
        4 => Just(Event::Plan),
        4 => (any::<u8>(), any::<bool>()).prop_map(|(nth, refuse)| Event::GiveBack { nth, refuse }),
    ]
}

/// Runs a story with slices of `budget` and returns everything that was allocated, in order.
fn run(events: &[Event], budget: usize) -> Vec<Allocation> {
    let mut story = Story::new();
    let mut now_ms = 0;
    let mut live: Vec<Allocation> = Vec::new();
    let mut all = Vec::new();
    let mut limits: BTreeMap<&str, i64> = BTreeMap::new();
    for event in events {
        now_ms += 700;
        let allocator = &mut story.allocator;
        allocator.expire(now_ms);
        match event {
            Event::Agent { agent, cpus, mem, reserved } => {
                let more = if *reserved { ";cpus(a):1" } else { "" };
                let text = format!("cpus:{cpus};mem:{};ports:[1-{cpus}]{more}", u32::from(*mem) * 32);
                let info = v1::AgentInfo {
                    resources: Resources::parse(&text).unwrap().to_proto(),
                    ..Default::default()
                };
                // A changed agent comes back empty, so that nothing is held beyond its new size.
                let agent_id = AgentId::from(format!("a{agent}"));
                allocator.remove_agent(&agent_id);
                live.retain(|one| one.agent != agent_id);
                allocator.set_agent(&agent_id, &info);
            }
            Event::Lose { agent, for_good } => {
                let agent_id = AgentId::from(format!("a{agent}"));
                if *for_good {
                    allocator.remove_agent(&agent_id);
                    live.retain(|one| one.agent != agent_id);
                } else {
                    allocator.deactivate_agent(&agent_id);
                }
            }
            Event::Framework { framework: number, roles, suppressed } => {
                let mut names: Vec<&str> = roles.iter().map(|role| ROLES[*role]).collect();
                names.sort_unstable();
                names.dedup();
                let hidden = if *suppressed { vec![names[0].to_owned()] } else { vec![] };
                allocator.set_framework(&id(&format!("f{number}")), &framework(&names, &[]), &hidden, true);
            }
            Event::Remove { framework } => allocator.remove_framework(&id(&format!("f{framework}"))),
            Event::Revive { framework } => {
                allocator.revive(&id(&format!("f{framework}")), &ROLES.map(str::to_owned));
            }
            Event::Weight { role, weight } => {
                allocator.set_weight(ROLES[*role], f64::from(*weight)).unwrap();
            }
            Event::Quota { role, guarantee, limit } => {
                let amount = |units: u8| BTreeMap::from([("cpus".to_owned(), u64::from(units) * 1000)]);
                let limit = *limit + *guarantee;
                if allocator.set_quota(ROLES[*role], &amount(*guarantee), &amount(limit)).is_ok() {
                    limits.insert(ROLES[*role], i64::from(limit) * 1000);
                }
            }
            Event::Demand { cpus } => allocator.set_demands(vec![Demand {
                driver: "d".into(),
                framework: id("drivers"),
                role: "a/b".into(),
                resources: Resources::parse(&format!("cpus:{cpus}")).unwrap(),
                elsewhere: None,
            }]),
            Event::Plan => {
                let mut met = false;
                loop {
                    let plan = story.allocator.plan(now_ms, budget);
                    for one in &plan.allocations {
                        check(&story, one, &limits);
                        story.charge_all(std::slice::from_ref(one));
                        met |= one.driver.is_some();
                    }
                    if met {
                        story.allocator.set_demands(vec![]);
                    }
                    live.extend(plan.allocations.iter().cloned());
                    all.extend(plan.allocations);
                    if !plan.more {
                        break;
                    }
                }
            }
            Event::GiveBack { nth, refuse } => {
                if !live.is_empty() {
                    let one = live.remove(usize::from(*nth) % live.len());
                    story.give_back(&one);
                    if *refuse {
                        let until_ms = now_ms + 5_000;
                        story.allocator.refuse(
                            &one.framework,
                            &one.role,
                            &one.agent,
                            &one.resources,
                            until_ms,
                        );
                    }
                }
            }
        }
        story.allocator.check_invariants();
    }
    all
}

/// What every allocation must obey at the moment at which it is charged.
fn check(story: &Story, one: &Allocation, limits: &BTreeMap<&str, i64>) {
    assert!(!one.resources.is_empty());
    let free = story.allocator.free(&one.agent);
    assert!(free.contains(&one.resources), "{} of the {free} that are free on {}", one.resources, one.agent);
    let top = one.role.split('/').next().unwrap();
    if let Some(limit) = limits.get(top) {
        let node = story.allocator.ledger.top_of(top).unwrap();
        let held = story.allocator.ledger.node(node).allocated.get(0);
        // Reservations are a role's own, whatever its limit.
        let reserved = one.resources.reserved_for("a").scalar("cpus").0;
        let more = one.resources.scalar("cpus").0 - reserved;
        assert!(more == 0 || i64::try_from(held).unwrap() + more <= *limit, "{top} over its limit");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing is allocated twice or beyond a limit, sums agree at every moment, and neither repetition nor the size of a
    /// slice changes the result.
    #[test]
    fn plans_are_safe_and_repeatable(events in prop::collection::vec(event(), 1..60), budget in 1..5usize) {
        let whole = run(&events, usize::MAX);
        prop_assert_eq!(&whole, &run(&events, usize::MAX));
        prop_assert_eq!(&whole, &run(&events, budget));
    }

    /// Frameworks that never take anything are asked equally often.
    #[test]
    fn equal_frameworks_are_served_alike(frameworks in 1..7usize, agents in 1..9usize, rounds in 1..12usize) {
        let mut story = Story::new();
        for agent in 0..agents {
            story = story.agent(&format!("a{agent}"), "cpus:4;mem:512");
        }
        for number in 0..frameworks {
            story = story.framework(&format!("f{number}"), &["*"]);
        }
        let mut served = vec![0_usize; frameworks];
        for _ in 0..rounds {
            let offers = story.offer();
            prop_assert_eq!(offers.len(), agents);
            for one in &offers {
                let number: usize = one.framework.as_str()[1..].parse().unwrap();
                served[number] += 1;
            }
            for one in &offers {
                story.give_back(one);
            }
        }
        let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{:?}", served);
    }

    /// Twice the weight, twice the agents, to within one.
    #[test]
    fn weights_are_proportions(agents in 3..60usize) {
        let mut story = Story::new().framework("f", &["one"]).framework("g", &["two"]);
        story.allocator.set_weight("two", 2.0).unwrap();
        for agent in 0..agents {
            story = story.agent(&format!("a{agent}"), "cpus:2;mem:64");
        }
        let offers = story.offer();
        let of = |name: &str| offers.iter().filter(|one| one.framework == name).count();
        prop_assert_eq!(of("f") + of("g"), agents);
        prop_assert!(of("g").abs_diff(2 * of("f")) <= 2, "{} and {}", of("f"), of("g"));
    }
}
