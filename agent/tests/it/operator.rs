//! The operator calls of the agent and the containers that they show.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};
use tepui_agent::LogLevel;
use tepui_proto::v1::TaskState as State;
use tepui_proto::v1::agent::{Response, call::Type};
use tepui_proto::{MediaType, recordio, wire};

use crate::master::{Master, PATIENCE, shell};
use crate::rig::{Rig, lines, wait_for};

/// Posts a call as JSON; returns the status and the body.
async fn post(rig: &Rig, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (u16, Vec<u8>) {
    let mut request = rig.client.post(format!("http://{}/api/v1", rig.address)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = tokio::time::timeout(PATIENCE, request.send()).await.expect("an answer").unwrap();
    let status = response.status().as_u16();
    (status, response.bytes().await.unwrap().to_vec())
}

const JSON: (&str, &str) = ("content-type", "application/json");
const RECORDS: (&str, &str) = ("content-type", "application/recordio");

async fn ask(rig: &Rig, call: Value) -> Value {
    let (status, body) = post(rig, &[JSON], call.to_string()).await;
    assert_eq!(status, 200, "{call}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

async fn refused(rig: &Rig, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (u16, String) {
    let (status, body) = post(rig, headers, body).await;
    let text = String::from_utf8(body).unwrap();
    assert!(!text.is_empty() && !text.starts_with('{'), "reasons are plain text: {text}");
    (status, text)
}

/// An agent with one task that burns some time and runs on, in a process that left its session.
async fn with_task() -> (Master, Rig) {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    let line = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; setsid sleep 1000 & echo ready; wait";
    master.run(shell("t1", line), 1).await;
    master.update("t1", State::TaskRunning).await;
    lines(&rig.sandbox("t1").join("stdout")).await;
    (master, rig)
}

#[tokio::test]
async fn every_read_answers_in_both_encodings() {
    let (_master, rig) = with_task().await;
    let reads = [
        Type::GetHealth,
        Type::GetFlags,
        Type::GetVersion,
        Type::GetMetrics,
        Type::GetLoggingLevel,
        Type::GetState,
        Type::GetContainers,
        Type::GetFrameworks,
        Type::GetExecutors,
        Type::GetOperations,
        Type::GetTasks,
        Type::GetAgent,
        Type::GetResourceProviders,
    ];
    for read in reads {
        let name = read.as_str_name();
        let mut asked = json!({"type": name});
        if read == Type::GetMetrics {
            asked["get_metrics"] = json!({});
        }
        let answer = ask(&rig, asked).await;
        assert_eq!(answer["type"], name);
        assert!(answer[name.to_lowercase()].is_object(), "{answer}");
        let get_metrics = (read == Type::GetMetrics).then(Default::default);
        let call =
            tepui_proto::v1::agent::Call { r#type: Some(read.into()), get_metrics, ..Default::default() };
        let protobuf = MediaType::Protobuf.as_str();
        let (status, body) =
            post(&rig, &[("content-type", protobuf), ("accept", protobuf)], call.encode_to_vec()).await;
        assert_eq!(status, 200, "{name}");
        let answer: Response = wire::decode(MediaType::Protobuf, &body).unwrap();
        let answered = serde_json::to_value(&answer).unwrap();
        assert_eq!(answered["type"], name);
        assert!(answered[name.to_lowercase()].is_object(), "{answered}");
    }
    let executors = ask(&rig, json!({"type": "GET_EXECUTORS"})).await;
    let info = &executors["get_executors"]["executors"][0]["executor_info"];
    assert_eq!((info["executor_id"]["value"].as_str(), info["source"].as_str()), (Some("t1"), Some("t1")));
    let flags = ask(&rig, json!({"type": "GET_FLAGS"})).await;
    let flags = flags["get_flags"]["flags"].as_array().unwrap().clone();
    assert!(flags.contains(&json!({"name": "attributes", "value": "rack:a;zone:3"})), "{flags:?}");
    let metrics = ask(&rig, json!({"type": "GET_METRICS", "get_metrics": {}})).await;
    let metrics = metrics["get_metrics"]["metrics"].as_array().unwrap().clone();
    assert!(metrics.contains(&json!({"name": "slave/tasks_running", "value": 1.0})), "{metrics:?}");
}

#[tokio::test]
async fn containers_show_what_they_use() {
    let (_master, rig) = with_task().await;
    let found = ask(&rig, json!({"type": "GET_CONTAINERS", "get_containers": {"show_nested": true}})).await;
    let containers = found["get_containers"]["containers"].as_array().unwrap().clone();
    assert_eq!(containers.len(), 1, "{found}");
    let container = &containers[0];
    assert_eq!(container["framework_id"]["value"], "fw");
    assert_eq!(container["executor_id"]["value"], "t1");
    let status = &container["container_status"];
    assert_eq!(status["container_id"], container["container_id"]);
    assert!(status["executor_pid"].as_u64().unwrap() > 1, "{status}");
    assert_eq!(status["network_infos"][0]["ip_addresses"][0]["ip_address"], "127.0.0.1");
    let statistics = &container["resource_statistics"];
    // The supervising process, the shell, and the one that left the session.
    assert_eq!(statistics["processes"], 3, "{statistics}");
    assert!(statistics["mem_rss_bytes"].as_u64().unwrap() > 100_000, "{statistics}");
    assert!(statistics["cpus_user_time_secs"].as_f64().unwrap() > 0.0, "{statistics}");
    let plain = rig.get_json("/monitor/statistics").await;
    assert_eq!(plain[0]["executor_id"], "t1");
    assert_eq!(plain[0]["executor_name"], "Command Executor (Task: t1)");
    assert_eq!((plain[0]["framework_id"].as_str(), plain[0]["source"].as_str()), (Some("fw"), Some("t1")));
    for member in ["cpus_limit", "mem_limit_bytes", "mem_rss_bytes", "timestamp", "cpus_system_time_secs"] {
        assert!(plain[0]["statistics"][member].is_number(), "{member}: {plain}");
    }
    assert!(plain[0].get("container_id").is_none());
    let full = rig.get_json("/containers").await;
    assert_eq!(full[0]["container_id"], container["container_id"]["value"]);
    assert_eq!(full[0]["status"]["executor_pid"], status["executor_pid"]);
}

#[tokio::test]
async fn a_container_is_waited_for_and_signalled() {
    let (master, rig) = with_task().await;
    let found = ask(&rig, json!({"type": "GET_CONTAINERS"})).await;
    let id = found["get_containers"]["containers"][0]["container_id"].clone();
    let wait = json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": id}});
    let kill = |signal: i32| json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": id, "signal": signal}});
    assert_eq!(refused(&rig, &[JSON], kill(1000).to_string()).await.0, 400);
    let waiting = ask(&rig, wait.clone());
    let ending = async {
        let (status, body) = post(&rig, &[JSON], kill(15).to_string()).await;
        assert_eq!((status, body.as_slice()), (200, &b""[..]));
        master.update("t1", State::TaskFailed).await
    };
    let (waited, status) = tokio::join!(waiting, ending);
    assert!(status.message().contains("SIGTERM"), "{status:?}");
    let waited = &waited["wait_container"];
    assert_eq!(waited["state"], "TASK_FAILED");
    assert_eq!(waited["exit_status"], 15, "the raw wait status");
    assert_eq!(waited["message"], status.message());
    // The same is true when asked later.
    wait_for("the task to be forgotten", || (rig.containers() == 0).then_some(())).await;
    assert_eq!(ask(&rig, wait).await["wait_container"], *waited);
    let none = ask(&rig, json!({"type": "GET_CONTAINERS"})).await;
    assert!(none["get_containers"]["containers"].is_null(), "{none}");
    let tasks = ask(&rig, json!({"type": "GET_TASKS"})).await;
    assert_eq!(tasks["get_tasks"]["completed_tasks"][0]["task_id"]["value"], "t1");
    let frameworks = ask(&rig, json!({"type": "GET_FRAMEWORKS"})).await;
    let completed = &frameworks["get_frameworks"]["completed_frameworks"][0]["framework_info"];
    assert_eq!(completed["name"], "test", "{frameworks}");
    assert_eq!(rig.get_json("/metrics/snapshot").await["slave/tasks_failed"], 1.0);
}

#[tokio::test]
async fn streams_have_headers_of_their_own() {
    let (_master, rig) = with_task().await;
    let inner = ("message-content-type", "application/json");
    let health = r#"{"type":"GET_HEALTH"}"#;
    let output =
        r#"{"type":"ATTACH_CONTAINER_OUTPUT","attach_container_output":{"container_id":{"value":"x"}}}"#;
    let input = |body: &str| recordio::frame(body.as_bytes());
    let of = |kind: &str, id: &str| {
        let call = json!({"type": "ATTACH_CONTAINER_INPUT",
            "attach_container_input": {"type": kind, "container_id": {"value": id}}});
        recordio::frame(call.to_string().as_bytes())
    };
    let found = ask(&rig, json!({"type": "GET_CONTAINERS"})).await;
    let id = found["get_containers"]["containers"][0]["container_id"]["value"].as_str().unwrap().to_owned();
    let wants = ("accept", "application/recordio");
    let plain = ("message-accept", "application/json");
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Headers<'_>, bytes::Bytes, u16); 14] = [
        (&[RECORDS], input(health), 400),
        (&[RECORDS, ("message-content-type", "text/plain")], input(health), 415),
        (&[JSON, inner], health.into(), 415),
        (&[JSON, plain], health.into(), 406),
        (&[JSON, ("accept", "text/html")], health.into(), 406),
        (&[JSON, wants], health.into(), 406),
        (&[JSON, wants, ("message-accept", "text/html")], output.into(), 406),
        (&[RECORDS, inner], input(health), 415),
        (&[RECORDS, inner], "garbage".into(), 400),
        (&[RECORDS, inner], of("PROCESS_IO", &id), 400),
        (&[RECORDS, inner, wants, plain], of("CONTAINER_ID", "x"), 404),
        (&[RECORDS, inner, wants, plain], of("CONTAINER_ID", &id), 501),
        (&[JSON, wants, plain], output.into(), 404),
        (&[JSON], r#"{"type":"ATTACH_CONTAINER_INPUT"}"#.into(), 415),
    ];
    for (headers, body, expected) in cases {
        let (status, reason) = refused(&rig, headers, body.clone()).await;
        assert_eq!(status, expected, "{headers:?} {body:?}: {reason}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_built_is_told_apart() {
    let (_master, rig) = with_task().await;
    let id = json!({"value": "none"});
    let nested = json!({"value": "child", "parent": {"value": "none"}});
    let cases = [
        (json!({"type": "WAIT_CONTAINER"}), 400),
        (json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": {"value": ""}}}), 400),
        (json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": id}}), 404),
        (json!({"type": "WAIT_CONTAINER", "wait_container": {"container_id": nested}}), 404),
        (json!({"type": "WAIT_NESTED_CONTAINER", "wait_nested_container": {"container_id": nested}}), 404),
        (json!({"type": "KILL_CONTAINER", "kill_container": {"container_id": id}}), 404),
        (json!({"type": "KILL_NESTED_CONTAINER", "kill_nested_container": {"container_id": nested}}), 404),
        (json!({"type": "REMOVE_CONTAINER", "remove_container": {"container_id": id}}), 404),
        (json!({"type": "REMOVE_NESTED_CONTAINER"}), 400),
        (json!({"type": "LAUNCH_CONTAINER"}), 501),
        (json!({"type": "LAUNCH_NESTED_CONTAINER"}), 501),
        (json!({"type": "LAUNCH_NESTED_CONTAINER_SESSION"}), 501),
        (json!({"type": "PRUNE_IMAGES"}), 501),
        (json!({"type": "ADD_RESOURCE_PROVIDER_CONFIG"}), 501),
        (json!({"type": "MARK_RESOURCE_PROVIDER_GONE"}), 501),
        (json!({"type": "NO_SUCH_CALL"}), 400),
        (json!({"type": 1}), 400),
        (json!({"type": "SET_LOGGING_LEVEL"}), 400),
        (json!({"type": "LIST_FILES"}), 400),
        (json!({"type": "LIST_FILES", "list_files": {"path": "/nowhere"}}), 404),
        (json!({"type": "READ_FILE", "read_file": {"offset": 0}}), 400),
        (json!({"type": "GET_METRICS"}), 400),
        (json!({"type": "SET_LOGGING_LEVEL", "set_logging_level": {"level": 1}}), 400),
    ];
    for (call, expected) in cases {
        let (status, reason) = refused(&rig, &[JSON], call.to_string()).await;
        assert_eq!(status, expected, "{call}: {reason}");
    }
}

#[tokio::test]
async fn the_level_of_the_log_returns_by_itself() {
    let master = Master::start().await;
    let levels: Arc<Mutex<Vec<u32>>> = Arc::default();
    let seen = levels.clone();
    let rig = Rig::start_with(vec![master.address.clone()], |config| {
        config.log_level = Some(LogLevel::new(move |level| seen.lock().unwrap().push(level)));
    })
    .await;
    let set = |level: u32, nanoseconds: i64| {
        json!({"type": "SET_LOGGING_LEVEL",
            "set_logging_level": {"level": level, "duration": {"nanoseconds": nanoseconds}}})
    };
    let level =
        async || ask(&rig, json!({"type": "GET_LOGGING_LEVEL"})).await["get_logging_level"]["level"].clone();
    assert_eq!(refused(&rig, &[JSON], set(1, -1).to_string()).await.0, 400);
    assert_eq!(level().await, 0);
    let hour = i64::try_from(Duration::from_secs(3600).as_nanos()).unwrap();
    let (status, body) = post(&rig, &[JSON], set(2, hour).to_string()).await;
    assert_eq!((status, body.len()), (202, 0));
    assert_eq!(level().await, 2);
    assert_eq!(post(&rig, &[JSON], set(1, 1_000_000).to_string()).await.0, 202);
    wait_for("the usual level", || (levels.lock().unwrap().as_slice() == [2, 1, 0]).then_some(())).await;
    assert_eq!(level().await, 0);
    // Without a log of one's own there is nothing to change.
    let other = Rig::start(&master).await;
    assert_eq!(refused(&other, &[JSON], set(1, 1).to_string()).await.0, 501);
}
