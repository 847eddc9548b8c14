//! Scenarios of a subscription, told as inputs and actions.

use bytes::Bytes;

use super::super::calls;
use super::super::event::{CallFailed, Event, Outcome};
use super::{Action, CallAnswer, Command, Input, Session, SessionConfig};
use crate::v1;
use crate::v1::scheduler::call::Type;
use crate::v1::scheduler::event::{self, Type as EventType};
use crate::v1::scheduler::{Call, Event as WireEvent};

fn id(value: &str) -> v1::TaskId {
    v1::TaskId { value: Some(value.to_owned()) }
}

fn session(framework_id: Option<&str>) -> Session {
    let id = framework_id.map(|id| v1::FrameworkId { value: Some(id.to_owned()) });
    Session::new(SessionConfig::new(v1::FrameworkInfo { id, ..Default::default() }), 1)
}

fn wire(kind: EventType) -> Input {
    Input::Event(Box::new(of(kind)))
}

fn of(kind: EventType) -> WireEvent {
    WireEvent { r#type: Some(kind as i32), ..Default::default() }
}

fn subscribed() -> Input {
    let subscribed = event::Subscribed {
        framework_id: Some(v1::FrameworkId { value: Some("f".into()) }),
        heartbeat_interval_seconds: Some(1.0),
        master_info: None,
    };
    Input::Event(Box::new(WireEvent { subscribed: Some(subscribed), ..of(EventType::Subscribed) }))
}

fn status(task: &str, state: v1::TaskState, uuid: Option<&'static [u8]>) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: Some(id(task)),
        agent_id: Some(v1::AgentId { value: Some("a".into()) }),
        state: Some(state as i32),
        uuid: uuid.map(Bytes::from_static),
        ..Default::default()
    }
}

fn update(status: v1::TaskStatus) -> Input {
    let update = event::Update { status: Some(status) };
    Input::Event(Box::new(WireEvent { update: Some(update), ..of(EventType::Update) }))
}

fn answer_to_question(task: &str, state: v1::TaskState) -> Input {
    let reason = Some(v1::task_status::Reason::Reconciliation as i32);
    update(v1::TaskStatus { reason, ..status(task, state, None) })
}

fn launch(task: &str) -> Input {
    let task = v1::TaskInfo { task_id: Some(id(task)), ..Default::default() };
    command(calls::accept(Vec::new(), vec![calls::launch(vec![task])], None))
}

fn command(call: Call) -> Input {
    Input::Command(Command::Call(Box::new(call)))
}

/// Subscribes at `now_ms`, answers what is asked on the way, and returns the calls that were sent.
fn subscribe(session: &mut Session, now_ms: u64) -> Vec<(u64, Call)> {
    let opened = session.handle(now_ms, Input::Tick);
    assert!(matches!(opened[..], [Action::Open { .. }]), "{opened:?}");
    session.handle(now_ms, Input::Opened { stream_id: format!("s{now_ms}") });
    sent(&session.handle(now_ms, subscribed()))
}

fn sent(actions: &[Action]) -> Vec<(u64, Call)> {
    let sent = |action: &Action| match action {
        Action::Send { token, call, .. } => Some((*token, Call::clone(call))),
        _ => None,
    };
    actions.iter().filter_map(sent).collect()
}

