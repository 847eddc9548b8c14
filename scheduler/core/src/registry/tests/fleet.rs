//! Drains, gone agents, machines, and what is forgotten.

use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::maintenance::{Schedule, Window};
use tepui_proto::v1::task_status::Reason;

use super::*;
use crate::registry::{MAX_UNREACHABLE_TASKS, Refusal};

/// Two agents, a framework that knows of partitions and one that does not, a task of each on both agents.
fn story() -> Story {
    let mut story = Story::new();
    story.agent("a", "cpus:8");
    story.agent("b", "cpus:8");
    story.framework("f");
    let mut aware = framework("g");
    aware.capabilities = vec![Capability { r#type: Some(capability::Type::PartitionAware as i32) }];
    let admit = AdmitFramework { info: Some(aware), ..Default::default() };
    assert_eq!(story.apply(Operation::AdmitFramework(admit)), Outcome::Done);
    for (framework, agent, task) in [("f", "a", "fa"), ("f", "b", "fb"), ("g", "a", "ga"), ("g", "b", "gb")] {
        story.launch(framework, agent, &[(task, "cpus:1")]);
        story.status(framework, task, TaskState::TaskRunning, b"1");
    }
    story
}

fn drain(agent: &str, mark_gone: bool) -> Operation {
    Operation::DrainAgent(DrainAgent { agent_id: agent.to_owned(), max_grace_ms: Some(5), mark_gone })
}

fn activate(agent: &str, active: bool) -> Operation {
    Operation::ActivateAgent(ActivateAgent { agent_id: agent.to_owned(), active })
}

fn drained(agent: &str) -> Operation {
    Operation::DrainedAgent(DrainedAgent { agent_id: agent.to_owned() })
}

fn machine(hostname: &str) -> v1::MachineId {
    v1::MachineId { hostname: Some(hostname.to_owned()), ip: None }
}

fn schedule(machines: &[&str]) -> Operation {
    let unavailability =
        v1::Unavailability { start: Some(v1::TimeInfo { nanoseconds: Some(7) }), duration: None };
    let window = Window {
        machine_ids: machines.iter().map(|name| machine(name)).collect(),
        unavailability: Some(unavailability),
    };
    let windows = if machines.is_empty() { Vec::new() } else { vec![window] };
    Operation::UpdateSchedule(UpdateSchedule { schedule: Some(Schedule { windows }) })
}

fn start(machines: &[&str]) -> Operation {
    Operation::StartMaintenance(StartMaintenance {
        machines: machines.iter().map(|one| machine(one)).collect(),
    })
}

fn stop(machines: &[&str]) -> Operation {
    Operation::StopMaintenance(StopMaintenance {
        machines: machines.iter().map(|one| machine(one)).collect(),
    })
}

#[test]
fn an_agent_being_drained_takes_nothing_and_is_drained_when_it_is_empty() {
    let mut story = story();
    assert_eq!(story.apply(drained("a")), Outcome::Refused(Refusal::NotDraining));
    assert_eq!(story.apply(drain("nobody", false)), Outcome::Refused(Refusal::UnknownAgent));
    assert_eq!(story.apply(drain("a", false)), Outcome::Done);
    let refused = Outcome::Launched(vec![Err(Refusal::AgentDraining)]);
    assert_eq!(story.launch("f", "a", &[("more", "cpus:1")]), refused);
    assert_eq!(story.apply(drained("a")), Outcome::Refused(Refusal::NotEmpty));
    assert_eq!(story.apply(activate("a", true)), Outcome::Refused(Refusal::StillDraining));
    for (framework, task) in [("f", "fa"), ("g", "ga")] {
        story.status(framework, task, TaskState::TaskKilled, b"");
    }
    assert_eq!(story.apply(drained("a")), Outcome::Done);
    let record = story.registry.agents.get("a").unwrap();
    assert!(record.deactivated && record.drain.as_ref().is_some_and(|drain| drain.drained));
    assert_eq!(story.launch("f", "a", &[("more", "cpus:1")]), refused, "until it is reactivated");
    assert_eq!(story.apply(activate("a", true)), Outcome::Done);
    let record = story.registry.agents.get("a").unwrap();
    assert!(!record.deactivated && record.drain.is_none());
    assert_eq!(story.apply(activate("a", true)), Outcome::Refused(Refusal::NotDeactivated));
    assert!(
        matches!(story.launch("f", "a", &[("more", "cpus:1")]), Outcome::Launched(one) if one[0].is_ok())
    );
}

#[test]
fn a_drain_survives_the_agents_absence() {
    let mut story = story();
    story.apply(drain("a", true));
    story.apply(Operation::DisconnectAgent(DisconnectAgent { agent_id: "a".to_owned() }));
    story.apply(Operation::MarkUnreachable(MarkUnreachable { agent_id: "a".to_owned() }));
    let info = story.registry.agents.get("a").unwrap().info.clone();
    story.apply(Operation::ReregisterAgent(ReregisterAgent { info, ..Default::default() }));
    let record = story.registry.agents.get("a").unwrap();
    assert!(record.deactivated && record.drain.as_ref().is_some_and(|drain| drain.mark_gone));
}

#[test]
fn a_gone_agents_tasks_are_gone_by_operator_or_lost() {
    let mut story = story();
    story.apply(Operation::MarkUnreachable(MarkUnreachable { agent_id: "b".to_owned() }));
    for agent in ["a", "b"] {
        let mark = || Operation::MarkGone(MarkGone { agent_id: agent.to_owned() });
        let Outcome::Lost(lost) = story.apply(mark()) else { panic!() };
        let told: Vec<_> = lost.iter().map(|(id, status)| (id.to_string(), status.state())).collect();
        let (f, g) = (("f".to_owned(), TaskState::TaskLost), ("g".to_owned(), TaskState::TaskGoneByOperator));
        // The other one was told LOST when the agent became unreachable.
        let expected = if agent == "a" { vec![f, g] } else { vec![g] };
        assert_eq!(told, expected, "{agent}");
        assert!(lost.iter().all(|(_, status)| status.reason() == Reason::AgentRemovedByOperator));
        assert!(story.registry.is_gone(&agent.into()));
        assert_eq!(story.apply(mark()), Outcome::Lost(Vec::new()), "once");
    }
    assert!(story.registry.tasks.is_empty() && story.registry.agents.is_empty());
    let mark = MarkGone { agent_id: "nobody".to_owned() };
    assert_eq!(story.apply(Operation::MarkGone(mark)), Outcome::Refused(Refusal::UnknownAgent));
}

#[test]
fn a_broken_connection_ends_what_is_not_checkpointed() {
    let mut story = story();
    let mut loose = framework("loose");
    loose.checkpoint = None;
    let capability = Capability { r#type: Some(capability::Type::PartitionAware as i32) };
    loose.capabilities = vec![capability];
    story.apply(Operation::AdmitFramework(AdmitFramework { info: Some(loose), ..Default::default() }));
    story.launch("loose", "a", &[("l", "cpus:1"), ("told", "cpus:1")]);
    story.status("loose", "told", TaskState::TaskFinished, b"5");
    let Outcome::Lost(lost) =
        story.apply(Operation::DisconnectAgent(DisconnectAgent { agent_id: "a".to_owned() }))
    else {
        panic!()
    };
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0].1.state(), lost[0].1.reason()), (TaskState::TaskLost, Reason::AgentDisconnected));
    let mut history = story.history("loose");
    history.sort();
    let expected = [("l".to_owned(), TaskState::TaskLost), ("told".to_owned(), TaskState::TaskFinished)];
    assert_eq!(history, expected);
    assert_eq!(story.charged("a"), "cpus:2", "the others go on");
}

