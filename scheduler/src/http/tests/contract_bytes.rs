//! What no text can say: protobuf that is damaged or from another time, text that is not UTF-8; subscriptions that are odd and right; and the
//! operator API's calls without what they need.

use hyper::Method;
use tepui_proto::MediaType;
use tepui_proto::recordio::Decoder;
use tepui_proto::v1::master;
use tepui_proto::v1::scheduler::{Call, Event, event};
use tepui_proto::wire;

use super::fixture::{Fixture, json, text};
use super::world::{World, encodings};

const PATH: &str = "/api/v1/scheduler";

/// A field of bytes: its tag, its length, itself.
fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

#[tokio::test]
async fn protobuf_that_no_text_can_say_has_its_answer() {
    const REVIVE: &[u8] = &[0x10, 5];
    let world = World::new(Fixture::leading());
    let live = field(0x0a, &field(0x0a, world.live.id.as_str().as_bytes()));
    let with = |parts: &[&[u8]]| [live.as_slice()].iter().chain(parts).copied().collect::<Vec<_>>().concat();
    let table: Vec<(&str, Vec<u8>, u16, &[&str])> = vec![
        ("a type from another time", with(&[&[0x10, 99]]), 400, &["'type'"]),
        ("the type that is none", with(&[&[0x10, 0]]), 501, &["not implemented"]),
        (
            "a text for the type",
            with(&[&field(0x12, b"REVIVE")]),
            400,
            &["mesos.v1.scheduler.Call", "protobuf"],
        ),
        (
            "text that is not UTF-8",
            [field(0x0a, &field(0x0a, &[0xff])), REVIVE.to_vec()].concat(),
            400,
            &["protobuf"],
        ),
        ("a length beyond the end", with(&[REVIVE, &[0x7a, 9, 1]]), 400, &["protobuf"]),
        ("a number without end", with(&[&[0x10], &[0xff; 11]]), 400, &["protobuf"]),
        ("a field of number zero", with(&[REVIVE, &[0x02, 0]]), 400, &["protobuf"]),
        ("a group that does not end", with(&[REVIVE, &[0x0b]]), 400, &["protobuf"]),
        // KILL without a task.
        ("a message without what it needs", with(&[&[0x10, 6], &field(0x32, &[])]), 400, &["'kill.task_id'"]),
        ("a field from another time", with(&[REVIVE, &[0xa0, 0x06, 1]]), 202, &[]),
        (
            "one within a message",
            [
                field(0x0a, &[field(0x0a, world.live.id.as_str().as_bytes()), vec![0x50, 1]].concat()),
                REVIVE.to_vec(),
            ]
            .concat(),
            202,
            &[],
        ),
        ("the type twice: the last counts", with(&[&[0x10, 6], REVIVE]), 202, &[]),
    ];
    let headers =
        [("content-type", "application/x-protobuf"), ("mesos-stream-id", world.live.stream_id.as_str())];
    for (what, body, status, words) in table {
        let answer = world.fixture.send(Method::POST, PATH, &headers, body).await;
        assert_eq!(answer.status().as_u16(), status, "{what}");
        let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        assert_eq!(kind.as_deref(), (status >= 400).then_some("text/plain"), "{what}");
        let reason = text(answer).await;
        assert!(words.iter().all(|word| reason.contains(word)), "{what}: {reason:?} instead of {words:?}");
    }
}

#[tokio::test]
async fn json_that_is_not_utf_8_is_a_400() {
    let world = World::new(Fixture::leading());
    for body in [&b"{\"type\":\"\xff\"}"[..], b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}"] {
        let headers = [("content-type", "application/json")];
        let answer = world.fixture.send(Method::POST, PATH, &headers, body).await;
        assert_eq!(answer.status().as_u16(), 400, "{body:?}");
        assert!(text(answer).await.contains("JSON"), "{body:?}");
    }
}

