//! Scenario 106: the operator event stream.

use tepui_proto::v1::TaskState;
use tepui_proto::v1::master::{Event, event::Type};

use crate::conformance::Context;
use crate::conformance::context::HEARTBEAT;
use crate::conformance::wire::messages::{Named, info, lasting, sleeper, task};
use crate::conformance::wire::{Stream, next_in_time};

/// Reads until `found` finds something in an event.
pub(super) async fn until<T>(
    stream: &mut Stream,
    seen: &mut Vec<Event>,
    what: &str,
    mut found: impl FnMut(&Event) -> Option<T>,
) -> anyhow::Result<T> {
    let began = std::time::Instant::now();
    loop {
        let event: Event = next_in_time(stream)
            .await?
            .ok_or_else(|| anyhow::anyhow!("the stream ended before {what}; seen {:?}", kinds(seen)))?;
        let picked = found(&event);
        seen.push(event);
        if let Some(picked) = picked {
            return Ok(picked);
        }
        anyhow::ensure!(began.elapsed() < crate::conformance::PATIENCE, "no {what}; seen {:?}", kinds(seen));
    }
}

fn kinds(seen: &[Event]) -> Vec<&'static str> {
    seen.iter().map(|event| event.r#type().as_str_name()).filter(|name| *name != "HEARTBEAT").collect()
}

pub(crate) async fn operator_stream(cx: &mut Context) -> anyhow::Result<()> {
    let earlier = cx.subscribe(lasting("earlier")).await?;
    let mut stream = cx.operator_stream().await?;
    anyhow::ensure!(stream.header("mesos-stream-id").is_none(), "an operator stream has no id");
    let mut seen = Vec::new();
    let first = until(&mut stream, &mut seen, "SUBSCRIBED", |event| Some(event.clone())).await?;
    let subscribed = first.subscribed.unwrap_or_default();
    anyhow::ensure!(subscribed.heartbeat_interval_seconds() == HEARTBEAT.as_secs_f64(), "{subscribed:?}");
    let state = subscribed.get_state.unwrap_or_default();
    anyhow::ensure!(state.get_agents.unwrap_or_default().agents.len() == 2, "agents of the snapshot");
    let frameworks = state.get_frameworks.unwrap_or_default().frameworks;
    let known = frameworks.iter().filter_map(|one| one.framework_info.as_ref());
    anyhow::ensure!(known.clone().any(|info| info.id.named() == earlier.id), "{frameworks:?}");
    let second = until(&mut stream, &mut seen, "HEARTBEAT", |event| Some(event.r#type())).await?;
    anyhow::ensure!(second == Type::Heartbeat, "{second:?} instead of HEARTBEAT");

    let mut framework = cx.subscribe(info("watched")).await?;
    until(&mut stream, &mut seen, "FRAMEWORK_ADDED", |event| {
        let info = event.framework_added.as_ref()?.framework.as_ref()?.framework_info.as_ref()?;
        (info.id.named() == framework.id).then_some(())
    })
    .await?;
    framework.run(vec![task("t", "sleep 0.3")]).await?;
    framework.state("t", TaskState::TaskFinished).await?;
    until(&mut stream, &mut seen, "TASK_UPDATED to FINISHED", |event| {
        let updated = event.task_updated.as_ref()?;
        (updated.state() == TaskState::TaskFinished && updated.framework_id.named() == framework.id)
            .then_some(())
    })
    .await?;
    // The task itself comes first, then its states, each once and in order.
    let of_task = seen.iter().filter_map(|event| {
        let added = event.task_added.as_ref().map(|_| "added".to_owned());
        added.or(event.task_updated.as_ref().map(|updated| {
            updated.status.as_ref().map_or("", |status| status.state().as_str_name()).to_owned()
        }))
    });
    let order: Vec<String> = of_task.collect();
    let full = ["added", "TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"];
    let mut rest = full.iter();
    // States that follow each other within one batch may be told as the last of them.
    let in_order = order.iter().all(|one| rest.any(|expected| expected == one));
    anyhow::ensure!(in_order && order.first().is_some_and(|one| one == "added"), "{order:?}");
    framework.tear_down().await?;
    until(&mut stream, &mut seen, "FRAMEWORK_REMOVED", |event| {
        let info = event.framework_removed.as_ref()?.framework_info.as_ref()?;
        (info.id.named() == framework.id).then_some(())
    })
    .await?;
    until(&mut stream, &mut seen, "a later HEARTBEAT", |event| {
        (event.r#type() == Type::Heartbeat).then_some(())
    })
    .await?;
    Ok(())
}

pub(crate) async fn agents_on_the_stream(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("watched")).await?;
    let agent = framework.run(vec![sleeper("t")]).await?;
    let index = cx.agent_index(&agent).await?;
    let mut stream = cx.operator_stream().await?;
    let mut seen = Vec::new();
    cx.freeze_agent(index);
    let removed = until(&mut stream, &mut seen, "AGENT_REMOVED", |event| event.agent_removed.clone()).await;
    cx.thaw_agent(index);
    anyhow::ensure!(removed?.agent_id.named() == agent, "another agent was removed");
    let added = until(&mut stream, &mut seen, "AGENT_ADDED", |event| event.agent_added.clone()).await?;
    let info = added.agent.and_then(|agent| agent.agent_info).unwrap_or_default();
    anyhow::ensure!(info.id.named() == agent, "{info:?}");
    Ok(())
}
