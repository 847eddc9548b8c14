//! Frameworks come, fail over, go away and end.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::scheduler::{Call, call, event};
use tepui_proto::v1::{self, TaskState};

use super::running;
use crate::ids::FrameworkId;
use crate::master::{OperatorCall, Reply};
use crate::testing::{Harness, framework_info, task, uuid};

#[test]
fn the_first_events_are_subscribed_and_a_heartbeat() {
    let mut harness = Harness::new();
    let peer = harness.subscribe(framework_info("f"), None);
    let first = harness.event(&peer).subscribed.unwrap();
    assert_eq!(first.framework_id.unwrap().value(), "m1-0000");
    assert_eq!(first.heartbeat_interval_seconds, Some(15.0));
    let master = first.master_info.unwrap();
    assert_eq!(master.id(), "m1");
    assert_eq!(master.ip, Some(u32::from_le_bytes([10, 0, 0, 1])));
    assert_eq!(master.version(), "1.11.0");
    assert_eq!(
        (master.pid(), master.port(), master.hostname()),
        ("master@10.0.0.1:5050", 5050, "master.example")
    );
    let address = master.address.unwrap();
    assert_eq!((address.ip(), address.port(), address.hostname()), ("10.0.0.1", 5050, "master.example"));
    let able: Vec<&str> = master.capabilities.iter().map(|one| one.r#type().as_str_name()).collect();
    assert_eq!(able, ["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"]);
    assert_eq!(harness.event(&peer).r#type(), event::Type::Heartbeat);
    assert_eq!(harness.try_event(&peer), None);
}

#[test]
fn heartbeats_come_every_interval() {
    let mut harness = Harness::new();
    let peer = harness.framework("f");
    harness.advance(14_999);
    assert_eq!(harness.try_event(&peer), None);
    harness.advance(30_001);
    for _ in 0..3 {
        assert_eq!(harness.event(&peer).r#type(), event::Type::Heartbeat);
    }
    assert_eq!(harness.try_event(&peer), None, "one chain of heartbeats");
}

#[test]
fn ids_are_counted_and_chosen_ones_are_taken() {
    let mut harness = Harness::new();
    assert_eq!(harness.framework("a").id.as_str(), "m1-0000");
    assert_eq!(harness.framework("b").id.as_str(), "m1-0001");
    let mut info = framework_info("own");
    info.id = Some(v1::FrameworkId { value: Some("own-id".to_owned()) });
    assert_eq!(harness.framework_with(info).id.as_str(), "own-id");
    let mut bad = framework_info("bad");
    bad.id = Some(v1::FrameworkId { value: Some("a/b".to_owned()) });
    let peer = harness.subscribe(bad, None);
    assert!(harness.error(&peer).contains("id"));
    assert!(harness.is_closed(peer.connection));
}

#[test]
fn a_second_instance_takes_over() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let old = harness.framework("f");
    let offer = harness.offer(&old);
    let new = harness.resubscribe(&old);
    assert_eq!(new.id, old.id);
    assert_eq!(harness.error(&old), "framework failed over");
    assert!(harness.is_closed(old.connection));
    assert_eq!(harness.bare(&old, call::Type::Revive), 400, "the old stream id");
    let again = harness.offer(&new);
    assert_ne!(again.id, offer.id, "offers of the old instance are gone");
    assert_eq!(again.resources, offer.resources);
}

#[test]
fn user_and_checkpoint_stay_and_the_rest_changes() {
    let mut harness = Harness::new();
    let old = harness.framework("f");
    let mut info = old.info.clone();
    info.user = Some("root".to_owned());
    info.checkpoint = Some(false);
    info.name = Some("renamed".to_owned());
    info.role = Some("dev".to_owned());
    harness.framework_with(info);
    let record = harness.registry.frameworks.get(&old.id).unwrap();
    assert_eq!(record.info.as_ref().unwrap().user(), "nobody");
    assert!(record.info.as_ref().unwrap().checkpoint());
    assert_eq!(record.info.as_ref().unwrap().name(), "renamed");
    assert_eq!(record.roles(), ["dev"]);
}

#[test]
fn another_principal_is_refused() {
    let mut harness = Harness::new();
    let mut info = framework_info("f");
    info.principal = Some("alice".to_owned());
    let old = harness.framework_with(info);
    let mut info = old.info.clone();
    info.principal = Some("bob".to_owned());
    let thief = harness.subscribe(info, None);
    assert!(harness.error(&thief).contains("principal"));
    assert!(harness.is_closed(thief.connection));
    assert_eq!(harness.bare(&old, call::Type::Revive), 202, "the owner is not disturbed");
}

#[test]
fn bad_roles_are_an_error_event() {
    let mut harness = Harness::new();
    let mut info = framework_info("f");
    info.role = Some("a//b".to_owned());
    let peer = harness.subscribe(info, None);
    assert!(harness.error(&peer).contains("role"));
    assert!(harness.registry.frameworks.is_empty());
}

#[test]
fn a_framework_that_does_not_come_back_is_removed_with_its_tasks() {
    let (mut harness, mut agent, framework) = running();
    let mut info = framework.info.clone();
    info.failover_timeout = Some(20.0);
    let framework = harness.framework_with(info);
    harness.orders(&agent);
    harness.break_stream(framework.connection);
    harness.advance(19_000);
    assert!(harness.registry.frameworks.contains_key(&framework.id));
    harness.pong(&agent);
    harness.advance(2_000);
    assert!(!harness.registry.frameworks.contains_key(&framework.id));
    assert!(harness.registry.completed(&framework.id).is_some());
    assert!(harness.order_types(&agent).contains(&Order::ShutdownFramework));
    let history = harness.registry.history.get(&framework.id).unwrap();
    assert_eq!(history.last().unwrap().state(), TaskState::TaskKilled);
    assert_eq!(harness.registry.charges.len(), 1, "charged until the agent says that it has ended");

    harness.report(&mut agent, "t", TaskState::TaskKilled, uuid(2));
    harness.advance(200);
    assert!(harness.registry.charges.is_empty());
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge], "in place of the framework");
    assert!(harness.registry.tasks.is_empty());

    let late = harness.subscribe(framework.info.clone(), None);
    assert!(harness.error(&late).contains("has been removed"));
}

