//! Scenarios 1–5, 7–10, 15, 19: what is examined before a call is understood, and the form of what comes back.

use bytes::Bytes;
use tepui_proto::MediaType;
use tepui_proto::v1;
use tepui_proto::v1::scheduler::{Call, call};
use tepui_proto::wire;

use crate::conformance::Context;
use crate::conformance::wire::messages::{
    acknowledge, framework_id, in_roles, info, lasting, of, revive, subscribe,
};
use crate::conformance::wire::{Answer, Framework, SCHEDULER, check, chunks};

impl Context {
    /// Posts a body to the scheduler API with exactly these headers.
    async fn post_raw(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> anyhow::Result<Answer> {
        self.http.send("POST", &self.leader().await?, SCHEDULER, headers, body.into()).await
    }

    async fn no_framework(&self) -> anyhow::Result<()> {
        let frameworks = self.frameworks().await?;
        anyhow::ensure!(frameworks.is_empty(), "a framework appeared: {frameworks:?}");
        Ok(())
    }
}

pub(crate) async fn no_content_type(cx: &mut Context) -> anyhow::Result<()> {
    let body = wire::encode(cx.media, &subscribe(info("untyped")));
    cx.post_raw(&[], body).await?.refuses(400)?.saying("Content-Type")?;
    cx.no_framework().await
}

pub(crate) async fn unsupported_content_type(cx: &mut Context) -> anyhow::Result<()> {
    let body = wire::encode(cx.media, &subscribe(info("text")));
    for kind in ["text/plain", "application/jsonx", "application/recordio", "json"] {
        cx.post_raw(&[("content-type", kind)], body.clone()).await?.refuses(415)?;
    }
    cx.no_framework().await
}

pub(crate) async fn malformed_content(cx: &mut Context) -> anyhow::Result<()> {
    let kind = [("content-type", cx.media.as_str())];
    let nameless = subscribe(v1::FrameworkInfo { name: None, ..info("x") });
    let mut bodies: Vec<(Bytes, &str)> = vec![(wire::encode(cx.media, &nameless), "name")];
    match cx.media {
        MediaType::Json => bodies.extend(
            [
                ("{", ""),
                ("", ""),
                ("[]", ""),
                ("\"SUBSCRIBE\"", ""),
                (r#"{"type":"SUBSCRIBE""#, ""),
                (r#"{"type":"SUBSCRIBE","subscribe":{}}"#, "framework_info"),
                (r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":[]}}"#, ""),
                (r#"{"type":"SUBSCRIBE"}"#, "subscribe"),
                (r#"{"subscribe":{"framework_info":{"user":"u","name":"n"}}}"#, "type"),
            ]
            .map(|(text, word)| (Bytes::from_static(text.as_bytes()), word)),
        ),
        MediaType::Protobuf => {
            let whole = wire::encode(cx.media, &subscribe(info("cut")));
            bodies.push((whole.slice(..whole.len() - 1), ""));
            bodies.push((Bytes::from_static(&[0xff; 40]), ""));
            bodies.push((Bytes::new(), "type"));
        }
    }
    for (body, word) in bodies {
        cx.post_raw(&kind, body).await?.refuses(400)?.saying(word)?;
    }
    cx.no_framework().await
}

pub(crate) async fn accept_header(cx: &mut Context) -> anyhow::Result<()> {
    let master = cx.leader().await?;
    let body = wire::encode(cx.media, &subscribe(info("accepts")));
    for accept in ["foo", "text/html", "application/json;q=0", "*/*;q=0"] {
        let headers = [("content-type", cx.media.as_str()), ("accept", accept)];
        cx.post_raw(&headers, body.clone()).await?.refuses(406)?;
    }
    cx.no_framework().await?;
    let json = [
        None,
        Some("*/*"),
        Some("application/*"),
        Some("application/json"),
        Some("application/x-protobuf, application/json"),
        Some("text/html, */*;q=0.1"),
    ];
    let protobuf = [Some("application/x-protobuf"), Some("application/json;q=0, */*")];
    let cases = json.map(|accept| (accept, MediaType::Json)).into_iter();
    for (accept, expected) in cases.chain(protobuf.map(|accept| (accept, MediaType::Protobuf))) {
        let mut headers = vec![("content-type", cx.media.as_str())];
        headers.extend(accept.map(|accept| ("accept", accept)));
        // The type of the answer is checked where the stream is opened.
        let mut stream = cx.http.open_raw(&master, SCHEDULER, &headers, body.clone(), expected).await?;
        let first: Option<v1::scheduler::Event> = stream.next().await?;
        anyhow::ensure!(first.is_some_and(|event| event.subscribed.is_some()), "{accept:?}: no SUBSCRIBED");
    }
    Ok(())
}

pub(crate) async fn method(cx: &mut Context) -> anyhow::Result<()> {
    let master = cx.leader().await?;
    for method in ["GET", "PUT", "DELETE"] {
        let answer = cx.http.send(method, &master, SCHEDULER, &[], Bytes::new()).await?.expect(405)?;
        anyhow::ensure!(answer.header("allow") == Some("POST"), "Allow: {:?}", answer.header("allow"));
    }
    Ok(())
}

pub(crate) async fn subscribe_with_stream_id(cx: &mut Context) -> anyhow::Result<()> {
    let headers = [("mesos-stream-id", "11111111-1111-1111-1111-111111111111")];
    let call = subscribe(info("again"));
    cx.http.post(&cx.leader().await?, SCHEDULER, &headers, &call).await?.refuses(400)?;
    cx.no_framework().await
}

pub(crate) async fn wrong_stream_id(cx: &mut Context) -> anyhow::Result<()> {
    let framework = cx.subscribe(info("guarded")).await?;
    let call = Call { framework_id: Some(framework_id(&framework.id)), ..of(call::Type::Teardown) };
    cx.http.post(&framework.master, SCHEDULER, &[], &call).await?.refuses(400)?;
    let other = uuid::Uuid::new_v4().to_string();
    for wrong in ["", "x", other.as_str()] {
        let headers = [("mesos-stream-id", wrong)];
        cx.http.post(&framework.master, SCHEDULER, &headers, &call).await?.refuses(400)?;
    }
    let alive = cx.framework(&framework.id).await?.is_some_and(|one| one.connected());
    anyhow::ensure!(alive, "the framework is gone");
    framework.call(revive(&[])).await
}

pub(crate) async fn malformed_uuid(cx: &mut Context) -> anyhow::Result<()> {
    let framework = cx.subscribe(info("uuids")).await?;
    let with_id = |call| Call { framework_id: Some(framework_id(&framework.id)), ..call };
    for bad in [&b"123"[..], b"", b"12345678901234567"] {
        let call = with_id(acknowledge("agent", "task", Bytes::copy_from_slice(bad)));
        framework.post(&call).await?.refuses(400)?.saying("uuid")?;
    }
    let good = with_id(acknowledge("agent", "task", Bytes::from_static(b"0123456789abcdef")));
    framework.post(&good).await?.expect(202)?;
    Ok(())
}

pub(crate) async fn unknown_and_disconnected(cx: &mut Context) -> anyhow::Result<()> {
    let framework = cx.subscribe(lasting("leaver")).await?;
    let stranger = Call { framework_id: Some(framework_id("nobody")), ..revive(&[]) };
    framework.post(&stranger).await?.refuses(400)?;
    let (id, stream_id, master) =
        (framework.id.clone(), framework.stream_id.clone(), framework.master.clone());
    drop(framework);
    cx.eventually("a disconnected framework", async || {
        cx.framework(&id).await.ok()?.filter(|one| !one.connected())
    })
    .await?;
    let call = Call { framework_id: Some(framework_id(&id)), ..revive(&[]) };
    let headers = [("mesos-stream-id", stream_id.as_str())];
    cx.http.post(&master, SCHEDULER, &headers, &call).await?.refuses(403)?;
    Ok(())
}

pub(crate) async fn tolerant_json(cx: &mut Context) -> anyhow::Result<()> {
    let kind = [("content-type", "application/json")];
    let master = cx.leader().await?;
    // Unset fields as null, unknown fields at every depth, a number as text, one value instead of a list.
    let odd = r#"{"type":"SUBSCRIBE","framework_id":null,"accept":null,"made_up":{"x":[1,{"y":null}]},
        "subscribe":{"credentials":{"principal":"p"},"suppressed_roles":null,"framework_info":{"user":"root","name":"odd",
        "id":null,"roles":null,"failover_timeout":"1.5","checkpoint":"true","webui_url":null,"labels":null,
        "capabilities":{"type":"PARTITION_AWARE","made_up":1},"made_up":[]}}}"#;
    let mut stream = cx.http.open_raw(&master, SCHEDULER, &kind, odd, MediaType::Json).await?;
    let first: Option<v1::scheduler::Event> = stream.next().await?;
    anyhow::ensure!(first.is_some_and(|event| event.subscribed.is_some()), "no SUBSCRIBED");
    let known = cx.frameworks().await?.pop().and_then(|one| one.framework_info).unwrap_or_default();
    anyhow::ensure!(known.failover_timeout() == 1.5 && known.checkpoint(), "{known:?}");
    anyhow::ensure!(known.capabilities.len() == 1, "{known:?}");
    // An enum is a name; camel case is an unknown field, so the required one is missing.
    let refused = [
        r#"{"type":1,"subscribe":{"framework_info":{"user":"u","name":"n"}}}"#,
        r#"{"type":"SUBSCRIBE","subscribe":{"frameworkInfo":{"user":"u","name":"n"}}}"#,
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","failover_timeout":"soon"}}}"#,
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":7}}}"#,
    ];
    for body in refused {
        cx.post_raw(&kind, body).await?.refuses(400)?;
    }
    // Each kind of wrong value of the mapping, and the field that the answer names.
    let named = [
        (r#"{"type":"NO_CALL","framework_id":{"value":"f"}}"#, "type"),
        (r#"{"type":null,"framework_id":{"value":"f"}}"#, "type"),
        (r#"{"type":"KILL","framework_id":{"value":"f"},"kill":[]}"#, "kill"),
        (r#"{"type":"KILL","framework_id":{"value":"f"},"kill":{"task_id":"t"}}"#, "kill.task_id"),
        (
            r#"{"type":"KILL","framework_id":{"value":"f"},"kill":{"task_id":{"value":["t"]}}}"#,
            "kill.task_id.value",
        ),
        (r#"{"type":"KILL","framework_id":{"value":"f"},"kill":{}}"#, "kill.task_id"),
        (
            r#"{"type":"ACKNOWLEDGE","framework_id":{"value":"f"},"acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"MTIz*A=="}}"#,
            "acknowledge.uuid",
        ),
        (
            r#"{"type":"ACKNOWLEDGE","framework_id":{"value":"f"},"acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"MTI"}}"#,
            "acknowledge.uuid",
        ),
        (
            r#"{"type":"MESSAGE","framework_id":{"value":"f"},"message":{"agent_id":{"value":"a"},"executor_id":{"value":"e"},"data":"_-8="}}"#,
            "message.data",
        ),
        (
            r#"{"type":"DECLINE","framework_id":{"value":"f"},"decline":{"offer_ids":[{"value":"o"}],"filters":{"refuse_seconds":"soon"}}}"#,
            "decline.filters.refuse_seconds",
        ),
        (
            r#"{"type":"DECLINE","framework_id":{"value":"f"},"decline":{"offer_ids":[{"value":"o"},{}]}}"#,
            "decline.offer_ids[1].value",
        ),
        (
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","checkpoint":"yes"}}}"#,
            "subscribe.framework_info.checkpoint",
        ),
        (
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","checkpoint":1}}}"#,
            "subscribe.framework_info.checkpoint",
        ),
        (
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","labels":{"labels":[{"key":1}]}}}}"#,
            "subscribe.framework_info.labels.labels[0].key",
        ),
        (
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n","capabilities":7}}}"#,
            "subscribe.framework_info.capabilities",
        ),
    ];
    for (body, field) in named {
        let answer = cx.post_raw(&kind, body).await?.refuses(400)?.saying(field);
        answer.map_err(|error| error.context(body))?;
    }
    for raw in [&b"{\"type\":\"\xff\"}"[..], b"[]", b"null", b"true", b"7", b"\"KILL\"", b"{} {}"] {
        cx.post_raw(&kind, Bytes::copy_from_slice(raw)).await?.refuses(400)?;
    }
    Ok(())
}

/// Text beyond ASCII, which some clients measure in characters.
const NAME: &str = "Überprüfung 測試 🜁";

pub(crate) async fn record_per_chunk(cx: &mut Context) -> anyhow::Result<()> {
    let media = cx.media;
    // Two roles: at least four offers in two or more events besides SUBSCRIBED and HEARTBEAT.
    let body = wire::encode(media, &subscribe(in_roles(info(NAME), &["a", "b"])));
    // Streams are not compressed, whoever could unpack them.
    let headers = [
        ("Content-Type", media.as_str()),
        ("Accept", media.as_str()),
        ("Accept-Encoding", "gzip"),
        ("Connection", "close"),
    ];
    let mut answer = chunks::post(&cx.leader().await?, SCHEDULER, &headers, &body).await?;
    anyhow::ensure!(answer.status() == Some(200), "{}", answer.head);
    anyhow::ensure!(answer.header("transfer-encoding") == Some("chunked"), "{}", answer.head);
    anyhow::ensure!(answer.header("content-type") == Some(media.as_str()), "{}", answer.head);
    anyhow::ensure!(answer.header("content-length").is_none(), "{}", answer.head);
    anyhow::ensure!(answer.header("content-encoding").is_none(), "{}", answer.head);
    let (mut kinds, mut heartbeats) = (Vec::new(), 0);
    while heartbeats < 3 {
        let chunk = answer.chunk().await?.ok_or_else(|| anyhow::anyhow!("the stream ended"))?;
        let line = chunk.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let length: usize = std::str::from_utf8(&chunk[..line])?.parse()?;
        let record = &chunk[line + 1..];
        anyhow::ensure!(record.len() == length, "a chunk of {} bytes for a record of {length}", record.len());
        check(media, record)?;
        let event: v1::scheduler::Event = wire::decode(media, record)?;
        heartbeats += usize::from(event.r#type() == v1::scheduler::event::Type::Heartbeat);
        kinds.push(event.r#type().as_str_name());
    }
    anyhow::ensure!(kinds.starts_with(&["SUBSCRIBED", "HEARTBEAT"]), "{kinds:?}");
    let known = cx.frameworks().await?.pop().and_then(|one| one.framework_info).unwrap_or_default();
    anyhow::ensure!(known.name() == NAME, "the name became {:?}", known.name());
    let answer = cx.http.get(&cx.leader().await?, "/state").await?;
    anyhow::ensure!(answer.body.is_ascii(), "/state is not ASCII");
    anyhow::ensure!(answer.json()?["frameworks"][0]["name"] == NAME, "/state has another name");
    Ok(())
}

/// Used by other groups: a call of this framework that its master must not take.
pub(crate) async fn must_refuse(framework: &Framework, call: Call, status: u16) -> anyhow::Result<()> {
    let call = Call { framework_id: Some(framework_id(&framework.id)), ..call };
    framework.post(&call).await?.expect(status)?;
    Ok(())
}
