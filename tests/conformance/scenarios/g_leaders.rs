//! Scenarios 97–99: what a new leader knows, what a former one may still do, and frameworks that do not come back.

use anyhow::Context as _;
use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::framework_info::capability::Type::PartitionAware;
use tepui_proto::v1::master;
use tepui_proto::v1::scheduler::{Call, call};

use super::f_partitions::active_agents;
use super::g_failover::{agent_ids, kill_leader, resubscribe};
use crate::conformance::Context;
use crate::conformance::wire::messages::{
    Named, able, framework_id, info, lasting, of, reconcile, revive, sleeper, task,
};
use crate::conformance::wire::{Framework, SCHEDULER};

pub(crate) async fn exact_agents(cx: &mut Context) -> anyhow::Result<()> {
    let before = agent_ids(cx).await?;
    anyhow::ensure!(before.len() == 2, "{before:?}");
    let mut framework = cx.subscribe(able(lasting("asks"), &[PartitionAware])).await?;
    let agent = framework.run(vec![sleeper("t")]).await?;
    let index = cx.agent_index(&agent).await?;
    cx.committed(&framework.id, 1).await?;
    // One agent stays away during the change of leader: it is neither forgotten nor given up at once.
    cx.freeze_agent(index);
    let leader = kill_leader(cx).await?;
    let state = cx.http.get_json(&leader, "/state").await?;
    let known = |list: &str| state[list].as_array().map_or(0, Vec::len);
    anyhow::ensure!(known("slaves") + known("recovered_slaves") == 2, "{state}");
    anyhow::ensure!(state["unreachable_slaves"] == 0, "{state}");
    let mut framework =
        resubscribe(cx, &leader, &framework.id, able(lasting("asks"), &[PartitionAware])).await?;
    framework.call(reconcile(&[("t", Some(&agent))])).await?;
    let status = framework.next_update("t", 0).await?;
    anyhow::ensure!(status.state() == TaskState::TaskRunning, "{status:?}");
    cx.thaw_agent(index);
    active_agents(cx, 2).await?;
    anyhow::ensure!(agent_ids(cx).await? == before, "{:?} instead of {before:?}", agent_ids(cx).await?);
    anyhow::ensure!(cx.agent_index(&agent).await? == index, "an agent has another id");
    framework.kill("t").await?;
    framework.state("t", TaskState::TaskKilled).await?;
    framework.tear_down().await?;
    for index in 0..cx.cluster.masters().len() {
        if cx.cluster.master_pid(index).is_none() {
            cx.cluster.start_master(index)?;
        }
    }
    Box::pin(super::g_wishes::operators_wishes(cx)).await
}

pub(crate) async fn former_leader(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("moves")).await?;
    framework.run(vec![sleeper("t")]).await?;
    cx.committed(&framework.id, 1).await?;
    let former = framework.master.clone();
    let index = cx.master_index(&former)?;
    cx.cluster.pause_master(index);
    let leader = cx.new_leader(&former).await?;
    let mut moved = resubscribe(cx, &leader, &framework.id, lasting("moves")).await?;
    let offer = moved.offer().await?;
    cx.cluster.resume_master(index);
    // It may not serve a moment longer: its streams end and its calls go to the new leader.
    framework.end().await?;
    let calls = [of(call::Type::Teardown), revive(&[])];
    for call in calls {
        let call = Call { framework_id: Some(framework_id(&framework.id)), ..call };
        let headers = [("mesos-stream-id", framework.stream_id.as_str())];
        let answer = cx.http.post(&former, SCHEDULER, &headers, &call).await?;
        anyhow::ensure!([307, 503].contains(&answer.status), "{} from a former leader", answer.status);
    }
    cx.eventually("a redirect from the former leader", async || {
        let answer = cx.http.get(&former, "/state").await.ok()?;
        (answer.header("location") == Some(&format!("//{leader}/state"))).then_some(())
    })
    .await?;
    moved.launch_on(&offer, vec![task("new", "true")]).await?;
    moved.state("new", TaskState::TaskFinished).await?;
    anyhow::ensure!(
        moved.updates_of("t").all(|status| status.state() == TaskState::TaskRunning),
        "t was disturbed"
    );
    cut_off(cx, &leader, &mut moved).await
}

/// A follower that nobody hears sends everybody away and gives nothing out; when it is heard again it catches up.
async fn cut_off(cx: &mut Context, leader: &str, framework: &mut Framework) -> anyhow::Result<()> {
    let follower = (0..3).find(|one| cx.cluster.masters()[*one] != leader).context("a follower")?;
    let address = cx.cluster.masters()[follower].clone();
    let others = (0..3).filter(|one| *one != follower);
    cx.gateways.cut(others.flat_map(|other| [(follower, other), (other, follower)]));
    framework.run(vec![sleeper("meanwhile")]).await?;
    let subscribe = Call {
        r#type: Some(call::Type::Subscribe as i32),
        subscribe: Some(call::Subscribe { framework_info: Some(lasting("lost")), ..Default::default() }),
        ..Default::default()
    };
    // Until long after it has noticed.
    cx.eventually("503 from a master that knows of no leader", async || {
        let answer = cx.http.post(&address, SCHEDULER, &[], &subscribe).await.ok()?;
        assert!([307, 503].contains(&answer.status), "{} from a follower that is cut off", answer.status);
        (answer.status == 503).then_some(())
    })
    .await?;
    let path = "/tasks?task_id=meanwhile&tepui_read=local";
    let shown = cx.http.get_json(&address, path).await?;
    anyhow::ensure!(shown["tasks"][0].is_null(), "it is not cut off: {shown}");
    cx.gateways.heal();
    cx.eventually("the task at the follower", async || {
        let shown = cx.http.get_json(&address, path).await.ok()?;
        (shown["tasks"][0]["id"] == "meanwhile").then_some(())
    })
    .await?;
    cx.eventually("a redirect from the follower", async || {
        let answer = cx.http.post(&address, SCHEDULER, &[], &subscribe).await.ok()?;
        (answer.status == 307).then_some(())
    })
    .await
}

pub(crate) async fn absent_framework(cx: &mut Context) -> anyhow::Result<()> {
    let mark = cx.scratch("pid");
    let mut framework = cx.subscribe(lasting("absent")).await?;
    framework.run(vec![task("t", &format!("echo $$ > {}; exec sleep 1000", mark.display()))]).await?;
    let pid: i32 = cx.written("pid").await?.trim().parse()?;
    let id = framework.id.clone();
    drop(framework);
    let leader = kill_leader(cx).await?;
    active_agents(cx, 2).await?;
    let shown = cx.framework(&id).await?;
    anyhow::ensure!(shown.is_some_and(|one| !one.connected()), "the framework is not known as absent");
    let teardown = master::Call {
        r#type: Some(master::call::Type::Teardown as i32),
        teardown: Some(master::call::Teardown { framework_id: Some(framework_id(&id)) }),
        ..Default::default()
    };
    cx.http.post(&leader, "/api/v1", &[], &teardown).await?.expect(200)?;
    anyhow::ensure!(cx.completed().await?.contains(&id), "the framework is not completed");
    cx.eventually("the end of the task", async || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    })
    .await?;
    let mut heir = cx.subscribe(info("heir")).await?;
    for offer in heir.offers_of_agents(2).await? {
        anyhow::ensure!(offer.agent_id.named() != "", "{offer:?}");
    }
    let tasks: Vec<v1::Task> = cx.tasks().await?.tasks;
    anyhow::ensure!(tasks.is_empty(), "{tasks:?}");
    Ok(())
}
