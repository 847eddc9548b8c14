//! Who holds how much: the tree of roles, the frameworks in each role, and both queues kept sorted as amounts change.
//!
//! ```text
//!            (root)                 children sorted by share / weight, then allocations, then path
//!           /      \
//!          a        *               `a` has frameworks of its own and a child: they queue as the virtual leaf `a/.`
//!        /   \      └ frameworks    frameworks sorted by share, then allocations, then id
//!     a/.     a/b
//! ```
//!
//! Owns shares and their order; amounts of a subtree are sums. Knows nothing of agents, offers or filters.

mod aside;
mod chances;
mod checks;
mod copies;
mod visits;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::copies::Copies;
pub(crate) use self::copies::{SharedAmount, Volume};
use super::constraints::RoleConstraints;
use super::filters::ClientKey;
use super::quantities::{Counted, Quantities};
use super::quota::Quota;
use super::share::{Rank, Share, Weight};
use super::supply::Minimum;
use crate::ids::FrameworkId;

const ROOT: usize = 0;

/// Where a framework stands in a role; valid until the client is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) node: usize,
    pub(crate) slot: usize,
}

/// What the planner must know of a framework in a role, besides what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Traits {
    pub(crate) key: ClientKey,
    /// The framework's id, for the queue.
    pub(crate) name: Arc<str>,
    pub(crate) gpus: bool,
    pub(crate) revocable: bool,
    pub(crate) shared: bool,
    pub(crate) refined: bool,
    pub(crate) region_aware: bool,
    pub(crate) constraints: Option<Arc<RoleConstraints>>,
    pub(crate) minimum: Minimum,
    /// Its minimum is not the cluster's.
    pub(crate) own_minimum: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) traits: Arc<Traits>,
    pub(crate) allocated: Quantities,
    allocations: u64,
    /// Its place in the queue; absent while it wants nothing.
    rank: Option<Rank>,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) path: Arc<str>,
    /// The path with `/.` behind it.
    virtual_path: Arc<str>,
    parent: Option<usize>,
    /// The top-level role above it, or itself: quotas are there.
    top: usize,
    children: usize,
    weight: Weight,
    pub(crate) quota: Option<Arc<Quota>>,
    /// Held in the whole subtree.
    pub(crate) allocated: Quantities,
    /// Of that: what was not reserved and nobody will take back.
    unreserved: Quantities,
    /// Reserved on agents for roles of the subtree, held or not; counted for top-level roles only.
    reserved: Quantities,
    allocations: u64,
    /// Held by the frameworks of exactly this role, and their queue as a virtual leaf.
    own_allocated: Quantities,
    own_allocations: u64,
    own_rank: Option<Rank>,
    rank: Option<Rank>,
    /// Active children, and this node's own number for its virtual leaf.
    order: BTreeMap<Rank, usize>,
    clients: Vec<Option<Client>>,
    slots: BTreeMap<FrameworkId, usize>,
    queue: BTreeMap<Rank, usize>,
    /// Nobody of exactly this role can be served for now: a planner put it aside.
    benched: bool,
    /// Of a top-level role: the roles of its subtree that are put aside because its limit is reached.
    spent: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    totals: Quantities,
    nodes: Vec<Node>,
    by_path: BTreeMap<Arc<str>, usize>,
    /// Numbers of nodes that are no longer used.
    unused: Vec<usize>,
    /// The totals changed since the queues were sorted.
    stale: bool,
    /// What guarantees still claim beyond what their roles use, and how many roles claim something.
    required: Quantities,
    owing: usize,
    /// Roles with a guarantee.
    guaranteed: usize,
    /// Clients with a minimum of their own.
    own_minimums: usize,
    /// Some role with a limit uses less than it did.
    eased: bool,
    copies: Copies,
}

impl Node {
    fn new(path: Arc<str>, parent: Option<usize>, top: usize) -> Node {
        Node {
            virtual_path: Arc::from(format!("{path}/.")),
            path,
            parent,
            top,
            children: 0,
            weight: Weight::ONE,
            quota: None,
            allocated: Quantities::default(),
            unreserved: Quantities::default(),
            reserved: Quantities::default(),
            allocations: 0,
            own_allocated: Quantities::default(),
            own_allocations: 0,
            own_rank: None,
            rank: None,
            order: BTreeMap::new(),
            clients: Vec::new(),
            slots: BTreeMap::new(),
            queue: BTreeMap::new(),
            benched: false,
            spent: Vec::new(),
        }
    }

    /// What counts for the quota of a top-level role: its reservations, held or not, and whatever else it holds.
    pub(crate) fn consumed(&self) -> Quantities {
        self.reserved.plus(&self.unreserved)
    }

    /// Whether something is reserved for roles of this top-level role.
    pub(crate) fn has_reservations(&self) -> bool {
        !self.reserved.is_zero()
    }