fn kinds(calls: &[(u64, Call)]) -> Vec<Type> {
    calls.iter().map(|(_, call)| call.r#type()).collect()
}

fn delivered(actions: &[Action]) -> Vec<Event> {
    let delivered = |action: &Action| match action {
        Action::Deliver(event) => Some(event.clone()),
        _ => None,
    };
    actions.iter().filter_map(delivered).collect()
}

fn answered(session: &mut Session, now_ms: u64, token: u64, answer: CallAnswer) -> Vec<Action> {
    session.handle(now_ms, Input::Answered { token, answer })
}

#[test]
fn subscribes_with_the_id_it_was_given_and_asks_what_it_inherits() {
    let mut session = session(Some("f"));
    let opened = session.handle(0, Input::Tick);
    let [Action::Open { call }] = &opened[..] else { panic!("{opened:?}") };
    assert_eq!(call.framework_id, Some(v1::FrameworkId { value: Some("f".into()) }));
    assert_eq!(call.subscribe.as_ref().unwrap().framework_info.as_ref().unwrap().id, call.framework_id);
    session.handle(0, Input::Opened { stream_id: "s".into() });
    let calls = sent(&session.handle(0, subscribed()));
    assert_eq!(kinds(&calls), [Type::Reconcile]);
    assert!(calls[0].1.reconcile.as_ref().unwrap().tasks.is_empty(), "an implicit question");
}

#[test]
fn a_lost_stream_is_replaced_soon_and_then_less_often() {
    let mut session = session(None);
    assert_eq!(subscribe(&mut session, 0), []);
    let lost = session.handle(5_000, wire(EventType::Heartbeat));
    assert_eq!(lost, []);
    let lost = session.handle(5_000, Input::StreamEnded { reason: "gone".into() });
    assert_eq!(lost, [Action::Close, Action::Deliver(Event::Disconnected { reason: "gone".into() })]);
    let mut now_ms = 5_000;
    let mut waits = Vec::new();
    for _ in 0..25 {
        let wake_at_ms = session.wake_at_ms().unwrap();
        waits.push(wake_at_ms - now_ms);
        now_ms = wake_at_ms;
        assert!(matches!(session.handle(now_ms, Input::Tick)[..], [Action::Open { .. }]));
        session.handle(now_ms, Input::OpenFailed { reason: "nobody".into(), fatal: false });
    }
    assert!(waits[0] <= 25, "{waits:?}");
    assert!(waits[24] >= 750 && waits[24] <= 1_000, "{waits:?}");
}

#[test]
fn silence_is_a_lost_stream() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    assert_eq!(session.handle(2_900, Input::Tick), []);
    session.handle(2_950, wire(EventType::Heartbeat));
    assert_eq!(session.handle(5_900, Input::Tick), []);
    assert_eq!(session.wake_at_ms(), Some(5_950));
    let actions = session.handle(5_950, Input::Tick);
    assert_eq!(actions[0], Action::Close);
    assert!(matches!(delivered(&actions)[..], [Event::Disconnected { .. }]));
}

#[test]
fn a_master_that_takes_the_subscription_and_says_nothing_is_left() {
    let mut session = session(None);
    session.handle(0, Input::Tick);
    session.handle(1, Input::Opened { stream_id: "s".into() });
    let actions = session.handle(session.wake_at_ms().unwrap(), Input::Tick);
    assert_eq!(actions, [Action::Close]);
}

#[test]
fn an_accept_of_unknown_outcome_is_never_repeated_but_asked_about_on_a_new_stream() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    let calls = sent(&session.handle(10, launch("t")));
    assert_eq!(kinds(&calls), [Type::Accept]);
    let actions = answered(&mut session, 20, calls[0].0, CallAnswer::Unknown { reason: "cut".into() });
    assert_eq!(actions[0], Action::Close, "the lost call must not be valid any more");
    let failed = CallFailed {
        call: Type::Accept,
        task_ids: vec![id("t")],
        outcome: Outcome::Unknown { reason: "cut".into() },
    };
    assert_eq!(delivered(&actions)[1], Event::CallFailed(failed));
    let calls = subscribe(&mut session, 100);
    assert_eq!(kinds(&calls), [Type::Reconcile]);
    let asked = &calls[0].1.reconcile.as_ref().unwrap().tasks;
    assert_eq!(asked[0].task_id, Some(id("t")));
    let actions = session.handle(110, answer_to_question("t", v1::TaskState::TaskLost));
    assert_eq!(delivered(&actions).len(), 1, "the framework hears what became of it");
    assert_eq!(session.tasks.known(), [""; 0]);
}

