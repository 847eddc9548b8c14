//! Statuses, acknowledgements, accepted launches.

use super::*;
use crate::registry::{MAX_HISTORY, MAX_STATUSES};

fn running() -> Story {
    let mut story = Story::new();
    story.agent("a", "cpus:4");
    story.framework("f");
    story.launch("f", "a", &[("t", "cpus:1")]);
    story.status("f", "t", TaskState::TaskRunning, b"1");
    story
}

fn acknowledge(story: &mut Story, task: &str, uuid: &'static [u8]) {
    story.observe(Observation::Acknowledged(ObservedAcknowledgement {
        framework_id: "f".to_owned(),
        task_id: task.to_owned(),
        uuid: uuid.into(),
    }));
}

#[test]
fn an_end_frees_at_once_and_leaves_when_acknowledged() {
    let mut story = running();
    story.status("f", "t", TaskState::TaskFinished, b"2");
    assert_eq!(story.charged("a"), "");
    acknowledge(&mut story, "t", b"1");
    assert_eq!(story.registry.tasks.len(), 1, "an older update");
    acknowledge(&mut story, "t", b"2");
    assert!(story.registry.tasks.is_empty());
    assert_eq!(story.history("f"), [("t".to_owned(), TaskState::TaskFinished)]);
}

#[test]
fn acknowledging_what_goes_on_changes_nothing() {
    let mut story = running();
    acknowledge(&mut story, "t", b"1");
    assert_eq!(story.state("f", "t"), TaskState::TaskRunning);
}

#[test]
fn an_end_without_uuid_needs_no_acknowledgement() {
    let mut story = running();
    story.status("f", "t", TaskState::TaskKilled, b"");
    assert!(story.registry.tasks.is_empty());
    assert_eq!(story.history("f"), [("t".to_owned(), TaskState::TaskKilled)]);
}

#[test]
fn an_end_is_final() {
    let mut story = running();
    story.status("f", "t", TaskState::TaskFailed, b"2");
    story.status("f", "t", TaskState::TaskRunning, b"3");
    assert_eq!(story.state("f", "t"), TaskState::TaskFailed);
    assert_eq!(story.charged("a"), "");
}

#[test]
fn the_truth_after_unreachable_is_taken() {
    let mut story = running();
    story.apply(Operation::MarkUnreachable(MarkUnreachable { agent_id: "a".to_owned() }));
    story.status("f", "t", TaskState::TaskGone, b"9");
    let record = story.registry.tasks.values().next().unwrap();
    assert_eq!((record.state(), record.unreachable_wall_ms), (TaskState::TaskGone, None));
}

#[test]
fn unknown_tasks_are_ignored() {
    let mut story = running();
    let before = story.registry.tasks.clone();
    story.status("f", "x", TaskState::TaskFailed, b"2");
    story.status("x", "t", TaskState::TaskFailed, b"2");
    acknowledge(&mut story, "x", b"1");
    assert_eq!(story.registry.tasks, before);
}

#[test]
fn an_accepted_launch_need_not_be_kept() {
    let mut story = running();
    story.launch("f", "a", &[("u", "cpus:1"), ("v", "cpus:1")]);
    let accept = |agent: &str, launch_seq| {
        Observation::Accepted(ObservedAccept { agent_id: agent.to_owned(), launch_seq })
    };
    story.observe(accept("a", 2));
    story.observe(accept("x", 9));
    let kept: Vec<bool> = story.registry.tasks.values().map(|record| record.info.is_some()).collect();
    assert_eq!(kept, [false, false, true]);
    assert_eq!(story.registry.agents.get("a").unwrap().accepted_launch_seq, 2);
    story.observe(accept("a", 1));
    assert_eq!(story.registry.agents.get("a").unwrap().accepted_launch_seq, 2, "never back");
}

#[test]
fn histories_are_bounded() {
    let mut story = running();
    for round in 0..MAX_STATUSES * 2 {
        let state = if round % 2 == 0 { TaskState::TaskStarting } else { TaskState::TaskRunning };
        story.status("f", "t", state, b"1");
    }
    let record = story.registry.tasks.values().next().unwrap();
    assert_eq!(record.task.as_ref().unwrap().statuses.len(), MAX_STATUSES);
    for number in 0..MAX_HISTORY + 5 {
        let id = format!("t{number}");
        story.registry.put_task(&TaskKey::new("f", "t"), None);
        story.launch("f", "a", &[(id.as_str(), "cpus:1")]);
        story.status("f", &id, TaskState::TaskFinished, b"");
    }
    assert_eq!(story.history("f").len(), MAX_HISTORY);
    assert_eq!(story.history("f")[0].0, "t5", "the oldest goes first");
}
