//! Scenarios 17, 18, 22: where requests go that a standby must not answer, and the operator API's outer form.

use bytes::Bytes;
use tepui_proto::MediaType;
use tepui_proto::v1::master::call::Type;
use tepui_proto::v1::master::{self, Response};
use tepui_proto::wire;

use crate::conformance::Context;
use crate::conformance::wire::SCHEDULER;
use crate::conformance::wire::messages::{info, subscribe};

/// Paths that only the leading master answers.
const REDIRECTED: [&str; 13] = [
    "/api/v1/scheduler",
    "/api/v1",
    "/state",
    "/master/state?jsonp=x&a=%2F",
    "/slaves",
    "/frameworks?framework_id=x",
    "/tasks?limit=1",
    "/master/api/v1/operator",
    "/state-summary",
    "/roles",
    "/flags",
    "/teardown",
    "/state.json",
];

/// Paths that every master answers.
const LOCAL: [&str; 12] = [
    "/health",
    "/version",
    "/metrics/snapshot",
    "/metrics",
    "/master/health",
    "/master/version",
    "/files/debug",
    "/system/stats.json",
    "/logging/toggle",
    "/registrar(1)/registry",
    "/hierarchical-allocator(1)/offer_constraints_debug",
    "/help",
];

pub(crate) async fn followers(cx: &mut Context) -> anyhow::Result<()> {
    let leader = cx.leader().await?;
    let masters = cx.cluster.masters();
    for follower in masters.iter().filter(|master| **master != leader) {
        for path in REDIRECTED {
            // An empty POST is a probe of some clients, and nothing is examined before the leadership.
            for method in ["GET", "POST"] {
                let answer = cx.http.send(method, follower, path, &[], Bytes::new()).await?.expect(307)?;
                let expected = format!("//{leader}{path}");
                anyhow::ensure!(
                    answer.header("location") == Some(&expected),
                    "{:?}",
                    answer.header("location")
                );
            }
        }
        let call = subscribe(info("astray"));
        let answer = cx.http.post(follower, SCHEDULER, &[], &call).await?.expect(307)?;
        anyhow::ensure!(answer.header("location") == Some(&format!("//{leader}{SCHEDULER}")), "SUBSCRIBE");
        for path in LOCAL {
            cx.http.get(follower, path).await?.expect(200)?;
        }
    }
    // A standby without anybody to follow.
    let lonely = masters.iter().find(|master| **master != leader).cloned().unwrap_or_default();
    for (index, master) in masters.iter().enumerate() {
        if *master != lonely {
            cx.cluster.kill_master(index);
        }
    }
    cx.eventually("503 from a master without a leader", async || {
        let answer = cx.http.get(&lonely, "/state").await.ok()?;
        (answer.status == 503).then_some(())
    })
    .await?;
    for path in REDIRECTED {
        cx.http.send("POST", &lonely, path, &[], Bytes::new()).await?.refuses(503)?;
    }
    cx.http.get(&lonely, "/redirect").await?.expect(503)?;
    for path in LOCAL {
        cx.http.get(&lonely, path).await?.expect(200)?;
    }
    Ok(())
}

pub(crate) async fn redirect_endpoint(cx: &mut Context) -> anyhow::Result<()> {
    let leader = cx.leader().await?;
    let expected = format!("//{leader}");
    for master in cx.cluster.masters() {
        for path in ["/redirect", "/master/redirect"] {
            let answer = cx.http.get(&master, path).await?.expect(307)?;
            anyhow::ensure!(answer.header("location") == Some(&expected), "{:?}", answer.header("location"));
        }
        cx.http.get(&master, "/redirect/x").await?.expect(404)?;
    }
    Ok(())
}

/// Reads without parameters, and whether the answer has the member of that name.
type Read = (Type, fn(&Response) -> bool);

const READS: [Read; 14] = [
    (Type::GetHealth, |answer| answer.get_health.as_ref().is_some_and(master::response::GetHealth::healthy)),
    (Type::GetFlags, |answer| answer.get_flags.as_ref().is_some_and(|flags| !flags.flags.is_empty())),
    (Type::GetVersion, |answer| answer.get_version.is_some()),
    (Type::GetMetrics, |answer| answer.get_metrics.as_ref().is_some_and(|all| !all.metrics.is_empty())),
    (Type::GetLoggingLevel, |answer| answer.get_logging_level.is_some()),
    (Type::GetState, |answer| answer.get_state.is_some()),
    (Type::GetAgents, |answer| answer.get_agents.as_ref().is_some_and(|agents| agents.agents.len() == 2)),
    (Type::GetFrameworks, |answer| answer.get_frameworks.is_some()),
    (Type::GetExecutors, |answer| answer.get_executors.is_some()),
    (Type::GetOperations, |answer| answer.get_operations.is_some()),
    (Type::GetTasks, |answer| answer.get_tasks.is_some()),
    (Type::GetRoles, |answer| answer.get_roles.is_some()),
    (Type::GetWeights, |answer| answer.get_weights.is_some()),
    (Type::GetMaster, |answer| answer.get_master.as_ref().is_some_and(|master| master.master_info.is_some())),
];

