//! Scenarios 20, 54, 55, 58, 60, 68 and the executors' part of 50, 53, 56, 57, 66: custom executors.

use bytes::Bytes;
use tepui_proto::MediaType;
use tepui_proto::v1;
use tepui_proto::v1::TaskState;
use tepui_proto::v1::executor::{Call, call, event};
use tepui_proto::v1::scheduler::call as scheduler;
use tepui_proto::v1::task_status::{Reason, Source};

use crate::conformance::Context;
use crate::conformance::context::AGENT;
use crate::conformance::scenarios::{c_kills, c_tasks, c_validation, h_drain};
use crate::conformance::wire::executor::{EXECUTOR, Executor, agent_of};
use crate::conformance::wire::messages::{Named, accept, amount, lasting, of, scalar, shell, shutdown, task};
use crate::conformance::wire::{Answer, Framework, messages};

/// What an executor of a scenario runs: it waits to be ended.
pub(super) const WAITS: &str = "exec sleep 1000";

/// What makes a status wrong.
type Change = fn(&mut v1::TaskStatus);

fn executor_id(id: &str) -> Option<v1::ExecutorId> {
    Some(messages::executor_id(id))
}

/// An executor of a quarter of a CPU that runs this line.
pub(super) fn executor(id: &str, line: &str) -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        executor_id: executor_id(id),
        r#type: Some(v1::executor_info::Type::Custom as i32),
        command: Some(shell(line)),
        resources: vec![scalar("cpus", 0.25), scalar("mem", 64.0), scalar("disk", 16.0)],
        data: Some(Bytes::from_static(b"\0\xffdata")),
        ..Default::default()
    }
}

pub(super) fn with(id: &str, executor: &v1::ExecutorInfo) -> v1::TaskInfo {
    v1::TaskInfo { command: None, executor: Some(executor.clone()), ..task(id, "") }
}

/// The executor `e` of a framework, which has subscribed and got its first task.
async fn started(cx: &Context, framework: &Framework, offer: &v1::Offer) -> anyhow::Result<Executor> {
    let mut executor = Executor::new(&cx.http, &agent_of(offer), &framework.id, "e");
    executor.subscribe().await?;
    executor.next(event::Type::Launch).await?;
    Ok(executor)
}

