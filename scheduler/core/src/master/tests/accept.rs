//! ACCEPT: tasks become launches, everything else comes back.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::offer::{Operation, operation};
use tepui_proto::v1::task_status::{Reason, Source};
use tepui_proto::v1::{self, TaskState};

use crate::testing::{FrameworkPeer, Harness, amount_to, framework_info, launch, task, uuid};

fn aware(harness: &mut Harness) -> FrameworkPeer {
    let mut info = framework_info("aware");
    info.capabilities = vec![Capability { r#type: Some(capability::Type::PartitionAware as i32) }];
    harness.framework_with(info)
}

#[test]
fn a_task_is_committed_then_sent_and_the_rest_is_offered_again() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.hold();
    assert_eq!(harness.accept(&peer, &[&offer], vec![task("t", "cpus:1;mem:64")]), 202);
    assert_eq!(harness.try_order(&agent), None, "nothing is sent before the commit");
    let rest = harness.offer(&peer);
    assert!(amount_to(&rest.resources, "cpus:3;mem:960"), "the launch is charged while it is pending");
    harness.commit();
    let run = harness.take_launch(&mut agent);
    assert_eq!(run.launch_seq, Some(1));
    assert_eq!(run.framework.unwrap().id, Some(peer.id.to_proto()));
    let info = run.task.unwrap();
    assert!(info.resources.iter().all(|one| one.allocation_info.as_ref().unwrap().role() == "*"));
    harness.registry.check_capacity();
    let record = harness.registry.tasks.values().next().unwrap();
    assert_eq!(record.state(), TaskState::TaskStaging);
    assert_eq!(record.task.as_ref().unwrap().user(), "nobody", "the framework's user runs it");
}

#[test]
fn the_resources_of_an_ended_task_are_free_at_once() {
    let (mut harness, mut agent, peer) = super::running();
    harness.hold();
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    harness.events(&peer);
    harness.bare(&peer, v1::scheduler::call::Type::Revive);
    let offer = harness.offer(&peer);
    assert!(amount_to(&offer.resources, "cpus:4;mem:1024"), "before the report is committed");
    harness.accept(&peer, &[&offer], vec![task("next", "cpus:4;mem:1024")]);
    harness.commit();
    assert_eq!(harness.registry.tasks.len(), 2, "the report went ahead of the launch in the log");
    harness.registry.check_capacity();
}

#[test]
fn one_bad_offer_spoils_the_whole_call() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let peer = aware(&mut harness);
    let offer = harness.offer(&peer);
    let mut gone = offer.clone();
    gone.id = Some(v1::OfferId { value: Some("m1-O99".to_owned()) });
    harness.accept(&peer, &[&offer, &gone], vec![task("a", "cpus:1"), task("b", "cpus:1")]);
    let told = harness.statuses(&peer);
    assert_eq!(told.len(), 2);
    for (status, id) in told.iter().zip(["a", "b"]) {
        assert_eq!(status.task_id.as_ref().unwrap().value(), id);
        assert_eq!(status.state(), TaskState::TaskDropped);
        assert_eq!(status.reason(), Reason::InvalidOffers);
        assert_eq!(status.source(), Source::Master);
        assert_eq!(status.uuid, None);
    }
    let again = harness.offer(&peer);
    assert_eq!(again.resources, offer.resources, "the good offer came back without a filter");
}

#[test]
fn frameworks_that_know_no_dropped_are_told_lost() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.accept(&peer, &[&offer, &offer], vec![task("t", "cpus:1")]);
    assert_eq!(harness.update(&peer).state(), TaskState::TaskLost, "an offer named twice");
    let mut lost = task("u", "cpus:1");
    lost.agent_id = offer.agent_id.clone();
    harness.accept(&peer, &[], vec![lost]);
    assert_eq!(harness.update(&peer).state(), TaskState::TaskLost, "no offer at all");
}

#[test]
fn offers_of_others_are_not_taken() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let owner = harness.framework("f");
    let offer = harness.offer(&owner);
    let thief = harness.framework("g");
    harness.accept(&thief, &[&offer], vec![task("t", "cpus:1;mem:64")]);
    assert_eq!(harness.update(&thief).state(), TaskState::TaskLost);
    assert_eq!(harness.decline(&thief, &offer, 1.0), 202);
    harness.accept(&owner, &[&offer], vec![task("t", "cpus:1;mem:64")]);
    assert_eq!(harness.registry.tasks.len(), 1, "the owner's offer is untouched");
}

#[test]
fn a_bad_task_stops_no_other() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    let mut elsewhere = task("elsewhere", "cpus:1");
    elsewhere.agent_id = Some(v1::AgentId { value: Some("other".to_owned()) });
    let tasks = vec![
        task("good", "cpus:1;mem:64"),
        task("too-large", "cpus:9"),
        elsewhere,
        task("good", "cpus:1"),
        task("also-good", "cpus:3;mem:64"),
    ];
    harness.accept(&peer, &[&offer], tasks);
    let errors = harness.statuses(&peer);
    let ids: Vec<_> = errors.iter().map(|status| status.task_id.as_ref().unwrap().value()).collect();
    assert_eq!(ids, ["too-large", "elsewhere", "good"]);
    for status in &errors {
        assert_eq!(status.state(), TaskState::TaskError);
        assert_eq!(status.reason(), Reason::TaskInvalid);
    }
    assert_eq!(harness.order_types(&agent), [Order::RunTask, Order::RunTask]);
    assert_eq!(harness.log_of_launches(), [2], "one entry for the whole call");
}

