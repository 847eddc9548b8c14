//! Scenarios 48–50, 56: how tasks are ended before they end.

use std::time::{Duration, Instant};

use tepui_proto::v1::framework_info::capability::Type::{PartitionAware, TaskKillingState};
use tepui_proto::v1::task_status::{Reason, Source};
use tepui_proto::v1::{self, TaskState};

use crate::conformance::Context;
use crate::conformance::context::{AGENT, QUIET};
use crate::conformance::wire::messages::{
    Named, able, amount, grace, info, kill, lasting, shutdown, sleeper, task,
};

/// A command that notes SIGTERM in a file and then does what `then` says.
fn trapping(cx: &Context, id: &str, then: &str) -> v1::TaskInfo {
    let (term, up) = (cx.scratch(&format!("{id}.term")), cx.scratch(&format!("{id}.up")));
    let command = format!(
        "trap 'echo x >> {}; {then}' TERM; echo x > {}; while true; do sleep 0.05; done",
        term.display(),
        up.display()
    );
    task(id, &command)
}

pub(crate) async fn killing(cx: &mut Context) -> anyhow::Result<()> {
    for knows in [false, true] {
        let who = if knows { able(info("kills"), &[TaskKillingState]) } else { info("kills") };
        let mut framework = cx.subscribe(who).await?;
        let polite = format!("polite{knows}");
        let stubborn = format!("stubborn{knows}");
        framework.run(vec![trapping(cx, &polite, "exit 0"), trapping(cx, &stubborn, ":")]).await?;
        cx.written(&format!("{polite}.up")).await?;
        cx.written(&format!("{stubborn}.up")).await?;
        // Long enough that only the task itself can have ended it.
        framework.call(kill(&polite, None, Some(grace(600_000)))).await?;
        framework.state(&polite, TaskState::TaskKilled).await?;
        cx.written(&format!("{polite}.term")).await?;
        let began = Instant::now();
        framework.call(kill(&stubborn, None, Some(grace(700)))).await?;
        framework.state(&stubborn, TaskState::TaskKilled).await?;
        let took = began.elapsed();
        anyhow::ensure!(took >= Duration::from_millis(700), "forced after {took:?} instead of 700 ms");
        cx.written(&format!("{stubborn}.term")).await?;
        let announced =
            [&polite, &stubborn].map(|id| framework.states_of(id).contains(&TaskState::TaskKilling));
        anyhow::ensure!(announced == [knows; 2], "TASK_KILLING: {announced:?} with capability: {knows}");
        framework.tear_down().await?;
    }
    // A second kill with a shorter grace wins, one with a longer grace is ignored.
    let mut framework = cx.subscribe(info("kills")).await?;
    let own = v1::TaskInfo { kill_policy: Some(grace(300)), ..trapping(cx, "own", ":") };
    framework.run(vec![trapping(cx, "twice", ":"), own]).await?;
    cx.written("twice.up").await?;
    cx.written("own.up").await?;
    framework.call(kill("twice", None, Some(grace(600_000)))).await?;
    cx.written("twice.term").await?;
    framework.call(kill("twice", None, Some(grace(100)))).await?;
    framework.call(kill("twice", None, Some(grace(600_000)))).await?;
    framework.state("twice", TaskState::TaskKilled).await?;
    // Without one in the call, the task's own grace counts.
    framework.kill("own").await?;
    let killed = framework.state("own", TaskState::TaskKilled).await?;
    anyhow::ensure!(killed.uuid.is_some() && killed.source() == Source::Executor, "{killed:?}");
    Ok(())
}

