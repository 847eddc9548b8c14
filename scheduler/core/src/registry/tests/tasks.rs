//! Launches and kill markers.

use super::*;
use crate::registry::Refusal;

fn cluster() -> Story {
    let mut story = Story::new();
    story.agent("a", "cpus:2;ports:[1-10]");
    story.framework("f");
    story
}

#[test]
fn each_task_is_judged_by_itself_and_numbered() {
    let mut story = cluster();
    let tasks = [("t", "cpus:1"), ("huge", "cpus:2"), ("t", "cpus:0.5"), ("u", "cpus:1")];
    let outcome = story.launch("f", "a", &tasks);
    let expected = vec![Ok(1), Err(Refusal::InsufficientResources), Err(Refusal::TaskExists), Ok(2)];
    assert_eq!(outcome, Outcome::Launched(expected));
    assert_eq!(story.charged("a"), "cpus:2");
    assert_eq!(story.registry.agents.get("a").unwrap().launch_seq, 2);
    story.registry.check_capacity();
}

#[test]
fn ports_are_not_given_twice() {
    let mut story = cluster();
    let outcome = story.launch("f", "a", &[("t", "ports:[1-5]"), ("u", "ports:[5-6]"), ("v", "ports:[6-7]")]);
    let expected = vec![Ok(1), Err(Refusal::InsufficientResources), Ok(2)];
    assert_eq!(outcome, Outcome::Launched(expected));
}

#[test]
fn everything_is_checked_again() {
    let mut story = cluster();
    let one = |outcome: Outcome| match outcome {
        Outcome::Launched(results) => results[0],
        other => panic!("{other:?}"),
    };
    assert_eq!(one(story.launch("x", "a", &[("t", "cpus:1")])), Err(Refusal::UnknownFramework));
    assert_eq!(one(story.launch("f", "x", &[("t", "cpus:1")])), Err(Refusal::UnknownAgent));
    assert_eq!(one(story.launch("f", "a", &[("", "cpus:1")])), Err(Refusal::Malformed));
    let mut crossed = item("f", "b", "t", "cpus:1");
    let launch = |item| {
        Operation::Launch(Launch {
            framework_id: "f".to_owned(),
            agent_id: "a".to_owned(),
            tasks: vec![item],
        })
    };
    assert_eq!(one(story.apply(launch(crossed.clone()))), Err(Refusal::Malformed), "for another agent");
    crossed.task = None;
    assert_eq!(one(story.apply(launch(crossed))), Err(Refusal::Malformed));
    let mut bad = item("f", "a", "t", "cpus:1");
    bad.task.as_mut().unwrap().resources[0].scalar = Some(v1::value::Scalar { value: Some(f64::NAN) });
    assert_eq!(one(story.apply(launch(bad))), Err(Refusal::Malformed));
    assert!(story.registry.tasks.is_empty());
    let reason = String::new();
    story.apply(Operation::RemoveFramework(RemoveFramework { framework_id: "f".to_owned(), reason }));
    assert_eq!(one(story.launch("f", "a", &[("t", "cpus:1")])), Err(Refusal::CompletedFramework));
}

#[test]
fn a_launch_always_begins_in_staging() {
    let mut story = cluster();
    let mut item = item("f", "a", "t", "cpus:1");
    item.task.as_mut().unwrap().set_state(TaskState::TaskFinished);
    let launch = Launch { framework_id: "f".to_owned(), agent_id: "a".to_owned(), tasks: vec![item] };
    story.apply(Operation::Launch(launch));
    assert_eq!(story.state("f", "t"), TaskState::TaskStaging);
    assert_eq!(story.charged("a"), "cpus:1");
}

#[test]
fn kill_markers_stay() {
    let mut story = cluster();
    story.launch("f", "a", &[("t", "cpus:1")]);
    let mark = |task: &str| {
        let (framework_id, task_id) = ("f".to_owned(), task.to_owned());
        Operation::MarkKill(MarkKill { framework_id, task_id, kill_policy: None })
    };
    assert_eq!(story.apply(mark("t")), Outcome::Done);
    assert!(story.registry.tasks.values().next().unwrap().kill.is_some());
    story.status("f", "t", TaskState::TaskRunning, b"1");
    assert!(story.registry.tasks.values().next().unwrap().kill.is_some());
    assert_eq!(story.apply(mark("x")), Outcome::Refused(Refusal::UnknownTask));
}
