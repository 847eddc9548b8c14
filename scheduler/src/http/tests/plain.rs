//! The plain endpoints and what concerns the process alone: files, the log's level, metrics.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::Value;
use tepui_proto::v1;
use tepui_scheduler_core::Registry;
use tepui_scheduler_core::ids::TaskKey;
use tepui_scheduler_core::registry::{AgentRecord, FrameworkRecord, TaskRecord};

use super::fixture::{Fixture, json, text};

/// One framework in a nested role with one running task on one agent.
pub(super) fn registry() -> Registry {
    let id = |value: &str| Some(v1::FrameworkId { value: Some(value.into()) });
    let agent_id = Some(v1::AgentId { value: Some("a-1".into()) });
    let framework = FrameworkRecord {
        info: Some(v1::FrameworkInfo {
            id: id("f-1"),
            name: Some("shown".into()),
            role: Some("eng/web".into()),
            ..Default::default()
        }),
        connected_epoch: 1,
        ..Default::default()
    };
    let agent = AgentRecord {
        info: Some(v1::AgentInfo {
            id: agent_id.clone(),
            hostname: Some("h".into()),
            resources: vec![v1::Resource {
                name: Some("cpus".into()),
                r#type: Some(v1::value::Type::Scalar as i32),
                scalar: Some(v1::value::Scalar { value: Some(4.0) }),
                ..Default::default()
            }],
            ..Default::default()
        }),
        connected_epoch: 1,
        ..Default::default()
    };
    let task = TaskRecord {
        task: Some(v1::Task {
            framework_id: id("f-1"),
            task_id: Some(v1::TaskId { value: Some("t".into()) }),
            agent_id,
            state: Some(v1::TaskState::TaskRunning as i32),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut registry = Registry { epoch: 1, ..Default::default() };
    registry.frameworks.insert("f-1".into(), Arc::new(framework));
    registry.agents.insert("a-1".into(), Arc::new(agent));
    registry.tasks.insert(TaskKey::new("f-1", "t"), Arc::new(task));
    registry
}

async fn operator(fixture: &Fixture, body: &str) -> Value {
    let answer = fixture.post_json("/api/v1", body).await;
    assert_eq!(answer.status(), StatusCode::OK, "{body}");
    json(answer).await
}

#[tokio::test]
async fn a_summary_counts_tasks_instead_of_listing_them() {
    let leader = Fixture::leading();
    leader.publish(registry());
    let summary = json(leader.get("/master/state-summary").await).await;
    let (agent, framework) = (&summary["slaves"][0], &summary["frameworks"][0]);
    for one in [agent, framework] {
        assert_eq!(one["TASK_RUNNING"], 1, "{one}");
        assert_eq!(one["TASK_FAILED"], 0, "{one}");
        assert!(one.get("tasks").is_none());
    }
    assert_eq!(agent["framework_ids"], serde_json::json!(["f-1"]));
    assert_eq!(framework["slave_ids"], serde_json::json!(["a-1"]));
    assert_eq!((&agent["resources"]["cpus"], &framework["name"]), (&4.0.into(), &"shown".into()));
    assert_eq!(agent["active"], true);
}

#[tokio::test]
async fn roles_are_shown_with_all_above_them() {
    let leader = Fixture::leading();
    leader.publish(registry());
    let roles = json(leader.get("/roles").await).await;
    let names: Vec<_> = roles["roles"].as_array().unwrap().iter().map(|role| role["name"].clone()).collect();
    assert_eq!(names, ["eng", "eng/web"]);
    let quota = &roles["roles"][0]["quota"];
    assert_eq!(quota["role"], roles["roles"][0]["name"]);
    assert!(
        quota["guarantee"].is_object() && quota["limit"].is_object() && quota["consumed"]["cpus"].is_number()
    );
    let asked = operator(&leader, r#"{"type":"GET_ROLES"}"#).await;
    assert_eq!(asked["get_roles"]["roles"][1]["frameworks"][0]["value"], "f-1");
    assert_eq!(asked["get_roles"]["roles"][0]["weight"], 1.0);
}

#[tokio::test]
async fn agents_are_shown_with_whole_resources_and_chosen_by_id() {
    let leader = Fixture::leading();
    leader.publish(registry());
    let agents = json(leader.get("/slaves?slave_id=a-1").await).await;
    let agent = &agents["slaves"][0];
    assert_eq!(agent["unreserved_resources_full"][0]["role"], "*", "{agent}");
    assert!(agent["reserved_resources_full"].is_object() && agent["used_resources_full"].is_array());
    assert!(agent["capabilities"].as_array().unwrap().contains(&"MULTI_ROLE".into()));
    let none = json(leader.get("/slaves?slave_id=a-2").await).await;
    assert_eq!(none["slaves"], serde_json::json!([]));
    let state = json(leader.get("/state").await).await;
    let version = json(leader.get("/version").await).await;
    let asked = operator(&leader, r#"{"type":"GET_VERSION"}"#).await;
    for told in [&state, &version, &asked["get_version"]["version_info"]] {
        assert_eq!((&told["git_sha"], told.get("git_tag")), (&"c0ffee".into(), None), "{told}");
    }
    assert!(state["slaves"][0].get("unreserved_resources_full").is_none(), "/state is long enough");
}

#[tokio::test]
async fn the_log_and_nothing_else_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("master.log");
    std::fs::write(&file, "0123456789").unwrap();
    let leader = Fixture::logging(file.clone());

    let read =
        async |query: &str| json(leader.get(&format!("/files/read?path=/master/log{query}")).await).await;
    assert_eq!(read("&offset=2&length=3").await, serde_json::json!({ "data": "234", "offset": 2 }));
    assert_eq!(read("&offset=-1").await, serde_json::json!({ "data": "", "offset": 10 }));
    assert_eq!(read("&offset=99").await, serde_json::json!({ "data": "", "offset": 10 }));
    assert_eq!(read("&offset=4&length=-1").await["data"], "456789");
    let listed = json(leader.get("/files/browse?path=/master/log").await).await;
    assert_eq!((&listed[0]["path"], &listed[0]["size"]), (&"/master/log".into(), &10.into()));
    let known = json(leader.get("/files/debug").await).await;
    assert_eq!(known["/master/log"], file.display().to_string());
    let whole = leader.get("/master/files/download.json?path=/master/log").await;
    assert_eq!(whole.headers()["content-type"], "application/octet-stream");
    assert_eq!(text(whole).await, "0123456789");
    for (path, status) in [
        ("/files/read?path=/etc/passwd", 404),
        ("/files/read?path=/master/log/../../etc/passwd", 404),
        ("/files/browse?path=/master", 404),
        ("/files/download?path=/", 404),
        ("/files/read", 400),
        ("/files/read?path=", 400),
        ("/files/read?path=/master/log&offset=x", 400),
        ("/files/read?path=/master/log&offset=-2", 400),
        ("/files/read?path=/master/log&length=-2&offset=0", 400),
    ] {
        assert_eq!(leader.get(path).await.status().as_u16(), status, "{path}");
    }

    let body = r#"{"type":"READ_FILE","read_file":{"path":"/master/log","offset":8,"length":9}}"#;
    let part = operator(&leader, body).await;
    assert_eq!(part["read_file"], serde_json::json!({ "size": 10, "data": "ODk=" }));
    let listed = operator(&leader, r#"{"type":"LIST_FILES","list_files":{"path":"/master/log"}}"#).await;
    assert_eq!(listed["list_files"]["file_infos"][0]["size"], 10);
    let other = r#"{"type":"LIST_FILES","list_files":{"path":"/x"}}"#;
    assert_eq!(leader.post_json("/api/v1", other).await.status().as_u16(), 404);
    let none = Fixture::leading();
    assert_eq!(none.get("/files/read?path=/master/log").await.status().as_u16(), 404);
}

#[tokio::test]
async fn the_level_of_the_log_can_be_raised() {
    let leader = Fixture::leading();
    let level = async || {
        operator(&leader, r#"{"type":"GET_LOGGING_LEVEL"}"#).await["get_logging_level"]["level"].clone()
    };
    assert_eq!(level().await, 0);
    let set = r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":2,"duration":{"nanoseconds":60000000000}}}"#;
    let answer = leader.post_json("/api/v1", set).await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert!(!answer.headers().contains_key("content-type"));
    assert_eq!(level().await, 2);
    for wrong in [
        r#"{"type":"SET_LOGGING_LEVEL"}"#,
        r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":2}}"#,
        r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":2,"duration":{"nanoseconds":-1}}}"#,
    ] {
        assert_eq!(leader.post_json("/api/v1", wrong).await.status().as_u16(), 400, "{wrong}");
    }
}

#[tokio::test]
async fn metrics_have_the_names_that_dashboards_ask_for() {
    let leader = Fixture::leading();
    leader.publish(registry());
    let numbers = json(leader.get("/metrics/snapshot?timeout=10secs").await).await;
    for (name, number) in [
        ("master/elected", 1.0),
        ("master/cpus_total", 4.0),
        ("master/cpus_revocable_total", 0.0),
        ("master/gpus_percent", 0.0),
        ("master/slaves_active", 1.0),
        ("master/frameworks_active", 1.0),
        ("master/tasks_running", 1.0),
        ("master/tasks_gone_by_operator", 0.0),
        ("master/messages_launch_tasks", 0.0),
        ("master/slave_removals/reason_unhealthy", 0.0),
        ("master/operator_event_stream_subscribers", 0.0),
        ("master/event_queue_http_requests", 0.0),
        ("registrar/log/ensemble_size", 1.0),
        ("allocator/mesos/resources/cpus/total", 4.0),
        ("allocator/mesos/roles/eng/web/shares/dominant", 0.0),
        ("master/frameworks/shown/f-1/subscribed", 1.0),
        ("master/frameworks/shown/f-1/tasks/active/task_running", 1.0),
    ] {
        assert_eq!(numbers[name].as_f64(), Some(number), "{name}");
    }
    assert!(numbers["system/cpus_total"].as_f64() > Some(0.0));
    assert_eq!(leader.get("/metrics/snapshot?timeout=soon").await.status().as_u16(), 400);
    let asked =
        operator(&leader, r#"{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":1}}}"#).await;
    let listed = asked["get_metrics"]["metrics"].as_array().unwrap();
    assert_eq!(listed.len(), numbers.as_object().unwrap().len());
    let bare = leader.post_json("/api/v1", r#"{"type":"GET_METRICS"}"#).await;
    assert_eq!(bare.status().as_u16(), 400, "the member must be there, though nothing in it must");
}

#[tokio::test]
async fn calls_are_counted() {
    let mut leader = Fixture::leading();
    let mut messages = std::mem::replace(&mut leader.messages, tokio::sync::mpsc::channel(1).1);
    let call = r#"{"type":"REVIVE","framework_id":{"value":"f"}}"#;
    let (answer, ()) = tokio::join!(leader.post_json("/api/v1/scheduler", call), async {
        let Some(crate::runtime::handle::Message::Call { reply, .. }) = messages.recv().await else {
            panic!("no call")
        };
        reply.send(tepui_scheduler_core::Reply::Accepted).unwrap();
    });
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let numbers = json(leader.get("/metrics/snapshot").await).await;
    assert_eq!(numbers["master/messages_revive_offers"], 1.0);
    let wrong = leader.send(
        Method::POST,
        "/api/v1",
        &[("content-type", "application/json")],
        r#"{"type":"UNKNOWN"}"#,
    );
    assert_eq!(wrong.await.status().as_u16(), 501);
}

#[tokio::test]
async fn tasks_come_by_their_first_status_and_one_without_any_is_the_oldest() {
    let mut registry = Registry { epoch: 1, ..Registry::default() };
    let framework = FrameworkRecord {
        info: Some(v1::FrameworkInfo {
            id: Some(v1::FrameworkId { value: Some("f".into()) }),
            ..Default::default()
        }),
        ..Default::default()
    };
    registry.frameworks.insert("f".into(), Arc::new(framework));
    for (name, times) in [("a", vec![5.0, 90.0]), ("b", vec![7.0]), ("c", vec![])] {
        let status = |time: f64| v1::TaskStatus { timestamp: Some(time), ..Default::default() };
        let statuses: Vec<_> = times.into_iter().map(status).collect();
        let record = TaskRecord {
            last_status: statuses.last().cloned(),
            task: Some(v1::Task {
                task_id: Some(v1::TaskId { value: Some(name.into()) }),
                framework_id: Some(v1::FrameworkId { value: Some("f".into()) }),
                statuses,
                ..Default::default()
            }),
            ..Default::default()
        };
        registry.tasks.insert(TaskKey::new("f", name), Arc::new(record));
    }
    let leader = Fixture::leading();
    leader.publish(registry);
    for (query, expected) in [
        ("", vec!["b", "a", "c"]),
        ("?order=asc", vec!["c", "a", "b"]),
        ("?order=des&limit=1", vec!["b"]),
        ("?limit=1&offset=1", vec!["a"]),
        ("?offset=3", vec![]),
        ("?limit=nonsense&order=nonsense", vec!["b", "a", "c"]),
        ("?task_id=c", vec!["c"]),
        ("?framework_id=other", vec![]),
        ("?limit=1000000", vec!["b", "a", "c"]),
    ] {
        for path in ["/tasks", "/master/tasks.json"] {
            let shown = json(leader.get(&format!("{path}{query}")).await).await;
            let ids: Vec<_> =
                shown["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect();
            assert_eq!(ids, expected, "{path}{query}");
        }
    }
}

/// Reads of Mesos take any method, all but one; changes name what they take.
#[tokio::test]
async fn methods_are_refused_with_those_that_are_allowed() {
    let leader = Fixture::leading();
    leader.publish(Registry::default());
    let reads = [
        "/state",
        "/state-summary",
        "/slaves/some-agent",
        "/frameworks",
        "/tasks",
        "/roles",
        "/flags",
        "/version",
        "/health",
        "/metrics/snapshot",
    ];
    for path in reads {
        for method in [Method::GET, Method::POST, Method::PUT] {
            let answer = leader.send(method.clone(), path, &[], "").await;
            assert_eq!(answer.status(), StatusCode::OK, "{method} {path}");
        }
    }
    for (path, allowed) in [
        ("/maintenance/status", "GET"),
        ("/maintenance/schedule", "GET, POST"),
        ("/machine/down", "POST"),
        ("/machine/up", "POST"),
        ("/teardown", "POST"),
        ("/reserve", "POST"),
        ("/unreserve", "POST"),
        ("/create-volumes", "POST"),
        ("/destroy-volumes", "POST"),
        ("/weights", "GET, PUT"),
        ("/quota", "GET, POST, DELETE"),
        ("/quota/role", "GET, POST, DELETE"),
        ("/api/v1", "POST"),
        ("/api/v1/scheduler", "POST"),
    ] {
        for prefix in ["", "/master"] {
            let answer = leader.send(Method::PATCH, &format!("{prefix}{path}"), &[], "").await;
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert_eq!(answer.headers()["allow"], allowed, "{path}");
        }
    }
    for path in ["/nothing", "/master/nothing", "/api/v2", "/statex", "/redirect/x"] {
        assert_eq!(leader.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

/// Both a framework that knows several roles and one that does not: operators see the whole offer.
#[tokio::test]
async fn frameworks_are_shown_with_offers_inverse_offers_executors_and_constraints() {
    use tepui_scheduler_core::testing::{Harness, executor_task, framework_info};
    use tepui_scheduler_core::{FleetCall, OperatorCall};
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:4;mem:1024");
    let mut info = framework_info("f");
    info.role = Some("web".to_owned());
    let peer = harness.framework_with(info);
    let offer = harness.offer(&peer);
    assert!(offer.allocation_info.is_none(), "it does not know of several roles");
    harness.accept(&peer, &[&offer], vec![executor_task("t", "cpus:1;mem:64", "e", "cpus:1;mem:32")]);
    harness.take_launch(&mut agent);
    harness.advance(100);
    let machine = v1::MachineId { hostname: agent.info.hostname.clone(), ip: None };
    let window = v1::maintenance::Window {
        machine_ids: vec![machine],
        unavailability: Some(v1::Unavailability {
            start: Some(v1::TimeInfo { nanoseconds: Some(1) }),
            duration: None,
        }),
    };
    let schedule = v1::maintenance::Schedule { windows: vec![window] };
    harness.operator(OperatorCall::Fleet(FleetCall::UpdateSchedule(schedule)), None);
    harness.advance(1_000);
    let leader = Fixture::leading();
    leader.publish(harness.registry.clone());
    leader.board.publish_local(Some(harness.master.local_view()));
    let call = r#"{"type":"GET_FRAMEWORKS"}"#;
    let answer = json(leader.post_json("/api/v1", call).await).await;
    let all = answer["get_frameworks"]["frameworks"].as_array().unwrap();
    let shown = all.iter().find(|one| one["framework_info"]["name"] == "f").unwrap();
    let of_web = |list: &serde_json::Value| {
        let list = list.as_array().unwrap();
        !list.is_empty() && list.iter().all(|one| one["allocation_info"]["role"] == "web")
    };
    for list in ["offers", "offered_resources", "allocated_resources"] {
        assert!(of_web(&shown[list]), "{list}: {shown}");
    }
    assert_eq!(shown["inverse_offers"].as_array().unwrap().len(), 1, "{shown}");
    assert_eq!(shown["inverse_offers"][0]["agent_id"]["value"], agent.id.as_str());
    for (field, value) in [("active", true), ("connected", true), ("recovered", false)] {
        assert_eq!(shown[field], value, "{field}");
    }
    let state = json(leader.get("/state").await).await;
    let plain = json(leader.get(&format!("/frameworks?framework_id={}", peer.id)).await).await;
    let in_state = state["frameworks"].as_array().unwrap().iter().find(|one| one["name"] == "f").unwrap();
    assert_eq!(in_state, &plain["frameworks"][0]);
    assert_eq!(plain["frameworks"].as_array().unwrap().len(), 1);
    assert_eq!(in_state["offers"][0]["allocation_info"]["role"], "web");
    assert!(in_state["offer_constraints"].is_object());
    let executor = &in_state["executors"][0];
    assert_eq!((&executor["executor_id"], &executor["slave_id"]), (&"e".into(), &agent.id.as_str().into()));
    assert!(executor["command"]["argv"].is_array() && executor["resources"]["cpus"] == 1.0, "{executor}");
    let roles = json(leader.get("/roles").await).await;
    let web = roles["roles"].as_array().unwrap().iter().find(|one| one["name"] == "web").unwrap().clone();
    assert!(web["offered"]["cpus"].as_f64() > Some(0.0), "what is offered to it counts for its role: {web}");
}
