//! The golden files: one message per file in both encodings, written by hand and by an independent implementation.
//!
//! `x.json` is exactly what we write (but for whitespace and the order of members), `x.hex` the protobuf bytes, `x.in.json`
//! another JSON text of the same message, as a peer may send it. See `golden/make_hex.py` for where the bytes come from.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tepui_proto::MediaType::{Json, Protobuf};
use tepui_proto::v1::{executor, master, scheduler};
use tepui_proto::wire::{WireMessage, decode, encode, encode_record};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    assert!(digits.len().is_multiple_of(2));
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Checks every file of a folder and returns the messages' types.
fn check<M: WireMessage + PartialEq + std::fmt::Debug>(name: &str) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        let file = path.display();
        if path.extension().is_none_or(|extension| extension != "hex") {
            assert!(path.with_extension("").with_extension("hex").exists(), "{file} has no bytes beside it");
            continue;
        }
        let bytes = unhex(&fs::read_to_string(&path).unwrap());
        let message: M = decode(Protobuf, &bytes).unwrap();
        assert_eq!(encode(Protobuf, &message), bytes, "{file}: protobuf reads back");

        let expected = fs::read_to_string(path.with_extension("json")).unwrap();
        let expected_value: Value = serde_json::from_str(&expected).unwrap();
        let written = encode(Json, &message);
        assert_eq!(
            serde_json::from_slice::<Value>(&written).unwrap(),
            expected_value,
            "{file}: JSON as written"
        );
        assert!(written.is_ascii() && !written.contains(&b'\n'), "{file}: one line of ASCII");

        let sent = path.with_extension("in.json");
        let from_json: M = decode(Json, expected.as_bytes()).unwrap();
        if sent.exists() {
            let sent = fs::read(sent).unwrap();
            assert_eq!(decode::<M>(Json, &sent).unwrap(), message, "{file}: JSON as a peer sends it");
        } else {
            assert_eq!(from_json, message, "{file}: both encodings are one message");
        }
        assert_eq!(encode(Json, &from_json), written, "{file}: JSON reads back");

        let record = encode_record(Json, &message);
        assert!(
            record.starts_with(format!("{}\n{{", written.len()).as_bytes()) && record.ends_with(&written)
        );
        types.insert(expected_value["type"].as_str().unwrap().to_owned());
    }
    types
}

fn names(list: &str) -> BTreeSet<String> {
    list.split(' ').map(str::to_owned).collect()
}

#[test]
fn scheduler_calls() {
    let all = "SUBSCRIBE ACCEPT DECLINE KILL ACKNOWLEDGE RECONCILE REVIVE SUPPRESS TEARDOWN MESSAGE SHUTDOWN";
    assert_eq!(check::<scheduler::Call>("scheduler_call"), names(all));
}

#[test]
fn scheduler_events() {
    let all = "SUBSCRIBED HEARTBEAT OFFERS RESCIND UPDATE MESSAGE FAILURE ERROR";
    assert_eq!(check::<scheduler::Event>("scheduler_event"), names(all));
}

#[test]
fn operator_calls() {
    let all = "GET_STATE GET_AGENTS GET_FRAMEWORKS GET_TASKS SUBSCRIBE TEARDOWN";
    assert_eq!(check::<master::Call>("master_call"), names(all));
}

#[test]
fn operator_answers() {
    let all = "GET_STATE GET_AGENTS GET_FRAMEWORKS GET_TASKS GET_HEALTH";
    assert_eq!(check::<master::Response>("master_response"), names(all));
}

#[test]
fn operator_events() {
    let all = "SUBSCRIBED HEARTBEAT TASK_ADDED TASK_UPDATED AGENT_ADDED AGENT_REMOVED FRAMEWORK_ADDED FRAMEWORK_UPDATED \
               FRAMEWORK_REMOVED";
    assert_eq!(check::<master::Event>("master_event"), names(all));
}

#[test]
fn executor_calls_and_events() {
    assert_eq!(check::<executor::Call>("executor_call"), names("SUBSCRIBE"));
    assert_eq!(check::<executor::Event>("executor_event"), names("LAUNCH ACKNOWLEDGED"));
}
