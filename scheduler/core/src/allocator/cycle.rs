//! Which agents to plan, in which order, how many at a time.
//!
//! Agents become dirty one by one; a cycle takes all that are dirty, in an order that the seed decides, and is worked off in
//! slices. With guarantees, all agents of the cycle are looked at for these first. Its beginning is the one moment that takes as
//! long as there are agents, so it makes one list and nothing else.

use std::collections::BTreeSet;

use super::lots;
use crate::ids::AgentId;

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Only roles whose guarantee is not met.
    Guarantees,
    /// Everybody.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step<'a> {
    pub(crate) stage: Stage,
    pub(crate) agent_id: &'a AgentId,
    /// Whatever is drawn by lot in this step, is drawn from this.
    pub(crate) lot: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Cycle {
    seed: u64,
    /// The source of all lots, and how many cycles there were.
    lots: u64,
    begun: u64,
    dirty: BTreeSet<AgentId>,
    /// Every agent with something to give is dirty. A flag, since each framework that comes or revives sets it.
    all: bool,
    /// The agents of this cycle: each stage goes through all of them, in an order of its own, so that those that come first while
    /// guarantees are met are not the first ones again.
    order: Vec<AgentId>,
    /// How many of these steps are for guarantees.
    for_guarantees: usize,
    /// Steps that are done.
    done: usize,
}

impl Cycle {
    pub(crate) fn new(seed: u64) -> Cycle {
        let lots = lots::mix(!seed);
        Cycle {
            seed,
            lots,
            begun: 0,
            dirty: BTreeSet::new(),
            all: false,
            order: Vec::new(),
            for_guarantees: 0,
            done: 0,
        }
    }

    pub(crate) fn mark(&mut self, agent_id: &AgentId) {
        self.dirty.insert(agent_id.clone());
    }

    pub(crate) fn mark_all(&mut self) {
        self.all = true;
    }

    pub(crate) fn forget(&mut self, agent_id: &str) {
        self.dirty.remove(agent_id);
    }

    pub(crate) fn has_work(&self) -> bool {
        self.all || !self.dirty.is_empty() || self.left() > 0
    }

    /// Steps that are left, and agents that have become dirty since they began; `everybody` is how many agents there are.
    pub(crate) fn waiting(&self, everybody: usize) -> usize {
        self.left() + if self.all { everybody } else { self.dirty.len() }
    }

    /// Whether the last cycle is done.
    pub(crate) fn is_new(&self) -> bool {
        self.left() == 0
    }

    /// Begins a new cycle if the last one is done. `everybody` is asked, if all are meant, for all agents with something to give
    /// and those that it is told of, sorted.
    pub(crate) fn begin(
        &mut self,
        guarantees: bool,
        everybody: impl FnOnce(&BTreeSet<AgentId>) -> Vec<AgentId>,
    ) {
        if self.left() > 0 {
            return;
        }
        let dirty = std::mem::take(&mut self.dirty);
        let all = std::mem::take(&mut self.all);
        let mut order = if all { everybody(&dirty) } else { dirty.into_iter().collect() };
        self.for_guarantees = 0;
        if guarantees {
            self.for_guarantees = order.len();
            order.extend_from_within(..);
            let (first, _) = order.split_at_mut(self.for_guarantees);
            self.shuffle(first);
        }
        self.shuffle(&mut order[self.for_guarantees..]);
        self.order = order;
        self.done = 0;
        self.begun += 1;
    }

    /// What is left of this cycle.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let cycle = lots::mix(self.lots ^ self.begun);
        self.order.iter().enumerate().skip(self.done).map(move |(nth, agent_id)| {
            let stage = if nth < self.for_guarantees { Stage::Guarantees } else { Stage::All };
            Step { stage, agent_id, lot: cycle ^ nth as u64 }
        })
    }

    fn left(&self) -> usize {
        self.order.len() - self.done
    }

    /// So many steps are done.
    pub(crate) fn done(&mut self, count: usize) {
        self.done += count.min(self.left());
    }

    /// Each order equally likely, and the same one for the same seed.
    fn shuffle(&mut self, agents: &mut [AgentId]) {
        for last in (1..agents.len()).rev() {
            let other = self.draw() % (last as u64 + 1);
            agents.swap(last, other as usize);
        }
    }

    /// The splitmix64 sequence: small, well mixed, and nothing depends on its being hard to guess.
    fn draw(&mut self) -> u64 {
        let drawn = lots::mix(self.seed);
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the next steps.
    fn next(cycle: &mut Cycle, count: usize, guarantees: bool, all: Vec<AgentId>) -> Vec<(Stage, AgentId)> {
        cycle.begin(guarantees, |_| all);
        let steps: Vec<_> =
            cycle.steps().take(count).map(|step| (step.stage, step.agent_id.clone())).collect();
        cycle.done(steps.len());
        steps
    }

    fn order(seed: u64, budget: usize, guarantees: bool) -> Vec<(Stage, String)> {
        let mut cycle = Cycle::new(seed);
        for agent in 0..20 {
            cycle.mark(&AgentId::from(format!("a{agent}")));
        }
        let mut all = Vec::new();
        while cycle.has_work() {
            let slice = next(&mut cycle, budget, guarantees, vec![]);
            assert!(slice.len() <= budget && !slice.is_empty());
            all.extend(slice.into_iter().map(|(stage, agent_id)| (stage, agent_id.to_string())));
        }
        all
    }

    #[test]
    fn the_seed_alone_decides_the_order() {
        assert_eq!(order(1, 100, false), order(1, 3, false));
        assert_ne!(order(1, 100, false), order(2, 100, false));
        let mut sorted = order(1, 100, false);
        sorted.sort_by(|one, other| one.1.cmp(&other.1));
        sorted.dedup();
        assert_eq!(sorted.len(), 20);
    }

    #[test]
    fn guarantees_come_first_on_all_agents() {
        let all = order(1, 7, true);
        assert_eq!(all.len(), 40);
        assert!(all[..20].iter().all(|(stage, _)| *stage == Stage::Guarantees));
        assert!(all[20..].iter().all(|(stage, _)| *stage == Stage::All));
        let agents =
            |part: &[(Stage, String)]| part.iter().map(|(_, agent)| agent.clone()).collect::<Vec<_>>();
        let (mut first, mut second) = (agents(&all[..20]), agents(&all[20..]));
        assert_ne!(first, second, "each stage has an order of its own");
        first.sort();
        second.sort();
        assert_eq!(first, second);
    }

    #[test]
    fn everybody_is_asked_for_once() {
        let mut cycle = Cycle::new(1);
        cycle.mark(&AgentId::from("a"));
        cycle.mark_all();
        cycle.mark_all();
        let all = || ["a", "b"].map(AgentId::from).to_vec();
        assert_eq!(next(&mut cycle, 5, false, all()).len(), 2);
        assert!(!cycle.has_work());
        assert!(next(&mut cycle, 5, false, all()).is_empty());
    }

    #[test]
    fn what_becomes_dirty_meanwhile_waits_for_the_next_cycle() {
        let mut cycle = Cycle::new(1);
        cycle.mark(&AgentId::from("a"));
        cycle.mark(&AgentId::from("b"));
        let first = next(&mut cycle, 1, false, vec![]);
        cycle.mark(&first[0].1);
        let second = next(&mut cycle, 5, false, vec![]);
        assert_eq!(second.len(), 1);
        assert_ne!(second, first);
        assert_eq!(next(&mut cycle, 5, false, vec![]), first);
        assert!(!cycle.has_work());
    }
}