pub(crate) async fn operator_calls(cx: &mut Context) -> anyhow::Result<()> {
    let master = cx.leader().await?;
    let (media, path) = (cx.media, "/api/v1");
    for (kind, fits) in READS {
        // The form of the answer (type, length) is checked where it is decoded.
        let answer = cx.http.ask(&master, kind).await?;
        let name = kind.as_str_name();
        anyhow::ensure!(fits(&answer), "{name}: {answer:?}");
        anyhow::ensure!(
            answer.r#type().as_str_name() == name,
            "{name} was answered by {:?}",
            answer.r#type()
        );
    }
    // The other encoding may be asked for.
    let call = master::Call { r#type: Some(Type::GetHealth as i32), ..Default::default() };
    let other = if media == MediaType::Json { MediaType::Protobuf } else { MediaType::Json };
    let headers = [("content-type", media.as_str()), ("accept", other.as_str())];
    let body = wire::encode(media, &call);
    let answer = cx.http.send("POST", &master, path, &headers, body.clone()).await?.expect(200)?;
    answer.message::<Response>(other)?;
    let headers = [("content-type", media.as_str()), ("accept", "text/html")];
    cx.http.send("POST", &master, path, &headers, body.clone()).await?.refuses(406)?;
    cx.http
        .send("POST", &master, path, &[("content-type", "text/plain")], body.clone())
        .await?
        .refuses(415)?;
    cx.http.send("POST", &master, path, &[], body).await?.refuses(400)?;
    let answer = cx.http.get(&master, path).await?.expect(405)?;
    anyhow::ensure!(answer.header("allow") == Some("POST"), "Allow: {:?}", answer.header("allow"));
    let typeless = master::Call::default();
    cx.http.post(&master, path, &[], &typeless).await?.refuses(400)?;
    for kind in [
        Type::GetMetrics,
        Type::Teardown,
        Type::MarkAgentGone,
        Type::ReadFile,
        Type::ListFiles,
        Type::UpdateQuota,
        Type::UpdateWeights,
        Type::SetLoggingLevel,
        Type::ReserveResources,
        Type::GrowVolume,
        Type::DrainAgent,
        Type::ReactivateAgent,
        Type::UpdateMaintenanceSchedule,
    ] {
        let memberless = master::Call { r#type: Some(kind as i32), ..Default::default() };
        cx.http.post(&master, path, &[], &memberless).await?.refuses(400)?;
    }
    let unknown = master::Call { r#type: Some(Type::Unknown as i32), ..Default::default() };
    cx.http.post(&master, path, &[], &unknown).await?.refuses(501)?;
    logging_level(cx, &master).await?;
    if media == MediaType::Json {
        let headers = [("content-type", media.as_str())];
        for body in [r#"{"type":"MADE_UP"}"#, r#"{"type":10}"#, "{", "null", "7"] {
            let answer = cx.http.send("POST", &master, path, &headers, body).await?;
            let status = if answer.status == 501 { 501 } else { 400 };
            answer.refuses(status)?;
        }
    }
    Ok(())
}

/// The level of the log is raised for a while, and falls back by itself.
async fn logging_level(cx: &Context, master: &str) -> anyhow::Result<()> {
    let level = async || {
        let answer = cx.http.ask(master, Type::GetLoggingLevel).await?;
        anyhow::Ok(answer.get_logging_level.unwrap_or_default().level())
    };
    anyhow::ensure!(level().await? == 0, "the level at the start");
    let duration = Some(tepui_proto::v1::DurationInfo { nanoseconds: Some(500_000_000) });
    let set = master::call::SetLoggingLevel { level: Some(1), duration };
    let call = master::Call {
        r#type: Some(Type::SetLoggingLevel as i32),
        set_logging_level: Some(set),
        ..Default::default()
    };
    cx.http.post(master, "/api/v1", &[], &call).await?.expect(202)?.empty()?;
    cx.eventually("the level as it was", async || (level().await.ok()? == 0).then_some(())).await
}
