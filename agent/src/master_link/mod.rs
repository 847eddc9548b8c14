//! The link to the leading master: finding it, opening the stream of events, posting calls, and starting over.
//!
//! ```text
//! masters say who leads ─┐
//! pause (jitter) ────────┴─► that master ─► Open ─► POST REGISTER ─307─► POST there ─200─► events in, calls out ─► Closed ─► …
//! ```
//! Owns connections and pauses: one connection a master, over which the agent hears who leads, registers and calls. As long as some
//! master can be heard, one that leads is waited for; else all are tried in turn. Whether to stay with a master is decided by the core,
//! which closes the queue of calls.

mod candidates;
mod leaders;
mod session;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rand::Rng;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::candidates::Candidates;
use self::leaders::{Leader, Scouts, Sight};
use self::session::{Ended, Session};
use crate::config::{Config, Timers};
use crate::runtime::{Handle, Observed};
use crate::{Error, Secret};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// One launch may be large: with the small windows of the protocol it would wait for many acknowledgements.
const WINDOW_BYTES: u32 = 4 << 20;
/// While masters can be heard and none of them leads, the list is tried this seldom.
const LEADERLESS: Duration = Duration::from_secs(3);

pub(crate) struct MasterLink {
    client: reqwest::Client,
    /// As the agent was started with.
    given: Vec<String>,
    /// As the masters said last.
    told: watch::Receiver<Vec<String>>,
    candidates: Candidates,
    secret: Option<Secret>,
    timers: Timers,
    handle: Handle,
    observed: Arc<Observed>,
    tasks_max: usize,
}

impl MasterLink {
    /// `tasks_max` is how many tasks the agent may hold, `told` where masters said that they are, now and later.
    ///
    /// # Errors
    /// There is no HTTP client to be had, or no master to be asked.
    pub(crate) fn new(
        config: &Config,
        tasks_max: usize,
        handle: Handle,
        observed: Arc<Observed>,
        told: watch::Receiver<Vec<String>>,
    ) -> Result<Self, Error> {
        if config.masters.is_empty() {
            return Err(Error::Config("no masters are given".to_owned()));
        }
        // Another part of the process may have installed it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .no_proxy()
            // One connection to each master carries everything, and is open before it is needed.
            .http2_prior_knowledge()
            .http2_initial_stream_window_size(WINDOW_BYTES)
            .http2_initial_connection_window_size(2 * WINDOW_BYTES)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        let candidates = Candidates::new(union(&config.masters, &told.borrow()));
        Ok(Self {
            client,
            given: config.masters.clone(),
            told,
            candidates,
            secret: config.secret.clone(),
            timers: config.timers.clone(),
            handle,
            observed,
            tasks_max,
        })
    }

    /// Keeps a link up until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (addresses, list) = watch::channel(union(&self.given, &self.told.borrow()));
        let (scouts, sight) = Scouts::new(self.client.clone(), list);
        let (mut told, given) = (self.told.clone(), self.given.clone());
        let follow = async {
            while told.changed().await.is_ok() {
                addresses.send_replace(union(&given, &told.borrow_and_update()));
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = scouts.run(stop.clone()) => {}
            () = follow => {}
            () = self.keep(sight, stop) => {}
        }
    }

    async fn keep(mut self, mut sight: watch::Receiver<Sight>, stop: CancellationToken) {
        let mut pause = self.timers.reconnect_min;
        let mut attempt = 0;
        // The highest epoch with which this agent was linked.
        let mut served = 0;
        let mut last_failure = String::new();
        loop {
            self.candidates.replace(union(&self.given, &self.told.borrow()));
            if let Some(leader) = sight.borrow_and_update().leader.clone() {
                self.candidates.point_to(leader.address);
            }
            attempt += 1;
            let session = Session {
                client: &self.client,
                secret: self.secret.as_ref(),
                timers: &self.timers,
                handle: &self.handle,
                observed: &self.observed,
                attempt,
                tasks_max: self.tasks_max,
                sight: sight.clone(),
                epoch: AtomicU64::new(0),
            };
            let address = self.candidates.current().to_owned();
            let ended = tokio::select! {
                ended = session.run(&mut self.candidates) => ended,
                () = stop.cancelled() => return,
            };
            match ended {
                Ended::AgentStops => return,
                Ended::Served { reason, epoch } => {
                    tracing::info!(reason, "the link to the master ended");
                    served = served.max(epoch);
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
            tokio::select! {
                () = wait(&mut sight, served, pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

/// Waits until the next attempt is worth it: a new leader was heard of, or `pause` is over. Agents that have all lost the same master do
/// not come back in step.
async fn wait(sight: &mut watch::Receiver<Sight>, served: u64, pause: Duration) {
    let is_new = |leader: &Leader| leader.epoch > served;
    let pause = match &*sight.borrow() {
        Sight { leader: None, open } if *open > 0 => LEADERLESS.max(pause),
        _ => pause,
    };
    let patience = tokio::time::sleep(draw(pause));
    let news = async {
        // What is known already was known to the attempt that failed, unless it came since.
        let mut known = sight.has_changed().unwrap_or(false);
        loop {
            let leader = sight.borrow_and_update().leader.clone().filter(|leader| known && is_new(leader));
            if let Some(leader) = leader {
                return leader;
            }
            known = true;
            if sight.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    tokio::select! {
        () = patience => {}
        leader = news => tokio::time::sleep(draw(leader.spread)).await,
    }
}

fn draw(longest: Duration) -> Duration {
    rand::rng().random_range(Duration::ZERO..=longest)
}

/// What the masters said last comes first; what the agent was started with helps where that is out of date.
fn union(given: &[String], told: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for address in told.iter().chain(given) {
        if !all.contains(address) {
            all.push(address.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(epoch: u64) -> Sight {
        let leader = Leader { address: "a:1".to_owned(), epoch, spread: Duration::ZERO };
        Sight { leader: Some(leader), open: 1 }
    }

    #[tokio::test]
    async fn a_new_leader_ends_the_pause_and_an_old_one_does_not() {
        let hour = Duration::from_secs(3_600);
        let (sender, mut sight) = watch::channel(led(4));
        sight.mark_unchanged();
        let both = async {
            tokio::join!(wait(&mut sight, 4, hour), async {
                sender.send_replace(Sight { leader: None, open: 1 });
                tokio::task::yield_now().await;
                sender.send_replace(led(5));
            })
        };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("the new leader ends the pause");
        // What came while the attempt was under way counts at once.
        sender.send_replace(led(6));
        let waited = wait(&mut sight, 5, hour);
        tokio::time::timeout(Duration::from_secs(20), waited).await.expect("it is known already");
        // The attempt knew of this one, and it failed: only the pause ends the wait.
        sender.send_replace(led(6));
        sight.mark_unchanged();
        let waited = wait(&mut sight, 5, hour);
        assert!(tokio::time::timeout(Duration::from_millis(50), waited).await.is_err());
    }

    #[test]
    fn what_masters_said_comes_before_what_was_given_and_both_count() {
        let list = |one: &[&str]| one.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        assert_eq!(union(&list(&["a", "b"]), &list(&["c", "b"])), ["c", "b", "a"]);
    }
}
