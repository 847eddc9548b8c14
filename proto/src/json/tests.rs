//! The table of the JSON mapping, row by row.

use serde_json::json;

use crate::media_type::MediaType;
use crate::v1::{self, agent, executor, maintenance, master, scheduler};
use crate::wire::{WireMessage, decode, encode};

fn read<M: WireMessage>(value: &serde_json::Value) -> Result<M, String> {
    decode(MediaType::Json, value.to_string().as_bytes()).map_err(|error| error.to_string())
}

fn written<M: WireMessage>(message: &M) -> String {
    String::from_utf8(encode(MediaType::Json, message).to_vec()).unwrap()
}

#[test]
fn unknown_and_camel_case_names_are_ignored() {
    let call: scheduler::Call = read(&json!({
        "type": "KILL", "kill": {"task_id": {"value": "t", "x": [1, {"y": null}]}, "agentId": {"value": "a"}},
        "frameworkId": {"value": "f"}, "unknown": {"deep": [[[]]]},
    }))
    .unwrap();
    assert_eq!(call.framework_id, None);
    let kill = call.kill.unwrap();
    assert_eq!(kill.agent_id, None);
    assert_eq!(kill.task_id.unwrap().value(), "t");
}

#[test]
fn the_old_name_of_the_agent_id_is_accepted() {
    let call: scheduler::Call =
        read(&json!({"type": "KILL", "kill": {"task_id": {"value": "t"}, "slave_id": {"value": "a"}}}))
            .unwrap();
    assert_eq!(call.kill.unwrap().agent_id.unwrap().value(), "a");
}

#[test]
fn null_is_absence() {
    let call: scheduler::Call = read(&json!({
        "type": "DECLINE", "framework_id": null, "subscribe": null,
        "decline": {"offer_ids": null, "filters": {"refuse_seconds": null}},
    }))
    .unwrap();
    assert_eq!(call.framework_id, None);
    assert_eq!(call.subscribe, None);
    let decline = call.decline.unwrap();
    assert!(decline.offer_ids.is_empty());
    assert_eq!(decline.filters.unwrap().refuse_seconds, None);
    let error = read::<scheduler::Call>(&json!(null)).unwrap_err();
    assert!(error.contains("expected an object, found null"), "{error}");
}

#[test]
fn enums_are_names() {
    let value = |text: serde_json::Value| read::<v1::Value>(&json!({ "type": text }));
    assert_eq!(value(json!("SET")).unwrap().r#type, Some(v1::value::Type::Set as i32));
    assert!(
        value(json!(1))
            .unwrap_err()
            .contains("field `type`: expected the name of an enum value, found a number")
    );
    assert!(value(json!("NOPE")).unwrap_err().contains("lacks the required field 'type'"));

    let info = json!({"user": "u", "name": "n", "capabilities": [
        {"type": "MULTI_ROLE"}, {"type": "SOMETHING_NEW"}, {"type": null}, {}]});
    let info: v1::FrameworkInfo = read(&info).unwrap();
    let types: Vec<Option<i32>> = info.capabilities.iter().map(|capability| capability.r#type).collect();
    assert_eq!(types, [Some(6), None, None, None]);

    let call: scheduler::Call = read(&json!({"type": "BREW_COFFEE"})).unwrap();
    assert_eq!(call.r#type, None);
}

#[test]
fn unknown_enum_numbers_are_unset_in_protobuf_too() {
    let status = |state| v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some("t".into()) }),
        state: Some(state),
        reason: Some(9_999),
        ..Default::default()
    };
    let bytes = encode(MediaType::Protobuf, &status(1));
    let read: v1::TaskStatus = decode(MediaType::Protobuf, &bytes).unwrap();
    assert_eq!(read.state(), v1::TaskState::TaskRunning);
    assert_eq!(read.reason, None);
    let error =
        decode::<v1::TaskStatus>(MediaType::Protobuf, &encode(MediaType::Protobuf, &status(77))).unwrap_err();
    assert_eq!(error.to_string(), "mesos.v1.TaskStatus lacks the required field 'state'");
    assert!(!written(&status(77)).contains("state"));
}

