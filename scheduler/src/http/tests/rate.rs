//! Rate limits at the door: who is counted, what passes, and how the rest is turned away.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tepui_proto::v1::FrameworkInfo;
use tepui_scheduler_core::registry::FrameworkRecord;
use tepui_scheduler_core::{Registry, Reply};

use super::fixture::{Fixture, json, text};
use crate::config::Authentication;
use crate::rate_limits::parse_rate_limits;
use crate::runtime::handle::Message;

const SCHEDULER: &str = "/api/v1/scheduler";

fn registry(principals: &[(&str, Option<&str>)]) -> Registry {
    let mut registry = Registry::default();
    for (id, principal) in principals {
        let info = FrameworkInfo { principal: principal.map(str::to_owned), ..Default::default() };
        let record = FrameworkRecord { info: Some(info), ..Default::default() };
        registry.frameworks.insert((*id).into(), Arc::new(record));
    }
    registry
}

/// A leading master with these limits and frameworks, whose core accepts everything.
fn limited(limits: &str, frameworks: &[(&str, Option<&str>)]) -> Fixture {
    let limits = parse_rate_limits(limits).unwrap();
    let mut fixture = Fixture::limited(Authentication::default(), &limits);
    fixture.publish(registry(frameworks));
    let mut messages = std::mem::replace(&mut fixture.messages, tokio::sync::mpsc::channel(1).1);
    tokio::task::spawn_local(async move {
        while let Some(message) = messages.recv().await {
            if let Message::Call { reply, .. } = message {
                reply.send(Reply::Accepted).unwrap();
            }
        }
    });
    fixture
}

async fn revive(fixture: &Fixture, framework: &str) -> axum::response::Response {
    let body = format!(r#"{{"type":"REVIVE","framework_id":{{"value":"{framework}"}}}}"#);
    fixture.post_json(SCHEDULER, &body).await
}

async fn locally(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn too_many_calls_are_429_until_the_time_that_is_named() {
    locally(async {
        let limits = r#"{"limits":[{"principal":"foo","qps":0.5,"capacity":2}]}"#;
        let master = limited(limits, &[("f", Some("foo")), ("g", Some("foo")), ("free", Some("bar"))]);
        assert_eq!(revive(&master, "f").await.status(), StatusCode::ACCEPTED);
        assert_eq!(revive(&master, "g").await.status(), StatusCode::ACCEPTED);
        for framework in ["f", "g"] {
            let refused = revive(&master, framework).await;
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(refused.headers()["retry-after"], "2");
            assert_eq!(refused.headers()["content-type"], "text/plain");
            let reason = text(refused).await;
            assert!(reason.contains("'foo'") && reason.contains("qps 0.5, capacity 2"), "{reason}");
        }
        for _ in 0..100 {
            assert_eq!(revive(&master, "free").await.status(), StatusCode::ACCEPTED);
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(revive(&master, "f").await.status(), StatusCode::ACCEPTED);
        assert_eq!(revive(&master, "f").await.status(), StatusCode::TOO_MANY_REQUESTS);

        let numbers = json(master.get("/metrics/snapshot").await).await;
        assert_eq!(numbers["frameworks/foo/messages_received"], 6.0);
        assert_eq!(numbers["frameworks/foo/messages_processed"], 3.0);
        assert_eq!(numbers["frameworks/bar/messages_processed"], 100.0);
        assert_eq!(numbers["master/messages_revive_offers"], 103.0, "what was turned away is no REVIVE");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_has_no_entry_shares_and_strangers_use_nothing_up() {
    locally(async {
        let limits = r#"{"aggregate_default_qps":1,"aggregate_default_capacity":2}"#;
        let master = limited(limits, &[("f", Some("foo")), ("g", None)]);
        for _ in 0..10 {
            assert_eq!(revive(&master, "stranger").await.status(), StatusCode::ACCEPTED);
        }
        assert_eq!(revive(&master, "f").await.status(), StatusCode::ACCEPTED);
        assert_eq!(revive(&master, "g").await.status(), StatusCode::ACCEPTED);
        let refused = revive(&master, "g").await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(text(refused).await.contains("aggregate_default_qps 1"));
        let numbers = json(master.get("/metrics/snapshot").await).await;
        assert!(numbers.as_object().unwrap().keys().all(|name| !name.contains("stranger")));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_call_is_said_first_and_subscribe_is_never_counted() {
    locally(async {
        let master = limited(r#"{"aggregate_default_qps":1,"aggregate_default_capacity":1}"#, &[("f", None)]);
        assert_eq!(revive(&master, "f").await.status(), StatusCode::ACCEPTED);
        for (body, status) in [("{", 400), (r#"{"type":"KILL","framework_id":{"value":"f"}}"#, 400)] {
            assert_eq!(master.post_json(SCHEDULER, body).await.status().as_u16(), status, "{body}");
        }
        let body = r#"{"type":"RECONCILE_OPERATIONS","framework_id":{"value":"f"},"reconcile_operations":{}}"#;
        let headers = [("content-type", "application/json"), ("accept", "foo/bar")];
        let answer = master.send(hyper::Method::POST, SCHEDULER, &headers, body).await;
        assert_eq!(answer.status(), StatusCode::NOT_ACCEPTABLE);
        // The fixture's core opens no stream: this is its answer, not the gate's.
        let again = r#"{"type":"SUBSCRIBE","framework_id":{"value":"f"},"subscribe":{"framework_info":{"user":"u","name":"n","id":{"value":"f"}}}}"#;
        assert_eq!(master.post_json(SCHEDULER, again).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(revive(&master, "f").await.status(), StatusCode::TOO_MANY_REQUESTS);
    })
    .await;
}