#[test]
fn an_accept_without_effect_is_reported_and_its_tasks_are_forgotten() {
    let cases = [
        (CallAnswer::Refused { status: 400, reason: "no".into() }, false),
        (CallAnswer::Refused { status: 403, reason: "no".into() }, true),
        (CallAnswer::NotLeading, true),
        (CallAnswer::NotSent { reason: "no".into() }, true),
    ];
    for (answer, is_lost) in cases {
        let mut session = session(None);
        subscribe(&mut session, 0);
        let calls = sent(&session.handle(10, launch("t")));
        let actions = answered(&mut session, 20, calls[0].0, answer.clone());
        assert_eq!(actions.contains(&Action::Close), is_lost, "{answer:?}");
        let last = delivered(&actions).pop();
        assert!(matches!(last, Some(Event::CallFailed(_))), "{answer:?}: {actions:?}");
        assert_eq!(session.tasks.known(), [""; 0], "{answer:?}");
    }
}

#[test]
fn an_accept_without_a_subscription_has_no_offers_to_name() {
    let mut session = session(None);
    let actions = session.handle(0, launch("t"));
    let [Event::CallFailed(failed)] = &delivered(&actions)[..] else { panic!("{actions:?}") };
    assert!(matches!(failed.outcome, Outcome::NotSent { .. }));
}

#[test]
fn calls_go_one_after_the_other_and_acknowledgements_beside_them() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    let first = sent(&session.handle(1, command(calls::suppress(Vec::new()))));
    assert_eq!(kinds(&first), [Type::Suppress]);
    assert_eq!(sent(&session.handle(2, command(calls::revive(Vec::new())))), []);
    session.handle(3, update(status("t", v1::TaskState::TaskRunning, Some(b"1"))));
    let taken = Command::acknowledge(&status("t", v1::TaskState::TaskRunning, Some(b"1"))).unwrap();
    assert_eq!(kinds(&sent(&session.handle(4, Input::Command(taken)))), [Type::Acknowledge]);
    let next = sent(&answered(&mut session, 5, first[0].0, CallAnswer::Accepted));
    assert_eq!(kinds(&next), [Type::Revive]);
}

#[test]
fn a_kill_survives_the_leader_and_a_decline_does_not() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    let kill = sent(&session.handle(1, command(calls::kill(id("t"), None, None))));
    session.handle(2, command(calls::decline(Vec::new(), None)));
    answered(&mut session, 3, kill[0].0, CallAnswer::Unknown { reason: "cut".into() });
    session.handle(4, command(calls::kill(id("u"), None, None)));
    let calls = subscribe(&mut session, 100);
    assert_eq!(kinds(&calls), [Type::Kill]);
    let calls = sent(&answered(&mut session, 101, calls[0].0, CallAnswer::Accepted));
    assert_eq!(calls[0].1.kill.as_ref().unwrap().task_id, Some(id("u")));
    assert_eq!(sent(&answered(&mut session, 102, calls[0].0, CallAnswer::Accepted)), []);
}

#[test]
fn suppressed_roles_are_part_of_the_next_subscription() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    session.handle(1, command(calls::suppress(Vec::new())));
    session.handle(2, Input::StreamEnded { reason: String::new() });
    let actions = session.handle(100, Input::Tick);
    let [Action::Open { call }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(call.subscribe.as_ref().unwrap().suppressed_roles, ["*"]);
}

#[test]
fn an_update_reaches_the_framework_once() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    let running = || status("t", v1::TaskState::TaskRunning, Some(b"1"));
    assert_eq!(delivered(&session.handle(1, update(running()))).len(), 1);
    assert_eq!(session.handle(2, update(running())), [], "the framework holds it");
    session.handle(3, Input::StreamEnded { reason: String::new() });
    let taken = Command::acknowledge(&running()).unwrap();
    assert_eq!(session.handle(4, Input::Command(taken)), [], "nobody to tell");
    subscribe(&mut session, 100);
    let again = session.handle(101, update(running()));
    assert_eq!(delivered(&again), []);
    assert_eq!(kinds(&sent(&again)), [Type::Acknowledge]);
}

