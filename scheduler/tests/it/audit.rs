//! Three real masters compare their states: the one whose state goes astray stops and says so, whether it leads or not, and the others
//! go on without it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tepui_scheduler::{Config, Server};

use crate::support::{Client, LONG, serving};
use crate::three::configs;

/// A number of `/metrics`.
async fn number(server: &Server, name: &str) -> u64 {
    let mut client = Client::new(server.addresses().api);
    let answer = client.send("GET", "/metrics", &[], "").await;
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("tepui_master_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

async fn until(server: &Server, name: &str, least: u64) {
    let deadline = Instant::now() + LONG;
    while number(server, name).await < least {
        assert!(Instant::now() < deadline, "{name} stays below {least}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Three masters that agree, of which the one that `astray` chooses of leader and others is made to differ.
async fn one_goes_astray(leads: bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut configs: Vec<Config> = configs(dir.path());
    let mut servers = Vec::new();
    for config in &mut configs {
        config.timers.checkpoint_interval = Duration::from_millis(100);
        servers.push(Server::start(config.clone()).await.unwrap());
    }
    let leader = serving(&servers.iter().collect::<Vec<_>>()).await;
    // A framework whose deadline is armed has the leader commit the time, so that there is something to compare.
    let subscribe = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"test","failover_timeout":3600.0}}}"#;
    let mut framework = Client::new(servers[leader].addresses().api);
    framework.post("/api/v1/scheduler", &[], subscribe).await;
    drop(framework);
    for server in &servers {
        until(server, "states_compared", 2).await;
    }
    let odd = if leads { leader } else { (leader + 1) % 3 };
    configs[odd].astray.store(true, Ordering::Relaxed);
    let odd_id = odd + 1;
    let stray = servers.remove(odd);
    let ended = tokio::time::timeout(LONG, stray.run_until(std::future::pending())).await;
    let reason = ended.expect("it does not stay").unwrap_err().to_string();
    assert!(
        reason.contains(&format!("the state of master {odd_id} differs from that of the majority")),
        "{reason}"
    );
    serving(&servers.iter().collect::<Vec<_>>()).await;
    for server in &servers {
        let agreed = number(server, "states_compared").await;
        until(server, "states_compared", agreed + 2).await;
        assert_eq!(number(server, "states_undecided").await, 0);
        assert_eq!(number(server, "state_differs").await, 0);
    }
    for server in servers {
        server.run_until(std::future::ready(())).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_state_goes_astray_stops_and_the_others_go_on() {
    one_goes_astray(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_state_goes_astray_is_the_one_that_stops() {
    one_goes_astray(true).await;
}
