//! Answers as long as a cluster is big: written while they are sent, whole in either encoding, filtered, tagged, and proven to be current.

use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;
use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use prost::Message as _;
use serde_json::Value;
use tepui_proto::v1::{self, TaskState, master};
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::ids::TaskKey;
use tepui_scheduler_core::registry::{AgentRecord, FrameworkRecord, TaskRecord};

use super::fixture::{Fixture, json, text};
use crate::view;

const AGENTS: usize = 40;
const FRAMEWORKS: usize = 6;
/// Per framework; enough for an answer that is not written on the spot.
const TASKS: usize = 400;

fn id<T: Into<String>>(value: T) -> Option<String> {
    Some(value.into())
}

fn task(framework: &str, number: usize, state: TaskState) -> Arc<TaskRecord> {
    let agent = format!("a-{}", number % AGENTS);
    let scalar = |name: &str, value| v1::Resource {
        name: id(name),
        r#type: Some(v1::value::Type::Scalar as i32),
        scalar: Some(v1::value::Scalar { value: Some(value) }),
        ..Default::default()
    };
    let status = v1::TaskStatus {
        task_id: Some(v1::TaskId { value: id(format!("t-{number}")) }),
        state: Some(state as i32),
        timestamp: Some(number as f64),
        ..Default::default()
    };
    let task = v1::Task {
        name: id(format!("täsk {number}")),
        task_id: Some(v1::TaskId { value: id(format!("t-{number}")) }),
        framework_id: Some(v1::FrameworkId { value: id(framework) }),
        agent_id: Some(v1::AgentId { value: id(agent) }),
        state: Some(state as i32),
        resources: vec![scalar("cpus", 0.1), scalar("mem", 32.0)],
        ..Default::default()
    };
    let unreachable_wall_ms = (number % 7 == 3).then_some(5);
    Arc::new(TaskRecord {
        task: Some(task),
        last_status: Some(status),
        unreachable_wall_ms,
        ..Default::default()
    })
}

fn big() -> Registry {
    let mut registry = Registry { epoch: 3, ..Default::default() };
    for number in 0..AGENTS {
        let name = format!("a-{number}");
        let info = v1::AgentInfo {
            id: Some(v1::AgentId { value: id(name.as_str()) }),
            hostname: id("h"),
            ..Default::default()
        };
        // One in four has not come back yet.
        let connected_epoch = if number % 4 == 0 { 2 } else { 3 };
        let record = AgentRecord { info: Some(info), connected_epoch, ..Default::default() };
        registry.agents.insert(name.into(), Arc::new(record));
    }
    for number in 0..FRAMEWORKS {
        let name = format!("f-{number}");
        let info = v1::FrameworkInfo {
            user: id("u"),
            name: id("n"),
            id: Some(v1::FrameworkId { value: id(name.as_str()) }),
            ..Default::default()
        };
        let record = FrameworkRecord { info: Some(info), connected_epoch: 3, ..Default::default() };
        registry.frameworks.insert(name.as_str().into(), Arc::new(record));
        for task_number in 0..TASKS {
            let key = TaskKey::new(name.as_str(), format!("t-{task_number}"));
            registry.tasks.insert(key, task(&name, task_number, TaskState::TaskRunning));
        }
        let ended = (TASKS..2 * TASKS).map(|number| task(&name, number, TaskState::TaskFinished));
        registry.history.insert(name.as_str().into(), ended.collect());
    }
    registry
}

fn leading() -> Fixture {
    let leading = Fixture::leading();
    leading.publish(big());
    leading
}

