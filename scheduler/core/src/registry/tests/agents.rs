//! Agents in the tables.

use super::*;
use crate::registry::{Refusal, Reregistered};

fn word(agent: &str, text: &str, accepted: u64, tasks: Vec<AgentTask>) -> ReregisterAgent {
    let mut info = agent_info(agent, text);
    info.id = Some(v1::AgentId { value: Some(agent.to_owned()) });
    ReregisterAgent {
        info: Some(info),
        accepted_launch_seq: accepted,
        tasks,
        framework_grace_ms: 30_000,
        ..Default::default()
    }
}

fn told(framework: &str, agent: &str, task: &str, state: TaskState) -> AgentTask {
    AgentTask {
        framework_id: Some(v1::FrameworkId { value: Some(framework.to_owned()) }),
        task: Some(info(agent, task, "cpus:1")),
        launch_seq: Some(1),
        state: Some(state as i32),
        ..Default::default()
    }
}

fn reregister(story: &mut Story, word: ReregisterAgent) -> Reregistered {
    match story.apply(Operation::ReregisterAgent(word)) {
        Outcome::Reregistered(difference) => difference,
        other => panic!("{other:?}"),
    }
}

fn unreachable(story: &mut Story, agent: &str) -> Outcome {
    story.apply(Operation::MarkUnreachable(MarkUnreachable { agent_id: agent.to_owned() }))
}

fn running() -> Story {
    let mut story = Story::new();
    story.agent("a", "cpus:4");
    story.framework("f");
    story.launch("f", "a", &[("t", "cpus:1"), ("u", "cpus:1")]);
    story.status("f", "t", TaskState::TaskRunning, b"1");
    story
}

#[test]
fn admitted_once() {
    let mut story = Story::new();
    story.agent("a", "cpus:1");
    let record = story.registry.agents.get("a").unwrap().clone();
    assert!(story.registry.agent_connected(&record));
    let admit = AdmitAgent { info: record.info.clone(), ..Default::default() };
    let again = story.apply(Operation::AdmitAgent(admit));
    assert_eq!(again, Outcome::Refused(Refusal::AgentExists));
    let nameless = story.apply(Operation::AdmitAgent(AdmitAgent::default()));
    assert_eq!(nameless, Outcome::Refused(Refusal::Malformed));
}

#[test]
fn what_the_agent_names_wins_and_what_it_does_not_is_missing() {
    let mut story = running();
    let tasks = vec![told("f", "a", "t", TaskState::TaskFailed)];
    let difference = reregister(&mut story, word("a", "cpus:4", 1, tasks));
    assert_eq!(difference.missing, [TaskKey::new("f", "u")]);
    assert_eq!((difference.returned.len(), difference.foreign.len()), (0, 0));
    assert_eq!(story.state("f", "t"), TaskState::TaskFailed);
    assert_eq!(story.charged("a"), "cpus:1");
    let undelivered = story.registry.tasks.get(&TaskKey::new("f", "u")).unwrap();
    assert!(undelivered.info.is_some(), "launched behind what the agent accepted: still to be delivered");
    let difference = reregister(&mut story, word("a", "cpus:4", 2, vec![]));
    assert_eq!(difference.missing.len(), 2, "an end that the framework was not told is not settled");
    let forgotten = story.registry.tasks.get(&TaskKey::new("f", "u")).unwrap();
    assert!(forgotten.info.is_none(), "the agent had it");
}

#[test]
fn unreachable_tasks_come_back() {
    let mut story = running();
    let Outcome::Lost(lost) = unreachable(&mut story, "a") else { panic!() };
    assert_eq!(lost.len(), 2);
    assert_eq!(story.state("f", "t"), TaskState::TaskLost, "not partition aware");
    assert_eq!(story.charged("a"), "");
    assert_eq!(unreachable(&mut story, "a"), Outcome::Lost(Vec::new()), "once");
    let tasks = vec![told("f", "a", "t", TaskState::TaskRunning)];
    let difference = reregister(&mut story, word("a", "cpus:4", 2, tasks));
    assert_eq!(difference.returned, [TaskKey::new("f", "t")]);
    assert_eq!(difference.missing, [TaskKey::new("f", "u")]);
    assert_eq!(story.state("f", "t"), TaskState::TaskRunning);
    assert_eq!(story.charged("a"), "cpus:1");
    let agent = story.registry.agents.get("a").unwrap();
    assert_eq!((agent.unreachable_ms, agent.disconnected_ms), (None, None));
}

#[test]
fn a_launch_on_an_absent_agent_is_refused() {
    let mut story = running();
    let left = DisconnectAgent { agent_id: "a".to_owned() };
    assert_eq!(story.apply(Operation::DisconnectAgent(left)), Outcome::Lost(Vec::new()));
    let outcome = story.launch("f", "a", &[("v", "cpus:1")]);
    assert_eq!(outcome, Outcome::Launched(vec![Err(Refusal::AgentNotConnected)]));
    assert_eq!(story.charged("a"), "cpus:2", "its tasks go on");
}

#[test]
fn a_removed_agent_takes_its_tasks_with_it() {
    let mut story = running();
    story.status("f", "u", TaskState::TaskFinished, b"2");
    let remove = RemoveAgent { agent_id: "a".to_owned(), reason: "left".to_owned() };
    let Outcome::Lost(lost) = story.apply(Operation::RemoveAgent(remove)) else { panic!() };
    assert_eq!(lost.len(), 1, "the other one had ended");
    assert_eq!(lost[0].1.state(), TaskState::TaskLost);
    let mut history = story.history("f");
    history.sort();
    let expected = [("t".to_owned(), TaskState::TaskLost), ("u".to_owned(), TaskState::TaskFinished)];
    assert_eq!(history, expected);
    assert!(story.registry.is_gone(&"a".into()));
    let word = Operation::ReregisterAgent(word("a", "cpus:4", 0, vec![]));
    assert_eq!(story.apply(word), Outcome::Refused(Refusal::AgentRemoved));
}

