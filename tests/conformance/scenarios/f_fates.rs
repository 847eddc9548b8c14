//! Scenarios 84, 89, 92: how fast silent agents are given up, agents that are gone by an operator's word, and agents that are
//! forgotten.

use std::time::{Duration, Instant};

use tepui_proto::v1::TaskState;
use tepui_proto::v1::framework_info::capability::Type::PartitionAware;
use tepui_proto::v1::task_status::Reason;

use super::e_reconciliation::ask;
use super::f_partitions::{Pair, active_agents, pair, told_lost};
use crate::conformance::Context;
use crate::conformance::context::{QUIET, REMOVAL_PAUSE};
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{Named, able, info, lasting, mark_gone, sleeper};

/// Ids of the agents that failed so far.
fn failures(framework: &Framework) -> Vec<String> {
    let failures = framework.heard.iter().filter_map(|event| event.failure.as_ref());
    failures.map(|failure| failure.agent_id.named().to_owned()).collect()
}

pub(crate) async fn limited_removals(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("watches")).await?;
    let count = cx.cluster.agents().len();
    anyhow::ensure!(count == 3, "{count} agents");
    for index in 0..count {
        cx.freeze_agent(index);
    }
    framework.wait("the first agent that is given up", |this| failures(this).first().cloned()).await?;
    let first = Instant::now();
    // One of the others speaks up before its turn comes.
    let given_up = failures(&framework);
    let agents = cx.agents().await?;
    let left = agents.iter().filter_map(|agent| Some(agent.agent_info.as_ref()?.id.named().to_owned()));
    let left: Vec<String> = left.filter(|id| !given_up.contains(id)).collect();
    anyhow::ensure!(left.len() == 2, "{left:?} are left after one was given up");
    let spared = &left[1];
    cx.thaw_agent(cx.agent_index(spared).await?);
    let second =
        framework.wait("the second agent that is given up", |this| failures(this).get(1).cloned()).await?;
    let apart = first.elapsed();
    anyhow::ensure!(apart >= REMOVAL_PAUSE.mul_f64(0.7), "the second was given up {apart:?} after the first");
    anyhow::ensure!(second == left[0], "{second} instead of the one that kept silent");
    framework.listen(REMOVAL_PAUSE + Duration::from_millis(500)).await?;
    anyhow::ensure!(!failures(&framework).contains(spared), "one that spoke up was given up");
    let state = cx.state().await?;
    anyhow::ensure!(state["activated_slaves"] == 1, "{}", state["activated_slaves"]);
    Ok(())
}

/// Starts an agent anew whose former self is gone: with an empty folder.
pub(super) async fn renew(cx: &mut Context, index: usize) -> anyhow::Result<()> {
    cx.cluster.kill_agent_host(index);
    std::fs::remove_dir_all(cx.cluster.agent_dir(index).join("meta"))?;
    cx.cluster.start_agent(index)?;
    active_agents(cx, cx.cluster.agents().len()).await
}

/// Checks what both frameworks hear of an agent that was marked gone.
async fn told_gone(cx: &mut Context, pair: &mut Pair, was_lost: bool) -> anyhow::Result<()> {
    let status = pair.aware.state("t", TaskState::TaskGoneByOperator).await?;
    anyhow::ensure!(status.reason() == Reason::AgentRemovedByOperator && status.uuid.is_none(), "{status:?}");
    if !was_lost {
        let status = pair.plain.state("t", TaskState::TaskLost).await?;
        anyhow::ensure!(status.reason() == Reason::AgentRemovedByOperator, "{status:?}");
        pair.plain.failure(&pair.agent).await?;
    }
    for (framework, expected) in
        [(&mut pair.aware, TaskState::TaskGoneByOperator), (&mut pair.plain, TaskState::TaskLost)]
    {
        let answer = ask(framework, "unknown", Some(&pair.agent)).await?;
        anyhow::ensure!(answer.state() == expected, "{answer:?}");
    }
    cx.operate(&mark_gone(&pair.agent)).await?.expect(200)?.empty()?;
    Ok(())
}

pub(crate) async fn agent_gone(cx: &mut Context) -> anyhow::Result<()> {
    cx.operate(&mark_gone("nobody")).await?.refuses(404)?;
    registered_agent_gone(cx).await?;
    unreachable_agent_gone(cx).await
}

