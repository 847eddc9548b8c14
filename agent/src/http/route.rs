//! Which path leads where. A pure table: routes match by the longest prefix of whole path segments, as Mesos' do, because
//! existing clients rely on it (`/api/v1/operator` reaches `/api/v1`). Looks at nothing but the path.

use tepui_proto::routes::{self, Table, Tail, trimmed};

/// What answers a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Operator,
    Executor,
    Health,
    Version,
    State,
    Flags,
    Containers,
    Statistics,
    Metrics,
    Snapshot,
    Browse,
    Read,
    Download,
    Debug,
    Sandbox,
    System,
    Toggle,
    Help,
}
const TABLE: &Table<Route> = &[
    ("api/v1", Tail::Any, Route::Operator),
    ("api/v1/executor", Tail::Any, Route::Executor),
    ("containers", Tail::Any, Route::Containers),
    ("files/browse", Tail::Any, Route::Browse),
    ("files/debug", Tail::Any, Route::Debug),
    ("files/download", Tail::Any, Route::Download),
    ("files/read", Tail::Any, Route::Read),
    ("flags", Tail::Any, Route::Flags),
    ("health", Tail::Any, Route::Health),
    ("help", Tail::Any, Route::Help),
    ("logging/toggle", Tail::Any, Route::Toggle),
    ("metrics", Tail::None, Route::Metrics),
    ("metrics/snapshot", Tail::Any, Route::Snapshot),
    ("monitor/statistics", Tail::Any, Route::Statistics),
    ("state", Tail::Any, Route::State),
    ("stats", Tail::Any, Route::Snapshot),
    ("system/stats", Tail::Any, Route::System),
    ("tepui/v1/sandbox", Tail::None, Route::Sandbox),
    ("version", Tail::Any, Route::Version),
];

/// Finds what answers `path`; `None` is a 404. The process' name in front (`/slave(1)/state`) makes no difference, nor does
/// `.json` behind a whole route, as old tools ask.
pub(super) fn find(path: &str) -> Option<Route> {
    let path = trimmed(path);
    let path = ["slave(1)", "slave"]
        .into_iter()
        .find_map(|name| path.strip_prefix(name)?.strip_prefix('/'))
        .map_or(path, |rest| rest.trim_start_matches('/'));
    let path = path.strip_suffix(".json").unwrap_or(path);
    routes::find(TABLE, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_by_the_longest_prefix_of_whole_segments() {
        let cases = [
            ("/api/v1", Some(Route::Operator)),
            ("/api/v1/", Some(Route::Operator)),
            ("/api/v1/operator", Some(Route::Operator)),
            ("/slave(1)/api/v1", Some(Route::Operator)),
            ("//slave(1)//api/v1/operator", Some(Route::Operator)),
            ("/slave(1)/api/v1/executor", Some(Route::Executor)),
            ("/api/v1/executors", Some(Route::Operator)),
            ("/api/v2", None),
            ("/api", None),
            ("/health", Some(Route::Health)),
            ("/healthy", None),
            ("/slave(1)/state", Some(Route::State)),
            ("/slave(1)/state.json", Some(Route::State)),
            ("/state.json", Some(Route::State)),
            ("/state/more", Some(Route::State)),
            ("/slave/state", Some(Route::State)),
            ("/slave(2)/state", None),
            ("/slavestate", None),
            ("/monitor/statistics.json", Some(Route::Statistics)),
            ("/monitor", None),
            ("/metrics", Some(Route::Metrics)),
            ("/metrics/x", None),
            ("/metrics/snapshot", Some(Route::Snapshot)),
            ("/stats.json", Some(Route::Snapshot)),
            ("/files/read.json", Some(Route::Read)),
            ("/files/read/state.json", Some(Route::Read)),
            ("/tepui/v1/sandbox/x", None),
            ("/system/stats.json", Some(Route::System)),
            ("/logging/toggle", Some(Route::Toggle)),
            ("/slave(1)/help/files", Some(Route::Help)),
            ("/", None),
            ("", None),
            ("/slave(1)", None),
            ("/.json", None),
        ];
        for (path, route) in cases {
            assert_eq!(find(path), route, "{path}");
        }
    }
}
