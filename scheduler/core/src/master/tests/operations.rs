//! Operations in ACCEPT: reservations and volumes are made, used at once, reported, and unmade.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::v1::framework_info::{Capability, capability::Type as Can};
use tepui_proto::v1::offer::operation::Type as Kind;
use tepui_proto::v1::scheduler::{Call, call, event};
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{self, OperationState, Resource, TaskState};

use crate::testing::{
    AgentPeer, FrameworkPeer, Harness, amount_to, create, destroy, framework_info, grow, launch, named,
    operation, reserve, reserved, resources, shared, shrink, task, unreserve, uuid, volume,
};

/// A framework of this role with the modern capabilities.
fn framework(harness: &mut Harness, role: &str) -> FrameworkPeer {
    framework_that(harness, role, &[Can::ReservationRefinement, Can::SharedResources])
}

fn framework_that(harness: &mut Harness, role: &str, more: &[Can]) -> FrameworkPeer {
    let mut info = framework_info("f");
    info.roles = vec![role.to_owned()];
    let kinds = more.iter().chain([&Can::MultiRole]);
    info.capabilities = kinds.map(|kind| Capability { r#type: Some(*kind as i32) }).collect();
    harness.framework_with(info)
}

pub(super) fn story() -> (Harness, AgentPeer, FrameworkPeer) {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024;disk:1000");
    let peer = framework(&mut harness, "web");
    (harness, agent, peer)
}

fn on(agent: &AgentPeer, mut info: v1::TaskInfo, resources: Vec<Resource>) -> v1::TaskInfo {
    info.agent_id = Some(agent.id.to_proto());
    info.resources = resources;
    info
}

fn total(harness: &Harness, agent: &AgentPeer) -> String {
    crate::registry::unallocated(harness.registry.agents[&agent.id].total()).to_string()
}

/// What was told of operations, as (id, state, to be acknowledged); nothing else may have come but offers and what agents do.
pub(super) fn told(harness: &mut Harness, peer: &FrameworkPeer) -> Vec<v1::OperationStatus> {
    let mut statuses = Vec::new();
    for event in harness.events(peer) {
        match event.r#type() {
            event::Type::UpdateOperationStatus => {
                statuses.extend(event.update_operation_status.unwrap().status);
            }
            event::Type::Offers | event::Type::Rescind | event::Type::Failure => {}
            other => panic!("{other:?}: {event:?}"),
        }
    }
    statuses
}

pub(super) fn states(harness: &mut Harness, peer: &FrameworkPeer) -> Vec<(String, OperationState)> {
    let told = told(harness, peer);
    told.iter().map(|one| (one.operation_id.as_ref().unwrap().value().to_owned(), one.state())).collect()
}

pub(super) fn acknowledge(harness: &mut Harness, peer: &FrameworkPeer, status: &v1::OperationStatus) {
    let acknowledgement = call::AcknowledgeOperationStatus {
        agent_id: status.agent_id.clone(),
        uuid: status.uuid.as_ref().and_then(|uuid| uuid.value.clone()),
        operation_id: status.operation_id.clone(),
        ..Default::default()
    };
    let call = Call {
        r#type: Some(call::Type::AcknowledgeOperationStatus as i32),
        acknowledge_operation_status: Some(acknowledgement),
        ..Default::default()
    };
    assert_eq!(harness.call(peer, call), 202);
}

#[test]
fn a_pipeline_reserves_creates_and_launches_in_one_call() {
    let (mut harness, mut agent, peer) = story();
    let offer = harness.offer(&peer);
    let data = volume(100, "web", "v");
    let mut needs = reserved("cpus:1;mem:64", &["web"]);
    needs.push(data.clone());
    let operations = vec![
        reserve(reserved("cpus:2;mem:64;disk:100", &["web"])),
        create(vec![data.clone()]),
        launch(vec![on(&agent, task("t", "cpus:1"), needs)]),
    ];
    assert_eq!(harness.accept_with(&peer, &[&offer], operations, Some(1e6)), 202);
    let update = harness.take_resources(&mut agent);
    assert_eq!(update.version, Some(2), "one change each");
    assert!(amount_to(&update.resources, "") || update.resources.len() == 3, "{:?}", update.resources);
    harness.take_launch(&mut agent);
    assert_eq!(
        total(&harness, &agent),
        "cpus:2;cpus(web, dynamic):2;disk:900;disk(web, dynamic)[v]:1x100;mem:960;mem(web, dynamic):64"
    );
    harness.registry.check_capacity();
    // What was reserved and not used comes back although the rest is refused.
    let rest = harness.offer(&peer);
    let free: Vec<_> = rest.resources.iter().filter(|one| !one.reservations.is_empty()).collect();
    assert_eq!(free.len(), 1, "{rest:?}");
    assert_eq!(free[0].scalar.unwrap().value, Some(1.0));
}

#[test]
fn what_a_pipeline_leaves_comes_back_in_one_offer() {
    let (mut harness, agent, peer) = story();
    let offer = harness.offer(&peer);
    harness.hold();
    let operations = vec![
        reserve(reserved("cpus:2", &["web"])),
        launch(vec![on(&agent, task("t", "cpus:1"), reserved("cpus:1", &["web"]))]),
    ];
    assert_eq!(harness.accept_with(&peer, &[&offer], operations, Some(0.0)), 202);
    harness.advance(5_000);
    assert_eq!(harness.events(&peer).iter().filter(|event| event.offers.is_some()).count(), 0, "not yet");
    harness.commit();
    harness.advance(100);
    let rest = harness.offer(&peer);
    let amount = |reserved: bool| -> f64 {
        let ours = rest.resources.iter().filter(|one| one.name() == "cpus");
        let ours = ours.filter(|one| one.reservations.is_empty() != reserved);
        ours.filter_map(|one| one.scalar.as_ref()?.value).sum()
    };
    assert_eq!((amount(false), amount(true)), (2.0, 1.0), "{rest:?}");
}

#[test]
fn resources_of_a_role_are_offered_to_it_and_below_only() {
    let (mut harness, mut agent, peer) = story();
    let offer = harness.offer(&peer);
    harness.accept_with(&peer, &[&offer], vec![reserve(reserved("cpus:3", &["web"]))], Some(1e6));
    harness.take_resources(&mut agent);
    harness.break_stream(peer.connection);
    let other = framework(&mut harness, "db");
    let theirs = harness.offer(&other);
    assert!(amount_to(&theirs.resources, "cpus:1;mem:1024;disk:1000"), "{theirs:?}");
    harness.break_stream(other.connection);
    let below = framework(&mut harness, "web/api");
    let whole = harness.offer(&below);
    assert_eq!(whole.resources.iter().filter(|one| one.name() == "cpus").count(), 2);
    // A refinement is for the role below, and needs the capability to be seen.
    let refine = reserve(reserved("cpus:1", &["web", "web/api"]));
    harness.accept_with(&below, &[&whole], vec![refine], Some(0.0));
    harness.take_resources(&mut agent);
    assert!(total(&harness, &agent).contains("cpus(web/api, dynamic):1"), "{}", total(&harness, &agent));
    harness.break_stream(below.connection);
    let old = framework_that(&mut harness, "web/api", &[]);
    let seen = harness.offer(&old);
    assert!(
        amount_to(&seen.resources, "cpus:1;cpus(web):0;mem:1024;disk:1000") || !seen.resources.is_empty()
    );
    let cpus: f64 = seen
        .resources
        .iter()
        .filter(|one| one.name() == "cpus")
        .filter_map(|one| one.scalar)
        .map(|s| s.value())
        .sum();
    assert_eq!(cpus, 3.0, "all but the refined one: {seen:?}");
}

#[test]
fn what_was_made_is_unmade_in_the_other_order() {
    let (mut harness, mut agent, peer) = story();
    let before = total(&harness, &agent);
    let offer = harness.offer(&peer);
    let data = volume(100, "web", "v");
    let make = vec![reserve(reserved("disk:100", &["web"])), create(vec![data.clone()])];
    harness.accept_with(&peer, &[&offer], make, Some(0.0));
    harness.take_resources(&mut agent);
    harness.advance(2_000);
    let offer = harness.offers(&peer).pop().unwrap();
    let unmake = vec![destroy(vec![data.clone()]), unreserve(reserved("disk:100", &["web"]))];
    harness.accept_with(&peer, &[&offer], unmake, Some(0.0));
    let order = harness.order(&agent).update_resources.unwrap();
    assert_eq!(order.resources, []);
    assert_eq!(order.destroyed.len(), 1);
    assert_eq!((order.destroyed[0].role(), order.destroyed[0].persistence_id()), ("web", "v"));
    assert_eq!(order.destroyed[0].version(), 3);
    assert_eq!(total(&harness, &agent), before);
    assert_eq!(harness.registry.agents[&agent.id].destroyed.len(), 1, "until the agent says so");
    agent.resources_version = 4;
    let call = tepui_proto::tepui::agent_link::Call {
        r#type: Some(tepui_proto::tepui::agent_link::call::Type::ResourcesAccepted as i32),
        resources_version: Some(4),
        ..Default::default()
    };
    harness.agent_call(&agent, call);
    harness.advance(200);
    assert_eq!(harness.registry.agents[&agent.id].destroyed, []);
}

#[test]
fn a_bad_operation_is_dropped_alone_and_says_why() {
    let (mut harness, agent, peer) = story();
    let offer = harness.offer(&peer);
    let mut unreserved = volume(10, "web", "v");
    unreserved.reservations.clear();
    let mut read_only = volume(10, "web", "v");
    read_only.disk.as_mut().unwrap().volume.as_mut().unwrap().mode = Some(v1::volume::Mode::Ro as i32);
    let mut revocable = reserved("cpus:1", &["web"]);
    revocable[0].revocable = Some(v1::resource::RevocableInfo {});
    let bad = [
        ("reserve.resources", reserve(resources("cpus:1"))),
        ("for role 'db'", reserve(reserved("cpus:1", &["db"]))),
        ("revocable", reserve(revocable)),
        ("more than", reserve(reserved("cpus:9", &["web"]))),
        ("is empty", reserve(Vec::new())),
        ("unreserve.resources", unreserve(resources("cpus:1"))),
        ("not reserved", create(vec![unreserved])),
        ("not RW", create(vec![read_only])),
        ("no volume", destroy(reserved("disk:1", &["web"]))),
        ("more than", destroy(vec![volume(10, "web", "none")])),
        ("resource provider", operation(Kind::CreateDisk)),
        ("resource provider", operation(Kind::DestroyDisk)),
        ("'type'", operation(Kind::Unknown)),
    ];
    let mut operations: Vec<_> =
        bad.iter().enumerate().map(|(n, (_, one))| named(&format!("bad-{n}"), one.clone())).collect();
    operations.push(named("good", reserve(reserved("cpus:1", &["web"]))));
    operations.push(named("good", reserve(reserved("cpus:1", &["web"]))));
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    let told = told(&mut harness, &peer);
    assert_eq!(told.len(), bad.len() + 2, "{told:?}");
    for (status, (words, _)) in told.iter().zip(&bad) {
        assert_eq!(status.state(), OperationState::OperationError);
        assert_eq!(status.uuid, None, "nothing to acknowledge");
        assert_eq!(status.agent_id, Some(agent.id.to_proto()));
        assert!(status.message().contains(words), "{words}: {}", status.message());
    }
    assert!(told[bad.len()].message().contains("in use"), "{:?}", told[bad.len()]);
    let good = told.last().unwrap();
    assert_eq!(good.state(), OperationState::OperationFinished);
    assert_eq!(good.converted_resources.len(), 1);
    assert_eq!(good.converted_resources[0].allocation_info.as_ref().unwrap().role(), "web");
}

#[test]
fn principals_sign_what_they_reserve() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024;disk:1000");
    let mut info = framework_info("f");
    info.role = Some("web".to_owned());
    info.principal = Some("me".to_owned());
    let peer = harness.framework_with(info);
    let offer = harness.offer(&peer);
    let signed = |who: Option<&str>| {
        let mut list = reserved("cpus:1", &["web"]);
        list[0].reservations[0].principal = who.map(str::to_owned);
        reserve(list)
    };
    let operations = vec![
        named("none", signed(None)),
        named("other", signed(Some("you"))),
        named("right", signed(Some("me"))),
    ];
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    let error = OperationState::OperationError;
    let finished = OperationState::OperationFinished;
    let expected = [("none", error), ("other", error), ("right", finished)];
    assert_eq!(states(&mut harness, &peer), expected.map(|(id, state)| (id.to_owned(), state)));
}

