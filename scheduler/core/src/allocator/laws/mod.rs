//! Laws of planning, on random clusters: whatever happens, in whatever order.
//!
//! | Law | Where |
//! |---|---|
//! | nothing is allocated twice; sums agree at every moment | `Model::judge`, `World::compare` |
//! | no role passes its limit; what others are owed stays free | `Model::judge_limit`, `judge_guarantees` |
//! | capabilities, regions, constraints, minimums, refusals, suppressed roles and reservations are respected | `Model::judge` |
//! | the one who holds less comes first | `Model::judge_turn` |
//! | nobody waits who could have something; one offer for an agent and a role | `World::judge_silence` |
//! | the plan depends on its input alone, not on the size of a slice, nor on what earlier plans put aside | here |
//! | dominant shares converge, in proportion to weights, level by level, also when weights change and tasks end | `fairness` |
//! | lots are drawn in proportion to weights, level by level | `drawing` |

mod drawing;
mod events;
mod fairness;
mod model;
mod world;

use proptest::prelude::*;

use super::{Allocation, Sorter};
use events::Event;
use world::World;

fn run(events: &[Event], sorters: [Sorter; 2], budget: usize, afresh: bool) -> Vec<Allocation> {
    let mut world = World::new(sorters);
    world.afresh = afresh;
    let mut all = Vec::new();
    for event in events {
        all.extend(world.take(event, budget));
        world.compare();
    }
    all
}

fn sorters() -> impl Strategy<Value = [Sorter; 2]> {
    let drawn = |random: bool| if random { Sorter::Random } else { Sorter::Drf };
    prop_oneof![
        2 => Just([Sorter::Drf; 2]),
        1 => any::<[bool; 2]>().prop_map(move |random| random.map(drawn)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_are_safe_complete_and_repeatable(
        events in prop::collection::vec(events::event(), 1..70),
        sorters in sorters(),
        budget in 1..500_usize,
    ) {
        let whole = run(&events, sorters, usize::MAX, false);
        prop_assert_eq!(&whole, &run(&events, sorters, usize::MAX, false));
        prop_assert_eq!(&whole, &run(&events, sorters, budget, false));
        prop_assert_eq!(&whole, &run(&events, sorters, usize::MAX, true));
    }
}