#[test]
fn reconciliation_is_silent_when_nothing_changed_and_goes_on_until_it_is_answered() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    for task in ["same", "changed", "silent"] {
        session.handle(1, update(status(task, v1::TaskState::TaskRunning, None)));
    }
    session.handle(2, Input::StreamEnded { reason: String::new() });
    let calls = subscribe(&mut session, 100);
    assert_eq!(calls[0].1.reconcile.as_ref().unwrap().tasks.len(), 3);
    answered(&mut session, 100, calls[0].0, CallAnswer::Accepted);
    let same = session.handle(101, answer_to_question("same", v1::TaskState::TaskRunning));
    assert_eq!(delivered(&same), []);
    let changed = session.handle(102, answer_to_question("changed", v1::TaskState::TaskFinished));
    assert_eq!(delivered(&changed).len(), 1);
    let mut now_ms = 102;
    let calls = loop {
        now_ms += 500;
        assert!(now_ms < 10_000, "never asked again");
        let calls = sent(&session.handle(now_ms, wire(EventType::Heartbeat)));
        if !calls.is_empty() {
            break calls;
        }
    };
    let asked = &calls[0].1.reconcile.as_ref().unwrap().tasks;
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].task_id, Some(id("silent")));
    let wanted = session.handle(now_ms, command(calls::reconcile(Vec::new())));
    assert_eq!(sent(&wanted), [], "one call at a time");
    let heard = session.handle(now_ms, answer_to_question("silent", v1::TaskState::TaskRunning));
    assert_eq!(delivered(&heard).len(), 1, "the framework asked by itself");
}

#[test]
fn an_error_is_final() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    let error = Some(event::Error { message: Some("failed over".into()) });
    let event = Input::Event(Box::new(WireEvent { error, ..of(EventType::Error) }));
    let actions = session.handle(1, event);
    assert_eq!(delivered(&actions), [Event::Error("failed over".into())]);
    assert_eq!(actions.last(), Some(&Action::End(Err("failed over".into()))));
    assert_eq!(session.handle(60_000, Input::Tick), []);
    assert_eq!(session.wake_at_ms(), None);
}

#[test]
fn a_teardown_ends_well_even_if_its_answer_is_lost() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    let calls = sent(&session.handle(1, command(calls::teardown())));
    answered(&mut session, 2, calls[0].0, CallAnswer::Unknown { reason: "cut".into() });
    session.handle(100, Input::Tick);
    session.handle(101, Input::Opened { stream_id: "s".into() });
    let error = Some(event::Error { message: Some("framework has been removed".into()) });
    let event = Input::Event(Box::new(WireEvent { error, ..of(EventType::Error) }));
    assert_eq!(session.handle(102, event).last(), Some(&Action::End(Ok(()))));
}

#[test]
fn an_abandoned_session_finishes_what_was_asked_for() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    let calls = sent(&session.handle(1, command(calls::kill(id("t"), None, None))));
    assert_eq!(session.handle(2, Input::Command(Command::Abandon)), []);
    let actions = answered(&mut session, 3, calls[0].0, CallAnswer::Accepted);
    assert_eq!(actions.last(), Some(&Action::End(Ok(()))));
}

#[test]
fn an_abandoned_teardown_goes_on_after_the_leader_died() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    let calls = sent(&session.handle(1, command(calls::teardown())));
    session.handle(2, Input::Command(Command::Abandon));
    answered(&mut session, 3, calls[0].0, CallAnswer::NotLeading);
    let calls = subscribe(&mut session, 100);
    assert_eq!(kinds(&calls), [Type::Teardown]);
    let actions = answered(&mut session, 101, calls[0].0, CallAnswer::Accepted);
    assert_eq!(actions.last(), Some(&Action::End(Ok(()))));
}

#[test]
fn events_that_make_no_sense_change_nothing() {
    let mut session = session(None);
    subscribe(&mut session, 0);
    for kind in 0..20 {
        let event = WireEvent { r#type: Some(kind), ..Default::default() };
        if kind == EventType::Error as i32 {
            continue;
        }
        let actions = session.handle(1, Input::Event(Box::new(event)));
        assert_eq!(actions, [], "{kind}");
    }
    assert_eq!(answered(&mut session, 2, 99, CallAnswer::Accepted), []);
}
