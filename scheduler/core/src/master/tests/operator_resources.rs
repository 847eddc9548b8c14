//! Reservations and volumes by operators: statuses, and offers that stand in the way.

use tepui_proto::v1::offer::Operation;
use tepui_proto::v1::offer::operation::Reserve;
use tepui_proto::v1::resource::ReservationInfo;
use tepui_proto::v1::scheduler::event;

use crate::ids::AgentId;
use crate::master::{Input, OperatorCall, Reply};
use crate::testing::{
    AgentPeer, Harness, create, destroy, framework_info, reserve, reserved, resources, task, unreserve,
    volume,
};

/// The status of the answer and its text.
fn operate(
    harness: &mut Harness,
    agent: &AgentId,
    operation: Operation,
    principal: Option<&str>,
) -> (u16, String) {
    let request = harness.next_id();
    let call = OperatorCall::Operate { agent: agent.clone(), operation: Box::new(operation) };
    let principal = principal.map(str::to_owned);
    harness.input(Input::Operator { request, call, principal, driver_token: None });
    match harness.reply(request) {
        Some(Reply::Accepted) => (202, String::new()),
        Some(Reply::Rejected { status, reason }) => (status, reason),
        other => panic!("no plain reply: {other:?}"),
    }
}

fn total(harness: &Harness, agent: &AgentPeer) -> String {
    crate::registry::unallocated(harness.registry.agents[&agent.id].total()).to_string()
}

#[test]
fn free_resources_are_reserved_made_into_volumes_and_back() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;disk:100");
    let id = agent.id.clone();
    let data = volume(40, "web", "v");
    let disk = || reserved("disk:40", &["web"]);
    assert_eq!(operate(&mut harness, &id, reserve(disk()), None).0, 202);
    assert_eq!(operate(&mut harness, &id, create(vec![data.clone()]), None).0, 202);
    let (status, reason) = operate(&mut harness, &id, create(vec![volume(1, "web", "v")]), None);
    assert_eq!(status, 409, "{reason}");
    assert_eq!(operate(&mut harness, &id, unreserve(disk()), None).0, 409, "it is a volume");
    assert_eq!(operate(&mut harness, &id, destroy(vec![data.clone()]), None).0, 202);
    assert_eq!(operate(&mut harness, &id, destroy(vec![data]), None).0, 409, "it is gone");
    assert_eq!(operate(&mut harness, &id, unreserve(disk()), None).0, 202);
    assert_eq!(total(&harness, &agent), "cpus:4;disk:100");
}

#[test]
fn what_makes_no_sense_is_named() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;disk:100");
    let nobody = AgentId::from("nobody");
    let one = || reserve(reserved("cpus:1", &["web"]));
    let cases = [
        (&nobody, one(), None, 400, "'agent_id'"),
        (&agent.id, reserve(resources("cpus:1")), None, 400, "'reserve.resources'"),
        (&agent.id, reserve(Vec::new()), None, 400, "'reserve.resources'"),
        (&agent.id, one(), Some("me"), 400, "principal"),
        (&agent.id, reserve(reserved("cpus:5", &["web"])), None, 409, "does not have"),
        (&agent.id, destroy(resources("disk:1")), None, 400, "'destroy.volumes'"),
    ];
    for (id, operation, principal, status, words) in cases {
        let (got, reason) = operate(&mut harness, id, operation, principal);
        assert_eq!(got, status, "{reason}");
        assert!(reason.contains(words), "{words}: {reason}");
    }
    harness.break_stream(agent.connection);
    assert_eq!(operate(&mut harness, &agent.id, one(), None).0, 400, "disconnected");
}

#[test]
fn a_reservation_is_made_over() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;cpus(eng):2");
    let id = agent.id.clone();
    assert_eq!(operate(&mut harness, &id, reserve(reserved("cpus:2", &["web"])), None).0, 202);
    let over = |from: Vec<_>, to: Vec<_>| Operation {
        reserve: Some(Reserve { resources: to, source: from }),
        ..crate::testing::operation(tepui_proto::v1::offer::operation::Type::Reserve)
    };
    let operation = over(reserved("cpus:1", &["web"]), reserved("cpus:1", &["db"]));
    assert_eq!(operate(&mut harness, &id, operation, None), (202, String::new()));
    assert_eq!(total(&harness, &agent), "cpus:2;cpus(eng):2;cpus(db, dynamic):1;cpus(web, dynamic):1");
    let (status, reason) =
        operate(&mut harness, &id, over(reserved("cpus:1", &["web"]), reserved("cpus:2", &["db"])), None);
    assert_eq!(status, 400, "{reason}");
    let fixed = resources("cpus(eng):1");
    let (status, reason) = operate(&mut harness, &id, over(fixed, reserved("cpus:1", &["db"])), None);
    assert_eq!(status, 400, "static reservations stay: {reason}");
}