pub(crate) async fn unknown_tasks(cx: &mut Context) -> anyhow::Result<()> {
    for (aware, on_agent, nowhere) in [
        (false, TaskState::TaskLost, TaskState::TaskLost),
        (true, TaskState::TaskGone, TaskState::TaskUnknown),
    ] {
        let who = if aware { able(info("kills"), &[PartitionAware]) } else { info("kills") };
        let mut framework = cx.subscribe(who).await?;
        let offers = framework.offers_of_agents(2).await?;
        let (here, there) = (offers[0].agent_id.named(), offers[1].agent_id.named());
        framework.launch_on(&offers[0], vec![sleeper("t")]).await?;
        framework.state("t", TaskState::TaskRunning).await?;
        for (id, agent, expected) in
            [("u1", None, nowhere), ("u2", Some(here), on_agent), ("u3", Some("strange"), nowhere)]
        {
            framework.call(kill(id, agent, None)).await?;
            let status = framework.next_update(id, 0).await?;
            anyhow::ensure!(status.state() == expected, "{id}: {status:?}");
            anyhow::ensure!(
                status.reason() == Reason::Reconciliation && status.uuid.is_none(),
                "{id}: {status:?}"
            );
        }
        // The task is elsewhere: nothing happens.
        framework.call(kill("t", Some(there), None)).await?;
        framework.call(kill("t", Some("strange"), None)).await?;
        framework.listen(QUIET / 2).await?;
        let states = framework.states_of("t");
        anyhow::ensure!(states == [TaskState::TaskStarting, TaskState::TaskRunning], "{states:?}");
        framework.call(kill("t", Some(here), None)).await?;
        framework.state("t", TaskState::TaskKilled).await?;
        framework.tear_down().await?;
    }
    Ok(())
}

pub(crate) async fn killed_on_the_way(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("hasty")).await?;
    let offer = framework.offer().await?;
    let index = cx.agent_index(offer.agent_id.named()).await?;
    let mark = cx.scratch("ran");
    let command = format!("echo x >> {}; exec sleep 1000", mark.display());
    cx.freeze_agent(index);
    let sent = async {
        framework.launch_on(&offer, vec![task("t", &command)]).await?;
        framework.kill("t").await
    };
    let sent = sent.await;
    // Both orders are on their way before the agent reads the first.
    tokio::time::sleep(Duration::from_millis(200)).await;
    cx.thaw_agent(index);
    sent?;
    let status = framework.state("t", TaskState::TaskKilled).await?;
    anyhow::ensure!(status.reason() == Reason::TaskKilledDuringLaunch, "{status:?}");
    let states = framework.states_of("t");
    anyhow::ensure!(!states.contains(&TaskState::TaskRunning), "{states:?}");
    anyhow::ensure!(!mark.exists(), "the command ran");
    // All of it comes back, in one offer or in two: what the launch left may have been offered before the kill was known.
    let agent = offer.agent_id.clone();
    framework
        .wait("the whole agent on offer", |this| {
            let of_it = this.offers.iter().filter(|one| one.agent_id == agent);
            let cpus: f64 = of_it.map(|one| amount(&one.resources, "cpus")).sum();
            ((cpus - AGENT.0).abs() < 1e-9).then_some(())
        })
        .await
}

pub(crate) async fn shutdown_of_an_executor(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("shuts down")).await?;
    let agent = framework.run(vec![sleeper("t"), sleeper("other")]).await?;
    framework.call(shutdown("t", "strange")).await?;
    framework.call(shutdown("nobody", &agent)).await?;
    framework.listen(QUIET / 2).await?;
    anyhow::ensure!(framework.states_of("t").len() == 2, "{:?}", framework.states_of("t"));
    // A command's executor has the id of its task.
    framework.call(shutdown("t", &agent)).await?;
    let status = framework.wait("the end of t", |this| {
        this.updates_of("t").find(|status| status.state().is_terminal()).cloned()
    });
    let status = status.await?;
    anyhow::ensure!(status.uuid.is_some(), "{status:?}");
    framework.listen(QUIET / 2).await?;
    anyhow::ensure!(framework.states_of("other").len() == 2, "{:?}", framework.states_of("other"));
    Ok(())
}
