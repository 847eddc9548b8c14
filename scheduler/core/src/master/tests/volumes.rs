//! Volumes in the hands of several: who may destroy them and who loses an offer by it. And what frameworks hear again and again.

use tepui_proto::resources::Resources;
use tepui_proto::v1::offer::Operation;
use tepui_proto::v1::scheduler::event;
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{self, Resource, TaskState};

use super::operations::{story, told};
use crate::master::{Input, OperatorCall, Reply};
use crate::testing::{
    AgentPeer, Harness, create, destroy, executor_task, launch, launch_group, named, reserve, reserved,
    resources, shared, task, uuid, volume,
};

fn with(agent: &AgentPeer, id: &str, resources: Vec<Resource>) -> v1::TaskInfo {
    v1::TaskInfo { agent_id: Some(agent.id.to_proto()), resources, ..task(id, "cpus:1") }
}

fn operate(harness: &mut Harness, agent: &AgentPeer, operation: Operation) -> u16 {
    let request = harness.next_id();
    let call = OperatorCall::Operate { agent: agent.id.clone(), operation: Box::new(operation) };
    harness.input(Input::Operator { request, call, principal: None, driver_token: None });
    match harness.reply(request) {
        Some(Reply::Accepted) => 202,
        Some(Reply::Rejected { status, .. }) => status,
        other => panic!("no plain reply: {other:?}"),
    }
}

#[test]
fn an_operator_destroys_no_volume_that_is_in_use_or_about_to_be() {
    let (mut harness, mut agent, peer) = story();
    let offer = harness.offer(&peer);
    let data = volume(100, "web", "v");
    let make = vec![reserve(reserved("disk:100", &["web"])), create(vec![data.clone()])];
    harness.accept_with(&peer, &[&offer], make, Some(0.0));
    harness.take_resources(&mut agent);
    harness.advance(2_000);
    let offer = harness.offers(&peer).pop().unwrap();
    let needs = [resources("cpus:1;mem:64"), vec![data.clone()]].concat();
    // The launch is not committed yet.
    harness.hold();
    harness.accept_with(&peer, &[&offer], vec![launch(vec![with(&agent, "t", needs)])], Some(0.0));
    assert_eq!(operate(&mut harness, &agent, destroy(vec![data.clone()])), 409);
    harness.commit();
    harness.take_launch(&mut agent);
    assert_eq!(operate(&mut harness, &agent, destroy(vec![data.clone()])), 409);
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(1));
    harness.advance(2_000);
    harness.events(&peer);
    // Now it is only offered, which ends here.
    assert_eq!(operate(&mut harness, &agent, destroy(vec![data])), 202);
    let types: Vec<_> = harness.events(&peer).iter().map(|event| event.r#type()).collect();
    assert!(types.contains(&event::Type::Rescind), "{types:?}");
    let update = harness.take_resources(&mut agent);
    assert_eq!(update.destroyed.len(), 1);
}

#[test]
fn a_shared_volume_goes_with_every_offer_that_shows_it_or_not_at_all() {
    let (mut harness, mut agent, peer) = story();
    let offer = harness.offer(&peer);
    let data = shared(volume(100, "web", "s"));
    let make = vec![reserve(reserved("disk:100", &["web"])), create(vec![data.clone()])];
    harness.accept_with(&peer, &[&offer], make, Some(0.0));
    harness.take_resources(&mut agent);
    harness.advance(2_000);
    let offer = harness.offers(&peer).pop().unwrap();
    let needs = [resources("cpus:1;mem:64"), vec![data.clone()]].concat();
    harness.accept_with(&peer, &[&offer], vec![launch(vec![with(&agent, "t", needs)])], Some(0.0));
    harness.take_launch(&mut agent);
    assert_eq!(operate(&mut harness, &agent, destroy(vec![data.clone()])), 409);
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(1));
    harness.advance(7_000);
    let shows = |event: &v1::scheduler::Event| {
        let offers = event.offers.iter().flat_map(|offers| &offers.offers);
        offers.flat_map(|offer| &offer.resources).any(|one| one.shared.is_some())
    };
    assert!(harness.events(&peer).iter().any(shows), "it is offered again");
    assert_eq!(operate(&mut harness, &agent, destroy(vec![data])), 202);
    let types: Vec<_> = harness.events(&peer).iter().map(|event| event.r#type()).collect();
    assert!(types.contains(&event::Type::Rescind), "{types:?}");
}

#[test]
fn an_offer_of_a_shared_volume_ends_with_the_volume() {
    let (mut harness, mut agent, peer) = story();
    let offer = harness.offer(&peer);
    let data = shared(volume(100, "web", "s"));
    let make = vec![reserve(reserved("disk:100", &["web"])), create(vec![data.clone()])];
    harness.accept_with(&peer, &[&offer], make, Some(0.0));
    harness.take_resources(&mut agent);
    harness.advance(2_000);
    let offer = harness.offers(&peer).pop().unwrap();
    let other = launch(vec![with(&agent, "t", resources("cpus:1;mem:64"))]);
    harness.accept_with(&peer, &[&offer], vec![other], Some(0.0));
    harness.take_launch(&mut agent);
    harness.advance(2_000);
    let offer = harness.offers(&peer).pop().unwrap();
    // While its end is not committed it goes along with what comes free.
    harness.hold();
    harness.accept_with(&peer, &[&offer], vec![destroy(vec![data])], Some(60.0));
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(1));
    harness.advance(7_000);
    let shows = |event: &v1::scheduler::Event| {
        let offers = event.offers.iter().flat_map(|offers| &offers.offers);
        offers.flat_map(|offer| &offer.resources).any(|one| one.shared.is_some())
    };
    let told = harness.events(&peer);
    assert!(told.iter().any(shows), "{told:?}");
    harness.commit();
    let types: Vec<_> = harness.events(&peer).iter().map(|event| event.r#type()).collect();
    assert!(types.contains(&event::Type::Rescind), "{types:?}");
}

