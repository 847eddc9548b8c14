//! Agents as the operator API shows them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_proto::ids::AgentId;
use tepui_proto::origin::AGENT_CAPABILITIES;
use tepui_proto::v1::agent_info::capability::Type as CapabilityType;
use tepui_proto::v1::master::response::{GetAgents, get_agents::Agent};
use tepui_proto::v1::{self, Resource};
use tepui_scheduler_core::registry::AgentRecord;
use tepui_scheduler_core::{LocalView, Registry};

use crate::view::instant;
use crate::view::wanted::Wanted;

/// Where an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Registered with the present leader.
    Registered,
    /// Its stream to the present leader ended; it may come back.
    Disconnected,
    /// Known from before the last leader change and not back yet.
    Recovered,
    /// Given up for now.
    Unreachable,
}

/// Says where an agent stands.
pub(crate) fn standing(registry: &Registry, agent: &AgentRecord) -> Standing {
    if agent.unreachable_ms.is_some() {
        Standing::Unreachable
    } else if registry.agent_connected(agent) {
        Standing::Registered
    } else if registry.agent_awaited(agent) {
        Standing::Recovered
    } else {
        Standing::Disconnected
    }
}

/// GET_AGENTS. Unreachable agents are in no list, as in Mesos.
pub(crate) fn get_agents(registry: &Registry, local: Option<&LocalView>) -> GetAgents {
    let all = Wanted::default();
    GetAgents {
        agents: there(registry, local, &all).collect(),
        recovered_agents: recovered(registry, &all).filter_map(|record| record.info.clone()).collect(),
    }
}

/// The agents that are there or may come back by themselves.
pub(crate) fn there<'a>(
    registry: &'a Registry,
    local: Option<&LocalView>,
    wanted: &'a Wanted,
) -> impl Iterator<Item = Agent> + use<'a> {
    let offered = offered(local);
    records_there(registry, wanted).map(move |record| agent(registry, &offered, record))
}

/// The records of the same agents.
pub(crate) fn records_there<'a>(
    registry: &'a Registry,
    wanted: &'a Wanted,
) -> impl Iterator<Item = &'a Arc<AgentRecord>> {
    let there = |standing| matches!(standing, Standing::Registered | Standing::Disconnected);
    standing_as(registry, wanted, there)
}

/// The agents that are known from before the last change of leader and are not back yet.
pub(crate) fn recovered<'a>(
    registry: &'a Registry,
    wanted: &'a Wanted,
) -> impl Iterator<Item = &'a Arc<AgentRecord>> {
    standing_as(registry, wanted, |standing| standing == Standing::Recovered)
}

fn standing_as<'a>(
    registry: &'a Registry,
    wanted: &'a Wanted,
    shown: fn(Standing) -> bool,
) -> impl Iterator<Item = &'a Arc<AgentRecord>> {
    let records = registry.agents.iter().filter(|(id, _)| wanted.agent(id.as_str()));
    records.map(|(_, record)| record).filter(move |record| shown(standing(registry, record)))
}

/// One agent.
pub(crate) fn agent(registry: &Registry, offered: &Offered, record: &Arc<AgentRecord>) -> Agent {
    let id = record.id();
    Agent {
        agent_info: record.info.clone(),
        active: Some(registry.agent_connected(record) && !record.deactivated),
        version: Some(record.version.clone()),
        pid: pid(record),
        registered_time: instant(record.registered_wall_ms),
        reregistered_time: instant(record.reregistered_wall_ms),
        total_resources: record.total().to_vec(),
        allocated_resources: allocated(registry, &id),
        offered_resources: offered.get(id.as_str()).cloned().unwrap_or_default(),
        capabilities: AGENT_CAPABILITIES
            .iter()
            .map(|kind| v1::agent_info::Capability { r#type: Some(*kind as i32) })
            .collect(),
        resource_providers: Vec::new(),
        deactivated: Some(record.deactivated),
        drain_info: record.drain.as_ref().map(|drain| drain.info()),
        estimated_drain_start_time: record.drain.as_ref().and_then(|drain| instant(drain.start_wall_ms)),
    }
}

/// The names of what agents can do.
pub(crate) fn capabilities() -> impl Iterator<Item = &'static str> {
    AGENT_CAPABILITIES.iter().map(CapabilityType::as_str_name)
}

/// What live tasks hold on an agent.
pub(crate) fn allocated(registry: &Registry, id: &AgentId) -> Vec<Resource> {
    let Some(charges) = registry.charges.get(id) else { return Vec::new() };
    let mut all = Vec::new();
    for ((_, role), resources) in &charges.by_client {
        all.extend(resources.to_proto().into_iter().map(|resource| allocated_to(resource, role)));
    }
    all
}

/// What outstanding offers hold, by agent.
pub(crate) type Offered = BTreeMap<String, Vec<Resource>>;

/// What outstanding offers hold of each agent; empty where only the leading master knows.
pub(crate) fn offered(local: Option<&LocalView>) -> Offered {
    let mut all = Offered::new();
    for offer in local.into_iter().flat_map(|local| local.offers.values()) {
        let id = offer.agent_id.as_ref().and_then(|id| id.value.clone()).unwrap_or_default();
        all.entry(id).or_default().extend(offer.resources.iter().cloned());
    }
    all
}

/// The address in the form that clients of Mesos take apart.
pub(crate) fn pid(record: &AgentRecord) -> Option<String> {
    let info = record.info.as_ref()?;
    let host = ip(record).or(info.hostname.as_deref())?;
    Some(format!("slave(1)@{host}:{}", info.port.unwrap_or(5051)))
}

/// The address that the agent named, if it did.
pub(crate) fn ip(record: &AgentRecord) -> Option<&str> {
    (!record.ip.is_empty()).then_some(record.ip.as_str())
}

/// Names the role that a resource is allocated to.
pub(crate) fn allocated_to(mut resource: Resource, role: &str) -> Resource {
    resource.allocation_info = Some(v1::resource::AllocationInfo { role: Some(role.to_owned()) });
    resource
}
