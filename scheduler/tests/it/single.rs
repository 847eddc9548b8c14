//! One real master in this process: a cluster of one voter, spoken to over real connections.

use crate::support::{Client, LONG, Records, serving};
use serde_json::Value;
use tepui_scheduler::{Config, Server};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const SUBSCRIBE: &str = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"test","failover_timeout":60.0}}}"#;

fn config(dir: &std::path::Path) -> Config {
    let mut config = Config::new(1, dir);
    config.port = 0;
    config.peer_port = 0;
    config.bootstrap = true;
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_framework_subscribes_and_comes_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(config(dir.path())).await.unwrap();
    serving(&[&server]).await;
    let endpoint: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("endpoint.json")).unwrap()).unwrap();
    assert_eq!(endpoint["api"], server.addresses().api.to_string());
    assert_eq!(endpoint["pid"], std::process::id());

    let mut client = Client::new(server.addresses().api);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut running = JoinSet::new();
    running.spawn(server.run_until(async {
        stopped.await.unwrap();
    }));

    let mut operator = Records::of(client.post("/api/v1", &[], r#"{"type":"SUBSCRIBE"}"#).await);
    assert_eq!(operator.next().await.unwrap()["type"], "SUBSCRIBED");
    assert_eq!(operator.next().await.unwrap()["type"], "HEARTBEAT");

    let answer = client.post("/api/v1/scheduler", &[], SUBSCRIBE).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["transfer-encoding"], "chunked");
    let stream_id = answer.headers()["mesos-stream-id"].to_str().unwrap().to_owned();
    let mut events = Records::of(answer);
    let subscribed = events.next().await.unwrap();
    assert_eq!(subscribed["type"], "SUBSCRIBED");
    assert_eq!(events.next().await.unwrap()["type"], "HEARTBEAT");
    let id = subscribed["subscribed"]["framework_id"]["value"].as_str().unwrap().to_owned();
    assert!(id.ends_with("-0000"), "{id}");
    let added = operator.until("FRAMEWORK_ADDED").await;
    assert_eq!(added["framework_added"]["framework"]["framework_info"]["id"]["value"], id.as_str());

    let call = format!(r#"{{"type":"SUPPRESS","framework_id":{{"value":"{id}"}}}}"#);
    for (stream, status) in [(None, 400), (Some("other"), 400), (Some(stream_id.as_str()), 202)] {
        let headers: Vec<_> = stream.map(|stream| ("mesos-stream-id", stream)).into_iter().collect();
        assert_eq!(client.post("/api/v1/scheduler", &headers, &call).await.status(), status, "{stream:?}");
    }
    let frameworks = client.json("/api/v1", r#"{"type":"GET_FRAMEWORKS"}"#).await;
    assert_eq!(frameworks["get_frameworks"]["frameworks"][0]["connected"], true);
    let raft = client.json("/tepui/v1/operator", r#"{"type":"GET_RAFT"}"#).await;
    assert_eq!(raft["get_raft"]["role"], "leader");
    let absent = client
        .json("/tepui/v1/operator", r#"{"type":"STATE_GET","state_get":{"scope":"a","key":"b"}}"#)
        .await;
    assert_eq!(absent["state_get"]["version"], 0);

    stop.send(()).unwrap();
    let ended = tokio::time::timeout(LONG, running.join_next()).await.unwrap().unwrap().unwrap();
    ended.unwrap();
    while events.next().await.is_some() {}
    while operator.next().await.is_some() {}

    let server = Server::start(config(dir.path())).await.unwrap();
    serving(&[&server]).await;
    client.address = server.addresses().api.to_string();
    let again = SUBSCRIBE.replacen(
        r#""subscribe":{"framework_info":{"#,
        &format!(
            r#""framework_id":{{"value":"{id}"}},"subscribe":{{"framework_info":{{"id":{{"value":"{id}"}},"#
        ),
        1,
    );
    let mut events = Records::of(client.post("/api/v1/scheduler", &[], &again).await);
    let subscribed = events.next().await.unwrap();
    assert_eq!(subscribed["type"], "SUBSCRIBED", "{subscribed}");
    assert_eq!(subscribed["subscribed"]["framework_id"]["value"], id.as_str());
    server.run_until(std::future::ready(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_without_a_cluster_answers_and_waits() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(Config { bootstrap: false, ..config(dir.path()) }).await.unwrap();
    let mut client = Client::new(server.addresses().api);
    assert_eq!(client.send("GET", "/health", &[], "").await.status(), 200);
    assert_eq!(client.post("/api/v1/scheduler", &[], SUBSCRIBE).await.status(), 503);
    assert_eq!(client.send("GET", "/redirect", &[], "").await.status(), 503);
    assert!(!server.serving());
    server.run_until(std::future::ready(())).await.unwrap();
}
