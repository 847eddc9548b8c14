//! Suppressed roles and the framework's own description: what is kept, and who is told.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::v1;
use tepui_proto::v1::framework_info::{Capability, capability};
use tepui_proto::v1::scheduler::{Call, call};

use super::running;
use crate::master::Config;
use crate::testing::{FrameworkPeer, Harness, framework_info};

fn of_roles(name: &str, roles: &[&str]) -> v1::FrameworkInfo {
    let kind = Some(capability::Type::MultiRole as i32);
    v1::FrameworkInfo {
        capabilities: vec![Capability { r#type: kind }],
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..framework_info(name)
    }
}

fn suppress(harness: &mut Harness, peer: &FrameworkPeer, roles: &[&str]) -> u16 {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    let suppress = Some(call::Suppress { roles });
    harness.call(peer, Call { r#type: Some(call::Type::Suppress as i32), suppress, ..Default::default() })
}

fn update(harness: &mut Harness, peer: &FrameworkPeer, info: v1::FrameworkInfo, suppressed: &[&str]) -> u16 {
    let update = call::UpdateFramework {
        framework_info: Some(info),
        suppressed_roles: suppressed.iter().map(|role| (*role).to_owned()).collect(),
        ..Default::default()
    };
    harness.call(
        peer,
        Call {
            r#type: Some(call::Type::UpdateFramework as i32),
            update_framework: Some(update),
            ..Default::default()
        },
    )
}

fn recorded(harness: &Harness, peer: &FrameworkPeer) -> Vec<String> {
    harness.registry.frameworks.get(&peer.id).unwrap().suppressed_roles.clone()
}

#[test]
fn suppressed_roles_are_on_record_for_the_next_leader() {
    let mut harness = Harness::new();
    let peer = harness.framework_with(of_roles("f", &["a", "b"]));
    assert_eq!(suppress(&mut harness, &peer, &["b"]), 202);
    assert_eq!(recorded(&harness, &peer), ["b"]);
    let entries = harness.log.len();
    assert_eq!(suppress(&mut harness, &peer, &["b"]), 202);
    assert_eq!(harness.log.len(), entries, "no entry for what changes nothing");
    harness.elect();
    assert_eq!(recorded(&harness, &peer), ["b"]);
    let peer = harness.resubscribe(&peer);
    assert_eq!(recorded(&harness, &peer), Vec::<String>::new(), "a subscription replaces them");
    assert_eq!(suppress(&mut harness, &peer, &[]), 202);
    assert_eq!(recorded(&harness, &peer), ["a", "b"]);
    assert_eq!(harness.bare(&peer, call::Type::Revive), 202);
    assert_eq!(recorded(&harness, &peer), Vec::<String>::new());
    harness.agent("cpus:1;mem:64");
    assert_eq!(harness.offers(&peer).len(), 1);
}

#[test]
fn suppressing_in_the_middle_of_an_update_holds() {
    let mut harness = Harness::new();
    let peer = harness.framework_with(of_roles("f", &["a"]));
    harness.hold();
    let request = harness.next_id();
    let info = v1::FrameworkInfo { name: Some("new".to_owned()), ..peer.info.clone() };
    let change = call::UpdateFramework { framework_info: Some(info), ..Default::default() };
    let call = Call {
        framework_id: Some(peer.id.to_proto()),
        r#type: Some(call::Type::UpdateFramework as i32),
        update_framework: Some(change),
        ..Default::default()
    };
    let stream_id = Some(peer.stream_id.clone());
    harness.input(crate::master::Input::Call { request, stream_id, call, principal: None });
    assert_eq!(suppress(&mut harness, &peer, &[]), 202);
    harness.commit();
    assert_eq!(recorded(&harness, &peer), ["a"]);
    harness.agent("cpus:1;mem:64");
    assert!(harness.offers(&peer).is_empty(), "it wants none");
}

#[test]
fn agents_hear_of_a_framework_only_when_it_describes_itself_anew() {
    let (mut harness, agent, peer) = running();
    let told = |harness: &mut Harness| {
        harness.order_types(&agent).iter().filter(|order| **order == Order::UpdateFramework).count()
    };
    let before = harness.registry.frameworks.get(&peer.id).unwrap().clone();
    assert_eq!(update(&mut harness, &peer, peer.info.clone(), &[]), 200);
    assert_eq!(told(&mut harness), 0);
    assert_eq!(harness.registry.frameworks.get(&peer.id), Some(&before), "nothing to tell anyone");
    assert_eq!(update(&mut harness, &peer, peer.info.clone(), &["*"]), 200);
    assert_eq!(told(&mut harness), 0);
    assert_eq!(recorded(&harness, &peer), ["*"]);
    let renamed = v1::FrameworkInfo { name: Some("renamed".to_owned()), ..peer.info.clone() };
    assert_eq!(update(&mut harness, &peer, renamed, &[]), 200);
    assert_eq!(told(&mut harness), 1);
}

#[test]
fn an_update_that_unsuppresses_clears_refusals_and_one_that_suppresses_rescinds_nothing() {
    let mut harness = Harness::new();
    harness.agent("cpus:1;mem:64");
    let peer = harness.framework_with(of_roles("f", &["a"]));
    let offer = harness.offer(&peer);
    assert_eq!(update(&mut harness, &peer, peer.info.clone(), &["a"]), 200);
    assert_eq!(harness.events(&peer), [], "no rescind");
    harness.decline(&peer, &offer, 3600.0);
    assert!(harness.offers(&peer).is_empty());
    assert_eq!(update(&mut harness, &peer, peer.info.clone(), &[]), 200);
    assert_eq!(harness.offers(&peer).len(), 1, "the refusal is forgotten");
}

#[test]
fn an_update_of_a_framework_that_ended_meanwhile_is_a_conflict() {
    let mut harness = Harness::new();
    let peer = harness.framework("f");
    harness.hold();
    assert_eq!(harness.bare(&peer, call::Type::Teardown), 202);
    harness.commit();
    assert_eq!(update(&mut harness, &peer, peer.info.clone(), &[]), 400, "unknown by now");
    let peer = harness.framework("g");
    harness.hold();
    let operator = crate::master::OperatorCall::Teardown(peer.id.clone());
    assert_eq!(harness.operator(operator, None), None);
    let request = harness.next_id();
    let update = call::UpdateFramework { framework_info: Some(peer.info.clone()), ..Default::default() };
    let call = Call {
        framework_id: Some(peer.id.to_proto()),
        r#type: Some(call::Type::UpdateFramework as i32),
        update_framework: Some(update),
        ..Default::default()
    };
    let stream_id = Some(peer.stream_id.clone());
    harness.input(crate::master::Input::Call { request, stream_id, call, principal: None });
    let reply = harness.reply(request);
    assert!(matches!(reply, Some(crate::master::Reply::Rejected { status: 403, .. })), "{reply:?}");
}

#[test]
fn an_authenticated_framework_need_not_name_its_principal() {
    let mut harness = Harness::new();
    let peer = harness
        .framework_with(v1::FrameworkInfo { principal: Some("alice".to_owned()), ..framework_info("f") });
    let mut statuses = Vec::new();
    for (named, principal) in [(None, None), (None, Some("alice")), (Some("bob"), Some("alice"))] {
        let info = v1::FrameworkInfo { principal: named.map(str::to_owned), ..peer.info.clone() };
        let update = call::UpdateFramework { framework_info: Some(info), ..Default::default() };
        let call = Call {
            framework_id: Some(peer.id.to_proto()),
            r#type: Some(call::Type::UpdateFramework as i32),
            update_framework: Some(update),
            ..Default::default()
        };
        let request = harness.next_id();
        let (stream_id, principal) = (Some(peer.stream_id.clone()), principal.map(str::to_owned));
        harness.input(crate::master::Input::Call { request, stream_id, call, principal });
        statuses.push(match harness.reply(request).unwrap() {
            crate::master::Reply::Ok => 200,
            crate::master::Reply::Rejected { status, .. } => status,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(statuses, [400, 200, 400]);
}

#[test]
fn root_may_be_banned() {
    let root = |harness: &mut Harness| {
        harness.subscribe(v1::FrameworkInfo { user: Some("root".to_owned()), ..framework_info("f") }, None)
    };
    let mut open = Harness::new();
    let peer = root(&mut open);
    assert!(open.event(&peer).subscribed.is_some());
    let mut strict = Harness::with(Config { root_submissions: false, ..Config::default() });
    let peer = root(&mut strict);
    assert!(strict.error(&peer).contains("root_submissions"));
    assert!(strict.is_closed(peer.connection) && strict.registry.frameworks.is_empty());
    strict.framework("anybody else");
}
