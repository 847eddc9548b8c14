//! Rate limits over real sockets: a framework that sends too much is told so and stays subscribed, others notice nothing, and the SDK waits.

use anyhow::Context;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tepui_tests::harness;

use crate::TEPUI;

const LIMITS: &str = r#"{"limits":[{"principal":"greedy","qps":0.2,"capacity":3},{"principal":"free"}]}"#;

/// A subscription by hand: the SDK would wait when it is told to.
struct Raw {
    client: reqwest::Client,
    url: String,
    stream: reqwest::Response,
    stream_id: String,
    framework: Value,
}

impl Raw {
    async fn subscribe(master: &str, principal: &str) -> anyhow::Result<Raw> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = format!("http://{master}/api/v1/scheduler");
        let info =
            json!({"user": "nobody", "name": principal, "principal": principal, "failover_timeout": 60.0});
        let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
        let mut stream = post(&client, &url, None, &call).await?;
        anyhow::ensure!(stream.status() == 200, "{}", stream.status());
        let stream_id = stream.headers()["mesos-stream-id"].to_str()?.to_owned();
        let chunk = stream.chunk().await?.context("no first event")?;
        let text = std::str::from_utf8(&chunk)?;
        let event: Value = serde_json::from_str(text.split_once('\n').context("no length")?.1)?;
        let framework = event["subscribed"]["framework_id"].clone();
        Ok(Raw { client, url, stream, stream_id, framework })
    }

    async fn revive(&self) -> anyhow::Result<reqwest::Response> {
        let call = json!({"type": "REVIVE", "framework_id": self.framework});
        post(&self.client, &self.url, Some(&self.stream_id), &call).await
    }
}

async fn post(
    client: &reqwest::Client,
    url: &str,
    stream_id: Option<&str>,
    call: &Value,
) -> anyhow::Result<reqwest::Response> {
    let request = client.post(url).header(CONTENT_TYPE, "application/json").body(call.to_string());
    let request = match stream_id {
        Some(id) => request.header("mesos-stream-id", id),
        None => request,
    };
    Ok(request.send().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_that_sends_too_much_is_told_when_to_go_on() -> anyhow::Result<()> {
    let mut options = harness::options(TEPUI, 1, 1);
    options.master_args.extend(["--rate-limits", LIMITS, "--heartbeat-interval", "100ms"].map(str::to_owned));
    let test = harness::start(options).await?;
    let master = test.cluster.masters()[0].clone();
    let (mut greedy, free) =
        (Raw::subscribe(&master, "greedy").await?, Raw::subscribe(&master, "free").await?);
    for _ in 0..3 {
        assert_eq!(greedy.revive().await?.status(), 202);
    }
    let refused = greedy.revive().await?;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str()?.parse()?;
    assert!((1..=5).contains(&wait), "{wait}");
    assert_eq!(refused.headers()["content-type"], "text/plain");
    let reason = refused.text().await?;
    assert!(reason.contains("'greedy'") && reason.contains("qps 0.2, capacity 3"), "{reason}");
    for _ in 0..50 {
        assert_eq!(free.revive().await?.status(), 202);
    }
    // No ERROR, no end: the stream goes on.
    let mut heartbeats = 0;
    while heartbeats < 3 {
        let chunk = greedy.stream.chunk().await?.context("the stream ended")?;
        let text = String::from_utf8_lossy(&chunk).into_owned();
        assert!(!text.contains("\"ERROR\""), "{text}");
        heartbeats += usize::from(text.contains("\"HEARTBEAT\""));
    }
    harness::eventually("the end of the wait", || async {
        greedy.revive().await.ok().filter(|answer| answer.status() == 202)
    })
    .await?;
    let numbers: Value = serde_json::from_str(
        &greedy.client.get(format!("http://{master}/metrics/snapshot")).send().await?.text().await?,
    )?;
    assert_eq!(numbers["frameworks/greedy/messages_processed"], 4.0);
    assert!(numbers["frameworks/greedy/messages_received"].as_f64() >= Some(5.0), "{numbers}");
    assert_eq!(numbers["frameworks/free/messages_processed"], 50.0);
    Ok(())
}

#[test]
fn a_mistake_in_the_flag_ends_the_start_and_names_the_field() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let limits = r#"{"limits":[{"principal":"a","qps":1},{"principal":"b","qps":-1}]}"#;
    let output = std::process::Command::new(TEPUI)
        .args([
            "master",
            "--node-id",
            "1",
            "--port",
            "0",
            "--peer-port",
            "0",
            "--rate_limits",
            limits,
            "--work-dir",
        ])
        .arg(folder.path())
        .output()?;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("limits[1].qps must be a number above 0"), "{text}");
    Ok(())
}
