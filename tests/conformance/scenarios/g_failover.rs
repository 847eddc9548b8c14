//! Scenarios 94–96, 100: the leading master is killed, at the worst moments that can be arranged from outside.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::framework_info::capability::Type::PartitionAware;
use tepui_proto::v1::task_status::Reason;

use super::f_partitions::active_agents;
use crate::conformance::Context;
use crate::conformance::context::QUIET;
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{
    Named, able, framework_id, lasting, reconcile, sized, sleeper, subscribe, task,
};

/// Kills the leading master and returns the address of the next.
pub(super) async fn kill_leader(cx: &mut Context) -> anyhow::Result<String> {
    let former = cx.leader().await?;
    let killed = cx.cluster.kill_master(cx.master_index(&former)?);
    let leader = cx.new_leader(&former).await?;
    cx.timings.push(("kill to an answer of the next leader", killed.elapsed()));
    Ok(leader)
}

/// The framework, subscribed with its id at another master.
pub(super) async fn resubscribe(
    cx: &Context,
    leader: &str,
    id: &str,
    info: v1::FrameworkInfo,
) -> anyhow::Result<Framework> {
    let info = v1::FrameworkInfo { id: Some(framework_id(id)), ..info };
    Framework::subscribe(&cx.http, leader, &subscribe(info)).await
}

/// Lines of a file that each start of a task adds to, counted.
fn starts(path: &std::path::Path) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        *counted.entry(line.to_owned()).or_default() += 1;
    }
    counted
}

pub(crate) async fn tasks_survive(cx: &mut Context) -> anyhow::Result<()> {
    let mark = cx.scratch("starts");
    let names = ["one", "two"];
    let mut frameworks = Vec::new();
    for name in names {
        let mut framework = cx.subscribe(lasting(name)).await?;
        let mut left = 10;
        while left > 0 {
            let offer = framework.offer().await?;
            let count = left.min(5);
            let tasks = (0..count).map(|_| {
                left -= 1;
                let id = format!("{name}-{left}");
                sized(task(&id, &format!("echo {id} >> {}; exec sleep 1000", mark.display())), 0.1, 32.0)
            });
            let tasks: Vec<_> = tasks.collect();
            framework.launch_on(&offer, tasks).await?;
        }
        for number in 0..10 {
            framework.state(&format!("{name}-{number}"), TaskState::TaskRunning).await?;
        }
        framework.decline_all(3_600.0).await?;
        cx.committed(&framework.id, 10).await?;
        frameworks.push(framework);
    }
    let agents_before = agent_ids(cx).await?;
    let killed = Instant::now();
    let leader = kill_leader(cx).await?;
    let mut again = Vec::new();
    for (name, mut framework) in names.into_iter().zip(frameworks) {
        framework.end().await?;
        let known = framework.updates.iter().filter(|status| status.state().is_terminal()).count();
        anyhow::ensure!(known == 0, "{name}: terminal updates before the end: {:?}", framework.updates);
        let resubscribed = resubscribe(cx, &leader, &framework.id, lasting(name)).await?;
        anyhow::ensure!(resubscribed.id == framework.id, "another id");
        // What SUBSCRIBED answers is committed: this is the first write, too.
        let what = if again.is_empty() { "to the first framework, a write" } else { "to all frameworks" };
        cx.timings.push((what, killed.elapsed()));
        again.push(resubscribed);
    }
    active_agents(cx, 2).await?;
    cx.timings.push(("to all agents", killed.elapsed()));
    for (name, framework) in names.into_iter().zip(&mut again) {
        framework.listen(QUIET / 2).await?;
        let spurious: Vec<_> =
            framework.updates.iter().filter(|status| status.state() != TaskState::TaskRunning).collect();
        anyhow::ensure!(spurious.is_empty(), "{name}: {spurious:?}");
        framework.updates.clear();
        framework.call(reconcile(&[])).await?;
        framework.wait("ten answers", |this| (this.updates.len() >= 10).then_some(())).await?;
        for number in 0..10 {
            let id = format!("{name}-{number}");
            let states = framework.states_of(&id);
            anyhow::ensure!(states == [TaskState::TaskRunning], "{id}: {states:?}");
        }
    }
    let counted = starts(&mark);
    anyhow::ensure!(counted.len() == 20 && counted.values().all(|count| *count == 1), "{counted:?}");
    anyhow::ensure!(agent_ids(cx).await? == agents_before, "agents changed: {agents_before:?}");
    for framework in &mut again {
        let offer = framework.offer().await?;
        // The first one back may have been offered all that is free.
        framework.decline(&offer, 3_600.0).await?;
        framework.decline_all(3_600.0).await?;
    }
    Ok(())
}

/// Ids of all agents, in order.
pub(super) async fn agent_ids(cx: &Context) -> anyhow::Result<Vec<String>> {
    let infos = cx.agents().await?.into_iter().filter_map(|agent| agent.agent_info);
    let mut ids: Vec<String> = infos.map(|info| info.id.named().to_owned()).collect();
    ids.sort();
    Ok(ids)
}

