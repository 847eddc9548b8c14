//! What only the leading master knows, for reads: a clone that costs constant time.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use tepui_proto::v1;

use super::fleet::FleetCounters;
use super::numbers::Numbers;
use crate::ids::{AgentId, FrameworkId, OfferId};

/// Connections and offers of this leadership.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalView {
    /// Whether this master leads and its `TakeLead` has been applied.
    pub serving: bool,
    pub offers: OrdMap<OfferId, Arc<v1::Offer>>,
    pub connected_frameworks: OrdSet<FrameworkId>,
    pub connected_agents: OrdSet<AgentId>,
    pub inverse_offers: OrdMap<OfferId, Arc<v1::InverseOffer>>,
    /// What frameworks answered about scheduled agents.
    pub inverse_statuses: OrdMap<(AgentId, FrameworkId), Arc<v1::allocator::InverseOfferStatus>>,
    pub counters: FleetCounters,
    pub numbers: Numbers,
    /// The static list of roles; empty if all can be used.
    pub listed_roles: Arc<BTreeSet<String>>,
}

impl LocalView {
    /// Whether a reader of the state sees the same in both. May say no where it is, and takes constant time: numbers do not count, and what is
    /// shared is not looked into.
    #[must_use]
    pub fn shows_the_same(&self, other: &LocalView) -> bool {
        self.serving == other.serving
            && self.offers.ptr_eq(&other.offers)
            && self.connected_frameworks.ptr_eq(&other.connected_frameworks)
            && self.connected_agents.ptr_eq(&other.connected_agents)
            && self.inverse_offers.ptr_eq(&other.inverse_offers)
            && self.inverse_statuses.ptr_eq(&other.inverse_statuses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_shows_the_same_until_something_changes() {
        let view = LocalView { connected_agents: OrdSet::unit("a".into()), ..LocalView::default() };
        let mut other = view.clone();
        other.numbers.operations.clear();
        assert!(view.shows_the_same(&other));
        other.connected_agents.insert("b".into());
        assert!(!view.shows_the_same(&other));
        assert!(!view.shows_the_same(&LocalView { serving: true, ..view.clone() }));
    }
}
