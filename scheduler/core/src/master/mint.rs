//! Ids and tokens, derived from the seed that the shell gave: the core draws no randomness of its own.

use sha2::{Digest, Sha256};

use crate::digest::hex;

/// A source of unguessable values: SHA-256 of the seed and a counter.
#[derive(Clone, Debug)]
pub(crate) struct Mint {
    seed: [u8; 32],
    drawn: u64,
}

impl Mint {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// Returns 32 bytes that nobody can predict without the seed.
    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(self.drawn.to_be_bytes());
        hash.finalize().into()
    }

    /// Returns a token of 64 hexadecimal digits.
    pub(crate) fn token(&mut self) -> String {
        hex(&self.bytes())
    }
}
