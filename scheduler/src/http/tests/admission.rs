//! The admission order: the first row that fails decides, whatever else is wrong with the request.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use prost::Message as _;
use tepui_proto::tepui::agent_link;
use tepui_proto::v1::scheduler;
use tepui_scheduler_core::{OperatorCall, Reply};

use super::fixture::{BODY_LIMIT, Fixture, serving, text};
use crate::runtime::handle::{Message, Opened};
use crate::runtime::role::Role;
use crate::runtime::streams::{Bounds, Streams};

type Headers<'a> = &'a [(&'a str, &'a str)];

const SCHEDULER: &str = "/api/v1/scheduler";
const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const SUBSCRIBE: &str = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;
const TEARDOWN: &str = r#"{"type":"TEARDOWN","framework_id":{"value":"f"}}"#;

#[tokio::test]
async fn a_standby_redirects_before_it_looks_at_anything() {
    let standby = Fixture::standby(Some("b:5050"));
    for (method, path) in [
        (Method::POST, "/api/v1/scheduler?x=%2F"),
        (Method::GET, "/api/v1/scheduler"),
        (Method::PUT, "/master/api/v1"),
        (Method::POST, "/tepui/v1/agent"),
        (Method::GET, "/state"),
        (Method::GET, "/master/slaves?slave_id=a"),
    ] {
        let answer = standby.send(method, path, &[], "").await;
        assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT, "{path}");
        assert_eq!(answer.headers()["location"], format!("//b:5050{path}"));
    }
    let nobody = Fixture::standby(None);
    for path in ["/api/v1/scheduler", "/api/v1", "/state", "/tepui/v1/agent"] {
        let answer = nobody.get(path).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/plain");
    }
}

