//! The answer to each kind of call of the scheduler API, good and bad, in both encodings: one line for each kind. The order in which checks
//! come is the business of `admission`.

use http_body_util::BodyExt;
use hyper::Method;
use tepui_proto::MediaType;
use tepui_proto::basic::{Credentials, authorization};
use tepui_proto::recordio::Decoder;
use tepui_proto::v1::scheduler::{Call, Event};
use tepui_proto::wire;

use super::contract_tables::{CALLS, SUBSCRIPTIONS};
use super::contract_values::VALUES;
use super::fixture::{Fixture, serving, text};
use super::world::{World, encodings};
use crate::config::Authentication;

const PATH: &str = "/api/v1/scheduler";

#[tokio::test]
async fn every_call_has_exactly_its_answer() {
    let world = World::new(Fixture::leading());
    let stream = world.live.stream_id.clone();
    let mut wrong = Vec::new();
    for (what, call, status, words) in CALLS.iter().chain(VALUES) {
        for (media, body) in encodings::<Call>(&world.named(call)) {
            let headers = [("content-type", media.as_str()), ("mesos-stream-id", stream.as_str())];
            let answer = world.fixture.send(Method::POST, PATH, &headers, body).await;
            let found = answer.status().as_u16();
            let warning = answer.headers().get("tepui-warning").map(|text| text.to_str().unwrap().to_owned());
            let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
            let said = text(answer).await;
            let expected_kind = (found >= 300).then_some("text/plain");
            let reason = if found < 300 { warning.clone().unwrap_or_default() } else { said.clone() };
            let named = words.iter().all(|word| reason.contains(&world.named(word)));
            let empty = found >= 300 || said.is_empty();
            let silent = found >= 300 || warning.is_some() != words.is_empty();
            if found != *status || !named || kind.as_deref() != expected_kind || !empty || !silent {
                wrong.push(format!(
                    "{what} in {media}: {found} {kind:?} {reason:?}, not {status} with {words:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_subscription_has_exactly_its_answer() {
    let world = World::new(Fixture::leading());
    let mut wrong = Vec::new();
    for (what, call, status, words) in SUBSCRIPTIONS {
        for (media, body) in encodings::<Call>(&world.named(call)) {
            let headers = [("content-type", media.as_str()), ("accept", media.as_str())];
            let answer = world.fixture.send(Method::POST, PATH, &headers, body).await;
            let found = answer.status().as_u16();
            let reason = match found {
                200 => {
                    assert_eq!(answer.headers()["content-type"], media.as_str(), "{what}");
                    assert!(answer.headers().contains_key("mesos-stream-id"), "{what}");
                    // Only one record comes, and then the end.
                    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
                    let events = events(media, &bytes);
                    assert_eq!(events.len(), 1, "{what}: {events:?}");
                    events[0].error.clone().and_then(|error| error.message).unwrap_or_default()
                }
                _ => text(answer).await,
            };
            if found != *status || !words.iter().all(|word| reason.contains(word)) {
                wrong.push(format!("{what} in {media}: {found} {reason:?}, not {status} with {words:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn only_subscribe_and_reconcile_operations_look_at_accept() {
    let world = World::new(Fixture::leading());
    let stream = world.live.stream_id.clone();
    let subscribe = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;
    let operations =
        r#"{"type":"RECONCILE_OPERATIONS","framework_id":{"value":"$LIVE"},"reconcile_operations":{}}"#;
    let revive = r#"{"type":"REVIVE","framework_id":{"value":"$LIVE"}}"#;
    let (json, protobuf) = (MediaType::Json.as_str(), MediaType::Protobuf.as_str());
    let accepts = [
        (None, Some(json)),
        (Some("*/*"), Some(json)),
        (Some("application/*"), Some(json)),
        (Some("application/x-protobuf"), Some(protobuf)),
        (Some("application/x-protobuf, application/json"), Some(json)),
        (Some("application/json;q=0, application/x-protobuf"), Some(protobuf)),
        (Some("application/json;q=0"), None),
        (Some("*/*;q=0"), None),
        (Some("text/html"), None),
        (Some("application/recordio"), None),
    ];
    for (accept, chosen) in accepts {
        let accept = accept.map(|accept| ("accept", accept));
        let ask = async |body: &str, stream: Option<&str>| {
            let headers: Vec<_> = [("Content-Type", "application/json")]
                .into_iter()
                .chain(accept)
                .chain(stream.map(|stream| ("MESOS-STREAM-ID", stream)))
                .collect();
            world.fixture.send(Method::POST, PATH, &headers, world.named(body)).await
        };
        let answer = ask(subscribe, None).await;
        assert_eq!(answer.status().as_u16(), if chosen.is_some() { 200 } else { 406 }, "{accept:?}");
        if let Some(chosen) = chosen {
            assert_eq!(answer.headers()["content-type"], chosen, "{accept:?}");
            assert!(!answer.headers().contains_key("content-length"), "a stream has no length");
        }
        let status = ask(operations, Some(&stream)).await.status().as_u16();
        assert_eq!(status, if chosen.is_some() { 202 } else { 406 }, "{accept:?}");
        assert_eq!(ask(revive, Some(&stream)).await.status().as_u16(), 202, "{accept:?}");
    }
}

#[tokio::test]
async fn the_stream_id_must_be_that_of_the_live_stream() {
    let world = World::new(Fixture::leading());
    let revive = world.named(r#"{"type":"REVIVE","framework_id":{"value":"$LIVE"}}"#);
    let subscribe = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;
    let stream = world.live.stream_id.as_str();
    for (body, given, status) in [
        (revive.as_str(), None, 400),
        (&revive, Some("other"), 400),
        (&revive, Some(""), 400),
        (&revive, Some(stream), 202),
        (subscribe, Some(stream), 400),
        (subscribe, None, 200),
    ] {
        for (media, body) in encodings::<Call>(body) {
            let headers: Vec<_> = [("content-type", media.as_str())]
                .into_iter()
                .chain(given.map(|given| ("mesos-stream-id", given)))
                .collect();
            let answer = world.fixture.send(Method::POST, PATH, &headers, body).await;
            assert_eq!(answer.status().as_u16(), status, "{given:?} {media}");
        }
    }
}

#[tokio::test]
async fn a_framework_acts_as_the_principal_that_it_has_proven() {
    let credentials = Credentials::parse("alice secret\nbob other").unwrap();
    let authentication = Authentication { frameworks: true, credentials, ..Default::default() };
    let world = World::new(Fixture::guarded(serving(), authentication));
    let (alice, bob) = (authorization("alice", "secret"), authorization("bob", "other"));
    let subscribe = |named: &str| {
        format!(r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{{"user":"u","name":"n"{named}}}}}}}"#)
    };
    let revive = world.named(r#"{"type":"REVIVE","framework_id":{"value":"$LIVE"}}"#);
    let stream = Some(world.live.stream_id.as_str());
    for (proof, body, stream, status) in [
        (None, revive.clone(), stream, 401),
        (Some("Basic ?"), revive.clone(), stream, 401),
        (Some(alice.as_str()), revive.clone(), stream, 202),
        (Some(&bob), revive.clone(), stream, 400),
        (Some(&alice), subscribe(""), None, 200),
        (Some(&alice), subscribe(r#","principal":"alice""#), None, 200),
        (Some(&alice), subscribe(r#","principal":"bob""#), None, 400),
    ] {
        let headers: Vec<_> = [("content-type", "application/json")]
            .into_iter()
            .chain(proof.map(|proof| ("authorization", proof)))
            .chain(stream.map(|stream| ("mesos-stream-id", stream)))
            .collect();
        let answer = world.fixture.send(Method::POST, PATH, &headers, body.clone()).await;
        assert_eq!(answer.status().as_u16(), status, "{proof:?} {body}");
    }
}

#[tokio::test]
async fn damaged_protobuf_is_a_400_however_deep() {
    let world = World::new(Fixture::leading());
    let whole = wire::encode(MediaType::Protobuf, &serde_json::from_str::<Call>(SUBSCRIPTIONS[7].1).unwrap());
    // A message in a message in a message: as the parent of a container's id, and as a group that nobody knows.
    let nested = |tag: u8, levels: usize| {
        let mut inner: Vec<u8> = Vec::new();
        for _ in 0..levels {
            let mut outer = vec![tag];
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            outer.extend_from_slice(&inner);
            inner = outer;
        }
        inner
    };
    let bodies: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0xff; 64],
        vec![0x0a, 0x80],
        whole[..whole.len() - 1].to_vec(),
        vec![0x0b; 4000],
        nested(0x0a, 1000),
        nested(0x1a, 1000),
    ];
    for body in bodies {
        let headers = [("content-type", "application/x-protobuf")];
        let answer = world.fixture.send(Method::POST, PATH, &headers, body.clone()).await;
        assert_eq!(answer.status().as_u16(), 400, "{:02x?}", &body[..body.len().min(16)]);
    }
    for open in ["[", "{\"a\":", "{\"subscribe\":", "{\"type\":["] {
        let body = open.repeat(4000 / open.len());
        let answer = world.fixture.post_json(PATH, &body).await;
        assert_eq!(answer.status().as_u16(), 400, "{open}");
    }
}

fn events(media: MediaType, bytes: &[u8]) -> Vec<Event> {
    let mut decoder = Decoder::new(1 << 20);
    decoder.push(bytes);
    let mut events = Vec::new();
    while let Some(record) = decoder.next_record().unwrap() {
        events.push(wire::decode(media, &record).unwrap());
    }
    decoder.finish().unwrap();
    events
}
