//! Scenario 105: agents that operators empty and keep empty.

use tepui_proto::v1;
use tepui_proto::v1::agent::call::Type;
use tepui_proto::v1::framework_info::capability::Type::PartitionAware;
use tepui_proto::v1::master::response::get_agents::Agent;
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{DrainState, TaskState};

use super::f_fates::renew;
use super::f_partitions::{active_agents, pair, told_lost};
use super::h_agent_endpoints::{agent_address, ask_agent};
use crate::conformance::Context;
use crate::conformance::context::QUIET;
use crate::conformance::wire::messages::{
    Named, able, deactivate, drain, grace, lasting, reactivate, revive, sleeper, task,
};

/// A task that minds no SIGTERM, once it says that it is `deaf`, and wants a minute to end.
pub(super) fn stubborn(cx: &Context, id: &str) -> v1::TaskInfo {
    let task = task(id, &deaf_line(cx, id));
    v1::TaskInfo { kill_policy: Some(grace(60_000)), ..task }
}

/// A command that minds no SIGTERM, and says when it has come so far.
pub(super) fn deaf_line(cx: &Context, id: &str) -> String {
    let mark = cx.scratch(&format!("{id}-deaf"));
    format!("trap '' TERM; echo yes > {}; while :; do sleep 0.1; done", mark.display())
}

pub(super) async fn deaf(cx: &Context, id: &str) -> anyhow::Result<()> {
    cx.written(&format!("{id}-deaf")).await.map(|_| ())
}

pub(super) async fn shown(cx: &Context, id: &str) -> anyhow::Result<Agent> {
    let agents = cx.agents().await?;
    let is_it = |agent: &Agent| agent.agent_info.as_ref().is_some_and(|info| info.id.named() == id);
    agents.into_iter().find(is_it).ok_or_else(|| anyhow::anyhow!("agent {id} is not shown"))
}

pub(super) async fn state_of(cx: &Context, id: &str) -> Option<DrainState> {
    shown(cx, id).await.ok()?.drain_info.map(|info| info.state())
}

pub(super) async fn drained(cx: &Context, id: &str) -> anyhow::Result<()> {
    cx.eventually("the end of the drain", async || {
        (state_of(cx, id).await == Some(DrainState::Drained)).then_some(())
    })
    .await
}

pub(crate) async fn draining(cx: &mut Context) -> anyhow::Result<()> {
    for call in [drain("nobody", None, false), deactivate("nobody"), reactivate("nobody")] {
        cx.operate(&call).await?.refuses(400)?;
    }
    deactivated(cx).await?;
    emptied(cx).await?;
    shown_by_the_agent(cx).await?;
    disconnected(cx).await?;
    unreachable(cx).await?;
    marked_gone(cx).await
}

async fn deactivated(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("stays")).await?;
    let agent = framework.run(vec![sleeper("t")]).await?;
    framework.call(revive(&[])).await?;
    let offer = framework.offer_of(&agent).await?;
    cx.operate(&reactivate(&agent)).await?.refuses(400)?;
    cx.operate(&deactivate(&agent)).await?.expect(200)?.empty()?;
    framework
        .wait("a rescinded offer", |this| {
            this.rescinded().contains(&offer.id.named().to_owned()).then_some(())
        })
        .await?;
    framework.listen(QUIET).await?;
    anyhow::ensure!(framework.offers.iter().all(|offer| offer.agent_id.named() != agent), "it is offered");
    let agents = shown(cx, &agent).await?;
    anyhow::ensure!(agents.deactivated() && !agents.active() && agents.drain_info.is_none(), "{agents:?}");
    let state = cx.state().await?;
    anyhow::ensure!(state["deactivated_slaves"] == 1 && state["activated_slaves"] == 1, "{state}");
    anyhow::ensure!(
        framework.states_of("t").last() == Some(&TaskState::TaskRunning),
        "its task is disturbed"
    );
    cx.operate(&reactivate(&agent)).await?.expect(200)?.empty()?;
    framework.offer_of(&agent).await?;
    framework.tear_down().await
}

