//! What must hold in the tree of roles at every moment: sums and queues. Changes nothing.

use super::{Client, Ledger};
use crate::allocator::quantities::Quantities;

impl Ledger {
    /// Panics if sums or queues are wrong. For tests.
    pub(crate) fn check_invariants(&self) {
        let owed: Vec<Quantities> = self.nodes.iter().filter_map(|node| node.owed()).collect();
        let required = owed.iter().fold(Quantities::default(), |sum, one| sum.plus(one));
        assert_eq!(required, self.required, "what is owed");
        assert_eq!(
            owed.iter().filter(|one| !one.is_zero()).count(),
            self.owing,
            "roles that are owed something"
        );
        let clients = self.nodes.iter().flat_map(|node| node.clients.iter().flatten());
        assert_eq!(clients.filter(|client| client.traits.own_minimum).count(), self.own_minimums);
        let twice = self.check_copies();
        for (index, node) in self.nodes.iter().enumerate() {
            let (of_clients, below_it) = &twice[index];
            let clients: Vec<&Client> = node.clients.iter().flatten().collect();
            let own = clients.iter().fold(Quantities::default(), |sum, client| sum.plus(&client.allocated));
            assert_eq!(own.minus(of_clients), node.own_allocated, "own allocation of '{}'", node.path);
            let below = self.nodes.iter().filter(|child| child.parent == Some(index));
            let sum = below.fold(node.own_allocated, |sum, child| sum.plus(&child.allocated));
            assert_eq!(sum.minus(below_it), node.allocated, "allocation of '{}'", node.path);
            assert_eq!(node.queue.len(), clients.iter().filter(|client| client.rank.is_some()).count());
            let waits = !node.queue.is_empty() && !node.benched;
            assert_eq!(node.own_rank.is_some(), waits, "virtual leaf of '{}'", node.path);
            assert_eq!(node.slots.len(), clients.len(), "slots of '{}'", node.path);
            for (rank, slot) in &node.queue {
                let client = node.client(*slot).expect("queued clients exist");
                assert_eq!(client.rank.as_ref(), Some(rank));
            }
        }
    }
}
