//! Scenarios 77–79: what a framework is told when it asks.

use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::framework_info::capability::Type::PartitionAware;
use tepui_proto::v1::task_status::{Reason, Source};

use crate::conformance::Context;
use crate::conformance::context::QUIET;
use crate::conformance::wire::Framework;
use crate::conformance::wire::messages::{
    Named, able, framework_id, info, lasting, reconcile, sleeper, subscribe, task,
};

/// Asks for one task and returns the answer.
pub(super) async fn ask(
    framework: &mut Framework,
    id: &str,
    agent: Option<&str>,
) -> anyhow::Result<v1::TaskStatus> {
    let known = framework.updates_of(id).count();
    framework.call(reconcile(&[(id, agent)])).await?;
    let answer = framework.next_update(id, known).await?;
    answered(&answer)?;
    Ok(answer)
}

/// Checks what every answer has in common.
fn answered(status: &v1::TaskStatus) -> anyhow::Result<()> {
    let form = status.source() == Source::Master && status.reason() == Reason::Reconciliation;
    anyhow::ensure!(form && status.uuid.is_none(), "not an answer to a question: {status:?}");
    Ok(())
}

/// Asks for all tasks and returns what was answered, by task.
async fn ask_all(framework: &mut Framework) -> anyhow::Result<Vec<(String, TaskState)>> {
    let known = framework.updates.len();
    framework.call(reconcile(&[])).await?;
    framework.listen(QUIET / 2).await?;
    let mut answers = Vec::new();
    for status in &framework.updates[known..] {
        answered(status)?;
        answers.push((status.task_id.named().to_owned(), status.state()));
    }
    answers.sort();
    Ok(answers)
}

pub(crate) async fn known_tasks(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("asks")).await?;
    anyhow::ensure!(ask_all(&mut framework).await?.is_empty(), "answers about nothing");
    let gate = cx.scratch("gate");
    let command = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let agent = framework.run(vec![sleeper("long"), task("short", &command)]).await?;
    for with_agent in [None, Some(agent.as_str()), Some("wrong")] {
        let answer = ask(&mut framework, "long", with_agent).await?;
        anyhow::ensure!(answer.state() == TaskState::TaskRunning, "{answer:?}");
        anyhow::ensure!(answer.agent_id.named() == agent, "{answer:?}");
    }
    let running = |id: &str| (id.to_owned(), TaskState::TaskRunning);
    let all = ask_all(&mut framework).await?;
    anyhow::ensure!(all == [running("long"), running("short")], "{all:?}");
    // The end of a task that the framework has not acknowledged is still an answer, an acknowledged one is not.
    framework.acknowledges = false;
    std::fs::write(&gate, "")?;
    let end = framework.state("short", TaskState::TaskFinished).await?;
    let all = ask_all(&mut framework).await?;
    anyhow::ensure!(all == [running("long"), ("short".to_owned(), TaskState::TaskFinished)], "{all:?}");
    let answer = ask(&mut framework, "short", None).await?;
    anyhow::ensure!(answer.state() == TaskState::TaskFinished, "{answer:?}");
    framework.acknowledge(&end).await?;
    cx.eventually("the completed task", async || (cx.tasks().await.ok()?.tasks.len() == 1).then_some(()))
        .await?;
    let all = ask_all(&mut framework).await?;
    anyhow::ensure!(all == [running("long")], "{all:?}");
    Ok(())
}

pub(crate) async fn forwarded_state(cx: &mut Context) -> anyhow::Result<()> {
    // What counts is what the framework was told, not what the agent knows: the start is not acknowledged yet.
    let mut framework = cx.subscribe(lasting("behind")).await?;
    framework.acknowledges = false;
    let offer = framework.offer().await?;
    framework.launch_on(&offer, vec![task("t", "true")]).await?;
    let starting = framework.next_update("t", 0).await?;
    anyhow::ensure!(starting.state() == TaskState::TaskStarting, "{starting:?}");
    framework.listen(QUIET / 2).await?;
    let answer = ask(&mut framework, "t", None).await?;
    anyhow::ensure!(answer.state() == TaskState::TaskStarting, "{answer:?}");
    Ok(())
}

pub(crate) async fn match_and_mismatch(cx: &mut Context) -> anyhow::Result<()> {
    known_tasks(cx).await?;
    forwarded_state(cx).await
}

