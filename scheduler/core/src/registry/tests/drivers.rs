//! Supervised drivers in the tables.

use tepui_proto::tepui::operator::DriverState;

use super::*;
use crate::ids::DRIVERS_FRAMEWORK;
use crate::registry::{DriverRecord, MAX_ATTEMPTS, MAX_DRIVERS, Refusal};
use crate::testing::driver_spec;

fn submit(story: &mut Story, name: &str, text: &str) -> Outcome {
    story.apply(Operation::SubmitDriver(SubmitDriver { spec: Some(driver_spec(name, text)) }))
}

fn launch(story: &mut Story, name: &str, generation: u64) -> Outcome {
    let task = format!("{name}.g{generation}");
    story.apply(Operation::LaunchDriver(LaunchDriver {
        name: name.to_owned(),
        generation,
        agent_id: "a".to_owned(),
        token_sha256: format!("token-{generation}").into(),
        item: Some(item(DRIVERS_FRAMEWORK, "a", &task, "cpus:1")),
        framework_id: format!("tepui-driver-{name}"),
    }))
}

fn conclude(story: &mut Story, generation: u64, state: DriverState, counted: bool) -> Outcome {
    story.apply(Operation::ObserveDriver(ObserveDriver {
        name: "d".to_owned(),
        generation,
        state: state as i32,
        message: "exit 1".to_owned(),
        ended: Some(TaskState::TaskFailed as i32),
        next_launch_ms: 500,
        backoff_ms: 400,
        counted,
    }))
}

fn driver(story: &Story) -> DriverRecord {
    DriverRecord::clone(story.registry.driver("d").unwrap())
}

fn story() -> Story {
    let mut story = Story::new();
    story.agent("a", "cpus:4");
    assert_eq!(submit(&mut story, "d", "cpus:1"), Outcome::Submitted { generation: 0, created: true });
    story
}

#[test]
fn submitting_twice_is_once() {
    let mut story = story();
    assert_eq!(driver(&story).state(), DriverState::DriverQueued);
    assert_eq!(driver(&story).framework_id, "tepui-driver-d");
    let internal = story.registry.frameworks.get(DRIVERS_FRAMEWORK).unwrap();
    assert!(internal.internal && internal.partition_aware());
    assert_eq!(submit(&mut story, "d", "cpus:1"), Outcome::Submitted { generation: 0, created: false });
    assert_eq!(submit(&mut story, "d", "cpus:2"), Outcome::Refused(Refusal::DriverExists));
    assert_eq!(submit(&mut story, "", "cpus:2"), Outcome::Refused(Refusal::Malformed));
}

#[test]
fn each_launch_raises_the_generation_by_one() {
    let mut story = story();
    assert_eq!(launch(&mut story, "d", 2), Outcome::Refused(Refusal::WrongGeneration));
    assert_eq!(launch(&mut story, "x", 1), Outcome::Refused(Refusal::UnknownDriver));
    assert_eq!(launch(&mut story, "d", 1), Outcome::Launched(vec![Ok(1)]));
    let now = driver(&story);
    assert_eq!((now.generation, now.state()), (1, DriverState::DriverStaging));
    assert_eq!((now.task_id.as_str(), now.agent_id.as_str()), ("d.g1", "a"));
    assert_eq!(now.attempts.len(), 1);
    assert_eq!(story.charged("a"), "cpus:1");
    assert_eq!(launch(&mut story, "d", 1), Outcome::Refused(Refusal::WrongGeneration));
}

#[test]
fn a_launch_without_room_changes_nothing() {
    let mut story = story();
    story.framework("f");
    story.launch("f", "a", &[("t", "cpus:4")]);
    assert_eq!(launch(&mut story, "d", 1), Outcome::Refused(Refusal::InsufficientResources));
    assert_eq!(driver(&story).generation, 0);
}

