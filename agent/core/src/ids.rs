//! Draws ids from the seed that came with the configuration. Owns no other source of chance.

use std::fmt::Write;

use bytes::Bytes;

/// A xoshiro256** generator.
pub(crate) struct Ids {
    state: [u64; 4],
}

impl Ids {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut state = [0u64; 4];
        for (word, chunk) in state.iter_mut().zip(seed.chunks_exact(8)) {
            *word = chunk.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        }
        // The all-zero state is a fixed point of the generator.
        if state == [0; 4] {
            state = [1, 2, 3, 4];
        }
        let mut ids = Self { state };
        // Seeds with few set bits need some rounds before the output looks random.
        for _ in 0..16 {
            ids.next();
        }
        ids
    }

    /// Returns 16 bytes in the form of a random (version 4) UUID.
    pub(crate) fn uuid(&mut self) -> Bytes {
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&self.next().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next().to_be_bytes());
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Bytes::copy_from_slice(&bytes)
    }

    /// Returns a UUID as text.
    pub(crate) fn uuid_text(&mut self) -> String {
        let mut text = String::with_capacity(36);
        for (index, byte) in self.uuid().iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn next(&mut self) -> u64 {
        let result = self.state[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = self.state[1] << 17;
        self.state[2] ^= self.state[0];
        self.state[3] ^= self.state[1];
        self.state[1] ^= self.state[2];
        self.state[0] ^= self.state[3];
        self.state[2] ^= shifted;
        self.state[3] = self.state[3].rotate_left(45);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_follow_from_the_seed_and_do_not_repeat() {
        for seed in [[0; 32], [1; 32]] {
            let (mut first, mut second) = (Ids::new(seed), Ids::new(seed));
            let drawn: BTreeSet<String> = (0..1000).map(|_| first.uuid_text()).collect();
            assert_eq!(drawn.len(), 1000);
            assert!((0..1000).all(|_| drawn.contains(&second.uuid_text())));
        }
        assert_ne!(Ids::new([0; 32]).uuid(), Ids::new([1; 32]).uuid());
    }

    #[test]
    fn text_has_the_usual_form() {
        let text = Ids::new([7; 32]).uuid_text();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert_eq!(text.matches('-').count(), 4);
    }
}