#[test]
fn the_unknown_agent_is_admitted_with_its_tasks_and_numbers() {
    let mut story = Story::new();
    let mut word = word("a", "cpus:4", 7, vec![told("f", "a", "t", TaskState::TaskRunning)]);
    word.frameworks = vec![framework("f")];
    let difference = reregister(&mut story, word);
    assert_eq!(difference, Reregistered::default());
    assert_eq!(story.state("f", "t"), TaskState::TaskRunning);
    assert_eq!(story.charged("a"), "cpus:1");
    let adopted = story.registry.frameworks.get("f").unwrap();
    assert!(adopted.recovered);
    assert_eq!(adopted.deadline_ms, Some(20 + 3_600_000));
    let outcome = story.launch("f", "a", &[("next", "cpus:1")]);
    assert_eq!(outcome, Outcome::Launched(vec![Ok(8)]));
}

#[test]
fn a_task_id_that_runs_elsewhere_is_foreign() {
    let mut story = running();
    story.agent("b", "cpus:4");
    let tasks = vec![told("f", "b", "t", TaskState::TaskRunning)];
    let difference = reregister(&mut story, word("b", "cpus:4", 1, tasks));
    assert_eq!(difference.foreign, [TaskKey::new("f", "t")]);
    assert_eq!(story.charged("b"), "");
}

#[test]
fn the_drivers_framework_is_never_adopted_from_an_agent() {
    let mut story = Story::new();
    let mut word = word("a", "cpus:4", 0, vec![]);
    word.frameworks = vec![framework(crate::ids::DRIVERS_FRAMEWORK)];
    reregister(&mut story, word);
    assert!(story.registry.frameworks.is_empty());
}

/// What is said in several commands counts as if it had been said in one.
#[test]
fn a_word_in_parts_is_as_good_as_the_whole() {
    use crate::registry::{NamedTasks, ReregisterMore};
    use tepui_proto::tepui::agent_link::AgentExecutor;
    let executor = AgentExecutor {
        framework_id: Some(v1::FrameworkId { value: Some("f".to_owned()) }),
        executor: Some(v1::ExecutorInfo {
            executor_id: Some(v1::ExecutorId { value: Some("e".to_owned()) }),
            resources: resources("cpus:1"),
            ..Default::default()
        }),
        container_id: None,
    };
    let tasks =
        vec![told("f", "a", "t", TaskState::TaskRunning), told("g", "a", "new", TaskState::TaskRunning)];
    let frameworks = vec![framework("g")];
    let before = || {
        let mut story = running();
        unreachable(&mut story, "a");
        story
    };
    let (mut whole, mut parts) = (before(), before());
    let all = ReregisterAgent {
        frameworks: frameworks.clone(),
        executors: vec![executor.clone()],
        ..word("a", "cpus:4", 2, tasks.clone())
    };
    let at_once = reregister(&mut whole, all);
    let names = |framework: &str, name: &str| NamedTasks {
        framework_id: framework.to_owned(),
        names: vec![name.to_owned()],
    };
    let first = ReregisterAgent {
        named_tasks: vec![names("f", "t"), names("g", "new")],
        named_executors: vec![names("f", "e")],
        ..word("a", "cpus:4", 2, Vec::new())
    };
    let mut in_parts = reregister(&mut parts, first);
    let more = |tasks: &[AgentTask], executors: &[AgentExecutor]| {
        Operation::ReregisterMore(ReregisterMore {
            agent_id: "a".to_owned(),
            frameworks: frameworks.clone(),
            framework_grace_ms: 30_000,
            executors: executors.to_vec(),
            tasks: tasks.to_vec(),
        })
    };
    for operation in
        [more(&[], std::slice::from_ref(&executor)), more(&tasks[..1], &[]), more(&tasks[1..], &[])]
    {
        let Outcome::Reregistered(difference) = parts.apply(operation) else { panic!() };
        in_parts.returned.extend(difference.returned);
        in_parts.foreign.extend(difference.foreign);
    }
    assert_eq!(in_parts, at_once);
    assert_eq!(in_parts.missing.len(), 1, "only what is named nowhere");
    assert_eq!(parts.registry.tasks, whole.registry.tasks);
    assert_eq!(parts.registry.charges, whole.registry.charges);
    assert_eq!(parts.registry.executors, whole.registry.executors);
    // Of an agent that is not there nothing more is believed.
    parts.apply(Operation::DisconnectAgent(DisconnectAgent { agent_id: "a".to_owned() }));
    let refused = parts.apply(more(&tasks, &[]));
    assert_eq!(refused, Outcome::Refused(Refusal::AgentNotConnected));
}

#[test]
fn an_end_that_its_framework_was_not_told_of_is_unreachable_like_the_rest() {
    let mut story = running();
    // The agent knows that it has ended; the update that says so waits behind another one, and then the agent is gone.
    story.observe(Observation::Status(ObservedStatus {
        framework_id: "f".to_owned(),
        status: Some(status("t", TaskState::TaskRunning, b"2")),
        latest_state: Some(TaskState::TaskFinished as i32),
    }));
    story.status("f", "u", TaskState::TaskFinished, b"3");
    assert_eq!(story.state("f", "t"), TaskState::TaskFinished);
    let Outcome::Lost(lost) = unreachable(&mut story, "a") else { panic!() };
    let told: Vec<_> = lost.iter().map(|(_, status)| status.task_id.as_ref().unwrap().value()).collect();
    assert_eq!(told, ["t"], "the end of u is known");
}
