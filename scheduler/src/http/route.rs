//! Which path leads where. A pure table: routes match by the longest prefix of whole path segments, as Mesos' do, because
//! existing clients rely on it (`/api/v1/operator` reaches `/api/v1`). Looks at nothing but the path.

use tepui_proto::routes::{self, Table, Tail, trimmed};

use crate::http::auth::Realm;
use crate::http::fleet::Plain;

/// What answers a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// The scheduler API.
    Scheduler,
    /// The operator API.
    Operator,
    /// Agents' conversation with the leading master.
    AgentLink,
    /// Who leads, and which masters there are.
    Masters,
    /// Our own operator calls.
    TepuiOperator,
    /// A copy of the replicated state.
    Backup,
    /// The live event stream.
    Events,
    Health,
    Version,
    Redirect,
    /// The form that ends a framework.
    Teardown,
    /// The forms that reserve resources and make volumes.
    Resources(Resources),
    Metrics,
    /// The same under Mesos' names.
    Numbers,
    /// The plain endpoints that change machines.
    Machines(Plain),
    /// The plain read endpoints.
    Legacy(Legacy),
    /// What operators set for roles.
    Setting(Setting),
    /// What can be read of files.
    Files(Files),
    /// About the process itself.
    Process(Process),
    /// A part of the dashboard.
    Asset(Asset),
}

impl Route {
    /// The part of the API that the path belongs to; `None` is open to everyone. As in Mesos the operator API is one realm,
    /// reads and changes alike. Agents show a secret of their own.
    pub(crate) fn realm(self) -> Option<Realm> {
        match self {
            Route::Scheduler => Some(Realm::Scheduler),
            Route::Operator
            | Route::TepuiOperator
            | Route::Backup
            | Route::Teardown
            | Route::Machines(_)
            | Route::Setting(_)
            | Route::Process(Process::Logging)
            | Route::Resources(_) => Some(Realm::ReadWrite),
            Route::Events
            | Route::Metrics
            | Route::Numbers
            | Route::Legacy(_)
            | Route::Files(_)
            | Route::Asset(_) => Some(Realm::ReadOnly),
            Route::Process(Process::System | Process::Registry | Process::Constraints) => {
                Some(Realm::ReadOnly)
            }
            Route::AgentLink
            | Route::Masters
            | Route::Health
            | Route::Version
            | Route::Redirect
            | Route::Process(Process::Help) => None,
        }
    }
}

/// The plain endpoints that read and change settings of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Weights,
    Quota,
}

/// The plain read endpoints that render the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Legacy {
    State,
    Summary,
    Frameworks,
    Agents,
    Tasks,
    Roles,
    Flags,
    MaintenanceSchedule,
    MaintenanceStatus,
}

/// The forms about reservations and volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resources {
    Reserve,
    Unreserve,
    CreateVolumes,
    DestroyVolumes,
}

/// What is asked about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    Browse,
    Read,
    Download,
    Debug,
}

/// What every process of Mesos tells about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    System,
    Logging,
    Help,
    Registry,
    Constraints,
}

/// The files of the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asset {
    Page,
    Style,
    Script,
}
const TABLE: &Table<Route> = &[
    ("", Tail::None, Route::Asset(Asset::Page)),
    ("allocator(1)/offer_constraints_debug", Tail::Any, Route::Process(Process::Constraints)),
    ("api/v1", Tail::Any, Route::Operator),
    ("api/v1/scheduler", Tail::Any, Route::Scheduler),
    ("create-volumes", Tail::Any, Route::Resources(Resources::CreateVolumes)),
    ("destroy-volumes", Tail::Any, Route::Resources(Resources::DestroyVolumes)),
    ("files/browse", Tail::Any, Route::Files(Files::Browse)),
    ("files/browse.json", Tail::Any, Route::Files(Files::Browse)),
    ("files/debug", Tail::Any, Route::Files(Files::Debug)),
    ("files/debug.json", Tail::Any, Route::Files(Files::Debug)),
    ("files/download", Tail::Any, Route::Files(Files::Download)),
    ("files/download.json", Tail::Any, Route::Files(Files::Download)),
    ("files/read", Tail::Any, Route::Files(Files::Read)),
    ("files/read.json", Tail::Any, Route::Files(Files::Read)),
    ("flags", Tail::Any, Route::Legacy(Legacy::Flags)),
    ("flags.json", Tail::Any, Route::Legacy(Legacy::Flags)),
    ("frameworks", Tail::Any, Route::Legacy(Legacy::Frameworks)),
    ("frameworks.json", Tail::Any, Route::Legacy(Legacy::Frameworks)),
    ("health", Tail::Any, Route::Health),
    ("help", Tail::Any, Route::Process(Process::Help)),
    ("hierarchical-allocator(1)/offer_constraints_debug", Tail::Any, Route::Process(Process::Constraints)),
    ("logging/toggle", Tail::Any, Route::Process(Process::Logging)),
    ("machine/down", Tail::Any, Route::Machines(Plain::Down)),
    ("machine/up", Tail::Any, Route::Machines(Plain::Up)),
    ("maintenance/schedule", Tail::Any, Route::Machines(Plain::Schedule)),
    ("maintenance/status", Tail::Any, Route::Legacy(Legacy::MaintenanceStatus)),
    ("metrics", Tail::None, Route::Metrics),
    ("metrics/snapshot", Tail::Any, Route::Numbers),
    ("quota", Tail::Any, Route::Setting(Setting::Quota)),
    ("redirect", Tail::None, Route::Redirect),
    ("registrar(1)/registry", Tail::Any, Route::Process(Process::Registry)),
    ("reserve", Tail::Any, Route::Resources(Resources::Reserve)),
    ("roles", Tail::Any, Route::Legacy(Legacy::Roles)),
    ("roles.json", Tail::Any, Route::Legacy(Legacy::Roles)),
    ("slaves", Tail::Any, Route::Legacy(Legacy::Agents)),
    ("slaves.json", Tail::Any, Route::Legacy(Legacy::Agents)),
    ("state", Tail::Any, Route::Legacy(Legacy::State)),
    ("state-summary", Tail::Any, Route::Legacy(Legacy::Summary)),
    ("state-summary.json", Tail::Any, Route::Legacy(Legacy::Summary)),
    ("state.json", Tail::Any, Route::Legacy(Legacy::State)),
    ("stats.json", Tail::Any, Route::Numbers),
    ("system/stats.json", Tail::Any, Route::Process(Process::System)),
    ("tasks", Tail::Any, Route::Legacy(Legacy::Tasks)),
    ("tasks.json", Tail::Any, Route::Legacy(Legacy::Tasks)),
    ("teardown", Tail::Any, Route::Teardown),
    ("tepui/assets/app.css", Tail::None, Route::Asset(Asset::Style)),
    ("tepui/assets/app.js", Tail::None, Route::Asset(Asset::Script)),
    ("tepui/v1/agent", Tail::None, Route::AgentLink),
    ("tepui/v1/backup", Tail::None, Route::Backup),
    ("tepui/v1/events", Tail::None, Route::Events),
    ("tepui/v1/masters", Tail::None, Route::Masters),
    ("tepui/v1/operator", Tail::None, Route::TepuiOperator),
    ("unreserve", Tail::Any, Route::Resources(Resources::Unreserve)),
    ("version", Tail::Any, Route::Version),
    ("weights", Tail::Any, Route::Setting(Setting::Weights)),
];

