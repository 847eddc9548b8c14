//! What is answered from the Registry: by whom, in which form, and how it says how old it is.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hyper::{Method, StatusCode};
use prost::Message as _;
use tepui_proto::tepui::operator;
use tepui_proto::v1;
use tepui_proto::v1::master::Response;
use tepui_scheduler_core::registry::{FrameworkRecord, LeaderRecord, RegisterKey, RegisterRecord};
use tepui_scheduler_core::{Change, Registry};
use tokio_util::task::TaskTracker;

use super::fixture::{Fixture, json, serving, text};
use crate::runtime::board::Published;

const LONG: Duration = Duration::from_secs(10);

/// One framework with a name that is not ASCII, and one register that holds JSON.
fn registry() -> Registry {
    let info = v1::FrameworkInfo {
        user: Some("u".into()),
        name: Some("Blümchen".into()),
        id: Some(v1::FrameworkId { value: Some("f-1".into()) }),
        ..Default::default()
    };
    let framework = FrameworkRecord { info: Some(info), connected_epoch: 3, ..Default::default() };
    let register = RegisterRecord {
        scope: "job".into(),
        key: "stream".into(),
        version: 5,
        generation: 2,
        value: "{\"committed\":\n{\"batch\":4}}".into(),
        ..Default::default()
    };
    let leader = LeaderRecord {
        node_id: 1,
        master_id: "m".into(),
        ip: "10.0.0.1".into(),
        port: 5050,
        ..Default::default()
    };
    let mut registry = Registry { epoch: 3, leader: Some(Arc::new(leader)), ..Default::default() };
    registry.frameworks.insert("f-1".into(), Arc::new(framework));
    registry.registers.insert(RegisterKey { scope: "job".into(), key: "stream".into() }, Arc::new(register));
    registry
}

#[tokio::test]
async fn what_concerns_the_process_alone_is_answered_by_everyone() {
    for fixture in [Fixture::leading(), Fixture::standby(Some("b:2")), Fixture::standby(None)] {
        let health = fixture.get("/health").await;
        assert_eq!(health.status(), StatusCode::OK);
        assert!(!health.headers().contains_key("content-type"));
        let version = json(fixture.get("/master/version").await).await;
        let numeric = version["version"].as_str().unwrap().split('.').all(|part| part.parse::<u32>().is_ok());
        assert!(numeric, "{version}");
        let metrics = text(fixture.get("/metrics").await).await;
        assert!(metrics.contains("tepui_master_leader"), "{metrics}");
        assert!(json(fixture.get("/metrics/snapshot").await).await["master/elected"].is_number());
        assert_eq!(fixture.get("/no/such/path").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(fixture.get("/redirect/x").await.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_dashboard_is_whole_and_loads_nothing_from_elsewhere() {
    let standby = Fixture::standby(None);
    let page = standby.get("/").await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let page = text(page).await;
    let linked: Vec<_> = page.split('"').filter(|part| part.starts_with("/tepui/assets/")).collect();
    assert_eq!(linked.len(), 2, "{linked:?}");
    for path in linked {
        let asset = standby.get(path).await;
        assert_eq!(asset.status(), StatusCode::OK, "{path}");
        let asset = text(asset).await;
        assert!(asset.len() > 1000, "{path} is nearly empty");
        assert!(!asset.contains("innerHTML"), "{path} injects text as HTML");
    }
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"));
}

#[tokio::test]
async fn a_standby_answers_reads_that_ask_for_its_own_state() {
    let standby = Fixture::standby(Some("b:2"));
    standby.publish(registry());
    assert_eq!(standby.get("/state").await.status(), StatusCode::TEMPORARY_REDIRECT);
    let answer = standby.get("/state?tepui_read=local").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(answer.headers()["tepui-applied-index"], "42");
    assert_eq!(answer.headers()["tepui-absent"], "offers, connections");
    let state = text(answer).await;
    assert!(state.is_ascii());
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["frameworks"][0]["name"], "Blümchen");
    assert_eq!(state["leader"], "master@10.0.0.1:5050");
    for list in ["slaves", "orphan_tasks", "completed_frameworks"] {
        assert!(state[list].is_array(), "{list}");
    }
    let headers = [("content-type", "application/json"), ("tepui-read", "local")];
    let get = r#"{"type":"GET_FRAMEWORKS"}"#;
    assert_eq!(standby.send(Method::POST, "/api/v1", &headers, get).await.status(), StatusCode::OK);
    for change in
        [r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"f"}}}"#, r#"{"type":"SUBSCRIBE"}"#]
    {
        let answer = standby.send(Method::POST, "/api/v1", &headers, change).await;
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT, "{change}");
    }
}

