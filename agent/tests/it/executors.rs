//! Custom executors with real processes.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use tepui_proto::tepui::agent_link::{call as link_call, event as link_event};
use tepui_proto::v1;
use v1::TaskState as State;
use v1::executor::{call, event};
use v1::task_status::{Reason, Source};

use crate::executor::{Executor, task};
use crate::master::{Master, framework};
use crate::rig::{Rig, lines, wait_for};

/// Lives until it is told to end by a file, or killed.
const LINGER: &str = "env > env.txt; echo started > started; until [ -e go ]; do sleep 0.02; done; exit 3";

fn executor_id(executor: &str) -> Option<v1::ExecutorId> {
    Some(v1::ExecutorId { value: Some(executor.to_owned()) })
}

#[tokio::test]
async fn an_executor_runs_tasks_and_its_end_is_told() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    let wanted = task("t1", "e", LINGER);
    master.run(wanted.clone(), 1).await;
    let mut executor = Executor::new(&rig.address, "e");
    let subscribed = executor.subscribe(call::Subscribe::default()).await;
    assert_eq!(subscribed.executor_info, wanted.executor, "as the framework gave it, data and all");
    assert_eq!(subscribed.framework_info.unwrap().id, framework().id);
    assert_eq!(subscribed.agent_info.unwrap().id.unwrap().value(), "master-S0");
    let launched = executor.next(event::Type::Launch).await.launch.unwrap();
    assert_eq!(launched.task.as_ref(), Some(&wanted));

    executor.report("t1", State::TaskRunning).await;
    let running = master.update("t1", State::TaskRunning).await;
    assert_eq!((running.source(), running.data()), (Source::Executor, &b"data of the status"[..]));
    assert_eq!(running.executor_id, executor_id("e"));
    assert_eq!(running.agent_id.unwrap().value(), "master-S0");
    let container = running.container_status.unwrap();
    assert_eq!(container.container_id, subscribed.container_id);
    assert_eq!(container.network_infos.len(), 1);

    // A second task of the same executor: one process.
    master.run(task("t2", "e", LINGER), 2).await;
    executor.next(event::Type::Launch).await;
    executor.report("t2", State::TaskRunning).await;
    executor.report("t2", State::TaskFinished).await;
    master.update("t2", State::TaskFinished).await;

    // It is still there without a task of its own to do, and so is t1.
    fs::write(rig.sandbox("e").join("go"), "").unwrap();
    let failed = master.update("t1", State::TaskFailed).await;
    assert_eq!((failed.source(), failed.reason()), (Source::Agent, Reason::ExecutorTerminated));
    assert_eq!(failed.executor_id, executor_id("e"));
    let exited = master.call(link_call::Type::ExecutorExited).await.executor_exited.unwrap();
    assert_eq!((exited.status(), exited.executor_id), (3 << 8, executor_id("e")));
    assert!(executor.event().await.is_none(), "its stream ends");
    wait_for("the container to be forgotten", || (rig.containers() == 0).then_some(())).await;

    let environment = fs::read_to_string(rig.sandbox("e").join("env.txt")).unwrap();
    let sandbox = fs::canonicalize(rig.sandbox("e")).unwrap();
    let expected = [
        "MESOS_FRAMEWORK_ID=fw".to_owned(),
        "MESOS_EXECUTOR_ID=e".to_owned(),
        "MESOS_SLAVE_ID=master-S0".to_owned(),
        format!("MESOS_SLAVE_PID=slave(1)@{}", rig.address),
        format!("MESOS_AGENT_ENDPOINT={}", rig.address),
        format!("MESOS_SANDBOX={}", sandbox.display()),
        format!("MESOS_DIRECTORY={}", sandbox.display()),
        "MESOS_CHECKPOINT=1".to_owned(),
        "MESOS_RECOVERY_TIMEOUT=15mins".to_owned(),
        "MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs".to_owned(),
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs".to_owned(),
        "MESOS_HTTP_COMMAND_EXECUTOR=0".to_owned(),
        "LIBPROCESS_IP=127.0.0.1".to_owned(),
        "LIBPROCESS_PORT=0".to_owned(),
    ];
    for variable in expected {
        assert_eq!(
            environment.lines().filter(|line| **line == variable).count(),
            1,
            "{variable}\n{environment}"
        );
    }
    assert!(rig.processes().is_empty());
}

