//! The numbers of `/metrics/snapshot` and GET_METRICS under the names that dashboards for Mesos know.
//!
//! What grows is counted in `stats/`; what is, is counted here, in the Registry, when it is asked for.

use std::collections::BTreeMap;

use tepui_proto::v1::Resource;
use tepui_proto::v1::offer::operation::Type as Operation;
use tepui_scheduler_core::registry::FrameworkRecord;
use tepui_scheduler_core::{OperationNumbers, Registry};

use crate::http::App;
use crate::runtime::reads::ReadView;
use crate::runtime::timers::wall_ms;
use crate::stats;
use crate::view::amounts::{Scalars, scalars};
use crate::view::counts::{self, Counts};
use crate::view::roles::Role;
use crate::view::{roles, settings, tasks};

/// Names and numbers.
pub(crate) fn metrics_snapshot(app: &App, view: &ReadView) -> Vec<(String, f64)> {
    let counts = counts::count(&view.registry);
    let mut all = Vec::new();
    let mut put = |name: &str, number: f64| all.push((name.to_owned(), number));
    master(app, view, &counts, &mut put);
    registrar(app, view, &mut put);
    let roles = roles::roles(&view.registry, view.local.as_deref());
    allocator(view, &counts, &roles, &mut put);
    quotas(view, &roles, &mut put);
    operations(view, &mut put);
    if app.stats.frameworks.wanted() {
        for record in view.registry.frameworks.values() {
            framework(&view.registry, record, &mut put);
        }
    }
    all.extend(stats::system());
    all.extend(app.stats.numbers(&view.registry));
    all
}

fn master(app: &App, view: &ReadView, counts: &Counts, put: &mut impl FnMut(&str, f64)) {
    let uptime_ms = wall_ms().saturating_sub(app.info.started_wall_ms);
    let offers = view.local.as_ref().map_or(0, |local| local.offers.len());
    let (messages, requests) = app.handle.queued();
    put("master/elected", if app.role.borrow().is_leader() { 1.0 } else { 0.0 });
    put("master/uptime_secs", uptime_ms as f64 / 1000.0);
    let numbers = [
        ("slaves_active", counts.agents_active),
        ("slaves_connected", counts.agents_registered),
        ("slaves_disconnected", counts.agents_disconnected),
        ("slaves_inactive", counts.agents_registered - counts.agents_active + counts.agents_disconnected),
        ("slaves_unreachable", counts.agents_unreachable),
        ("frameworks_active", counts.frameworks_connected),
        ("frameworks_connected", counts.frameworks_connected),
        ("frameworks_disconnected", counts.frameworks_disconnected),
        ("frameworks_inactive", counts.frameworks_disconnected),
        ("outstanding_offers", offers),
        ("operator_event_stream_subscribers", app.operator_events.subscribers()),
        ("event_queue_messages", messages),
        ("event_queue_dispatches", app.board.waiting()),
        ("event_queue_http_requests", requests),
    ];
    for (name, number) in numbers {
        put(&format!("master/{name}"), number as f64);
    }
    let fleet = view.local.as_ref().map(|local| local.counters).unwrap_or_default();
    put("master/slave_unreachable_scheduled", fleet.unreachable_scheduled as f64);
    put("master/slave_unreachable_completed", fleet.unreachable_completed as f64);
    put("master/slave_unreachable_canceled", fleet.unreachable_canceled as f64);
    let revocable = |resource: &&Resource| resource.revocable.is_some();
    let agents = view.registry.agents.values().filter(|agent| agent.unreachable_ms.is_none());
    let revocable_total = scalars(agents.flat_map(|agent| agent.total()).filter(revocable));
    for (name, pick) in SCALARS {
        let kinds = [
            ("", pick(&counts.total), pick(&counts.allocated)),
            // Nothing revocable is ever in use: it is not offered yet.
            ("revocable_", pick(&revocable_total), 0.0),
        ];
        for (kind, total, used) in kinds {
            put(&format!("master/{name}_{kind}total"), total);
            put(&format!("master/{name}_{kind}used"), used);
            put(&format!("master/{name}_{kind}percent"), if total > 0.0 { used / total } else { 0.0 });
        }
    }
    // Only what is still going on: the ended ones are counted as they end.
    for state in ["staging", "starting", "running", "killing", "unreachable"] {
        let name = format!("TASK_{}", state.to_uppercase());
        let number = counts.tasks.get(name.as_str()).copied().unwrap_or_default();
        put(&format!("master/tasks_{state}"), number as f64);
    }
}

/// Raft under the names of Mesos' registrar and its replicated log.
fn registrar(app: &App, view: &ReadView, put: &mut impl FnMut(&str, f64)) {
    let status = app.replica.status();
    put("registrar/log/recovered", if status.applied_index.is_some() { 1.0 } else { 0.0 });
    put("registrar/log/ensemble_size", status.members.len() as f64);
    put("registrar/queued_operations", app.metrics.proposals_in_flight.get() as f64);
    if let Some(bytes) = app.stats.registry_bytes(&view.registry, view.applied_index) {
        put("registrar/registry_size_bytes", bytes as f64);
    }
}

