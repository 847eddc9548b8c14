//! Which plain endpoint renders what, the callback that old pages wrap answers in, and the redirect of standbys.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tepui_proto::json::to_vec;

use super::{metrics_snapshot, records, state};
use crate::http::error::Refusal;
use crate::http::route::Legacy;
use crate::http::{App, admission, answer, apart, redirect};
use crate::runtime::reads::ReadView;
use crate::view::master::{MESOS_VERSION, PRODUCT_VERSION};

/// Tasks on a page of `/tasks` if the client names no number, and the most it gets.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 10_000;

/// `/version`, from every master.
pub(crate) fn version(request: &Request) -> Response {
    let version = json!({
        "version": MESOS_VERSION,
        "build_date": "",
        "build_time": 0.0,
        "build_user": "",
        "tepui_version": PRODUCT_VERSION,
    });
    wrapped(request.uri().query(), bytes(&version))
}

/// One of the endpoints that render the state.
pub(crate) async fn handle(app: &Arc<App>, endpoint: Legacy, request: Request) -> Result<Response, Refusal> {
    let query = request.uri().query().map(str::to_owned);
    // What concerns this process alone, every master answers.
    let own = matches!(endpoint, Legacy::MetricsSnapshot | Legacy::Flags);
    if let Err(elsewhere) = redirect::leading(&app.role.borrow())
        && !own
        && !admission::wants_local(request.headers(), query.as_deref())
    {
        return Ok(elsewhere.answer(request.uri()));
    }
    drop(request);
    let asked = Asked::from(query.as_deref());
    let (bytes, view) = apart::render(app, move |app, view| render(app, view, endpoint, &asked)).await?;
    Ok(answer::stamp(wrapped(query.as_deref(), bytes), &view))
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
        for (name, value) in pairs(query) {
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
            let agents = state::agents(view);
            let agents =
                agents.into_iter().filter(|agent| asked.agent.as_deref().is_none_or(|id| agent.id == id));
            bytes(&BTreeMap::from([("slaves", agents.collect::<Vec<_>>())]))
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
        Legacy::Flags => bytes(&json!({ "flags": flags(app) })),
        Legacy::MetricsSnapshot => {
            let numbers: Map<String, Value> =
                metrics_snapshot(app, view).into_iter().map(|(name, number)| (name, json!(number))).collect();
            bytes(&numbers)
        }
    }
}

/// Newest first unless asked otherwise, as far as the order of ids tells.
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
        record.last_status.as_ref().and_then(|status| status.timestamp).unwrap_or(f64::MAX)
    };
    chosen.sort_by(|left, right| time(left).total_cmp(&time(right)));
    if !asked.ascending {
        chosen.reverse();
    }
    let limit = asked.limit.unwrap_or(PAGE).min(LONGEST_PAGE);
    chosen.into_iter().skip(asked.offset).take(limit).filter_map(|record| records::Task::of(record)).collect()
}

/// The flags as an object.
pub(super) fn flags(app: &App) -> Map<String, Value> {
    app.info.flags.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}

fn bytes<T: Serialize>(value: &T) -> Bytes {
    match to_vec(value) {
        Ok(bytes) => bytes.into(),
        Err(error) => {
            tracing::warn!(%error, "failed to render an answer");
            Bytes::from_static(b"{}")
        }
    }
}

/// Old pages ask for a call of their function around the answer.
fn wrapped(query: Option<&str>, bytes: Bytes) -> Response {
    let callback = pairs(query).find(|(name, _)| name == "jsonp").map(|(_, value)| value.into_owned());
    let is_name = |name: &String| {
        !name.is_empty()
            && name.len() <= 100
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.$".contains(c))
    };
    match callback.filter(is_name) {
        Some(name) => {
            let mut script = Vec::with_capacity(bytes.len() + name.len() + 3);
            script.extend_from_slice(name.as_bytes());
            script.push(b'(');
            script.extend_from_slice(&bytes);
            script.extend_from_slice(b");");
            answer::body("text/javascript", script)
        }
        None => answer::body("application/json", bytes),
    }
}

/// The pairs of a query string, decoded.
fn pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let found: Vec<_> = pairs(Some("a=1&b=x%20y+z&c&d=%zz&e=%C3%A9")).collect();
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        assert_eq!(found, [("a", "1"), ("b", "x y z"), ("c", ""), ("d", "%zz"), ("e", "é")]);
    }

    #[test]
    fn only_a_name_may_be_a_callback() {
        let plain = wrapped(Some("jsonp=alert(1)//"), Bytes::from_static(b"{}"));
        assert_eq!(plain.headers()["content-type"], "application/json");
        let script = wrapped(Some("jsonp=angular.callbacks._0"), Bytes::from_static(b"{}"));
        assert_eq!(script.headers()["content-type"], "text/javascript");
    }
}
