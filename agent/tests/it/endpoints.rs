//! The agent's own endpoints.

use std::os::unix::fs::symlink;

use serde_json::json;
use tepui_proto::v1::TaskState as State;

use crate::master::{Master, shell};
use crate::rig::{Rig, lines, wait_for};

/// An agent with one task that has said `hello` and runs on.
async fn with_task() -> (Master, Rig) {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(shell("t1", "echo hello; sleep 1000"), 1).await;
    master.update("t1", State::TaskRunning).await;
    lines(&rig.sandbox("t1").join("stdout")).await;
    (master, rig)
}

#[tokio::test]
async fn the_agent_describes_itself() {
    let (_master, rig) = with_task().await;
    assert_eq!(rig.get("/health").await.0, 200);
    let version = rig.get_json("/version").await;
    assert_eq!((&version["version"], &version["git_sha"]), (&json!("1.11.0"), &json!("c0ffee")));
    for path in ["/state", "/state.json", "/slave(1)/state", "/slave%281%29/state.json", "/state/more"] {
        let state = rig.get_json(path).await;
        assert_eq!(state["id"], "master-S0");
        assert_eq!((&state["git_sha"], state.get("git_tag")), (&json!("c0ffee"), None));
        let capabilities = state["capabilities"].as_array().unwrap();
        assert!(capabilities.len() == 7 && capabilities.contains(&json!("AGENT_DRAINING")), "{state}");
        assert_eq!(state["pid"], format!("slave(1)@{}", rig.address));
        assert_eq!(state["resources"]["cpus"], 4.0);
        assert_eq!(state["resources"]["ports"], "[31000-32000]");
        assert_eq!(state["attributes"], json!({"rack": "a", "zone": 3.0}));
        assert_eq!(state["unreserved_resources"], state["resources"]);
        assert_eq!(state["reserved_resources"], json!({}));
        assert_eq!(state["unreserved_resources_full"].as_array().unwrap().len(), 4);
        assert_eq!(state["master_hostname"], "127.0.0.1");
        assert_eq!(state["flags"]["resources"], "cpus:4;mem:1024;disk:1024;ports:[31000-32000]");
        assert_eq!(state["frameworks"][0]["role"], "*");
        let executor = &state["frameworks"][0]["executors"][0];
        assert_eq!(executor["tasks"][0]["state"], "TASK_RUNNING");
        let directory = executor["directory"].as_str().unwrap();
        let file = rig.get_json(&format!("/files/read?path={directory}/stdout&offset=0")).await;
        assert_eq!(file["data"], "hello\n");
    }
    let (status, _, metrics) = rig.get("/metrics").await;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(status == 200 && metrics.contains("tepui_agent_tasks{state=\"TASK_RUNNING\"} 1"), "{metrics}");
    assert_eq!(rig.get_json("/metrics/snapshot").await["slave/tasks_running"], 1.0);
    let endpoint = std::fs::read_to_string(rig.work_dir().join("endpoint.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&endpoint).unwrap()["api"], rig.address);
}

#[tokio::test]
async fn a_refused_call_is_told_what_is_not_known() {
    let (_master, rig) = with_task().await;
    let ids = r#""framework_id":{"value":"f-9"},"executor_id":{"value":"e"}"#;
    for (path, body, named) in [
        ("/api/v1", r#"{"type":"FOO"}"#.to_owned(), "\"FOO\" is not known"),
        ("/api/v1/executor", format!(r#"{{"type":"FOO",{ids}}}"#), "\"FOO\" is not known"),
        ("/api/v1/executor", format!(r#"{{"type":"SUBSCRIBE","subscribe":{{}},{ids}}}"#), "framework f-9"),
    ] {
        let request = rig.client.post(format!("http://{}{path}", rig.address));
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        let status = response.status();
        let reason = response.text().await.unwrap();
        assert!(status == 400 && reason.contains(named), "{path}: {status} {reason}");
    }
}

#[tokio::test]
async fn the_process_tells_of_its_host_and_its_log_and_gives_help() {
    let (_master, rig) = with_task().await;
    let host = rig.get_json("/system/stats.json").await;
    for name in ["cpus_total", "avg_load_1min", "avg_load_5min", "avg_load_15min", "mem_total_bytes"] {
        assert!(host[name].is_number(), "{name}: {host}");
    }
    assert!(host["mem_free_bytes"].as_f64() <= host["mem_total_bytes"].as_f64());
    assert_eq!(rig.get("/logging/toggle").await.2, b"0\n");
    for query in ["level=1", "duration=1secs", "level=-1&duration=1secs", "level=1&duration=soon"] {
        assert_eq!(rig.get(&format!("/logging/toggle?{query}")).await.0, 400, "{query}");
    }
    let help = String::from_utf8(rig.get("/help").await.2).unwrap();
    assert!(help.contains("/slave(1)/state\n"), "{help}");
    assert_eq!(rig.get("/help/slave%281%29/state").await.0, 200);
    assert_eq!(rig.get("/help/nothing").await.0, 404);
}

#[tokio::test]
async fn sandboxes_are_read_and_nothing_else() {
    let (_master, rig) = with_task().await;
    let run = "/frameworks/fw/executors/t1/runs/latest";
    let read = |rest: &str| format!("/files/read?path={run}/{rest}");
    assert_eq!(rig.get_json(&read("stdout&offset=0&length=2")).await, json!({"data": "he", "offset": 0}));
    assert_eq!(rig.get_json(&read("stdout&offset=4")).await, json!({"data": "o\n", "offset": 4}));
    assert_eq!(rig.get_json(&read("stdout&offset=99")).await, json!({"data": "", "offset": 6}));
    assert_eq!(rig.get_json(&read("stdout&offset=-1")).await, json!({"data": "", "offset": 6}));
    let listed = rig.get_json(&format!("/files/browse?path={run}")).await;
    let names: Vec<&str> =
        listed.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(names, [format!("{run}/stderr"), format!("{run}/stdout")]);
    assert_eq!(rig.get(&format!("/files/download?path={run}/stdout")).await.2, b"hello\n");

    symlink("/etc/passwd", rig.sandbox("t1").join("leak")).unwrap();
    nix::unistd::mkfifo(&rig.sandbox("t1").join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let refused = [
        (read("none"), 404),
        (read("leak"), 404),
        (read("../../../../../../../../meta/format"), 404),
        ("/files/read?path=/etc/passwd&offset=0".to_owned(), 404),
        (format!("/files/read?path={}/meta/journal", rig.work_dir().display()), 404),
        (read(""), 400),
        (read("pipe&offset=0"), 400),
        (read("stdout&offset=-2"), 400),
        (read("stdout&offset=x"), 400),
        (read("stdout&offset=0&length=-5"), 400),
        ("/files/read".to_owned(), 400),
        (format!("/files/browse?path={run}/stdout"), 400),
        ("/files/browse?path=/frameworks/fw/none".to_owned(), 404),
        ("/tepui/v1/sandbox?framework_id=fw".to_owned(), 400),
        ("/tepui/v1/sandbox?framework_id=fw&task_id=none".to_owned(), 404),
        ("/tepui/v1/sandbox?framework_id=fw&task_id=t1&path=/etc/passwd".to_owned(), 400),
        ("/tepui/v1/sandbox?framework_id=fw&task_id=t1&path=leak".to_owned(), 404),
        ("/tepui/v1/sandbox?framework_id=..&task_id=t1".to_owned(), 400),
        ("/tepui/v1/sandbox?framework_id=fw&task_id=t1&path=../latest/stdout&offset=z".to_owned(), 400),
        ("/nothing/here".to_owned(), 404),
    ];
    for (path, expected) in refused {
        let (status, _, body) = rig.get(&path).await;
        assert_eq!(status, expected, "{path}: {}", String::from_utf8_lossy(&body));
        assert!(!body.is_empty() && !body.starts_with(b"root:"), "{path}");
    }
}

#[tokio::test]
async fn old_pages_get_their_forms() {
    let (_master, rig) = with_task().await;
    let (status, headers, body) = rig.get("/state?jsonp=angular.callbacks._0").await;
    assert_eq!((status, headers["content-type"].as_bytes()), (200, &b"text/javascript"[..]));
    let inner = body.strip_prefix(b"angular.callbacks._0(").and_then(|rest| rest.strip_suffix(b");"));
    assert!(serde_json::from_slice::<serde_json::Value>(inner.unwrap()).is_ok());
    assert_eq!(rig.get("/state?jsonp=alert(1)").await.1["content-type"], "application/json");
    // Reads do not mind how they are asked.
    for method in [reqwest::Method::POST, reqwest::Method::PUT, reqwest::Method::DELETE] {
        let request = rig.client.request(method, format!("http://{}/flags", rig.address));
        let flags: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(flags["flags"]["work_dir"], rig.folder.path().to_str().unwrap());
    }
    let debug = rig.get_json("/files/debug").await;
    let directory = rig.get_json("/state").await["frameworks"][0]["executors"][0]["directory"].clone();
    assert_eq!(debug[directory.as_str().unwrap()], directory);
    assert_eq!(rig.get("/files/read?path=/slave/log").await.0, 404);
    for name in
        ["slave/cpus_total", "slave/executors_running", "system/mem_total_bytes", "gc/path_removals_failed"]
    {
        assert!(rig.get_json("/metrics/snapshot?timeout=5secs").await[name].is_number(), "{name}");
    }
    assert_eq!(rig.get("/metrics/snapshot?timeout=soon").await.0, 400);
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_ask() {
    use std::io::Read;
    let (_master, rig) = with_task().await;
    let zeros = rig.sandbox("t1").join("zeros");
    std::fs::write(&zeros, vec![b'0'; 5000]).unwrap();
    let run = "/frameworks/fw/executors/t1/runs/latest";
    let get = async |path: String, coding: &str| {
        let request = rig.client.get(format!("http://{}{path}", rig.address));
        let response = request.header("accept-encoding", coding).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        assert_eq!(
            headers["content-length"].to_str().unwrap().parse::<usize>().unwrap(),
            response.content_length().map_or(0, |length| usize::try_from(length).unwrap())
        );
        (headers, response.bytes().await.unwrap())
    };
    let (headers, small) = get(format!("/files/read?path={run}/zeros&offset=0"), "gzip").await;
    assert_eq!(headers["content-encoding"], "gzip");
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&small[..]).read_to_string(&mut plain).unwrap();
    let (headers, whole) = get(format!("/files/read?path={run}/zeros&offset=0"), "identity").await;
    assert!(headers.get("content-encoding").is_none());
    assert!(plain.as_bytes() == whole && small.len() < 200, "{}", small.len());
    for path in ["/version".to_owned(), format!("/files/download?path={run}/zeros")] {
        assert!(get(path, "gzip").await.0.get("content-encoding").is_none());
    }
}

#[tokio::test]
async fn the_agents_log_is_read_where_it_has_a_file() {
    let master = Master::start().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("agent.log");
    std::fs::write(&log, "line\n").unwrap();
    let rig =
        Rig::start_with(vec![master.address.clone()], |config| config.log_file = Some(log.clone())).await;
    let read = rig.get_json("/files/read?path=/slave/log&offset=0").await;
    assert_eq!(read, json!({"data": "line\n", "offset": 0}));
    assert_eq!(rig.get("/files/read?path=/slave/log/x&offset=0").await.0, 404);
    assert_eq!(rig.get_json("/files/debug").await["/slave/log"], log.to_str().unwrap());
    assert_eq!(rig.get_json("/state").await["log_dir"], folder.path().to_str().unwrap());
}

#[tokio::test]
async fn a_reader_can_follow_a_task_to_its_end() {
    let (master, rig) = with_task().await;
    let path = "/tepui/v1/sandbox?framework_id=fw&task_id=t1&offset=1&length=3";
    let (status, headers, body) = rig.get(path).await;
    assert_eq!((status, body.as_slice()), (200, b"ell".as_slice()));
    assert_eq!(
        (headers["tepui-file-size"].as_bytes(), headers["tepui-task-ended"].as_bytes()),
        (&b"6"[..], &b"false"[..])
    );
    master.kill("t1", 0).await;
    master.update("t1", State::TaskKilled).await;
    wait_for("the task to be forgotten", || (rig.containers() == 0).then_some(())).await;
    let (status, headers, body) = rig.get("/tepui/v1/sandbox?framework_id=fw&task_id=t1&path=stdout").await;
    assert_eq!((status, body.as_slice()), (200, b"hello\n".as_slice()));
    assert_eq!(headers["tepui-task-ended"], "true");
}

#[tokio::test]
async fn operator_calls_follow_the_rules_of_the_protocol() {
    let (_master, rig) = with_task().await;
    let url = format!("http://{}/api/v1", rig.address);
    let post = |content_type: &'static str, body: &str| {
        rig.client.post(&url).header("content-type", content_type).body(body.to_owned()).send()
    };
    let ask = async |body: serde_json::Value| {
        let response = post("application/json", &body.to_string()).await.unwrap();
        assert_eq!(response.status(), 200, "{body}");
        serde_json::from_slice::<serde_json::Value>(&response.bytes().await.unwrap()).unwrap()
    };
    assert_eq!(ask(json!({"type": "GET_HEALTH"})).await["get_health"]["healthy"], true);
    let tasks = ask(json!({"type": "GET_TASKS"})).await;
    assert_eq!(tasks["get_tasks"]["launched_tasks"][0]["task_id"]["value"], "t1");
    let state = ask(json!({"type": "GET_STATE"})).await;
    assert_eq!(state["get_state"]["get_frameworks"]["frameworks"][0]["framework_info"]["id"]["value"], "fw");
    assert_eq!(
        ask(json!({"type": "GET_AGENT"})).await["get_agent"]["agent_info"]["id"]["value"],
        "master-S0"
    );
    let run = "/frameworks/fw/executors/t1/runs/latest";
    let read = json!({"type": "READ_FILE", "read_file": {"path": format!("{run}/stdout"), "offset": 1}});
    let read = ask(read).await;
    assert_eq!(read["read_file"], json!({"size": 6, "data": "ZWxsbwo="}));
    let listed = ask(json!({"type": "LIST_FILES", "list_files": {"path": run}})).await;
    assert_eq!(listed["list_files"]["file_infos"].as_array().unwrap().len(), 2);

    let refused = [
        ("application/json", "{", 400),
        ("application/json", "{}", 400),
        ("application/json", r#"{"type":"READ_FILE"}"#, 400),
        ("application/json", r#"{"type":"READ_FILE","read_file":{"path":"/etc/passwd","offset":0}}"#, 404),
        ("application/json", r#"{"type":"LAUNCH_CONTAINER"}"#, 501),
        ("text/plain", r#"{"type":"GET_HEALTH"}"#, 415),
    ];
    for (content_type, body, expected) in refused {
        assert_eq!(post(content_type, body).await.unwrap().status(), expected, "{body}");
    }
    assert_eq!(rig.client.get(&url).send().await.unwrap().status(), 405);
    let none = rig.client.post(&url).body("{}").send().await.unwrap();
    assert_eq!(none.status(), 400);
}
