//! Lots as the theory has them: in proportion to weights, at every level of the tree of roles, whatever anybody holds already.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::allocator::scenarios::{Story, id};
use crate::allocator::{Options, Sorter};

/// `a` has a framework of its own, and children.
const ROLES: [&str; 5] = ["a", "a/x", "a/y", "a/y/z", "b"];
const AGENTS: usize = 1_500;

/// A cluster of equal agents whose roles, or frameworks, are drawn.
fn story(role_sorter: Sorter, framework_sorter: Sorter) -> Story {
    let mut story = Story::with(Options { role_sorter, framework_sorter, ..Options::default() });
    for agent in 0..AGENTS {
        story = story.agent(&format!("a{agent:04}"), "cpus:1;mem:64");
    }
    story
}

/// What part of all agents each framework is offered; they are given back.
fn parts(story: &mut Story) -> BTreeMap<String, f64> {
    let offers = story.offer();
    assert_eq!(offers.len(), AGENTS);
    let mut parts = BTreeMap::new();
    for one in &offers {
        *parts.entry(one.framework.to_string()).or_default() += 1.0 / AGENTS as f64;
        story.allocator.recover(&one.framework, &one.role, &one.agent, &one.resources);
    }
    story.allocator.check_invariants();
    parts
}

/// Five standard deviations of so many draws, for the worst probability.
const TOLERANCE: f64 = 0.065;

fn weight(weights: &BTreeMap<&str, f64>, role: &str) -> f64 {
    weights.get(role).copied().unwrap_or(1.0)
}

/// The part of each of [`ROLES`], by its weight and those of its siblings; a virtual leaf weighs one.
fn theory(weights: &BTreeMap<&str, f64>) -> [f64; 5] {
    let of = |role| weight(weights, role);
    let a = of("a") / (of("a") + of("b"));
    let in_a = 1.0 + of("a/x") + of("a/y");
    let y = a * of("a/y") / in_a;
    let in_y = 1.0 + of("a/y/z");
    [a / in_a, a * of("a/x") / in_a, y / in_y, y * of("a/y/z") / in_y, 1.0 - a]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn roles_are_drawn_in_proportion_to_weights_that_change(
        changes in prop::collection::vec(prop::collection::btree_map(0..ROLES.len(), 1..6_u8, 0..4), 1..3),
    ) {
        let mut story = story(Sorter::Random, Sorter::Drf);
        for role in ROLES {
            story = story.framework(role, &[role]);
        }
        // Lots do not ask who holds what.
        story = story.agent("big", "cpus:9000");
        story.hold("b", "b", "big", "cpus:9000");
        let mut weights = BTreeMap::new();
        for change in changes {
            for (role, weight) in change {
                let (role, weight) = (ROLES[role], f64::from(weight));
                story.allocator.set_weight(role, weight).unwrap();
                weights.insert(role, weight);
            }
            story.allocator.revive(&id("a"), &["a".to_owned()]);
            let parts = parts(&mut story);
            for (role, wanted) in ROLES.into_iter().zip(theory(&weights)) {
                let part = parts.get(role).copied().unwrap_or_default();
                prop_assert!((part - wanted).abs() < TOLERANCE, "{}: {} for {} with {:?}", role, part, wanted, weights);
            }
        }
    }
}

#[test]
fn frameworks_of_a_role_are_drawn_alike_whatever_they_hold() {
    let mut story = story(Sorter::Drf, Sorter::Random).agent("big", "cpus:9000");
    for framework in ["f", "g", "h"] {
        story = story.framework(framework, &["r"]);
    }
    story = story.framework("alone", &["s"]);
    story.hold("f", "r", "big", "cpus:4500");
    story.hold("alone", "s", "big", "cpus:4500");
    let parts = parts(&mut story);
    // The roles are sorted by shares as ever.
    assert!((parts["alone"] - 0.5).abs() < 1e-3, "{parts:?}");
    assert!(["f", "g", "h"].iter().all(|one| (parts[*one] - 1.0 / 6.0).abs() < TOLERANCE), "{parts:?}");
}

#[test]
fn lots_are_others_in_each_cycle_and_the_same_for_the_same_seed() {
    let drawn = |rounds: usize| -> Vec<String> {
        let mut story = Story::with(Options { role_sorter: Sorter::Random, ..Options::default() });
        story = story.agent("a", "cpus:1;mem:64").framework("f", &["r"]).framework("g", &["s"]);
        let mut once = || {
            let offers = story.offer();
            story.give_back(&offers[0]);
            offers[0].framework.to_string()
        };
        (0..rounds).map(|_| once()).collect()
    };
    let all = drawn(40);
    assert_eq!(all, drawn(40));
    let of_f = all.iter().filter(|one| *one == "f").count();
    assert!((10..=30).contains(&of_f), "{all:?}");
}

#[test]
fn roles_that_are_put_aside_change_nobodys_chances() {
    let mut story = Story::with(Options { role_sorter: Sorter::Random, ..Options::default() });
    story = story.framework("f", &["a/x"]).framework("g", &["a/y"]).framework("h", &["b"]);
    let before = story.allocator.ledger.chances();
    assert_eq!(before.iter().map(|(_, chance)| *chance).collect::<Vec<_>>(), [0.25, 0.25, 0.5]);
    let limits = BTreeMap::from([("cpus".to_owned(), 0), ("mem".to_owned(), 0)]);
    story.allocator.set_quota("b", &BTreeMap::new(), &limits).unwrap();
    for agent in 0..20 {
        story = story.agent(&format!("a{agent}"), "cpus:1;mem:64");
    }
    assert!(story.offer().iter().all(|one| one.framework != "h"));
    assert!(story.allocator.ledger.benched().count() > 0, "nobody can serve `b`");
    assert_eq!(story.allocator.ledger.chances(), before);
}