/// Empties an agent, in two steps: the second drain shortens the grace of the first.
async fn emptied(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("moves")).await?;
    framework.acknowledges = false;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    framework.launch_on(&offer, vec![stubborn(cx, "t")]).await?;
    let mut known = 0;
    loop {
        let status = framework.next_update("t", known).await?;
        known += 1;
        framework.acknowledge(&status).await?;
        if status.state() == TaskState::TaskRunning {
            break;
        }
    }
    deaf(cx, "t").await?;
    cx.operate(&drain(&agent, None, false)).await?.expect(200)?.empty()?;
    framework.listen(QUIET).await?;
    // What was told before may come again, if its acknowledgement took long.
    let more: Vec<_> = framework.updates_of("t").skip(known).collect();
    let repeated = |status: &&v1::TaskStatus| status.state() == TaskState::TaskRunning;
    anyhow::ensure!(more.iter().all(repeated), "killed within its own grace: {more:?}");
    let agents = shown(cx, &agent).await?;
    let info = agents.drain_info.unwrap_or_default();
    anyhow::ensure!(
        info.state() == DrainState::Draining && agents.deactivated() && !agents.active(),
        "{agents:?}"
    );
    anyhow::ensure!(agents.estimated_drain_start_time.is_some(), "{agents:?}");
    cx.operate(&reactivate(&agent)).await?.refuses(400)?;
    cx.operate(&drain(&agent, Some(0.2), false)).await?.expect(200)?.empty()?;
    let end = framework.state("t", TaskState::TaskKilled).await?;
    anyhow::ensure!(end.reason() == Reason::AgentDraining, "{end:?}");
    framework.listen(QUIET / 2).await?;
    anyhow::ensure!(
        state_of(cx, &agent).await == Some(DrainState::Draining),
        "drained before the last acknowledgement"
    );
    framework.acknowledge(&end).await?;
    drained(cx, &agent).await?;
    let state = cx.state().await?;
    let agents = state["slaves"].as_array().cloned().unwrap_or_default();
    let slave = agents.iter().find(|slave| slave["id"] == agent.as_str());
    let slave = slave.ok_or_else(|| anyhow::anyhow!("{state}"))?;
    anyhow::ensure!(slave["drain_info"]["state"] == "DRAINED" && slave["deactivated"] == true, "{slave}");
    anyhow::ensure!(
        slave["drain_info"]["config"]["max_grace_period"]["nanoseconds"] == 200_000_000,
        "{slave}"
    );
    anyhow::ensure!(slave["estimated_drain_start_time_seconds"].as_f64() > Some(0.0), "{slave}");
    framework.call(revive(&[])).await?;
    framework.listen(QUIET).await?;
    anyhow::ensure!(framework.offers.iter().all(|offer| offer.agent_id.named() != agent), "it is offered");
    cx.operate(&reactivate(&agent)).await?.expect(200)?.empty()?;
    framework.offer_of(&agent).await?;
    anyhow::ensure!(state_of(cx, &agent).await.is_none(), "a reactivated agent is still drained");
    framework.tear_down().await
}

/// Waits until an agent says that it is being drained, with so many seconds of grace, or that it is not.
async fn agent_tells(cx: &Context, index: usize, grace_s: Option<i64>) -> anyhow::Result<()> {
    cx.eventually(&format!("an agent that is drained within {grace_s:?}"), async || {
        let shown = ask_agent(cx, index, Type::GetAgent).await.ok()?.get_agent?;
        let plain = cx.http.get_json(&agent_address(cx, index).ok()?, "/state").await.ok()?;
        let Some(config) = shown.drain_config else {
            let none = shown.estimated_drain_start_time.is_none() && plain.get("drain_config").is_none();
            return (none && grace_s.is_none()).then_some(());
        };
        let nanoseconds = config.max_grace_period.and_then(|grace| grace.nanoseconds);
        let start = shown.estimated_drain_start_time?.nanoseconds() / 1_000_000_000;
        let agree = plain["drain_config"]["max_grace_period"]["nanoseconds"].as_i64() == nanoseconds
            && plain["drain_config"]["mark_gone"] == false
            && plain["estimated_drain_start_time_seconds"].as_i64() == Some(start);
        (agree && start > 1_000_000_000 && nanoseconds == grace_s.map(|s| s * 1_000_000_000)).then_some(())
    })
    .await
}

