//! The scheduler driver against scripted masters, over real connections.

#[expect(dead_code, reason = "its `main` reads the command line; the test calls `run`")]
#[path = "../examples/hello.rs"]
pub mod hello;

use std::time::Duration;

use bytes::Bytes;
use tepui_sdk::scheduler::{Driver, DriverError, Event, Events, Handle, Outcome};
use tepui_sdk::testing::{Reply, ScriptedMaster};
use tepui_sdk::v1::scheduler::call::Type;
use tepui_sdk::{MediaType, v1};
use tokio::task::JoinSet;

type Running = JoinSet<Result<(), DriverError>>;

fn framework() -> v1::FrameworkInfo {
    v1::FrameworkInfo { user: Some("u".into()), name: Some("n".into()), ..Default::default() }
}

fn start(masters: &[&ScriptedMaster], media_type: MediaType) -> (Running, Handle, Events) {
    let masters = masters.iter().map(|master| master.address());
    let builder = Driver::builder(framework()).masters(masters).media_type(media_type).driver_token("secret");
    let (driver, handle, events) = builder.build().expect("a driver");
    let mut running = JoinSet::new();
    running.spawn(driver.run());
    (running, handle, events)
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(Duration::from_secs(10), events.next())
        .await
        .expect("an event")
        .expect("not the end")
}

async fn subscribed(events: &mut Events) -> bool {
    loop {
        if let Event::Subscribed { again, .. } = next(events).await {
            return again;
        }
    }
}

fn offer() -> v1::Offer {
    v1::Offer {
        id: Some(v1::OfferId { value: Some("o".into()) }),
        framework_id: Some(v1::FrameworkId { value: Some("scripted-0000".into()) }),
        agent_id: Some(v1::AgentId { value: Some("a".into()) }),
        hostname: Some("h".into()),
        ..Default::default()
    }
}

fn status(task_id: &str, state: v1::TaskState, uuid: Option<&'static [u8]>) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some(task_id.into()) }),
        agent_id: Some(v1::AgentId { value: Some("a".into()) }),
        state: Some(state as i32),
        uuid: uuid.map(Bytes::from_static),
        ..Default::default()
    }
}

