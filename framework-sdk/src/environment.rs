//! The environment of a supervised driver: what its supervisor told it when it was launched.
//!
//! Owns the names of the variables and their parsing. Never prints the token.

use std::fmt;

use thiserror::Error;

use crate::v1;

/// Comma-separated `host:port` of all masters.
pub const MASTERS: &str = "TEPUI_MASTERS";
/// The driver's name, which is also the scope of its registers.
pub const DRIVER_NAME: &str = "TEPUI_DRIVER_NAME";
/// The launch that this process belongs to; older ones are fenced.
pub const DRIVER_GENERATION: &str = "TEPUI_DRIVER_GENERATION";
/// Proves the generation to the masters.
pub const DRIVER_TOKEN: &str = "TEPUI_DRIVER_TOKEN";
/// The framework id that the driver subscribes with, the same in every generation.
pub const FRAMEWORK_ID: &str = "TEPUI_FRAMEWORK_ID";

/// Who the program is, where masters ask for credentials.
pub const PRINCIPAL: &str = "TEPUI_PRINCIPAL";
/// The principal's secret.
pub const SECRET: &str = "TEPUI_SECRET";

/// What a supervised driver knows about itself.
#[derive(Clone, PartialEq, Eq)]
pub struct DriverEnvironment {
    /// All masters, `host:port`.
    pub masters: Vec<String>,
    /// Name of the driver.
    pub name: String,
    /// Generation of this launch.
    pub generation: u64,
    /// Token of this generation.
    pub token: String,
    /// Framework id to subscribe with.
    pub framework_id: String,
}

/// Why a process cannot run as what it was launched for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvironmentError {
    /// The supervisor sets every variable; without them the process was started by hand.
    #[error("the variable {0} is not set, so this process was not launched by those who set it")]
    Missing(&'static str),
    /// A variable holds something else than it should.
    #[error("the variable {0} holds {1:?}, which is not {2}")]
    Malformed(&'static str, String, &'static str),
}

impl DriverEnvironment {
    /// Reads the process environment.
    pub fn from_env() -> Result<Self, EnvironmentError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables through `lookup`, so that tests need no process environment.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, EnvironmentError> {
        let get =
            |name| lookup(name).filter(|value| !value.is_empty()).ok_or(EnvironmentError::Missing(name));
        let masters = parse_masters(&get(MASTERS)?);
        if masters.is_empty() {
            return Err(EnvironmentError::Malformed(MASTERS, get(MASTERS)?, "a list of host:port"));
        }
        let generation = get(DRIVER_GENERATION)?;
        let generation = generation
            .parse()
            .map_err(|_| EnvironmentError::Malformed(DRIVER_GENERATION, generation, "a number"))?;
        Ok(DriverEnvironment {
            masters,
            name: get(DRIVER_NAME)?,
            generation,
            token: get(DRIVER_TOKEN)?,
            framework_id: get(FRAMEWORK_ID)?,
        })
    }

    /// Returns the framework id as the protocol's type.
    pub fn framework_id(&self) -> v1::FrameworkId {
        v1::FrameworkId { value: Some(self.framework_id.clone()) }
    }
}

impl fmt::Debug for DriverEnvironment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DriverEnvironment")
            .field("masters", &self.masters)
            .field("name", &self.name)
            .field("generation", &self.generation)
            .field("token", &"(hidden)")
            .field("framework_id", &self.framework_id)
            .finish()
    }
}

/// Splits a comma-separated list of `host:port`, ignoring blanks and empty items.
pub fn parse_masters(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            MASTERS => "127.0.0.1:1, 127.0.0.1:2,",
            DRIVER_NAME => "flights",
            DRIVER_GENERATION => "3",
            DRIVER_TOKEN => "secret",
            FRAMEWORK_ID => "tepui-driver-flights",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn reads_what_the_supervisor_sets_and_hides_the_token() {
        let environment = DriverEnvironment::from_lookup(lookup).unwrap();
        assert_eq!(environment.masters, ["127.0.0.1:1", "127.0.0.1:2"]);
        assert_eq!(environment.generation, 3);
        assert!(!format!("{environment:?}").contains("secret"));
    }

    #[test]
    fn names_the_variable_that_is_wrong() {
        let without = |hidden: &'static str| {
            DriverEnvironment::from_lookup(move |name| lookup(name).filter(|_| name != hidden))
        };
        for name in [MASTERS, DRIVER_NAME, DRIVER_GENERATION, DRIVER_TOKEN, FRAMEWORK_ID] {
            assert_eq!(without(name), Err(EnvironmentError::Missing(name)));
        }
        let wrong = DriverEnvironment::from_lookup(|name| {
            if name == DRIVER_GENERATION { Some("three".into()) } else { lookup(name) }
        });
        assert!(wrong.unwrap_err().to_string().contains("TEPUI_DRIVER_GENERATION"));
    }
}
