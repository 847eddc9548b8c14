//! Three real masters in this process: standbys send frameworks to the leader and show the cluster themselves; a leader that is
//! told to stop hands over, and its frameworks find the next one.

use std::net::TcpListener;
use std::path::Path;

use crate::support::{Client, LONG, Records, serving};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tepui_scheduler::{Config, MasterAddress, Server};

const SUBSCRIBE: &str = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"test","failover_timeout":60.0}}}"#;

/// Ports that were free a moment ago.
fn ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

pub(crate) fn configs(dir: &Path) -> Vec<Config> {
    let ports = ports(6);
    let masters: Vec<MasterAddress> = (1..=3_u16)
        .map(|id| {
            let index = usize::from(id - 1) * 2;
            format!("{id}=127.0.0.1:{}/{}", ports[index], ports[index + 1]).parse().unwrap()
        })
        .collect();
    let config = |master: &MasterAddress| {
        let mut config = Config::new(master.node_id, dir.join(master.node_id.to_string()));
        (config.port, config.peer_port) = (master.api_port, master.peer_port);
        config.bootstrap = master.node_id == 1;
        config.masters = masters.clone();
        config
    };
    masters.iter().map(config).collect()
}

/// `{"fault_domain": …}` of a region.
fn domain(region: &str) -> Option<tepui_proto::v1::DomainInfo> {
    let text = format!(r#"{{"fault_domain":{{"region":{{"name":"{region}"}},"zone":{{"name":"z"}}}}}}"#);
    Some(serde_json::from_str(&text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_in_another_region_than_its_leader_ends_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut configs = configs(dir.path());
    let stranger = configs.pop().unwrap();
    let mut servers = Vec::new();
    for mut config in configs {
        config.domain = domain("north");
        servers.push(Server::start(config).await.unwrap());
    }
    serving(&servers.iter().collect::<Vec<_>>()).await;
    let stranger = Server::start(Config { domain: domain("south"), ..stranger }).await.unwrap();
    let ended = tokio::time::timeout(LONG, stranger.run_until(std::future::pending())).await;
    let reason = ended.expect("it does not stay").unwrap_err().to_string();
    assert!(reason.contains("'south'") && reason.contains("'north'"), "{reason}");
    // Those of one region go on.
    serving(&servers.iter().collect::<Vec<_>>()).await;
    for server in servers {
        server.run_until(std::future::ready(())).await.unwrap();
    }
}

/// Reads an event stream until it holds all of `parts`.
async fn read_until(body: &mut Incoming, parts: &[&str]) -> String {
    let mut seen = String::new();
    while !parts.iter().all(|part| seen.contains(part)) {
        let frame = tokio::time::timeout(LONG, body.frame()).await;
        let frame = frame.unwrap_or_else(|_| panic!("{parts:?} did not come: {seen}"));
        let frame = frame.expect("the stream goes on").unwrap();
        seen.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standbys_redirect_and_show_the_cluster_and_a_leader_that_stops_hands_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut servers = Vec::new();
    for config in configs(dir.path()) {
        servers.push(Server::start(config).await.unwrap());
    }
    let leader = serving(&servers.iter().collect::<Vec<_>>()).await;
    let leader = servers.remove(leader);
    let leader_address = leader.addresses().advertised.clone();
    let mut standby = Client::new(servers[0].addresses().api);

    // A standby learns who leads a moment after the leader does.
    let redirect = loop {
        let answer = standby.post("/api/v1/scheduler", &[], SUBSCRIBE).await;
        if answer.status() == 307 {
            break answer;
        }
        assert_eq!(answer.status(), 503);
    };
    assert_eq!(redirect.headers()["location"], format!("//{leader_address}/api/v1/scheduler"));

    let mut client = Client::new(&leader_address);
    let mut events = Records::of(client.post("/api/v1/scheduler", &[], SUBSCRIBE).await);
    let subscribed = events.until("SUBSCRIBED").await;
    let id = subscribed["subscribed"]["framework_id"]["value"].as_str().unwrap().to_owned();
    let first_master = subscribed["subscribed"]["master_info"]["id"].clone();

    let answer = standby.send("GET", "/tepui/v1/events", &[], "").await;
    let mut live = answer.into_body();
    let framework = format!(r#""kind":"framework","id":"{id}""#);
    read_until(&mut live, &["event: ready", &framework, r#""standby":true"#, r#""connected":true"#]).await;
    let local = standby.send("GET", "/state", &[("tepui-read", "local")], "").await;
    assert_eq!(local.headers()["tepui-absent"], "offers, connections");
    let state: Value =
        serde_json::from_slice(&local.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(state["frameworks"][0]["id"], id.as_str());

    // The stopped leader's streams end, and another master serves without waiting for a timeout.
    leader.run_until(std::future::ready(())).await.unwrap();
    while events.next().await.is_some() {}
    let next = serving(&servers.iter().collect::<Vec<_>>()).await;
    let mut client = Client::new(servers[next].addresses().api);
    let again = SUBSCRIBE.replacen(
        r#""subscribe":{"framework_info":{"#,
        &format!(
            r#""framework_id":{{"value":"{id}"}},"subscribe":{{"framework_info":{{"id":{{"value":"{id}"}},"#
        ),
        1,
    );
    let mut events = Records::of(client.post("/api/v1/scheduler", &[], &again).await);
    let subscribed = events.until("SUBSCRIBED").await;
    assert_eq!(subscribed["subscribed"]["framework_id"]["value"], id.as_str());
    assert_ne!(subscribed["subscribed"]["master_info"]["id"], first_master);
    read_until(&mut live, &[r#""epoch":2"#]).await;
    for server in servers {
        server.run_until(std::future::ready(())).await.unwrap();
    }
}
