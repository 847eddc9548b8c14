//! Conversions: what is made is conserved, what is refused changes nothing, and the agent's word is settled with the Registry's.

use proptest::prelude::*;
use tepui_proto::v1::{OperationState, OperationStatus, Resource, Uuid};

use super::*;
use crate::registry::{OperationRecord, Refusal};
use crate::testing::{named, reserve, reserved, shared, volume};

pub(super) fn convert(consumed: Vec<Resource>, converted: Vec<Resource>) -> Convert {
    Convert { consumed, converted, operation: None }
}

pub(super) fn operate(framework: &str, agent: &str, steps: Vec<operate_step::Step>) -> Operation {
    Operation::Operate(Operate {
        framework_id: framework.to_owned(),
        agent_id: agent.to_owned(),
        steps: steps.into_iter().map(|step| OperateStep { step: Some(step) }).collect(),
    })
}

fn step(consumed: Vec<Resource>, converted: Vec<Resource>) -> operate_step::Step {
    operate_step::Step::Convert(convert(consumed, converted))
}

fn launch_step(framework: &str, agent: &str, id: &str, resources: Vec<Resource>) -> operate_step::Step {
    let mut item = item(framework, agent, id, "cpus:1");
    item.task.as_mut().unwrap().resources = resources;
    let (framework_id, agent_id) = (framework.to_owned(), agent.to_owned());
    operate_step::Step::Launch(Launch { framework_id, agent_id, tasks: vec![item] })
}

fn total(story: &Story, agent: &str) -> String {
    crate::registry::unallocated(story.registry.agents[agent].total()).to_string()
}

/// The conversions' results of the last outcome.
fn results(outcome: Outcome) -> Vec<Result<(), Refusal>> {
    match outcome {
        Outcome::Operated { conversions, .. } => conversions,
        other => panic!("{other:?}"),
    }
}

fn start() -> Story {
    let mut story = Story::new();
    story.agent("a", "cpus:4;disk:100;ports:[1-5]");
    story.framework("f");
    story
}

#[test]
fn steps_see_what_came_before_them() {
    let mut story = start();
    let cpus = || reserved("cpus:2;ports:[1-2]", &["web"]);
    let outcome = story.apply(operate(
        "f",
        "a",
        vec![
            step(resources("cpus:2;ports:[1-2]"), cpus()),
            launch_step("f", "a", "t", reserved("cpus:1;ports:[2-2]", &["web"])),
            launch_step("f", "a", "u", reserved("cpus:2", &["web"])),
            step(cpus(), resources("cpus:2;ports:[1-2]")),
        ],
    ));
    assert_eq!(
        outcome,
        Outcome::Operated {
            conversions: vec![Ok(()), Err(Refusal::InsufficientResources)],
            launches: vec![Ok(1), Err(Refusal::InsufficientResources)],
        }
    );
    assert_eq!(
        total(&story, "a"),
        "cpus:2;cpus(web, dynamic):2;disk:100;ports:[3-5];ports(web, dynamic):[1-2]"
    );
    assert_eq!(story.changes, [Change::Agent("a".into()), Change::Task(TaskKey::new("f", "t"))]);
    story.registry.check_capacity();
}

#[test]
fn nobody_makes_anything_up() {
    let mut story = start();
    let web = |text: &str| reserved(text, &["web"]);
    let allocated = crate::conversion::allocated(&resources("cpus:1"), "web");
    let cases = [
        (resources("cpus:1"), web("cpus:2"), Refusal::Malformed),
        (resources("cpus:1"), web("mem:1"), Refusal::Malformed),
        (resources("cpus:1"), resources("cpus(web):1"), Refusal::Malformed),
        (resources("ports:[1-1]"), web("ports:[2-2]"), Refusal::Malformed),
        (Vec::new(), Vec::new(), Refusal::Malformed),
        (allocated.clone(), allocated, Refusal::Malformed),
        (resources("cpus:5"), web("cpus:5"), Refusal::InsufficientResources),
    ];
    let before = total(&story, "a");
    for (consumed, converted, refusal) in cases {
        let outcome = story.apply(operate("f", "a", vec![step(consumed, converted)]));
        assert_eq!(results(outcome), [Err(refusal)]);
        assert_eq!(total(&story, "a"), before);
    }
    let good = || vec![step(resources("cpus:1"), web("cpus:1"))];
    assert_eq!(results(story.apply(operate("g", "a", good()))), [Err(Refusal::UnknownFramework)]);
    assert_eq!(results(story.apply(operate("f", "b", good()))), [Err(Refusal::UnknownAgent)]);
    story.apply(Operation::DisconnectAgent(DisconnectAgent { agent_id: "a".to_owned() }));
    assert_eq!(results(story.apply(operate("", "a", good()))), [Err(Refusal::AgentNotConnected)]);
    let hollow =
        Operation::Operate(Operate { steps: vec![OperateStep { step: None }], ..Default::default() });
    assert_eq!(story.apply(hollow), Outcome::Refused(Refusal::Malformed));
}

