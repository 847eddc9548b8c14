//! A supervised driver's lease: renewed until it is lost.
//!
//! Owns the question "may this process go on?". It does not stop the program; it tells it to. Fencing protects the registers
//! in any case, the lease only bounds how long two launches work side by side.

use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::environment::DriverEnvironment;
use crate::operator::Client;
use crate::operator::tepui_client::renew_lease;
use crate::transport::SetupError;

const RENEWAL: Duration = Duration::from_secs(3);
const DEFAULT_LEASE: Duration = Duration::from_secs(10);

/// Why the driver must stop working at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LeaseLost {
    /// The masters launched the driver anew.
    #[error("generation {generation} of this driver has been launched")]
    Replaced {
        /// The newest generation.
        generation: u64,
    },
    /// No renewal succeeded for the length of the lease, so a new launch may be on its way.
    #[error("the lease was not renewed for {unrenewed_ms} ms")]
    Expired {
        /// Milliseconds since the last renewal was sent that succeeded.
        unrenewed_ms: u64,
    },
}

/// The lease of one launch.
#[derive(Debug, Clone)]
pub struct Lease {
    client: Client,
    name: String,
    generation: u64,
    token: String,
    renewal: Duration,
    length: Duration,
}

impl Lease {
    /// Takes the driver's name, generation and token.
    pub fn new(client: Client, name: &str, generation: u64, token: &str) -> Self {
        let (name, token) = (name.to_owned(), token.to_owned());
        Lease { client, name, generation, token, renewal: RENEWAL, length: DEFAULT_LEASE }
    }

    /// Takes everything from the environment that the supervisor set.
    pub fn from_environment(environment: &DriverEnvironment) -> Result<Self, SetupError> {
        let client = Client::new(environment.masters.clone())?;
        Ok(Self::new(client, &environment.name, environment.generation, &environment.token))
    }

    /// Sets the time between renewals (3 s) and the length that is assumed until the masters name theirs (10 s).
    pub fn timing(mut self, renewal: Duration, length: Duration) -> Self {
        self.renewal = renewal;
        self.length = length;
        self
    }

    /// Renews until the lease is lost. The program runs beside this future and stops when it returns.
    pub async fn keep(mut self) -> LeaseLost {
        let mut renewed_at = Instant::now();
        loop {
            // Looked at first: after a pause of the whole process nothing may be done on the strength of an old lease.
            let expires_at = renewed_at + self.length;
            let sent_at = Instant::now();
            if sent_at >= expires_at {
                return LeaseLost::Expired { unrenewed_ms: milliseconds(renewed_at.elapsed()) };
            }
            let call = renew_lease(&self.name, self.generation);
            let deadline = expires_at.min(sent_at + self.renewal);
            let renewal = self.client.tepui_with(&call, Some(&self.token), deadline);
            match tokio::time::timeout_at(expires_at, renewal).await {
                Ok(Ok(response)) => {
                    let answer = response.renew_lease.unwrap_or_default();
                    if answer.valid == Some(false) {
                        return LeaseLost::Replaced { generation: answer.generation.unwrap_or_default() };
                    }
                    renewed_at = sent_at;
                    if let Some(lease_ms) = answer.lease_ms.filter(|lease_ms| *lease_ms > 0) {
                        self.length = Duration::from_millis(lease_ms);
                        self.renewal = self.renewal.min(self.length / 3);
                    }
                    debug!(generation = self.generation, "lease renewed");
                    tokio::time::sleep(self.renewal).await;
                }
                Ok(Err(error)) => {
                    warn!(%error, "cannot renew the driver's lease yet");
                    tokio::time::sleep(self.renewal / 10).await;
                }
                Err(_) => {}
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