pub(crate) async fn endpoint(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("gate")).await?;
    let offer = framework.offer().await?;
    let agent = agent_of(&offer);
    framework.launch_apart(&offer, vec![with("t", &executor("e", WAITS))]).await?;
    let mut known = Executor::new(&cx.http, &agent, &framework.id, "e");
    let mut stranger = Executor::new(&cx.http, &agent, &framework.id, "stranger");
    let foreign = Executor::new(&cx.http, &agent, "nobody", "e");
    let media = cx.media.as_str();
    let send = async |method: &str, headers: &[(&str, &str)], body: &[u8]| -> anyhow::Result<Answer> {
        cx.http.send(method, &agent, EXECUTOR, headers, Bytes::copy_from_slice(body)).await
    };
    send("GET", &[], b"").await?.refuses(405)?;
    send("POST", &[], b"{}").await?.refuses(400)?.saying("Content-Type")?;
    send("POST", &[("content-type", "text/plain")], b"{}").await?.refuses(415)?;
    send("POST", &[("content-type", media)], &[0xff; 9]).await?.refuses(400)?;
    let subscribe = tepui_proto::wire::encode(cx.media, &known.call(call::Type::Subscribe));
    let headers = [("content-type", media), ("accept", "text/html")];
    send("POST", &headers, &subscribe).await?.refuses(406)?;
    stranger.post(&stranger.call(call::Type::Heartbeat)).await?.expect(202)?.empty()?;
    foreign.post(&foreign.call(call::Type::Subscribe)).await?.refuses(400)?.saying("framework")?;
    known.post(&known.call(call::Type::Update)).await?.refuses(400)?.saying("update")?;
    let early = known.status("t", TaskState::TaskRunning);
    cx.eventually("403 before SUBSCRIBE", async || {
        let answer = known.post(&known.update(early.clone())).await.ok()?;
        (answer.status == 403).then_some(())
    })
    .await?;
    // Only now the agent is sure to know the framework.
    stranger.post(&stranger.call(call::Type::Subscribe)).await?.refuses(400)?.saying("executor")?;
    let wrong: [(&str, Change); 5] = [
        ("source", |status| status.source = Some(Source::Agent as i32)),
        ("STAGING", |status| status.state = Some(TaskState::TaskStaging as i32)),
        ("UUID", |status| status.uuid = Some(Bytes::from_static(b"short"))),
        ("uuid", |status| status.uuid = None),
        ("ExecutorID", |status| status.executor_id = executor_id("another")),
    ];
    for (word, change) in wrong {
        let mut status = stranger.status("t", TaskState::TaskRunning);
        change(&mut status);
        stranger.post(&stranger.update(status)).await?.refuses(400)?.saying(word)?;
    }
    let subscribed = known.subscribe().await?;
    let whole = executor("e", WAITS);
    let told = subscribed.executor_info.unwrap_or_default();
    anyhow::ensure!(told.data == whole.data && told.executor_id == whole.executor_id, "{told:?}");
    anyhow::ensure!(
        subscribed.framework_info.unwrap_or_default().id.named() == framework.id,
        "another framework"
    );
    anyhow::ensure!(subscribed.agent_info.unwrap_or_default().id == offer.agent_id, "another agent");
    known.next(event::Type::Launch).await?;
    // Another stream ends this one, also without the member that some clients leave out.
    let mut again = Executor::new(&cx.http, &agent, &framework.id, "e");
    if cx.media == MediaType::Json {
        let stream = cx.http.open(&agent, EXECUTOR, &[], &again.call(call::Type::Subscribe)).await?;
        drop(stream);
    }
    again.subscribe().await?;
    anyhow::ensure!(known.event().await?.is_none(), "two streams at once");
    Ok(())
}

pub(crate) async fn reuse(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("shares")).await?;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    let shared = executor("e", WAITS);
    framework.launch_on(&offer, vec![with("a", &shared)]).await?;
    let mut executor = started(cx, &framework, &offer).await?;
    executor.report("a", TaskState::TaskRunning).await?;
    framework.state("a", TaskState::TaskRunning).await?;
    anyhow::ensure!(framework.states_of("a") == [TaskState::TaskRunning], "{:?}", framework.states_of("a"));
    let near = |found: f64, wanted: f64| (found - wanted).abs() < 0.000_5;
    let rest = framework.offer_of(&agent).await?;
    anyhow::ensure!(near(amount(&rest.resources, "cpus"), AGENT.0 - 0.35), "{rest:?}");
    anyhow::ensure!(rest.executor_ids.iter().any(|id| id.value() == "e"), "{rest:?}");
    let mut other = shared.clone();
    other.name = Some("another".to_owned());
    framework.launch_on(&rest, vec![with("b", &shared), with("differs", &other)]).await?;
    executor.next(event::Type::Launch).await?;
    let refused = framework.state("differs", TaskState::TaskError).await?;
    anyhow::ensure!(refused.reason() == Reason::TaskInvalid, "{refused:?}");
    executor.report("b", TaskState::TaskRunning).await?;
    let rest = framework.offer_of(&agent).await?;
    anyhow::ensure!(near(amount(&rest.resources, "cpus"), AGENT.0 - 0.45), "charged again: {rest:?}");
    // Without tasks it stays, and so does its share.
    executor.report("a", TaskState::TaskFinished).await?;
    executor.report("b", TaskState::TaskFinished).await?;
    framework.state("b", TaskState::TaskFinished).await?;
    framework.decline(&rest, 0.0).await?;
    framework
        .wait("all but the executor's share", |this| near(free(this, &agent), AGENT.0 - 0.25).then_some(()))
        .await
}

/// CPUs of an agent that are offered, in however many pieces.
fn free(framework: &Framework, agent: &str) -> f64 {
    let offers = framework.offers.iter().filter(|offer| offer.agent_id.named() == agent);
    offers.map(|offer| amount(&offer.resources, "cpus")).sum()
}

