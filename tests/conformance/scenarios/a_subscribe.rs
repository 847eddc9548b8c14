//! Scenarios 6, 11–14: how a subscription begins, and how it is refused inside its stream.

use tepui_proto::v1;
use tepui_proto::v1::framework_info::capability::Type::MultiRole;
use tepui_proto::v1::scheduler::{Event, event};

use crate::conformance::Context;
use crate::conformance::context::HEARTBEAT;
use crate::conformance::wire::messages::{Named, able, framework_id, in_roles, info, subscribe};
use crate::conformance::wire::{SCHEDULER, next_in_time};

pub(crate) async fn first_events(cx: &mut Context) -> anyhow::Result<()> {
    let master = cx.leader().await?;
    let mut stream = cx.http.open(&master, SCHEDULER, &[], &subscribe(info("first"))).await?;
    let stream_id = stream.header("mesos-stream-id").unwrap_or_default();
    anyhow::ensure!(uuid::Uuid::parse_str(&stream_id).is_ok(), "stream id {stream_id:?}");
    let mut kinds = Vec::new();
    let mut subscribed = event::Subscribed::default();
    while kinds.iter().filter(|kind| **kind == event::Type::Heartbeat).count() < 3 {
        let event: Event = next_in_time(&mut stream)
            .await?
            .ok_or_else(|| anyhow::anyhow!("the stream ended after {kinds:?}"))?;
        kinds.push(event.r#type());
        subscribed = event.subscribed.unwrap_or(subscribed);
    }
    anyhow::ensure!(kinds.starts_with(&[event::Type::Subscribed, event::Type::Heartbeat]), "{kinds:?}");
    let id = subscribed.framework_id.named();
    let (uuid, number) = id.rsplit_once('-').unwrap_or_default();
    let minted = uuid::Uuid::parse_str(uuid).is_ok() && number.len() == 4 && number.parse::<u32>().is_ok();
    anyhow::ensure!(minted, "framework id {id:?}");
    let interval = subscribed.heartbeat_interval_seconds();
    anyhow::ensure!(interval == HEARTBEAT.as_secs_f64(), "heartbeat interval {interval}");
    let leader = subscribed.master_info.unwrap_or_default();
    anyhow::ensure!(leader.id.as_deref() == Some(uuid), "master id {:?}", leader.id);
    let address = leader.address.clone().unwrap_or_default();
    let (host, port) = master.rsplit_once(':').unwrap_or_default();
    anyhow::ensure!(address.ip.as_deref() == Some(host), "{leader:?}");
    anyhow::ensure!(address.port.map(|port| port.to_string()).as_deref() == Some(port), "{leader:?}");
    anyhow::ensure!(leader.port.is_some_and(|own| own.to_string() == port), "{leader:?}");
    anyhow::ensure!(leader.pid.as_deref() == Some(&format!("master@{master}")), "{leader:?}");
    // Clients take the version apart into numbers.
    let version = leader.version.unwrap_or_default();
    let numeric =
        version.split('.').count() == 3 && version.split('.').all(|part| part.parse::<u32>().is_ok());
    anyhow::ensure!(numeric, "version {version:?}");
    Ok(())
}

pub(crate) async fn invalid_roles(cx: &mut Context) -> anyhow::Result<()> {
    for role in
        ["/x", "x/", "a//b", "..", "a/..", ".", "a/./b", "-x", "a/-b", "a b", "a\tb", "*/a", "a/*", ""]
    {
        let single = v1::FrameworkInfo { role: Some(role.to_owned()), ..info("roles") };
        cx.refused(&subscribe(single)).await.map_err(|error| error.context(format!("role {role:?}")))?;
        let several = in_roles(info("roles"), &["good", role]);
        cx.refused(&subscribe(several)).await.map_err(|error| error.context(format!("roles {role:?}")))?;
    }
    let frameworks = cx.frameworks().await?;
    anyhow::ensure!(frameworks.is_empty(), "a framework appeared: {frameworks:?}");
    for role in ["*", "a/b/c", "x-y", "x.y", "..."] {
        cx.subscribe(v1::FrameworkInfo { role: Some(role.to_owned()), ..info("roles") })
            .await
            .map_err(|error| error.context(format!("role {role:?}")))?;
    }
    Ok(())
}

pub(crate) async fn contradicting_roles(cx: &mut Context) -> anyhow::Result<()> {
    let role = |info| v1::FrameworkInfo { role: Some("one".to_owned()), ..info };
    let roles = |info| v1::FrameworkInfo { roles: vec!["two".to_owned()], ..info };
    let cases = [
        ("role with MULTI_ROLE", role(able(info("x"), &[MultiRole]))),
        ("role beside roles", role(in_roles(info("x"), &["two"]))),
        ("roles without MULTI_ROLE", roles(info("x"))),
        ("a role twice", in_roles(info("x"), &["two", "three", "two"])),
    ];
    for (what, info) in cases {
        cx.refused(&subscribe(info)).await.map_err(|error| error.context(what))?;
    }
    // Suppressed roles are among the subscribed ones.
    let mut call = subscribe(in_roles(info("x"), &["two"]));
    call.subscribe.get_or_insert_default().suppressed_roles = vec!["three".to_owned()];
    cx.refused(&call).await.map_err(|error| error.context("a suppressed role that is not subscribed"))?;
    let frameworks = cx.frameworks().await?;
    anyhow::ensure!(frameworks.is_empty(), "a framework appeared: {frameworks:?}");
    Ok(())
}

pub(crate) async fn invalid_failover_timeout(cx: &mut Context) -> anyhow::Result<()> {
    let mut bad = vec![1e300, 1e12, f64::INFINITY];
    if cx.media == tepui_proto::MediaType::Protobuf {
        bad.push(f64::NAN);
    }
    for seconds in bad {
        let info = v1::FrameworkInfo { failover_timeout: Some(seconds), ..info("patient") };
        cx.refused(&subscribe(info)).await.map_err(|error| error.context(format!("{seconds} seconds")))?;
    }
    let frameworks = cx.frameworks().await?;
    anyhow::ensure!(frameworks.is_empty(), "a framework appeared: {frameworks:?}");
    Ok(())
}

pub(crate) async fn empty_id(cx: &mut Context) -> anyhow::Result<()> {
    let call = subscribe(v1::FrameworkInfo { id: Some(framework_id("")), ..info("new") });
    let first = cx.subscribe_call(&call).await?;
    let second = cx.subscribe_call(&call).await?;
    anyhow::ensure!(!first.id.is_empty() && first.id != second.id, "ids {:?} and {:?}", first.id, second.id);
    anyhow::ensure!(cx.frameworks().await?.len() == 2, "two frameworks were expected");
    Ok(())
}