#[test]
fn numbers_and_booleans_may_be_text() {
    let info: v1::MasterInfo = read(&json!({"id": "m", "ip": "4294967295", "port": "5050"})).unwrap();
    assert_eq!((info.ip(), info.port()), (u32::MAX, 5050));
    let info: v1::FrameworkInfo =
        read(&json!({"user": "", "name": "", "failover_timeout": "1.5", "checkpoint": "true"})).unwrap();
    assert_eq!((info.failover_timeout(), info.checkpoint()), (1.5, true));
    let duration: v1::DurationInfo = read(&json!({"nanoseconds": 9_007_199_254_740_993_i64})).unwrap();
    assert_eq!(duration.nanoseconds(), 9_007_199_254_740_993);
    assert_eq!(written(&duration), r#"{"nanoseconds":9007199254740993}"#);
    let ports: v1::value::Range =
        read(&json!({"begin": "18446744073709551614", "end": 18_446_744_073_709_551_615_u64})).unwrap();
    assert_eq!((ports.begin(), ports.end()), (u64::MAX - 1, u64::MAX));
    assert_eq!(written(&ports), r#"{"begin":18446744073709551614,"end":18446744073709551615}"#);
    let duration: v1::DurationInfo = read(&json!({"nanoseconds": 5.0})).unwrap();
    assert_eq!(duration.nanoseconds(), 5);

    let port = |value: serde_json::Value| read::<v1::Port>(&json!({ "number": value }));
    for bad in [
        json!(-1),
        json!(4_294_967_296_u64),
        json!(1.5),
        json!("x"),
        json!(""),
        json!(true),
        json!([1]),
        json!({}),
    ] {
        let error = port(bad).unwrap_err();
        assert!(error.contains("field `number`: expected an unsigned 32-bit integer, found"), "{error}");
    }
    let checkpoint = |value: serde_json::Value| {
        read::<v1::FrameworkInfo>(&json!({"user": "", "name": "", "checkpoint": value}))
    };
    for bad in [json!(1), json!("yes"), json!("TRUE")] {
        assert!(checkpoint(bad).is_err());
    }
}

#[test]
fn doubles() {
    let scalar = |value: serde_json::Value| read::<v1::value::Scalar>(&json!({ "value": value }));
    assert_eq!(scalar(json!("Infinity")).unwrap().value(), f64::INFINITY);
    assert_eq!(scalar(json!("-Infinity")).unwrap().value(), f64::NEG_INFINITY);
    assert_eq!(scalar(json!("1e3")).unwrap().value(), 1000.0);
    assert_eq!(scalar(json!(u64::MAX)).unwrap().value(), 18_446_744_073_709_551_615.0);
    for bad in ["inf", "infinity", "nan", "", "1,5", "0x10", "1e999"] {
        assert!(scalar(json!(bad)).is_err(), "{bad}");
    }
    let shown = |value| written(&v1::value::Scalar { value: Some(value) });
    assert_eq!(shown(15.0), r#"{"value":15.0}"#);
    assert_eq!(shown(0.1), r#"{"value":0.1}"#);
    assert_eq!(shown(f64::INFINITY), r#"{"value":"Infinity"}"#);
}

/// Found by the fuzz targets: the parser's default is the fast way, which is the nearest double or one beside it.
#[test]
fn every_double_is_read_exactly() {
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let value = f64::from_bits(bits);
        if value.is_finite() {
            let text = written(&v1::value::Scalar { value: Some(value) });
            let again: v1::value::Scalar = decode(MediaType::Json, text.as_bytes()).unwrap();
            assert_eq!(again.value().to_bits(), bits, "{text}");
        }
    }
}

/// Without a bound of their own, a status that could just be read could not be read any more as a part of a log entry.
#[test]
fn containers_within_containers_are_bounded_in_both_encodings() {
    let nested = |levels: usize| {
        let id = |parent| v1::ContainerId { value: Some("c".to_owned()), parent };
        let inner = (1..levels).fold(id(None), |inner, _| id(Some(Box::new(inner))));
        let status = v1::ContainerStatus { container_id: Some(inner), ..Default::default() };
        v1::TaskStatus {
            task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
            state: Some(v1::TaskState::TaskRunning as i32),
            container_status: Some(status),
            ..Default::default()
        }
    };
    for media in [MediaType::Json, MediaType::Protobuf] {
        for (levels, fits) in [(1, true), (32, true), (33, false), (60, false)] {
            let read = decode::<v1::TaskStatus>(media, &encode(media, &nested(levels)));
            assert_eq!(read.is_ok(), fits, "{levels} in {media}");
            if let Err(error) = read {
                let text = error.to_string();
                assert!(
                    text.contains("container_status.container_id.parent") && text.contains("deep"),
                    "{text}"
                );
            }
        }
        assert!(decode::<v1::TaskStatus>(media, &encode(media, &nested(110))).is_err());
    }
}

#[test]
fn bytes_are_padded_base64() {
    let status = |text: &str| {
        read::<v1::TaskStatus>(&json!({"task_id": {"value": "t"}, "state": "TASK_RUNNING", "data": text}))
    };
    assert_eq!(status("/+8=").unwrap().data(), [0xff, 0xef]);
    for bad in ["/+8", "_-8=", "/+8=\n", "%"] {
        let error = status(bad).unwrap_err();
        assert!(error.contains("field `data`: invalid base64"), "{error}");
    }
    let message = scheduler::call::Message { data: Some(vec![0xff, 0xef].into()), ..Default::default() };
    assert_eq!(written(&message), r#"{"data":"/+8="}"#);
}

#[test]
fn a_single_value_is_a_list_of_one_and_nested_lists_are_flat() {
    let decline = |ids: serde_json::Value| {
        let call =
            read::<scheduler::Call>(&json!({"type": "DECLINE", "decline": {"offer_ids": ids}})).unwrap();
        call.decline.unwrap().offer_ids.into_iter().map(|id| id.value.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(decline(json!({"value": "a"})), ["a"]);
    assert_eq!(decline(json!([[{"value": "a"}], [[{"value": "b"}, null]], {"value": "c"}])), ["a", "b", "c"]);
    let subscribe: scheduler::call::Suppress = read(&json!({"roles": "web"})).unwrap();
    assert_eq!(subscribe.roles, ["web"]);
    let flags: v1::LinuxInfo = read(&json!({"effective_capabilities": {"capabilities": "CHOWN"}})).unwrap();
    assert_eq!(flags.effective_capabilities.unwrap().capabilities.len(), 1);
    let flags = json!({"effective_capabilities": {"capabilities": ["CHOWN", "OF_TOMORROW", ["KILL"]]}});
    let flags: v1::LinuxInfo = read(&flags).unwrap();
    assert_eq!(flags.effective_capabilities.unwrap().capabilities.len(), 2, "an unknown name is left out");
}

#[test]
fn arrays_are_not_objects_nor_scalars() {
    let error =
        read::<scheduler::Call>(&json!({"type": "KILL", "kill": [{"task_id": {"value": "t"}}]})).unwrap_err();
    assert!(error.contains("field `kill`: expected an object, found an array"), "{error}");
    for top in [json!([]), json!("x"), json!(1), json!(true)] {
        assert!(read::<scheduler::Call>(&top).is_err());
    }
}

#[test]
fn maps() {
    let limits = json!({"cpus": {"value": "Infinity"}, "mem": {"value": 64}, "disk": null});
    let task: v1::TaskInfo =
        read(&json!({"name": "", "task_id": {"value": "t"}, "agent_id": {"value": "a"}, "limits": limits}))
            .unwrap();
    assert_eq!(task.limits.len(), 2);
    let text = written(&task);
    assert!(text.ends_with(r#""limits":{"cpus":{"value":"Infinity"},"mem":{"value":64.0}}}"#), "{text}");
    let error = read::<v1::TaskInfo>(&json!({"limits": {"cpus": {"value": []}}})).unwrap_err();
    assert!(error.contains("field `limits.cpus.value`: expected a number, found an array"), "{error}");
}

#[test]
fn unions_keep_their_member() {
    let selector: scheduler::attribute_constraint::Selector =
        read(&json!({"attribute_name": "rack"})).unwrap();
    assert_eq!(written(&selector), r#"{"attribute_name":"rack"}"#);
    let predicate = json!({"selector": {"pseudoattribute_type": "ZONE"}, "predicate": {"exists": {}, "text_equals": null}});
    let constraint: scheduler::AttributeConstraint = read(&predicate).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&written(&constraint)).unwrap(),
        json!({
            "selector": {"pseudoattribute_type": "ZONE"}, "predicate": {"exists": {}},
        })
    );
}

#[test]
fn declared_defaults_are_written_unless_deprecated() {
    let shown = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let info = shown(written(&v1::FrameworkInfo::default()));
    assert_eq!(info, json!({"failover_timeout": 0.0, "checkpoint": false}));
    assert_eq!(shown(written(&v1::CommandInfo::default())), json!({"shell": true}));
    assert_eq!(shown(written(&v1::command_info::Uri::default())), json!({"extract": true}));
    assert_eq!(shown(written(&v1::AgentInfo::default())), json!({"port": 5051}));
    assert_eq!(shown(written(&v1::Filters::default())), json!({"refuse_seconds": 5.0}));
    assert_eq!(shown(written(&v1::Image::default())), json!({"cached": true}));
    let docker = v1::container_info::DockerInfo::default();
    assert_eq!(shown(written(&docker)), json!({"network": "HOST", "privileged": false}));
    assert_eq!(shown(written(&v1::Resource::default())), json!({}));
    let role = v1::Resource { role: Some("*".into()), ..Default::default() };
    assert_eq!(shown(written(&role)), json!({"role": "*"}));
    assert_eq!(
        shown(written(&v1::CheckInfo::default())),
        json!({"delay_seconds": 15.0, "interval_seconds": 10.0, "timeout_seconds": 20.0})
    );
    assert_eq!(
        shown(written(&v1::HealthCheck::default())),
        json!({
            "consecutive_failures": 3, "delay_seconds": 15.0, "grace_period_seconds": 10.0,
            "interval_seconds": 10.0, "timeout_seconds": 20.0,
        })
    );
}

#[test]
fn missing_fields_are_named_with_their_path() {
    let cases = [
        (json!({"subscribe": {}}), "subscribe.framework_info"),
        (json!({"subscribe": {"framework_info": {"name": "n"}}}), "subscribe.framework_info.user"),
        (json!({"acknowledge": {"agent_id": {"value": "a"}, "uuid": ""}}), "acknowledge.task_id"),
        (json!({"decline": {"offer_ids": [{"value": "a"}, {}]}}), "decline.offer_ids[1].value"),
        (
            json!({"accept": {"operations": [{"launch": {"task_infos": [{"name": "x", "task_id": {"value": "t"},
                "agent_id": {"value": "a"}, "limits": {"cpus": {}}}]}}]}}),
            "accept.operations[0].launch.task_infos[0].limits.cpus.value",
        ),
    ];
    for (body, path) in cases {
        let expected = format!("mesos.v1.scheduler.Call lacks the required field '{path}'");
        assert_eq!(read::<scheduler::Call>(&body).unwrap_err(), expected);
        // The same message in the other encoding, with the same gap.
        let gappy: scheduler::Call = serde_json::from_value(body).unwrap();
        let error =
            decode::<scheduler::Call>(MediaType::Protobuf, &encode(MediaType::Protobuf, &gappy)).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(gappy.missing().as_deref(), Some(path));
    }
}

#[test]
fn errors_name_the_field_and_the_place() {
    let text = "{\"type\": \"ACCEPT\",\n \"accept\": {\"offer_ids\": [{\"value\": \"o\"}, {\"value\": 7}]}}";
    let error = decode::<scheduler::Call>(MediaType::Json, text.as_bytes()).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "body is not a mesos.v1.scheduler.Call in JSON: field `accept.offer_ids[1].value`: expected a string, \
             found a number at line 2 column"
        ),
        "{error}"
    );
    let long = format!("{{\"type\": \"KILL\", \"kill\": \"{}\"}}", "x".repeat(100_000));
    let error = decode::<scheduler::Call>(MediaType::Json, long.as_bytes()).unwrap_err().to_string();
    assert!(error.len() < 300, "an error does not repeat what was sent");
    let error = decode::<scheduler::Call>(MediaType::Json, b"{\"type\": \"KILL\", \"kill\": {")
        .unwrap_err()
        .to_string();
    assert!(error.contains("field `kill`: EOF while parsing an object at line 1 column 26"), "{error}");
    assert!(decode::<scheduler::Call>(MediaType::Json, b"{} x").is_err());
    assert!(decode::<scheduler::Call>(MediaType::Json, b"").is_err());
    assert!(decode::<scheduler::Call>(MediaType::Json, b"{\"type\": \"\xff\"}").is_err());
}

#[test]
fn durations_may_be_text() {
    let drain = |grace: serde_json::Value| {
        let call = json!({"type": "DRAIN_AGENT", "drain_agent": {"agent_id": {"value": "a"}, "max_grace_period": grace}});
        read::<master::Call>(&call).map(|call| call.drain_agent.unwrap().max_grace_period.unwrap())
    };
    assert_eq!(drain(json!("10mins")).unwrap().seconds(), 600);
    assert_eq!(drain(json!({"seconds": 600})).unwrap().seconds(), 600);
    assert_eq!(drain(json!("1500ms")).unwrap().nanos(), 500_000_000);
    assert!(
        drain(json!("soon"))
            .unwrap_err()
            .contains("field `drain_agent.max_grace_period`: expected an object")
    );
    let policy: v1::KillPolicy = read(&json!({"grace_period": "3secs"})).unwrap();
    assert_eq!(policy.grace_period.unwrap().nanoseconds(), 3_000_000_000);
}

#[test]
fn depth_is_bounded_in_both_encodings() {
    let mut text = "{\"value\":\"c\"}".to_owned();
    let mut nested = v1::ContainerId { value: Some("c".into()), parent: None };
    for _ in 0..200 {
        text = format!("{{\"value\":\"c\",\"parent\":{text}}}");
        nested = v1::ContainerId { value: Some("c".into()), parent: Some(Box::new(nested)) };
    }
    assert!(decode::<v1::ContainerId>(MediaType::Json, text.as_bytes()).is_err());
    assert!(decode::<v1::ContainerId>(MediaType::Protobuf, &encode(MediaType::Protobuf, &nested)).is_err());
    let arrays = format!("{{\"roles\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(decode::<scheduler::call::Suppress>(MediaType::Json, arrays.as_bytes()).is_err());
    let ignored = format!("{{\"unknown\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let _ = decode::<scheduler::call::Suppress>(MediaType::Json, ignored.as_bytes());
}

#[test]
fn text_is_ascii_on_one_line() {
    let event = scheduler::Event {
        r#type: Some(scheduler::event::Type::Error as i32),
        error: Some(scheduler::event::Error { message: Some("naïve\n😀".into()) }),
        ..Default::default()
    };
    assert_eq!(written(&event), r#"{"type":"ERROR","error":{"message":"na\u00efve\n\ud83d\ude00"}}"#);
    assert_eq!(read::<scheduler::Event>(&serde_json::from_str(&written(&event)).unwrap()).unwrap(), event);
}

#[test]
fn every_api_has_its_types() {
    assert!(
        read::<executor::Call>(&json!({"executor_id": {"value": "e"}, "framework_id": {"value": "f"}}))
            .is_ok()
    );
    assert!(read::<agent::Call>(&json!({"type": "GET_STATE"})).is_ok());
    assert!(read::<maintenance::Schedule>(&json!({})).is_ok());
}
