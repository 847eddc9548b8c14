//! Which plain endpoint renders what, and the redirect of standbys.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Map, Value, json};
use tepui_proto::plain::{pairs, parameter};
use tepui_proto::{MediaType, duration, wire};

use super::{metrics_snapshot, records, roles, state, summary};
use crate::http::error::Refusal;
use crate::http::plain::bytes;
use crate::http::route::Legacy;
use crate::http::{App, admission, answer, apart, plain, redirect};
use crate::runtime::reads::ReadView;
use crate::view::master::{MESOS_VERSION, PRODUCT_VERSION};

/// Tasks on a page of `/tasks` if the client names no number.
const PAGE: usize = 100;

/// `/version`, from every master.
pub(crate) fn version(app: &App, request: &Request) -> Response {
    let mut version = json!({
        "version": MESOS_VERSION,
        "build_date": "",
        "build_time": 0.0,
        "build_user": "",
        "tepui_version": PRODUCT_VERSION,
    });
    if let Some(object) = version.as_object_mut() {
        app.info.origin.add_to(object);
    }
    plain::json(request.uri().query(), bytes(&version))
}

/// One of the endpoints that render the state.
pub(crate) async fn handle(app: &Arc<App>, endpoint: Legacy, request: Request) -> Result<Response, Refusal> {
    let query = request.uri().query().map(str::to_owned);
    // What concerns this process alone, every master answers.
    let own = endpoint == Legacy::MetricsSnapshot;
    if let Err(elsewhere) = redirect::leading(&app.role.borrow())
        && !own
        && !admission::wants_local(request.headers(), query.as_deref())
    {
        return Ok(elsewhere.answer(request.uri()));
    }
    if endpoint == Legacy::MaintenanceStatus && request.method() != Method::GET {
        return Err(Refusal::method("GET", request.method()));
    }
    drop(request);
    if endpoint == Legacy::MetricsSnapshot
        && let Some(timeout) = parameter(query.as_deref(), "timeout")
    {
        // All numbers are there at once, so that none can miss it; nonsense is refused all the same.
        duration::parse(&timeout)
            .map_err(|error| Refusal::bad_request(format!("failed to parse 'timeout': {error}")))?;
    }
    let asked = Asked::from(query.as_deref());
    let (bytes, view) = apart::render(app, move |app, view| render(app, view, endpoint, &asked)).await?;
    Ok(answer::stamp(plain::json(query.as_deref(), bytes), &view))
}

/// What a query can ask for.
#[derive(Default)]
struct Asked {
    framework: Option<String>,
    agent: Option<String>,
    task: Option<String>,
    limit: Option<usize>,
    offset: usize,
    ascending: bool,
}

impl From<Option<&str>> for Asked {
    fn from(query: Option<&str>) -> Asked {
        let mut asked = Asked::default();
        for (name, value) in pairs(query.unwrap_or_default()) {
            match name.as_ref() {
                "framework_id" => asked.framework = Some(value.into_owned()),
                "slave_id" => asked.agent = Some(value.into_owned()),
                "task_id" => asked.task = Some(value.into_owned()),
                "limit" => asked.limit = value.parse().ok(),
                "offset" => asked.offset = value.parse().unwrap_or_default(),
                "order" => asked.ascending = value == "asc",
                _ => {}
            }
        }
        asked
    }
}

fn render(app: &App, view: &ReadView, endpoint: Legacy, asked: &Asked) -> Bytes {
    match endpoint {
        Legacy::State => bytes(&state::state(app, view)),
        Legacy::Agents => {
            let wanted = |agent: &state::Agent<'_>| asked.agent.as_deref().is_none_or(|id| agent.id == id);
            let (mut there, mut awaited) = (state::full_agents(view), state::recovered_agents(view));
            there.retain(wanted);
            awaited.retain(wanted);
            bytes(&BTreeMap::from([("slaves", there), ("recovered_slaves", awaited)]))
        }
        Legacy::Frameworks => {
            let chosen = |id: &str| asked.framework.as_deref().is_none_or(|wanted| id == wanted);
            bytes(&BTreeMap::from([
                ("frameworks", state::frameworks(view, &chosen)),
                ("completed_frameworks", state::completed_frameworks(view, &chosen)),
                ("unregistered_frameworks", Vec::new()),
            ]))
        }
        Legacy::Tasks => bytes(&BTreeMap::from([("tasks", tasks(view, asked))])),
        Legacy::MaintenanceSchedule => {
            wire::encode(MediaType::Json, &crate::view::maintenance::schedule(&view.registry))
        }
        Legacy::MaintenanceStatus => {
            let status = crate::view::maintenance::status(&view.registry, view.local.as_deref());
            wire::encode(MediaType::Json, &status)
        }
        Legacy::Summary => bytes(&summary::summary(app, view)),
        Legacy::Roles => bytes(&roles::roles(view)),
        Legacy::Flags => bytes(&json!({ "flags": flags(app) })),
        Legacy::MetricsSnapshot => {
            let numbers: Map<String, Value> =
                metrics_snapshot(app, view).into_iter().map(|(name, number)| (name, json!(number))).collect();
            bytes(&numbers)
        }
    }
}

/// By their first status, the newest first unless asked otherwise; one without any is the oldest.
fn tasks<'a>(view: &'a ReadView, asked: &Asked) -> Vec<records::Task<'a>> {
    let live = crate::view::tasks::visible(&view.registry);
    let all = live.chain(view.registry.history.values().flatten());
    let mut chosen: Vec<_> = all
        .filter(|record| {
            let key = record.key();
            asked.framework.as_deref().is_none_or(|id| key.framework.as_str() == id)
                && asked.task.as_deref().is_none_or(|id| key.task.as_str() == id)
        })
        .collect();
    let time = |record: &tepui_scheduler_core::registry::TaskRecord| {
        let first = record.task.as_ref().and_then(|task| task.statuses.first());
        first.or(record.last_status.as_ref()).and_then(|status| status.timestamp).unwrap_or(f64::MIN)
    };
    chosen.sort_by(|left, right| time(left).total_cmp(&time(right)));
    if !asked.ascending {
        chosen.reverse();
    }
    let limit = asked.limit.unwrap_or(PAGE);
    chosen.into_iter().skip(asked.offset).take(limit).filter_map(|record| records::Task::of(record)).collect()
}

/// The flags as an object.
pub(super) fn flags(app: &App) -> Map<String, Value> {
    app.info.flags.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}
