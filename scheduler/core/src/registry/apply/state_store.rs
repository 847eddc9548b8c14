//! Compare-and-set on framework state registers: where the fence stands.
//!
//! A write counts iff its generation is the driver's, its token that generation's, and the version the expected one. So a
//! driver that was replaced can change nothing from the moment in which its successor's launch is committed.

use std::sync::Arc;

use super::Step;
use crate::digest::sha256;
use crate::registry::operation::StateCas;
use crate::registry::outcome::{CasResult, Change, Outcome, Refusal};
use crate::registry::records::RegisterRecord;
use crate::registry::tables::RegisterKey;

/// Largest value of a register, bytes.
pub const MAX_REGISTER_BYTES: usize = 64 * 1024;
/// Most registers of one driver.
pub const MAX_REGISTERS: usize = 64;
/// Longest key, bytes.
pub const MAX_KEY_BYTES: usize = 255;

impl Step<'_> {
    pub(super) fn state_cas(&mut self, cas: &StateCas) -> Result<Outcome, Refusal> {
        let driver = self.tables.drivers.get(cas.scope.as_str()).ok_or(Refusal::UnknownDriver)?.clone();
        if cas.key.is_empty() || cas.key.len() > MAX_KEY_BYTES || cas.value.len() > MAX_REGISTER_BYTES {
            return Err(Refusal::Malformed);
        }
        let key = RegisterKey { scope: Arc::from(cas.scope.as_str()), key: Arc::from(cas.key.as_str()) };
        let old = self.tables.registers.get(&key).cloned();
        let version = old.as_ref().map_or(0, |register| register.version);
        let answer = |result, version| Outcome::Cas { result, version, generation: driver.generation };
        let fenced = cas.generation != driver.generation
            || cas.generation == 0
            || cas.token_sha256 != driver.token_sha256;
        if fenced && !mutant!("write-without-generation") {
            return Ok(answer(CasResult::Fenced, version));
        }
        let hash = sha256(&cas.value);
        if let Some(old) = &old
            && old.version == cas.expected_version.saturating_add(1)
            && old.generation == cas.generation
            && old.value_sha256 == hash
        {
            // The same write again: its first answer was lost.
            return Ok(answer(CasResult::Ok, version));
        }
        if version != cas.expected_version && !mutant!("write-without-version") {
            return Ok(answer(CasResult::Conflict, version));
        }
        if old.is_none() && self.tables.registers_of(&cas.scope).len() >= MAX_REGISTERS {
            return Err(Refusal::TooMany);
        }
        self.tables.registers.insert(
            key,
            Arc::new(RegisterRecord {
                scope: cas.scope.clone(),
                key: cas.key.clone(),
                version: version + 1,
                generation: cas.generation,
                value_sha256: hash,
                value: cas.value.clone(),
                written_wall_ms: self.tables.wall_ms,
            }),
        );
        self.changes.push(Change::Register { scope: cas.scope.clone(), key: cas.key.clone() });
        Ok(answer(CasResult::Ok, version + 1))
    }
}
