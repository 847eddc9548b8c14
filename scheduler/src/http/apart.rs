//! Renders large answers away from the threads that everyone else waits for, a few at a time.

use std::sync::Arc;

use axum::body::Bytes;

use crate::http::App;
use crate::http::answer;
use crate::http::error::Refusal;
use crate::runtime::reads::ReadView;

/// Up to this many agents and tasks are rendered on the spot, which is quicker than moving the work.
const SMALL: usize = 1000;

/// Runs `render` on a view of the present state; returns both, so that the answer can say how fresh it is.
///
/// # Errors
/// 503 if the process stops meanwhile.
pub(crate) async fn render<F>(app: &Arc<App>, render: F) -> Result<(Bytes, ReadView), Refusal>
where
    F: FnOnce(&App, &ReadView) -> Bytes + Send + 'static,
{
    let view = app.read_view();
    if view.registry.tasks.len() + view.registry.history.len() + view.registry.agents.len() <= SMALL {
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
