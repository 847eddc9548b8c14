//! Bad input of every kind over real sockets: the proper 4xx with a reason, and a cluster that goes on as if nothing had happened.

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tepui_sdk::v1::TaskState::TaskFinished;
use tepui_tests::harness::{self, TestFramework, task};

use crate::TEPUI;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// Path, content type, accept, body, status, a word of the reason.
type Case = (&'static str, Option<&'static str>, Option<&'static str>, Vec<u8>, u16, &'static str);

fn cases() -> Vec<Case> {
    let scheduler = "/api/v1/scheduler";
    let subscribe =
        br#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#.to_vec();
    let mut deep = br#"{"type":"#.to_vec();
    deep.extend(std::iter::repeat_n(b'[', 100_000));
    let unknown = br#"{"type":"TEARDOWN","framework_id":{"value":"nobody"}}"#.to_vec();
    vec![
        (scheduler, None, None, subscribe.clone(), 400, "Content-Type"),
        (scheduler, Some("text/plain"), None, subscribe.clone(), 415, ""),
        (scheduler, Some(JSON), Some("text/html"), subscribe, 406, ""),
        (scheduler, Some(JSON), None, b"{".to_vec(), 400, ""),
        (scheduler, Some(JSON), None, b"".to_vec(), 400, ""),
        (scheduler, Some(JSON), None, b"[]".to_vec(), 400, ""),
        (scheduler, Some(JSON), None, deep, 400, ""),
        (scheduler, Some(JSON), None, b"{\"type\":\"\xff\"}".to_vec(), 400, ""),
        (scheduler, Some(JSON), None, br#"{"type":"NONSENSE"}"#.to_vec(), 400, "type"),
        (scheduler, Some(JSON), None, br#"{"type":"SUBSCRIBE"}"#.to_vec(), 400, "subscribe"),
        (
            scheduler,
            Some(JSON),
            None,
            br#"{"type":"SUBSCRIBE","subscribe":{}}"#.to_vec(),
            400,
            "framework_info",
        ),
        (
            scheduler,
            Some(JSON),
            None,
            br#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"name":"n"}}}"#.to_vec(),
            400,
            "user",
        ),
        (scheduler, Some(JSON), None, unknown, 400, "framework"),
        (
            scheduler,
            Some(JSON),
            None,
            br#"{"type":"KILL","kill":{"task_id":{"value":"t"}}}"#.to_vec(),
            400,
            "framework_id",
        ),
        (scheduler, Some(PROTOBUF), None, vec![0x0a, 0x80], 400, ""),
        (scheduler, Some(PROTOBUF), None, vec![0xff; 64], 400, ""),
        (scheduler, Some(PROTOBUF), None, Vec::new(), 400, ""),
        ("/api/v1", Some(JSON), None, br#"{"type":"TEARDOWN"}"#.to_vec(), 400, "teardown"),
        ("/api/v1", Some(JSON), None, br#"{}"#.to_vec(), 400, "type"),
        (
            "/tepui/v1/operator",
            Some(JSON),
            None,
            br#"{"type":"SUBMIT_DRIVER","submit_driver":{}}"#.to_vec(),
            400,
            "spec",
        ),
        (
            "/tepui/v1/operator",
            Some(JSON),
            None,
            br#"{"type":"SUBMIT_DRIVER","submit_driver":{"spec":{"name":"a/b","command":{"value":"x"}}}}"#
                .to_vec(),
            400,
            "name",
        ),
        (
            "/tepui/v1/operator",
            Some(JSON),
            None,
            br#"{"type":"KILL_DRIVER","kill_driver":{"name":"nobody"}}"#.to_vec(),
            404,
            "nobody",
        ),
        ("/tepui/v1/agent", Some(PROTOBUF), None, vec![0xff; 9], 403, ""),
        ("/no/such/path", Some(JSON), None, b"{}".to_vec(), 404, ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_answered_properly_and_harms_nobody() -> anyhow::Result<()> {
    let test = harness::start(harness::options(TEPUI, 1, 1)).await?;
    let mut framework = TestFramework::subscribe(test.cluster.masters(), "witness").await?;
    let base = format!("http://{}", test.cluster.masters()[0]);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut wrong = Vec::new();
    for (path, content, accept, body, status, word) in cases() {
        let shown = String::from_utf8_lossy(&body[..body.len().min(90)]).into_owned();
        let mut request = client.post(format!("{base}{path}")).body(body);
        if let Some(content) = content {
            request = request.header(CONTENT_TYPE, content);
        }
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let answer = request.send().await?;
        let found = answer.status();
        let text = answer.text().await?;
        if found != StatusCode::from_u16(status)? || !text.contains(word) {
            wrong.push(format!(
                "{path} {content:?} {shown}: {found} instead of {status} with {word:?}: {text}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let answer = client.get(format!("{base}/api/v1/scheduler")).send().await?;
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()["allow"], "POST");
    framework.launch(vec![task("after", "true")]).await?;
    framework.wait_state("after", TaskFinished).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_the_limit_is_refused_before_it_is_read() -> anyhow::Result<()> {
    let test = harness::start(harness::options(TEPUI, 1, 1)).await?;
    let base = format!("http://{}", test.cluster.masters()[0]);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answer = client
        .post(format!("{base}/api/v1/scheduler"))
        .header(CONTENT_TYPE, JSON)
        .body(vec![b' '; 81 << 20])
        .send()
        .await;
    // The server answers and closes; a client that is still writing may see either.
    match answer {
        Ok(answer) => assert_eq!(answer.status(), 413),
        Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
    }
    let answer = client.get(format!("{base}/health")).send().await?;
    assert_eq!(answer.status(), 200);
    Ok(())
}
