//! Scenarios 85, 86, 88: agents whose process ends, with and without coming back.

use std::time::Duration;

use tepui_proto::v1;
use tepui_proto::v1::TaskState;

use tepui_proto::v1::framework_info::capability::Type::PartitionAware;
use tepui_proto::v1::task_status::Reason;

use super::f_partitions::{active_agents, pair, told_lost};
use crate::conformance::Context;
use crate::conformance::wire::messages::{Named, able, info, lasting, sleeper, task};

pub(crate) async fn never_back(cx: &mut Context) -> anyhow::Result<()> {
    let mut pair = pair(cx, "exec sleep 1000").await?;
    cx.cluster.kill_agent(pair.index);
    told_lost(&mut pair).await?;
    let state = cx.state().await?;
    anyhow::ensure!(state["unreachable_slaves"] == 1, "{}", state["unreachable_slaves"]);
    // Late is better than never.
    cx.cluster.start_agent(pair.index)?;
    active_agents(cx, 2).await?;
    anyhow::ensure!(cx.agent_index(&pair.agent).await? == pair.index, "the agent came back with another id");
    Ok(())
}

pub(crate) async fn brief_absence(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("checkpoints")).await?;
    let mark = cx.scratch("starts");
    let agent =
        framework.run(vec![task("t", &format!("echo x >> {}; exec sleep 1000", mark.display()))]).await?;
    let index = cx.agent_index(&agent).await?;
    let known = framework.updates.len();
    cx.cluster.kill_agent(index);
    // The connection breaks, the offers of the agent go, and nothing else happens.
    cx.eventually("an inactive agent", async || {
        let agents = cx.agents().await.ok()?;
        agents.iter().any(|agent| !agent.active()).then_some(())
    })
    .await?;
    framework.listen(Duration::from_millis(200)).await?;
    anyhow::ensure!(framework.updates.len() == known, "{:?}", &framework.updates[known..]);
    cx.cluster.start_agent(index)?;
    active_agents(cx, 2).await?;
    framework.listen(Duration::from_millis(500)).await?;
    let spurious: Vec<&v1::TaskStatus> =
        framework.updates[known..].iter().filter(|status| status.state() != TaskState::TaskRunning).collect();
    anyhow::ensure!(spurious.is_empty(), "{spurious:?}");
    let starts = std::fs::read_to_string(&mark)?.lines().count();
    anyhow::ensure!(starts == 1, "{starts} starts of one task");
    framework.kill("t").await?;
    framework.state("t", TaskState::TaskKilled).await?;
    framework.tear_down().await?;
    without_checkpoint(cx).await
}

/// What does not checkpoint is lost with the connection of its agent, long before that agent is given up.
async fn without_checkpoint(cx: &mut Context) -> anyhow::Result<()> {
    let loose = |name: &str| v1::FrameworkInfo { failover_timeout: Some(3_600.0), ..info(name) };
    let mut aware = cx.subscribe(able(loose("aware"), &[PartitionAware])).await?;
    let agent = aware.run(vec![sleeper("t")]).await?;
    aware.decline_all(3_600.0).await?;
    let mut plain = cx.subscribe(loose("plain")).await?;
    let offer = plain.offer_of(&agent).await?;
    plain.launch_on(&offer, vec![sleeper("t")]).await?;
    plain.state("t", TaskState::TaskRunning).await?;
    let index = cx.agent_index(&agent).await?;
    cx.cluster.kill_agent(index);
    for framework in [&mut aware, &mut plain] {
        let lost = framework.state("t", TaskState::TaskLost).await?;
        anyhow::ensure!(lost.reason() == Reason::AgentDisconnected && lost.uuid.is_none(), "{lost:?}");
        anyhow::ensure!(lost.unreachable_time.is_none(), "{lost:?}");
    }
    let tasks = cx.tasks_of(&aware.id).await?;
    anyhow::ensure!(tasks.tasks.is_empty() && tasks.unreachable_tasks.is_empty(), "{tasks:?}");
    // What was called lost has ended, although nobody could say goodbye to it, and does not come back.
    for id in [aware.id.clone(), plain.id.clone()] {
        cx.eventually("the end of the processes", async || {
            let found = tepui::cluster::find_processes(&[("MESOS_FRAMEWORK_ID", std::path::Path::new(&id))]);
            found.is_empty().then_some(())
        })
        .await?;
    }
    cx.cluster.start_agent(index)?;
    active_agents(cx, 2).await?;
    for framework in [&mut aware, &mut plain] {
        let known = framework.updates.len();
        framework.listen(Duration::from_millis(200)).await?;
        anyhow::ensure!(framework.updates.len() == known, "{:?}", &framework.updates[known..]);
        framework.tear_down().await?;
    }
    Ok(())
}

pub(crate) async fn lost_launch(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("launches")).await?;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    let index = cx.agent_index(&agent).await?;
    let mark = cx.scratch("starts");
    // The launch is on its way to an agent that dies before it reads it.
    cx.freeze_agent(index);
    let command = format!("echo x >> {}; exec sleep 1000", mark.display());
    framework.launch_on(&offer, vec![task("t", &command)]).await?;
    cx.eventually("the task at the master", async || {
        cx.tasks().await.ok()?.tasks.iter().any(|task| task.task_id.named() == "t").then_some(())
    })
    .await?;
    cx.cluster.kill_agent(index);
    cx.cluster.start_agent(index)?;
    active_agents(cx, 2).await?;
    // Either it is delivered again and runs once, or the framework hears that it never ran.
    let status = framework
        .wait("what became of the task", |this| {
            let decided = |status: &&v1::TaskStatus| {
                status.state() == TaskState::TaskRunning || status.state().is_terminal()
            };
            this.updates_of("t").find(decided).cloned()
        })
        .await?;
    let starts = std::fs::read_to_string(&mark).unwrap_or_default().lines().count();
    match status.state() {
        TaskState::TaskRunning => anyhow::ensure!(starts == 1, "{starts} starts of one task"),
        TaskState::TaskLost => anyhow::ensure!(starts == 0, "a lost task ran"),
        other => anyhow::bail!("{other:?}: {status:?}"),
    }
    kill_survives(cx, &mut framework).await
}

/// A kill that an absent agent could not get is given to it when it is back.
async fn kill_survives(
    cx: &mut Context,
    framework: &mut crate::conformance::wire::Framework,
) -> anyhow::Result<()> {
    framework.decline_all(0.0).await?;
    let agent = framework.run(vec![sleeper("condemned")]).await?;
    let index = cx.agent_index(&agent).await?;
    cx.cluster.kill_agent(index);
    cx.eventually("an inactive agent", async || {
        cx.agents().await.ok()?.iter().any(|agent| !agent.active()).then_some(())
    })
    .await?;
    framework.kill("condemned").await?;
    cx.cluster.start_agent(index)?;
    framework.state("condemned", TaskState::TaskKilled).await?;
    active_agents(cx, 2).await
}