#[test]
fn a_task_id_in_use_is_refused_while_the_first_is_pending_too() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.hold();
    harness.accept(&peer, &[&offer], vec![task("t", "cpus:1;mem:64")]);
    let rest = harness.offer(&peer);
    harness.accept(&peer, &[&rest], vec![task("t", "cpus:1;mem:64")]);
    assert_eq!(harness.update(&peer).state(), TaskState::TaskError);
    harness.commit();
    assert_eq!(harness.registry.tasks.len(), 1);
}

#[test]
fn no_operations_means_decline() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.accept_with(&peer, &[&offer], vec![], Some(1000.0));
    assert_eq!(harness.offers(&peer), []);
    harness.bare(&peer, v1::scheduler::call::Type::Revive);
    assert_eq!(harness.offers(&peer).len(), 1);
}

#[test]
fn groups_and_unknown_operations_are_answered() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    let mut member = task("member", "cpus:1");
    member.agent_id = offer.agent_id.clone();
    let group = operation::LaunchGroup {
        executor: Some(v1::ExecutorInfo {
            executor_id: Some(v1::ExecutorId { value: Some("e".to_owned()) }),
            ..Default::default()
        }),
        task_group: Some(v1::TaskGroupInfo { tasks: vec![member] }),
    };
    let reserve = Operation {
        r#type: Some(operation::Type::Reserve as i32),
        id: Some(v1::OperationId { value: Some("op".to_owned()) }),
        ..Default::default()
    };
    let grouped = Operation {
        r#type: Some(operation::Type::LaunchGroup as i32),
        launch_group: Some(group),
        ..Default::default()
    };
    let mut plain = task("t", "cpus:1;mem:64");
    plain.agent_id = offer.agent_id.clone();
    harness.accept_with(&peer, &[&offer], vec![grouped, reserve, launch(vec![plain])], Some(0.0));
    let told = harness.events(&peer);
    let update = told.iter().find_map(|event| event.update.clone()).unwrap().status.unwrap();
    assert_eq!((update.state(), update.reason()), (TaskState::TaskError, Reason::TaskGroupInvalid));
    let operation = told.iter().find_map(|event| event.update_operation_status.clone()).unwrap();
    assert_eq!(operation.status.unwrap().state(), v1::OperationState::OperationError);
    assert_eq!(harness.registry.tasks.len(), 1, "a bad operation is dropped alone");
}

#[test]
fn offers_of_one_agent_can_be_used_together() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.accept(&peer, &[&offer], vec![task("a", "cpus:1;mem:512")]);
    harness.take_launch(&mut agent);
    let first = harness.offer(&peer);
    harness.report(&mut agent, "a", TaskState::TaskFinished, uuid(1));
    harness.events(&peer);
    let second = harness.offer(&peer);
    assert_ne!(first.id, second.id);
    harness.accept(&peer, &[&first, &second], vec![task("b", "cpus:4;mem:1024")]);
    assert_eq!(harness.registry.tasks.len(), 2);
    harness.registry.check_capacity();
}

#[test]
fn an_agent_that_leaves_before_the_commit_drops_the_launch() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024");
    let peer = aware(&mut harness);
    let offer = harness.offer(&peer);
    harness.hold();
    harness.break_stream(agent.connection);
    harness.commit();
    assert_eq!(harness.event(&peer).r#type(), v1::scheduler::event::Type::Rescind);
    harness.accept(&peer, &[&offer], vec![task("t", "cpus:1;mem:64")]);
    let status = harness.update(&peer);
    assert_eq!((status.state(), status.reason()), (TaskState::TaskDropped, Reason::InvalidOffers));
}

#[test]
fn a_lost_proposal_drops_its_tasks_and_frees_their_resources() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024");
    let peer = aware(&mut harness);
    let offer = harness.offer(&peer);
    harness.orders(&agent);
    harness.hold();
    harness.accept(&peer, &[&offer], vec![task("t", "cpus:4;mem:1024")]);
    harness.lose(false);
    assert_eq!(harness.update(&peer).state(), TaskState::TaskDropped);
    assert_eq!(harness.offer(&peer).resources, offer.resources);
    assert_eq!(harness.orders(&agent), []);
}

#[test]
fn a_proposal_of_unknown_outcome_stays_charged() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    harness.hold();
    harness.accept(&peer, &[&offer], vec![task("t", "cpus:4;mem:1024")]);
    harness.lose(true);
    assert_eq!(harness.offers(&peer), [], "nobody else gets these resources");
    harness.reconcile(&peer, &[("t", None)]);
    assert_eq!(harness.update(&peer).state(), TaskState::TaskStaging);
}

#[test]
fn a_huge_task_stays_out_of_the_log() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let peer = harness.framework("f");
    let offer = harness.offer(&peer);
    let mut huge = task("huge", "cpus:1;mem:64");
    huge.data = Some(vec![7; 300 * 1024].into());
    harness.accept(&peer, &[&offer], vec![huge]);
    assert!(harness.log.iter().all(|entry| entry.len() < 4096));
    let run = harness.take_launch(&mut agent);
    assert_eq!(run.task.unwrap().data.unwrap().len(), 300 * 1024, "the agent gets all of it");
}