#[test]
fn volumes_have_one_name_and_leave_a_trace_when_they_go() {
    let mut story = start();
    let (one, two) = (volume(40, "web", "v"), volume(20, "web", "v"));
    let disk = |size: u32| reserved(&format!("disk:{size}"), &["web"]);
    let made = story.apply(operate(
        "f",
        "a",
        vec![
            step(resources("disk:60"), disk(60)),
            step(disk(40), vec![one.clone()]),
            step(disk(20), vec![two]),
        ],
    ));
    assert_eq!(results(made), [Ok(()), Ok(()), Err(Refusal::VolumeExists)]);
    assert_eq!(story.registry.agents["a"].resources_version, 2);
    let gone = story.apply(operate("f", "a", vec![step(vec![one], disk(40))]));
    assert_eq!(results(gone), [Ok(())]);
    let record = &story.registry.agents["a"];
    assert_eq!(record.destroyed.len(), 1);
    assert_eq!(record.destroyed[0].version(), 3);
    story.observe(Observation::Resources(ObservedResources { agent_id: "a".to_owned(), version: 2 }));
    assert_eq!(story.registry.agents["a"].destroyed.len(), 1);
    story.observe(Observation::Resources(ObservedResources { agent_id: "a".to_owned(), version: 3 }));
    assert_eq!(story.registry.agents["a"].destroyed.len(), 0);
}

#[test]
fn shared_volumes_are_charged_for_each_user_and_not_destroyed_under_them() {
    let mut story = start();
    let data = shared(volume(40, "web", "s"));
    let with = || [resources("cpus:1"), vec![data.clone()]].concat();
    let outcome = story.apply(operate(
        "f",
        "a",
        vec![
            step(resources("disk:40"), vec![data.clone()]),
            launch_step("f", "a", "t", with()),
            launch_step("f", "a", "u", with()),
            step(vec![data.clone()], reserved("disk:40", &["web"])),
        ],
    ));
    assert_eq!(
        outcome,
        Outcome::Operated {
            conversions: vec![Ok(()), Err(Refusal::VolumeInUse)],
            launches: vec![Ok(1), Ok(2)],
        }
    );
    story.registry.check_capacity();
    for task in ["t", "u"] {
        story.status("f", task, TaskState::TaskFinished, b"");
    }
    let outcome = story.apply(operate("f", "a", vec![step(vec![data.clone()], resources("disk:40"))]));
    assert_eq!(results(outcome), [Ok(())]);
    assert_eq!(total(&story, "a"), "cpus:4;disk:100;ports:[1-5]");
}

fn record(id: &str) -> OperationRecord {
    OperationRecord {
        framework_id: "f".to_owned(),
        agent_id: "a".to_owned(),
        info: Some(named(id, reserve(reserved("cpus:1", &["web"])))),
        uuid: b"operation".as_slice().into(),
        status: Some(OperationStatus {
            state: Some(OperationState::OperationFinished as i32),
            uuid: Some(Uuid { value: Some(b"status".as_slice().into()) }),
            converted_resources: resources("cpus:1"),
            ..Default::default()
        }),
    }
}

