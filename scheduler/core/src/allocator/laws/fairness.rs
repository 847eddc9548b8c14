//! Fairness as the theory has it: dominant shares are filled up from below, in proportion to weights, at every level of the tree of
//! roles; whoever still wants more is never behind by more than one task of somebody else.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tepui_proto::resources::{Millis, Resources};

use crate::allocator::scenarios::{Story, id};
use crate::ids::AgentId;

const ROLES: [&str; 7] = ["a", "a/x", "a/y", "a/y/z", "b/x", "b/y", "c"];
const NODES: [&str; 8] = ["a", "b", "c", "a/x", "a/y", "a/y/z", "b/x", "b/y"];

/// One framework: what each of its tasks needs, in processors and megabytes.
#[derive(Clone, Copy, Debug)]
struct Client {
    role: usize,
    cpus: u16,
    mem: u16,
}

/// What was taken so far on one large agent.
#[derive(Clone, Debug)]
struct Filling {
    cpus: f64,
    mem: f64,
    weights: BTreeMap<&'static str, f64>,
    clients: Vec<Client>,
    tasks: Vec<u32>,
    /// Frameworks for whose next task there is no room any more.
    full: BTreeSet<usize>,
}

/// What happens besides, each after so many tasks were started.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Weight {
        node: usize,
        weight: u8,
    },
    /// A framework's oldest task ends.
    End {
        nth: usize,
    },
}

impl Client {
    fn task(&self) -> Resources {
        Resources::from_scalars([
            ("cpus", Millis(i64::from(self.cpus) * 1000)),
            ("mem", Millis(i64::from(self.mem) * 1000)),
        ])
    }
}

impl Filling {
    fn happen(&mut self, story: &mut Story, turn: Turn) {
        match turn {
            Turn::Weight { node, weight } => {
                story.allocator.set_weight(NODES[node], f64::from(weight)).unwrap();
                self.weights.insert(NODES[node], f64::from(weight));
            }
            Turn::End { nth } => {
                let nth = nth % self.clients.len();
                if self.tasks[nth] == 0 {
                    return;
                }
                self.tasks[nth] -= 1;
                let (role, task) = (ROLES[self.clients[nth].role], self.clients[nth].task());
                story.allocator.recover(&id(&format!("f{nth}")), role, &AgentId::from("big"), &task);
                // There is room again, and all refusals are taken back.
                self.full.clear();
                for (nth, client) in self.clients.iter().enumerate() {
                    story.allocator.revive(&id(&format!("f{nth}")), &[ROLES[client.role].to_owned()]);
                }
            }
        }
    }

    fn weight(&self, node: &str) -> f64 {
        self.weights.get(node).copied().unwrap_or(1.0)
    }

    /// Frameworks of a role and all roles below it; of a virtual leaf (`a/.`), of exactly its role.
    fn below(&self, node: &str) -> Vec<usize> {
        let own = node.strip_suffix("/.");
        let is_below = |role: &str| match own {
            Some(own) => role == own,
            None => role == node || role.starts_with(&format!("{node}/")),
        };
        (0..self.clients.len()).filter(|nth| is_below(ROLES[self.clients[*nth].role])).collect()
    }

    /// The largest part of any kind that a part of the frameworks holds.
    fn share(&self, of: &[usize]) -> f64 {
        let sum = |each: fn(&Client) -> u16| -> f64 {
            of.iter().map(|nth| f64::from(each(&self.clients[*nth])) * f64::from(self.tasks[*nth])).sum()
        };
        (sum(|client| client.cpus) / self.cpus).max(sum(|client| client.mem) / self.mem)
    }

    /// What one more task adds at most.
    fn step(&self, of: &[usize]) -> f64 {
        let one = |nth: &usize| {
            let client = self.clients[*nth];
            (f64::from(client.cpus) / self.cpus).max(f64::from(client.mem) / self.mem)
        };
        of.iter().map(one).fold(0.0, f64::max)
    }

    /// Whoever is chosen is behind at every level: no sibling that could take more has less for its weight.
    fn check_choice(&self, chosen: usize) {
        let role = ROLES[self.clients[chosen].role];
        let mut path: Vec<String> = role.match_indices('/').map(|(end, _)| role[..end].to_owned()).collect();
        path.extend([role.to_owned(), format!("{role}/.")]);
        let mut parent = "";
        for node in &path {
            let mine = self.share(&self.below(node)) / self.weight(node);
            let children =
                NODES.iter().filter(|one| one.rsplit_once('/').map_or("", |(above, _)| above) == parent);
            let own = format!("{parent}/.");
            for sibling in children.copied().chain((!parent.is_empty()).then_some(own.as_str())) {
                let others = self.below(sibling);
                if others.iter().all(|nth| self.full.contains(nth)) {
                    continue;
                }
                let other = self.share(&others) / self.weight(sibling);
                assert!(mine <= other + 1e-9, "{node} with {mine} is served before {sibling} with {other}");
            }
            parent = node;
        }
        for other in self.below(&format!("{role}/.")).into_iter().filter(|nth| !self.full.contains(nth)) {
            let (mine, other) = (self.share(&[chosen]), self.share(&[other]));
            assert!(mine <= other + 1e-9, "f{chosen} with {mine} is served before one with {other}");
        }
    }