#[tokio::test]
async fn operator_reads_come_in_both_encodings() {
    let leader = Fixture::leading();
    leader.publish(registry());
    let answer = json(leader.post_json("/api/v1", r#"{"type":"GET_STATE"}"#).await).await;
    assert_eq!(answer["type"], "GET_STATE");
    let framework = &answer["get_state"]["get_frameworks"]["frameworks"][0];
    assert_eq!(framework["framework_info"]["id"]["value"], "f-1");
    assert_eq!(framework["connected"], true);
    let headers = [("content-type", "application/json"), ("accept", "application/x-protobuf")];
    let answer = leader.send(Method::POST, "/api/v1", &headers, r#"{"type":"GET_MASTER"}"#).await;
    assert_eq!(answer.headers()["content-type"], "application/x-protobuf");
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    let master = Response::decode(body).unwrap().get_master.unwrap().master_info.unwrap();
    assert_eq!((master.id.as_deref(), master.port), (Some("m"), Some(5050)));
}

#[tokio::test]
async fn registers_are_read_from_the_leader_and_drivers_from_anyone() {
    let get = r#"{"type":"STATE_GET","state_get":{"scope":"job","key":"stream"}}"#;
    let leader = Fixture::leading();
    leader.publish(registry());
    let state = json(leader.post_json("/tepui/v1/operator", get).await).await;
    assert_eq!(state["state_get"]["version"], 5);
    assert_eq!(state["state_get"]["generation"], 2);
    let absent = get.replace("stream", "other");
    let state = json(leader.post_json("/tepui/v1/operator", &absent).await).await;
    assert_eq!(state["state_get"]["version"], 0);

    leader.role.send_replace(crate::runtime::role::Role::Serving {
        lead: tepui_raft_store::Lead { term: 1, node_id: 1, serial: 0 },
    });
    let unproven = leader.post_json("/tepui/v1/operator", get).await;
    assert_eq!(unproven.status(), StatusCode::SERVICE_UNAVAILABLE);

    let standby = Fixture::standby(Some("b:2"));
    let elsewhere = standby.post_json("/tepui/v1/operator", get).await;
    assert_eq!(elsewhere.status(), StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(elsewhere.headers()["location"], "//b:2/tepui/v1/operator");
    let drivers = json(standby.post_json("/tepui/v1/operator", r#"{"type":"GET_DRIVERS"}"#).await).await;
    assert_eq!(drivers["type"], "GET_DRIVERS");
    let raft = json(standby.post_json("/tepui/v1/operator", r#"{"type":"GET_RAFT"}"#).await).await;
    assert_eq!(raft["get_raft"]["members"][0]["api_addr"], "a:1");
}

#[tokio::test]
async fn a_driver_is_submitted_with_its_spec_or_not_at_all() {
    let leader = Fixture::leading();
    for body in [r#"{"type":"SUBMIT_DRIVER"}"#, r#"{"type":"SUBMIT_DRIVER","submit_driver":{}}"#, "{}"] {
        let answer = leader.post_json("/tepui/v1/operator", body).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
    }
    let call = operator::Call { r#type: Some(999), ..Default::default() };
    let headers = [("content-type", "application/x-protobuf")];
    let answer = leader.send(Method::POST, "/tepui/v1/operator", &headers, call.encode_to_vec()).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_event_stream_is_a_snapshot_and_then_what_changes() {
    let standby = Fixture::standby(Some("b:2"));
    standby.publish(registry());
    let (hub, stop, tracker) = (standby.hub.clone(), standby.stop.clone(), TaskTracker::new());
    tracker.spawn(async move { hub.run(stop).await });

    let answer = standby.send(Method::GET, "/tepui/v1/events", &[("origin", "http://a:1")], "").await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["access-control-allow-origin"], "http://a:1");
    let mut body = answer.into_body().into_data_stream();
    let mut seen = String::new();
    while !seen.contains("event: ready") {
        let chunk = tokio::time::timeout(LONG, body.next()).await.unwrap().unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    assert!(seen.starts_with("event: snapshot-begin\n"), "{seen}");
    for part in [
        r#""kind":"framework","id":"f-1""#,
        r#""kind":"register","id":"job/stream""#,
        r#""value":{"committed":{"batch":4}}"#,
        r#""standby":true"#,
        r#""kind":"master","id":"1""#,
    ] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
    for line in seen.lines().filter(|line| line.starts_with("data: ")) {
        serde_json::from_str::<serde_json::Value>(&line[6..]).unwrap();
    }

    let mut changed = registry();
    changed.frameworks.remove("f-1");
    let published = Published { registry: changed, applied_index: 43 };
    standby.board.publish(published, Vec::new(), &[Change::Framework("f-1".into())]);
    let gone = r#"{"kind":"framework","id":"f-1","object":null}"#;
    while !seen.contains(gone) {
        let chunk = tokio::time::timeout(LONG, body.next()).await.unwrap().unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    standby.stop.cancel();
    while let Some(chunk) = tokio::time::timeout(LONG, body.next()).await.unwrap() {
        chunk.unwrap();
    }
    tracker.close();
    tracker.wait().await;
}

#[tokio::test]
async fn the_event_stream_has_bounds_and_no_strangers() {
    let standby = Fixture::standby(None);
    let stranger = standby.send(Method::GET, "/tepui/v1/events", &[("origin", "http://evil:1")], "").await;
    assert!(!stranger.headers().contains_key("access-control-allow-origin"));
    let _second = standby.get("/tepui/v1/events").await;
    assert_eq!(standby.get("/tepui/v1/events").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(stranger);
    assert_eq!(standby.get("/tepui/v1/events").await.status(), StatusCode::OK);
    let post = standby.send(Method::POST, "/tepui/v1/events", &[], "").await;
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_role_is_read_anew_for_each_request() {
    let fixture = Fixture::standby(None);
    assert_eq!(fixture.get("/state").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    fixture.role.send_replace(serving());
    assert_eq!(fixture.get("/state").await.status(), StatusCode::OK);
}