pub(crate) async fn invalid(cx: &mut Context) -> anyhow::Result<()> {
    Box::pin(c_validation::all_invalid(cx)).await?;
    Box::pin(cx.mend()).await?;
    Box::pin(differing(cx)).await
}

/// The part of 53 that concerns executors: one id, two descriptions in one LAUNCH. The first counts.
async fn differing(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("differs")).await?;
    let offer = framework.offer().await?;
    let first = executor("e", WAITS);
    let (mut renamed, mut told) = (first.clone(), first.clone());
    renamed.name = Some("another".to_owned());
    told.data = Some(Bytes::from_static(b"other data"));
    let tasks = vec![with("good", &first), with("renamed", &renamed), with("told", &told)];
    framework.launch_apart(&offer, tasks).await?;
    for id in ["renamed", "told"] {
        let refused = framework.state(id, TaskState::TaskError).await?;
        anyhow::ensure!(refused.reason() == Reason::TaskInvalid, "{refused:?}");
        anyhow::ensure!(refused.source() == Source::Master && refused.uuid.is_none(), "{refused:?}");
    }
    let mut executor = started(cx, &framework, &offer).await?;
    executor.report("good", TaskState::TaskRunning).await?;
    framework.state("good", TaskState::TaskRunning).await?;
    Ok(())
}

pub(crate) async fn messages(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("talks")).await?;
    let offer = framework.offer().await?;
    framework.launch_apart(&offer, vec![with("t", &executor("e", WAITS))]).await?;
    let mut executor = started(cx, &framework, &offer).await?;
    let data = Bytes::from_iter((0..=255_u8).rev().chain([10, 13, 0]));
    let down = scheduler::Message {
        agent_id: offer.agent_id.clone(),
        executor_id: executor_id("e"),
        data: Some(data.clone()),
    };
    framework.call(v1::scheduler::Call { message: Some(down), ..of(scheduler::Type::Message) }).await?;
    let heard = executor.next(event::Type::Message).await?.message.unwrap_or_default();
    anyhow::ensure!(heard.data() == data, "{heard:?}");
    let up = call::Message { data: Some(data.clone()) };
    let up = Call { message: Some(up), ..executor.call(call::Type::Message) };
    executor.post(&up).await?.expect(202)?.empty()?;
    let told =
        framework.wait("MESSAGE", |this| this.heard.iter().find_map(|event| event.message.clone())).await?;
    anyhow::ensure!(told.data() == data && told.executor_id == executor_id("e"), "{told:?}");
    anyhow::ensure!(told.agent_id == offer.agent_id, "{told:?}");
    Ok(())
}

pub(crate) async fn shutdowns(cx: &mut Context) -> anyhow::Result<()> {
    Box::pin(c_kills::shutdown_of_an_executor(cx)).await?;
    Box::pin(cx.mend()).await?;
    Box::pin(shut_down(cx)).await
}

/// The part of 56 that concerns an executor of the framework's own.
async fn shut_down(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("ends it")).await?;
    let offer = framework.offer().await?;
    let line = h_drain::deaf_line(cx, "e");
    let grace = std::time::Duration::from_millis(1_500);
    let period = v1::DurationInfo { nanoseconds: Some(grace.as_nanos() as i64) };
    let stubborn = v1::ExecutorInfo { shutdown_grace_period: Some(period), ..executor("e", &line) };
    framework.launch_apart(&offer, vec![with("t", &stubborn)]).await?;
    let mut executor = started(cx, &framework, &offer).await?;
    executor.report("t", TaskState::TaskRunning).await?;
    h_drain::deaf(cx, "e").await?;
    let asked = std::time::Instant::now();
    framework.call(shutdown("e", offer.agent_id.named())).await?;
    executor.next(event::Type::Shutdown).await?;
    let failed = framework.state("t", TaskState::TaskFailed).await?;
    anyhow::ensure!(failed.reason() == Reason::ExecutorTerminated, "{failed:?}");
    let failure = framework.failure(offer.agent_id.named()).await?;
    anyhow::ensure!(failure.executor_id == executor_id("e") && failure.status == Some(9), "{failure:?}");
    let waited = asked.elapsed();
    anyhow::ensure!(waited >= grace, "it was killed after {waited:?}, although it has {grace:?}");
    Ok(())
}

