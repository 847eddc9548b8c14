//! Custom executors and groups in the tables.

use super::*;
use crate::ids::ExecutorKey;
use crate::testing::executor_task;

pub(super) fn executor_item(framework: &str, agent: &str, id: &str, executor: &str) -> LaunchItem {
    let mut info = executor_task(id, "cpus:1", executor, "cpus:0.5");
    info.agent_id = Some(v1::AgentId { value: Some(agent.to_owned()) });
    let framework_id = v1::FrameworkId { value: Some(framework.to_owned()) };
    let executor = info.executor.clone();
    LaunchItem {
        task: Some(task_view(&info, &framework_id)),
        info: Some(info),
        executor,
        ..Default::default()
    }
}

fn story() -> Story {
    let mut story = Story::new();
    story.agent("a", "cpus:4");
    story.framework("f");
    story
}

fn launch(story: &mut Story, tasks: Vec<LaunchItem>) -> Outcome {
    story.apply(Operation::Launch(Launch { framework_id: "f".to_owned(), agent_id: "a".to_owned(), tasks }))
}

fn exited(story: &mut Story, executor: &str, accepted_launch_seq: u64) {
    story.observe(Observation::ExecutorExited(ObservedExecutorExit {
        agent_id: "a".to_owned(),
        framework_id: "f".to_owned(),
        executor_id: executor.to_owned(),
        accepted_launch_seq,
    }));
}

fn record(story: &Story) -> Option<crate::registry::ExecutorRecord> {
    let key = ExecutorKey { agent: "a".into(), framework: "f".into(), executor: "e".into() };
    story.registry.executors.get(&key).map(|record| crate::registry::ExecutorRecord::clone(record))
}

#[test]
fn an_executor_outlives_its_tasks_and_ends_with_the_word_of_its_agent() {
    let mut story = story();
    let mut long = executor_item("f", "a", "t", "e");
    long.executor.as_mut().unwrap().data = Some(vec![7; 5000].into());
    launch(&mut story, vec![long, executor_item("f", "a", "u", "e")]);
    assert_eq!(story.charged("a"), "cpus:2.5");
    assert_eq!(record(&story).unwrap().info.unwrap().data().len(), 32, "only what tells it from another");
    story.status("f", "t", TaskState::TaskFinished, b"");
    story.status("f", "u", TaskState::TaskFinished, b"");
    assert_eq!(story.charged("a"), "cpus:0.5");
    exited(&mut story, "other", 2);
    assert_eq!(story.charged("a"), "cpus:0.5");
    exited(&mut story, "e", 2);
    assert_eq!(story.charged("a"), "");
}

#[test]
fn a_launch_on_its_way_brings_the_executor_anew() {
    let mut story = story();
    launch(&mut story, vec![executor_item("f", "a", "t", "e")]);
    story.status("f", "t", TaskState::TaskFailed, b"");
    launch(&mut story, vec![executor_item("f", "a", "u", "e")]);
    exited(&mut story, "e", 1);
    assert_eq!(story.charged("a"), "cpus:1.5");
    assert!(!record(&story).unwrap().confirmed, "the agent will say of the new one");
    // The agent never got it.
    let mut status = status("u", TaskState::TaskDropped, b"");
    status.reason = Some(v1::task_status::Reason::Reconciliation as i32);
    story.observe(Observation::Status(ObservedStatus {
        framework_id: "f".to_owned(),
        status: Some(status),
        latest_state: None,
    }));
    assert_eq!(story.charged("a"), "");
}

#[test]
fn an_agent_that_is_given_up_holds_no_executors() {
    let mut story = story();
    launch(&mut story, vec![executor_item("f", "a", "t", "e")]);
    story.apply(Operation::MarkUnreachable(MarkUnreachable { agent_id: "a".to_owned() }));
    assert!(story.registry.executors.is_empty());
    assert_eq!(story.charged("a"), "");
}

#[test]
fn a_group_fits_or_not_at_all() {
    let mut story = story();
    let mut group: Vec<LaunchItem> = ["t", "u"].map(|id| executor_item("f", "a", id, "e")).to_vec();
    group.iter_mut().for_each(|item| item.group = 1);
    let mut large = executor_item("f", "a", "v", "big");
    large.group = 2;
    let mut items = group;
    items.extend([large.clone(), LaunchItem { group: 2, ..executor_item("f", "a", "w", "big") }]);
    let Outcome::Launched(results) = launch(&mut story, items) else { panic!("not launched") };
    assert_eq!(results[..2], [Ok(1), Ok(2)]);
    assert!(results[2..].iter().all(Result::is_err), "the second of these does not fit: {results:?}");
    assert_eq!(story.charged("a"), "cpus:2.5");
    let seq = |task: &str| story.registry.tasks.get(&TaskKey::new("f", task)).unwrap().group_seq;
    assert_eq!((seq("t"), seq("u")), (1, 1));
    assert_eq!(story.changes.len(), 2, "{:?}", story.changes);
}
