//! `/state`: the whole cluster in the form that Mesos' pages, service discovery and exporters read.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tepui_proto::v1::{Attribute, DomainInfo, Resource};
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::registry::AgentRecord;

use super::endpoint::flags;
use super::framework::{Framework, Shared, seconds};
use super::full::Full;
use super::records::{Amounts, text};
use crate::http::App;
use crate::http::each::Each;
use crate::runtime::reads::ReadView;
use crate::view::agents::{Standing, allocated, capabilities, offered, pid, standing};
use crate::view::frameworks::{self, reserved_role};
use crate::view::master::{self, MESOS_VERSION, PRODUCT_VERSION, master_info};
use crate::view::wanted::Wanted;

/// Everything.
#[derive(Serialize)]
struct State<'a, Agents, Awaited, Live, Ended> {
    version: &'static str,
    tepui_version: &'static str,
    build_date: &'static str,
    build_time: f64,
    build_user: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_sha: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_branch: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_tag: Option<&'static str>,
    start_time: f64,
    elected_time: f64,
    id: &'a str,
    pid: String,
    hostname: &'a str,
    capabilities: Vec<&'static str>,
    activated_slaves: usize,
    deactivated_slaves: usize,
    unreachable_slaves: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a DomainInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_log_file: Option<String>,
    leader: String,
    leader_info: Value,
    flags: Map<String, Value>,
    slaves: Agents,
    recovered_slaves: Awaited,
    frameworks: Live,
    completed_frameworks: Ended,
    orphan_tasks: [(); 0],
    unregistered_frameworks: [(); 0],
}

/// One agent.
#[derive(Serialize)]
pub(super) struct Agent<'a> {
    pub(super) id: &'a str,
    hostname: &'a str,
    port: i32,
    pid: String,
    registered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    attributes: BTreeMap<&'a str, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a DomainInfo>,
    resources: Amounts,
    used_resources: Amounts,
    offered_resources: Amounts,
    reserved_resources: BTreeMap<&'a str, Amounts>,
    unreserved_resources: Amounts,
    active: bool,
    deactivated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_info: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_drain_start_time_seconds: Option<f64>,
    version: &'a str,
    capabilities: Vec<&'static str>,
    #[serde(flatten)]
    full: Option<Full>,
}

/// The whole state, which is rendered while it is written.
pub(super) fn state<'a>(app: &'a App, view: &'a ReadView, wanted: &'a Wanted) -> impl Serialize + 'a {
    let registry = &view.registry;
    let leader = registry.leader.as_deref();
    let (mut activated, mut deactivated, mut unreachable) = (0, 0, 0);
    for agent in registry.agents.values() {
        match standing(registry, agent) {
            Standing::Unreachable => unreachable += 1,
            Standing::Recovered => {}
            Standing::Registered | Standing::Disconnected if is_active(registry, agent) => activated += 1,
            Standing::Registered | Standing::Disconnected => deactivated += 1,
        }
    }
    State {
        version: MESOS_VERSION,
        tepui_version: PRODUCT_VERSION,
        build_date: "",
        build_time: 0.0,
        build_user: "",
        git_sha: app.info.origin.git_sha,
        git_branch: app.info.origin.git_branch,
        git_tag: app.info.origin.git_tag,
        start_time: seconds(app.info.started_wall_ms),
        elected_time: leader.map_or(0.0, |leader| seconds(leader.elected_wall_ms)),
        id: leader.map_or("", |leader| leader.master_id.as_str()),
        pid: format!("master@{}:{}", app.info.ip, app.info.port),
        hostname: &app.info.hostname,
        capabilities: master::capabilities().collect(),
        activated_slaves: activated,
        deactivated_slaves: deactivated,
        unreachable_slaves: unreachable,
        cluster: app.info.cluster.as_deref(),
        domain: leader.and_then(|leader| leader.domain.as_ref()),
        external_log_file: app.info.log_file.as_ref().map(|path| path.display().to_string()),
        leader: leader.map_or_else(String::new, |leader| format!("master@{}:{}", leader.ip, leader.port)),
        leader_info: leader.map_or(Value::Null, leader_info),
        flags: flags(app),
        slaves: Each(move || agents(view, wanted)),
        recovered_slaves: Each(move || awaited(view, false, wanted)),
        frameworks: Each(move || frameworks(view, wanted)),
        completed_frameworks: Each(move || completed_frameworks(view, wanted)),
        orphan_tasks: [],
        unregistered_frameworks: [],
    }
}

/// The agents that are there or may come back by themselves.
pub(super) fn agents<'a>(view: &'a ReadView, wanted: &'a Wanted) -> impl Iterator<Item = Agent<'a>> {
    agents_that(view, false, wanted, |standing| {
        matches!(standing, Standing::Registered | Standing::Disconnected)
    })
}

/// The same with their resources as whole messages.
pub(super) fn full_agents<'a>(view: &'a ReadView, wanted: &'a Wanted) -> impl Iterator<Item = Agent<'a>> {
    agents_that(view, true, wanted, |standing| {
        matches!(standing, Standing::Registered | Standing::Disconnected)
    })
}