pub(crate) async fn lost(cx: &mut Context) -> anyhow::Result<()> {
    Box::pin(c_tasks::lost_executor(cx)).await?;
    Box::pin(cx.mend()).await?;
    Box::pin(crash(cx)).await
}

/// The part of 57 that concerns an executor of the framework's own: it ends by itself.
async fn crash(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("bereaved")).await?;
    let offer = framework.offer().await?;
    let go = cx.scratch("go");
    let line = format!("until [ -e {} ]; do sleep 0.02; done; exit 7", go.display());
    framework.launch_on(&offer, vec![with("t", &executor("e", &line))]).await?;
    let mut executor = started(cx, &framework, &offer).await?;
    executor.report("t", TaskState::TaskRunning).await?;
    framework.state("t", TaskState::TaskRunning).await?;
    std::fs::write(&go, "")?;
    let failed = framework.state("t", TaskState::TaskFailed).await?;
    anyhow::ensure!(failed.reason() == Reason::ExecutorTerminated, "{failed:?}");
    anyhow::ensure!(failed.source() == Source::Agent && failed.uuid.is_some(), "{failed:?}");
    let failure = framework.failure(offer.agent_id.named()).await?;
    anyhow::ensure!(failure.executor_id == executor_id("e"), "{failure:?}");
    anyhow::ensure!(failure.status == Some(7 << 8), "{failure:?}");
    let agent = failure.agent_id.named();
    framework.wait("the whole agent", |this| (free(this, agent) >= AGENT.0).then_some(())).await?;
    Box::pin(cx.mend()).await?;
    Box::pin(refused(cx)).await
}

/// The part of 57 that concerns executors that an agent cannot start: nothing of them stays on the books.
async fn refused(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("refused")).await?;
    let offer = framework.offer().await?;
    let agent = offer.agent_id.named().to_owned();
    let mut fetching = executor("fetching", WAITS);
    let uri = v1::command_info::Uri { value: Some("http://x.example/y".to_owned()), ..Default::default() };
    fetching.command.get_or_insert_default().uris.push(uri);
    let mut contained = executor("contained", WAITS);
    contained.container = Some(v1::ContainerInfo {
        r#type: Some(v1::container_info::Type::Docker as i32),
        docker: Some(v1::container_info::DockerInfo { image: Some("i".to_owned()), ..Default::default() }),
        ..Default::default()
    });
    let grouped = v1::ExecutorInfo {
        r#type: Some(v1::executor_info::Type::Default as i32),
        command: None,
        ..executor("grouped", "")
    };
    let operations = vec![
        messages::launch(on(&offer, vec![with("a", &fetching), with("b", &contained)])),
        group(&grouped, vec![member("c"), member("d")], &offer),
    ];
    framework.call(accept(&[&offer], operations)).await?;
    for id in ["a", "b", "c", "d"] {
        let failed = framework.state(id, TaskState::TaskFailed).await?;
        anyhow::ensure!(failed.reason() == Reason::ContainerLaunchFailed, "{failed:?}");
    }
    framework
        .wait("a FAILURE of each", |this| {
            let failures = this.heard.iter().filter_map(|event| event.failure.as_ref());
            let failed =
                failures.filter(|failure| failure.status == Some(-1) && failure.executor_id.is_some());
            (failed.count() == 3).then_some(())
        })
        .await?;
    framework.wait("the whole agent", |this| (free(this, &agent) >= AGENT.0).then_some(())).await?;
    let executors = cx.ask(v1::master::call::Type::GetExecutors).await?.get_executors.unwrap_or_default();
    anyhow::ensure!(executors.executors.is_empty(), "{executors:?}");
    framework.tear_down().await
}