/// Finds what answers `path`; `None` is a 404. The process name in front (`/master/state`) makes no difference.
pub(crate) fn find(path: &str) -> Option<Route> {
    // The parentheses of a process' name come in either spelling.
    let path = &path.replace("%28", "(").replace("%29", ")");
    let path = trimmed(path);
    let path = match path.strip_prefix("master") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_start_matches('/'),
        _ => path,
    };
    routes::find(TABLE, path)
}

/// Every path that is known.
#[cfg(test)]
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(path, _, _)| *path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_by_the_longest_prefix_of_whole_segments() {
        let cases = [
            ("/", Some(Route::Asset(Asset::Page))),
            ("/master", Some(Route::Asset(Asset::Page))),
            ("/api/v1", Some(Route::Operator)),
            ("/api/v1/", Some(Route::Operator)),
            ("/api/v1/operator", Some(Route::Operator)),
            ("/master/api/v1/operator/x", Some(Route::Operator)),
            ("/api/v1/scheduler", Some(Route::Scheduler)),
            ("/api/v1/scheduler/x", Some(Route::Scheduler)),
            ("/api/v1/schedulers", Some(Route::Operator)),
            ("/api", None),
            ("/api/v2", None),
            ("/health", Some(Route::Health)),
            ("/healthy", None),
            ("/master/state.json", Some(Route::Legacy(Legacy::State))),
            ("/masters/state", None),
            ("/slaves/some-agent", Some(Route::Legacy(Legacy::Agents))),
            ("/redirect", Some(Route::Redirect)),
            ("/master/reserve", Some(Route::Resources(Resources::Reserve))),
            ("/create-volumes", Some(Route::Resources(Resources::CreateVolumes))),
            ("/redirect/x", None),
            ("/master/machine/down/x", Some(Route::Machines(Plain::Down))),
            ("/machine", None),
            ("/maintenance", None),
            ("/master/state-summary", Some(Route::Legacy(Legacy::Summary))),
            ("/state-summary.json", Some(Route::Legacy(Legacy::Summary))),
            ("/files/read.json", Some(Route::Files(Files::Read))),
            ("/files", None),
            ("/roles", Some(Route::Legacy(Legacy::Roles))),
            ("/teardown/x", Some(Route::Teardown)),
            ("/metrics", Some(Route::Metrics)),
            ("/metrics/x", None),
            ("/metrics/snapshot", Some(Route::Numbers)),
            ("/tepui/assets/app.js", Some(Route::Asset(Asset::Script))),
            ("/tepui/assets/../app.js", None),
            ("/tepui/v1/events", Some(Route::Events)),
            ("/tepui/v1/events/x", None),
            ("/registrar(1)/registry", Some(Route::Process(Process::Registry))),
            ("/registrar%281%29/registry", Some(Route::Process(Process::Registry))),
            ("/registrar(2)/registry", None),
            ("/system/stats.json", Some(Route::Process(Process::System))),
            ("/system", None),
            ("/help/master/state", Some(Route::Process(Process::Help))),
            ("/nothing/at/all", None),
        ];
        for (path, route) in cases {
            assert_eq!(find(path), route, "{path}");
        }
    }
}
