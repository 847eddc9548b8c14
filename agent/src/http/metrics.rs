//! `/metrics` in Prometheus' text form, `/metrics/snapshot` and GET_METRICS with Mesos' names. Owns those names; what can be
//! counted when it is asked for is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};
use tepui_agent_core::Agent;
use tepui_proto::v1;

use super::error::Refusal;
use super::known::{self, Known, Phase, amount};
use super::query::Query;
use super::{Inner, answer, json};
use crate::runtime::Count;

const PROMETHEUS: &str = "text/plain; version=0.0.4";

struct Numbers {
    registered: bool,
    epoch: u64,
    accepted_launch_seq: u64,
    tasks: BTreeMap<&'static str, u64>,
}

fn count(agent: &Agent) -> Numbers {
    let mut tasks = BTreeMap::new();
    // Every state has a line, so that a graph begins at zero.
    for number in 0..=i32::from(u8::MAX) {
        let Ok(state) = v1::TaskState::try_from(number) else { break };
        tasks.insert(state.as_str_name(), 0);
    }
    for task in agent.tasks() {
        *tasks.entry(task.state.as_str_name()).or_default() += 1;
    }
    Numbers {
        registered: agent.is_registered(),
        epoch: agent.epoch(),
        accepted_launch_seq: agent.accepted_launch_seq(),
        tasks,
    }
}

pub(super) async fn prometheus(app: &Arc<Inner>) -> Result<Response, Refusal> {
    let numbers = app.handle.look(count).await.ok_or_else(Refusal::unavailable)?;
    let mut text = String::new();
    let mut line = |name: &str, kind: &str, help: &str, values: &[(String, f64)]| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP tepui_agent_{name} {help}\n# TYPE tepui_agent_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(text, "tepui_agent_{name}{labels} {value}");
        }
    };
    let one = |value: f64| vec![(String::new(), value)];
    line(
        "registered",
        "gauge",
        "1 while a master holds this agent as registered",
        &one(f64::from(numbers.registered)),
    );
    line("uptime_seconds", "gauge", "seconds since the start", &one(app.observed.uptime().as_secs_f64()));
    line("epoch", "gauge", "highest epoch seen", &one(as_number(numbers.epoch)));
    line(
        "accepted_launch_seq",
        "counter",
        "highest launch accepted",
        &one(as_number(numbers.accepted_launch_seq)),
    );
    let tasks: Vec<(String, f64)> = numbers
        .tasks
        .iter()
        .map(|(state, count)| (format!("{{state=\"{state}\"}}"), as_number(*count)))
        .collect();
    line(
        "tasks",
        "gauge",
        "tasks by their newest state, those included that wait for an acknowledgement",
        &tasks,
    );
    Ok(answer(PROMETHEUS, text))
}

pub(super) async fn snapshot(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    // Nothing is waited for, so that no time that is named can run out; but it must be one.
    if let Some(text) = query.get("timeout") {
        tepui_proto::duration::parse(text)
            .map_err(|error| Refusal::bad_request(format!("'timeout' is not a duration: {error}")))?;
    }
    let shown: Map<String, Value> =
        all(app).await?.into_iter().map(|(name, number)| (name, json!(number))).collect();
    Ok(json(&shown.into(), query))
}

/// Returns all numbers under Mesos' names.
pub(super) async fn all(app: &Arc<Inner>) -> Result<BTreeMap<String, f64>, Refusal> {
    let known = known::look(app).await?;
    let mut numbers = BTreeMap::new();
    let mut put = |name: &str, number: f64| numbers.insert(format!("slave/{name}"), number);
    put("registered", f64::from(known.registered));
    put("uptime_secs", app.observed.uptime().as_secs_f64());
    put("recovery_time_secs", app.observed.recovery().as_secs_f64());
    // An agent that fails to recover does not run.
    put("recovery_errors", 0.0);
    put("frameworks_active", size(known.frameworks.len()));
    put("executor_directory_max_allowed_age_secs", app.facts.gc_delay.as_secs_f64());
    tasks_and_executors(&known, &mut put);
    for (name, count) in SINCE_START {
        put(name, as_number(app.observed.count(count)));
    }
    resources(&known, &mut put);
    numbers.insert("gc/path_removals_succeeded".to_owned(), count_of(app, Count::SandboxesRemoved));
    numbers.insert("gc/path_removals_failed".to_owned(), count_of(app, Count::SandboxesStuck));
    host(&mut numbers);
    Ok(numbers)
}