pub(crate) async fn labels(cx: &mut Context) -> anyhow::Result<()> {
    Box::pin(c_tasks::labels_and_discovery(cx)).await?;
    Box::pin(cx.mend()).await?;
    Box::pin(labels_of_a_status(cx)).await
}

/// The part of 66 that concerns what an executor says.
async fn labels_of_a_status(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("labels")).await?;
    let offer = framework.offer().await?;
    framework.launch_apart(&offer, vec![with("t", &executor("e", WAITS))]).await?;
    let mut executor = started(cx, &framework, &offer).await?;
    let mut running = executor.status("t", TaskState::TaskRunning);
    running.labels = Some(v1::Labels {
        labels: vec![v1::Label { key: Some("health".to_owned()), value: Some("fine".to_owned()) }],
    });
    executor.send(running.clone()).await?;
    let told = framework.state("t", TaskState::TaskRunning).await?;
    anyhow::ensure!(told.labels == running.labels, "{told:?}");
    cx.eventually("the labels in /state", async || {
        let state = cx.state().await.ok()?;
        let labels = &state["frameworks"][0]["tasks"][0]["statuses"][0]["labels"];
        (labels[0]["key"] == "health" && labels[0]["value"] == "fine").then_some(())
    })
    .await?;
    cx.eventually("the labels in GET_TASKS", async || {
        let tasks = cx.tasks_of(&framework.id).await.ok()?.tasks;
        (tasks.first()?.statuses.first()?.labels == running.labels).then_some(())
    })
    .await
}

pub(crate) async fn killed_during_launch(cx: &mut Context) -> anyhow::Result<()> {
    Box::pin(c_kills::killed_on_the_way(cx)).await?;
    Box::pin(cx.mend()).await?;
    Box::pin(killed_while_it_starts(cx)).await
}

/// The part of 50 that concerns an executor that is starting.
async fn killed_while_it_starts(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("hasty")).await?;
    let offer = framework.offer().await?;
    framework.launch_apart(&offer, vec![with("t", &executor("e", WAITS))]).await?;
    framework.kill("t").await?;
    let killed = framework.state("t", TaskState::TaskKilled).await?;
    anyhow::ensure!(killed.reason() == Reason::TaskKilledDuringLaunch, "{killed:?}");
    anyhow::ensure!(framework.states_of("t") == [TaskState::TaskKilled], "{:?}", framework.states_of("t"));
    // The executor has nothing to do: it goes, too, if it was there at all.
    cx.eventually("the end of the executor", async || {
        let id = std::path::Path::new(&framework.id);
        let found = tepui::cluster::find_processes(&[("MESOS_FRAMEWORK_ID", id)]);
        found.is_empty().then_some(())
    })
    .await?;
    cx.eventually("no executor on record", async || {
        let state = cx.state().await.ok()?;
        state["frameworks"][0]["executors"].as_array()?.is_empty().then_some(())
    })
    .await
}

pub(crate) async fn timeouts(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("patient")).await?;
    let offer = framework.offer().await?;
    framework.launch_apart(&offer, vec![with("t", &executor("mute", WAITS))]).await?;
    let failed = framework.state("t", TaskState::TaskFailed).await?;
    anyhow::ensure!(failed.reason() == Reason::ExecutorRegistrationTimeout, "{failed:?}");
    let failure = framework.failure(offer.agent_id.named()).await?;
    anyhow::ensure!(failure.executor_id == executor_id("mute"), "{failure:?}");
    Box::pin(shut_down(cx)).await
}

/// The tasks, on the agent of this offer.
fn on(offer: &v1::Offer, mut tasks: Vec<v1::TaskInfo>) -> Vec<v1::TaskInfo> {
    for task in &mut tasks {
        task.agent_id.clone_from(&offer.agent_id);
    }
    tasks
}

fn group(executor: &v1::ExecutorInfo, tasks: Vec<v1::TaskInfo>, offer: &v1::Offer) -> v1::offer::Operation {
    v1::offer::Operation {
        r#type: Some(v1::offer::operation::Type::LaunchGroup as i32),
        launch_group: Some(v1::offer::operation::LaunchGroup {
            executor: Some(executor.clone()),
            task_group: Some(v1::TaskGroupInfo { tasks: on(offer, tasks) }),
        }),
        ..Default::default()
    }
}