#[tokio::test]
async fn messages_kills_and_shutdown_reach_an_executor() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(task("t1", "e", "trap '' TERM; while :; do sleep 0.1; done"), 1).await;
    let mut executor = Executor::new(&rig.address, "e");
    executor.subscribe(call::Subscribe::default()).await;
    executor.next(event::Type::Launch).await;

    let data = Bytes::from_static(&[0, 255, 10, 13, 128]);
    let message = call::Message { data: Some(data.clone()) };
    let call = v1::executor::Call { message: Some(message), ..executor.call(call::Type::Message) };
    assert_eq!(executor.post(&call).await, 202);
    let message = master.call(link_call::Type::Message).await.message.unwrap();
    assert_eq!((message.data.clone(), message.executor_id), (Some(data.clone()), executor_id("e")));
    let message = link_event::Message {
        framework_id: framework().id,
        executor_id: executor_id("e"),
        data: Some(data.clone()),
    };
    master.send(link_event::Type::Message, |event| event.message = Some(message)).await;
    assert_eq!(executor.next(event::Type::Message).await.message.unwrap().data(), data);

    master.kill("t1", 7_000).await;
    let kill = executor.next(event::Type::Kill).await.kill.unwrap();
    assert_eq!(kill.task_id.unwrap().value(), "t1");
    assert_eq!(kill.kill_policy.unwrap().grace_period.unwrap().nanoseconds(), 7_000_000_000);
    executor.report("t1", State::TaskKilled).await;
    master.update("t1", State::TaskKilled).await;

    // Without a task it goes on, until it is told to end; one that does not listen is forced.
    let mut wanted = task("t2", "quick", "trap '' TERM; while :; do sleep 0.1; done");
    let period = v1::DurationInfo { nanoseconds: Some(50_000_000) };
    wanted.executor.as_mut().unwrap().shutdown_grace_period = Some(period);
    master.run(wanted, 2).await;
    let mut quick = Executor::new(&rig.address, "quick");
    quick.subscribe(call::Subscribe::default()).await;
    quick.next(event::Type::Launch).await;
    let shutdown =
        link_event::ShutdownExecutor { framework_id: framework().id, executor_id: executor_id("quick") };
    master.send(link_event::Type::ShutdownExecutor, |event| event.shutdown_executor = Some(shutdown)).await;
    quick.next(event::Type::Shutdown).await;
    assert_eq!(master.update("t2", State::TaskFailed).await.reason(), Reason::ExecutorTerminated);
    let exited = master.call(link_call::Type::ExecutorExited).await.executor_exited.unwrap();
    assert_eq!((exited.status(), exited.executor_id), (9, executor_id("quick")));
    // The other one has not heard of it.
    assert_eq!(executor.post(&executor.call(call::Type::Heartbeat)).await, 202);
}

#[tokio::test]
async fn one_that_never_subscribes_is_destroyed() {
    let master = Master::start().await;
    let rig = Rig::start_with(vec![master.address.clone()], |config| {
        config.timers.executor_registration_timeout = Duration::from_millis(300);
    })
    .await;
    master.registration(1).await;
    master.run(task("t1", "e", LINGER), 1).await;
    let failed = master.update("t1", State::TaskFailed).await;
    assert_eq!(failed.reason(), Reason::ExecutorRegistrationTimeout);
    assert!(rig.processes().is_empty());
    // One that cannot even be started.
    let mut wanted = task("t2", "none", "/no/such/program");
    wanted.executor.as_mut().unwrap().command.as_mut().unwrap().shell = Some(false);
    master.run(wanted, 2).await;
    let failed = master.update("t2", State::TaskFailed).await;
    assert_eq!(failed.reason(), Reason::ContainerLaunchFailed);
}

