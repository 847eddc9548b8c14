//! Answers that are rendered from a look at the state, away from the threads that everyone else waits for.
//!
//! Owns the order of things: prove that the look is current if that is wanted, leave out what the reader has, write small answers on the spot,
//! and let long ones flow.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use tepui_proto::plain;

use crate::http::error::Refusal;
use crate::http::flow::Sink;
use crate::http::terms::Terms;
use crate::http::{App, answer};
use crate::runtime::reads::ReadView;

/// Up to this many agents and tasks are rendered on the spot, which is quicker than moving the work.
const SMALL: usize = 1000;

/// The outer form of an answer.
#[derive(Clone)]
pub(crate) struct Form {
    content_type: &'static str,
    /// The function of `?jsonp=` that the answer is a call of.
    callback: Option<String>,
}

impl Form {
    pub(crate) fn of(content_type: &'static str) -> Form {
        Form { content_type, callback: None }
    }

    /// JSON, wrapped in a call of the function that `?jsonp=` names.
    pub(crate) fn json(query: Option<&str>) -> Form {
        match plain::callback(query) {
            Some(name) => Form { content_type: "text/javascript", callback: Some(name) },
            None => Form::of("application/json"),
        }
    }

    fn write<F>(&self, sink: &mut Sink, content: F) -> io::Result<()>
    where
        F: FnOnce(&mut Sink) -> io::Result<()>,
    {
        let Some(name) = &self.callback else { return content(sink) };
        sink.write_all(name.as_bytes())?;
        sink.write_all(b"(")?;
        content(sink)?;
        sink.write_all(b");")
    }

    /// 200 in this form.
    fn around(&self, body: Body) -> Response {
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if self.callback.is_some() {
            // A browser must not take it for anything else.
            response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        }
        response
    }
}

/// Renders an answer with `write`.
///
/// # Errors
/// 503 if it cannot be proven to be current, or too many long answers are on their way.
pub(crate) async fn answer<F>(
    app: &Arc<App>,
    terms: &Terms,
    form: Form,
    write: F,
) -> Result<Response, Refusal>
where
    F: FnOnce(&App, &ReadView, &mut Sink) -> io::Result<()> + Send + 'static,
{
    if terms.consistent {
        app.settle().await?;
    }
    let view = app.read_view();
    let tag = terms.tagged().then(|| view.tag(&app.info));
    let mut response = match &tag {
        Some(tag) if terms.knows(tag) => {
            let mut unchanged = Response::new(Body::empty());
            *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
            unchanged
        }
        _ if is_small(&view) => {
            let mut sink = Sink::memory();
            form.write(&mut sink, |sink| write(app, &view, sink)).map_err(|_| answer::unavailable())?;
            form.around(Body::from(sink.into_bytes()))
        }
        _ => {
            let (app_there, view_there, form_there) = (Arc::clone(app), view.clone(), form.clone());
            let body = app.flows.open(terms.gzip, move |sink| {
                form_there.write(sink, |sink| write(&app_there, &view_there, sink))
            });
            let body = body.ok_or_else(|| Refusal::unavailable("too many long answers are on their way"))?;
            let mut response = form.around(body);
            if terms.gzip {
                let headers = response.headers_mut();
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                headers.append(VARY, HeaderValue::from_static("accept-encoding"));
            }
            response
        }
    };
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        response.headers_mut().insert(ETAG, tag);
        // Whoever keeps it asks each time whether it still holds.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    Ok(answer::stamp(response, &view))
}

fn is_small(view: &ReadView) -> bool {
    let registry = &view.registry;
    let ended: usize = registry.history.values().map(|ended| ended.len()).sum();
    registry.tasks.len() + ended + registry.agents.len() <= SMALL
}

/// Runs `render` on a view of the present state; returns both, so that the answer can say how fresh it is.
///
/// # Errors
/// 503 if the process stops meanwhile.
pub(crate) async fn render<F>(app: &Arc<App>, render: F) -> Result<(Bytes, ReadView), Refusal>
where
    F: FnOnce(&App, &ReadView) -> Bytes + Send + 'static,
{
    let view = app.read_view();
    if is_small(&view) {
        return Ok((render(app, &view), view));
    }
    let permit = app.renderers.clone().acquire_owned().await.map_err(|_| answer::unavailable())?;
    // The view is taken after the wait, so that nobody gets an answer that is older than its request's turn.
    let view = app.read_view();
    let app = app.clone();
    let rendering = tokio::task::spawn_blocking(move || {
        let bytes = render(&app, &view);
        drop(permit);
        (bytes, view)
    });
    rendering.await.map_err(|_| answer::unavailable())
}