fn allocator(
    view: &ReadView,
    counts: &Counts,
    roles: &BTreeMap<String, Role>,
    put: &mut impl FnMut(&str, f64),
) {
    let numbers = view.local.as_ref().map(|local| local.numbers.clone()).unwrap_or_default();
    put("allocator/mesos/allocation_runs", numbers.allocation.runs as f64);
    put("allocator/mesos/event_queue_dispatches", numbers.allocation.waiting as f64);
    for role in roles.keys() {
        let active = numbers.filters.get(role.as_str()).copied().unwrap_or_default();
        put(&format!("allocator/mesos/offer_filters/roles/{role}/active"), active as f64);
    }
    let offers = view.local.iter().flat_map(|local| local.offers.values());
    let offered = scalars(offers.flat_map(|offer| &offer.resources));
    for (name, pick) in SCALARS {
        put(&format!("allocator/mesos/resources/{name}/total"), pick(&counts.total));
        let held = pick(&counts.allocated) + pick(&offered);
        put(&format!("allocator/mesos/resources/{name}/offered_or_allocated"), held);
    }
    for (name, role) in roles {
        let held = scalars(role.allocated.iter().chain(&role.offered));
        let counts_for_share = |name: &str| !numbers.excluded_from_shares.contains(name);
        let share = SCALARS
            .into_iter()
            .filter(|(kind, _)| counts_for_share(kind))
            .map(|(_, pick)| if pick(&counts.total) > 0.0 { pick(&held) / pick(&counts.total) } else { 0.0 })
            .fold(0.0, f64::max);
        put(&format!("allocator/mesos/roles/{name}/shares/dominant"), share / role.weight);
    }
}

/// Roles with a quota: what it is, what counts for it, and what the role holds or is offered.
fn quotas(view: &ReadView, roles: &BTreeMap<String, Role>, put: &mut impl FnMut(&str, f64)) {
    let nothing = Role::default();
    for (name, quota) in &view.registry.quotas {
        let role = roles.get(&**name).unwrap_or(&nothing);
        let held = scalars(role.allocated.iter().chain(&role.offered));
        let consumed = scalars(role.consumed());
        let start = format!("allocator/mesos/quota/roles/{name}/resources");
        for (kind, amounts) in [("guarantee", &quota.guarantees), ("limit", &quota.limits)] {
            for (resource, amount) in settings::numbers(amounts) {
                put(&format!("{start}/{resource}/{kind}"), amount);
            }
        }
        for (resource, pick) in SCALARS {
            put(&format!("{start}/{resource}/offered_or_allocated"), pick(&held));
            put(&format!("{start}/{resource}/consumed"), pick(&consumed));
        }
    }
}

/// What becomes of reservations and volumes. They end when they are committed, so that nothing of them is ever lost with an agent.
fn operations(view: &ReadView, put: &mut impl FnMut(&str, f64)) {
    let known = view.local.as_ref().map(|local| local.numbers.operations.clone()).unwrap_or_default();
    let mut all = OperationNumbers::default();
    for kind in OPERATIONS {
        let one = known.get(&(kind as i32)).copied().unwrap_or_default();
        states(&format!("master/operations/{}", kind.as_str_name().to_lowercase()), &one, put);
        all.total += one.total;
        all.pending += one.pending;
        all.finished += one.finished;
        all.error += one.error;
        all.dropped += one.dropped;
    }
    states("master/operations", &all, put);
}

fn states(prefix: &str, numbers: &OperationNumbers, put: &mut impl FnMut(&str, f64)) {
    let states = [
        ("total", numbers.total),
        ("pending", numbers.pending),
        ("finished", numbers.finished),
        ("error", numbers.error),
        ("dropped", numbers.dropped),
        ("failed", 0),
        ("recovering", 0),
        ("unreachable", 0),
        ("gone_by_operator", 0),
    ];
    for (state, number) in states {
        put(&format!("{prefix}/{state}"), number as f64);
    }
}

/// What a framework has now; what it said and was told is counted as it happens.
fn framework(registry: &Registry, record: &FrameworkRecord, put: &mut impl FnMut(&str, f64)) {
    let prefix = stats::prefix(record);
    let connected = record.internal || registry.framework_connected(record);
    put(&format!("{prefix}/subscribed"), if connected { 1.0 } else { 0.0 });
    for role in record.roles() {
        let suppressed = record.suppressed_roles.contains(&role);
        put(&format!("{prefix}/roles/{role}/suppressed"), if suppressed { 1.0 } else { 0.0 });
    }
    let id = record.id();
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    let live = tasks::of_framework(registry, &id);
    for task in live.chain(registry.history.get(&id).into_iter().flatten()) {
        let state = task.state();
        let part = if state.is_terminal() { "terminal" } else { "active" };
        *states.entry(format!("{part}/{}", state.as_str_name().to_lowercase())).or_default() += 1;
    }
    for (state, number) in states {
        put(&format!("{prefix}/tasks/{state}"), number as f64);
    }
}

/// How a number is taken from a sum.
type Pick = fn(&Scalars) -> f64;

/// The resources that Mesos counts.
const SCALARS: [(&str, Pick); 4] =
    [("cpus", |all| all.cpus), ("mem", |all| all.mem), ("disk", |all| all.disk), ("gpus", |all| all.gpus)];

/// The operations on resources that there are.
const OPERATIONS: [Operation; 8] = [
    Operation::Reserve,
    Operation::Unreserve,
    Operation::Create,
    Operation::Destroy,
    Operation::GrowVolume,
    Operation::ShrinkVolume,
    Operation::CreateDisk,
    Operation::DestroyDisk,
];