#[test]
fn frameworks_of_the_old_form_write_and_read_it() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let mut info = framework_info("old");
    info.role = Some("web".to_owned());
    let peer = harness.framework_with(info);
    let offer = harness.offer(&peer);
    let mut list = resources("cpus:1");
    list[0].role = Some("web".to_owned());
    list[0].reservation = Some(v1::resource::ReservationInfo::default());
    let mut both = reserved("cpus:1", &["web"]);
    both[0].role = Some("web".to_owned());
    let operations = vec![
        named("old", reserve(list.clone())),
        named("both", reserve(both)),
        named("refined", reserve(reserved("cpus:1", &["web", "web/api"]))),
    ];
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    let told = told(&mut harness, &peer);
    let states: Vec<_> = told.iter().map(v1::OperationStatus::state).collect();
    let error = OperationState::OperationError;
    assert_eq!(states, [error, error, OperationState::OperationFinished], "{told:?}");
    let converted = &told[2].converted_resources[0];
    assert_eq!(converted.role(), "web");
    assert!(converted.reservation.is_some() && converted.reservations.is_empty());
    harness.advance(2_000);
    let offers = harness.offers(&peer);
    let mine = offers[0].resources.iter().find(|one| one.role() == "web").unwrap();
    assert!(mine.reservation.is_some(), "{mine:?}");
    harness.accept_with(&peer, &[&offers[0]], vec![unreserve(vec![mine.clone()])], Some(0.0));
    assert!(harness.registry.agents.values().all(|agent| agent.resources_version == 2));
}

