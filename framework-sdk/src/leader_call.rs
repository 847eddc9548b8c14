//! One request to the leading master, whoever that is by the time it is answered.
//!
//! Owns finding the leader, redirects, repeats and the deadline. A request is repeated only if that is harmless: because it
//! certainly had no effect, or because the caller says that doing it twice is the same as doing it once.

use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;
use tracing::debug;

use crate::backoff::Backoff;
use crate::master_detector::{MasterDetector, redirect_target};
use crate::transport::{Answer, Opened, Request, Transport, TransportError};

/// Redirects followed at once; more than one happens only while leadership moves.
const REDIRECT_LIMIT: usize = 4;
const RETRY_INITIAL: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Whether a request may be repeated when nobody knows if it had its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice is the same as doing it once.
    Idempotent,
    /// An unknown outcome is handed to the caller.
    Never,
}

/// A request that did not get a good answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// A master refused the request itself; repeating it is useless.
    #[error("refused with {status}: {reason}")]
    Refused {
        /// HTTP status, 4xx.
        status: u16,
        /// The master's words.
        reason: String,
    },
    /// Until the deadline no leading master was found; the request had no effect.
    #[error("no leading master answered in time: {0}")]
    Unreachable(String),
    /// The request may or may not have had its effect.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// The answer is not what it should be.
    #[error("malformed answer: {0}")]
    Malformed(String),
}

/// Sends requests to the leading master; clones share connections and what is known about the leader.
#[derive(Debug, Clone)]
pub struct LeaderCaller {
    transport: Transport,
    detector: MasterDetector,
}

/// What one attempt came to.
enum Attempt<T> {
    Answered(T),
    Refused(Answer),
    /// Certainly without effect.
    Retry(String),
    /// Certainly without effect, and for so long not worth another attempt.
    Later(String, Duration),
    /// Perhaps with effect.
    Unknown(String),
}

impl LeaderCaller {
    /// Sends through `transport` to the leader that `detector` finds.
    pub fn new(transport: Transport, detector: MasterDetector) -> Self {
        LeaderCaller { transport, detector }
    }

    /// Returns the shared memory of who leads.
    pub fn detector(&self) -> &MasterDetector {
        &self.detector
    }

    /// Returns the shared HTTP client.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Sends a request until it is answered with a 2xx or `deadline` has passed.
    pub async fn call(
        &self,
        request: &Request,
        repeat: Repeat,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        self.retry(repeat, deadline, || self.attempt(request, deadline)).await
    }

    /// Opens a stream at the leader, trying until `deadline`.
    pub async fn open(&self, request: &Request, deadline: Instant) -> Result<reqwest::Response, CallError> {
        self.retry(Repeat::Idempotent, deadline, || self.attempt_open(request, deadline)).await
    }

    /// Opens a stream at one master, without following redirects.
    pub async fn open_at(&self, address: &str, request: &Request) -> Result<reqwest::Response, CallError> {
        match self.transport.open(address, request).await {
            Ok(Opened::Stream(response)) => Ok(response),
            Ok(Opened::Answer(answer)) if answer.status < 300 || answer.status >= 500 => {
                Err(CallError::Unreachable(describe(address, &answer)))
            }
            Ok(Opened::Answer(answer)) => {
                Err(CallError::Refused { status: answer.status, reason: answer.reason() })
            }
            Err(error @ TransportError::NotSent { .. }) => Err(CallError::Unreachable(error.to_string())),
            Err(error) => Err(CallError::Unknown(error.to_string())),
        }
    }

