//! A static list of roles: what is not on it cannot be subscribed to, and has neither quota nor weight.

use std::collections::{BTreeMap, BTreeSet};

use tepui_proto::v1::scheduler::{Call, call};
use tepui_proto::v1::{self, framework_info, quota, value};

use crate::master::{Config, OperatorCall, Reply};
use crate::testing::{Harness, framework_info, resources};

fn strict() -> Harness {
    let roles = Some(BTreeSet::from(["a".to_owned(), "a/b".to_owned()]));
    Harness::with(Config { roles, ..Config::default() })
}

fn in_roles(roles: &[&str]) -> v1::FrameworkInfo {
    let kind = Some(framework_info::capability::Type::MultiRole as i32);
    v1::FrameworkInfo {
        capabilities: vec![framework_info::Capability { r#type: kind }],
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..framework_info("f")
    }
}

/// 200, or the status and what is wrong.
fn answer(reply: Option<Reply>) -> (u16, String) {
    match reply {
        Some(Reply::Ok) => (200, String::new()),
        Some(Reply::Rejected { status, reason }) => (status, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_listed_roles_can_be_subscribed_to() {
    let mut harness = strict();
    for refused in [in_roles(&["a", "c"]), in_roles(&["a/b/c"]), old("c")] {
        let peer = harness.subscribe(refused, None);
        let error = harness.error(&peer);
        assert!(error.contains("'framework_info.roles'") && error.contains("--roles"), "{error}");
        assert!(harness.is_closed(peer.connection) && harness.registry.frameworks.is_empty());
    }
    for good in [in_roles(&["a", "a/b", "*"]), framework_info("f"), old("a"), in_roles(&[])] {
        harness.framework_with(good);
    }
}

/// A framework that knows one role only.
fn old(role: &str) -> v1::FrameworkInfo {
    v1::FrameworkInfo { role: Some(role.to_owned()), ..framework_info("f") }
}

#[test]
fn a_role_that_is_not_listed_cannot_be_added_later() {
    let mut harness = strict();
    let peer = harness.framework_with(in_roles(&["a"]));
    let update = |roles: &[&str]| {
        let info = v1::FrameworkInfo { roles: in_roles(roles).roles, ..peer.info.clone() };
        let change = call::UpdateFramework { framework_info: Some(info), ..Default::default() };
        Call {
            r#type: Some(call::Type::UpdateFramework as i32),
            update_framework: Some(change),
            ..Default::default()
        }
    };
    assert_eq!(harness.call(&peer, update(&["a", "c"])), 400);
    assert_eq!(harness.registry.frameworks.get(&peer.id).unwrap().roles(), ["a"]);
    assert_eq!(harness.call(&peer, update(&["a", "a/b"])), 200);
}

#[test]
fn quotas_and_weights_are_for_listed_roles() {
    let mut harness = strict();
    harness.agent("cpus:4;mem:64");
    let weight = |role: &str| {
        OperatorCall::UpdateWeights(vec![v1::WeightInfo { weight: Some(2.0), role: Some(role.to_owned()) }])
    };
    let quota = |role: &str| OperatorCall::UpdateQuota {
        force: false,
        configs: vec![quota::QuotaConfig {
            role: Some(role.to_owned()),
            limits: BTreeMap::from([("cpus".to_owned(), value::Scalar { value: Some(1.0) })]),
            ..Default::default()
        }],
    };
    let older = |role: &str| {
        OperatorCall::SetQuota(quota::QuotaRequest {
            force: None,
            role: Some(role.to_owned()),
            guarantee: resources("cpus:1"),
        })
    };
    for call in [weight("c"), quota("c"), older("c")] {
        let (status, reason) = answer(harness.operator(call, None));
        assert_eq!(status, 400);
        assert!(reason.contains("'c'") && reason.contains("--roles"), "{reason}");
    }
    assert!(harness.registry.weights.is_empty() && harness.registry.quotas.is_empty());
    for call in [weight("a/b"), quota("a"), OperatorCall::RemoveQuota("a".to_owned()), older("a")] {
        assert_eq!(answer(harness.operator(call, None)).0, 200);
    }
}

#[test]
fn what_is_reserved_for_other_roles_stays() {
    let mut harness = strict();
    harness.agent("cpus(c):1;cpus:1;mem:64");
    let peer = harness.framework("f");
    let offered = harness.offer(&peer);
    assert!(offered.resources.iter().all(|one| one.reservations.is_empty()));
}
