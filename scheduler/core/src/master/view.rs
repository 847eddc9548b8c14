//! The read model: what the operator API shows, from the Registry and, on the leader, its local view.
//!
//! Pure functions; every master can answer from its own Registry. What only a leader knows (offers, and who is connected
//! right now rather than as of the last commit) is left out without a local view.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use tepui_proto::resources::Resources;
use tepui_proto::v1;
use tepui_proto::v1::master::{Response, response, response::Type};
use tepui_proto::v1::master_info::{Capability, capability};

use super::local_view::LocalView;
use crate::ids::{AgentId, FrameworkId};
use crate::registry::{AgentRecord, FrameworkRecord, LeaderRecord, Registry, TaskRecord};
use crate::status::time_info;

/// What the masters can do beyond what all of Mesos' could.
pub const CAPABILITIES: [capability::Type; 3] =
    [capability::Type::AgentUpdate, capability::Type::AgentDraining, capability::Type::QuotaV2];

/// Describes the leading master.
pub fn master_info(leader: &LeaderRecord) -> v1::MasterInfo {
    let port = i32::try_from(leader.port).unwrap_or_default();
    // Old clients want the address as a number whose bytes in memory are in network order.
    let ip = leader.ip.parse::<Ipv4Addr>().map_or(0, |ip| u32::from_le_bytes(ip.octets()));
    v1::MasterInfo {
        id: Some(leader.master_id.clone()),
        ip: Some(ip),
        port: Some(leader.port),
        pid: Some(format!("master@{}:{}", leader.ip, leader.port)),
        hostname: Some(leader.hostname.clone()),
        version: Some(leader.version.clone()),
        address: Some(v1::Address {
            hostname: Some(leader.hostname.clone()),
            ip: Some(leader.ip.clone()),
            port: Some(port),
        }),
        domain: leader.domain.clone(),
        capabilities: CAPABILITIES.iter().map(|kind| Capability { r#type: Some(*kind as i32) }).collect(),
    }
}

/// Returns where the agent's own endpoints are.
pub fn agent_url(agent: &AgentRecord) -> v1::Url {
    let info = agent.info.as_ref();
    let hostname = info.and_then(|info| info.hostname.clone()).unwrap_or_default();
    let ip = if agent.ip.is_empty() { hostname.clone() } else { agent.ip.clone() };
    v1::Url {
        scheme: Some("http".to_owned()),
        address: Some(v1::Address {
            hostname: Some(hostname),
            ip: Some(ip),
            port: Some(info.map_or(5051, v1::AgentInfo::port)),
        }),
        path: Some("/slave(1)".to_owned()),
        query: Vec::new(),
        fragment: None,
    }
}

/// Answers GET_STATE.
pub fn get_state(registry: &Registry, local: Option<&LocalView>) -> Response {
    Response {
        r#type: Some(Type::GetState as i32),
        get_state: Some(state(registry, local)),
        ..Default::default()
    }
}

/// Answers GET_AGENTS.
pub fn get_agents(registry: &Registry, local: Option<&LocalView>) -> Response {
    Response {
        r#type: Some(Type::GetAgents as i32),
        get_agents: Some(agents(registry, local)),
        ..Default::default()
    }
}

/// Answers GET_FRAMEWORKS.
pub fn get_frameworks(registry: &Registry, local: Option<&LocalView>) -> Response {
    Response {
        r#type: Some(Type::GetFrameworks as i32),
        get_frameworks: Some(frameworks(registry, local)),
        ..Default::default()
    }
}

/// Answers GET_TASKS.
pub fn get_tasks(registry: &Registry) -> Response {
    Response { r#type: Some(Type::GetTasks as i32), get_tasks: Some(tasks(registry)), ..Default::default() }
}

/// Answers GET_EXECUTORS.
pub fn get_executors(registry: &Registry) -> Response {
    Response {
        r#type: Some(Type::GetExecutors as i32),
        get_executors: Some(executors(registry)),
        ..Default::default()
    }
}

/// Answers GET_ROLES: every role that somebody subscribes to or holds something in.
pub fn get_roles(registry: &Registry) -> Response {
    let mut members: BTreeMap<String, Vec<v1::FrameworkId>> = BTreeMap::new();
    for (id, framework) in &registry.frameworks {
        for role in framework.roles() {
            members.entry(role).or_default().push(id.to_proto());
        }
    }
    let mut held: BTreeMap<String, Resources> = BTreeMap::new();
    for ((framework, role), amounts) in registry.charges.values().flat_map(|charges| &charges.by_client) {
        if registry.frameworks.contains_key(framework) {
            *held.entry(role.to_string()).or_default() += amounts;
        }
    }
    let names: BTreeSet<String> = members.keys().chain(held.keys()).cloned().collect();
    let roles = names.into_iter().map(|name| v1::Role {
        weight: Some(1.0),
        frameworks: members.remove(&name).unwrap_or_default(),
        resources: held.remove(&name).unwrap_or_default().allocate(&name).to_proto(),
        name: Some(name),
    });
    Response {
        r#type: Some(Type::GetRoles as i32),
        get_roles: Some(response::GetRoles { roles: roles.collect() }),
        ..Default::default()
    }
}

/// Answers GET_MASTER.
pub fn get_master(registry: &Registry) -> Response {
    let leader = registry.leader.as_deref();
    let elected = leader.map(|leader| crate::status::seconds(leader.elected_wall_ms));
    Response {
        r#type: Some(Type::GetMaster as i32),
        get_master: Some(response::GetMaster {
            master_info: leader.map(master_info),
            start_time: elected,
            elected_time: elected,
        }),
        ..Default::default()
    }
}

/// Returns everything, as GET_STATE and the first event of an operator's stream have it.
pub fn state(registry: &Registry, local: Option<&LocalView>) -> response::GetState {
    response::GetState {
        get_tasks: Some(tasks(registry)),
        get_executors: Some(executors(registry)),
        get_frameworks: Some(frameworks(registry, local)),
        get_agents: Some(agents(registry, local)),
    }
}

fn agents(registry: &Registry, local: Option<&LocalView>) -> response::GetAgents {
    let offered = offered_by(local, |offer| offer.agent_id.as_ref().map(AgentId::from));
    let mut result = response::GetAgents::default();
    for (id, record) in &registry.agents {
        if record.unreachable_ms.is_none() {
            result.agents.push(agent(registry, record, offered.get(id)));
        }
    }
    result
}

/// Returns one agent as the operator API shows it.
pub fn agent(
    registry: &Registry,
    record: &AgentRecord,
    offered: Option<&Vec<v1::Resource>>,
) -> response::get_agents::Agent {
    let id = record.id();
    let charged = registry.charges.get(&id);
    let allocated = charged.into_iter().flat_map(|charges| &charges.by_client);
    let time = |wall_ms: u64| (wall_ms > 0).then(|| time_info(wall_ms));
    let url = agent_url(record);
    let address = url.address.unwrap_or_default();
    response::get_agents::Agent {
        agent_info: record.info.clone(),
        active: Some(registry.agent_connected(record) && !record.deactivated),
        version: Some(record.version.clone()),
        pid: Some(format!("slave(1)@{}:{}", address.ip(), address.port())),
        registered_time: time(record.registered_wall_ms),
        reregistered_time: time(record.reregistered_wall_ms),
        total_resources: record.total().to_vec(),
        allocated_resources: allocated
            .flat_map(|((_, role), amounts)| amounts.allocate(role).to_proto())
            .collect(),
        offered_resources: offered.cloned().unwrap_or_default(),
        deactivated: Some(record.deactivated),
        drain_info: record.drain.as_ref().map(|drain| drain.info()),
        estimated_drain_start_time: record.drain.as_ref().and_then(|drain| time(drain.start_wall_ms)),
        ..Default::default()
    }
}

fn frameworks(registry: &Registry, local: Option<&LocalView>) -> response::GetFrameworks {
    let mut held: BTreeMap<&FrameworkId, Vec<v1::Resource>> = BTreeMap::new();
    for charges in registry.charges.values() {
        for ((framework, role), amounts) in &charges.by_client {
            held.entry(framework).or_default().extend(amounts.allocate(role).to_proto());
        }
    }
    let mut result = response::GetFrameworks::default();
    for (id, record) in &registry.frameworks {
        let mut shown = framework(registry, record, local);
        shown.allocated_resources = held.remove(id).unwrap_or_default();
        result.frameworks.push(shown);
    }
    for record in &registry.completed_frameworks {
        result.completed_frameworks.push(framework(registry, record, None));
    }
    result
}

/// Returns one framework as the operator API shows it, without what it holds.
pub fn framework(
    registry: &Registry,
    record: &FrameworkRecord,
    local: Option<&LocalView>,
) -> response::get_frameworks::Framework {
    let id = record.id();
    let connected = registry.framework_connected(record) || record.internal;
    let offers: Vec<v1::Offer> = local
        .into_iter()
        .flat_map(|local| local.offers.values())
        .filter(|offer| offer.framework_id.as_ref().is_some_and(|of| of.value() == id.as_str()))
        .map(|offer| v1::Offer::clone(offer))
        .collect();
    let time = |wall_ms: u64| (wall_ms > 0).then(|| time_info(wall_ms));
    response::get_frameworks::Framework {
        framework_info: record.info.clone(),
        active: Some(connected),
        connected: Some(connected),
        registered_time: time(record.registered_wall_ms),
        reregistered_time: time(record.reregistered_wall_ms),
        unregistered_time: time(record.unregistered_wall_ms),
        offered_resources: offers.iter().flat_map(|offer| offer.resources.clone()).collect(),
        offers,
        recovered: Some(record.recovered),
        ..Default::default()
    }
}

fn tasks(registry: &Registry) -> response::GetTasks {
    let mut result = response::GetTasks::default();
    for (key, record) in &registry.tasks {
        if registry.is_orphan(key) {
            continue;
        }
        let shown = shown(record);
        if record.unreachable_wall_ms.is_some() {
            result.unreachable_tasks.extend(shown);
        } else {
            result.tasks.extend(shown);
        }
    }
    for history in registry.history.values() {
        result.completed_tasks.extend(history.iter().filter_map(|record| shown(record)));
    }
    result
}

fn shown(record: &TaskRecord) -> Option<v1::Task> {
    record.task.clone()
}

fn executors(registry: &Registry) -> response::GetExecutors {
    let known = registry.executors.iter().filter(|(key, _)| registry.frameworks.contains_key(&key.framework));
    let executors = known.map(|(key, record)| response::get_executors::Executor {
        executor_info: record.info.as_ref().map(crate::registry::without_data),
        agent_id: Some(key.agent.to_proto()),
    });
    response::GetExecutors { executors: executors.collect(), ..Default::default() }
}

fn offered_by<K: Ord>(
    local: Option<&LocalView>,
    key: impl Fn(&v1::Offer) -> Option<K>,
) -> BTreeMap<K, Vec<v1::Resource>> {
    let mut result: BTreeMap<K, Vec<v1::Resource>> = BTreeMap::new();
    for offer in local.into_iter().flat_map(|local| local.offers.values()) {
        if let Some(key) = key(offer) {
            result.entry(key).or_default().extend(offer.resources.iter().cloned());
        }
    }
    result
}