#[test]
fn machines_go_down_and_come_up() {
    let mut story = story();
    assert_eq!(story.apply(start(&["a"])), Outcome::Refused(Refusal::WrongMachineMode));
    assert_eq!(story.apply(schedule(&["A", "other"])), Outcome::Done);
    let agent = story.registry.agents.get("a").unwrap().clone();
    assert_eq!(story.registry.machine_of(&agent).map(|machine| machine.down), Some(false));
    assert_eq!(story.apply(stop(&["a"])), Outcome::Refused(Refusal::WrongMachineMode));
    let Outcome::MachinesDown { agents, lost } = story.apply(start(&["a"])) else { panic!() };
    assert_eq!(agents, ["a"]);
    assert_eq!(lost.len(), 2);
    for (_, status) in &lost {
        assert_eq!((status.state(), status.reason()), (TaskState::TaskLost, Reason::AgentRemoved));
    }
    assert!(!story.registry.is_gone(&"a".into()));
    assert_eq!(story.apply(start(&["a"])), Outcome::Refused(Refusal::WrongMachineMode), "it is down");
    let word = ReregisterAgent { info: agent.info.clone(), ..Default::default() };
    let refused = Outcome::Refused(Refusal::MachineDown);
    assert_eq!(story.apply(Operation::ReregisterAgent(word.clone())), refused);
    let admit = AdmitAgent { info: agent.info.clone(), ..Default::default() };
    assert_eq!(story.apply(Operation::AdmitAgent(admit)), refused);
    assert_eq!(story.apply(schedule(&["other"])), refused, "it must stay in the schedule");
    assert_eq!(story.apply(stop(&["a"])), Outcome::Done);
    let left = story.registry.maintenance.schedule.clone().unwrap_or_default();
    assert_eq!(left.windows[0].machine_ids, [machine("other")]);
    assert!(matches!(story.apply(Operation::ReregisterAgent(word)), Outcome::Reregistered(_)));
    assert_eq!(story.apply(schedule(&[])), Outcome::Done);
    assert!(story.registry.machines.is_empty());
}

