//! The numbers of `/metrics/snapshot` and GET_METRICS under the names that dashboards for Mesos know.

use crate::http::App;
use crate::runtime::reads::ReadView;
use crate::runtime::timers::wall_ms;
use crate::view::counts;

/// Names and numbers.
pub(crate) fn metrics_snapshot(app: &App, view: &ReadView) -> Vec<(String, f64)> {
    let counts = counts::count(&view.registry);
    let offers = view.local.as_ref().map_or(0, |local| local.offers.len());
    let uptime_ms = wall_ms().saturating_sub(app.info.started_wall_ms);
    let mut numbers = vec![
        ("master/elected", if app.role.borrow().is_leader() { 1.0 } else { 0.0 }),
        ("master/uptime_secs", uptime_ms as f64 / 1000.0),
        ("master/slaves_active", counts.agents_registered as f64),
        ("master/slaves_connected", counts.agents_registered as f64),
        ("master/slaves_disconnected", counts.agents_disconnected as f64),
        ("master/slaves_inactive", counts.agents_disconnected as f64),
        ("master/slaves_unreachable", counts.agents_unreachable as f64),
        ("master/frameworks_active", counts.frameworks_connected as f64),
        ("master/frameworks_connected", counts.frameworks_connected as f64),
        ("master/frameworks_disconnected", counts.frameworks_disconnected as f64),
        ("master/frameworks_inactive", counts.frameworks_disconnected as f64),
        ("master/outstanding_offers", offers as f64),
        ("registrar/log/recovered", 1.0),
    ];
    let amounts = [
        ("cpus", counts.total.cpus, counts.allocated.cpus),
        ("mem", counts.total.mem, counts.allocated.mem),
        ("disk", counts.total.disk, counts.allocated.disk),
        ("gpus", counts.total.gpus, counts.allocated.gpus),
    ];
    let mut all: Vec<(String, f64)> =
        numbers.drain(..).map(|(name, number)| (name.to_owned(), number)).collect();
    for (name, total, used) in amounts {
        all.push((format!("master/{name}_total"), total));
        all.push((format!("master/{name}_used"), used));
        all.push((format!("master/{name}_percent"), if total > 0.0 { used / total } else { 0.0 }));
    }
    for state in
        ["staging", "starting", "running", "killing", "finished", "failed", "killed", "lost", "unreachable"]
    {
        let name = format!("TASK_{}", state.to_uppercase());
        let number = counts.tasks.get(name.as_str()).copied().unwrap_or_default();
        all.push((format!("master/tasks_{state}"), number as f64));
    }
    all
}