/// The agent says of itself that it is being drained, also after a restart, until nothing is left on it.
async fn shown_by_the_agent(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("moves")).await?;
    let agent = framework.run(vec![stubborn(cx, "u")]).await?;
    deaf(cx, "u").await?;
    let index = cx.agent_index(&agent).await?;
    agent_tells(cx, index, None).await?;
    cx.operate(&drain(&agent, Some(50.0), false)).await?.expect(200)?.empty()?;
    agent_tells(cx, index, Some(50)).await?;
    cx.cluster.kill_agent(index);
    cx.cluster.start_agent(index)?;
    agent_tells(cx, index, Some(50)).await?;
    cx.operate(&drain(&agent, Some(0.2), false)).await?.expect(200)?.empty()?;
    framework.state("u", TaskState::TaskKilled).await?;
    drained(cx, &agent).await?;
    agent_tells(cx, index, None).await?;
    cx.operate(&reactivate(&agent)).await?.expect(200)?.empty()?;
    framework.tear_down().await
}

/// The agent's process is away when it is to be drained.
async fn disconnected(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("moves")).await?;
    let agent = framework.run(vec![sleeper("t")]).await?;
    let index = cx.agent_index(&agent).await?;
    cx.cluster.kill_agent(index);
    cx.operate(&drain(&agent, None, false)).await?.expect(200)?.empty()?;
    cx.cluster.start_agent(index)?;
    let end = framework.state("t", TaskState::TaskKilled).await?;
    anyhow::ensure!(end.reason() == Reason::AgentDraining, "{end:?}");
    drained(cx, &agent).await?;
    // It stays so when it restarts.
    cx.cluster.kill_agent(index);
    cx.cluster.start_agent(index)?;
    drained(cx, &agent).await?;
    cx.operate(&reactivate(&agent)).await?.expect(200)?.empty()?;
    framework.tear_down().await?;
    active_agents(cx, 2).await
}

/// The agent cannot be reached when it is to be drained.
async fn unreachable(cx: &mut Context) -> anyhow::Result<()> {
    let mut pair = pair(cx, "exec sleep 1000").await?;
    cx.freeze_agent(pair.index);
    told_lost(&mut pair).await?;
    cx.operate(&drain(&pair.agent, None, false)).await?.expect(200)?.empty()?;
    cx.thaw_agent(pair.index);
    for framework in [&mut pair.aware, &mut pair.plain] {
        let end = framework.state("t", TaskState::TaskKilled).await?;
        anyhow::ensure!(end.reason() == Reason::AgentDraining, "{end:?}");
    }
    drained(cx, &pair.agent).await?;
    cx.operate(&reactivate(&pair.agent)).await?.expect(200)?.empty()?;
    pair.aware.tear_down().await?;
    pair.plain.tear_down().await?;
    active_agents(cx, 2).await
}

async fn marked_gone(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(able(lasting("moves"), &[PartitionAware])).await?;
    let agent = framework.run(vec![sleeper("t")]).await?;
    let index = cx.agent_index(&agent).await?;
    cx.operate(&drain(&agent, None, true)).await?.expect(200)?.empty()?;
    let end = framework.state("t", TaskState::TaskGoneByOperator).await?;
    anyhow::ensure!(end.reason() == Reason::AgentDraining && end.uuid.is_some(), "{end:?}");
    framework.failure(&agent).await?;
    cx.eventually("the end of the agent's process", async || cx.agent_has_exited(index).then_some(()))
        .await?;
    renew(cx, index).await
}
