//! A driver's registers: small values that only the newest launch of the driver can change, one version at a time.
//!
//! Owns the repetition of writes whose outcome is unknown, which is safe because the masters recognise a repeated write by its
//! version, generation and value. It never retries a CONFLICT: somebody else wrote, and only the caller knows what that means.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::Instant;

use crate::environment::DriverEnvironment;
use crate::operator::tepui_client::{state_cas, state_get};
use crate::operator::{Client, OperatorError};
use crate::tepui::operator::response::state_cas::Result as CasResult;
use crate::transport::SetupError;

/// Longest value of a register, bytes.
pub const VALUE_LIMIT_BYTES: usize = 64 * 1024;
const DEADLINE: Duration = Duration::from_secs(30);

/// A register as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// 0 if the register does not exist.
    pub version: u64,
    /// Generation of the launch that wrote it.
    pub generation: u64,
    /// The value; empty if the register does not exist.
    pub value: Bytes,
}

/// How a compare-and-set ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cas {
    /// Written; the register has this version now.
    Ok(u64),
    /// The register has another version than expected.
    Conflict {
        /// The version it has.
        version: u64,
    },
    /// A newer launch of the driver exists, so this process must stop.
    Fenced {
        /// The generation of the newest launch.
        generation: u64,
    },
}

/// Why nothing can be said about a register.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// The exchange failed; for a write, its outcome is unknown if the inner error says so.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// Refused before sending.
    #[error("the value has {0} bytes, more than {VALUE_LIMIT_BYTES}")]
    TooLarge(usize),
}

/// Registers of one driver, as one launch of it sees them.
#[derive(Clone)]
pub struct RegisterClient {
    client: Client,
    scope: String,
    generation: u64,
    token: String,
    patience: Duration,
}

impl RegisterClient {
    /// Takes the driver's name, generation and token.
    pub fn new(client: Client, scope: &str, generation: u64, token: &str) -> Self {
        let (scope, token) = (scope.to_owned(), token.to_owned());
        RegisterClient { client, scope, generation, token, patience: DEADLINE }
    }

    /// Takes everything from the environment that the supervisor set.
    pub fn from_environment(environment: &DriverEnvironment) -> Result<Self, SetupError> {
        let client = Client::new(environment.masters.clone())?;
        Ok(Self::new(client, &environment.name, environment.generation, &environment.token))
    }

    /// Sets how long a call keeps trying; 30 seconds unless said otherwise.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Returns the generation that writes are made with.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Reads a register, at least as new as every write that was answered before.
    pub async fn get(&self, key: &str) -> Result<Register, RegisterError> {
        let call = state_get(&self.scope, key);
        let response = self.client.tepui_with(&call, Some(&self.token), self.deadline()).await?;
        let found = response.state_get.ok_or(OperatorError::Incomplete("state_get"))?;
        Ok(Register {
            version: found.version.unwrap_or_default(),
            generation: found.generation.unwrap_or_default(),
            value: found.value.unwrap_or_default(),
        })
    }

    /// Writes `value` if the register has `expected_version` (0: if it does not exist). An error means that the outcome may
    /// be unknown: the same call may be made again, with the same version and value.
    pub async fn cas(&self, key: &str, expected_version: u64, value: Bytes) -> Result<Cas, RegisterError> {
        if value.len() > VALUE_LIMIT_BYTES {
            return Err(RegisterError::TooLarge(value.len()));
        }
        let call = state_cas(&self.scope, key, expected_version, self.generation, value);
        let response = self.client.tepui_with(&call, Some(&self.token), self.deadline()).await?;
        let answer = response.state_cas.ok_or(OperatorError::Incomplete("state_cas"))?;
        match CasResult::try_from(answer.result.unwrap_or_default()) {
            Ok(CasResult::Ok) => Ok(Cas::Ok(answer.version.unwrap_or_default())),
            Ok(CasResult::Conflict) => Ok(Cas::Conflict { version: answer.version.unwrap_or_default() }),
            Ok(CasResult::Fenced) => Ok(Cas::Fenced { generation: answer.generation.unwrap_or_default() }),
            Ok(CasResult::Unknown) | Err(_) => Err(OperatorError::Incomplete("result").into()),
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }
}

impl fmt::Debug for RegisterClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("RegisterClient");
        shown.field("scope", &self.scope).field("generation", &self.generation).finish_non_exhaustive()
    }
}
