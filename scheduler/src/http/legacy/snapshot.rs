//! The numbers of `/metrics/snapshot` and GET_METRICS under the names that dashboards for Mesos know.
//!
//! What grows is counted in `stats/`; what is, is counted here, in the Registry, when it is asked for.

use std::collections::BTreeMap;

use tepui_proto::v1::Resource;
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::registry::FrameworkRecord;

use crate::http::App;
use crate::runtime::reads::ReadView;
use crate::runtime::timers::wall_ms;
use crate::stats;
use crate::view::amounts::{Scalars, scalars};
use crate::view::counts::{self, Counts};
use crate::view::{roles, tasks};

/// Names and numbers.
pub(crate) fn metrics_snapshot(app: &App, view: &ReadView) -> Vec<(String, f64)> {
    let counts = counts::count(&view.registry);
    let mut all = Vec::new();
    let mut put = |name: &str, number: f64| all.push((name.to_owned(), number));
    master(app, view, &counts, &mut put);
    registrar(app, &mut put);
    allocator(view, &counts, &mut put);
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
    put("master/elected", if app.role.borrow().is_leader() { 1.0 } else { 0.0 });
    put("master/uptime_secs", uptime_ms as f64 / 1000.0);
    let numbers = [
        ("slaves_active", counts.agents_registered),
        ("slaves_connected", counts.agents_registered),
        ("slaves_disconnected", counts.agents_disconnected),
        ("slaves_inactive", counts.agents_disconnected),
        ("slaves_unreachable", counts.agents_unreachable),
        ("frameworks_active", counts.frameworks_connected),
        ("frameworks_connected", counts.frameworks_connected),
        ("frameworks_disconnected", counts.frameworks_disconnected),
        ("frameworks_inactive", counts.frameworks_disconnected),
        ("outstanding_offers", offers),
        ("operator_event_stream_subscribers", app.operator_events.subscribers()),
        ("event_queue_messages", 0),
        ("event_queue_dispatches", 0),
        ("event_queue_http_requests", app.handle.queued()),
    ];
    for (name, number) in numbers {
        put(&format!("master/{name}"), number as f64);
    }
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
fn registrar(app: &App, put: &mut impl FnMut(&str, f64)) {
    let status = app.replica.status();
    put("registrar/log/recovered", if status.applied_index.is_some() { 1.0 } else { 0.0 });
    put("registrar/log/ensemble_size", status.members.len() as f64);
    put("registrar/queued_operations", app.metrics.proposals_in_flight.get() as f64);
}

fn allocator(view: &ReadView, counts: &Counts, put: &mut impl FnMut(&str, f64)) {
    put("allocator/mesos/event_queue_dispatches", 0.0);
    let roles = roles::roles(&view.registry, view.local.as_deref());
    let offers = view.local.iter().flat_map(|local| local.offers.values());
    let offered = scalars(offers.flat_map(|offer| &offer.resources));
    for (name, pick) in SCALARS {
        put(&format!("allocator/mesos/resources/{name}/total"), pick(&counts.total));
        let held = pick(&counts.allocated) + pick(&offered);
        put(&format!("allocator/mesos/resources/{name}/offered_or_allocated"), held);
    }
    for (name, role) in roles {
        let held = scalars(role.allocated.iter().chain(&role.offered));
        let share = SCALARS
            .into_iter()
            .map(|(_, pick)| if pick(&counts.total) > 0.0 { pick(&held) / pick(&counts.total) } else { 0.0 })
            .fold(0.0, f64::max);
        put(&format!("allocator/mesos/roles/{name}/shares/dominant"), share);
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
