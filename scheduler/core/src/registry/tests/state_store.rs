//! The fence: which writes count.

use bytes::Bytes;

use super::*;
use crate::ids::DRIVERS_FRAMEWORK;
use crate::registry::{CasResult, MAX_REGISTER_BYTES, MAX_REGISTERS, Refusal};
use crate::testing::driver_spec;

fn story() -> Story {
    let mut story = Story::new();
    story.agent("a", "cpus:4");
    story.apply(Operation::SubmitDriver(SubmitDriver { spec: Some(driver_spec("d", "cpus:1")) }));
    launch(&mut story, 1);
    story
}

fn launch(story: &mut Story, generation: u64) {
    let task = format!("d.g{generation}");
    let outcome = story.apply(Operation::LaunchDriver(LaunchDriver {
        name: "d".to_owned(),
        generation,
        agent_id: "a".to_owned(),
        token_sha256: token(generation),
        item: Some(item(DRIVERS_FRAMEWORK, "a", &task, "cpus:1")),
        ..Default::default()
    }));
    assert!(matches!(outcome, Outcome::Launched(results) if results[0].is_ok()));
}

fn token(generation: u64) -> Bytes {
    format!("token-{generation}").into()
}

fn cas(expected_version: u64, generation: u64, value: &'static str) -> StateCas {
    StateCas {
        scope: "d".to_owned(),
        key: "k".to_owned(),
        expected_version,
        generation,
        token_sha256: token(generation),
        value: value.into(),
    }
}

fn write(story: &mut Story, cas: StateCas) -> (CasResult, u64) {
    match story.apply(Operation::StateCas(cas)) {
        Outcome::Cas { result, version, .. } => (result, version),
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_count_from_one() {
    let mut story = story();
    assert_eq!(write(&mut story, cas(0, 1, "a")), (CasResult::Ok, 1));
    assert_eq!(story.changes, [Change::Register { scope: "d".to_owned(), key: "k".to_owned() }]);
    assert_eq!(write(&mut story, cas(1, 1, "b")), (CasResult::Ok, 2));
    assert_eq!(story.registry.register("d", "k").unwrap().value, "b");
    assert_eq!(write(&mut story, cas(0, 1, "c")), (CasResult::Conflict, 2));
    assert_eq!(write(&mut story, cas(7, 1, "c")), (CasResult::Conflict, 2));
    assert_eq!(story.registry.register("d", "k").unwrap().value, "b");
}

#[test]
fn a_repeated_write_is_answered_like_the_first() {
    let mut story = story();
    assert_eq!(write(&mut story, cas(0, 1, "a")), (CasResult::Ok, 1));
    assert_eq!(write(&mut story, cas(0, 1, "a")), (CasResult::Ok, 1));
    assert_eq!(
        write(&mut story, cas(0, 1, "other")),
        (CasResult::Conflict, 1),
        "another value is another write"
    );
    write(&mut story, cas(1, 1, "b"));
    assert_eq!(write(&mut story, cas(0, 1, "a")), (CasResult::Conflict, 2), "too late to be a repetition");
}

#[test]
fn an_older_generation_is_fenced_from_the_moment_of_the_next_launch() {
    let mut story = story();
    write(&mut story, cas(0, 1, "a"));
    launch(&mut story, 2);
    assert_eq!(write(&mut story, cas(1, 1, "zombie")), (CasResult::Fenced, 1));
    assert_eq!(write(&mut story, cas(0, 1, "a")), (CasResult::Fenced, 1), "not even as a repetition");
    assert_eq!(write(&mut story, cas(1, 2, "b")), (CasResult::Ok, 2));
    assert_eq!(story.registry.register("d", "k").unwrap().generation, 2);
}

#[test]
fn a_wrong_token_is_fenced() {
    let mut story = story();
    let mut stolen = cas(0, 1, "a");
    stolen.token_sha256 = token(2);
    assert_eq!(write(&mut story, stolen), (CasResult::Fenced, 0));
    let mut future = cas(0, 2, "a");
    future.token_sha256 = token(1);
    assert_eq!(write(&mut story, future), (CasResult::Fenced, 0));
}

#[test]
fn a_driver_that_was_never_launched_cannot_write() {
    let mut story = Story::new();
    story.apply(Operation::SubmitDriver(SubmitDriver { spec: Some(driver_spec("d", "cpus:1")) }));
    let mut early = cas(0, 0, "a");
    early.token_sha256 = Bytes::new();
    assert_eq!(write(&mut story, early), (CasResult::Fenced, 0));
}

#[test]
fn limits_are_checked() {
    let mut story = story();
    let refused = |story: &mut Story, cas| story.apply(Operation::StateCas(cas));
    let unknown = StateCas { scope: "x".to_owned(), ..cas(0, 1, "a") };
    assert_eq!(refused(&mut story, unknown), Outcome::Refused(Refusal::UnknownDriver));
    let large = StateCas { value: vec![0; MAX_REGISTER_BYTES + 1].into(), ..cas(0, 1, "a") };
    assert_eq!(refused(&mut story, large), Outcome::Refused(Refusal::Malformed));
    let nameless = StateCas { key: String::new(), ..cas(0, 1, "a") };
    assert_eq!(refused(&mut story, nameless), Outcome::Refused(Refusal::Malformed));
    for number in 0..MAX_REGISTERS {
        write(&mut story, StateCas { key: number.to_string(), ..cas(0, 1, "a") });
    }
    let more = StateCas { key: "more".to_owned(), ..cas(0, 1, "a") };
    assert_eq!(refused(&mut story, more), Outcome::Refused(Refusal::TooMany));
}