#[tokio::test]
async fn odd_subscriptions_are_taken() {
    let world = World::new(Fixture::leading());
    for (what, call) in [
        (
            "an empty id",
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","id":{"value":""}}}}"#,
        ),
        (
            "an empty id in both places",
            r#"{"type":"SUBSCRIBE","framework_id":{"value":""},"subscribe":{"framework_info":{"user":"u","name":"n","id":{"value":""}}}}"#,
        ),
        (
            "an id of its own",
            r#"{"type":"SUBSCRIBE","framework_id":{"value":"singularity"},"subscribe":{"framework_info":{"user":"u","name":"n","id":{"value":"singularity"}}}}"#,
        ),
        (
            "a capability from another time",
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","capabilities":[{"type":"TIME_TRAVEL"},{}]}}}"#,
        ),
        (
            "an empty name and user",
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"","name":""}}}"#,
        ),
        (
            "what MH sends",
            r#"{"type":"SUBSCRIBE","subscribe":{"credentials":{"principal":"p"},"framework_info":{"user":"u","name":"n","hostname":"","webui_url":"","role":"*"}}}"#,
        ),
        (
            "what NF sends",
            r#"{"type":"SUBSCRIBE","framework_id":null,"accept":null,"subscribe":{"suppressed_roles":null,"framework_info":{"user":"u","name":"n","id":null,"roles":null,"labels":null,"principal":null,"capabilities":null,"failover_timeout":null}}}"#,
        ),
        (
            "a negative timeout",
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","failover_timeout":-1}}}"#,
        ),
        (
            "several roles, one of them suppressed",
            r#"{"type":"SUBSCRIBE","subscribe":{"suppressed_roles":"a/b","framework_info":{"user":"u","name":"n","roles":["a/b","c.d_e-f"],"capabilities":{"type":"MULTI_ROLE"}}}}"#,
        ),
        (
            "no role at all",
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","capabilities":[{"type":"MULTI_ROLE"}]}}}"#,
        ),
    ] {
        for (media, body) in encodings::<Call>(call) {
            let headers = [("content-type", media.as_str()), ("accept", media.as_str())];
            let answer = world.fixture.send(Method::POST, PATH, &headers, body).await;
            assert_eq!(answer.status().as_u16(), 200, "{what} in {media}");
            let first = first_event(media, answer).await;
            assert_eq!(first.r#type(), event::Type::Subscribed, "{what} in {media}: {first:?}");
            let id = first.subscribed.unwrap().framework_id.unwrap();
            let own = if what == "an id of its own" { "singularity" } else { "m1-0" };
            assert!(id.value().starts_with(own), "{what} in {media}: {id:?}");
        }
    }
}

/// The first record of a stream that goes on.
async fn first_event(media: MediaType, answer: axum::response::Response) -> Event {
    let mut body = answer.into_body();
    let mut decoder = Decoder::new(1 << 20);
    loop {
        let frame = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
        decoder.push(&frame.into_data().unwrap());
        if let Some(record) = decoder.next_record().unwrap() {
            return wire::decode(media, &record).unwrap();
        }
    }
}

/// Calls of the operator API with a member, and a field that the member must have.
const MEMBERS: &[(&str, Option<&str>)] = &[
    ("GET_METRICS", None),
    ("SET_LOGGING_LEVEL", Some("level")),
    ("LIST_FILES", Some("path")),
    ("READ_FILE", Some("path")),
    ("UPDATE_WEIGHTS", None),
    ("RESERVE_RESOURCES", Some("agent_id")),
    ("UNRESERVE_RESOURCES", Some("agent_id")),
    ("CREATE_VOLUMES", Some("agent_id")),
    ("DESTROY_VOLUMES", Some("agent_id")),
    ("GROW_VOLUME", Some("volume")),
    ("SHRINK_VOLUME", Some("volume")),
    ("UPDATE_MAINTENANCE_SCHEDULE", Some("schedule")),
    ("START_MAINTENANCE", None),
    ("STOP_MAINTENANCE", None),
    ("UPDATE_QUOTA", None),
    ("SET_QUOTA", Some("quota_request")),
    ("REMOVE_QUOTA", Some("role")),
    ("TEARDOWN", Some("framework_id")),
    ("MARK_AGENT_GONE", Some("agent_id")),
    ("DRAIN_AGENT", Some("agent_id")),
    ("DEACTIVATE_AGENT", Some("agent_id")),
    ("REACTIVATE_AGENT", Some("agent_id")),
];