#[test]
fn a_launch_has_no_id() {
    let (mut harness, agent, peer) = story();
    let offer = harness.offer(&peer);
    let one = on(&agent, task("t", "cpus:1"), resources("cpus:1"));
    harness.accept_with(&peer, &[&offer], vec![named("x", launch(vec![one]))], Some(0.0));
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskError, Reason::TaskInvalid));
    assert!(status.message().contains("'id'"), "{}", status.message());
}

#[test]
fn an_end_is_told_until_it_is_acknowledged_by_whoever_leads() {
    let (mut harness, agent, peer) = story();
    let offer = harness.offer(&peer);
    harness.hold();
    let operations = vec![named("one", reserve(reserved("cpus:1", &["web"])))];
    harness.accept_with(&peer, &[&offer], operations, Some(1e6));
    assert_eq!(states(&mut harness, &peer), [], "nothing before the commit");
    reconcile(&mut harness, &peer, &agent, &["one"]);
    assert_eq!(states(&mut harness, &peer), [("one".to_owned(), OperationState::OperationPending)]);
    harness.commit();
    let first = told(&mut harness, &peer).remove(0);
    assert_eq!(first.state(), OperationState::OperationFinished);
    assert_eq!(first.uuid.as_ref().unwrap().value().len(), 16);
    harness.advance(9_000);
    assert_eq!(told(&mut harness, &peer), []);
    harness.advance(2_000);
    assert_eq!(told(&mut harness, &peer), std::slice::from_ref(&first), "after ten seconds");
    harness.advance(19_000);
    assert_eq!(told(&mut harness, &peer), std::slice::from_ref(&first), "after twenty more");
    harness.elect();
    harness.advance(10);
    let back = harness.resubscribe(&peer);
    assert_eq!(told(&mut harness, &back), std::slice::from_ref(&first), "by the next leader, at once");
    let mut wrong = first.clone();
    wrong.uuid = Some(v1::Uuid { value: Some(uuid(9)) });
    acknowledge(&mut harness, &back, &wrong);
    assert_eq!(harness.registry.operations.len(), 1);
    acknowledge(&mut harness, &back, &first);
    harness.advance(600_000);
    assert_eq!(told(&mut harness, &back), []);
    assert_eq!(harness.registry.operations.len(), 0);
}

