//! The job's register in the masters' log.

use std::time::Duration;

use tepui_sdk::state::{Cas, RegisterClient};
use tracing::warn;

use crate::register::{CasOutcome, REGISTER_KEY, RegisterStore, StoreError, Versioned};

/// Between two tries while the masters cannot be reached. The client has its own, shorter ones.
const RETRY: Duration = Duration::from_millis(200);

/// Reads and writes through the masters, for as long as it takes: without them nothing can be committed, and what runs goes on.
/// A driver that is not wanted any more learns so from its lease.
pub(super) struct MastersRegister {
    client: RegisterClient,
}

impl MastersRegister {
    pub(super) fn new(client: RegisterClient) -> Self {
        Self { client }
    }
}

impl RegisterStore for MastersRegister {
    async fn get(&self) -> Result<Option<Versioned>, StoreError> {
        loop {
            match self.client.get(REGISTER_KEY).await {
                Ok(found) if found.version == 0 => return Ok(None),
                Ok(found) => {
                    return Ok(Some(Versioned { version: found.version, value: found.value.to_vec() }));
                }
                Err(error) => wait(&error).await?,
            }
        }
    }

    async fn cas(&self, expected: u64, value: Vec<u8>) -> Result<CasOutcome, StoreError> {
        let value = bytes::Bytes::from(value);
        loop {
            // The same bytes again: the masters recognise a write that was applied before its answer got lost.
            match self.client.cas(REGISTER_KEY, expected, value.clone()).await {
                Ok(Cas::Ok(version)) => return Ok(CasOutcome::Ok { version }),
                Ok(Cas::Conflict { version }) => return Ok(CasOutcome::Conflict { version }),
                Ok(Cas::Fenced { generation }) => return Ok(CasOutcome::Fenced { generation }),
                Err(error) => wait(&error).await?,
            }
        }
    }
}

async fn wait(error: &tepui_sdk::state::RegisterError) -> Result<(), StoreError> {
    if let tepui_sdk::state::RegisterError::TooLarge(_) = error {
        return Err(StoreError(error.to_string()));
    }
    warn!(%error, "the masters do not answer for the register; trying again");
    tokio::time::sleep(RETRY).await;
    Ok(())
}
