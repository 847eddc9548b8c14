//! How probable it is for each role to be drawn first, if roles are drawn by lot. Draws nothing.

use super::{Ledger, ROOT};

impl Ledger {
    /// All roles with somebody waiting, those put aside included, each with its part of its parent's chance: its weight by those of
    /// all siblings with somebody waiting below them, the parent's own frameworks among these.
    pub(crate) fn chances(&self) -> Vec<(usize, f64)> {
        let mut waits = vec![false; self.nodes.len()];
        let mut sums = vec![0.0; self.nodes.len()];
        for (index, _) in self.nodes.iter().enumerate().filter(|(_, node)| !node.queue.is_empty()) {
            // A virtual leaf has no weight of its own.
            sums[index] += 1.0;
            let mut at = Some(index);
            while let Some(below) = at.filter(|below| *below != ROOT && !waits[*below]) {
                waits[below] = true;
                at = self.nodes[below].parent;
                if let Some(parent) = at {
                    sums[parent] += self.nodes[below].weight.to_f64();
                }
            }
        }
        let waiting = self.nodes.iter().enumerate().filter(|(_, node)| !node.queue.is_empty());
        waiting
            .map(|(index, _)| {
                let mut chance = 1.0 / sums[index];
                let mut at = index;
                while let Some(parent) = self.nodes[at].parent {
                    chance *= self.nodes[at].weight.to_f64() / sums[parent];
                    at = parent;
                }
                (index, chance)
            })
            .collect()
    }
}