fn reconcile(harness: &mut Harness, peer: &FrameworkPeer, agent: &AgentPeer, ids: &[&str]) {
    let operations = ids.iter().map(|id| call::reconcile_operations::Operation {
        operation_id: Some(v1::OperationId { value: Some((*id).to_owned()) }),
        agent_id: Some(agent.id.to_proto()),
        ..Default::default()
    });
    let call = Call {
        r#type: Some(call::Type::ReconcileOperations as i32),
        reconcile_operations: Some(call::ReconcileOperations { operations: operations.collect() }),
        ..Default::default()
    };
    assert_eq!(harness.call(peer, call), 202);
}

#[test]
fn reconciliation_knows_operations_and_says_where_others_may_be() {
    let (mut harness, agent, peer) = story();
    let offer = harness.offer(&peer);
    let operations = vec![named("one", reserve(reserved("cpus:1", &["web"])))];
    harness.accept_with(&peer, &[&offer], operations, Some(1e6));
    told(&mut harness, &peer);
    let finished = ("one".to_owned(), OperationState::OperationFinished);
    reconcile(&mut harness, &peer, &agent, &["one", "two"]);
    let unknown = |state| ("two".to_owned(), state);
    let told_now = told(&mut harness, &peer);
    assert!(told_now.iter().all(|status| status.uuid.is_none()));
    reconcile(&mut harness, &peer, &agent, &["two"]);
    assert_eq!(states(&mut harness, &peer), [unknown(OperationState::OperationUnknown)]);
    reconcile(&mut harness, &peer, &agent, &[]);
    assert_eq!(states(&mut harness, &peer), [finished], "all that are known");
    harness.break_stream(agent.connection);
    harness.advance(60_000);
    harness.events(&peer);
    reconcile(&mut harness, &peer, &agent, &["two"]);
    assert_eq!(states(&mut harness, &peer), [unknown(OperationState::OperationUnreachable)]);
    harness.elect();
    let back = harness.resubscribe(&peer);
    told(&mut harness, &back);
    reconcile(&mut harness, &back, &agent, &["two"]);
    assert_eq!(states(&mut harness, &back), [unknown(OperationState::OperationUnreachable)]);
}