#[test]
fn conclusions_about_older_generations_are_refused() {
    let mut story = story();
    launch(&mut story, "d", 1);
    launch(&mut story, "d", 2);
    let old = conclude(&mut story, 1, DriverState::DriverFailed, true);
    assert_eq!(old, Outcome::Refused(Refusal::WrongGeneration));
    assert_eq!(conclude(&mut story, 2, DriverState::DriverBackoff, true), Outcome::Done);
    let now = driver(&story);
    assert_eq!((now.state(), now.next_launch_ms, now.backoff_ms), (DriverState::DriverBackoff, 500, 400));
    assert_eq!(now.failed_at_ms.len(), 1);
    let attempt = now.attempts.last().unwrap();
    assert_eq!((attempt.state(), attempt.message()), (TaskState::TaskFailed, "exit 1"));
    assert!(attempt.ended_at_ms.is_some());
    assert_eq!(now.attempts[0].state(), TaskState::TaskUnreachable, "given up when the next one began");
}

#[test]
fn an_ended_driver_can_be_submitted_anew_and_goes_on_counting() {
    let mut story = story();
    launch(&mut story, "d", 1);
    conclude(&mut story, 1, DriverState::DriverFailed, true);
    assert_eq!(launch(&mut story, "d", 2), Outcome::Refused(Refusal::DriverEnded));
    assert_eq!(submit(&mut story, "d", "cpus:1"), Outcome::Submitted { generation: 1, created: true });
    assert_eq!(driver(&story).attempts.len(), 1, "history stays");
    assert!(driver(&story).failed_at_ms.is_empty(), "the budget is fresh");
    assert_eq!(launch(&mut story, "d", 2), Outcome::Launched(vec![Ok(2)]));
}

#[test]
fn a_finished_driver_is_run_again_when_it_is_submitted_again() {
    let mut story = story();
    launch(&mut story, "d", 1);
    conclude(&mut story, 1, DriverState::DriverFinished, false);
    assert_eq!(submit(&mut story, "d", "cpus:1"), Outcome::Submitted { generation: 1, created: true });
    assert_eq!(submit(&mut story, "d", "cpus:1"), Outcome::Submitted { generation: 1, created: false });
}

#[test]
fn killing_waits_for_a_live_task_only() {
    let kill = |story: &mut Story| {
        story.apply(Operation::KillDriver(KillDriver { name: "d".to_owned(), grace_ms: Some(7) }))
    };
    let mut queued = story();
    assert_eq!(kill(&mut queued), Outcome::Done);
    assert_eq!(driver(&queued).state(), DriverState::DriverKilled);
    assert_eq!(kill(&mut queued), Outcome::Refused(Refusal::DriverEnded));
    let mut live = story();
    launch(&mut live, "d", 1);
    kill(&mut live);
    assert_eq!(driver(&live).state(), DriverState::DriverStaging);
    assert_eq!(driver(&live).kill.unwrap().grace_ms, Some(7));
    assert_eq!(launch(&mut live, "d", 2), Outcome::Refused(Refusal::DriverEnded), "never again");
}

#[test]
fn histories_are_bounded() {
    let mut story = story();
    for generation in 1..=MAX_ATTEMPTS as u64 + 10 {
        launch(&mut story, "d", generation);
        let task = format!("d.g{generation}");
        story.status(DRIVERS_FRAMEWORK, &task, TaskState::TaskFailed, b"");
        conclude(&mut story, generation, DriverState::DriverBackoff, true);
    }
    let now = driver(&story);
    assert_eq!(now.attempts.len(), MAX_ATTEMPTS);
    assert_eq!(now.attempts.last().unwrap().generation, Some(MAX_ATTEMPTS as u64 + 10));
    assert_eq!(now.failed_at_ms.len(), 11, "one more than the default budget");
}

#[test]
fn the_number_of_drivers_is_bounded() {
    let mut story = Story::new();
    for number in 0..MAX_DRIVERS {
        submit(&mut story, &format!("d{number:04}"), "cpus:1");
    }
    assert_eq!(submit(&mut story, "more", "cpus:1"), Outcome::Refused(Refusal::TooMany));
    story.apply(Operation::KillDriver(KillDriver { name: "d0007".to_owned(), grace_ms: None }));
    let outcome = submit(&mut story, "more", "cpus:1");
    assert_eq!(outcome, Outcome::Submitted { generation: 0, created: true });
    assert!(story.registry.driver("d0007").is_none(), "an ended one made room");
}
