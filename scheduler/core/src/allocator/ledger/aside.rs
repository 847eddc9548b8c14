//! Roles that nobody can serve are put aside, out of the queues: by a plan for its own duration, or because they have reached
//! their limit. The latter lasts until something happens that could change it: more room below the limit, or another client.
//! Does not know whether a role can be served: the planner does.

use super::Ledger;

impl Ledger {
    /// Puts a role aside for the duration of a plan, without those below it, or takes it back.
    pub(crate) fn bench(&mut self, node: usize, benched: bool) {
        if self.nodes[node].benched != benched {
            self.edit(node).benched = benched;
            self.resort_upwards(node);
        }
    }

    /// Puts a role aside, without those below it, because the limit is reached: until that may have changed.
    pub(crate) fn bench_spent(&mut self, node: usize) {
        self.bench(node, true);
        let top = self.nodes[node].top;
        self.edit(top).spent.push(node);
    }

    /// Something changed below this top-level role that may make room for those put aside. Whether it does, the next plan sees.
    pub(super) fn wake(&mut self, top: usize) {
        for node in std::mem::take(&mut self.edit(top).spent) {
            self.bench(node, false);
        }
    }

    /// Like [`Ledger::wake`], for all roles.
    pub(crate) fn wake_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.wake(node);
        }
    }

    /// All roles that are put aside.
    pub(crate) fn benched(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.benched).map(|(index, _)| index)
    }
}