#[test]
fn an_executor_has_nothing_that_is_shared() {
    let (mut harness, agent, peer) = story();
    let offer = harness.offer(&peer);
    let data = shared(volume(100, "web", "s"));
    let mut info = executor_task("t", "cpus:1;mem:64", "e", "cpus:0.1;mem:32");
    info.agent_id = Some(agent.id.to_proto());
    info.executor.as_mut().unwrap().resources.push(data.clone());
    let operations = vec![reserve(reserved("disk:100", &["web"])), create(vec![data]), launch(vec![info])];
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskError, Reason::TaskInvalid));
    assert!(status.message().contains("shared"), "{status:?}");
}

#[test]
fn a_group_has_no_id_and_no_port_twice() {
    let (mut harness, _, peer) = story();
    let agent = harness.agent("cpus:4;mem:1024;disk:64;ports:[1-9]");
    let mut offers = harness.offers(&peer);
    offers.retain(|offer| offer.agent_id == Some(agent.id.to_proto()));
    let member = |id: &str, ports: &str| v1::TaskInfo {
        agent_id: Some(agent.id.to_proto()),
        ..executor_task(id, &format!("cpus:0.5;{ports}"), "e", "cpus:0.1;mem:32;disk:8")
    };
    let group = |first: &str, second: &str| launch_group(vec![member("x", first), member("y", second)]);
    let operations =
        vec![named("o", group("ports:[1-2]", "ports:[3-4]")), group("ports:[1-2]", "ports:[2-3]")];
    harness.accept_with(&peer, &[&offers[0]], operations, Some(0.0));
    let told: Vec<_> = harness.statuses(&peer);
    assert_eq!(told.len(), 4, "{told:?}");
    for (status, words) in told.iter().zip(["'id'", "'id'", "overlap", "overlap"]) {
        assert_eq!((status.state(), status.reason()), (TaskState::TaskError, Reason::TaskGroupInvalid));
        assert!(status.message().contains(words), "{status:?}");
    }
    assert!(harness.registry.tasks.is_empty());
}

#[test]
fn an_end_is_told_ever_more_rarely_but_every_ten_minutes() {
    let (mut harness, _, peer) = story();
    let offer = harness.offer(&peer);
    let operations = vec![named("one", reserve(reserved("cpus:1", &["web"])))];
    harness.accept_with(&peer, &[&offer], operations, Some(1e6));
    let first = told(&mut harness, &peer).remove(0);
    for pause_s in [10_u64, 20, 40, 80, 160, 320, 600, 600, 600] {
        harness.advance((pause_s - 1) * 1_000);
        assert_eq!(told(&mut harness, &peer), [], "before {pause_s} s");
        harness.advance(1_100);
        assert_eq!(told(&mut harness, &peer), std::slice::from_ref(&first), "after {pause_s} s");
    }
}

/// Written in the old form, kept and shown as a stack, sent to the agent as it was written.
#[test]
fn tasks_are_shown_with_stacks_however_their_reservations_were_written() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:2;cpus(web):2;mem:1024");
    let mut info = crate::testing::framework_info("old");
    info.role = Some("web".to_owned());
    let peer = harness.framework_with(info);
    let offer = harness.offer(&peer);
    let ours = offer.resources.iter().find(|one| one.role() == "web").unwrap();
    assert!(ours.reservations.is_empty() && ours.allocation_info.is_none(), "{ours:?}");
    let mut fixed = ours.clone();
    fixed.scalar = Some(v1::value::Scalar { value: Some(1.0) });
    let needs = [resources("mem:64"), vec![fixed.clone()]].concat();
    harness.accept_with(&peer, &[&offer], vec![launch(vec![with(&agent, "t", needs)])], Some(0.0));
    let sent = harness.take_launch(&mut agent).task.unwrap();
    let sent = sent.resources.iter().find(|one| one.name() == "cpus").unwrap().clone();
    assert_eq!((sent.role(), sent.reservations.len()), ("web", 0));
    let record = harness.registry.tasks.values().next().unwrap().clone();
    let shown =
        record.task.as_ref().unwrap().resources.iter().find(|one| one.name() == "cpus").unwrap().clone();
    assert_eq!((shown.role.clone(), shown.reservations[0].role()), (None, "web"));
    assert_eq!(shown.allocation_info.as_ref().unwrap().role(), "web");
    let held = harness.registry.charges[&agent.id].total.clone();
    assert_eq!(held, Resources::parse("cpus(web):1;mem:64").unwrap());
}