#[tokio::test]
async fn a_leader_that_recovers_or_drains_answers_503() {
    for role in [Role::Recovering, Role::Draining] {
        let fixture = Fixture::new(role, None);
        assert_eq!(fixture.get(SCHEDULER).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn the_outer_form_is_checked_row_by_row() {
    let leader = Fixture::leading();
    let long = "x".repeat(BODY_LIMIT + 1);
    let text_plain = ("content-type", "text/plain");
    let cases: [(Method, Headers, &str, u16); 8] = [
        (Method::GET, &[], "", 405),
        (Method::PUT, &[text_plain], &long, 405),
        (Method::POST, &[], &long, 400),
        (Method::POST, &[text_plain], &long, 415),
        (Method::POST, &[JSON], &long, 413),
        (Method::POST, &[JSON], "{", 400),
        (Method::POST, &[JSON], "[]", 400),
        (Method::POST, &[("content-type", "Application/JSON; charset=utf-8")], "{}", 400),
    ];
    for path in [SCHEDULER, "/api/v1", "/tepui/v1/operator"] {
        for (method, headers, body, status) in &cases {
            let answer = leader.send(method.clone(), path, headers, (*body).to_owned()).await;
            assert_eq!(answer.status().as_u16(), *status, "{method} {path} {headers:?}");
            if *status == 405 {
                assert_eq!(answer.headers()["allow"], "POST");
            }
            assert_eq!(answer.headers()["content-type"], "text/plain");
        }
    }
}

#[tokio::test]
async fn a_call_is_checked_for_itself_before_accept_and_stream_id() {
    let leader = Fixture::leading();
    let stream = ("mesos-stream-id", "s");
    let foo = ("accept", "foo/bar");
    let no_name = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u"}}}"#;
    let cases: [(Headers, &str, u16, &str); 8] = [
        (&[JSON], "{}", 400, "type"),
        (&[JSON], r#"{"type":"NOT_A_CALL"}"#, 400, "type"),
        (&[JSON, foo], r#"{"type":"SUBSCRIBE"}"#, 400, "subscribe"),
        (&[JSON, foo], no_name, 400, "name"),
        (&[JSON], r#"{"type":"TEARDOWN"}"#, 400, "framework_id"),
        (&[JSON, foo, stream], SUBSCRIBE, 406, "Accept"),
        (&[JSON, stream], SUBSCRIBE, 400, "Mesos-Stream-Id"),
        (&[PROTOBUF], "\u{1}\u{1}\u{1}", 400, "protobuf"),
    ];
    for (headers, body, status, word) in cases {
        let answer = leader.send(Method::POST, SCHEDULER, headers, body).await;
        assert_eq!(answer.status().as_u16(), status, "{body}");
        let reason = text(answer).await;
        assert!(reason.contains(word), "{reason:?} does not name {word}");
    }
}

#[tokio::test]
async fn subscribe_is_answered_at_once_with_a_stream_in_the_accepted_encoding() {
    for (accept, chosen) in [
        (None, "application/json"),
        (Some("*/*"), "application/json"),
        (Some("application/x-protobuf, application/json"), "application/json"),
        (Some("application/x-protobuf"), "application/x-protobuf"),
    ] {
        let mut leader = Fixture::leading();
        let mut messages = std::mem::replace(&mut leader.messages, tokio::sync::mpsc::channel(1).1);
        let headers: Vec<_> = [JSON].into_iter().chain(accept.map(|accept| ("accept", accept))).collect();
        let (mut streams, _gone) = Streams::new(Bounds { records: 4, bytes: 100 });
        let play = async {
            let Some(Message::Subscribe { call, media, opened, driver_token, .. }) = messages.recv().await
            else {
                panic!("no SUBSCRIBE arrived")
            };
            assert_eq!(call.subscribe.unwrap().framework_info.unwrap().name.as_deref(), Some("n"));
            assert_eq!(driver_token, None);
            let (id, inlet) = streams.open(media);
            streams.push(id, Bytes::from_static(b"5\nhello")).unwrap();
            streams.close(id);
            assert!(opened.send(Opened { stream_id: "s-1".into(), inlet }).is_ok());
        };
        let (answer, ()) = tokio::join!(leader.send(Method::POST, SCHEDULER, &headers, SUBSCRIBE), play);
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], chosen);
        assert_eq!(answer.headers()["mesos-stream-id"], "s-1");
        assert!(!answer.headers().contains_key("content-length"));
        assert_eq!(text(answer).await, "5\nhello");
    }
}

#[tokio::test]
async fn replies_of_the_core_become_answers_without_a_content_type_unless_they_carry_something() {
    let rejected = |status| Reply::Rejected { status, reason: "why".into() };
    for (reply, status, content_type) in [
        (Reply::Accepted, 202, None),
        (Reply::Ok, 200, None),
        (rejected(403), 403, Some("text/plain")),
        (rejected(200), 500, Some("text/plain")),
    ] {
        let mut leader = Fixture::leading();
        let mut messages = std::mem::replace(&mut leader.messages, tokio::sync::mpsc::channel(1).1);
        let headers = [JSON, ("mesos-stream-id", "s"), ("accept", "foo/bar")];
        let play = async {
            let Some(Message::Call { stream_id, reply: answer, .. }) = messages.recv().await else {
                panic!("no call arrived")
            };
            assert_eq!(stream_id.as_deref(), Some("s"));
            answer.send(reply).unwrap();
        };
        let (answer, ()) = tokio::join!(leader.send(Method::POST, SCHEDULER, &headers, TEARDOWN), play);
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers().get("content-type").map(|value| value.to_str().unwrap()), content_type);
    }
}

#[tokio::test]
async fn a_leadership_that_ends_meanwhile_is_503() {
    let mut leader = Fixture::leading();
    let mut messages = std::mem::replace(&mut leader.messages, tokio::sync::mpsc::channel(1).1);
    let (answer, _) =
        tokio::join!(leader.post_json(SCHEDULER, TEARDOWN), async { messages.recv().await.is_some() });
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(messages);
    assert_eq!(leader.post_json(SCHEDULER, SUBSCRIBE).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// Clients give a call up after ten seconds and longer; then nobody knows what became of it.
#[tokio::test(start_paused = true)]
async fn a_core_that_stays_silent_is_503_before_clients_lose_patience() {
    let leader = Fixture::leading();
    for call in [TEARDOWN, SUBSCRIBE] {
        let begun = tokio::time::Instant::now();
        let answer = leader.post_json(SCHEDULER, call).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"], "1");
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{call}");
    }
}

#[tokio::test]
async fn agents_need_the_secret_the_format_and_protobuf() {
    let leader = Fixture::new(serving(), Some("hush"));
    let secret = ("tepui-cluster-secret", "hush");
    let call = |format| agent_link::Call {
        format,
        r#type: Some(agent_link::call::Type::Pong as i32),
        agent_id: Some(tepui_proto::v1::AgentId { value: Some("a".into()) }),
        ..Default::default()
    };
    let body = call(Some(1)).encode_to_vec();
    let cases: [(Headers, Vec<u8>, u16); 6] = [
        (&[PROTOBUF], body.clone(), 403),
        (&[PROTOBUF, ("tepui-cluster-secret", "hus")], body.clone(), 403),
        (&[JSON, secret], b"{}".to_vec(), 415),
        (&[PROTOBUF, secret], vec![1, 1, 1], 400),
        (&[PROTOBUF, secret], call(Some(7)).encode_to_vec(), 400),
        (&[PROTOBUF, secret], call(None).encode_to_vec(), 400),
    ];
    for (headers, body, status) in cases {
        let answer = leader.send(Method::POST, "/tepui/v1/agent", headers, body).await;
        assert_eq!(answer.status().as_u16(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn operator_calls_need_their_member_and_an_acceptable_encoding() {
    let leader = Fixture::leading();
    let foo = ("accept", "foo/bar");
    let cases: [(Headers, &str, u16); 6] = [
        (&[JSON], "{}", 400),
        (&[JSON], r#"{"type":"TEARDOWN"}"#, 400),
        (&[JSON, foo], r#"{"type":"GET_HEALTH"}"#, 406),
        (&[JSON], r#"{"type":"UNKNOWN"}"#, 501),
        (&[JSON], r#"{"type":"GET_HEALTH"}"#, 200),
        (&[JSON, ("accept", "application/x-protobuf")], r#"{"type":"GET_VERSION"}"#, 200),
    ];
    for path in ["/api/v1", "/api/v1/operator"] {
        for (headers, body, status) in &cases {
            let answer = leader.send(Method::POST, path, headers, *body).await;
            assert_eq!(answer.status().as_u16(), *status, "{body}");
        }
    }
}

#[tokio::test]
async fn teardown_reaches_the_core() {
    let mut leader = Fixture::leading();
    let mut messages = std::mem::replace(&mut leader.messages, tokio::sync::mpsc::channel(1).1);
    let play = async {
        let Some(Message::Operator { call, reply, .. }) = messages.recv().await else { panic!("no call") };
        assert!(matches!(*call, OperatorCall::Teardown(id) if id.as_str() == "f"));
        reply.send(Reply::Ok).unwrap();
    };
    let body = r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"f"}}}"#;
    let (answer, ()) = tokio::join!(leader.post_json("/api/v1", body), play);
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("content-type"));
}

#[tokio::test]
async fn protobuf_and_json_are_judged_alike() {
    let leader = Fixture::leading();
    let call = scheduler::Call { r#type: Some(scheduler::call::Type::Teardown as i32), ..Default::default() };
    let answer = leader.send(Method::POST, SCHEDULER, &[PROTOBUF], call.encode_to_vec()).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let protobuf = text(answer).await;
    assert_eq!(protobuf, text(leader.post_json(SCHEDULER, r#"{"type":"TEARDOWN"}"#).await).await);
}
