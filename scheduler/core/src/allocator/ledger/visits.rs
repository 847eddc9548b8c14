//! The ways through the tree of roles: by shares, or in an order that was drawn. Changes nothing.

use std::ops::ControlFlow;

use super::{Ledger, Node, ROOT};

impl Ledger {
    /// Visits the roles with somebody waiting, the most deserving first (the tree, depth first), until `visit` breaks.
    pub(crate) fn walk<B>(&self, mut visit: impl FnMut(usize, &Node) -> ControlFlow<B>) -> Option<B> {
        // A loop with a stack of its own: the depth of a role is chosen by a peer.
        let mut stack = vec![(ROOT, self.nodes[ROOT].order.values())];
        while let Some((at, children)) = stack.last_mut() {
            let at = *at;
            match children.next() {
                Some(child) if *child == at => {
                    if let ControlFlow::Break(found) = visit(at, &self.nodes[at]) {
                        return Some(found);
                    }
                }
                Some(child) => stack.push((*child, self.nodes[*child].order.values())),
                None => {
                    stack.pop();
                }
            }
        }
        None
    }

    /// Visits these roles in this order, as far as somebody waits there, until `visit` breaks.
    pub(crate) fn visit<B>(
        &self,
        roles: &[usize],
        mut visit: impl FnMut(usize, &Node) -> ControlFlow<B>,
    ) -> Option<B> {
        let waiting = roles.iter().map(|role| (*role, &self.nodes[*role])).filter(|(_, node)| node.waits());
        let mut visits = waiting.map(|(role, node)| visit(role, node));
        visits.find_map(ControlFlow::break_value)
    }
}
