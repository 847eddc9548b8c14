//! Scenario 16: a master that asks for credentials, in each of its three realms. It is a master of its own: the shared clusters ask
//! nobody.

use anyhow::Context as _;
use bytes::Bytes;
use tepui::cluster::{LocalCluster, Options};
use tepui_proto::basic::authorization;
use tepui_proto::v1::FrameworkInfo;
use tepui_proto::v1::master;
use tepui_proto::v1::scheduler::{Call, Event, call, event};
use tepui_proto::wire;

use crate::conformance::wire::messages::{Named, framework_id, lasting, of, subscribe};
use crate::conformance::wire::{SCHEDULER, Stream, next_in_time};
use crate::conformance::{Context, PATIENCE};

/// Paths that are protected, and the end of their realm's name.
const PROTECTED: [(&str, &str, &str); 11] = [
    ("POST", SCHEDULER, "scheduler"),
    ("POST", "/master/api/v1/scheduler", "scheduler"),
    ("POST", "/api/v1", "readwrite"),
    ("POST", "/teardown", "readwrite"),
    ("GET", "/state", "readonly"),
    ("GET", "/master/state-summary", "readonly"),
    ("GET", "/slaves", "readonly"),
    ("GET", "/frameworks", "readonly"),
    ("GET", "/tasks.json", "readonly"),
    ("GET", "/metrics/snapshot", "readonly"),
    ("GET", "/files/debug", "readonly"),
];