pub(crate) async fn unknown_tasks(cx: &mut Context) -> anyhow::Result<()> {
    for (aware, here, nowhere) in [
        (false, TaskState::TaskLost, TaskState::TaskLost),
        (true, TaskState::TaskGone, TaskState::TaskUnknown),
    ] {
        let who = if aware { able(info("asks"), &[PartitionAware]) } else { info("asks") };
        let mut framework = cx.subscribe(who).await?;
        let offer = framework.offer().await?;
        let agent = offer.agent_id.named().to_owned();
        for (id, with_agent, expected) in
            [("u1", Some(agent.as_str()), here), ("u2", Some("strange"), nowhere), ("u3", None, nowhere)]
        {
            let answer = ask(&mut framework, id, with_agent).await?;
            anyhow::ensure!(answer.state() == expected, "{id}: {answer:?}");
            if let Some(agent) = with_agent {
                anyhow::ensure!(answer.agent_id.named() == agent, "{id}: {answer:?}");
            }
        }
        // Several at once, one of them known.
        framework.launch_on(&offer, vec![sleeper("t")]).await?;
        framework.state("t", TaskState::TaskRunning).await?;
        let known = framework.updates.len();
        framework.call(reconcile(&[("t", None), ("u1", Some(&agent)), ("u4", None)])).await?;
        framework.wait("three answers", |this| (this.updates.len() == known + 3).then_some(())).await?;
        let states: Vec<_> = framework.updates[known..].iter().map(v1::TaskStatus::state).collect();
        anyhow::ensure!(states == [TaskState::TaskRunning, here, nowhere], "{states:?}");
        framework.tear_down().await?;
    }
    Ok(())
}

pub(crate) async fn unreachable_agent(cx: &mut Context) -> anyhow::Result<()> {
    for (aware, expected) in [(true, TaskState::TaskUnreachable), (false, TaskState::TaskLost)] {
        let who = if aware { able(lasting("asks"), &[PartitionAware]) } else { lasting("asks") };
        let mut framework = cx.subscribe(who).await?;
        let offer = framework.offer().await?;
        let agent = offer.agent_id.named().to_owned();
        let index = cx.agent_index(&agent).await?;
        cx.freeze_agent(index);
        framework.failure(&agent).await?;
        let answer = ask(&mut framework, "u", Some(&agent)).await;
        cx.thaw_agent(index);
        let answer = answer?;
        anyhow::ensure!(answer.state() == expected, "{answer:?}");
        anyhow::ensure!(answer.unreachable_time.is_some(), "{answer:?}");
        framework.tear_down().await?;
        cx.eventually("both agents", async || {
            let agents = cx.agents().await.ok()?;
            (agents.iter().filter(|agent| agent.active()).count() == 2).then_some(())
        })
        .await?;
    }
    Ok(())
}

pub(crate) async fn agent_not_back(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(able(lasting("asks"), &[PartitionAware])).await?;
    let agent = framework.run(vec![sleeper("t")]).await?;
    let index = cx.agent_index(&agent).await?;
    cx.committed(&framework.id, 1).await?;
    // The agent cannot come back to the new leader yet.
    cx.freeze_agent(index);
    let former = framework.master.clone();
    cx.cluster.kill_master(cx.master_index(&former)?);
    let leader = cx.new_leader(&former).await?;
    let info = v1::FrameworkInfo {
        id: Some(framework_id(&framework.id)),
        ..able(lasting("asks"), &[PartitionAware])
    };
    let mut framework = Framework::subscribe(&cx.http, &leader, &subscribe(info)).await?;
    // The log knows the task; of another nobody but the absent agent can know anything.
    let answer = ask(&mut framework, "t", Some(&agent)).await?;
    anyhow::ensure!(answer.state() == TaskState::TaskRunning, "{answer:?}");
    framework.call(reconcile(&[("u1", Some(&agent)), ("u2", None)])).await?;
    framework.listen(QUIET).await?;
    let early = framework.updates_of("u1").chain(framework.updates_of("u2")).count();
    anyhow::ensure!(early == 0, "answers that nobody can know: {:?}", framework.updates);
    cx.thaw_agent(index);
    cx.eventually("both agents", async || {
        let agents = cx.agents().await.ok()?;
        (agents.iter().filter(|agent| agent.active()).count() == 2).then_some(())
    })
    .await?;
    let answer = ask(&mut framework, "u1", Some(&agent)).await?;
    anyhow::ensure!(answer.state() == TaskState::TaskGone, "{answer:?}");
    let answer = ask(&mut framework, "u2", None).await?;
    anyhow::ensure!(answer.state() == TaskState::TaskUnknown, "{answer:?}");
    let answer = ask(&mut framework, "t", None).await?;
    anyhow::ensure!(answer.state() == TaskState::TaskRunning, "{answer:?}");
    Ok(())
}

pub(crate) async fn all_unknown(cx: &mut Context) -> anyhow::Result<()> {
    unknown_tasks(cx).await?;
    unreachable_agent(cx).await
}
