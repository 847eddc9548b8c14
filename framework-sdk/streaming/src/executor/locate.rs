//! Where the job's driver listens. The register says so; it is read at the leading master.

use std::future::Future;

use serde::Deserialize;
use tepui_sdk::operator::Client;

use crate::register::REGISTER_KEY;

/// What the register says about the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    Driver {
        address: String,
        generation: u64,
    },
    /// No driver has written the register yet.
    Nowhere,
    /// The job has finished: executors are not needed any more.
    Finished,
}

/// Finds the driver.
pub(crate) trait Locate: Send + Sync {
    /// Returns where the driver is, or why nobody can say.
    fn locate(&self) -> impl Future<Output = Result<Location, String>> + Send;
}

/// Reads the job's register at the masters.
pub(crate) struct MastersLocate {
    client: Client,
    job: String,
}

impl MastersLocate {
    pub(crate) fn new(client: Client, job: &str) -> Self {
        Self { client, job: job.to_owned() }
    }
}

impl Locate for MastersLocate {
    async fn locate(&self) -> Result<Location, String> {
        let found =
            self.client.state_get(&self.job, REGISTER_KEY).await.map_err(|error| error.to_string())?;
        if found.version.unwrap_or(0) == 0 {
            return Ok(Location::Nowhere);
        }
        read(&found.value.unwrap_or_default())
    }
}

/// Reads the address out of a register's value. Only the fields that executors need: the rest may be of a newer format.
fn read(value: &[u8]) -> Result<Location, String> {
    #[derive(Deserialize)]
    struct Part {
        driver: Option<Driver>,
        finished: bool,
    }
    #[derive(Deserialize)]
    struct Driver {
        address: String,
        generation: u64,
    }
    let part: Part =
        serde_json::from_slice(value).map_err(|error| format!("the register is not readable: {error}"))?;
    Ok(match part.driver {
        _ if part.finished => Location::Finished,
        None => Location::Nowhere,
        Some(Driver { address, generation }) => Location::Driver { address, generation },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_says_where() {
        let at = |text: &str| read(text.as_bytes());
        let found = at(r#"{"format":9,"finished":false,"driver":{"address":"h:1","generation":3},"new":1}"#);
        assert_eq!(found, Ok(Location::Driver { address: "h:1".into(), generation: 3 }));
        assert_eq!(at(r#"{"finished":false,"driver":null}"#), Ok(Location::Nowhere));
        assert_eq!(at(r#"{"finished":true,"driver":null}"#), Ok(Location::Finished));
        assert!(at("nonsense").is_err());
    }
}