    /// Whether it is limited and uses less of something than before.
    fn is_eased(&self, before: &Quantities) -> bool {
        self.quota.as_deref().is_some_and(Quota::is_limited) && !self.consumed().contains(before)
    }

    fn owed(&self) -> Option<Quantities> {
        self.quota.as_deref().map(|quota| quota.unsatisfied(&self.consumed()))
    }

    pub(crate) fn client(&self, slot: usize) -> Option<&Client> {
        self.clients.get(slot).and_then(Option::as_ref)
    }

    /// Whether somebody of exactly this role can be served now.
    pub(crate) fn waits(&self) -> bool {
        !self.queue.is_empty() && !self.benched
    }

    /// Active frameworks of exactly this role, the most deserving first.
    pub(crate) fn queue(&self) -> impl Iterator<Item = (usize, &Client)> {
        self.queue.values().filter_map(|slot| self.client(*slot).map(|client| (*slot, client)))
    }
}

impl Ledger {
    pub(crate) fn new() -> Ledger {
        Ledger {
            totals: Quantities::default(),
            nodes: vec![Node::new(Arc::from(""), None, ROOT)],
            by_path: BTreeMap::new(),
            unused: Vec::new(),
            stale: false,
            required: Quantities::default(),
            owing: 0,
            guaranteed: 0,
            own_minimums: 0,
            eased: false,
            copies: Copies::default(),
        }
    }

    pub(crate) fn set_totals(&mut self, totals: Quantities) {
        self.stale |= self.totals != totals;
        self.totals = totals;
    }

    pub(crate) fn set_weight(&mut self, role: &str, weight: Weight) {
        let node = self.ensure(role);
        self.edit(node).weight = weight;
        self.resort_upwards(node);
        self.prune(node);
    }

    pub(crate) fn set_quota(&mut self, role: &str, quota: Option<Quota>) {
        let node = self.ensure(role);
        self.change_top(node, |at| at.quota = quota.map(Arc::new));
        self.prune(node);
    }

    /// More is reserved on some agent for this top-level role, or for roles below it.
    pub(crate) fn add_reserved(&mut self, role: &str, amounts: &Quantities) {
        let node = self.ensure(role);
        self.change_top(node, |at| at.reserved = at.reserved.plus(amounts));
    }

    pub(crate) fn remove_reserved(&mut self, role: &str, amounts: &Quantities) {
        let Some(node) = self.by_path.get(role).copied() else { return };
        self.change_top(node, |at| at.reserved = at.reserved.minus(amounts));
        self.prune(node);
    }

    /// Changes what bears on a quota, and what is owed in all.
    fn change_top(&mut self, node: usize, change: impl FnOnce(&mut Node)) {
        let before = self.nodes[node].owed();
        let guaranteed = |node: &Node| node.quota.as_ref().is_some_and(|quota| !quota.guarantees.is_zero());
        self.guaranteed -= usize::from(guaranteed(&self.nodes[node]));
        let consumed = self.nodes[node].consumed();
        change(self.edit(node));
        self.eased |= self.nodes[node].is_eased(&consumed);
        self.guaranteed += usize::from(guaranteed(&self.nodes[node]));
        self.owe_again(node, before);
        self.wake(node);
    }

    fn owe_again(&mut self, node: usize, before: Option<Quantities>) {
        let after = self.nodes[node].owed();
        if let Some(before) = before {
            self.required = self.required.minus(&before);
            self.owing -= usize::from(!before.is_zero());
        }
        if let Some(after) = after {
            self.required = self.required.plus(&after);
            self.owing += usize::from(!after.is_zero());
        }
    }

    /// Adds a framework to a role, or replaces what is known of it; `active` puts it in the queue.
    pub(crate) fn set_client(&mut self, traits: Traits, active: bool) -> Place {
        let node = self.ensure(&traits.key.1);
        let framework_id = traits.key.0.clone();
        let at = self.edit(node);
        let slot = match at.slots.get(&framework_id) {
            Some(slot) => *slot,
            None => {
                let slot = at.clients.iter().position(Option::is_none).unwrap_or(at.clients.len());
                at.slots.insert(framework_id, slot);
                if slot == at.clients.len() {
                    at.clients.push(None);
                }
                slot
            }
        };
        let mut own_minimums = usize::from(traits.own_minimum);
        let mut old_minimums = 0;
        let (allocated, allocations) = match &mut at.clients[slot] {
            Some(old) => {
                old_minimums = usize::from(old.traits.own_minimum);
                if let Some(rank) = old.rank.take() {
                    at.queue.remove(&rank);
                }
                (old.allocated, old.allocations)
            }
            None => (Quantities::default(), 0),
        };
        at.clients[slot] = Some(Client { traits: Arc::new(traits), allocated, allocations, rank: None });
        own_minimums += self.own_minimums;
        self.own_minimums = own_minimums - old_minimums;
        let place = Place { node, slot };
        if active {
            self.enqueue(place);
        }
        self.resort_upwards(node);
        self.wake(self.nodes[node].top);
        place
    }

