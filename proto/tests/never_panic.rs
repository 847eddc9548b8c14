//! Decoders meet random, mutated and truncated bytes: they may refuse, they must not panic, and what they accept is whole.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use tepui_proto::MediaType::{self, Json, Protobuf};
use tepui_proto::resources::Resources;
use tepui_proto::tepui::{agent_link, operator};
use tepui_proto::v1::{self, agent, executor, master, scheduler};
use tepui_proto::wire::{WireMessage, decode, encode};

/// What is accepted has no gaps, and survives a turn through either encoding.
fn feed<M: WireMessage + PartialEq>(media: MediaType, bytes: &[u8]) {
    if let Ok(message) = decode::<M>(media, bytes) {
        assert_eq!(message.missing(), None);
        let again: M = decode(Protobuf, &encode(Protobuf, &message)).expect("our own bytes are acceptable");
        // Not compared by `==`: a NaN is not equal to itself.
        assert_eq!(encode(Protobuf, &again), encode(Protobuf, &message));
        let text = encode(Json, &message);
        assert!(text.is_ascii());
        decode::<M>(Json, &text).expect("our own text is acceptable");
    }
}

fn feed_all(media: MediaType, bytes: &[u8]) {
    feed::<scheduler::Call>(media, bytes);
    feed::<scheduler::Event>(media, bytes);
    feed::<executor::Call>(media, bytes);
    feed::<executor::Event>(media, bytes);
    feed::<master::Call>(media, bytes);
    feed::<master::Response>(media, bytes);
    feed::<master::Event>(media, bytes);
    feed::<agent::Call>(media, bytes);
    feed::<agent::Response>(media, bytes);
    feed::<agent_link::Call>(media, bytes);
    feed::<agent_link::Event>(media, bytes);
    feed::<operator::Call>(media, bytes);
    feed::<operator::Response>(media, bytes);
    if let Ok(resource) = decode::<v1::Resource>(media, bytes) {
        let _ = Resources::from_proto(&[resource]);
    }
}

/// Every golden file, as a place to start from.
fn samples() -> Vec<(MediaType, Vec<u8>)> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut samples = Vec::new();
    for folder in fs::read_dir(golden).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()) {
        for entry in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "hex") {
                let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
                let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
                samples.push((Protobuf, digits.chunks(2).map(pair).collect()));
            } else {
                samples.push((Json, text.into_bytes()));
            }
        }
    }
    assert!(samples.len() > 50);
    samples.sort();
    samples
}

#[derive(Debug, Clone)]
enum Damage {
    Cut(Index),
    Set(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let json = prop::sample::select(b"{}[]\",:0123456789-+.eE\\utfn \xff".to_vec());
    let byte = prop_oneof![any::<u8>(), json];
    prop_oneof![
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<Index>(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match damage {
        Damage::Cut(at) => bytes.truncate(at.index(length)),
        Damage::Set(at, byte) => bytes[at.index(length)] = *byte,
        Damage::Insert(at, byte) => bytes.insert(at.index(length), *byte),
        Damage::Remove(at) => drop(bytes.remove(at.index(length))),
        Damage::Repeat(from, to) => {
            let (from, to) = (from.index(length), to.index(length));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.extend(piece);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        feed_all(Protobuf, &bytes);
        feed_all(Json, &bytes);
    }

    #[test]
    fn random_tags(fields in prop::collection::vec((1u8..20, 0u8..6, prop::collection::vec(any::<u8>(), 0..12)), 0..12)) {
        let mut bytes = Vec::new();
        for (field, wire_type, payload) in fields {
            bytes.push(field << 3 | wire_type);
            if wire_type == 2 {
                bytes.push(u8::try_from(payload.len()).unwrap());
            }
            bytes.extend(payload);
        }
        feed_all(Protobuf, &bytes);
    }

    #[test]
    fn damaged_messages(start in any::<Index>(), damages in prop::collection::vec(damage(), 1..6)) {
        let samples = samples();
        let (media, mut bytes) = samples[start.index(samples.len())].clone();
        for one in &damages {
            apply(&mut bytes, one);
        }
        feed_all(media, &bytes);
    }
}

#[test]
fn every_truncation_of_every_sample() {
    for (media, bytes) in samples() {
        for length in 0..bytes.len() {
            match media {
                Json => assert!(
                    serde_json::from_slice::<scheduler::Call>(&bytes[..length]).is_err()
                        || bytes[length..].trim_ascii().is_empty()
                ),
                Protobuf => feed::<scheduler::Call>(media, &bytes[..length]),
            }
        }
    }
}
