//! The environment of an executor: what its agent told it when it was launched.
//!
//! Owns the names of the variables, Mesos' own, and their parsing. Never prints the token.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tepui_proto::duration;

use crate::environment::EnvironmentError;

const FRAMEWORK_ID: &str = "MESOS_FRAMEWORK_ID";
const EXECUTOR_ID: &str = "MESOS_EXECUTOR_ID";
const AGENT_ENDPOINT: &str = "MESOS_AGENT_ENDPOINT";
const SANDBOX: &str = "MESOS_SANDBOX";
const CHECKPOINT: &str = "MESOS_CHECKPOINT";
const RECOVERY_TIMEOUT: &str = "MESOS_RECOVERY_TIMEOUT";
const BACKOFF_MAX: &str = "MESOS_SUBSCRIPTION_BACKOFF_MAX";
const SHUTDOWN_GRACE: &str = "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD";
const TOKEN: &str = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN";

/// What an executor knows about itself and its agent.
#[derive(Clone, PartialEq, Eq)]
pub struct ExecutorEnvironment {
    /// Whose tasks it runs.
    pub framework_id: String,
    /// Its own id.
    pub executor_id: String,
    /// The agent, `host:port`.
    pub agent: String,
    /// Its folder.
    pub sandbox: PathBuf,
    /// Whether it and its tasks outlive a restart of the agent.
    pub checkpoint: bool,
    /// How long it waits for its agent to come back, if it outlives it; Mesos' default is 15 minutes.
    pub recovery_timeout: Duration,
    /// The longest wait between two attempts to subscribe; Mesos' default is two seconds.
    pub subscription_backoff_max: Duration,
    /// How long after SHUTDOWN it is ended by force; Mesos' default is five seconds.
    pub shutdown_grace: Duration,
    /// Proves to the agent which executor this is, where agents want that.
    pub token: Option<String>,
}

impl ExecutorEnvironment {
    /// Reads the process environment.
    ///
    /// # Errors
    /// A variable that every agent sets is missing, or one cannot be read.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables through `lookup`, so that tests need no process environment.
    ///
    /// # Errors
    /// As [`ExecutorEnvironment::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let optional = |name| lookup(name).filter(|value| !value.is_empty());
        let get = |name| optional(name).ok_or(EnvironmentError::Missing(name));
        let time = |name, default: u64| match optional(name) {
            None => Ok(Duration::from_secs(default)),
            Some(text) => duration::parse(&text)
                .map_err(|_| EnvironmentError::Malformed(name, text, "a duration such as 5secs")),
        };
        Ok(ExecutorEnvironment {
            framework_id: get(FRAMEWORK_ID)?,
            executor_id: get(EXECUTOR_ID)?,
            agent: get(AGENT_ENDPOINT)?,
            sandbox: get(SANDBOX)?.into(),
            checkpoint: optional(CHECKPOINT).as_deref() == Some("1"),
            recovery_timeout: time(RECOVERY_TIMEOUT, 15 * 60)?,
            subscription_backoff_max: time(BACKOFF_MAX, 2)?,
            shutdown_grace: time(SHUTDOWN_GRACE, 5)?,
            token: optional(TOKEN),
        })
    }
}

impl fmt::Debug for ExecutorEnvironment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExecutorEnvironment")
            .field("framework_id", &self.framework_id)
            .field("executor_id", &self.executor_id)
            .field("agent", &self.agent)
            .field("sandbox", &self.sandbox)
            .field("checkpoint", &self.checkpoint)
            .field("recovery_timeout", &self.recovery_timeout)
            .field("subscription_backoff_max", &self.subscription_backoff_max)
            .field("shutdown_grace", &self.shutdown_grace)
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            FRAMEWORK_ID => "fw",
            EXECUTOR_ID => "e",
            AGENT_ENDPOINT => "127.0.0.1:5051",
            SANDBOX => "/sandbox",
            CHECKPOINT => "1",
            RECOVERY_TIMEOUT => "1mins",
            BACKOFF_MAX => "500ms",
            TOKEN => "a.b.c",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn reads_what_the_agent_sets_and_hides_the_token() {
        let environment = ExecutorEnvironment::from_lookup(lookup).unwrap();
        assert!(environment.checkpoint);
        assert_eq!(environment.recovery_timeout, Duration::from_secs(60));
        assert_eq!(environment.subscription_backoff_max, Duration::from_millis(500));
        assert_eq!(environment.shutdown_grace, Duration::from_secs(5), "the default");
        assert!(!format!("{environment:?}").contains("a.b.c"));
    }

    #[test]
    fn names_the_variable_that_is_wrong() {
        for hidden in [FRAMEWORK_ID, EXECUTOR_ID, AGENT_ENDPOINT, SANDBOX] {
            let found = ExecutorEnvironment::from_lookup(|name| lookup(name).filter(|_| name != hidden));
            assert_eq!(found, Err(EnvironmentError::Missing(hidden)));
        }
        let wrong = ExecutorEnvironment::from_lookup(|name| {
            if name == RECOVERY_TIMEOUT { Some("soon".to_owned()) } else { lookup(name) }
        });
        assert!(wrong.unwrap_err().to_string().contains(RECOVERY_TIMEOUT));
    }
}
