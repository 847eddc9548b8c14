//! Scenario 97, second half: what operators wanted of roles, agents and machines outlives the leader that they told.

use tepui_proto::v1::master::call::Type;
use tepui_proto::v1::quota::QuotaConfig;
use tepui_proto::v1::task_status::Reason;
use tepui_proto::v1::{DrainState, TaskState};

use super::f_fates::renew;
use super::f_partitions::active_agents;
use super::g_failover::{kill_leader, resubscribe};
use super::h_drain::{deaf, drained, shown, state_of, stubborn};
use super::h_maintenance::{hostname, schedule, update, window};
use super::h_quota::{config, offered, quotas, set_quota, set_weights};
use crate::conformance::Context;
use crate::conformance::wire::messages::{
    Named, deactivate, drain, in_roles, info, lasting, mark_gone, reactivate,
};

/// Kills the leader and brings the killed master back, so that another one can be killed later.
async fn change_leader(cx: &mut Context) -> anyhow::Result<String> {
    let leader = kill_leader(cx).await?;
    for index in 0..cx.cluster.masters().len() {
        if cx.cluster.master_pid(index).is_none() {
            cx.cluster.start_master(index)?;
        }
    }
    Ok(leader)
}

/// What operators wanted of roles.
async fn roles_as_they_were(cx: &Context) -> anyhow::Result<()> {
    anyhow::ensure!(quotas(cx).await? == limits(), "the quotas are lost: {:?}", quotas(cx).await?);
    let known = cx.ask(Type::GetWeights).await?.get_weights.unwrap_or_default().weight_infos;
    let mut known: Vec<_> = known.iter().map(|info| (info.role(), info.weight())).collect();
    known.retain(|(_, weight)| *weight != 1.0);
    anyhow::ensure!(known == WEIGHTS, "the weights are lost: {known:?}");
    Ok(())
}

const WEIGHTS: [(&str, f64); 2] = [("heavy", 2.5), ("light/inner", 0.5)];

fn limits() -> Vec<QuotaConfig> {
    vec![config("dev", &[("cpus", 0.5)], &[("cpus", 0.75)]), config("ops", &[], &[("mem", 512.0)])]
}

/// Quotas and weights outlive the leader, and the next one acts on them.
async fn settings_of_roles(cx: &mut Context) -> anyhow::Result<()> {
    set_weights(cx, &WEIGHTS).await?;
    set_quota(cx, limits()).await?;
    change_leader(cx).await?;
    roles_as_they_were(cx).await?;
    active_agents(cx, 2).await?;
    let mut limited = cx.subscribe(in_roles(info("limited"), &["dev"])).await?;
    limited.wait("an offer", |this| (!this.offers.is_empty()).then_some(())).await?;
    let cpus = offered(&mut limited).await?;
    anyhow::ensure!(cpus == 0.75, "{cpus} CPUs are offered to a role that may have 0.75");
    limited.tear_down().await
}

pub(crate) async fn operators_wishes(cx: &mut Context) -> anyhow::Result<()> {
    Box::pin(settings_of_roles(cx)).await?;
    let mut framework = cx.subscribe(lasting("moves")).await?;
    let agent = framework.run(vec![stubborn(cx, "t")]).await?;
    deaf(cx, "t").await?;
    let index = cx.agent_index(&agent).await?;
    let others = cx.agents().await?.into_iter().filter_map(|agent| agent.agent_info);
    let other = others.map(|info| info.id.named().to_owned()).find(|id| *id != agent);
    let other = other.ok_or_else(|| anyhow::anyhow!("one agent only"))?;
    cx.committed(&framework.id, 1).await?;
    let plan = vec![window(&[&hostname(cx, &other).await?])];
    for call in [drain(&agent, None, false), deactivate(&other), update(plan.clone())] {
        cx.operate(&call).await?.expect(200)?.empty()?;
    }
    let leader = change_leader(cx).await?;
    anyhow::ensure!(schedule(cx).await?.windows == plan, "the schedule is lost");
    let mut framework = resubscribe(cx, &leader, &framework.id, lasting("moves")).await?;
    cx.eventually("both agents as they were", async || {
        let deactivated = shown(cx, &other).await.ok()?.deactivated();
        (deactivated && state_of(cx, &agent).await == Some(DrainState::Draining)).then_some(())
    })
    .await?;
    cx.operate(&reactivate(&agent)).await?.refuses(400)?;
    // The new leader goes on with it.
    cx.operate(&drain(&agent, Some(0.2), false)).await?.expect(200)?.empty()?;
    let end = framework.state("t", TaskState::TaskKilled).await?;
    anyhow::ensure!(end.reason() == Reason::AgentDraining, "{end:?}");
    drained(cx, &agent).await?;
    cx.operate(&mark_gone(&agent)).await?.expect(200)?.empty()?;
    cx.eventually("the end of the agent's process", async || cx.agent_has_exited(index).then_some(()))
        .await?;
    change_leader(cx).await?;
    roles_as_they_were(cx).await?;
    cx.cluster.kill_agent(index);
    cx.cluster.start_agent(index)?;
    cx.eventually("the end of the agent's process", async || cx.agent_has_exited(index).then_some(()))
        .await?;
    cx.operate(&reactivate(&other)).await?.expect(200)?.empty()?;
    active_agents(cx, 1).await?;
    anyhow::ensure!(schedule(cx).await?.windows == plan, "the schedule is lost");
    renew(cx, index).await
}