pub(crate) async fn killed_after_accept(cx: &mut Context) -> anyhow::Result<()> {
    let mark = cx.scratch("starts");
    let who = || able(lasting("accepts"), &[PartitionAware]);
    let mut framework = cx.subscribe(who()).await?;
    let offer = framework.offer().await?;
    let former = framework.master.clone();
    let index = cx.master_index(&former)?;
    let tasks: Vec<_> = (0..5)
        .map(|number| {
            task(&format!("t{number}"), &format!("echo t{number} >> {}; exec sleep 1000", mark.display()))
        })
        .collect();
    framework.launch_on(&offer, tasks).await?;
    cx.cluster.kill_master(index);
    let leader = cx.new_leader(&former).await?;
    let mut framework = resubscribe(cx, &leader, &framework.id, who()).await?;
    active_agents(cx, 2).await?;
    let agent = offer.agent_id.named().to_owned();
    // What runs is reported by its agent; of what does not run a question tells.
    let asked = cx.eventually("what became of the tasks", async || {
        let all: Vec<String> = (0..5).map(|number| format!("t{number}")).collect();
        let named: Vec<_> = all.iter().map(|id| (id.as_str(), Some(agent.as_str()))).collect();
        framework.call(reconcile(&named)).await.ok()?;
        framework.listen(Duration::from_millis(300)).await.ok()?;
        let last = |id: &String| framework.updates_of(id).last().map(v1::TaskStatus::state);
        let states: Vec<TaskState> = all.iter().filter_map(last).collect();
        let decided = |state: &TaskState| *state == TaskState::TaskRunning || state.is_terminal();
        (states.len() == 5 && states.iter().all(decided)).then_some(states)
    });
    let states = asked.await?;
    let counted = starts(&mark);
    for (number, state) in states.iter().enumerate() {
        let count = counted.get(&format!("t{number}")).copied().unwrap_or(0);
        match state {
            TaskState::TaskRunning => anyhow::ensure!(count == 1, "t{number} runs, {count} starts"),
            TaskState::TaskDropped | TaskState::TaskLost | TaskState::TaskGone | TaskState::TaskUnknown => {
                anyhow::ensure!(count == 0, "t{number} is {state:?}, {count} starts");
            }
            other => anyhow::bail!("t{number}: {other:?}"),
        }
    }
    Ok(())
}

pub(crate) async fn killed_during_acknowledgement(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("acknowledges")).await?;
    framework.acknowledges = false;
    let offer = framework.offer().await?;
    framework.launch_on(&offer, vec![task("t", "true")]).await?;
    let starting = framework.next_update("t", 0).await?;
    framework.acknowledge(&starting).await?;
    let running = framework.state("t", TaskState::TaskRunning).await?;
    framework.acknowledge(&running).await?;
    let finished = framework.state("t", TaskState::TaskFinished).await?;
    let former = framework.master.clone();
    let index = cx.master_index(&former)?;
    framework.acknowledge(&finished).await?;
    // At once: the acknowledgement is on its way to the log, the agent, or both.
    cx.cluster.kill_master(index);
    let leader = cx.new_leader(&former).await?;
    let mut framework = resubscribe(cx, &leader, &framework.id, lasting("acknowledges")).await?;
    // The acknowledgement may or may not have got through; if not, the same update comes again and is acknowledged again.
    let began = Instant::now();
    loop {
        framework.listen(Duration::from_millis(100)).await?;
        let odd: Vec<_> = framework
            .updates_of("t")
            .filter(|status| status.uuid != finished.uuid && status.reason() != Reason::Reconciliation)
            .collect();
        anyhow::ensure!(odd.is_empty(), "{odd:?}");
        let all = cx.tasks_of(&framework.id).await?;
        let completed = all.completed_tasks.iter().filter(|task| task.task_id.named() == "t").count();
        if all.tasks.is_empty() && completed == 1 {
            break;
        }
        anyhow::ensure!(
            began.elapsed() < crate::conformance::PATIENCE,
            "the task does not complete: {all:?}"
        );
    }
    framework.listen(Duration::from_secs(2)).await?;
    let after = framework.updates_of("t").count();
    framework.listen(QUIET).await?;
    anyhow::ensure!(framework.updates_of("t").count() == after, "updates after the acknowledgement");
    Ok(())
}

pub(crate) async fn deadline_survives(cx: &mut Context) -> anyhow::Result<()> {
    let brief = v1::FrameworkInfo { failover_timeout: Some(3.0), ..lasting("brief") };
    let mut framework = cx.subscribe(brief.clone()).await?;
    framework.run(vec![sleeper("t")]).await?;
    let id = framework.id.clone();
    let left = Instant::now();
    drop(framework);
    cx.eventually("a disconnected framework", async || {
        cx.framework(&id).await.ok()?.filter(|one| !one.connected())
    })
    .await?;
    kill_leader(cx).await?;
    cx.eventually("a completed framework", async || cx.completed().await.ok()?.contains(&id).then_some(()))
        .await?;
    let lasted = left.elapsed();
    anyhow::ensure!(lasted >= Duration::from_secs(3), "removed after {lasted:?} instead of 3 s");
    let v = cx.refused(&subscribe(v1::FrameworkInfo { id: Some(framework_id(&id)), ..brief })).await?;
    anyhow::ensure!(!v.is_empty(), "refused without a reason");
    cx.eventually("no active task", async || cx.tasks().await.ok()?.tasks.is_empty().then_some(())).await
}