#[test]
fn without_a_failover_timeout_a_framework_ends_at_once() {
    let mut harness = Harness::new();
    let mut info = framework_info("f");
    info.failover_timeout = None;
    let peer = harness.framework_with(info);
    harness.break_stream(peer.connection);
    assert!(harness.registry.completed(&peer.id).is_some());
}

#[test]
fn coming_back_stops_the_clock() {
    let mut harness = Harness::new();
    let mut info = framework_info("f");
    info.failover_timeout = Some(10.0);
    let peer = harness.framework_with(info);
    harness.break_stream(peer.connection);
    harness.advance(9_000);
    let peer = harness.resubscribe(&peer);
    harness.advance(20_000);
    assert!(harness.registry.frameworks.contains_key(&peer.id));
    harness.break_stream(peer.connection);
    harness.advance(9_000);
    assert!(harness.registry.frameworks.contains_key(&peer.id), "a new absence has a new deadline");
    harness.advance(2_000);
    assert!(harness.registry.completed(&peer.id).is_some());
}

#[test]
fn a_stream_that_ends_before_the_commit_leaves_the_framework_away() {
    let mut harness = Harness::new();
    harness.hold();
    let peer = harness.subscribe(framework_info("f"), None);
    harness.break_stream(peer.connection);
    harness.commit();
    let (id, record) = harness.registry.frameworks.iter().next().unwrap();
    assert_eq!(id.as_str(), "m1-0000");
    assert!(!harness.registry.framework_connected(record));
    assert!(record.deadline_ms.is_some());
}