#[test]
fn an_operation_on_an_offer_that_is_gone_is_an_error() {
    let (mut harness, agent, peer) = story();
    let offer = harness.offer(&peer);
    harness.hold();
    let needs = reserved("cpus:1", &["web"]);
    let operations = vec![
        named("late", reserve(reserved("cpus:1", &["web"]))),
        launch(vec![on(&agent, task("t", "cpus:1"), needs)]),
    ];
    harness.break_stream(agent.connection);
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    let events = harness.events(&peer);
    let kinds: Vec<_> = events.iter().map(|event| event.r#type()).collect();
    assert_eq!(kinds, [event::Type::Rescind, event::Type::UpdateOperationStatus, event::Type::Update]);
    let status = events[1].update_operation_status.clone().unwrap().status.unwrap();
    assert_eq!(status.state(), OperationState::OperationError, "the offer was gone");
    harness.commit();
    assert_eq!(total(&harness, &agent), "cpus:4;disk:1000;mem:1024");
}

#[test]
fn the_log_decides_when_an_agent_leaves_meanwhile() {
    let (mut harness, agent, peer) = story();
    let offer = harness.offer(&peer);
    harness.hold();
    // Its disconnection is proposed before the operation is, so it is ahead in the log.
    let operations = vec![
        named("late", reserve(reserved("cpus:1", &["web"]))),
        launch(vec![on(&agent, task("t", "cpus:1"), reserved("cpus:1", &["web"]))]),
    ];
    let disconnect = crate::registry::DisconnectAgent { agent_id: agent.id.as_str().to_owned() };
    let envelope = crate::registry::Envelope {
        epoch: harness.registry.epoch,
        operation: Some(crate::registry::Operation::DisconnectAgent(disconnect)),
        ..Default::default()
    };
    harness.registry.apply(&envelope);
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    harness.commit();
    let events = harness.events(&peer);
    let kinds: Vec<_> = events.iter().map(|event| event.r#type()).collect();
    assert_eq!(kinds, [event::Type::UpdateOperationStatus, event::Type::Update], "{events:?}");
    let status = events[0].update_operation_status.clone().unwrap().status.unwrap();
    assert_eq!(status.state(), OperationState::OperationDropped);
    assert!(status.uuid.is_some() && status.converted_resources.is_empty());
    assert_eq!(events[1].update.clone().unwrap().status.unwrap().state(), TaskState::TaskLost);
    assert_eq!(total(&harness, &agent), "cpus:4;disk:1000;mem:1024");
}

#[test]
fn volumes_are_named_once_and_not_destroyed_while_in_use() {
    let (mut harness, mut agent, peer) = story();
    let offer = harness.offer(&peer);
    let data = volume(100, "web", "v");
    let mut needs = resources("cpus:1;mem:64");
    needs.push(data.clone());
    let operations = vec![
        reserve(reserved("disk:200", &["web"])),
        create(vec![data.clone()]),
        named("again", create(vec![volume(50, "web", "v")])),
        launch(vec![on(&agent, task("t", "cpus:1"), needs)]),
        named("busy", destroy(vec![data.clone()])),
    ];
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    let told = told(&mut harness, &peer);
    assert!(told[0].message().contains("has a volume 'v'"), "{told:?}");
    assert!(told[1].message().contains("more than"), "{told:?}");
    harness.take_resources(&mut agent);
    harness.take_launch(&mut agent);
    assert!(total(&harness, &agent).contains("[v]:1x100"));
}

#[test]
fn a_shared_volume_is_used_by_many_and_destroyed_by_none_of_them() {
    let (mut harness, mut agent, peer) = story();
    let offer = harness.offer(&peer);
    let data = shared(volume(100, "web", "s"));
    let with = |id: &str, agent: &AgentPeer| {
        let mut needs = resources("cpus:1;mem:64");
        needs.push(data.clone());
        on(agent, task(id, "cpus:1"), needs)
    };
    let operations = vec![
        reserve(reserved("disk:100", &["web"])),
        create(vec![data.clone()]),
        launch(vec![with("a", &agent), with("b", &agent)]),
        named("busy", destroy(vec![data.clone()])),
    ];
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    let told_now = told(&mut harness, &peer);
    assert!(told_now[0].message().contains("in use"), "{told_now:?}");
    harness.take_resources(&mut agent);
    harness.take_launch(&mut agent);
    harness.take_launch(&mut agent);
    harness.registry.check_capacity();
    harness.advance(2_000);
    let offer = harness.offers(&peer).pop().unwrap();
    assert!(offer.resources.iter().any(|one| one.shared.is_some()), "it is offered again: {offer:?}");
    let operations = vec![launch(vec![with("c", &agent)]), named("busy", destroy(vec![data.clone()]))];
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    assert_eq!(states(&mut harness, &peer), [("busy".to_owned(), OperationState::OperationError)]);
    harness.take_launch(&mut agent);
    for (number, id) in ["a", "b", "c"].iter().enumerate() {
        harness.report(&mut agent, id, TaskState::TaskFinished, uuid(number as u8 + 1));
    }
    harness.advance(2_000);
    harness.orders(&agent);
    let mut offers = Vec::new();
    for event in harness.events(&peer) {
        offers.extend(event.offers.into_iter().flat_map(|offers| offers.offers));
    }
    let offers: Vec<&v1::Offer> = offers.iter().collect();
    harness.accept_with(&peer, &offers, vec![destroy(vec![data.clone()])], Some(0.0));
    harness.take_resources(&mut agent);
    assert_eq!(total(&harness, &agent), "cpus:4;disk:900;disk(web, dynamic):100;mem:1024");
}

#[test]
fn volumes_grow_and_shrink_and_the_result_is_for_the_next_call() {
    let (mut harness, mut agent, peer) = story();
    let offer = harness.offer(&peer);
    let data = volume(100, "web", "v");
    let operations = vec![
        reserve(reserved("disk:200", &["web"])),
        create(vec![data.clone()]),
        named("unlike", grow(data.clone(), resources("disk:50").remove(0))),
        named("grow", grow(data.clone(), reserved("disk:50", &["web"]).remove(0))),
        named("now", destroy(vec![volume(150, "web", "v")])),
    ];
    harness.accept_with(&peer, &[&offer], operations, Some(0.0));
    let error = OperationState::OperationError;
    let finished = OperationState::OperationFinished;
    let expected = [("unlike", error), ("now", error), ("grow", finished)];
    assert_eq!(states(&mut harness, &peer), expected.map(|(id, state)| (id.to_owned(), state)));
    assert!(total(&harness, &agent).contains("[v]:1x150"), "{}", total(&harness, &agent));
    harness.orders(&agent);
    harness.advance(2_000);
    let offers = harness.offers(&peer);
    let offers: Vec<&v1::Offer> = offers.iter().collect();
    let grown = volume(150, "web", "v");
    let operations = vec![
        named("nothing", shrink(grown.clone(), 0.0)),
        named("all", shrink(grown.clone(), 150.0)),
        named("shrink", shrink(grown, 30.0)),
    ];
    harness.accept_with(&peer, &offers, operations, Some(0.0));
    let expected = [("nothing", error), ("all", error), ("shrink", finished)];
    assert_eq!(states(&mut harness, &peer), expected.map(|(id, state)| (id.to_owned(), state)));
    let update = harness.take_resources(&mut agent);
    assert_eq!(update.destroyed, [], "it was never gone");
    assert!(total(&harness, &agent).contains("[v]:1x120"), "{}", total(&harness, &agent));
    assert!(total(&harness, &agent).contains("disk(web, dynamic):80"), "{}", total(&harness, &agent));
}

#[test]
fn reservations_survive_the_agent_and_the_leader() {
    let (mut harness, mut agent, peer) = story();
    let offer = harness.offer(&peer);
    harness.accept_with(&peer, &[&offer], vec![reserve(reserved("cpus:1", &["web"]))], Some(0.0));
    // The agent restarts before it has heard of it, under another leader.
    harness.elect();
    harness.register(&mut agent);
    let update = harness.take_resources(&mut agent);
    assert_eq!(update.resources.len(), 1);
    assert_eq!(total(&harness, &agent), "cpus:3;cpus(web, dynamic):1;disk:1000;mem:1024");
    // Told already, it is told again with the same number, and nothing changes.
    harness.break_stream(agent.connection);
    harness.register(&mut agent);
    assert_eq!(harness.take_resources(&mut agent).version, update.version);
    assert_eq!(harness.order_types(&agent), [] as [Order; 0]);
}

#[test]
fn a_volume_that_nobody_here_knows_is_kept_and_shown() {
    let (mut harness, mut agent, _) = story();
    // As after a restore of an old backup: the agent is ahead.
    agent.resources = vec![volume(100, "web", "old")];
    agent.resources_version = 7;
    harness.break_stream(agent.connection);
    harness.register(&mut agent);
    let update = harness.take_resources(&mut agent);
    assert_eq!((update.version(), update.resources.len(), update.destroyed.len()), (8, 0, 0));
    let record = harness.registry.agents[&agent.id].clone();
    assert_eq!(record.orphaned, [volume(100, "web", "old")]);
    assert!(harness.notes.iter().any(|note| note.message.contains("does not know")));
    assert_eq!(total(&harness, &agent), "cpus:4;disk:1000;mem:1024", "it is nobody's to use");
    // The agent goes on naming it; one that is created under its name takes it over.
    agent.orphaned = record.orphaned.clone();
    harness.break_stream(agent.connection);
    harness.register(&mut agent);
    assert_eq!(harness.registry.agents[&agent.id].orphaned.len(), 1);
}