fn task(name: &str) -> v1::TaskInfo {
    v1::TaskInfo {
        name: Some(name.into()),
        task_id: Some(v1::TaskId { value: Some(name.into()) }),
        agent_id: Some(v1::AgentId { value: Some("a".into()) }),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_example_runs_its_task_and_leaves() {
    let mut master = ScriptedMaster::start().await.unwrap();
    let address = master.address().to_owned();
    let script = async {
        assert_eq!(master.next_call().await.unwrap().kind(), Type::Subscribe);
        master.offer(vec![offer()]);
        let accept = master.next_call().await.unwrap();
        let launched = &accept.call.accept.unwrap().operations[0].launch.clone().unwrap().task_infos[0];
        assert_eq!(launched.command.as_ref().unwrap().value(), "echo hello");
        master.update(status("hello-1", v1::TaskState::TaskRunning, Some(b"0123456789abcdef")));
        assert_eq!(master.next_call().await.unwrap().kind(), Type::Acknowledge);
        master.update(status("hello-1", v1::TaskState::TaskFinished, Some(b"fedcba9876543210")));
        let last = master.next_call_of(Type::Teardown).await.unwrap();
        assert_eq!(last.call.framework_id.unwrap().value(), "scripted-0000");
    };
    let (state, ()) = tokio::join!(hello::run(&address), script);
    assert_eq!(state.unwrap(), v1::TaskState::TaskFinished);
}

#[tokio::test]
async fn follows_the_leader_to_another_master_with_its_id_and_token() {
    for media_type in [MediaType::Json, MediaType::Protobuf] {
        let mut first = ScriptedMaster::start().await.unwrap();
        let mut second = ScriptedMaster::start().await.unwrap();
        second.stand_by(Some(first.address()));
        let (_running, _handle, mut events) = start(&[&second, &first], media_type);
        assert!(!subscribed(&mut events).await);
        let subscribe = first.next_call().await.unwrap();
        assert_eq!(subscribe.driver_token.as_deref(), Some("secret"));
        assert_eq!(subscribe.call.framework_id, None);
        first.update(status("t", v1::TaskState::TaskRunning, None));
        assert!(matches!(next(&mut events).await, Event::Update(_)));

        second.lead();
        first.stop().await;
        assert!(matches!(next(&mut events).await, Event::Disconnected { .. }));
        assert!(subscribed(&mut events).await);
        let subscribe = second.next_call().await.unwrap();
        assert_eq!(subscribe.call.framework_id.unwrap().value(), "scripted-0000");
        let reconcile = second.next_call().await.unwrap();
        assert_eq!(reconcile.stream_id.as_deref(), Some("stream-1"));
        assert_eq!(reconcile.call.reconcile.unwrap().tasks[0].task_id.as_ref().unwrap().value(), "t");
    }
}

#[tokio::test]
async fn waits_for_a_leader_that_nobody_knows_yet() {
    let master = ScriptedMaster::start().await.unwrap();
    master.stand_by(None);
    let (_running, handle, mut events) = start(&[&master], MediaType::Protobuf);
    handle.launch(Vec::new(), vec![task("early")]).await.unwrap();
    let Event::CallFailed(failed) = next(&mut events).await else { panic!("expected a failed call") };
    assert!(matches!(failed.outcome, Outcome::NotSent { .. }));
    master.lead();
    assert!(!subscribed(&mut events).await);
}

#[tokio::test]
async fn acknowledges_when_the_framework_asks_for_the_next_event() {
    let mut master = ScriptedMaster::start().await.unwrap();
    let (_running, handle, mut events) = start(&[&master], MediaType::Protobuf);
    subscribed(&mut events).await;
    master.update(status("t", v1::TaskState::TaskRunning, Some(b"0123456789abcdef")));
    assert!(matches!(next(&mut events).await, Event::Update(_)));
    // Calls keep their order, so an acknowledgement sent too early would come before this one.
    handle.revive(Vec::new()).await.unwrap();
    assert_eq!(master.next_call().await.unwrap().kind(), Type::Subscribe);
    assert_eq!(master.next_call().await.unwrap().kind(), Type::Revive);
    master.offer(Vec::new());
    assert!(matches!(next(&mut events).await, Event::Offers(_)));
    let acknowledge = master.next_call().await.unwrap().call.acknowledge.unwrap();
    assert_eq!(acknowledge.uuid(), b"0123456789abcdef");
}

#[tokio::test]
async fn asks_about_tasks_whose_launch_has_no_known_outcome() {
    let mut master = ScriptedMaster::start().await.unwrap();
    let (_running, handle, mut events) = start(&[&master], MediaType::Json);
    subscribed(&mut events).await;
    master.reply_once(Type::Accept, Reply::Broken);
    handle.launch(offer().id.into_iter().collect(), vec![task("t")]).await.unwrap();
    assert!(matches!(next(&mut events).await, Event::Disconnected { .. }));
    let Event::CallFailed(failed) = next(&mut events).await else { panic!("expected a failed call") };
    assert!(matches!(failed.outcome, Outcome::Unknown { .. }), "{failed:?}");
    assert!(subscribed(&mut events).await);
    let reconcile = master.next_call_of(Type::Reconcile).await.unwrap();
    assert_eq!(reconcile.stream_id.as_deref(), Some("stream-2"));
    let reconcile = reconcile.call.reconcile.unwrap();
    assert_eq!(reconcile.tasks[0].task_id.as_ref().unwrap().value(), "t");
    handle.teardown().await.unwrap();
    let rest = master.next_call().await.unwrap();
    assert_eq!(rest.kind(), Type::Teardown, "the launch was not repeated");
}

#[tokio::test]
async fn a_silent_leader_is_left() {
    let master = ScriptedMaster::start().await.unwrap();
    master.set_heartbeat(Duration::from_millis(50));
    let (_running, _handle, mut events) = start(&[&master], MediaType::Protobuf);
    assert!(!subscribed(&mut events).await);
    assert!(subscribed(&mut events).await);
}

#[tokio::test]
async fn a_frozen_leader_is_left_when_the_others_have_a_new_one() {
    let frozen = ScriptedMaster::start().await.unwrap();
    let other = ScriptedMaster::start().await.unwrap();
    other.stand_by(Some(frozen.address()));
    let (_running, _handle, mut events) = start(&[&frozen, &other], MediaType::Protobuf);
    assert!(!subscribed(&mut events).await);
    frozen.freeze();
    other.lead();
    assert!(subscribed(&mut events).await);
}

#[tokio::test]
async fn a_refused_subscription_ends_the_driver() {
    let master = ScriptedMaster::start().await.unwrap();
    master.reply_once(Type::Subscribe, Reply::Status(403, "who are you".into()));
    let (mut running, _handle, mut events) = start(&[&master], MediaType::Protobuf);
    assert!(matches!(next(&mut events).await, Event::Error(_)));
    assert_eq!(events.next().await, None);
    let error = running.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("who are you"), "{error}");
}

#[tokio::test]
async fn a_framework_that_drops_its_ends_ends_its_driver() {
    let mut master = ScriptedMaster::start().await.unwrap();
    let (mut running, handle, mut events) = start(&[&master], MediaType::Protobuf);
    subscribed(&mut events).await;
    handle.revive(Vec::new()).await.unwrap();
    drop((handle, events));
    assert_eq!(running.join_next().await.unwrap().unwrap(), Ok(()));
    assert!(master.next_call_of(Type::Revive).await.is_some());
}

#[tokio::test]
async fn a_call_that_comes_too_early_is_sent_again_when_the_master_wants_it() {
    let mut master = ScriptedMaster::start().await.unwrap();
    let (_running, handle, mut events) = start(&[&master], MediaType::Json);
    assert!(!subscribed(&mut events).await);
    assert_eq!(master.next_call().await.unwrap().kind(), Type::Subscribe);
    master.reply_once(Type::Revive, Reply::Status(429, "principal 'n' exceeds its rate limit".into()));
    let begun = std::time::Instant::now();
    handle.revive(Vec::new()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(master.next_call().await.unwrap().kind(), Type::Revive);
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After was 1");
}