#[tokio::test]
async fn calls_are_refused_in_the_order_of_the_protocol() {
    let master = Master::start().await;
    let rig = Rig::start(&master).await;
    master.registration(1).await;
    let mut executor = Executor::new(&rig.address, "e");
    let message = executor.call(call::Type::Message);
    assert_eq!(executor.post(&message).await, 400, "no message in it");
    let update = executor.status("t1", State::TaskRunning);
    let update = v1::executor::Call {
        update: Some(call::Update { status: Some(update) }),
        ..executor.call(call::Type::Update)
    };
    assert_eq!(executor.post(&update).await, 400, "unknown framework");
    master.run(task("t1", "e", LINGER), 1).await;
    lines(&rig.sandbox("e").join("started")).await;
    assert_eq!(executor.post(&update).await, 403, "not subscribed");
    let mut other = Executor::new(&rig.address, "other");
    assert_eq!(other.post(&other.call(call::Type::Subscribe)).await, 400, "unknown executor");
    let update = other.status("t1", State::TaskStaging);
    let update = v1::executor::Call {
        update: Some(call::Update { status: Some(update) }),
        ..other.call(call::Type::Update)
    };
    assert_eq!(other.post(&update).await, 400, "STAGING");

    let url = format!("http://{}/slave(1)/api/v1/executor", rig.address);
    assert_eq!(rig.client.get(&url).send().await.unwrap().status(), 405);
    assert_eq!(rig.client.post(&url).body("{}").send().await.unwrap().status(), 400, "no type of content");
    let json = |accept: &'static str, body: String| {
        let request =
            rig.client.post(&url).header("content-type", "application/json").header("accept", accept);
        request.body(body).send()
    };
    assert_eq!(json("*/*", "{".to_owned()).await.unwrap().status(), 400);
    let subscribe =
        r#"{"type":"SUBSCRIBE","framework_id":{"value":"fw"},"executor_id":{"value":"e"}}"#.to_owned();
    assert_eq!(json("text/html", subscribe.clone()).await.unwrap().status(), 406);
    // What a call says comes before the answer that is wanted, and that before whom it speaks for.
    let nameless = r#"{"type":"SUBSCRIBE","framework_id":{"value":"fw"}}"#.to_owned();
    assert_eq!(json("text/html", nameless).await.unwrap().status(), 400);
    let stranger = subscribe.replace("\"fw\"", "\"nobody\"");
    assert_eq!(json("text/html", stranger).await.unwrap().status(), 406);
    let heartbeat =
        r#"{"type":"HEARTBEAT","framework_id":{"value":"x"},"executor_id":{"value":"y"}}"#.to_owned();
    assert_eq!(
        json("text/html", heartbeat).await.unwrap().status(),
        202,
        "of anybody, and no answer is wanted"
    );
    let plain = rig.client.post(&url).header("content-type", "text/plain").body("x").send();
    assert_eq!(plain.await.unwrap().status(), 415);
    // Without the member `subscribe`, as one client does; and in JSON, because that is what nobody asks for.
    let response = json("*/*", subscribe).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );

    // A second stream ends the first.
    executor.subscribe(call::Subscribe::default()).await;
    let rest = tokio::time::timeout(crate::master::PATIENCE, response.text()).await.unwrap().unwrap();
    assert!(rest.contains("\"type\":\"LAUNCH\""), "{rest}");
    // Some clients compare ids with what they know, member by member.
    let mut decoder = tepui_proto::recordio::Decoder::new(1 << 20);
    decoder.push(rest.as_bytes());
    let first = decoder.next_record().unwrap().unwrap();
    let first: serde_json::Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(first["type"], "SUBSCRIBED");
    let subscribed = &first["subscribed"];
    assert_eq!(subscribed["executor_info"]["executor_id"], serde_json::json!({"value": "e"}));
    assert_eq!(subscribed["framework_info"]["id"], serde_json::json!({"value": "fw"}));
    assert_eq!(subscribed["agent_info"]["id"], serde_json::json!({"value": "master-S0"}));
    assert_eq!(subscribed["executor_info"]["data"], "AGRhdGEgb2YgdGhlIGV4ZWN1dG9y/w==");
}

#[tokio::test]
async fn a_checkpointing_executor_survives_its_agent() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(task("t1", "e", LINGER), 1).await;
    let mut executor = Executor::new(&rig.address, "e");
    let subscribed = executor.subscribe(call::Subscribe::default()).await;
    let launched = executor.next(event::Type::Launch).await.launch.unwrap().task.unwrap();
    executor.report("t1", State::TaskRunning).await;
    master.update("t1", State::TaskRunning).await;
    lines(&rig.sandbox("e").join("started")).await;
    rig.stop_agent().await;
    assert!(executor.event().await.is_none());
    let processes = rig.processes();
    assert!(!processes.is_empty(), "stopping the agent stops no executor");

    rig.start_agent(|config| config.timers.executor_reregistration_timeout = Duration::from_secs(15)).await;
    let registered = master.registration(2).await;
    assert!(processes.iter().any(|pid| rig.processes().contains(pid)), "the same ones");
    assert_eq!((registered.tasks.len(), registered.executors.len()), (1, 1));
    assert!(registered.executors[0].executor.as_ref().unwrap().data.is_none());
    let mut again = Executor::new(&rig.address, "e");
    let early = again.status("t1", State::TaskFinished);
    let early = v1::executor::Call {
        update: Some(call::Update { status: Some(early) }),
        ..again.call(call::Type::Update)
    };
    assert_eq!(again.post(&early).await, 503, "it has not subscribed to the new agent");
    // Until all are back, nobody who is not known hears a last word.
    let other = Executor::new(&rig.address, "other");
    let message = call::Message { data: Some(Bytes::from_static(b"x")) };
    let unknown = v1::executor::Call { message: Some(message), ..other.call(call::Type::Message) };
    assert_eq!(other.post(&unknown).await, 503);
    assert_eq!(other.post(&other.call(call::Type::Subscribe)).await, 400, "unknown executor");
    let mut finished = again.status("t1", State::TaskFinished);
    finished.uuid = Some(Bytes::from_static(&[200; 16]));
    let unacknowledged = call::Subscribe {
        unacknowledged_tasks: vec![launched],
        unacknowledged_updates: vec![call::Update { status: Some(finished) }],
    };
    let resubscribed = again.subscribe(unacknowledged).await;
    assert_eq!(resubscribed.container_id, subscribed.container_id);
    assert_eq!(resubscribed.executor_info, subscribed.executor_info, "with its data");
    assert_eq!(other.post(&unknown).await, 400, "all are back");
    assert_eq!(master.update("t1", State::TaskFinished).await.uuid(), &[200; 16][..]);
    again.next(event::Type::Acknowledged).await;
    fs::write(rig.sandbox("e").join("go"), "").unwrap();
    let exited = master.call(link_call::Type::ExecutorExited).await.executor_exited.unwrap();
    assert_eq!(exited.status(), 3 << 8);
}