fn count_of(app: &Inner, count: Count) -> f64 {
    as_number(app.observed.count(count))
}

const SINCE_START: [(&str, Count); 13] = [
    ("tasks_finished", Count::TasksFinished),
    ("tasks_failed", Count::TasksFailed),
    ("tasks_killed", Count::TasksKilled),
    ("tasks_error", Count::TasksError),
    ("tasks_lost", Count::TasksLost),
    ("tasks_dropped", Count::TasksDropped),
    ("tasks_gone", Count::TasksGone),
    ("valid_status_updates", Count::StatusUpdates),
    ("invalid_framework_messages", Count::DroppedMessages),
    ("container_launch_errors", Count::LaunchErrors),
    ("executors_terminated", Count::ExecutorsTerminated),
    ("invalid_status_updates", Count::InvalidUpdates),
    ("valid_framework_messages", Count::Messages),
];

fn tasks_and_executors(known: &Known, put: &mut impl FnMut(&str, f64) -> Option<f64>) {
    let in_state = |wanted: v1::TaskState| {
        let all = known.executors().flat_map(|(_, executor)| &executor.tasks);
        size(all.filter(|one| one.task.state() == wanted).count())
    };
    for (name, state) in [
        ("tasks_staging", v1::TaskState::TaskStaging),
        ("tasks_starting", v1::TaskState::TaskStarting),
        ("tasks_running", v1::TaskState::TaskRunning),
        ("tasks_killing", v1::TaskState::TaskKilling),
    ] {
        put(name, in_state(state));
    }
    let in_phase =
        |wanted: Phase| size(known.executors().filter(|(_, executor)| executor.phase == wanted).count());
    put("executors_registering", in_phase(Phase::Registering));
    put("executors_running", in_phase(Phase::Running));
    put("executors_terminating", in_phase(Phase::Terminating));
    put("executors_preempted", 0.0);
}

fn resources(known: &Known, put: &mut impl FnMut(&str, f64) -> Option<f64>) {
    let held: Vec<v1::Resource> =
        known.executors().filter(|(_, one)| one.is_live()).flat_map(|(_, one)| one.resources()).collect();
    for name in ["cpus", "mem", "disk", "gpus"] {
        for revocable in [false, true] {
            let of = |list: &[v1::Resource]| {
                let list: Vec<v1::Resource> =
                    list.iter().filter(|one| one.revocable.is_some() == revocable).cloned().collect();
                amount(&list, name)
            };
            let (total, used) = (of(&known.resources), of(&held));
            let name = if revocable { format!("{name}_revocable") } else { name.to_owned() };
            put(&format!("{name}_total"), total);
            put(&format!("{name}_used"), used);
            put(&format!("{name}_percent"), if total > 0.0 { used / total } else { 0.0 });
        }
    }
}

/// What the host tells about itself; what it does not tell is left out.
pub(super) fn host(numbers: &mut BTreeMap<String, f64>) {
    let mut put = |name: &str, number: Option<f64>| {
        if let Some(number) = number {
            numbers.insert(format!("system/{name}"), number);
        }
    };
    put("cpus_total", std::thread::available_parallelism().ok().map(|cpus| size(cpus.get())));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut load = load.split_whitespace().map(|text| text.parse::<f64>().ok());
    for name in ["load_1min", "load_5min", "load_15min"] {
        put(name, load.next().flatten());
    }
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |name: &str| {
        let rest = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(rest.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
    };
    put("mem_total_bytes", bytes("MemTotal"));
    put("mem_free_bytes", bytes("MemFree"));
}

#[expect(clippy::cast_precision_loss, reason = "for display, and far below 2^53 in practice")]
fn as_number(count: u64) -> f64 {
    count as f64
}

fn size(count: usize) -> f64 {
    as_number(u64::try_from(count).unwrap_or(u64::MAX))
}