    /// Takes a framework out of a role. What it still holds there stays counted as long as it holds it.
    pub(crate) fn retire_client(&mut self, framework_id: &str, role: &str) {
        let Some(place) = self.find(framework_id, role) else { return };
        let at = self.edit(place.node);
        let Some(client) = &mut at.clients[place.slot] else { return };
        if let Some(rank) = client.rank.take() {
            at.queue.remove(&rank);
        }
        if client.allocated.is_zero() {
            let own_minimum = client.traits.own_minimum;
            at.clients[place.slot] = None;
            at.slots.remove(framework_id);
            self.own_minimums -= usize::from(own_minimum);
        }
        self.resort_upwards(place.node);
        self.prune(place.node);
    }

    pub(crate) fn find(&self, framework_id: &str, role: &str) -> Option<Place> {
        let node = *self.by_path.get(role)?;
        let slot = *self.nodes[node].slots.get(framework_id)?;
        Some(Place { node, slot })
    }

    pub(crate) fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }

    /// The quota that binds a role, with the node that counts for it. Only top-level roles have one.
    pub(crate) fn quota_of(&self, node: usize) -> Option<(&Node, &Quota)> {
        let top = self.top(node);
        top.quota.as_deref().map(|quota| (top, quota))
    }

    /// The top-level role above a role, or itself.
    pub(crate) fn top(&self, node: usize) -> &Node {
        &self.nodes[self.nodes[node].top]
    }

    /// Weight of a role, and the part of the cluster that it holds.
    pub(crate) fn standing(&self, role: &str) -> (f64, f64) {
        match self.by_path.get(role).map(|node| &self.nodes[*node]) {
            Some(node) => {
                let share = Share::dominant(&node.allocated, &self.totals, Weight::ONE);
                (node.weight.to_f64(), share.to_f64())
            }
            None => (1.0, 0.0),
        }
    }

    /// The node that counts for a role: its own, or that of the nearest role above which is known.
    pub(crate) fn top_of(&self, role: &str) -> Option<usize> {
        let mut role = Some(role);
        while let Some(at) = role {
            if let Some(node) = self.by_path.get(at) {
                return Some(*node);
            }
            role = tepui_proto::role::parent(at);
        }
        None
    }

    /// What guarantees still claim beyond what their roles hold.
    pub(crate) fn required_headroom(&self) -> Quantities {
        self.required
    }

    pub(crate) fn has_guarantees(&self) -> bool {
        self.guaranteed > 0
    }

    /// Whether a role with a limit uses less than when this was last asked for.
    pub(crate) fn has_eased(&self) -> bool {
        self.eased
    }

    pub(crate) fn note_eased(&mut self, eased: bool) {
        self.eased = eased;
    }

    /// Whether some guarantee is not met.
    pub(crate) fn owes(&self) -> bool {
        self.owing > 0
    }

    /// Whether some client wants to be asked with less than the cluster's minimum, or only with more.
    pub(crate) fn has_own_minimums(&self) -> bool {
        self.own_minimums > 0
    }

    /// Counts amounts as held; `allocations` more were made.
    pub(crate) fn charge(&mut self, place: Place, counted: &Counted, allocations: u64) {
        self.charge_shared(place, &counted.shared);
        let amounts = &counted.all;
        let at = self.edit(place.node);
        if let Some(client) = &mut at.clients[place.slot] {
            client.allocated = client.allocated.plus(amounts);
            client.allocations += allocations;
        }
        at.own_allocated = at.own_allocated.plus(amounts);
        at.own_allocations += allocations;
        let mut node = Some(place.node);
        while let Some(index) = node {
            let before = self.nodes[index].owed();
            let at = self.edit(index);
            at.allocated = at.allocated.plus(amounts);
            at.unreserved = at.unreserved.plus(&counted.unreserved);
            at.allocations += allocations;
            node = at.parent;
            if before.is_some() {
                self.owe_again(index, before);
            }
        }
        self.requeue(place);
        self.resort_upwards(place.node);
    }

    /// Counts amounts as given back.
    pub(crate) fn release(&mut self, place: Place, counted: &Counted) {
        self.release_shared(place, &counted.shared);
        let amounts = &counted.all;
        let at = self.edit(place.node);
        if let Some(client) = &mut at.clients[place.slot] {
            client.allocated = client.allocated.minus(amounts);
        }
        at.own_allocated = at.own_allocated.minus(amounts);
        let mut node = Some(place.node);
        while let Some(index) = node {
            let before = self.nodes[index].owed();
            let at = self.edit(index);
            at.allocated = at.allocated.minus(amounts);
            let consumed = at.consumed();
            at.unreserved = at.unreserved.minus(&counted.unreserved);
            let eased = at.is_eased(&consumed);
            node = at.parent;
            self.eased |= eased;
            if before.is_some() {
                self.owe_again(index, before);
            }
        }
        self.requeue(place);
        self.resort_upwards(place.node);
        self.wake(self.nodes[place.node].top);
    }

    /// Sorts everything anew if the cluster's totals changed.
    pub(crate) fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        for node in 1..self.nodes.len() {
            let slots: Vec<usize> = self.nodes[node].queue.values().copied().collect();
            for slot in slots {
                self.requeue(Place { node, slot });
            }
            self.resort_own(node);
            self.resort_in_parent(node);
        }
    }

    fn edit(&mut self, node: usize) -> &mut Node {
        &mut self.nodes[node]
    }

    /// Returns the node of a role, adding it and its ancestors if need be.
    fn ensure(&mut self, role: &str) -> usize {
        if let Some(node) = self.by_path.get(role) {
            return *node;
        }
        let ends = role.match_indices('/').map(|(end, _)| end).chain([role.len()]);
        let mut node = ROOT;
        for end in ends {
            let path = &role[..end];
            node = match self.by_path.get(path) {
                Some(known) => *known,
                None => self.add(path, node),
            };
        }
        node
    }

    fn add(&mut self, path: &str, parent: usize) -> usize {
        let path: Arc<str> = Arc::from(path);
        let index = self.unused.pop().unwrap_or(self.nodes.len());
        let top = if parent == ROOT { index } else { self.nodes[parent].top };
        let node = Node::new(path.clone(), Some(parent), top);
        if index == self.nodes.len() {
            self.nodes.push(node);
        } else {
            self.nodes[index] = node;
        }
        self.edit(parent).children += 1;
        self.by_path.insert(path, index);
        index
    }

    /// Forgets a role that nobody uses and nothing is configured for, and its ancestors likewise.
    fn prune(&mut self, node: usize) {
        let mut index = node;
        loop {
            let at = &self.nodes[index];
            let Some(parent) = at.parent else { return };
            let used = at.children > 0 || !at.slots.is_empty();
            if used || at.quota.is_some() || at.weight != Weight::ONE || at.has_reservations() {
                return;
            }
            let path = at.path.clone();
            self.by_path.remove(&path);
            self.nodes[index] = Node::new(Arc::from(""), None, ROOT);
            self.unused.push(index);
            self.edit(parent).children -= 1;
            index = parent;
        }
    }

    fn enqueue(&mut self, place: Place) {
        let totals = self.totals;
        let at = self.edit(place.node);
        let Some(client) = &mut at.clients[place.slot] else { return };
        let rank = Rank {
            share: Share::dominant(&client.allocated, &totals, Weight::ONE),
            allocations: client.allocations,
            name: client.traits.name.clone(),
        };
        client.rank = Some(rank.clone());
        at.queue.insert(rank, place.slot);
    }

    fn requeue(&mut self, place: Place) {
        let at = self.edit(place.node);
        let Some(client) = &mut at.clients[place.slot] else { return };
        if let Some(rank) = client.rank.take() {
            at.queue.remove(&rank);
            self.enqueue(place);
        }
    }

    fn resort_upwards(&mut self, node: usize) {
        self.resort_own(node);
        let mut at = Some(node);
        while let Some(index) = at {
            self.resort_in_parent(index);
            at = self.nodes[index].parent;
        }
    }

    /// Puts the virtual leaf where it belongs among the children, or away if nobody waits in it.
    fn resort_own(&mut self, node: usize) {
        let totals = self.totals;
        let at = self.edit(node);
        if let Some(rank) = at.own_rank.take() {
            at.order.remove(&rank);
        }
        if at.waits() {
            let share = Share::dominant(&at.own_allocated, &totals, Weight::ONE);
            let rank = Rank { share, allocations: at.own_allocations, name: at.virtual_path.clone() };
            at.own_rank = Some(rank.clone());
            at.order.insert(rank, node);
        }
    }

    /// Puts a node where it belongs among its siblings, or away if nobody waits below it.
    fn resort_in_parent(&mut self, node: usize) {
        let totals = self.totals;
        let at = self.edit(node);
        let Some(parent) = at.parent else { return };
        let old = at.rank.take();
        if !at.order.is_empty() {
            at.rank = Some(Rank {
                share: Share::dominant(&at.allocated, &totals, at.weight),
                allocations: at.allocations,
                name: at.path.clone(),
            });
        }
        let new = at.rank.clone();
        let above = self.edit(parent);
        if let Some(rank) = old {
            above.order.remove(&rank);
        }
        if let Some(rank) = new {
            above.order.insert(rank, node);
        }
    }
}
