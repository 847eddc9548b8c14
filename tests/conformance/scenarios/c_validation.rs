//! Scenario 53: tasks that are wrong, each of which is refused alone.

use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::task_status::{Reason, Source};

use crate::conformance::Context;
use crate::conformance::context::AGENT;
use crate::conformance::wire::messages::{
    Named, accept, agent_id, grace, info, lasting, launch, scalar, shell, sized, sleeper, task, task_id,
};

/// A task that is wrong in one way, by the name of the way.
fn wrong() -> Vec<(&'static str, v1::TaskInfo)> {
    let executor = v1::ExecutorInfo {
        executor_id: Some(v1::ExecutorId { value: Some("e".to_owned()) }),
        command: Some(shell("true")),
        ..Default::default()
    };
    let nameless_variable = v1::Environment {
        variables: vec![v1::environment::Variable { name: Some("EMPTY".to_owned()), ..Default::default() }],
    };
    let docker =
        v1::ContainerInfo { r#type: Some(v1::container_info::Type::Docker as i32), ..Default::default() };
    let t = || task("wrong", "true");
    vec![
        ("no resources", v1::TaskInfo { resources: Vec::new(), ..t() }),
        ("more than was offered", sized(t(), AGENT.0 * 2.0, 32.0)),
        ("a negative resource", sized(t(), -1.0, 32.0)),
        ("an unknown resource", v1::TaskInfo { resources: vec![scalar("bananas", 1.0)], ..t() }),
        ("an empty id", v1::TaskInfo { task_id: Some(task_id("")), ..t() }),
        ("an id with a slash", v1::TaskInfo { task_id: Some(task_id("a/b")), ..t() }),
        ("an id of two dots", v1::TaskInfo { task_id: Some(task_id("..")), ..t() }),
        ("an id with a control character", v1::TaskInfo { task_id: Some(task_id("a\u{7}b")), ..t() }),
        ("an id of 256 bytes", v1::TaskInfo { task_id: Some(task_id(&"x".repeat(256))), ..t() }),
        ("another agent", v1::TaskInfo { agent_id: Some(agent_id("another")), ..t() }),
        ("command and executor", v1::TaskInfo { executor: Some(executor), ..t() }),
        ("neither command nor executor", v1::TaskInfo { command: None, ..t() }),
        ("a negative grace", v1::TaskInfo { kill_policy: Some(grace(-1)), ..t() }),
        (
            "a negative completion time",
            v1::TaskInfo { max_completion_time: Some(v1::DurationInfo { nanoseconds: Some(-1) }), ..t() },
        ),
        (
            "a variable without a value",
            v1::TaskInfo {
                command: Some(v1::CommandInfo { environment: Some(nameless_variable), ..shell("true") }),
                ..t()
            },
        ),
        ("docker without an image", v1::TaskInfo { container: Some(docker), ..t() }),
    ]
}

pub(crate) async fn invalid_tasks(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("careless")).await?;
    for (index, (what, mut bad)) in wrong().into_iter().enumerate() {
        let offer = framework.offer().await?;
        let good = format!("good{index}");
        let mut sibling = sized(task(&good, "true"), 0.1, 32.0);
        sibling.agent_id.clone_from(&offer.agent_id);
        if bad.agent_id.is_none() {
            bad.agent_id.clone_from(&offer.agent_id);
        }
        let id = bad.task_id.named().to_owned();
        let known = framework.updates_of(&id).count();
        framework.call(accept(&[&offer], vec![launch(vec![bad, sibling])])).await?;
        let status = framework.next_update(&id, known).await.map_err(|error| error.context(what))?;
        anyhow::ensure!(status.state() == TaskState::TaskError, "{what}: {status:?}");
        anyhow::ensure!(status.reason() == Reason::TaskInvalid, "{what}: {status:?}");
        anyhow::ensure!(status.source() == Source::Master && status.uuid.is_none(), "{what}: {status:?}");
        anyhow::ensure!(!status.message().is_empty(), "{what}: no reason");
        framework.state(&good, TaskState::TaskFinished).await.map_err(|error| error.context(what))?;
    }
    Ok(())
}

pub(crate) async fn duplicate_ids(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(info("repeats")).await?;
    let offers = framework.offers_of_agents(2).await?;
    // Twice in one LAUNCH: the first runs.
    let twice: Vec<_> = [sleeper("twice"), sleeper("twice")]
        .into_iter()
        .map(|task| v1::TaskInfo { agent_id: offers[0].agent_id.clone(), ..task })
        .collect();
    framework.call(accept(&[&offers[0]], vec![launch(twice)])).await?;
    framework.state("twice", TaskState::TaskError).await?;
    framework.state("twice", TaskState::TaskRunning).await?;
    // Again while it runs, on another agent.
    framework.launch_on(&offers[1], vec![sleeper("twice")]).await?;
    framework
        .wait("the second TASK_ERROR", |this| {
            let errors = this.updates_of("twice").filter(|status| status.state() == TaskState::TaskError);
            (errors.count() == 2).then_some(())
        })
        .await?;
    // An id that has ended may be used again, and another framework's ids are its own.
    framework.kill("twice").await?;
    framework.state("twice", TaskState::TaskKilled).await?;
    cx.eventually("the completed task", async || {
        let tasks = cx.tasks().await.ok()?;
        tasks.tasks.is_empty().then_some(())
    })
    .await?;
    let offer = framework.offer().await?;
    framework.launch_on(&offer, vec![task("twice", "true")]).await?;
    framework.state("twice", TaskState::TaskFinished).await?;
    let mut other = cx.subscribe(info("other")).await?;
    framework.decline_all(3_600.0).await?;
    let offer = other.offer().await?;
    other.launch_on(&offer, vec![task("twice", "true")]).await?;
    other.state("twice", TaskState::TaskFinished).await?;
    Ok(())
}

pub(crate) async fn all_invalid(cx: &mut Context) -> anyhow::Result<()> {
    Box::pin(invalid_tasks(cx)).await?;
    duplicate_ids(cx).await
}