#[test]
fn a_break_during_failover_does_not_disconnect_the_successor() {
    let mut harness = Harness::new();
    let old = harness.framework("f");
    harness.hold();
    let new = harness.subscribe(old.info.clone(), None);
    harness.break_stream(old.connection);
    harness.commit();
    assert_eq!(harness.event(&new).r#type(), event::Type::Subscribed);
    harness.advance(10_000);
    let record = harness.registry.frameworks.get(&old.id).unwrap();
    assert!(harness.registry.framework_connected(record));
}

#[test]
fn two_subscriptions_with_the_same_new_id_end_with_the_later() {
    let mut harness = Harness::new();
    harness.hold();
    let mut info = framework_info("f");
    info.id = Some(v1::FrameworkId { value: Some("same".to_owned()) });
    let first = harness.subscribe(info.clone(), None);
    let second = harness.subscribe(info, None);
    harness.commit();
    assert_eq!(harness.event(&first).r#type(), event::Type::Subscribed);
    assert!(harness.is_closed(first.connection));
    assert_eq!(harness.event(&second).r#type(), event::Type::Subscribed);
    assert!(!harness.is_closed(second.connection));
}

#[test]
fn teardown_ends_everything_at_once() {
    let (mut harness, agent, framework) = running();
    assert_eq!(harness.bare(&framework, call::Type::Teardown), 202);
    assert!(harness.is_closed(framework.connection));
    assert_eq!(harness.events(&framework), [], "the end of its tasks is recorded, not told");
    assert_eq!(harness.order_types(&agent), [Order::ShutdownFramework]);
    let ended = harness.registry.history.get(&framework.id).unwrap().last().unwrap().clone();
    assert_eq!(ended.state(), TaskState::TaskKilled);
    let reason = ended.last_status.as_ref().unwrap().reason();
    assert_eq!(reason, v1::task_status::Reason::FrameworkRemoved);
    assert_eq!(harness.bare(&framework, call::Type::Revive), 400, "unknown from now on");
}

#[test]
fn between_teardown_and_commit_nothing_more_is_allowed() {
    let (mut harness, _, framework) = running();
    harness.hold();
    assert_eq!(harness.bare(&framework, call::Type::Teardown), 202);
    assert_eq!(harness.bare(&framework, call::Type::Revive), 403);
    let late = harness.subscribe(framework.info.clone(), None);
    harness.commit();
    assert!(harness.registry.completed(&framework.id).is_some());
    assert!(harness.error(&late).contains("has been removed"), "told when it is so, and not before");
    assert!(harness.is_closed(late.connection));
}

#[test]
fn offers_stay_with_a_framework_until_its_end_is_committed() {
    let mut harness = Harness::new();
    harness.agent("cpus:4;mem:1024");
    let first = harness.framework("f");
    let offer = harness.offer(&first);
    let second = harness.framework("g");
    harness.hold();
    harness.operator(OperatorCall::Teardown(first.id.clone()), None);
    harness.advance(1_000);
    assert_eq!(harness.events(&second), [], "the first was not told that he does not have it any more");
    harness.lose(false);
    assert_eq!(harness.accept(&first, &[&offer], vec![task("t", "cpus:1;mem:64")]), 202);
    assert_eq!(harness.registry.tasks.len(), 1, "so it is still good");
    harness.operator(OperatorCall::Teardown(first.id.clone()), None);
    assert_eq!(harness.offers(&second).len(), 1);
}

#[test]
fn a_launch_on_its_way_dies_with_its_framework() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:4;mem:1024");
    let framework = harness.framework("f");
    let offer = harness.offer(&framework);
    harness.orders(&agent);
    harness.hold();
    harness.accept(&framework, &[&offer], vec![task("t", "cpus:1;mem:64")]);
    harness.bare(&framework, call::Type::Teardown);
    harness.commit();
    let orders = harness.orders(&agent);
    assert!(orders.iter().all(|order| order.r#type() != Order::RunTask), "{orders:?}");
    let asked = orders.iter().find(|order| order.r#type() == Order::Reconcile).expect("asks the agent");
    assert_eq!(asked.reconcile.as_ref().unwrap().launch_seq, Some(1));
    let status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        state: Some(TaskState::TaskDropped as i32),
        source: Some(v1::task_status::Source::Agent as i32),
        uuid: Some(uuid(9)),
        ..Default::default()
    };
    harness.report_status(&agent, Some(framework.id.to_proto()), status, TaskState::TaskDropped);
    harness.advance(200);
    assert!(harness.registry.charges.is_empty() && harness.registry.tasks.is_empty());
    assert_eq!(harness.order_types(&agent), [Order::Acknowledge]);
}

#[test]
fn operators_tear_frameworks_down() {
    let mut harness = Harness::new();
    let peer = harness.framework("f");
    assert_eq!(harness.operator(OperatorCall::Teardown(peer.id.clone()), None), Some(Reply::Ok));
    assert!(harness.is_closed(peer.connection));
    let unknown = harness.operator(OperatorCall::Teardown(FrameworkId::from("nobody")), None);
    assert!(matches!(unknown, Some(Reply::Rejected { status: 400, .. })), "{unknown:?}");
}

#[test]
fn a_framework_updates_itself() {
    let mut harness = Harness::new();
    let mut info = framework_info("f");
    let kind = Some(capability::Type::MultiRole as i32);
    info.capabilities = vec![Capability { r#type: kind }];
    info.roles = vec!["a".to_owned(), "b".to_owned()];
    harness.agent("cpus:1;mem:64");
    harness.agent("cpus:1;mem:64");
    let peer = harness.framework_with(info);
    let offers = harness.offers(&peer);
    assert_eq!(offers.len(), 2);
    let update = |harness: &mut Harness, edit: &dyn Fn(&mut v1::FrameworkInfo)| {
        let mut info = peer.info.clone();
        edit(&mut info);
        let update = call::UpdateFramework { framework_info: Some(info), ..Default::default() };
        harness.call(
            &peer,
            Call {
                r#type: Some(call::Type::UpdateFramework as i32),
                update_framework: Some(update),
                ..Default::default()
            },
        )
    };
    assert_eq!(update(&mut harness, &|info| info.user = Some("root".to_owned())), 400);
    assert_eq!(update(&mut harness, &|info| info.checkpoint = None), 400);
    assert_eq!(update(&mut harness, &|info| info.principal = Some("p".to_owned())), 400);
    assert_eq!(update(&mut harness, &|info| info.roles = vec!["-x".to_owned()]), 400);
    assert_eq!(update(&mut harness, &|info| info.roles = vec!["b".to_owned()]), 200);
    let rescinded: Vec<_> = harness
        .events(&peer)
        .into_iter()
        .map(|event| event.rescind.expect("only rescinds").offer_id.unwrap())
        .collect();
    let of_a = |offer: &&v1::Offer| offer.allocation_info.as_ref().unwrap().role() == "a";
    let expected: Vec<_> = offers.iter().filter(of_a).map(|offer| offer.id.clone().unwrap()).collect();
    assert_eq!(rescinded, expected, "offers for the role that it left");
}

#[test]
fn a_subscription_that_is_not_committed_is_closed_without_an_error() {
    let mut harness = Harness::new();
    harness.hold();
    let peer = harness.subscribe(framework_info("f"), None);
    harness.lose(false);
    assert_eq!(harness.events(&peer), []);
    assert!(harness.is_closed(peer.connection));
    harness.framework("f");
}