#[test]
fn what_became_of_an_operation_is_kept_until_it_is_acknowledged() {
    let mut story = start();
    let steps = |ids: &[&str], cpus: u32| {
        let steps = ids.iter().map(|id| {
            let one =
                convert(resources(&format!("cpus:{cpus}")), reserved(&format!("cpus:{cpus}"), &["web"]));
            operate_step::Step::Convert(Convert { operation: Some(Box::new(record(id))), ..one })
        });
        operate("f", "a", steps.collect())
    };
    let outcome = story.apply(steps(&["one", "one"], 1));
    assert_eq!(results(outcome), [Ok(()), Err(Refusal::OperationExists)]);
    let outcome = story.apply(steps(&["late"], 9));
    assert_eq!(results(outcome), [Err(Refusal::InsufficientResources)]);
    let state = |story: &Story, id: &str| {
        let key = crate::registry::OperationKey::new("f", id);
        story.registry.operations.get(&key).map(|record| record.status.clone().unwrap())
    };
    assert_eq!(state(&story, "one").unwrap().state(), OperationState::OperationFinished);
    let late = state(&story, "late").unwrap();
    assert_eq!(late.state(), OperationState::OperationDropped);
    assert!(late.converted_resources.is_empty() && late.message().contains("not enough"));
    let acknowledge = |id: &str, uuid: &'static [u8]| {
        Observation::OperationAcknowledged(ObservedOperationAcknowledgement {
            framework_id: "f".to_owned(),
            operation_id: id.to_owned(),
            uuid: uuid.into(),
        })
    };
    story.observe(acknowledge("one", b"other"));
    assert!(state(&story, "one").is_some());
    story.observe(acknowledge("one", b"status"));
    assert!(state(&story, "one").is_none());
    let reason = String::new();
    story.apply(Operation::RemoveFramework(RemoveFramework { framework_id: "f".to_owned(), reason }));
    assert!(story.registry.operations.is_empty());
}

#[test]
fn operations_end_with_their_agent() {
    let mut story = start();
    let one = convert(resources("cpus:1"), reserved("cpus:1", &["web"]));
    let one = operate_step::Step::Convert(Convert { operation: Some(Box::new(record("one"))), ..one });
    story.apply(operate("f", "a", vec![one]));
    assert_eq!(story.registry.operations.len(), 1);
    story.apply(Operation::RemoveAgent(RemoveAgent { agent_id: "a".to_owned(), reason: String::new() }));
    assert!(story.registry.operations.is_empty());
}

fn back(text: &str, version: u64, resources: Vec<Resource>, orphaned_volumes: Vec<Resource>) -> Operation {
    let mut info = agent_info("a", text);
    info.id = Some(v1::AgentId { value: Some("a".to_owned()) });
    Operation::ReregisterAgent(ReregisterAgent {
        info: Some(info),
        resources,
        resources_version: version,
        orphaned_volumes,
        ..Default::default()
    })
}

#[test]
fn the_registrys_word_on_resources_counts_when_an_agent_is_back() {
    let text = "cpus:4;disk:100;ports:[1-5]";
    let mut story = start();
    let (one, two) = (volume(40, "web", "one"), volume(20, "web", "two"));
    story.apply(operate("f", "a", vec![step(resources("disk:40"), vec![one.clone()])]));
    let known = total(&story, "a");
    let version = |story: &Story| story.registry.agents["a"].resources_version;
    // It has not heard of it yet.
    story.apply(back(text, 0, Vec::new(), Vec::new()));
    assert_eq!((total(&story, "a"), version(&story)), (known.clone(), 1));
    // It has.
    story.apply(back(text, 1, vec![one.clone()], Vec::new()));
    assert_eq!((total(&story, "a"), version(&story)), (known.clone(), 1));
    // It has something else by that number, or a later one: it must be told again, and what it holds is kept.
    for (told, expected) in [(1, 2), (9, 10)] {
        story.apply(back(text, told, vec![two.clone()], Vec::new()));
        assert_eq!((total(&story, "a"), version(&story)), (known.clone(), expected));
        assert_eq!(story.registry.agents["a"].orphaned, std::slice::from_ref(&two));
    }
    // Creating a volume of that name takes it over.
    story.apply(operate("f", "a", vec![step(resources("disk:20"), vec![two.clone()])]));
    assert!(story.registry.agents["a"].orphaned.is_empty());
    // What was destroyed while it was away is no orphan.
    story.apply(operate("f", "a", vec![step(vec![two.clone()], resources("disk:20"))]));
    story.apply(back(text, 11, vec![one.clone(), two.clone()], Vec::new()));
    assert!(story.registry.agents["a"].orphaned.is_empty());
    assert_eq!(story.registry.agents["a"].destroyed.len(), 1);
    // An agent that lost its disk keeps the volume as a memory.
    story.apply(back("cpus:4", 12, vec![one.clone()], Vec::new()));
    assert_eq!(total(&story, "a"), "cpus:4");
    assert_eq!(crate::conversion::volume_name(&story.registry.agents["a"].orphaned[0]).unwrap().1, "one");
}

/// One thing that may happen to the agent of the walk.
#[derive(Clone, Debug)]
enum Happening {
    Convert { from: usize, to: usize },
    Launch { id: u8, of: usize },
    End { id: u8 },
    Back { version: u64, held: usize },
}

