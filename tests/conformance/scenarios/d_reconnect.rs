//! Scenarios 69–72, 75: frameworks that are replaced, leave, come back in time or too late.

use std::time::{Duration, Instant};

use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::scheduler::call;
use tepui_proto::v1::task_status::Reason;

use super::a_protocol::must_refuse;
use crate::conformance::Context;
use crate::conformance::context::QUIET;
use crate::conformance::wire::messages::{
    Named, framework_id, info, lasting, of, revive, sleeper, subscribe, task,
};

/// The same framework with its id.
fn again(info: v1::FrameworkInfo, id: &str) -> v1::FrameworkInfo {
    v1::FrameworkInfo { id: Some(framework_id(id)), ..info }
}

pub(crate) async fn replaced(cx: &mut Context) -> anyhow::Result<()> {
    let mut first = cx.subscribe(lasting("one of two")).await?;
    let agent = first.run(vec![sleeper("t")]).await?;
    let held = first.offer().await?;
    let mut second = cx.subscribe(again(lasting("one of two"), &first.id)).await?;
    anyhow::ensure!(second.id == first.id && second.stream_id != first.stream_id, "another framework");
    first.error().await?;
    first.end().await?;
    must_refuse(&first, revive(&[]), 400).await?;
    must_refuse(&first, of(call::Type::Teardown), 400).await?;
    // The predecessor's offers are gone, silently.
    second.launch_on(&held, vec![task("old offer", "true")]).await?;
    let status = second.state("old offer", TaskState::TaskLost).await?;
    anyhow::ensure!(status.reason() == Reason::InvalidOffers, "{status:?}");
    second.offer_of(held.agent_id.named()).await?;
    second.listen(QUIET / 2).await?;
    anyhow::ensure!(second.rescinded().is_empty(), "the successor was told of offers that it never had");
    anyhow::ensure!(second.updates_of("t").count() == 0, "{:?}", second.states_of("t"));
    let tasks = cx.tasks().await?.tasks;
    let running = |task: &v1::Task| task.agent_id.named() == agent && task.state() == TaskState::TaskRunning;
    anyhow::ensure!(tasks.len() == 1 && tasks.iter().all(running), "{tasks:?}");
    second.kill("t").await?;
    second.state("t", TaskState::TaskKilled).await?;
    Ok(())
}

/// A task that says in a file that it is there; nobody but an agent ends it.
fn marked(cx: &Context) -> v1::TaskInfo {
    task("t", &format!("echo $$ > {}; exec sleep 1000", cx.scratch("pid").display()))
}

async fn marked_pid(cx: &Context) -> anyhow::Result<i32> {
    Ok(cx.written("pid").await?.trim().parse()?)
}

