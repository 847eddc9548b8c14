//! How much this process logs, as operators change it. Owns the return to the usual after the time that they name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use tepui_proto::v1::agent::call::SetLoggingLevel;
use tokio::task::JoinHandle;

use super::error::Refusal;
use super::{Inner, empty};
use crate::LogLevel;

/// The level, and who sets it back.
pub(super) struct Logging {
    set: Option<LogLevel>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    level: u32,
    /// Counts the changes: whoever sets back does so for one of them.
    change: u64,
    back: Option<JoinHandle<()>>,
}

impl Logging {
    pub(super) fn new(set: Option<LogLevel>) -> Self {
        Self { set, state: Mutex::default() }
    }

    pub(super) fn level(&self) -> u32 {
        self.state().level
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whole at any moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_back(&self, change: u64) {
        let mut state = self.state();
        if let (true, Some(set)) = (state.change == change, &self.set) {
            state.level = 0;
            set.set(0);
            tracing::info!("as much is logged as before");
        }
    }
}

/// Sets the level for a time.
///
/// # Errors
/// 400 for a call that is not whole, 501 where the level cannot be changed.
pub(super) fn set(app: &Arc<Inner>, call: Option<SetLoggingLevel>) -> Result<Response, Refusal> {
    let call = call.ok_or_else(|| Refusal::bad_request("expecting 'set_logging_level' to be present"))?;
    let nanoseconds = call.duration.and_then(|duration| duration.nanoseconds).unwrap_or_default();
    let duration = u64::try_from(nanoseconds)
        .map(Duration::from_nanos)
        .map_err(|_| Refusal::bad_request("'set_logging_level.duration' is negative"))?;
    let Some(set) = &app.logging.set else {
        let reason = "SET_LOGGING_LEVEL is not possible: this process does not own its log";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, reason));
    };
    let mut state = app.logging.state();
    state.level = call.level();
    state.change += 1;
    set.set(state.level);
    tracing::info!(level = state.level, ?duration, "an operator changed how much is logged");
    let (later, change) = (app.clone(), state.change);
    let back = app.tracker.spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(duration) => later.logging.set_back(change),
            () = later.stop.cancelled() => {}
        }
    });
    if let Some(earlier) = state.back.replace(back) {
        earlier.abort();
    }
    Ok(empty(StatusCode::ACCEPTED))
}
