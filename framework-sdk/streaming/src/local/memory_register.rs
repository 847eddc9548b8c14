//! The register in memory, with the same fence as the masters': generation and version are compared where the write is applied.

use std::sync::{Arc, Mutex, PoisonError};

use crate::register::{CasOutcome, RegisterStore, StoreError, Versioned};

/// One register, shared by all generations of a driver.
#[derive(Clone, Debug)]
pub struct MemoryRegister {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    version: u64,
    generation: u64,
    value: Vec<u8>,
    /// Off only in tests that have to fail.
    fenced: bool,
    /// Writes that were refused because of their generation.
    refused: u64,
}

impl Default for MemoryRegister {
    fn default() -> Self {
        let inner = Inner { version: 0, generation: 0, value: Vec::new(), fenced: true, refused: 0 };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }
}

impl MemoryRegister {
    /// Begins a new generation: writers of older ones are refused from now on.
    pub fn next_generation(&self) -> u64 {
        let mut inner = self.lock();
        inner.generation += 1;
        inner.generation
    }

    /// The register as `generation` sees it.
    pub(crate) fn writer(&self, generation: u64) -> MemoryWriter {
        MemoryWriter { register: self.clone(), generation }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl MemoryRegister {
    /// A register that takes every write: the negative control of crash tests.
    pub(crate) fn without_fence() -> Self {
        let register = Self::default();
        register.lock().fenced = false;
        register
    }

    pub(crate) fn refused(&self) -> u64 {
        self.lock().refused
    }
}

/// The register as one generation sees it.
#[derive(Clone, Debug)]
pub(crate) struct MemoryWriter {
    register: MemoryRegister,
    generation: u64,
}

impl RegisterStore for MemoryWriter {
    async fn get(&self) -> Result<Option<Versioned>, StoreError> {
        let inner = self.register.lock();
        Ok((inner.version > 0).then(|| Versioned { version: inner.version, value: inner.value.clone() }))
    }

    async fn cas(&self, expected: u64, value: Vec<u8>) -> Result<CasOutcome, StoreError> {
        let mut inner = self.register.lock();
        if inner.fenced && self.generation != inner.generation {
            inner.refused += 1;
            return Ok(CasOutcome::Fenced { generation: inner.generation });
        }
        if inner.fenced && expected != inner.version {
            return Ok(CasOutcome::Conflict { version: inner.version });
        }
        inner.version += 1;
        inner.value = value;
        Ok(CasOutcome::Ok { version: inner.version })
    }
}