#[test]
fn everything_that_a_schedule_names_must_match() {
    let mut story = story();
    let unavailability =
        v1::Unavailability { start: Some(v1::TimeInfo { nanoseconds: Some(7) }), duration: None };
    let both = v1::MachineId { hostname: Some("a".to_owned()), ip: Some("10.0.0.1".to_owned()) };
    let ip = v1::MachineId { hostname: None, ip: Some("10.0.0.2".to_owned()) };
    let window = Window { machine_ids: vec![both, ip], unavailability: Some(unavailability) };
    let schedule = Some(Schedule { windows: vec![window] });
    story.apply(Operation::UpdateSchedule(UpdateSchedule { schedule }));
    let found = |hostname: &str, ip: &str| story.registry.machine_at(hostname, ip).is_some();
    assert!(found("a", "10.0.0.1") && found("b", "10.0.0.2") && found("", "10.0.0.2"));
    assert!(!found("a", "10.0.0.3") && !found("b", "10.0.0.1"));
}

#[test]
fn a_port_that_two_tasks_hold_is_free_when_both_have_ended() {
    let mut story = Story::new();
    story.agent("a", "cpus:8;ports:[1-9]");
    story.framework("f");
    story.launch("f", "a", &[("old", "cpus:1;ports:[1-2]")]);
    story.apply(Operation::MarkUnreachable(MarkUnreachable { agent_id: "a".to_owned() }));
    let info = story.registry.agents.get("a").unwrap().info.clone();
    // Back without the task, whose ports are given away, and then with it.
    story.apply(Operation::ReregisterAgent(ReregisterAgent { info: info.clone(), ..Default::default() }));
    story.launch("f", "a", &[("new", "cpus:1;ports:[2-3]")]);
    let told = |task: &str, text: &str| AgentTask {
        framework_id: Some(v1::FrameworkId { value: Some("f".to_owned()) }),
        task: Some(super::info("a", task, text)),
        state: Some(TaskState::TaskRunning as i32),
        ..Default::default()
    };
    let tasks = vec![told("old", "cpus:1;ports:[1-2]"), told("new", "cpus:1;ports:[2-3]")];
    story.apply(Operation::ReregisterAgent(ReregisterAgent { info, tasks, ..Default::default() }));
    assert_eq!(story.charged("a"), "cpus:2;ports:[1-3]");
    story.status("f", "old", TaskState::TaskFinished, b"");
    assert_eq!(story.charged("a"), "cpus:1;ports:[2-3]", "the other one holds it still");
    story.status("f", "new", TaskState::TaskFinished, b"");
    assert_eq!(story.charged("a"), "");
}

#[test]
fn the_unreachable_are_forgotten_and_may_come_back() {
    let mut story = story();
    story.apply(Operation::MarkUnreachable(MarkUnreachable { agent_id: "a".to_owned() }));
    let prune = PruneAgents { unreachable: vec!["a".to_owned(), "b".to_owned()], gone: Vec::new() };
    let info = story.registry.agents.get("a").unwrap().info.clone();
    assert_eq!(story.apply(Operation::PruneAgents(prune)), Outcome::Done);
    assert!(story.registry.agents.contains_key("b"), "it is not unreachable");
    assert!(!story.registry.agents.contains_key("a"));
    assert!(!story.registry.tasks_by_agent.contains_key("a"));
    let told = ["fa", "ga"].map(|task| AgentTask {
        framework_id: Some(v1::FrameworkId { value: Some(task[..1].to_owned()) }),
        task: Some(super::info("a", task, "cpus:1")),
        launch_seq: Some(1),
        state: Some(TaskState::TaskRunning as i32),
        ..Default::default()
    });
    let word = ReregisterAgent { info, tasks: told.to_vec(), ..Default::default() };
    let Outcome::Reregistered(difference) = story.apply(Operation::ReregisterAgent(word)) else { panic!() };
    assert_eq!(difference.returned.len(), 2, "their frameworks were told otherwise");
    assert_eq!(story.charged("a"), "cpus:2");
}

#[test]
fn a_framework_keeps_so_many_unreachable_tasks_and_no_more() {
    let mut story = story();
    let mut number = 0;
    for round in 0..3 {
        let agent = format!("many{round}");
        story.agent(&agent, "cpus:1000");
        let items = (0..500).map(|_| {
            number += 1;
            item("g", &agent, &format!("t{number:05}"), "cpus:1")
        });
        let tasks = items.collect();
        let launch = Launch { framework_id: "g".to_owned(), agent_id: agent.clone(), tasks };
        story.apply(Operation::Launch(launch));
        story.apply(Operation::MarkUnreachable(MarkUnreachable { agent_id: agent }));
    }
    let left: Vec<_> = story.registry.unreachable_of(&"g".into()).cloned().collect();
    assert_eq!(left.len(), MAX_UNREACHABLE_TASKS);
    assert_eq!(left[0].task.as_str(), "t00501", "the oldest go first");
}