/// The agents that are known from before the last change of leader and are not back yet.
pub(super) fn awaited<'a>(
    view: &'a ReadView,
    full: bool,
    wanted: &'a Wanted,
) -> impl Iterator<Item = Agent<'a>> {
    agents_that(view, full, wanted, |standing| standing == Standing::Recovered)
}

/// The frameworks that are there.
pub(super) fn frameworks<'a>(view: &'a ReadView, wanted: &'a Wanted) -> impl Iterator<Item = Framework<'a>> {
    let shared = shared(view);
    let records = view.registry.frameworks.iter().filter(|(id, _)| wanted.framework(id.as_str()));
    records.filter_map(move |(_, record)| Framework::of(&view.registry, record, &shared, wanted))
}

/// The frameworks that have ended.
pub(super) fn completed_frameworks<'a>(
    view: &'a ReadView,
    wanted: &'a Wanted,
) -> impl Iterator<Item = Framework<'a>> {
    let shared = Shared { allocated: BTreeMap::new(), offers: BTreeMap::new() };
    let ended = &view.registry.completed_frameworks;
    let records = ended.iter().filter(|record| wanted.framework(record.id().as_str()));
    records.filter_map(move |record| Framework::of(&view.registry, record, &shared, wanted))
}

pub(super) fn shared(view: &ReadView) -> Shared {
    Shared {
        allocated: frameworks::allocated(&view.registry),
        offers: frameworks::offers_by_framework(view.local.as_deref()),
    }
}

fn is_active(registry: &Registry, record: &AgentRecord) -> bool {
    registry.agent_connected(record) && !record.deactivated
}

fn agents_that<'a>(
    view: &'a ReadView,
    full: bool,
    wanted: &'a Wanted,
    there: fn(Standing) -> bool,
) -> impl Iterator<Item = Agent<'a>> {
    let registry = &view.registry;
    let offers = offered(view.local.as_deref());
    let records = registry.agents.iter().filter(|(id, _)| wanted.agent(id.as_str()));
    let records = records.map(|(_, record)| record).filter(move |record| there(standing(registry, record)));
    records.filter_map(move |record| {
        let info = record.info.as_ref()?;
        let id = record.id();
        let used = allocated(registry, &id);
        let active = is_active(registry, record);
        let drain = record.drain.as_ref();
        let on_offer = offers.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
        Some(Agent {
            id: text(info.id.as_ref().and_then(|id| id.value.as_deref())),
            hostname: text(info.hostname.as_deref()),
            port: info.port.unwrap_or(5051),
            pid: pid(record).unwrap_or_default(),
            registered_time: seconds(record.registered_wall_ms),
            reregistered_time: (record.reregistered_wall_ms > 0)
                .then(|| seconds(record.reregistered_wall_ms)),
            attributes: info.attributes.iter().map(attribute).collect(),
            domain: info.domain.as_ref(),
            resources: Amounts::of(record.total()),
            used_resources: Amounts::of(&used),
            offered_resources: Amounts::of(on_offer),
            reserved_resources: reserved(record.total()),
            unreserved_resources: Amounts::of(record.total().iter().filter(|one| reserved_role(one) == "*")),
            active,
            deactivated: record.deactivated,
            drain_info: drain.and_then(|drain| serde_json::to_value(drain.info()).ok()),
            estimated_drain_start_time_seconds: drain.map(|drain| seconds(drain.start_wall_ms)),
            version: &record.version,
            capabilities: capabilities().collect(),
            full: full.then(|| Full::of(record.total(), &used, on_offer)),
        })
    })
}

fn reserved(resources: &[Resource]) -> BTreeMap<&str, Amounts> {
    let mut by_role: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
    for resource in resources.iter().filter(|one| reserved_role(one) != "*") {
        by_role.entry(reserved_role(resource)).or_default().push(resource);
    }
    by_role.into_iter().map(|(role, list)| (role, Amounts::of(list))).collect()
}

fn attribute(attribute: &Attribute) -> (&str, Value) {
    let value = if let Some(scalar) = &attribute.scalar {
        json!(scalar.value)
    } else if let Some(ranges) = &attribute.ranges {
        let range = |one: &tepui_proto::v1::value::Range| {
            format!("{}-{}", one.begin.unwrap_or_default(), one.end.unwrap_or_default())
        };
        json!(format!("[{}]", ranges.range.iter().map(range).collect::<Vec<_>>().join(", ")))
    } else {
        json!(attribute.text.as_ref().and_then(|text| text.value.as_deref()))
    };
    (text(attribute.name.as_deref()), value)
}

fn leader_info(leader: &tepui_scheduler_core::registry::LeaderRecord) -> Value {
    let info = master_info(leader);
    let mut shown = json!({
        "id": info.id,
        "pid": info.pid,
        "port": info.port,
        "hostname": info.hostname,
        "capabilities": master::capabilities().collect::<Vec<_>>(),
    });
    if let (Some(domain), Some(object)) = (&info.domain, shown.as_object_mut()) {
        object.insert("domain".to_owned(), json!(domain));
    }
    shown
}