#[tokio::test]
async fn operator_calls_without_what_they_need_are_refused_by_name() {
    let leader = Fixture::leading();
    let mut table = Vec::new();
    for (kind, needs) in MEMBERS {
        let member = kind.to_lowercase();
        table.push((format!(r#"{{"type":"{kind}"}}"#), 400, format!("'{member}'")));
        table.push((format!(r#"{{"type":"{kind}","{member}":[]}}"#), 400, format!("`{member}`")));
        if let Some(needs) = needs {
            table.push((
                format!(r#"{{"type":"{kind}","{member}":{{}}}}"#),
                400,
                format!("'{member}.{needs}'"),
            ));
        }
    }
    for (body, status, word) in [
        ("", 400, ""),
        ("{", 400, "mesos.v1.master.Call"),
        ("[]", 400, "an object"),
        ("{}", 400, "'type'"),
        (r#"{"type":null}"#, 400, "'type'"),
        (r#"{"type":"NONSENSE"}"#, 400, "'type'"),
        (r#"{"type":4}"#, 400, "type"),
        (r#"{"type":"UNKNOWN"}"#, 501, "not implemented"),
        (
            r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":1}}"#,
            400,
            "set_logging_level.duration",
        ),
        (
            r#"{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":-1,"duration":{"nanoseconds":1}}}"#,
            400,
            "set_logging_level.level",
        ),
        (r#"{"type":"READ_FILE","read_file":{"path":"/master/log"}}"#, 400, "read_file.offset"),
        (r#"{"type":"READ_FILE","read_file":{"path":"/nowhere","offset":0}}"#, 404, ""),
        (r#"{"type":"LIST_FILES","list_files":{"path":"/nowhere"}}"#, 404, ""),
        (r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":""}}}"#, 400, "agent_id"),
        (
            r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"a"},"max_grace_period":"soon"}}"#,
            400,
            "drain_agent.max_grace_period",
        ),
        (
            r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"a"},"max_grace_period":{"seconds":-1}}}"#,
            400,
            "max_grace_period",
        ),
        (
            r#"{"type":"GROW_VOLUME","grow_volume":{"volume":{"name":"disk","type":"SCALAR"}}}"#,
            400,
            "grow_volume.addition",
        ),
        (
            r#"{"type":"SHRINK_VOLUME","shrink_volume":{"volume":{"name":"disk","type":"SCALAR"}}}"#,
            400,
            "shrink_volume.subtract",
        ),
        (
            r#"{"type":"UPDATE_WEIGHTS","update_weights":{"weight_infos":[{"role":"a"}]}}"#,
            400,
            "weight_infos[0].weight",
        ),
        (
            r#"{"type":"UPDATE_WEIGHTS","update_weights":{"weight_infos":[{"role":"a","weight":"heavy"}]}}"#,
            400,
            "weight",
        ),
        (
            r#"{"type":"RESERVE_RESOURCES","reserve_resources":{"agent_id":{"value":"a"},"resources":[{"name":"cpus"}]}}"#,
            400,
            "resources[0].type",
        ),
    ] {
        table.push((body.to_owned(), status, word.to_owned()));
    }
    for (text_of_call, status, word) in &table {
        for (media, body) in encodings::<master::Call>(text_of_call) {
            let headers = [("content-type", media.as_str())];
            let answer = leader.send(Method::POST, "/api/v1", &headers, body).await;
            assert_eq!(answer.status().as_u16(), *status, "{text_of_call} in {media}");
            assert_eq!(answer.headers()["content-type"], "text/plain", "{text_of_call} in {media}");
            let reason = text(answer).await;
            assert!(reason.contains(word), "{text_of_call} in {media}: {reason:?} does not name {word}");
        }
    }
}

#[tokio::test]
async fn a_type_that_is_not_known_is_named() {
    let leader = Fixture::leading();
    for path in ["/api/v1", "/api/v1/scheduler", "/tepui/v1/operator"] {
        let answer = leader.post_json(path, r#"{"type":"FOO"}"#).await;
        assert_eq!(answer.status().as_u16(), 400, "{path}");
        let reason = text(answer).await;
        assert!(reason.contains("'type'") && reason.contains("\"FOO\" is not known"), "{path}: {reason}");
    }
}

#[tokio::test]
async fn unknown_paths_are_a_404_in_plain_text_on_every_master() {
    for fixture in [Fixture::leading(), Fixture::standby(Some("b:1")), Fixture::standby(None)] {
        for path in ["/nothing", "/api", "/api/v2", "/master/nothing", "/redirect/x", "/tepui/v1/nothing"] {
            for method in [Method::GET, Method::POST] {
                let answer = fixture.send(method, path, &[], "").await;
                assert_eq!(answer.status().as_u16(), 404, "{path}");
                assert_eq!(answer.headers()["content-type"], "text/plain", "{path}");
            }
        }
    }
    let version = json(Fixture::leading().get("/version").await).await;
    let version = version["version"].as_str().unwrap();
    assert!(
        version.split('.').all(|part| part.parse::<u32>().is_ok()),
        "{version} is not numbers and points"
    );
}
