//! One real master in this process: a cluster of one voter, spoken to over real connections.

use crate::support::{Client, LONG, Records, serving};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tepui_scheduler::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_record_is_one_chunk_of_ascii_and_one_port_speaks_both_versions_of_http() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(config(dir.path())).await.unwrap();
    serving(&[&server]).await;
    let address = server.addresses().api;

    let mut socket = TcpStream::connect(address).await.unwrap();
    let body = SUBSCRIBE.replace(r#""test""#, r#""Blümchen""#);
    let head = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let chunks = loop {
        let mut piece = [0; 4096];
        let length = tokio::time::timeout(LONG, socket.read(&mut piece)).await.unwrap().unwrap();
        assert!(length > 0, "the stream ended");
        seen.extend_from_slice(&piece[..length]);
        let chunks = chunks(&seen);
        if chunks.len() >= 2 {
            break chunks;
        }
    };
    assert!(seen.is_ascii());
    for (chunk, kind) in chunks.iter().zip(["SUBSCRIBED", "HEARTBEAT"]) {
        let (length, payload) = chunk.split_once('\n').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), payload.len());
        assert_eq!(serde_json::from_str::<Value>(payload).unwrap()["type"], kind);
    }

    let stream = TcpStream::connect(address).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let mut connections = JoinSet::new();
    connections.spawn(async move { connection.await.unwrap() });
    let request =
        Request::builder().uri(format!("http://{address}/version")).body(Full::new(Bytes::new())).unwrap();
    let answer = tokio::time::timeout(LONG, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, hyper::Version::HTTP_2));
    drop(sender);
    server.run_until(std::future::ready(())).await.unwrap();
}

/// The chunks of a chunked answer that have arrived whole.
fn chunks(answer: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(answer).unwrap();
    let Some((head, mut rest)) = text.split_once("\r\n\r\n") else { return Vec::new() };
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut chunks = Vec::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(chunk) = after.get(..size) else { break };
        chunks.push(chunk.to_owned());
        rest = after.get(size + 2..).unwrap_or_default();
    }
    chunks
}