    /// Asks one master for what it knows itself, without following redirects.
    pub async fn call_at(&self, address: &str, request: &Request) -> Result<Answer, CallError> {
        match self.transport.send(address, request).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(answer),
            Ok(answer) if answer.status >= 500 => Err(CallError::Unreachable(describe(address, &answer))),
            Ok(answer) => Err(CallError::Refused { status: answer.status, reason: answer.reason() }),
            Err(error @ TransportError::NotSent { .. }) => Err(CallError::Unreachable(error.to_string())),
            Err(error) => Err(CallError::Unknown(error.to_string())),
        }
    }

    // The futures are a type parameter, not an async closure: callers have to be able to tell that they are Send.
    async fn retry<T, F: Future<Output = Attempt<T>>>(
        &self,
        repeat: Repeat,
        deadline: Instant,
        attempt: impl Fn() -> F,
    ) -> Result<T, CallError> {
        let mut backoff = Backoff::new(RETRY_INITIAL, RETRY_MAX);
        let mut uncertain = false;
        loop {
            let mut least = Duration::ZERO;
            let trouble = match attempt().await {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Refused(answer) => {
                    return Err(CallError::Refused { status: answer.status, reason: answer.reason() });
                }
                Attempt::Retry(trouble) => trouble,
                Attempt::Later(trouble, after) => {
                    least = after;
                    trouble
                }
                Attempt::Unknown(trouble) if repeat == Repeat::Never => {
                    return Err(CallError::Unknown(trouble));
                }
                Attempt::Unknown(trouble) => {
                    uncertain = true;
                    trouble
                }
            };
            let wait = backoff.next(rand::random()).max(least);
            if Instant::now() + wait >= deadline {
                return Err(if uncertain {
                    CallError::Unknown(trouble)
                } else {
                    CallError::Unreachable(trouble)
                });
            }
            debug!(%trouble, wait_ms = wait.as_millis(), "will ask again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&self, request: &Request, deadline: Instant) -> Attempt<Answer> {
        // Past the deadline an answer is still waited for a moment: cutting a request short only makes its outcome unknown.
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(50));
        let request = request.clone().answer_within(request.timeout().min(left));
        let mut address = match self.locate(deadline).await {
            Ok(address) => address,
            Err(trouble) => return Attempt::Retry(trouble),
        };
        for _ in 0..=REDIRECT_LIMIT {
            let answer = match self.transport.send(&address, &request).await {
                Ok(answer) => answer,
                Err(error) => return self.failed(&address, error),
            };
            match self.sort(&address, answer) {
                Sorted::Elsewhere(leader) => address = leader,
                Sorted::Done(attempt) => return attempt,
            }
        }
        self.detector.failed(&address);
        Attempt::Retry("the masters redirect in a circle".to_owned())
    }

    async fn locate(&self, deadline: Instant) -> Result<String, String> {
        match tokio::time::timeout_at(deadline, self.detector.locate(&self.transport)).await {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no leading master found among {}", self.detector.masters().join(","))),
        }
    }

    async fn attempt_open(&self, request: &Request, deadline: Instant) -> Attempt<reqwest::Response> {
        let mut address = match self.locate(deadline).await {
            Ok(address) => address,
            Err(trouble) => return Attempt::Retry(trouble),
        };
        for _ in 0..=REDIRECT_LIMIT {
            let answer = match self.transport.open(&address, request).await {
                Ok(Opened::Stream(response)) => {
                    self.detector.confirmed(&address);
                    return Attempt::Answered(response);
                }
                Ok(Opened::Answer(answer)) => answer,
                Err(error) => return self.failed(&address, error),
            };
            match self.sort(&address, answer) {
                Sorted::Elsewhere(leader) => address = leader,
                Sorted::Done(Attempt::Answered(answer)) | Sorted::Done(Attempt::Refused(answer)) => {
                    return Attempt::Refused(answer);
                }
                Sorted::Done(Attempt::Later(trouble, after)) => return Attempt::Later(trouble, after),
                Sorted::Done(Attempt::Retry(trouble)) => return Attempt::Retry(trouble),
                Sorted::Done(Attempt::Unknown(trouble)) => return Attempt::Unknown(trouble),
            }
        }
        self.detector.failed(&address);
        Attempt::Retry("the masters redirect in a circle".to_owned())
    }

    fn failed<T>(&self, address: &str, error: TransportError) -> Attempt<T> {
        self.detector.failed(address);
        match error {
            TransportError::NotSent { .. } => Attempt::Retry(error.to_string()),
            TransportError::Unknown { .. } => Attempt::Unknown(error.to_string()),
        }
    }

    fn sort(&self, address: &str, answer: Answer) -> Sorted {
        match answer.status {
            200..300 => {
                self.detector.confirmed(address);
                self.detector.learn(&answer.masters);
                Sorted::Done(Attempt::Answered(answer))
            }
            307 | 308 => match answer.location.as_deref().and_then(redirect_target) {
                Some(leader) => Sorted::Elsewhere(leader.to_owned()),
                None => Sorted::Done(Attempt::Refused(answer)),
            },
            // The leader is right, it only wants less.
            429 => {
                self.detector.confirmed(address);
                let after = answer.retry_after.unwrap_or(RETRY_MAX);
                Sorted::Done(Attempt::Later(describe(address, &answer), after))
            }
            // A leader that lost its leadership while it worked on the request answers 503, too.
            500 | 502 | 503 | 504 => {
                self.detector.failed(address);
                Sorted::Done(Attempt::Unknown(describe(address, &answer)))
            }
            _ => Sorted::Done(Attempt::Refused(answer)),
        }
    }
}

enum Sorted {
    Elsewhere(String),
    Done(Attempt<Answer>),
}

fn describe(address: &str, answer: &Answer) -> String {
    format!("{address} answered {} {}", answer.status, answer.reason()).trim_end().to_owned()
}