#[test]
fn offers_in_the_way_are_taken_back_for_a_while_and_tasks_are_not() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.accept_with(
        &peer,
        &[&offer],
        vec![crate::testing::launch(vec![{
            let mut one = task("t", "cpus:1;mem:64");
            one.agent_id = Some(agent.id.to_proto());
            one
        }])],
        Some(0.0),
    );
    harness.take_launch(&mut agent);
    harness.advance(2_000);
    assert_eq!(harness.offers(&peer).len(), 1);
    let id = agent.id.clone();
    let (status, reason) = operate(&mut harness, &id, reserve(reserved("cpus:4", &["web"])), None);
    assert_eq!(status, 409, "a task uses one of them: {reason}");
    harness.advance(6_000);
    harness.events(&peer);
    assert_eq!(operate(&mut harness, &id, reserve(reserved("cpus:2", &["web"])), None).0, 202);
    let rescinds = harness.events(&peer);
    assert_eq!(rescinds.len(), 1);
    assert_eq!(rescinds[0].r#type(), event::Type::Rescind);
    harness.advance(4_000);
    assert_eq!(harness.events(&peer), [], "what is left is less than was taken back");
    harness.advance(2_000);
    let offers = harness.events(&peer);
    assert_eq!(offers.len(), 1, "{offers:?}");
    assert!(crate::testing::amount_to(
        &offers[0].offers.clone().unwrap().offers[0].resources,
        "cpus:1;mem:960"
    ));
}

#[test]
fn a_reservation_of_an_operator_is_signed_with_his_name() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4");
    let mut list = reserved("cpus:1", &["web"]);
    list[0].reservations =
        vec![ReservationInfo { principal: Some("me".to_owned()), ..list[0].reservations[0].clone() }];
    let id = agent.id.clone();
    assert_eq!(operate(&mut harness, &id, reserve(list.clone()), Some("you")).0, 400);
    assert_eq!(operate(&mut harness, &id, reserve(list), Some("me")).0, 202);
}

#[test]
fn a_proposal_that_fails_is_answered() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4");
    let peer = harness.framework_with(framework_info("f"));
    for unknown in [false, true] {
        harness.hold();
        let request = harness.next_id();
        let operation = reserve(reserved("cpus:1", &["web"]));
        let call = OperatorCall::Operate { agent: agent.id.clone(), operation: Box::new(operation) };
        harness.input(Input::Operator { request, call, principal: None, driver_token: None });
        harness.lose(unknown);
        assert!(matches!(harness.reply(request), Some(Reply::Rejected { status: 503, .. })));
    }
    harness.advance(1_000);
    assert_eq!(harness.offers(&peer).len(), 1);
}

/// As in Mesos: emptying and deactivating are about tasks and offers, not about what is reserved.
#[test]
fn agents_that_are_drained_or_deactivated_still_take_reservations() {
    use super::drains::order;
    use crate::master::FleetCall;
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;disk:100");
    let id = agent.id.clone();
    assert_eq!(order(&mut harness, FleetCall::Deactivate(id.clone())), 200);
    assert_eq!(operate(&mut harness, &id, reserve(reserved("cpus:1", &["web"])), None).0, 202);
    let drain = FleetCall::Drain { agent: id.clone(), max_grace_ms: None, mark_gone: false };
    assert_eq!(order(&mut harness, drain), 200);
    assert_eq!(operate(&mut harness, &id, reserve(reserved("cpus:1", &["web"])), None).0, 202);
    assert_eq!(total(&harness, &agent), "cpus:2;cpus(web, dynamic):2;disk:100");
}

/// The offer was good when it was accepted; the agent began to be emptied before that was committed.
#[test]
fn an_operation_that_meets_the_beginning_of_a_drain_is_done_and_its_launch_is_not() {
    use crate::master::FleetCall;
    use crate::testing::launch;
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:64");
    let mut info = framework_info("f");
    info.role = Some("web".to_owned());
    let peer = harness.framework_with(info);
    let offer = harness.offer(&peer);
    harness.hold();
    let drain = FleetCall::Drain { agent: agent.id.clone(), max_grace_ms: None, mark_gone: false };
    harness.operator(OperatorCall::Fleet(drain), None);
    let mut one = task("t", "cpus:1;mem:8");
    one.agent_id = Some(agent.id.to_proto());
    let operations = vec![reserve(reserved("cpus:2", &["web"])), launch(vec![one])];
    assert_eq!(harness.accept_with(&peer, &[&offer], operations, None), 202);
    harness.commit();
    let status = harness.update(&peer);
    assert_eq!(status.reason(), tepui_proto::v1::task_status::Reason::AgentDraining);
    assert_eq!(total(&harness, &agent), "cpus:2;cpus(web, dynamic):2;mem:64");
}
