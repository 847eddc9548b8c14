//! Who is let in where, and what becomes of the principal; forms, and compressed answers.

use std::io::Read;

use hyper::{Method, StatusCode};
use tepui_proto::basic::{Credentials, authorization};
use tepui_scheduler_core::{OperatorCall, Registry, Reply};

use super::fixture::{Fixture, serving, text};
use crate::config::Authentication;
use crate::runtime::handle::Message;
use crate::runtime::role::Role;

const JSON: (&str, &str) = ("content-type", "application/json");
const TEARDOWN: &str = r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"f"}}}"#;

fn guarded(role: Role) -> Fixture {
    let credentials = Credentials::parse("alice secret").unwrap();
    Fixture::guarded(role, Authentication { readonly: true, readwrite: true, frameworks: true, credentials })
}

#[tokio::test]
async fn each_realm_challenges_under_its_own_name_before_anything_else() {
    for fixture in [guarded(serving()), guarded(Role::Following { leader: Some("b:1".into()) })] {
        let wrong = authorization("alice", "guess");
        for (path, realm) in [
            ("/api/v1/scheduler", "scheduler"),
            ("/api/v1", "readwrite"),
            ("/tepui/v1/operator", "readwrite"),
            ("/tepui/v1/backup", "readwrite"),
            ("/teardown", "readwrite"),
            ("/master/state.json", "readonly"),
            ("/metrics", "readonly"),
            ("/metrics/snapshot", "readonly"),
            ("/tepui/v1/events", "readonly"),
            ("/", "readonly"),
        ] {
            let headers: [&[(&str, &str)]; 3] =
                [&[], &[("authorization", &wrong)], &[("authorization", "Bearer x")]];
            for headers in headers {
                let answer = fixture.send(Method::POST, path, headers, "").await;
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
                let challenge = format!("Basic realm=\"mesos-master-{realm}\"");
                assert_eq!(answer.headers()["www-authenticate"], challenge.as_str(), "{path}");
            }
        }
        for path in ["/health", "/version"] {
            assert_eq!(fixture.get(path).await.status(), StatusCode::OK, "{path}");
        }
        assert_eq!(fixture.get("/redirect").await.status(), StatusCode::TEMPORARY_REDIRECT);
    }
}

#[tokio::test]
async fn whoever_is_known_comes_as_far_as_without_authentication() {
    let right = authorization("alice", "secret");
    let shown = ("authorization", right.as_str());
    let leader = guarded(serving());
    assert_eq!(leader.send(Method::GET, "/state", &[shown], "").await.status(), StatusCode::OK);
    assert_eq!(leader.send(Method::GET, "/api/v1", &[shown], "").await.status().as_u16(), 405);
    let standby = guarded(Role::Following { leader: Some("b:1".into()) });
    assert_eq!(standby.send(Method::GET, "/state", &[shown], "").await.status().as_u16(), 307);
}

#[tokio::test]
async fn the_principal_goes_with_the_call_and_must_be_the_frameworks() {
    let mut leader = guarded(serving());
    let mut messages = std::mem::replace(&mut leader.messages, tokio::sync::mpsc::channel(1).1);
    let right = authorization("alice", "secret");
    let headers = [JSON, ("authorization", right.as_str())];
    let bob =
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","principal":"bob"}}}"#;
    let answer = leader.send(Method::POST, "/api/v1/scheduler", &headers, bob).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(text(answer).await.contains("bob"));

    let call = r#"{"type":"TEARDOWN","framework_id":{"value":"f"}}"#;
    for (path, body) in [("/api/v1/scheduler", call), ("/api/v1", TEARDOWN), ("/teardown", "frameworkId=f")] {
        let play = async {
            let (principal, reply) = match messages.recv().await {
                Some(Message::Call { principal, reply, .. } | Message::Operator { principal, reply, .. }) => {
                    (principal, reply)
                }
                _ => panic!("no call arrived"),
            };
            assert_eq!(principal.as_deref(), Some("alice"), "{path}");
            reply.send(Reply::Accepted).unwrap();
        };
        let (answer, ()) = tokio::join!(leader.send(Method::POST, path, &headers, body), play);
        assert_eq!(answer.status(), StatusCode::ACCEPTED, "{path}");
    }
}

#[tokio::test]
async fn teardown_takes_a_form() {
    let mut leader = Fixture::leading();
    let mut messages = std::mem::replace(&mut leader.messages, tokio::sync::mpsc::channel(1).1);
    for (method, body, status) in [
        (Method::GET, "frameworkId=f", 405),
        (Method::POST, "", 400),
        (Method::POST, "framework_id=f", 400),
        (Method::POST, "frameworkId=%zz", 400),
    ] {
        let answer = leader.send(method, "/teardown", &[], body).await;
        assert_eq!(answer.status().as_u16(), status, "{body}");
    }
    let play = async {
        let Some(Message::Operator { call, reply, .. }) = messages.recv().await else { panic!("no call") };
        assert!(matches!(*call, OperatorCall::Teardown(id) if id.as_str() == "f/1"));
        reply.send(Reply::Ok).unwrap();
    };
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let (answer, ()) =
        tokio::join!(leader.send(Method::POST, "/master/teardown", &form, "frameworkId=f%2F1"), play);
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!answer.headers().contains_key("content-type"));
    let standby = Fixture::standby(Some("b:1"));
    assert_eq!(standby.send(Method::POST, "/teardown", &[], "").await.status().as_u16(), 307);
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_ask() {
    let leader = Fixture::leading();
    leader.publish(Registry::default());
    let gzip = [("accept-encoding", "gzip, deflate")];
    let plain = leader.get("/").await;
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = text(plain).await;
    let packed = leader.send(Method::GET, "/", &gzip, "").await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let bytes = http_body_util::BodyExt::collect(packed.into_body()).await.unwrap().to_bytes();
    assert!(bytes.len() < plain.len());
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(bytes.as_ref()).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);

    for (path, headers) in
        [("/version", gzip), ("/", [("accept-encoding", "gzip;q=0")]), ("/tepui/v1/events", gzip)]
    {
        let answer = leader.send(Method::GET, path, &headers, "").await;
        assert!(!answer.headers().contains_key("content-encoding"), "{path}");
    }
}
