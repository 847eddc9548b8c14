//! Scenario 80: what a framework is told when it asks for operations.

use tepui_proto::v1;
use tepui_proto::v1::OperationState;
use tepui_proto::v1::agent::call::Type;
use tepui_proto::v1::framework_info::capability::Type::ReservationRefinement;

use super::f_fates::renew;
use super::f_partitions::active_agents;
use super::g_failover::{kill_leader, resubscribe};
use super::h_agent_endpoints::ask_agent;
use crate::conformance::Context;
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{Named, able, accept, in_roles, lasting, mark_gone};
use crate::conformance::wire::operations::{
    acknowledge_operation, named, reconcile_operations, reserve, reserved,
};

/// Asks for one operation and returns the answer, which is never to be acknowledged.
async fn ask(framework: &mut Framework, id: &str, agent: &str) -> anyhow::Result<v1::OperationStatus> {
    let known = framework.operation_updates(id).len();
    framework.call(reconcile_operations(&[(id, agent)])).await?;
    let status = framework.operation(id, known).await?;
    anyhow::ensure!(status.uuid.is_none(), "an answer with a uuid: {status:?}");
    Ok(status)
}

/// Waits until the agent shows these operations.
async fn shown_by_agent(cx: &Context, index: usize, expected: &[&v1::OperationStatus]) -> anyhow::Result<()> {
    cx.eventually("the agent's list of operations", async || {
        let shown = ask_agent(cx, index, Type::GetOperations).await.ok()?.get_operations?.operations;
        let statuses: Vec<_> = shown.iter().filter_map(|one| one.latest_status.as_ref()).collect();
        let ids = shown.iter().map(|one| one.info.as_ref()?.id.clone());
        let same = statuses == expected && ids.eq(expected.iter().map(|status| status.operation_id.clone()));
        (same && shown.iter().all(|one| one.uuid.is_some() && one.framework_id.is_some())).then_some(())
    })
    .await
}

async fn expect(framework: &mut Framework, agent: &str, state: OperationState) -> anyhow::Result<()> {
    let status = ask(framework, "unknown", agent).await?;
    anyhow::ensure!(status.state() == state, "{status:?} instead of {}", state.as_str_name());
    anyhow::ensure!(status.agent_id.named() == agent, "{status:?}");
    Ok(())
}

pub(crate) async fn reconcile(cx: &mut Context) -> anyhow::Result<()> {
    use OperationState::{
        OperationFinished, OperationGoneByOperator, OperationPending, OperationRecovering, OperationUnknown,
        OperationUnreachable,
    };
    let info = able(in_roles(lasting("asks"), &["web"]), &[ReservationRefinement]);
    let mut framework = cx.subscribe(info.clone()).await?;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    let index = cx.agent_index(&agent).await?;
    // As long as nobody can commit it, an operation is pending.
    let leader = cx.leader().await?;
    let masters = cx.cluster.masters();
    let followers: Vec<usize> = (0..masters.len()).filter(|index| masters[*index] != leader).collect();
    followers.iter().for_each(|follower| cx.cluster.pause_master(*follower));
    let operations = vec![named("one", reserve(vec![reserved("cpus", 0.5, "web")]))];
    framework.call(accept(&[&offer], operations)).await?;
    let pending = ask(&mut framework, "one", &agent).await;
    followers.iter().for_each(|follower| cx.cluster.resume_master(*follower));
    let pending = pending?;
    anyhow::ensure!(pending.state() == OperationPending, "{pending:?}");
    let told = framework.operation("one", 1).await?;
    anyhow::ensure!(told.state() == OperationFinished && told.uuid.is_some(), "{told:?}");
    shown_by_agent(cx, index, &[&told]).await?;
    let status = ask(&mut framework, "one", &agent).await?;
    anyhow::ensure!(status.state() == OperationFinished, "{status:?}");
    expect(&mut framework, &agent, OperationUnknown).await?;
    expect(&mut framework, "nobody", OperationUnknown).await?;
    // Nobody has acknowledged it: the next leader tells it again, with the same uuid, and shows it.
    let leader = kill_leader(cx).await?;
    let mut framework = resubscribe(cx, &leader, &framework.id, info.clone()).await?;
    let again = framework.operation("one", 0).await?;
    anyhow::ensure!(again == told, "{again:?} instead of {told:?}");
    let shown = cx.ask(v1::master::call::Type::GetOperations).await?.get_operations.unwrap_or_default();
    anyhow::ensure!(shown.operations.len() == 1, "{shown:?}");
    // Its agent is told again when it is back, with this leader or after a restart of its own.
    active_agents(cx, 2).await?;
    cx.cluster.kill_agent(index);
    cx.cluster.start_agent(index)?;
    shown_by_agent(cx, index, &[&again]).await?;
    framework.call(acknowledge_operation(&again)).await?;
    cx.eventually("the end of the operation", async || {
        let shown = cx.ask(v1::master::call::Type::GetOperations).await.ok()?.get_operations?;
        shown.operations.is_empty().then_some(())
    })
    .await?;
    shown_by_agent(cx, index, &[]).await?;
    expect(&mut framework, "nobody", OperationUnknown).await?;
    // An agent that does not answer is unreachable after a while.
    active_agents(cx, 2).await?;
    cx.freeze_agent(index);
    framework.failure(&agent).await?;
    expect(&mut framework, &agent, OperationUnreachable).await?;
    cx.thaw_agent(index);
    active_agents(cx, 2).await?;
    for master in 0..cx.cluster.masters().len() {
        if cx.cluster.master_pid(master).is_none() {
            cx.cluster.start_master(master)?;
        }
    }
    // One that has not come back to a new leader yet may know.
    cx.cluster.kill_agent(index);
    let leader = kill_leader(cx).await?;
    let mut framework = resubscribe(cx, &leader, &framework.id, info).await?;
    expect(&mut framework, &agent, OperationRecovering).await?;
    cx.cluster.start_agent(index)?;
    active_agents(cx, 2).await?;
    expect(&mut framework, &agent, OperationUnknown).await?;
    // And of one that is gone for good, so are its operations.
    cx.operate(&mark_gone(&agent)).await?.expect(200)?.empty()?;
    expect(&mut framework, &agent, OperationGoneByOperator).await?;
    framework.tear_down().await?;
    renew(cx, index).await
}
