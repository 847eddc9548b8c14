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
