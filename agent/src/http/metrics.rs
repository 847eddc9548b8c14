//! `/metrics` in Prometheus' text form and `/metrics/snapshot` with Mesos' names. Owns those names; everything is counted
//! when it is asked for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use axum::response::Response;
use serde_json::{Map, Value, json};
use tepui_agent_core::Agent;
use tepui_proto::v1;

use super::error::Refusal;
use super::query::Query;
use super::{Inner, answer, json};

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
    line("uptime_seconds", "gauge", "seconds since the start", &one(app.started.elapsed().as_secs_f64()));
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
    let numbers = app.handle.look(count).await.ok_or_else(Refusal::unavailable)?;
    let mut shown: Map<String, Value> = Map::new();
    shown.insert("slave/registered".to_owned(), json!(f64::from(numbers.registered)));
    shown.insert("slave/uptime_secs".to_owned(), json!(app.started.elapsed().as_secs_f64()));
    for (state, count) in &numbers.tasks {
        let name = state.trim_start_matches("TASK_").to_lowercase();
        shown.insert(format!("slave/tasks_{name}"), json!(as_number(*count)));
    }
    Ok(json(&shown.into(), query))
}

#[expect(clippy::cast_precision_loss, reason = "for display, and far below 2^53 in practice")]
fn as_number(count: u64) -> f64 {
    count as f64
}