fn member(id: &str) -> v1::TaskInfo {
    v1::TaskInfo { command: None, ..task(id, "") }
}

pub(crate) async fn group_validation(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("groups")).await?;
    let offer = framework.offer().await?;
    let mut diskless = executor("small", WAITS);
    diskless.resources.retain(|resource| resource.name() != "disk");
    let greedy = v1::TaskInfo { resources: vec![scalar("cpus", 99.0)], ..member("greedy") };
    let good = executor("e", WAITS);
    let operations = vec![
        group(&good, vec![member("spoiled"), greedy], &offer),
        group(&diskless, vec![member("diskless")], &offer),
        group(&good, vec![member("a"), member("b")], &offer),
    ];
    framework.call(accept(&[&offer], operations)).await?;
    for id in ["spoiled", "greedy", "diskless"] {
        let refused = framework.state(id, TaskState::TaskError).await?;
        anyhow::ensure!(refused.reason() == Reason::TaskGroupInvalid, "{refused:?}");
    }
    let mut executor = Executor::new(&cx.http, &agent_of(&offer), &framework.id, "e");
    executor.subscribe().await?;
    let launched = executor.next(event::Type::LaunchGroup).await?.launch_group.unwrap_or_default();
    let tasks = launched.task_group.unwrap_or_default().tasks;
    let ids: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
    anyhow::ensure!(ids == ["a", "b"], "{ids:?}");
    executor.report("a", TaskState::TaskRunning).await?;
    framework.state("a", TaskState::TaskRunning).await?;
    Ok(())
}

pub(crate) async fn environment(cx: &mut Context) -> anyhow::Result<()> {
    let mut framework = cx.subscribe(lasting("surrounded")).await?;
    let offer = framework.offer().await?;
    let out = cx.scratch("environment");
    let line = format!("env > {0}.new; mv {0}.new {0}; {WAITS}", out.display());
    let command = format!("env > {0}.new; mv {0}.new {0}; {WAITS}", cx.scratch("command").display());
    framework.launch_apart(&offer, vec![with("t", &executor("e", &line)), task("command", &command)]).await?;
    let text = cx.written("environment").await?;
    let agent = agent_of(&offer);
    let expected = [
        format!("MESOS_FRAMEWORK_ID={}", framework.id),
        "MESOS_EXECUTOR_ID=e".to_owned(),
        format!("MESOS_SLAVE_ID={}", offer.agent_id.named()),
        format!("MESOS_SLAVE_PID=slave(1)@{agent}"),
        format!("MESOS_AGENT_ENDPOINT={agent}"),
        "MESOS_CHECKPOINT=1".to_owned(),
        "MESOS_RECOVERY_TIMEOUT=15mins".to_owned(),
        "MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs".to_owned(),
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs".to_owned(),
        "MESOS_HTTP_COMMAND_EXECUTOR=0".to_owned(),
        "LIBPROCESS_IP=127.0.0.1".to_owned(),
        "LIBPROCESS_PORT=0".to_owned(),
    ];
    for wanted in &expected {
        anyhow::ensure!(text.lines().any(|line| line == wanted), "no {wanted} in {text}");
    }
    let no_role = !text.contains("MESOS_ALLOCATION_ROLE");
    anyhow::ensure!(no_role, "only commands and default executors have a role: {text}");
    let command = cx.written("command").await?;
    for wanted in expected.iter().skip(2).chain(["MESOS_ALLOCATION_ROLE=*".to_owned()].iter()) {
        anyhow::ensure!(command.lines().any(|line| line == wanted), "no {wanted} in {command}");
    }
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let sandbox = value("MESOS_SANDBOX");
    anyhow::ensure!(sandbox.is_some() && sandbox == value("MESOS_DIRECTORY"), "{text}");
    anyhow::ensure!(sandbox.is_some_and(|path| std::path::Path::new(path).is_dir()), "{text}");
    Ok(())
}
