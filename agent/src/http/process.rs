//! The endpoints that every process of Mesos has beside its own: its host, how much it logs, and help.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use tepui_proto::process::{self, Page};
use tepui_proto::v1::DurationInfo;
use tepui_proto::v1::agent::call::SetLoggingLevel;

use super::error::Refusal;
use super::query::Query;
use super::{Inner, answer, empty, json, logging, metrics};

const TEXT: &str = "text/plain";

/// Those of `slave(1)` are reached without its name, too.
const PAGES: &[Page] = &[
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
    let numbers: BTreeMap<String, f64> =
        numbers.into_iter().map(|(name, number)| (process::system_name(&name), number)).collect();
    json(&json!(numbers), query)
}

/// Without a query the level, with `level` and `duration` another one for a while.
pub(super) fn toggle(app: &Arc<Inner>, query: &Query) -> Result<Response, Refusal> {
    let wanted = process::toggle(query.get("level"), query.get("duration"));
    let Some((level, duration)) = wanted.map_err(Refusal::bad_request)? else {
        return Ok(answer(TEXT, format!("{}\n", app.logging.level())));
    };
    let nanoseconds = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    let duration = Some(DurationInfo { nanoseconds: Some(nanoseconds) });
    logging::set(app, Some(SetLoggingLevel { level: Some(level), duration }))?;
    Ok(empty(StatusCode::OK))
}

/// The page below `/help`: all, those of a process, or one.
pub(super) fn help(path: &str) -> Result<Response, Refusal> {
    let text = process::help(PAGES, "slave(1)", path)
        .map_err(|name| Refusal::not_found(format!("there is no help for '{name}'")))?;
    Ok(answer(TEXT, text))
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::http::route;

    #[test]
    fn every_page_is_about_something() {
        for page in PAGES {
            let path = process::url(page);
            assert!(route::find(&path).is_some(), "{path}");
        }
        for path in ["/help", "/help/files", "/help/slave(1)/state", "/help/system/stats.json"] {
            assert!(help(path).is_ok(), "{path}");
        }
        assert!(help("/help/nothing").is_err());
    }
}