fn alive(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

pub(crate) async fn failover_timeout(cx: &mut Context) -> anyhow::Result<()> {
    let timeout = Duration::from_secs(1);
    let brief = v1::FrameworkInfo { failover_timeout: Some(timeout.as_secs_f64()), ..info("brief") };
    let mut framework = cx.subscribe(brief.clone()).await?;
    framework.run(vec![marked(cx)]).await?;
    let pid = marked_pid(cx).await?;
    let id = framework.id.clone();
    let left = Instant::now();
    drop(framework);
    cx.eventually("a completed framework", async || cx.completed().await.ok()?.contains(&id).then_some(()))
        .await?;
    let lasted = left.elapsed();
    anyhow::ensure!(lasted >= timeout, "removed after {lasted:?} instead of {timeout:?}");
    cx.eventually("the end of the task", async || (!alive(pid)).then_some(())).await?;
    let shown = cx.eventually("the completed task", async || {
        let tasks = cx.tasks().await.ok()?;
        tasks.completed_tasks.into_iter().find(|task| task.framework_id.named() == id)
    });
    let shown = shown.await?;
    anyhow::ensure!(shown.state() == TaskState::TaskKilled, "{shown:?}");
    // Neither after the timeout nor after a TEARDOWN does an id come back.
    cx.refused(&subscribe(again(brief, &id))).await?;
    let mut second = cx.subscribe(lasting("torn")).await?;
    let mut task = marked(cx);
    task.task_id = Some(crate::conformance::wire::messages::task_id("t2"));
    std::fs::remove_file(cx.scratch("pid"))?;
    second.run(vec![task]).await?;
    let pid = marked_pid(cx).await?;
    let id = second.id.clone();
    second.tear_down().await?;
    cx.eventually("the end of the task", async || (!alive(pid)).then_some(())).await?;
    cx.refused(&subscribe(again(lasting("torn"), &id))).await?;
    anyhow::ensure!(cx.completed().await?.contains(&id), "a framework that was torn down is completed");
    Ok(())
}

/// Waits until the master shows the framework as connected or not.
async fn shown_connected(cx: &Context, id: &str, connected: bool) -> anyhow::Result<()> {
    cx.eventually("the framework's state", async || {
        (cx.framework(id).await.ok()??.connected() == connected).then_some(())
    })
    .await
}

pub(crate) async fn back_in_time(cx: &mut Context) -> anyhow::Result<()> {
    let timeout = Duration::from_secs(2);
    let patient = v1::FrameworkInfo { failover_timeout: Some(timeout.as_secs_f64()), ..info("patient") };
    let mut framework = cx.subscribe(patient.clone()).await?;
    framework.run(vec![sleeper("t")]).await?;
    let id = framework.id.clone();
    drop(framework);
    shown_connected(cx, &id, false).await?;
    tokio::time::sleep(timeout / 2).await;
    let mut framework = cx.subscribe(again(patient.clone(), &id)).await?;
    // The first deadline passes without effect.
    framework.listen(timeout).await?;
    anyhow::ensure!(!framework.ended, "the framework was removed although it is back");
    anyhow::ensure!(framework.updates.is_empty(), "{:?}", framework.updates);
    // A second cut begins a new and whole timeout.
    let left = Instant::now();
    drop(framework);
    cx.eventually("a completed framework", async || cx.completed().await.ok()?.contains(&id).then_some(()))
        .await?;
    let lasted = left.elapsed();
    anyhow::ensure!(lasted >= timeout, "removed after {lasted:?} instead of {timeout:?}");
    Ok(())
}

pub(crate) async fn missed_update(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("away")).await?;
    let gate = cx.scratch("gate");
    let command = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    framework.run(vec![task("t", &command)]).await?;
    framework.acknowledges = false;
    let id = framework.id.clone();
    drop(framework);
    shown_connected(cx, &id, false).await?;
    std::fs::write(&gate, "")?;
    cx.eventually("the end in the master's view", async || {
        let tasks = cx.tasks().await.ok()?.tasks;
        tasks.iter().any(|task| task.state() == TaskState::TaskFinished).then_some(())
    })
    .await?;
    let mut framework = cx.subscribe(again(lasting("away"), &id)).await?;
    framework.acknowledges = false;
    let first = framework.state("t", TaskState::TaskFinished).await?;
    anyhow::ensure!(first.uuid.is_some(), "{first:?}");
    let known = framework.updates_of("t").count();
    let second = framework.next_update("t", known).await?;
    anyhow::ensure!(second.uuid == first.uuid, "{first:?} and {second:?}");
    framework.acknowledge(&second).await?;
    cx.eventually("no active task", async || cx.tasks().await.ok()?.tasks.is_empty().then_some(())).await
}

pub(crate) async fn own_id(cx: &mut Context) -> anyhow::Result<()> {
    let id = format!("my-own-id-{}", uuid::Uuid::new_v4());
    let mut framework = cx.subscribe(again(lasting("own"), &id)).await?;
    anyhow::ensure!(framework.id == id, "{} instead of {id}", framework.id);
    framework.run(vec![sleeper("t")]).await?;
    let mut successor = cx.subscribe(again(lasting("own"), &id)).await?;
    successor.kill("t").await?;
    successor.state("t", TaskState::TaskKilled).await?;
    // The id at the top of the call and that of the info must be the same.
    let mut call = subscribe(again(lasting("own"), &id));
    call.framework_id = Some(framework_id("other"));
    let answer = cx.http.post(&cx.leader().await?, "/api/v1/scheduler", &[], &call).await?;
    answer.refuses(400)?;
    Ok(())
}
