//! The session's rules, without time or network.

use std::time::Duration;

use bytes::Bytes;

use super::*;

fn session(checkpoint: bool) -> Session {
    let lookup = |name: &str| {
        let value = match name {
            "MESOS_FRAMEWORK_ID" => "fw",
            "MESOS_EXECUTOR_ID" => "e",
            "MESOS_AGENT_ENDPOINT" => "agent:1",
            "MESOS_SANDBOX" => "/s",
            "MESOS_CHECKPOINT" if checkpoint => "1",
            "MESOS_RECOVERY_TIMEOUT" => "10secs",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Session::new(&ExecutorEnvironment::from_lookup(lookup).unwrap())
}

fn status(task: &str, uuid: u8) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: Some(v1::TaskId { value: Some(task.to_owned()) }),
        state: Some(v1::TaskState::TaskRunning as i32),
        uuid: Some(Bytes::copy_from_slice(&[uuid; 16])),
        ..Default::default()
    }
}

fn update(task: &str, uuid: u8) -> Input {
    Input::Command(Command::Update(Box::new(status(task, uuid))))
}

fn event(kind: Type, fill: impl FnOnce(&mut WireEvent)) -> Input {
    let mut event = WireEvent { r#type: Some(kind as i32), ..Default::default() };
    fill(&mut event);
    Input::Event(Box::new(event))
}

fn subscribed() -> Input {
    event(Type::Subscribed, |event| event.subscribed = Some(Default::default()))
}

fn launch(task: &str) -> Input {
    let task =
        v1::TaskInfo { task_id: Some(v1::TaskId { value: Some(task.to_owned()) }), ..Default::default() };
    event(Type::Launch, |event| event.launch = Some(v1::executor::event::Launch { task: Some(task) }))
}

fn acknowledged(task: &str, uuid: u8) -> Input {
    let acknowledged = v1::executor::event::Acknowledged {
        task_id: Some(v1::TaskId { value: Some(task.to_owned()) }),
        uuid: Some(Bytes::copy_from_slice(&[uuid; 16])),
    };
    event(Type::Acknowledged, |event| event.acknowledged = Some(acknowledged))
}

/// Takes the SUBSCRIBE of these actions: its tasks, and the uuids of its updates.
fn opened(actions: &[Action]) -> (Vec<String>, Vec<u8>) {
    let Some(Action::Open(call)) = actions.last() else { panic!("{actions:?}") };
    let subscribe = call.subscribe.clone().unwrap();
    let task = |task: v1::TaskInfo| task.task_id.unwrap().value().to_owned();
    let uuid = |update: call::Update| update.status.unwrap().uuid()[0];
    (
        subscribe.unacknowledged_tasks.into_iter().map(task).collect(),
        subscribe.unacknowledged_updates.into_iter().map(uuid).collect(),
    )
}

/// The uuid of the update that is sent.
fn sent(actions: &[Action]) -> (u64, u8) {
    let Some(Action::Send { epoch, call }) = actions.last() else { panic!("{actions:?}") };
    (*epoch, call.update.as_ref().unwrap().status.as_ref().unwrap().uuid()[0])
}

fn accepted(epoch: u64) -> Input {
    Input::Answered { epoch, answer: Answer::Accepted }
}

fn running() -> Session {
    let mut session = session(true);
    assert_eq!(opened(&session.handle(0, 0.5, Input::Tick)), (vec![], vec![]));
    assert!(session.handle(0, 0.5, Input::Opened).is_empty());
    session.handle(0, 0.5, subscribed());
    assert_eq!(session.handle(0, 0.5, launch("t")).len(), 1);
    session
}

#[test]
fn updates_go_one_at_a_time_and_in_order() {
    let mut session = running();
    let (epoch, first) = sent(&session.handle(1, 0.5, update("t", 1)));
    assert_eq!(first, 1);
    assert!(session.handle(1, 0.5, update("t", 2)).is_empty(), "the first has no answer yet");
    assert_eq!(sent(&session.handle(2, 0.5, accepted(epoch))), (epoch, 2));
    assert!(session.handle(2, 0.5, launch("t")).is_empty(), "told again");
}

#[test]
fn a_subscription_repeats_what_is_not_acknowledged() {
    let mut session = running();
    let (epoch, _) = sent(&session.handle(1, 0.5, update("t", 1)));
    sent(
        &session
            .handle(1, 0.5, accepted(epoch))
            .into_iter()
            .chain(session.handle(1, 0.5, update("t", 2)))
            .collect::<Vec<_>>(),
    );
    session.handle(1, 0.5, acknowledged("t", 1));
    let actions = session.handle(2, 0.5, Input::StreamEnded { reason: "gone".to_owned() });
    assert_eq!(actions[0], Action::Close);
    assert_eq!(actions[1], Action::Deliver(Event::Disconnected { reason: "gone".to_owned() }));
    // An answer of the former stream means nothing now, and an update waits for the next one.
    assert!(session.handle(3, 0.5, accepted(epoch)).is_empty());
    assert!(session.handle(3, 0.5, update("t", 3)).is_empty());
    assert_eq!(session.wake_at_ms(), Some(22));
    assert_eq!(opened(&session.handle(22, 0.5, Input::Tick)), (vec![], vec![2, 3]));
    // Said after the SUBSCRIBE went: sent on its own, once the agent listens.
    assert!(session.handle(23, 0.5, update("t", 4)).is_empty());
    session.handle(23, 0.5, Input::Opened);
    let actions = session.handle(24, 0.5, subscribed());
    assert!(matches!(&actions[0], Action::Deliver(Event::Subscribed { again: true, .. })), "{actions:?}");
    assert_eq!(sent(&actions).1, 4);
}

#[test]
fn a_task_is_told_of_until_something_about_it_is_acknowledged() {
    let mut session = running();
    session.handle(1, 0.5, Input::StreamEnded { reason: String::new() });
    assert_eq!(opened(&session.handle(50, 0.5, Input::Tick)), (vec!["t".to_owned()], vec![]));
}

#[test]
fn a_refused_update_is_told_and_not_repeated() {
    let mut session = running();
    let (epoch, _) = sent(&session.handle(1, 0.5, update("t", 1)));
    let answer = Answer::Refused { status: 400, reason: "no".to_owned() };
    let actions = session.handle(2, 0.5, Input::Answered { epoch, answer });
    assert!(matches!(&actions[..], [Action::Deliver(Event::Refused { status: 400, .. })]), "{actions:?}");
    session.handle(3, 0.5, Input::StreamEnded { reason: String::new() });
    assert_eq!(opened(&session.handle(50, 0.5, Input::Tick)).1, Vec::<u8>::new());
}

#[test]
fn a_call_of_unknown_fate_is_repeated_with_a_new_subscription() {
    let mut session = running();
    let (epoch, _) = sent(&session.handle(1, 0.5, update("t", 1)));
    let answer = Answer::Failed { reason: "503".to_owned() };
    let actions = session.handle(2, 0.5, Input::Answered { epoch, answer });
    assert_eq!(actions[0], Action::Close);
    assert_eq!(opened(&session.handle(50, 0.5, Input::Tick)).1, [1]);
}

#[test]
fn it_gives_up_after_the_recovery_timeout_and_at_once_without_checkpointing() {
    let mut session = running();
    session.handle(1_000, 0.5, Input::StreamEnded { reason: String::new() });
    let (now_ms, actions) = loop {
        let now_ms = session.wake_at_ms().unwrap();
        let actions = session.handle(now_ms, 0.5, Input::Tick);
        if !matches!(actions[..], [Action::Open(_)]) {
            break (now_ms, actions);
        }
        session.handle(now_ms, 0.5, Input::OpenFailed { reason: String::new() });
    };
    assert_eq!(now_ms, 11_000);
    assert!(matches!(&actions[..], [Action::Deliver(Event::Shutdown), Action::End(Err(_))]), "{actions:?}");

    let mut session = self::session(false);
    session.handle(0, 0.5, Input::Tick);
    session.handle(0, 0.5, Input::OpenFailed { reason: String::new() });
    session.handle(50, 0.5, Input::Tick);
    session.handle(50, 0.5, Input::Opened);
    session.handle(50, 0.5, subscribed());
    let actions = session.handle(60, 0.5, Input::StreamEnded { reason: String::new() });
    assert!(
        matches!(&actions[..], [Action::Close, Action::Deliver(Event::Shutdown), Action::End(Err(_))]),
        "{actions:?}"
    );
}

#[test]
fn it_stops_when_all_is_acknowledged_or_too_late() {
    let mut session = running();
    let (epoch, _) = sent(&session.handle(1, 0.5, update("t", 1)));
    session.handle(1, 0.5, accepted(epoch));
    assert!(session.handle(2, 0.5, Input::Command(Command::Stop)).is_empty());
    assert_eq!(session.handle(3, 0.5, acknowledged("t", 1)), [Action::End(Ok(()))]);

    let mut session = running();
    session.handle(1, 0.5, update("t", 1));
    session.handle(2, 0.5, Input::Command(Command::Stop));
    assert_eq!(session.wake_at_ms(), Some(2 + LINGER_MS));
    assert_eq!(session.handle(2 + LINGER_MS, 0.5, Input::Tick), [Action::End(Ok(()))]);
}

#[test]
fn kills_carry_their_grace_and_commands_wait_when_too_much_is_unacknowledged() {
    let mut session = running();
    let kill = v1::executor::event::Kill {
        task_id: Some(v1::TaskId { value: Some("t".to_owned()) }),
        kill_policy: Some(v1::KillPolicy {
            grace_period: Some(v1::DurationInfo { nanoseconds: Some(7_000_000_000) }),
        }),
    };
    let actions = session.handle(1, 0.5, event(Type::Kill, |event| event.kill = Some(kill)));
    let [Action::Deliver(Event::Kill { grace, .. })] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(*grace, Some(Duration::from_secs(7)));
    for _ in 0..LIMIT {
        assert!(session.wants_commands());
        session.handle(2, 0.5, update("t", 9));
    }
    assert!(!session.wants_commands());
}
