//! Which plain endpoint renders what, and the redirect of standbys.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use hyper::Method;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tepui_proto::plain::{pairs, parameter};
use tepui_proto::{duration, json};

use super::{metrics_snapshot, records, roles, state, summary};
use crate::http::apart::Form;
use crate::http::each::Each;
use crate::http::error::Refusal;
use crate::http::flow::Sink;
use crate::http::plain::bytes;
use crate::http::route::Legacy;
use crate::http::terms::Terms;
use crate::http::{App, admission, answer, apart, plain, redirect};
use crate::runtime::reads::ReadView;
use crate::view::master::{MESOS_VERSION, PRODUCT_VERSION};
use crate::view::wanted::Wanted;

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

/// `/metrics/snapshot`, from every master: short, whatever the cluster's size, and there when too many long answers are on their way.
pub(crate) async fn numbers(app: &Arc<App>, request: Request) -> Result<Response, Refusal> {
    let query = request.uri().query().map(str::to_owned);
    drop(request);
    if let Some(timeout) = parameter(query.as_deref(), "timeout") {
        // All numbers are there at once, so that none can miss it; nonsense is refused all the same.
        duration::parse(&timeout)
            .map_err(|error| Refusal::bad_request(format!("failed to parse 'timeout': {error}")))?;
    }
    let render = |app: &App, view: &ReadView| {
        let numbers = metrics_snapshot(app, view).into_iter().map(|(name, number)| (name, json!(number)));
        bytes(&numbers.collect::<Map<String, Value>>())
    };
    let (bytes, view) = apart::render(app, render).await?;
    Ok(answer::stamp(plain::json(query.as_deref(), bytes), &view))
}

/// One of the endpoints that render the state.
pub(crate) async fn handle(app: &Arc<App>, endpoint: Legacy, request: Request) -> Result<Response, Refusal> {
    let query = request.uri().query().map(str::to_owned);
    if let Err(elsewhere) = redirect::leading(&app.role.borrow())
        && !admission::wants_local(request.headers(), query.as_deref())
    {
        return Ok(elsewhere.answer(request.uri()));
    }
    if endpoint == Legacy::MaintenanceStatus && request.method() != Method::GET {
        return Err(Refusal::method("GET", request.method()));
    }
    let terms = Terms::of(&request);
    drop(request);
    let (asked, form) = (Asked::from(query.as_deref()), Form::json(query.as_deref()));
    apart::answer(app, &terms, form, move |app, view, sink| write(app, view, endpoint, &asked, sink)).await
}

/// What a query can ask for.
#[derive(Default)]
struct Asked {
    wanted: Wanted,
    task: Option<String>,
    limit: Option<usize>,
    offset: usize,
    ascending: bool,
}

impl From<Option<&str>> for Asked {
    fn from(query: Option<&str>) -> Asked {
        let mut asked = Asked { wanted: Wanted::from_query(query), ..Asked::default() };
        for (name, value) in pairs(query.unwrap_or_default()) {
            match name.as_ref() {
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

fn write(app: &App, view: &ReadView, endpoint: Legacy, asked: &Asked, sink: &mut Sink) -> io::Result<()> {
    let wanted = &asked.wanted;
    match endpoint {
        Legacy::State => json::to_writer(sink, &state::state(app, view, wanted))?,
        Legacy::Agents => json::to_writer(
            sink,
            &Agents {
                slaves: Each(|| state::full_agents(view, wanted)),
                recovered_slaves: Each(|| state::awaited(view, true, wanted)),
            },
        )?,
        Legacy::Frameworks => json::to_writer(
            sink,
            &Frameworks {
                frameworks: Each(|| state::frameworks(view, wanted)),
                completed_frameworks: Each(|| state::completed_frameworks(view, wanted)),
                unregistered_frameworks: [],
            },
        )?,
        Legacy::Tasks => json::to_writer(sink, &BTreeMap::from([("tasks", tasks(view, asked))]))?,
        Legacy::MaintenanceSchedule => {
            json::to_writer(sink, &crate::view::maintenance::schedule(&view.registry))?;
        }
        Legacy::MaintenanceStatus => {
            json::to_writer(sink, &crate::view::maintenance::status(&view.registry, view.local.as_deref()))?;
        }
        Legacy::Summary => json::to_writer(sink, &summary::summary(app, view, wanted))?,
        Legacy::Roles => json::to_writer(sink, &roles::roles(view))?,
        Legacy::Flags => json::to_writer(sink, &json!({ "flags": flags(app) }))?,
    }
    Ok(())
}

#[derive(Serialize)]
struct Agents<There, Awaited> {
    slaves: There,
    recovered_slaves: Awaited,
}

#[derive(Serialize)]
struct Frameworks<Live, Ended> {
    frameworks: Live,
    completed_frameworks: Ended,
    unregistered_frameworks: [(); 0],
}

/// By their first status, the newest first unless asked otherwise; one without any is the oldest.
fn tasks<'a>(view: &'a ReadView, asked: &Asked) -> Vec<records::Task<'a>> {
    let live = crate::view::tasks::visible(&view.registry);
    let all = live.chain(view.registry.history.values().flatten());
    let mut chosen: Vec<_> = all
        .filter(|record| {
            let key = record.key();
            let agent = record.task.as_ref().and_then(|task| task.agent_id.as_ref()).map(|id| id.value());
            asked.wanted.framework(key.framework.as_str())
                && asked.wanted.agent(agent.unwrap_or_default())
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
