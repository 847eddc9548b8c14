//! Frameworks as the operator API shows them.

use std::collections::BTreeMap;

use serde::Serialize;
use tepui_proto::ids::{AgentId, FrameworkId};
use tepui_proto::v1::master::response::{GetFrameworks, get_frameworks::Framework};
use tepui_proto::v1::{AgentInfo, Offer, Resource};
use tepui_scheduler_core::allocator::excluded_by_constraints;
use tepui_scheduler_core::registry::FrameworkRecord;
use tepui_scheduler_core::{LocalView, Registry};

use crate::view::agents::allocated_to;
use crate::view::instant;
use crate::view::wanted::Wanted;

/// GET_FRAMEWORKS.
pub(crate) fn get_frameworks(registry: &Registry, local: Option<&LocalView>) -> GetFrameworks {
    let all = Wanted::default();
    GetFrameworks {
        frameworks: live(registry, local, &all).collect(),
        completed_frameworks: completed(registry, &all).collect(),
        recovered_frameworks: Vec::new(),
    }
}

/// The frameworks that are there.
pub(crate) fn live<'a>(
    registry: &'a Registry,
    local: Option<&'a LocalView>,
    wanted: &'a Wanted,
) -> impl Iterator<Item = Framework> {
    let (allocated, offers) = (allocated(registry), offers_by_framework(local));
    let records = registry.frameworks.iter().filter(|(id, _)| wanted.framework(id.as_str()));
    records.map(move |(id, record)| {
        let mut shown = framework(registry, record);
        shown.allocated_resources = allocated.get(id).cloned().unwrap_or_default();
        shown.offers = offers.get(id.as_str()).cloned().unwrap_or_default();
        let inverse = local.into_iter().flat_map(|local| local.inverse_offers.values());
        let inverse =
            inverse.filter(|offer| offer.framework_id.as_ref().is_some_and(|of| of.value() == id.as_str()));
        shown.inverse_offers = inverse.map(|offer| offer.as_ref().clone()).collect();
        shown.offered_resources = shown.offers.iter().flat_map(|offer| offer.resources.clone()).collect();
        shown
    })
}

/// The frameworks that have ended.
pub(crate) fn completed<'a>(registry: &'a Registry, wanted: &'a Wanted) -> impl Iterator<Item = Framework> {
    let ended = registry.completed_frameworks.iter();
    ended.filter(|record| wanted.framework(record.id().as_str())).map(|record| framework(registry, record))
}

/// One framework without its resources, which take a walk over all agents.
pub(crate) fn framework(registry: &Registry, record: &FrameworkRecord) -> Framework {
    let connected = registry.framework_connected(record);
    Framework {
        framework_info: record.info.clone(),
        active: Some(connected || record.internal),
        connected: Some(connected || record.internal),
        registered_time: instant(record.registered_wall_ms),
        reregistered_time: instant(record.reregistered_wall_ms),
        unregistered_time: instant(record.unregistered_wall_ms),
        offers: Vec::new(),
        inverse_offers: Vec::new(),
        allocated_resources: Vec::new(),
        offered_resources: Vec::new(),
        recovered: Some(record.recovered),
        offer_constraints: record.offer_constraints.clone(),
    }
}

/// What offer constraints keep from each framework, and what it does not want at present.
#[derive(Serialize)]
pub(crate) struct Constraints {
    suppressed_roles: Vec<String>,
    excluded_by_attribute_constraints: BTreeMap<String, Vec<String>>,
}

/// The same for all frameworks, by their ids; agents that are given up are not looked at.
pub(crate) fn constraints(registry: &Registry) -> BTreeMap<String, Constraints> {
    let there = registry.agents.values().filter(|record| record.unreachable_ms.is_none());
    let agents: Vec<&AgentInfo> = there.filter_map(|record| record.info.as_ref()).collect();
    let of = |record: &FrameworkRecord| {
        let excluded = excluded_by_constraints(
            record.offer_constraints.as_ref(),
            &record.roles(),
            agents.iter().copied(),
        );
        let named = |ids: Vec<AgentId>| ids.iter().map(|id| id.as_str().to_owned()).collect();
        Constraints {
            suppressed_roles: record.suppressed_roles.clone(),
            excluded_by_attribute_constraints: excluded
                .into_iter()
                .map(|(role, agents)| (role, named(agents)))
                .collect(),
        }
    };
    registry.frameworks.iter().map(|(id, record)| (id.as_str().to_owned(), of(record))).collect()
}

/// What live tasks of each framework hold, by one walk over all agents.
pub(crate) fn allocated(registry: &Registry) -> BTreeMap<FrameworkId, Vec<Resource>> {
    let mut all: BTreeMap<FrameworkId, Vec<Resource>> = BTreeMap::new();
    for charges in registry.charges.values() {
        for ((framework, role), resources) in &charges.by_client {
            let held = resources.to_proto().into_iter().map(|resource| allocated_to(resource, role));
            all.entry(framework.clone()).or_default().extend(held);
        }
    }
    all
}

/// Outstanding offers by the framework that has them; empty where only the leading master knows.
pub(crate) fn offers_by_framework(local: Option<&LocalView>) -> BTreeMap<String, Vec<Offer>> {
    let mut all: BTreeMap<String, Vec<Offer>> = BTreeMap::new();
    for offer in local.into_iter().flat_map(|local| local.offers.values()) {
        let id = offer.framework_id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default();
        all.entry(id).or_default().push(offer.as_ref().clone());
    }
    all
}

/// The role that a resource is reserved for, `*` if for none.
pub(crate) fn reserved_role(resource: &Resource) -> &str {
    let refined = resource.reservations.last().and_then(|reservation| reservation.role.as_deref());
    refined.or(resource.role.as_deref()).unwrap_or("*")
}