/// Shapes of resources, in pairs that may or may not become each other.
fn shapes() -> Vec<Vec<Resource>> {
    vec![
        resources("cpus:1"),
        reserved("cpus:1", &["web"]),
        reserved("cpus:1", &["web", "web/api"]),
        resources("disk:40"),
        reserved("disk:40", &["web"]),
        vec![volume(40, "web", "v")],
        vec![shared(volume(40, "web", "s"))],
        resources("ports:[1-2]"),
        reserved("ports:[1-2]", &["db"]),
        [resources("cpus:1"), vec![shared(volume(40, "web", "s"))]].concat(),
        [resources("cpus:1"), vec![volume(40, "web", "v")]].concat(),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let shape = 0..shapes().len();
    prop_oneof![
        8 => (shape.clone(), shape.clone()).prop_map(|(from, to)| Happening::Convert { from, to }),
        4 => (0..6_u8, shape.clone()).prop_map(|(id, of)| Happening::Launch { id, of }),
        3 => (0..6_u8).prop_map(|id| Happening::End { id }),
        1 => (0..4_u64, shape).prop_map(|(version, held)| Happening::Back { version, held }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever is converted and launched: there is as much as the agent brought, and nobody holds what is not there. The laws
    /// themselves are checked after every step by the story.
    #[test]
    fn resources_are_conserved(happenings in prop::collection::vec(happening(), 1..80)) {
        let text = "cpus:4;disk:100;ports:[1-5]";
        let mut story = start();
        let mut live = std::collections::BTreeSet::new();
        for happening in happenings {
            match happening {
                Happening::Convert { from, to } => {
                    let before = total(&story, "a");
                    let outcome = results(story.apply(operate("f", "a", vec![step(shapes()[from].clone(), shapes()[to].clone())])));
                    if outcome[0].is_err() {
                        prop_assert_eq!(before, total(&story, "a"));
                    }
                }
                Happening::Launch { id, of } => {
                    let id = id.to_string();
                    let outcome = story.apply(operate("f", "a", vec![launch_step("f", "a", &id, shapes()[of].clone())]));
                    if matches!(outcome, Outcome::Operated { launches, .. } if launches[0].is_ok()) {
                        live.insert(id);
                    }
                }
                Happening::End { id } => {
                    story.status("f", &id.to_string(), TaskState::TaskFinished, b"");
                    live.remove(&id.to_string());
                }
                Happening::Back { version, held } => {
                    // An honest agent names its tasks; here it has none, so those of the Registry end.
                    for id in std::mem::take(&mut live) {
                        story.status("f", &id, TaskState::TaskFinished, b"");
                    }
                    story.apply(back(text, version, shapes()[held].clone(), Vec::new()));
                }
            }
            story.registry.check_capacity();
            let all = crate::registry::unallocated(story.registry.agents["a"].total());
            let own = crate::conversion::bases(&all).unwrap();
            prop_assert_eq!(own.to_string(), text);
        }
    }
}

#[test]
fn an_agent_that_the_registry_forgot_is_taken_at_its_word() {
    let forgotten = |version: u64, resources: Vec<Resource>| {
        let mut story = start();
        let Operation::ReregisterAgent(mut word) = back("cpus:4;disk:100", version, resources, Vec::new())
        else {
            panic!()
        };
        word.info.as_mut().unwrap().id = Some(v1::AgentId { value: Some("b".to_owned()) });
        story.apply(Operation::ReregisterAgent(word));
        let record = story.registry.agents["b"].clone();
        (total(&story, "b"), record.resources_version, record.orphaned.len())
    };
    // Its machine was down, say, and it heard nothing of it: its tasks may still use what was made, so nobody else may.
    let (one, cpus) = (volume(40, "web", "one"), reserved("cpus:1", &["web"]).remove(0));
    let all = "cpus:3;cpus(web, dynamic):1;disk:60;disk(web, dynamic)[one]:1x40".to_owned();
    assert_eq!(forgotten(7, vec![one.clone(), cpus]), (all, 7, 0));
    // What does not fit is not believed: the agent is told so by a higher number.
    let own = "cpus:4;disk:100".to_owned();
    assert_eq!(forgotten(7, vec![one.clone(), one]), (own.clone(), 8, 1));
    assert_eq!(forgotten(7, vec![volume(140, "web", "big")]), (own, 8, 1));
    assert_eq!(forgotten(0, Vec::new()), ("cpus:4;disk:100".to_owned(), 0, 0));
}