/// One master that knows alice and bob.
async fn guarded(cx: &Context) -> anyhow::Result<(LocalCluster, String)> {
    let credentials = cx.scratch("credentials");
    let json = serde_json::json!({ "credentials": [
        { "principal": "alice", "secret": "open:sesame" },
        { "principal": "bob", "secret": "other" },
    ] });
    std::fs::write(&credentials, json.to_string())?;
    let mut options = Options::new(cx.cluster.executable(), cx.scratch("guarded"));
    (options.masters, options.agents) = (1, 0);
    options.master_args = crate::harness::slow_timers();
    options.master_args.extend(
        [
            "--authenticate_http_readonly",
            "--authenticate-http-readwrite",
            "--authenticate-http-frameworks=true",
            "--heartbeat-interval=1secs",
            "--credentials",
            &credentials.display().to_string(),
        ]
        .map(str::to_owned),
    );
    let cluster = LocalCluster::start(options)?;
    cluster.wait_for_leader(PATIENCE).await?;
    let master = cluster.masters().into_iter().next().context("no master")?;
    let shown = authorization("alice", "open:sesame");
    cx.eventually("a master that serves", async || {
        let headers = [("authorization", shown.as_str())];
        let answer = cx.http.send("GET", &master, "/state", &headers, Bytes::new()).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await?;
    Ok((cluster, master))
}

pub(crate) async fn realms(cx: &mut Context) -> anyhow::Result<()> {
    let (cluster, master) = guarded(cx).await?;
    strangers(cx, &master).await?;
    principals(cx, &master).await?;
    drop(cluster);
    Ok(())
}

/// Nobody comes in without the right pair, and nobody is kept out of what is open.
async fn strangers(cx: &Context, master: &str) -> anyhow::Result<()> {
    let alice = authorization("alice", "open:sesame");
    let wrong = [
        authorization("alice", "open"),
        authorization("alice", ""),
        authorization("carol", "open:sesame"),
        "Basic !".to_owned(),
        "Bearer open:sesame".to_owned(),
        alice.replace("Basic ", ""),
    ];
    for (method, path, realm) in PROTECTED {
        let challenge = format!("Basic realm=\"mesos-master-{realm}\"");
        let mut headers: Vec<Vec<(&str, &str)>> = vec![Vec::new()];
        headers.extend(wrong.iter().map(|value| vec![("authorization", value.as_str())]));
        for headers in headers {
            let answer = cx.http.send(method, master, path, &headers, Bytes::new()).await?.refuses(401)?;
            anyhow::ensure!(
                answer.header("www-authenticate") == Some(&challenge),
                "{path}: {:?}",
                answer.header("www-authenticate")
            );
        }
        let answer = cx.http.send(method, master, path, &[("authorization", &alice)], Bytes::new()).await?;
        // An empty body is wrong in its own way, but whoever sends it has come in.
        anyhow::ensure!(answer.status == if method == "GET" { 200 } else { 400 }, "{path}: {answer:?}");
    }
    for (path, status) in [("/health", 200), ("/version", 200), ("/redirect", 307), ("/nothing", 404)] {
        cx.http.get(master, path).await?.expect(status)?;
    }
    Ok(())
}

async fn open(cx: &Context, master: &str, who: &str, call: &Call) -> anyhow::Result<(Stream, String)> {
    let mut stream = cx.http.open(master, SCHEDULER, &[("authorization", who)], call).await?;
    let first: Event = next_in_time(&mut stream).await?.context("an empty stream")?;
    anyhow::ensure!(first.r#type() == event::Type::Subscribed, "{first:?} instead of SUBSCRIBED");
    Ok((stream, first.subscribed.unwrap_or_default().framework_id.named().to_owned()))
}

/// A framework belongs to whom it came with.
async fn principals(cx: &Context, master: &str) -> anyhow::Result<()> {
    let alice = authorization("alice", "open:sesame");
    let bob = authorization("bob", "other");
    let named = FrameworkInfo { principal: Some("bob".to_owned()), ..lasting("named") };
    // SUBSCRIBE without credentials gets no stream; with another principal than its own it is wrong.
    let call = subscribe(named.clone());
    cx.http.post(master, SCHEDULER, &[], &call).await?.refuses(401)?;
    cx.http
        .post(master, SCHEDULER, &[("authorization", &alice)], &call)
        .await?
        .refuses(400)?
        .saying("bob")?;
    let (_named, _) = open(cx, master, &bob, &call).await?;

    let (stream, id) = open(cx, master, &alice, &subscribe(lasting("unnamed"))).await?;
    let state = cx.http.send("GET", master, "/state", &[("authorization", &alice)], Bytes::new()).await?;
    let state = state.expect(200)?.json()?;
    let frameworks = state["frameworks"].as_array().cloned().unwrap_or_default();
    let principal =
        frameworks.iter().find(|one| one["id"] == id.as_str()).map(|one| one["principal"].clone());
    anyhow::ensure!(principal == Some("alice".into()), "the principal is not filled in: {principal:?}");

    let stream_id = stream.header("mesos-stream-id").context("no stream id")?;
    let revive = Call { framework_id: Some(framework_id(&id)), ..of(call::Type::Revive) };
    for (who, status) in [(&alice, 202), (&bob, 400)] {
        let headers = [("authorization", who.as_str()), ("mesos-stream-id", stream_id.as_str())];
        cx.http.post(master, SCHEDULER, &headers, &revive).await?.expect(status)?;
    }
    let headers = [("mesos-stream-id", stream_id.as_str())];
    cx.http.post(master, SCHEDULER, &headers, &revive).await?.refuses(401)?;

    // The operator API and its forms: without a header nobody ends anything.
    let teardown = master::Call {
        r#type: Some(master::call::Type::Teardown as i32),
        teardown: Some(master::call::Teardown { framework_id: Some(framework_id(&id)) }),
        ..Default::default()
    };
    let form = format!("frameworkId={id}");
    cx.http.post(master, "/api/v1", &[], &teardown).await?.refuses(401)?;
    cx.http.send("POST", master, "/teardown", &[], form.clone()).await?.refuses(401)?;
    let headers = [("authorization", alice.as_str())];
    cx.http.send("POST", master, "/teardown", &headers, form).await?.expect(200)?.empty()?;
    let body = wire::encode(cx.media, &teardown);
    let headers = [headers[0], ("content-type", cx.media.as_str())];
    cx.http.send("POST", master, "/api/v1", &headers, body).await?.refuses(400)?;
    Ok(())
}