    /// Siblings differ by no more than one task, as long as the one behind could take more.
    fn check(&self) {
        let mut families: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for node in NODES {
            let parent = node.rsplit_once('/').map_or("", |(parent, _)| parent);
            families.entry(parent).or_default().push(node.to_owned());
            families.entry(node).or_default().push(format!("{node}/."));
        }
        for siblings in families.values() {
            for ahead in siblings {
                for behind in siblings {
                    let (more, less) = (self.below(ahead), self.below(behind));
                    if ahead == behind || more.is_empty() || less.iter().all(|nth| self.full.contains(nth)) {
                        continue;
                    }
                    let (weight, other) = (self.weight(ahead), self.weight(behind));
                    let (high, low) = (self.share(&more) / weight, self.share(&less) / other);
                    let step = self.step(&more) / weight;
                    assert!(high <= low + step + 1e-9, "{ahead} has {high}, {behind} has {low}: {step}");
                }
            }
        }
    }
}

fn fill(mut filling: Filling, turns: &[(u8, Turn)]) {
    let mut story = Story::new().agent("big", &format!("cpus:{};mem:{}", filling.cpus, filling.mem));
    for (node, weight) in &filling.weights {
        story.allocator.set_weight(node, *weight).unwrap();
    }
    for (nth, client) in filling.clients.iter().enumerate() {
        story = story.framework(&format!("f{nth}"), &[ROLES[client.role]]);
    }
    let mut turns = turns.to_vec();
    turns.sort_by_key(|(after, _)| *after);
    let mut turns = turns.into_iter().peekable();
    // Until the first of them, nobody is ever far behind; from then on, it is always the turn of those who are.
    let (mut started, mut even) = (0_u32, true);
    loop {
        while let Some((_, turn)) = turns.next_if(|(after, _)| u32::from(*after) <= started) {
            even = false;
            filling.happen(&mut story, turn);
        }
        let offers = story.offer();
        let Some(offer) = offers.first() else { break };
        assert_eq!(offers.len(), 1, "one agent is one offer");
        let nth: usize = offer.framework.as_str()[1..].parse().unwrap();
        filling.check_choice(nth);
        let task = filling.clients[nth].task();
        story.give_back(offer);
        if offer.resources.contains(&task) {
            story.allocator.charge(&offer.framework, &offer.role, &AgentId::from("big"), &task);
            filling.tasks[nth] += 1;
            started += 1;
        } else {
            assert!(filling.full.insert(nth), "refused, and offered again");
            story.allocator.refuse(&offer.framework, &offer.role, &offer.agent, &offer.resources, u64::MAX);
        }
        if even {
            filling.check();
        }
    }
    // What is left is too little for anybody.
    let left = story.allocator.free(&AgentId::from("big"));
    for (nth, client) in filling.clients.iter().enumerate() {
        let fits = left.scalar("cpus").0 >= i64::from(client.cpus) * 1000
            && left.scalar("mem").0 >= i64::from(client.mem) * 1000;
        assert!(!fits, "f{nth} could take one more of {left}");
    }
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        (0..NODES.len(), 1..6_u8).prop_map(|(node, weight)| Turn::Weight { node, weight }),
        (0..7_usize).prop_map(|nth| Turn::End { nth }),
    ]
}

fn filling() -> impl Strategy<Value = Filling> {
    let clients = prop::collection::vec((0..ROLES.len(), 1..5_u16, 32..200_u16), 2..7);
    let weights = prop::collection::btree_map(0..NODES.len(), 1..5_u8, 0..5);
    (clients, weights, 20..60_u16, 1000..3000_u16).prop_map(|(clients, weights, cpus, mem)| {
        let clients: Vec<Client> =
            clients.into_iter().map(|(role, cpus, mem)| Client { role, cpus, mem }).collect();
        Filling {
            cpus: f64::from(cpus),
            mem: f64::from(mem),
            weights: weights.into_iter().map(|(node, weight)| (NODES[node], f64::from(weight))).collect(),
            tasks: vec![0; clients.len()],
            clients,
            full: BTreeSet::new(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shares_are_filled_from_below(filling in filling()) {
        fill(filling, &[]);
    }

    #[test]
    fn those_behind_catch_up_when_weights_change_and_tasks_end(
        filling in filling(),
        turns in prop::collection::vec((0..40_u8, turn()), 1..12),
    ) {
        fill(filling, &turns);
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