fn count(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn the_whole_state_arrives_packed_or_not() {
    let leading = leading();
    let answer = leading.get("/state").await;
    assert!(
        !answer.headers().contains_key("content-length")
            && !answer.headers().contains_key("content-encoding")
    );
    assert_eq!(answer.headers()["content-type"], "application/json");
    let plain = text(answer).await;
    assert!(plain.is_ascii());
    let state: Value = serde_json::from_str(&plain).unwrap();
    assert_eq!((count(&state["slaves"]), count(&state["recovered_slaves"])), (30, 10));
    assert_eq!(
        (state["activated_slaves"].clone(), state["deactivated_slaves"].clone()),
        (30.into(), 0.into())
    );
    let framework = &state["frameworks"][2];
    let lists = ["tasks", "unreachable_tasks", "completed_tasks"].map(|list| count(&framework[list]));
    assert_eq!(lists, [343, 57, 343 + 57]);
    assert_eq!(framework["tasks"][0]["resources"]["cpus"], 0.1);
    assert_eq!(framework["tasks"][0]["resources"]["gpus"], 0.0);

    let packed = leading.send(Method::GET, "/state?jsonp=f", &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    assert_eq!(packed.headers()["x-content-type-options"], "nosniff");
    let packed = packed.into_body().collect().await.unwrap().to_bytes();
    let mut unpacked = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut unpacked).unwrap();
    assert!(unpacked == format!("f({plain});"), "{} bytes of {}", unpacked.len(), plain.len());
}

#[tokio::test]
async fn a_filter_leaves_out_what_is_not_asked_for() {
    let leading = leading();
    let state = json(leading.get("/state?framework_id=f-1&slave_id=a-5&slave_id=a-8").await).await;
    assert_eq!((count(&state["slaves"]), count(&state["recovered_slaves"])), (1, 1));
    assert_eq!(count(&state["frameworks"]), 1);
    let tasks = state["frameworks"][0]["tasks"].as_array().unwrap();
    assert!(
        !tasks.is_empty()
            && tasks.iter().all(|task| ["a-5", "a-8"].contains(&task["slave_id"].as_str().unwrap()))
    );
    let tasks = r#"{"type":"GET_TASKS"}"#;
    let some = json(leading.post_json("/api/v1?framework_id=f-1&agent_id=a-5", tasks).await).await;
    assert_eq!(
        count(&some["get_tasks"]["tasks"]) + count(&some["get_tasks"]["unreachable_tasks"]),
        TASKS / AGENTS
    );
    let none = json(leading.post_json("/api/v1?framework_id=nobody", tasks).await).await;
    assert_eq!(none["get_tasks"], serde_json::json!({}), "lists with nothing in them are left out");
    let agents = json(leading.post_json("/api/v1?agent_id=a-4", r#"{"type":"GET_AGENTS"}"#).await).await;
    assert_eq!(
        (count(&agents["get_agents"]["agents"]), count(&agents["get_agents"]["recovered_agents"])),
        (0, 1)
    );
}

#[tokio::test]
async fn both_encodings_of_a_long_read_are_the_message_that_a_short_one_would_be() {
    let leading = leading();
    let registry = big();
    let whole = |kind: master::response::Type| {
        use master::response::Type;
        let mut message = master::Response { r#type: Some(kind as i32), ..Default::default() };
        match kind {
            Type::GetTasks => message.get_tasks = Some(view::tasks::get_tasks(&registry)),
            Type::GetAgents => message.get_agents = Some(view::agents::get_agents(&registry, None)),
            Type::GetFrameworks => {
                message.get_frameworks = Some(view::frameworks::get_frameworks(&registry, None))
            }
            _ => message.get_state = Some(view::get_state(&registry, None)),
        }
        message
    };
    use master::response::Type;
    for kind in [Type::GetState, Type::GetTasks, Type::GetAgents, Type::GetFrameworks] {
        let (expected, call) = (whole(kind), format!(r#"{{"type":"{}"}}"#, kind.as_str_name()));
        let shown = json(leading.post_json("/api/v1", &call).await).await;
        let told: Value =
            serde_json::from_slice(&tepui_proto::wire::encode(tepui_proto::MediaType::Json, &expected))
                .unwrap();
        assert!(shown == told, "{kind:?} in JSON");
        let headers = [("content-type", "application/json"), ("accept", "application/x-protobuf")];
        let answer = leading.send(Method::POST, "/api/v1", &headers, call).await;
        assert_eq!(answer.headers()["content-type"], "application/x-protobuf");
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(master::Response::decode(bytes).unwrap() == expected, "{kind:?} in protobuf");
    }
}

#[tokio::test]
async fn whoever_has_it_is_not_sent_it_again() {
    let leading = leading();
    let first = leading.get("/state").await;
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(first.headers()["cache-control"], "no-cache");
    drop(text(first).await);
    let known = [("if-none-match", tag.as_str())];
    let again = leading.send(Method::GET, "/state", &known, "").await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(again.headers()["etag"], tag);
    assert_eq!(again.headers()["tepui-applied-index"], "42");
    assert_eq!(again.headers()["tepui-applied-age-ms"], "7");
    assert_eq!(text(again).await, "");

    let local = tepui_scheduler_core::LocalView { serving: true, ..Default::default() };
    leading.board.publish_local(Some(local.clone()));
    let changed = leading.send(Method::GET, "/state", &known, "").await;
    assert_eq!(changed.status(), StatusCode::OK);
    let tag = changed.headers()["etag"].to_str().unwrap().to_owned();
    drop(text(changed).await);
    leading.board.publish_local(Some(local));
    let same = leading.send(Method::GET, "/state", &[("if-none-match", &tag)], "").await;
    assert_eq!(same.status(), StatusCode::NOT_MODIFIED, "the event loop published what was there before");
    let numbers = leading.send(Method::GET, "/metrics/snapshot", &[("if-none-match", "*")], "").await;
    assert_eq!(numbers.status(), StatusCode::OK);
    assert!(!numbers.headers().contains_key("etag"));
}

#[tokio::test]
async fn a_proof_is_given_by_any_master_or_the_read_is_refused() {
    let standby = Fixture::standby(Some("b:2"));
    let get = r#"{"type":"STATE_GET","state_get":{"scope":"job","key":"stream"}}"#;
    let reads = [
        ("/state?tepui_read=local&consistent=true", None),
        ("/weights?consistent=true&tepui_read=local", None),
        ("/api/v1?tepui_read=local&consistent=true", Some(r#"{"type":"GET_AGENTS"}"#)),
        ("/tepui/v1/operator?consistent=true", Some(r#"{"type":"GET_DRIVERS"}"#)),
        ("/tepui/v1/operator?consistent=true", Some(get)),
    ];
    for (proven, status) in [(true, StatusCode::OK), (false, StatusCode::SERVICE_UNAVAILABLE)] {
        standby.current.send_replace(proven);
        for (path, body) in reads {
            let answer = match body {
                Some(body) => standby.post_json(path, body).await,
                None => standby.get(path).await,
            };
            assert_eq!(answer.status(), status, "{path} {body:?}");
        }
        assert_eq!(standby.get("/state?tepui_read=local").await.status(), StatusCode::OK, "needs no proof");
        assert_eq!(standby.get("/state?consistent=true").await.status(), StatusCode::TEMPORARY_REDIRECT);
    }
}

#[tokio::test]
async fn too_many_long_answers_at_once_are_refused() {
    let leading = leading();
    let (_first, second) = (leading.get("/state").await, leading.get("/state").await);
    let third = leading.get("/state").await;
    assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(third.headers()["retry-after"], "1");
    let numbers = leading.get("/metrics/snapshot").await;
    assert_eq!(numbers.status(), StatusCode::OK, "numbers come all the same");
    drop(second);
    while leading.get("/state").await.status() != StatusCode::OK {
        tokio::task::yield_now().await;
    }
}
