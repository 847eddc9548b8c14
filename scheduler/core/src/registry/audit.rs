//! Replicas compare their states: each freezes the Registry at the same entries of the log, and what they say of it is committed, so
//! that all of them judge by the same words.
//!
//! ```text
//! Checkpoint 7 { words about 6 } ─► every replica judges itself by the words about 6, and freezes checkpoint 7
//!                                    └─ whoever differs from a majority of the voters stops; without one, nobody does
//! ```
//!
//! Knows nothing of how the words come together, or how a replica stops.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::state_hash::StateDigest;

/// Marks a place in the log at which every replica notes the hash of its state, and tells what they said of an earlier one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Checkpoint {
    /// The number of the checkpoint that the words are about; 0 if there are none.
    #[prost(uint64, tag = "1")]
    pub of: u64,
    #[prost(message, repeated, tag = "2")]
    pub words: Vec<HashWord>,
    /// Who had a vote when the words were collected.
    #[prost(uint64, repeated, tag = "3")]
    pub voters: Vec<u64>,
}

/// What one master found.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HashWord {
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// Of the construction; words of different ones say nothing about each other.
    #[prost(uint32, tag = "2")]
    pub version: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub hash: Bytes,
}

/// What the words mean for one replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody contradicts it, or nobody can tell.
    Sound,
    /// A majority of the voters found this, and the replica something else.
    Odd { majority: StateDigest },
    /// Masters contradict each other, and none of their words has a majority.
    Undecided,
}

impl HashWord {
    /// As one master sends it to another.
    pub fn to_bytes(&self) -> Bytes {
        prost::Message::encode_to_vec(self).into()
    }

    /// Reads what another master sent; nothing if it is no word.
    pub fn from_bytes(bytes: Bytes) -> Option<HashWord> {
        prost::Message::decode(bytes).ok()
    }
}

impl Checkpoint {
    /// Judges a replica that found `own`, computed as `version` says.
    pub fn judge(&self, own: Option<StateDigest>, version: u32) -> Verdict {
        let voters: BTreeSet<u64> = self.voters.iter().copied().collect();
        let mut found: BTreeMap<StateDigest, BTreeSet<u64>> = BTreeMap::new();
        for word in self.words.iter().filter(|word| word.version == version && voters.contains(&word.node_id))
        {
            if let Some(digest) = StateDigest::from_slice(&word.hash) {
                found.entry(digest).or_default().insert(word.node_id);
            }
        }
        let majority = found.iter().find(|(_, of)| of.len() * 2 > voters.len()).map(|(digest, _)| *digest);
        match (majority, own) {
            (Some(majority), Some(own)) if majority != own => Verdict::Odd { majority },
            (Some(_), _) => Verdict::Sound,
            (None, own) => {
                let others = found.keys().filter(|digest| own.is_some_and(|own| own != **digest)).count();
                if found.len() > 1 || others > 0 { Verdict::Undecided } else { Verdict::Sound }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> StateDigest {
        StateDigest([number; 32])
    }

    fn word(node_id: u64, version: u32, number: u8) -> HashWord {
        HashWord { node_id, version, hash: Bytes::copy_from_slice(&digest(number).0) }
    }

    fn checkpoint(words: &[(u64, u32, u8)], voters: u64) -> Checkpoint {
        let words = words.iter().map(|(node_id, version, number)| word(*node_id, *version, *number));
        Checkpoint { of: 1, words: words.collect(), voters: (1..=voters).collect() }
    }

    #[test]
    fn whoever_differs_from_a_majority_is_odd_leader_or_not() {
        let one = checkpoint(&[(1, 1, 7), (2, 1, 8), (3, 1, 8)], 3);
        assert_eq!(one.judge(Some(digest(7)), 1), Verdict::Odd { majority: digest(8) });
        assert_eq!(one.judge(Some(digest(8)), 1), Verdict::Sound);
        // It was too late to say anything, or has no vote.
        assert_eq!(one.judge(Some(digest(9)), 1), Verdict::Odd { majority: digest(8) });
        assert_eq!(one.judge(None, 1), Verdict::Sound);
    }

    #[test]
    fn without_a_majority_nobody_is_stopped() {
        let two = checkpoint(&[(1, 1, 7), (2, 1, 8)], 3);
        assert_eq!(two.judge(Some(digest(7)), 1), Verdict::Undecided);
        assert_eq!(two.judge(Some(digest(8)), 1), Verdict::Undecided);
        assert_eq!(checkpoint(&[(1, 1, 7)], 3).judge(Some(digest(8)), 1), Verdict::Undecided);
        assert_eq!(checkpoint(&[(1, 1, 7)], 3).judge(Some(digest(7)), 1), Verdict::Sound);
        assert_eq!(checkpoint(&[], 3).judge(Some(digest(7)), 1), Verdict::Sound);
        let even = checkpoint(&[(1, 1, 7), (2, 1, 7), (3, 1, 8), (4, 1, 8)], 4);
        assert_eq!(even.judge(Some(digest(7)), 1), Verdict::Undecided);
    }

    #[test]
    fn words_of_another_construction_or_of_nobody_do_not_count() {
        let mixed = checkpoint(&[(1, 1, 7), (2, 2, 8), (3, 2, 8)], 3);
        assert_eq!(mixed.judge(Some(digest(7)), 1), Verdict::Sound);
        assert_eq!(mixed.judge(Some(digest(9)), 2), Verdict::Odd { majority: digest(8) });
        let strangers = checkpoint(&[(1, 1, 7), (8, 1, 9), (9, 1, 9), (9, 1, 9)], 3);
        assert_eq!(strangers.judge(Some(digest(7)), 1), Verdict::Sound);
        let mut short = checkpoint(&[(1, 1, 7), (2, 1, 7)], 3);
        short.words[1].hash = Bytes::from_static(b"short");
        assert_eq!(short.judge(Some(digest(7)), 1), Verdict::Sound);
    }
}
