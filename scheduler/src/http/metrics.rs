//! `GET /metrics`: the numbers of this master in Prometheus' text form, our own and those that have Mesos' names. Counters live here and in
//! `stats/`; what can be counted in the Registry is counted when it is asked for.

use bytes::Bytes;
use hyper::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::http::storage_metrics::StorageMetrics;
use crate::http::{App, exposition, legacy};
use crate::runtime::reads::ReadView;
use crate::view::counts;

/// The type of the rendered text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: u16,
}

/// All metrics of one master.
pub(crate) struct Metrics {
    registry: Registry,
    leader: Gauge,
    epoch: Gauge,
    applied_index: Gauge,
    checkpoint: Gauge,
    states_compared: Gauge,
    states_undecided: Gauge,
    state_differs: Gauge,
    offers: Gauge,
    event_subscribers: Gauge,
    agents: Family<State, Gauge>,
    frameworks: Family<State, Gauge>,
    tasks: Family<State, Gauge>,
    drivers: Family<State, Gauge>,
    answers: Family<Code, Counter>,
    storage: StorageMetrics,
    pub(crate) connections: Gauge,
    pub(crate) streams_open: Gauge,
    pub(crate) proposals_in_flight: Gauge,
    pub(crate) proposals_failed: Counter,
    pub(crate) elections: Counter,
    /// How long the core took for one input, in seconds.
    pub(crate) turn_seconds: Histogram,
    /// How long a standby took to take in a slice of what was applied, in seconds.
    pub(crate) standby_turn_seconds: Histogram,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Metrics {
        // From 4 µs to about one second: a turn should stay below 10 ms.
        let turns = || Histogram::new(exponential_buckets(4e-6, 2.0, 19));
        let mut metrics = Metrics {
            registry: Registry::with_prefix("tepui_master"),
            leader: Gauge::default(),
            epoch: Gauge::default(),
            applied_index: Gauge::default(),
            checkpoint: Gauge::default(),
            states_compared: Gauge::default(),
            states_undecided: Gauge::default(),
            state_differs: Gauge::default(),
            offers: Gauge::default(),
            event_subscribers: Gauge::default(),
            agents: Family::default(),
            frameworks: Family::default(),
            tasks: Family::default(),
            drivers: Family::default(),
            answers: Family::default(),
            storage: StorageMetrics::default(),
            connections: Gauge::default(),
            streams_open: Gauge::default(),
            proposals_in_flight: Gauge::default(),
            proposals_failed: Counter::default(),
            elections: Counter::default(),
            turn_seconds: turns(),
            standby_turn_seconds: turns(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("leader", "1 while this master leads", self.leader.clone());
        registry.register("epoch", "number of leaderships so far", self.epoch.clone());
        registry.register("applied_index", "log index of the last applied entry", self.applied_index.clone());
        let checkpoint = "number of the newest checkpoint whose state hash is known here";
        registry.register("checkpoint", checkpoint, self.checkpoint.clone());
        let compared = "checkpoints at which this master agreed with the others";
        registry.register("states_compared", compared, self.states_compared.clone());
        let undecided = "checkpoints at which masters differed and none had a majority";
        registry.register("states_undecided", undecided, self.states_undecided.clone());
        let differs = "1 if the state of this master differs from that of a majority: it stops";
        registry.register("state_differs", differs, self.state_differs.clone());
        registry.register("offers_outstanding", "offers that nobody has answered", self.offers.clone());
        registry.register(
            "event_subscribers",
            "subscribers of the live events",
            self.event_subscribers.clone(),
        );
        registry.register("agents", "agents by state", self.agents.clone());
        registry.register("frameworks", "frameworks by state", self.frameworks.clone());
        registry.register("tasks", "tasks by state, remembered ended ones included", self.tasks.clone());
        registry.register("drivers", "supervised drivers by state", self.drivers.clone());
        registry.register("http_answers", "answers by status", self.answers.clone());
        registry.register("connections", "open client connections", self.connections.clone());
        registry.register("streams", "open streams of frameworks and agents", self.streams_open.clone());
        registry.register(
            "proposals_in_flight",
            "proposals without an outcome",
            self.proposals_in_flight.clone(),
        );
        registry.register("proposals_failed", "proposals that did not commit", self.proposals_failed.clone());
        registry.register("elections", "leaderships of this process", self.elections.clone());
        self.storage.register(registry);
        registry.register("turn_seconds", "time of the core for one input", self.turn_seconds.clone());
        registry.register(
            "standby_turn_seconds",
            "time of a standby for a slice of what was applied",
            self.standby_turn_seconds.clone(),
        );
    }

    /// Counts one answer.
    pub(crate) fn count_answer(&self, status: StatusCode) {
        self.answers.get_or_create(&Code { code: status.as_u16() }).inc();
    }

    /// All numbers as of now, as text.
    pub(crate) fn render(&self, app: &App, view: &ReadView) -> Bytes {
        self.look(app, view);
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry).and_then(|()| {
            text.push_str(&exposition::render(&legacy::metrics_snapshot(app, view)));
            encode_eof(&mut text)
        });
        match written {
            Ok(()) => text.into(),
            Err(error) => {
                tracing::warn!(%error, "failed to render the metrics");
                Bytes::new()
            }
        }
    }

    fn look(&self, app: &App, view: &ReadView) {
        let counts = counts::count(&view.registry);
        self.leader.set(i64::from(app.role.borrow().is_leader()));
        self.storage.look(&app.replica.storage());
        self.epoch.set(gauge(view.registry.epoch));
        self.applied_index.set(gauge(view.applied_index));
        let audit = app.findings.counts();
        self.checkpoint.set(gauge(audit.newest));
        self.states_compared.set(gauge(audit.compared));
        self.states_undecided.set(gauge(audit.undecided));
        self.state_differs.set(i64::from(audit.odd));
        self.offers.set(gauge(view.local.as_ref().map_or(0, |local| local.offers.len() as u64)));
        self.event_subscribers.set(gauge(app.events.subscribers() as u64));
        let agents = [
            ("registered", counts.agents_registered),
            ("disconnected", counts.agents_disconnected),
            ("unreachable", counts.agents_unreachable),
        ];
        set(&self.agents, agents);
        let frameworks =
            [("connected", counts.frameworks_connected), ("disconnected", counts.frameworks_disconnected)];
        set(&self.frameworks, frameworks);
        set(&self.tasks, counts.tasks);
        set(&self.drivers, counts.drivers);
    }
}

/// States that nothing is in any more go.
fn set(family: &Family<State, Gauge>, numbers: impl IntoIterator<Item = (&'static str, usize)>) {
    family.clear();
    for (state, number) in numbers {
        family.get_or_create(&State { state: state.to_owned() }).set(gauge(number as u64));
    }
}

fn gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