#[tokio::test]
async fn one_that_does_not_come_back_is_lost() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(task("t1", "e", LINGER), 1).await;
    let mut executor = Executor::new(&rig.address, "e");
    executor.subscribe(call::Subscribe::default()).await;
    executor.next(event::Type::Launch).await;
    executor.report("t1", State::TaskRunning).await;
    master.update("t1", State::TaskRunning).await;
    rig.stop_agent().await;
    rig.start_agent(|config| config.timers.executor_reregistration_timeout = Duration::from_millis(200))
        .await;
    let lost = master.update("t1", State::TaskLost).await;
    assert_eq!(lost.reason(), Reason::ExecutorReregistrationTimeout);
    assert!(rig.processes().is_empty());
}

#[tokio::test]
async fn without_checkpointing_it_ends_with_its_agent() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    let run = link_event::RunTask {
        framework: Some(v1::FrameworkInfo { checkpoint: Some(false), ..framework() }),
        task: Some(task("t1", "e", LINGER)),
        launch_seq: Some(1),
        task_group: None,
    };
    master.send(link_event::Type::RunTask, |event| event.run_task = Some(run)).await;
    let mut executor = Executor::new(&rig.address, "e");
    executor.subscribe(call::Subscribe::default()).await;
    executor.next(event::Type::Launch).await;
    executor.report("t1", State::TaskRunning).await;
    rig.stop_agent().await;
    wait_for("the end of the executor", || rig.processes().is_empty().then_some(())).await;
    rig.start_agent(|_| {}).await;
    let registered = master.registration(2).await;
    assert!(registered.tasks.is_empty() && registered.executors.is_empty(), "{registered:?}");
}

/// Some frameworks ship their whole environment that way.
#[tokio::test]
async fn fifty_megabytes_of_an_executors_data_come_back_as_they_were() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    let mut wanted = task("t1", "e", LINGER);
    let data: Vec<u8> = (0..50_usize << 20).map(|at| (at % 251) as u8).collect();
    let data = Bytes::from(data);
    wanted.executor.as_mut().unwrap().data = Some(data.clone());
    master.run(wanted, 1).await;
    let mut executor = Executor::new(&rig.address, "e");
    let subscribed = executor.subscribe(call::Subscribe::default()).await;
    // Compared without printing them.
    assert!(subscribed.executor_info.unwrap().data() == data);
    let launched = executor.next(event::Type::Launch).await.launch.unwrap().task.unwrap();
    assert!(launched.executor.as_ref().unwrap().data() == data);
    executor.report("t1", State::TaskRunning).await;
    rig.stop_agent().await;
    rig.start_agent(|config| config.timers.executor_reregistration_timeout = Duration::from_secs(15)).await;
    master.registration(2).await;
    let mut again = Executor::new(&rig.address, "e");
    let known = call::Subscribe { unacknowledged_tasks: vec![launched], ..Default::default() };
    assert!(again.subscribe(known).await.executor_info.unwrap().data() == data);
    let mut finished = again.status("t1", State::TaskFinished);
    finished.uuid = Some(Bytes::from_static(&[200; 16]));
    again.update(finished).await;
    master.update("t1", State::TaskFinished).await;
}
