//! Scenarios 81–83: an agent that cannot be reached for a while, and comes back.

use std::time::{Duration, Instant};

use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::framework_info::capability::Type::PartitionAware;
use tepui_proto::v1::task_status::{Reason, Source};

use crate::conformance::Context;
use crate::conformance::context::{GIVEN_UP, QUIET};
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{Named, able, lasting, revive, sleeper, task};

/// Two frameworks with one task each on one agent: one knows of partitions, the other does not.
pub(super) struct Pair {
    pub(super) aware: Framework,
    pub(super) plain: Framework,
    pub(super) agent: String,
    pub(super) index: usize,
}

/// Launches `command` for both on the same agent.
pub(super) async fn pair(cx: &Context, command: &str) -> anyhow::Result<Pair> {
    let mut aware = cx.subscribe(able(lasting("aware"), &[PartitionAware])).await?;
    let agent = aware.run(vec![task("t", command)]).await?;
    aware.decline_all(3_600.0).await?;
    let mut plain = cx.subscribe(lasting("plain")).await?;
    let offer = plain.offer_of(&agent).await?;
    plain.launch_on(&offer, vec![task("t", command)]).await?;
    plain.state("t", TaskState::TaskRunning).await?;
    let index = cx.agent_index(&agent).await?;
    Ok(Pair { aware, plain, agent, index })
}

/// Waits until both frameworks were told that the agent is lost, and checks how.
pub(super) async fn told_lost(pair: &mut Pair) -> anyhow::Result<()> {
    for (framework, expected) in
        [(&mut pair.aware, TaskState::TaskUnreachable), (&mut pair.plain, TaskState::TaskLost)]
    {
        let status = framework.state("t", expected).await?;
        anyhow::ensure!(status.reason() == Reason::AgentRemoved, "{status:?}");
        anyhow::ensure!(status.source() == Source::Master && status.uuid.is_none(), "{status:?}");
        anyhow::ensure!(status.unreachable_time.is_some(), "{status:?}");
        let failure = framework.failure(&pair.agent).await?;
        anyhow::ensure!(failure.executor_id.is_none(), "{failure:?}");
    }
    Ok(())
}

/// Waits until so many agents are active.
pub(super) async fn active_agents(cx: &Context, count: usize) -> anyhow::Result<()> {
    cx.eventually(&format!("{count} active agents"), async || {
        let agents = cx.agents().await.ok()?;
        (agents.iter().filter(|agent| agent.active()).count() == count).then_some(())
    })
    .await
}

pub(crate) async fn partitioned(cx: &mut Context) -> anyhow::Result<()> {
    let mut pair = pair(cx, "exec sleep 1000").await?;
    let began = Instant::now();
    cx.freeze_agent(pair.index);
    told_lost(&mut pair).await?;
    let lasted = began.elapsed();
    // The first ping may have been on its way already.
    let least = GIVEN_UP.mul_f64(0.6);
    anyhow::ensure!(lasted >= least, "given up after {lasted:?}, on the first silence");
    let state = cx.state().await?;
    anyhow::ensure!(state["unreachable_slaves"] == 1, "{}", state["unreachable_slaves"]);
    anyhow::ensure!(state["activated_slaves"] == 1, "{}", state["activated_slaves"]);
    let agents = cx.agents().await?;
    let shown =
        agents.iter().filter_map(|agent| agent.agent_info.as_ref()).any(|info| info.id.named() == pair.agent);
    anyhow::ensure!(!shown, "an unreachable agent is shown as one");
    let tasks = cx.tasks().await?;
    anyhow::ensure!(tasks.tasks.is_empty(), "{:?}", tasks.tasks);
    anyhow::ensure!(tasks.unreachable_tasks.len() == 2, "{:?}", tasks.unreachable_tasks);
    // Its id is in use all the same.
    pair.aware.call(revive(&[])).await?;
    let other = pair.aware.offer().await?;
    let known = pair.aware.updates_of("t").count();
    pair.aware.launch_on(&other, vec![sleeper("t")]).await?;
    let status = pair.aware.next_update("t", known).await?;
    anyhow::ensure!(status.state() == TaskState::TaskError, "{status:?}");
    Ok(())
}

pub(crate) async fn comes_back(cx: &mut Context) -> anyhow::Result<()> {
    let mark = cx.scratch("starts");
    let mut pair = pair(cx, &format!("echo x >> {}; exec sleep 1000", mark.display())).await?;
    cx.freeze_agent(pair.index);
    told_lost(&mut pair).await?;
    cx.thaw_agent(pair.index);
    active_agents(cx, 2).await?;
    anyhow::ensure!(cx.agent_index(&pair.agent).await? == pair.index, "the agent came back with another id");
    for framework in [&mut pair.aware, &mut pair.plain] {
        let status = framework
            .wait("RUNNING after the return", |this| {
                let back = |status: &&v1::TaskStatus| status.reason() == Reason::AgentReregistered;
                this.updates_of("t").filter(|status| status.reason.is_some()).find(back).cloned()
            })
            .await?;
        anyhow::ensure!(status.state() == TaskState::TaskRunning && status.uuid.is_none(), "{status:?}");
    }
    let tasks = cx.tasks().await?;
    let running = tasks.tasks.iter().filter(|task| task.state() == TaskState::TaskRunning).count();
    anyhow::ensure!(running == 2 && tasks.unreachable_tasks.is_empty(), "{tasks:?}");
    // They are the same processes, and they can still be killed.
    let starts = std::fs::read_to_string(&mark)?.lines().count();
    anyhow::ensure!(starts == 2, "{starts} starts of two tasks");
    for framework in [&mut pair.aware, &mut pair.plain] {
        framework.kill("t").await?;
        framework.state("t", TaskState::TaskKilled).await?;
    }
    Ok(())
}

pub(crate) async fn ended_meanwhile(cx: &mut Context) -> anyhow::Result<()> {
    let gate = cx.scratch("gate");
    let command = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let mut pair = pair(cx, &command).await?;
    cx.freeze_agent(pair.index);
    told_lost(&mut pair).await?;
    std::fs::write(&gate, "")?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    cx.thaw_agent(pair.index);
    for framework in [&mut pair.aware, &mut pair.plain] {
        let status = framework.state("t", TaskState::TaskFinished).await?;
        anyhow::ensure!(status.uuid.is_some(), "{status:?}");
    }
    active_agents(cx, 2).await?;
    pair.aware.listen(QUIET / 2).await?;
    let last = pair.aware.states_of("t").last().copied();
    anyhow::ensure!(last == Some(TaskState::TaskFinished), "{:?}", pair.aware.states_of("t"));
    cx.eventually("no active task", async || {
        let tasks = cx.tasks().await.ok()?;
        (tasks.tasks.is_empty() && tasks.unreachable_tasks.is_empty()).then_some(())
    })
    .await
}