async fn registered_agent_gone(cx: &mut Context) -> anyhow::Result<()> {
    let mut pair = pair(cx, "exec sleep 1000").await?;
    cx.operate(&mark_gone(&pair.agent)).await?.expect(200)?.empty()?;
    told_gone(cx, &mut pair, false).await?;
    let agents = cx.agents().await?;
    let shown = agents.iter().filter_map(|agent| agent.agent_info.as_ref());
    anyhow::ensure!(shown.clone().all(|info| info.id.named() != pair.agent), "a gone agent is shown");
    // It is told to leave, and with its old data it is told so again.
    for _ in 0..2 {
        let log = format!("agent-{}", pair.index + 1);
        cx.eventually("the end of the agent's process", async || {
            cx.agent_has_exited(pair.index).then_some(())
        })
        .await?;
        anyhow::ensure!(
            cx.cluster.log(&log).contains("gone") || cx.cluster.log(&log).contains("removed"),
            "no word"
        );
        cx.cluster.kill_agent(pair.index);
        cx.cluster.start_agent(pair.index)?;
    }
    tokio::time::sleep(QUIET / 2).await;
    active_agents(cx, 1).await?;
    pair.aware.tear_down().await?;
    pair.plain.tear_down().await?;
    renew(cx, pair.index).await
}

async fn unreachable_agent_gone(cx: &mut Context) -> anyhow::Result<()> {
    let mut pair = pair(cx, "exec sleep 1000").await?;
    cx.freeze_agent(pair.index);
    told_lost(&mut pair).await?;
    cx.operate(&mark_gone(&pair.agent)).await?.expect(200)?.empty()?;
    told_gone(cx, &mut pair, true).await?;
    let state = cx.state().await?;
    anyhow::ensure!(state["unreachable_slaves"] == 0, "{}", state["unreachable_slaves"]);
    cx.thaw_agent(pair.index);
    cx.eventually("the end of the agent's process", async || cx.agent_has_exited(pair.index).then_some(()))
        .await?;
    active_agents(cx, 1).await?;
    renew(cx, pair.index).await
}

pub(crate) async fn forgotten_agents(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(able(lasting("asks"), &[PartitionAware])).await?;
    for index in 0..2 {
        cx.freeze_agent(index);
    }
    framework.wait("two agents that are given up", |this| (failures(this).len() == 2).then_some(())).await?;
    let lost = failures(&framework);
    // One may be remembered: the older one is forgotten, and with it what could be said of its tasks.
    let until = Instant::now() + crate::conformance::PATIENCE;
    loop {
        let answer = ask(&mut framework, "t", Some(&lost[0])).await?;
        if answer.state() == TaskState::TaskUnknown {
            anyhow::ensure!(answer.unreachable_time.is_none(), "{answer:?}");
            break;
        }
        anyhow::ensure!(answer.state() == TaskState::TaskUnreachable, "{answer:?}");
        anyhow::ensure!(Instant::now() < until, "the older one is not forgotten");
        framework.listen(Duration::from_millis(100)).await?;
    }
    let newer = ask(&mut framework, "u", Some(&lost[1])).await?;
    anyhow::ensure!(newer.state() == TaskState::TaskUnreachable, "{newer:?}");
    // The other one is forgotten for its age.
    let mut number = 0;
    loop {
        number += 1;
        let answer = ask(&mut framework, &format!("v{number}"), Some(&lost[1])).await?;
        if answer.state() == TaskState::TaskUnknown {
            break;
        }
        anyhow::ensure!(Instant::now() < until, "the newer one is not forgotten");
        framework.listen(Duration::from_millis(200)).await?;
    }
    let mut plain = cx.subscribe(info("plain")).await?;
    let answer = ask(&mut plain, "t", Some(&lost[0])).await?;
    anyhow::ensure!(answer.state() == TaskState::TaskLost, "{answer:?}");
    // They may come back all the same, under the ids that they have.
    for index in 0..2 {
        cx.thaw_agent(index);
    }
    active_agents(cx, cx.cluster.agents().len()).await?;
    for id in &lost {
        cx.agent_index(id).await?;
    }
    plain.run(vec![sleeper("works")]).await?;
    Ok(())
}
