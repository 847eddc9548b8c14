//! The SDK's executor driver against a real agent. The executor's process does nothing; this test speaks for it.

use std::time::Duration;

use bytes::Bytes;
use tepui_proto::tepui::agent_link::{call as link_call, event as link_event};
use tepui_sdk::executor::{Driver, Event, Events, ExecutorEnvironment};
use tepui_sdk::v1::{self, TaskState as State};

use crate::executor::task;
use crate::master::{Master, PATIENCE, framework};
use crate::rig::{Rig, lines};

const LINGER: &str = "env > env.txt; echo started > started; until [ -e go ]; do sleep 0.02; done; exit 0";

async fn next(events: &mut Events) -> Event {
    let event =
        tokio::time::timeout(PATIENCE, events.next()).await.expect("the driver says what is waited for");
    event.expect("the driver goes on")
}

/// What the executor's process was told, read from its sandbox.
async fn environment(rig: &Rig) -> ExecutorEnvironment {
    lines(&rig.sandbox("e").join("started")).await;
    let text = std::fs::read_to_string(rig.sandbox("e").join("env.txt")).unwrap();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(str::to_owned)
    };
    ExecutorEnvironment::from_lookup(value).unwrap()
}

#[tokio::test]
async fn the_sdks_driver_outlives_its_agent_and_loses_no_update() {
    let master = Master::start().await;
    let mut rig = Rig::start(&master).await;
    master.registration(1).await;
    master.run(task("t1", "e", LINGER), 1).await;
    let environment = environment(&rig).await;
    assert!(environment.checkpoint);
    let (driver, handle, mut events) = Driver::new(environment).unwrap();
    let conversation = async {
        let Event::Subscribed { info, again: false } = next(&mut events).await else {
            panic!("not subscribed")
        };
        assert_eq!(info.framework_info.unwrap().id, framework().id);
        let Event::Launch(task) = next(&mut events).await else { panic!("no launch") };
        let id = task.task_id;
        handle.report(id.clone(), State::TaskRunning).await.unwrap();
        master.update("t1", State::TaskRunning).await;
        handle.message(Bytes::from_static(b"\0\xff")).await.unwrap();
        let message = master.call(link_call::Type::Message).await.message.unwrap();
        assert_eq!(message.data(), &b"\0\xff"[..]);

        // The agent goes, an update is made meanwhile, and the agent comes back at its address.
        let port = rig.address.rsplit(':').next().unwrap().parse().unwrap();
        rig.stop_agent().await;
        let Event::Disconnected { .. } = next(&mut events).await else { panic!("still connected") };
        let message = Some("while the agent was away".to_owned());
        let state = Some(State::TaskRunning as i32);
        let status = v1::TaskStatus { task_id: id.clone(), state, message, ..Default::default() };
        handle.update(status).await.unwrap();
        rig.start_agent(|config| {
            config.port = port;
            config.timers.executor_reregistration_timeout = Duration::from_secs(15);
        })
        .await;
        master.registration(2).await;
        let Event::Subscribed { again: true, .. } = next(&mut events).await else { panic!("not subscribed") };
        let missed = master.update("t1", State::TaskRunning).await;
        assert_eq!(missed.message(), "while the agent was away");
        assert_eq!(missed.source(), v1::task_status::Source::Executor);

        master.kill("t1", 7_000).await;
        let Event::Kill { task_id, grace } = next(&mut events).await else { panic!("no kill") };
        assert_eq!((Some(task_id), grace), (id.clone(), Some(Duration::from_secs(7))));
        handle.report(id, State::TaskKilled).await.unwrap();
        master.update("t1", State::TaskKilled).await;
        let shutdown = link_event::ShutdownExecutor {
            framework_id: framework().id,
            executor_id: Some(v1::ExecutorId { value: Some("e".to_owned()) }),
        };
        master
            .send(link_event::Type::ShutdownExecutor, |event| event.shutdown_executor = Some(shutdown))
            .await;
        assert_eq!(next(&mut events).await, Event::Shutdown);
        handle.stop().await.unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, events.next()).await.unwrap(), None);
        std::fs::write(rig.sandbox("e").join("go"), "").unwrap();
        master.call(link_call::Type::ExecutorExited).await;
    };
    let (ended, ()) = tokio::join!(driver.run(), conversation);
    ended.unwrap();
}
