//! Submissions, tokens, fences.

use super::*;

fn rejected(reply: Option<Reply>) -> (u16, String) {
    match reply {
        Some(Reply::Rejected { status, reason }) => (status, reason),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn submitting_twice_is_submitting_once() {
    let mut story = Story::new();
    let first = story.submit(under(Policy::OnFailure));
    assert_eq!((first.name(), first.generation(), first.created()), ("d", 0, true));
    assert!(!story.submit(under(Policy::OnFailure)).created());
    let other = OperatorCall::SubmitDriver(under(Policy::Always));
    let (status, reason) = rejected(story.harness.operator(other, None));
    assert_eq!(status, 409);
    assert!(reason.contains("'d'"), "{reason}");
}

#[test]
fn a_bad_spec_is_refused_by_name_of_its_field() {
    let mut story = Story::new();
    let bad = DriverSpec { resources: vec![], ..under(Policy::OnFailure) };
    let (status, reason) = rejected(story.harness.operator(OperatorCall::SubmitDriver(bad), None));
    assert_eq!(status, 400);
    assert!(reason.contains("spec.resources"), "{reason}");
    assert!(story.harness.registry.drivers.is_empty());
}

#[test]
fn unknown_drivers_are_not_found() {
    let mut story = Story::new();
    assert_eq!(rejected(story.kill()).0, 404);
    let call = call::RenewLease { name: Some("d".into()), generation: Some(1) };
    assert_eq!(rejected(story.harness.operator(OperatorCall::RenewLease(call), Some("t"))).0, 404);
    let call = call::StateCas {
        scope: Some("d".into()),
        key: Some("k".into()),
        expected_version: Some(0),
        generation: Some(1),
        value: Some(Bytes::new()),
    };
    assert_eq!(rejected(story.harness.operator(OperatorCall::StateCas(call.clone()), Some("t"))).0, 404);
    assert_eq!(rejected(story.harness.operator(OperatorCall::StateCas(call), None)).0, 403);
}

#[test]
fn only_the_current_generation_subscribes_as_the_driver() {
    let (mut story, mut agent, old) = Story::running(under(Policy::OnFailure));
    let nobody = Launched { token: "guess".into(), ..old.clone() };
    let peer = story.subscribe(&nobody);
    assert!(story.harness.error(&peer).contains("generation 1"));
    assert!(story.harness.is_closed(peer.connection));
    let first = story.subscribe(&old);
    assert_eq!(story.harness.event(&first).r#type(), v1::scheduler::event::Type::Subscribed);
    story.report(&mut agent, &old, TaskState::TaskFailed);
    // Its stream is still open and sits on an offer, which has to be taken back first.
    story.quiet(&agent, 2_300);
    let new = story.take_launch(&mut agent);
    // The older stream was closed with an ERROR when the next generation was launched.
    let last = story.harness.events(&first).pop().unwrap();
    assert!(last.error.unwrap().message().contains("generation 2"));
    assert!(story.harness.is_closed(first.connection));
    let late = story.subscribe(&old);
    assert!(story.harness.error(&late).contains("generation 2"));
    let second = story.subscribe(&new);
    assert_eq!(story.harness.event(&second).r#type(), v1::scheduler::event::Type::Subscribed);
    assert_eq!(second.id, first.id);
}

#[test]
fn a_subscription_that_crosses_the_next_launch_does_not_pass() {
    let (mut story, mut agent, old) = Story::running(under(Policy::OnFailure));
    story.report(&mut agent, &old, TaskState::TaskFailed);
    story.harness.hold();
    story.quiet(&agent, 1_200);
    // QUEUED is committed, the launch is proposed and waits; now the old process subscribes.
    story.harness.commit();
    story.harness.hold();
    story.harness.advance(50);
    assert_eq!(story.harness.queue.len(), 1, "the launch");
    let late = story.subscribe(&old);
    story.harness.commit();
    assert!(story.harness.error(&late).contains("generation 2"));
    assert!(story.harness.is_closed(late.connection));
}

#[test]
fn nobody_subscribes_as_the_masters_or_as_a_driver_to_be() {
    let mut story = Story::new();
    for (id, text) in
        [("tepui-drivers", "belongs to the masters"), ("tepui-driver-x", "kept for a supervised")]
    {
        let info = v1::FrameworkInfo {
            id: Some(v1::FrameworkId { value: Some(id.into()) }),
            ..framework_info("impostor")
        };
        let peer = story.harness.subscribe(info, None);
        let message = story.harness.error(&peer);
        assert!(message.contains(text), "{message}");
    }
}

/// The driver that was paused while its successor took over, then continued: it changes nothing.
#[test]
fn an_old_generation_writes_nothing() {
    use response::state_cas::Result::{Conflict, Fenced, Ok};
    let (mut story, mut agent, old) = Story::running(under(Policy::OnFailure));
    let answer = |cas: response::StateCas| (cas.result(), cas.version());
    assert_eq!(answer(story.write(&old, 0, "one")), (Ok, 1));
    assert_eq!(answer(story.write(&old, 0, "one")), (Ok, 1), "the same write again");
    assert_eq!(answer(story.write(&old, 0, "two")), (Conflict, 1));
    story.quiet(&agent, LEASE_MS + 100);
    let new = story.take_launch(&mut agent);
    let fenced = story.write(&old, 1, "late");
    assert_eq!((fenced.result(), fenced.generation()), (Fenced, 2));
    let guessed = Launched { token: old.token.clone(), ..new.clone() };
    assert_eq!(story.write(&guessed, 1, "late").result(), Fenced, "the generation alone is not enough");
    assert_eq!(answer(story.write(&new, 1, "two")), (Ok, 2));
    let register = story.harness.registry.register("d", "stream").unwrap();
    assert_eq!(&*register.value, b"two");
    assert_eq!(story.driver().registers[0].version(), 2);
}

#[test]
fn a_call_whose_outcome_is_lost_is_answered_with_503() {
    let mut story = Story::new();
    story.harness.hold();
    let request = story.harness.next_id();
    let call = OperatorCall::SubmitDriver(under(Policy::OnFailure));
    story.harness.input(crate::master::Input::Operator {
        request,
        call,
        principal: None,
        driver_token: None,
    });
    assert_eq!(story.harness.reply(request), None);
    story.harness.lose(true);
    assert_eq!(rejected(story.harness.reply(request)).0, 503);
    assert!(story.submit(under(Policy::OnFailure)).created());
}
