//! Turns calls away that come faster than their principal may send them.
//!
//! Owns whose call one is, the clock and the 429. The limits are the core's. Only the leading master counts, each anew from its
//! election on.

use std::sync::{Mutex, PoisonError};

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use tepui_proto::ids::FrameworkId;
use tepui_proto::v1::scheduler::Call;
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::rate_limits::{RateLimiter, RateLimits};
use tokio::time::Instant;

use crate::http::auth::Principal;
use crate::http::error::Refusal;

/// The gate in front of the core.
pub(crate) struct Gate {
    /// Absent if nobody is limited.
    limiter: Option<Mutex<RateLimiter>>,
    begun: Instant,
}

/// Who sends a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The principal that was shown, else that of the framework.
    pub(crate) principal: Option<String>,
    /// Whether the Registry knows the framework.
    pub(crate) known: bool,
}

impl Sender {
    /// Whose call this is.
    pub(crate) fn of(call: &Call, shown: &Principal, registry: &Registry) -> Sender {
        let id = call.framework_id.as_ref().map(FrameworkId::from);
        let record = id.and_then(|id| registry.frameworks.get(&id));
        let told = record.and_then(|record| record.info.as_ref()?.principal.clone());
        Sender { principal: shown.clone().or(told), known: record.is_some() }
    }
}

impl Gate {
    pub(crate) fn new(limits: &RateLimits) -> Gate {
        let limiter = (!limits.is_empty()).then(|| Mutex::new(RateLimiter::new(limits)));
        Gate { limiter, begun: Instant::now() }
    }

    /// Lets a call through. One of a stranger who shows no principal passes: it is refused for what it is, and must not use up what
    /// others share.
    ///
    /// # Errors
    /// 429 with the seconds after which the call may come again.
    pub(crate) fn admit(&self, sender: &Sender) -> Result<(), Refusal> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if !sender.known && sender.principal.is_none() {
            return Ok(());
        }
        let now_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.take(sender.principal.as_deref(), now_ms).map_err(|exceeded| {
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, exceeded.to_string())
                .with_header(RETRY_AFTER, HeaderValue::from(exceeded.retry_after_secs))
        })
    }
}
