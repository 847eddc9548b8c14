//! `/help`: what can be asked, a line each. A table beside the routes; a test holds the two together.

use axum::response::Response;
use hyper::StatusCode;
use tepui_proto::process::{self, Page};

use crate::http::answer;
use crate::http::error::Refusal;

const TEXT: &str = "text/plain";

/// Those of `master` are reached without its name, too.
const PAGES: &[Page] = &[
    ("files", "browse", "lists the folder ?path="),
    ("files", "debug", "tells which path stands for what"),
    ("files", "download", "sends the file ?path="),
    ("files", "read", "reads a part of the file ?path= from ?offset= on, ?length= bytes long"),
    (
        "hierarchical-allocator(1)",
        "offer_constraints_debug",
        "lists the agents that offer constraints keep from each framework, by role, and its suppressed roles",
    ),
    ("logging", "toggle", "tells how much is logged; with ?level= and ?duration= changes it for that time"),
    ("master", "api/v1", "POST: calls of operators"),
    ("master", "api/v1/scheduler", "POST: calls of frameworks"),
    ("master", "create-volumes", "POST: makes persistent volumes of reserved disk"),
    ("master", "destroy-volumes", "POST: destroys persistent volumes"),
    ("master", "flags", "tells the settings of this master"),
    ("master", "frameworks", "lists frameworks, or the one of ?framework_id="),
    ("master", "health", "answers 200 as long as this master answers"),
    ("master", "machine/down", "POST: brings machines down for maintenance"),
    ("master", "machine/up", "POST: brings machines up again"),
    ("master", "maintenance/schedule", "GET or POST: the maintenance schedule"),
    ("master", "maintenance/status", "tells which machines are being emptied and which are down"),
    ("master", "quota", "GET, POST, or DELETE below a role: quotas"),
    ("master", "redirect", "redirects to the leading master"),
    ("master", "reserve", "POST: reserves resources of an agent"),
    ("master", "roles", "lists roles with their weights and resources"),
    ("master", "slaves", "lists agents, or the one of ?slave_id="),
    ("master", "state", "tells everything about agents, frameworks and tasks"),
    ("master", "state-summary", "tells the same with numbers of tasks instead of tasks"),
    ("master", "tasks", "lists tasks, ?limit= from ?offset= on, by ?order=asc or des"),
    ("master", "teardown", "POST: ends the framework of the form's frameworkId"),
    ("master", "unreserve", "POST: gives reserved resources back"),
    ("master", "weights", "GET or PUT: weights of roles"),
    ("metrics", "", "tells the numbers in Prometheus' form"),
    ("metrics", "snapshot", "tells the numbers under Mesos' names"),
    ("registrar(1)", "registry", "tells what is kept in the log, as Mesos' Registry has it"),
    ("system", "stats.json", "tells load, processors and memory of the host"),
    ("tepui", "v1/backup", "GET: a copy of the replicated state, for tepui raft restore"),
    ("tepui", "v1/events", "the live events of the dashboard"),
    ("tepui", "v1/masters", "tells who leads and which masters there are, as it changes"),
    ("tepui", "v1/operator", "POST: calls of operators that Mesos does not have"),
    ("version", "", "tells the versions"),
];

/// The page below `/help`: all, those of a process, or one.
pub(crate) fn page(path: &str) -> Result<Response, Refusal> {
    let text = process::help(PAGES, "master", path)
        .map_err(|name| Refusal::new(StatusCode::NOT_FOUND, format!("there is no help for '{name}'")))?;
    Ok(answer::body(TEXT, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::route;

    #[test]
    fn every_page_is_about_something_and_every_route_has_a_page() {
        for page in PAGES {
            let path = process::url(page);
            assert!(route::find(&path).is_some(), "{path}");
        }
        let pages: Vec<String> = PAGES.iter().map(process::url).collect();
        for path in route::paths() {
            // Old spellings, agents' conversation, the dashboard's parts, and help itself.
            let plain =
                path.strip_suffix(".json").filter(|plain| route::paths().any(|other| other == *plain));
            if plain.is_some() || path.starts_with("tepui/assets") {
                continue;
            }
            if matches!(path, "" | "help" | "stats.json" | "tepui/v1/agent" | "system/stats") {
                continue;
            }
            let found = pages.iter().any(|page| {
                page.trim_start_matches('/') == path || page.strip_prefix("/master/") == Some(path)
            });
            assert!(found || path.starts_with("allocator"), "{path} has no page");
        }
    }

    #[test]
    fn pages_are_found_by_process_and_by_endpoint() {
        for (path, status) in [
            ("/help", 200),
            ("/help/", 200),
            ("/help/master", 200),
            ("/help/master/state", 200),
            ("/help/master/api/v1/scheduler", 200),
            ("/help/registrar%281%29/registry", 200),
            ("/help/system/stats.json", 200),
            ("/help/nothing", 404),
            ("/help/master/nothing", 404),
        ] {
            let answered = page(path).map_or(404, |response| response.status().as_u16());
            assert_eq!(answered, status, "{path}");
        }
    }
}
