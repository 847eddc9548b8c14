//! The link to the leading master: finding it, opening the stream of events, posting calls, and starting over.
//!
//! ```text
//! pause (jitter) ─► next master ─► Open ─► POST REGISTER ─307─► POST there ─200─► events in, calls out ─► Closed ─► pause …
//! ```
//! Owns connections and pauses. Whether to stay with a master is decided by the core, which closes the queue of calls.

mod candidates;
mod session;

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio_util::sync::CancellationToken;

use self::candidates::Candidates;
use self::session::{Ended, Session};
use crate::config::{Config, Timers};
use crate::runtime::{Handle, Observed};
use crate::{Error, Secret};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct MasterLink {
    client: reqwest::Client,
    candidates: Candidates,
    secret: Option<Secret>,
    timers: Timers,
    handle: Handle,
    observed: Arc<Observed>,
    tasks_max: usize,
}

impl MasterLink {
    /// `tasks_max` is how many tasks the agent may hold.
    ///
    /// # Errors
    /// There is no HTTP client to be had, or no master to be asked.
    pub(crate) fn new(
        config: &Config,
        tasks_max: usize,
        handle: Handle,
        observed: Arc<Observed>,
    ) -> Result<Self, Error> {
        if config.masters.is_empty() {
            return Err(Error::Config("no masters are given".to_owned()));
        }
        // Another part of the process may have installed it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .no_proxy()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(Self {
            client,
            candidates: Candidates::new(config.masters.clone()),
            secret: config.secret.clone(),
            timers: config.timers.clone(),
            handle,
            observed,
            tasks_max,
        })
    }

    /// Keeps a link up until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut pause = self.timers.reconnect_min;
        let mut attempt = 0;
        let mut last_failure = String::new();
        loop {
            attempt += 1;
            let session = Session {
                client: &self.client,
                secret: self.secret.as_ref(),
                timers: &self.timers,
                handle: &self.handle,
                observed: &self.observed,
                attempt,
                tasks_max: self.tasks_max,
            };
            let address = self.candidates.current().to_owned();
            let ended = tokio::select! {
                ended = session.run(&mut self.candidates) => ended,
                () = stop.cancelled() => return,
            };
            match ended {
                Ended::AgentStops => return,
                Ended::Served { reason } => {
                    tracing::info!(reason, "the link to the master ended");
                    pause = self.timers.reconnect_min;
                    last_failure.clear();
                }
                Ended::Failed { reason } => {
                    // The same failure again and again is worth one line. Most go away by themselves; a refusal does not.
                    if reason == last_failure {
                        tracing::debug!(address, reason, "no registration");
                    } else if reason.contains(session::FORBIDDEN) {
                        tracing::warn!(address, reason, "no registration");
                    } else {
                        tracing::info!(address, reason, "no registration");
                    }
                    last_failure = reason;
                }
            }
            if self.candidates.advance() {
                pause = pause.saturating_mul(2).min(self.timers.reconnect_max);
            }
            let pause = rand::rng().random_range(Duration::ZERO..=pause);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}
