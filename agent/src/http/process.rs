//! The endpoints that every process of Mesos has beside its own: its host, how much it logs, and help.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use tepui_proto::duration;
use tepui_proto::v1::DurationInfo;
use tepui_proto::v1::agent::call::SetLoggingLevel;

use super::error::Refusal;
use super::query::Query;
use super::{Inner, answer, empty, json, logging, metrics};

const TEXT: &str = "text/plain";

/// The name of a process in Mesos, an endpoint of it, and what that is for. Those of `slave(1)` are reached without its name, too.
const PAGES: &[(&str, &str, &str)] = &[
    ("files", "browse", "lists the folder ?path="),
    ("files", "debug", "tells which path stands for what"),
    ("files", "download", "sends the file ?path="),
    ("files", "read", "reads a part of the file ?path= from ?offset= on, ?length= bytes long"),
    ("logging", "toggle", "tells how much is logged; with ?level= and ?duration= changes it for that time"),
    ("metrics", "", "tells the numbers in Prometheus' form"),
    ("metrics", "snapshot", "tells the numbers under Mesos' names"),
    ("slave(1)", "api/v1", "POST: calls of operators"),
    ("slave(1)", "api/v1/executor", "POST: calls of executors"),
    ("slave(1)", "containers", "lists containers with what they use"),
    ("slave(1)", "flags", "tells the settings of this agent"),
    ("slave(1)", "health", "answers 200 as long as this agent answers"),
    ("slave(1)", "monitor/statistics", "tells what executors use"),
    ("slave(1)", "state", "tells everything about this agent, its frameworks, executors and tasks"),
    ("system", "stats.json", "tells load, processors and memory of the host"),
    ("tepui", "v1/sandbox", "reads a part of a file of a task"),
    ("version", "", "tells the versions"),
];

/// The host's numbers under the names of this endpoint, which are older than those of the metrics.
pub(super) fn system(query: &Query) -> Response {
    let mut numbers = BTreeMap::new();
    metrics::host(&mut numbers);
    let renamed = |name: String| match name.trim_start_matches("system/") {
        load if load.starts_with("load_") => format!("avg_{load}"),
        other => other.to_owned(),
    };
    let numbers: BTreeMap<String, f64> =
        numbers.into_iter().map(|(name, number)| (renamed(name), number)).collect();
    json(&json!(numbers), query)
}

/// Without a query the level, with `level` and `duration` another one for a while.
pub(super) fn toggle(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let (level, duration) = match (query.get("level"), query.get("duration")) {
        (None, None) => return Ok(answer(TEXT, format!("{}\n", app.logging.level()))),
        (None, Some(_)) => return Err(Refusal::bad_request("expecting 'level=value' in the query")),
        (Some(_), None) => return Err(Refusal::bad_request("expecting 'duration=value' in the query")),
        (Some(level), Some(duration)) => (level, duration),
    };
    let level: u32 = level.parse().map_err(|_| {
        Refusal::bad_request(format!("'level' must be a whole number from 0 on, not '{level}'"))
    })?;
    let duration = duration::parse(duration)
        .map_err(|error| Refusal::bad_request(format!("failed to parse 'duration': {error}")))?;
    let nanoseconds = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    let duration = Some(DurationInfo { nanoseconds: Some(nanoseconds) });
    logging::set(app, Some(SetLoggingLevel { level: Some(level), duration }))?;
    Ok(empty(StatusCode::OK))
}

/// The page below `/help`: all, those of a process, or one.
pub(super) fn help(path: &str) -> Result<Response, Refusal> {
    let path = path.trim_matches('/');
    let path = path.strip_prefix("slave(1)/").unwrap_or(path);
    let wanted = path.strip_prefix("help").unwrap_or_default().trim_matches('/').trim_end_matches(".json");
    let chosen = |process: &str, name: &str| {
        wanted.is_empty() || wanted == process || wanted == url(process, name).trim_start_matches('/')
    };
    let lines: Vec<String> = PAGES
        .iter()
        // `stats.json` has its suffix in its name.
        .filter(|(process, name, _)| chosen(process, name.trim_end_matches(".json")))
        .map(|(process, name, what)| format!("{}\n    {what}\n", url(process, name)))
        .collect();
    if lines.is_empty() {
        return Err(Refusal::not_found(format!("there is no help for '{wanted}'")));
    }
    Ok(answer(TEXT, lines.concat()))
}

fn url(process: &str, name: &str) -> String {
    if name.is_empty() { format!("/{process}") } else { format!("/{process}/{name}") }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::http::route;

    #[test]
    fn every_page_is_about_something() {
        for (process, name, _) in PAGES {
            let path = url(process, name);
            assert!(route::find(&path).is_some(), "{path}");
        }
        for path in ["/help", "/help/files", "/help/slave(1)/state", "/help/system/stats.json"] {
            assert!(help(path).is_ok(), "{path}");
        }
        assert!(help("/help/nothing").is_err());
    }
}
