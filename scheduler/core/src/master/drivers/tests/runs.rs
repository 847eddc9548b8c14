//! Launches and ends under one leader.

use super::*;

#[test]
fn a_driver_is_launched_runs_and_finishes() {
    let (mut story, mut agent, launched) = Story::launched(under(Policy::OnFailure));
    assert_eq!((launched.task_id.as_str(), launched.generation), ("d.g1", 1));
    assert_eq!(launched.framework_id, "tepui-driver-d");
    assert_eq!(story.state(), DriverState::DriverStaging);
    story.report(&mut agent, &launched, TaskState::TaskRunning);
    assert_eq!(story.state(), DriverState::DriverRunning);
    story.report(&mut agent, &launched, TaskState::TaskFinished);
    assert_eq!(story.state(), DriverState::DriverFinished);
    let driver = story.driver();
    assert_eq!((driver.restarts(), driver.attempts.len()), (0, 1));
    assert_eq!(driver.attempts[0].state(), TaskState::TaskFinished);
    story.no_launch(&agent, 100_000);
}

#[test]
fn updates_are_acknowledged_and_the_task_leaves_the_table() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::OnFailure));
    story.report(&mut agent, &launched, TaskState::TaskFinished);
    story.harness.advance(500);
    assert_eq!(story.task_state(&launched), None);
    let acknowledged =
        story.harness.orders(&agent).into_iter().filter(|order| order.acknowledge.is_some()).count();
    assert_eq!(acknowledged, 2);
}

#[test]
fn only_the_hash_of_a_token_is_kept() {
    let (story, _, launched) = Story::running(under(Policy::OnFailure));
    let record = story.harness.registry.driver("d").unwrap();
    assert_eq!(record.token_sha256, crate::digest::sha256(launched.token.as_bytes()));
    assert_eq!(launched.token.len(), 64);
    let shown = format!("{:?}", story.driver());
    assert!(!shown.contains(&launched.token));
}

#[test]
fn a_failed_driver_is_launched_again_after_a_growing_back_off() {
    let (mut story, mut agent, mut launched) = Story::running(under(Policy::OnFailure));
    for (expected_ms, generation) in [(1_000, 2), (2_000, 3), (4_000, 4)] {
        story.report(&mut agent, &launched, TaskState::TaskFailed);
        assert_eq!(story.state(), DriverState::DriverBackoff);
        let left_ms = story.driver().next_launch_in_ms();
        assert!((expected_ms - 500..=expected_ms).contains(&left_ms), "{left_ms} of {expected_ms}");
        story.no_launch(&agent, left_ms - 200);
        story.harness.advance(400);
        let next = story.take_launch(&mut agent);
        assert_eq!((next.task_id.clone(), next.generation), (format!("d.g{generation}"), generation));
        assert_ne!(next.token, launched.token);
        assert_eq!(
            next.framework_id, launched.framework_id,
            "rule 3: the same framework in every generation"
        );
        launched = next;
        story.report(&mut agent, &launched, TaskState::TaskRunning);
    }
    // The budget of three is used up.
    story.report(&mut agent, &launched, TaskState::TaskFailed);
    assert_eq!(story.state(), DriverState::DriverFailed);
    assert!(story.driver().message().contains("gave up after 3 restarts"));
    assert_eq!(story.driver().restarts(), 3);
    story.no_launch(&agent, 100_000);
}

#[test]
fn a_budget_is_earned_back_with_time() {
    let (mut story, mut agent, mut launched) =
        Story::running(DriverSpec { lease_ms: Some(0), ..under(Policy::OnFailure) });
    for _ in 0..6 {
        story.quiet(&agent, 25_000);
        story.report(&mut agent, &launched, TaskState::TaskFailed);
        assert_eq!(story.state(), DriverState::DriverBackoff);
        story.quiet(&agent, 4_100);
        launched = story.take_launch(&mut agent);
        story.report(&mut agent, &launched, TaskState::TaskRunning);
    }
}

#[test]
fn policies_decide_about_exit_zero_and_about_never() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::Always));
    story.report(&mut agent, &launched, TaskState::TaskFinished);
    assert_eq!(story.state(), DriverState::DriverBackoff);
    let (mut story, mut agent, launched) = Story::running(under(Policy::Never));
    story.report(&mut agent, &launched, TaskState::TaskFailed);
    assert_eq!(story.state(), DriverState::DriverFailed);
}

/// Rule 1, SPARK-27347: a late update from a returning agent launched a second live driver.
#[test]
fn a_late_update_of_an_older_generation_changes_nothing() {
    let (mut story, mut first, old) = Story::running(under(Policy::OnFailure));
    story.lose(&first);
    let mut second = story.harness.agent("cpus:4;mem:1024");
    story.quiet(&second, LEASE_MS + 1_000);
    let new = story.take_launch(&mut second);
    story.report(&mut second, &new, TaskState::TaskRunning);
    // The old agent returns and tells that the old driver has failed.
    story.harness.register(&mut first);
    story.report(&mut first, &old, TaskState::TaskFailed);
    story.quiet(&second, 5_000);
    assert_eq!(story.state(), DriverState::DriverRunning);
    let driver = story.driver();
    assert_eq!((driver.generation(), driver.attempts.len()), (2, 2));
    assert_eq!(driver.attempts[0].state(), TaskState::TaskUnreachable);
    assert!(story.harness.registry.driver("d").unwrap().failed_at_ms.is_empty(), "nor does it cost anything");
}

/// Rule 2: a task id is never used again, whatever happened to its driver.
#[test]
fn generations_rise_over_every_new_run() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::Never));
    story.report(&mut agent, &launched, TaskState::TaskFinished);
    let again = story.submit(under(Policy::OnFailure));
    assert_eq!((again.created(), again.generation()), (true, 1));
    let next = story.take_launch(&mut agent);
    assert_eq!((next.task_id.as_str(), next.generation), ("d.g2", 2));
    assert_eq!(story.driver().attempts.len(), 2);
}

/// Rule 3: only a framework that was removed gets a new id, since its old one could never subscribe again.
#[test]
fn a_removed_framework_is_followed_by_one_with_a_new_id() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::OnFailure));
    let peer = story.subscribe(&launched);
    assert_eq!(story.harness.event(&peer).r#type(), v1::scheduler::event::Type::Subscribed);
    story.harness.operator(OperatorCall::Teardown(peer.id.clone()), None);
    story.report(&mut agent, &launched, TaskState::TaskFailed);
    story.quiet(&agent, 1_200);
    let next = story.take_launch(&mut agent);
    assert_eq!(next.framework_id, "tepui-driver-d.r2");
    let peer = story.subscribe(&next);
    assert_eq!(story.harness.event(&peer).r#type(), v1::scheduler::event::Type::Subscribed);
}

/// Rule 3, the other half: a driver's framework outlives its process, whatever failover timeout the process gave.
#[test]
fn the_framework_of_a_driver_outlives_its_process() {
    let (mut story, agent, launched) = Story::running(under(Policy::OnFailure));
    let peer = story.subscribe(&launched);
    story.harness.break_stream(peer.connection);
    story.quiet(&agent, 5_000);
    assert!(story.harness.registry.frameworks.contains_key(&peer.id));
}

/// Rule 6: an unreachable driver is replaced, and the old one is killed by its id when it comes back.
#[test]
fn a_driver_that_comes_back_with_its_agent_is_killed() {
    let (mut story, mut first, old) = Story::running(under(Policy::OnFailure));
    let mut second = story.harness.agent("cpus:4;mem:1024");
    story.lose(&first);
    story.no_launch(&second, LEASE_MS - 1_000);
    assert_eq!(story.state(), DriverState::DriverRunning, "the lease decides, not the silence of the agent");
    story.quiet(&second, 2_000);
    let new = story.take_launch(&mut second);
    assert_eq!(new.generation, 2);
    story.harness.register(&mut first);
    story.harness.advance(100);
    assert_eq!(story.kills(&first), [old.task_id]);
    assert_eq!(story.state(), DriverState::DriverStaging);
}

#[test]
fn a_driver_that_hangs_is_killed_and_replaced_and_pays_for_it() {
    let (mut story, mut agent, old) = Story::running(under(Policy::OnFailure));
    story.quiet(&agent, LEASE_MS - 3_000);
    assert!(story.renew(&old).valid());
    story.no_launch(&agent, LEASE_MS - 1_000);
    story.quiet(&agent, 1_500);
    assert_eq!(story.kills(&agent), std::slice::from_ref(&old.task_id), "nobody renewed");
    let record = story.harness.registry.driver("d").unwrap();
    assert_eq!((record.generation, record.failed_at_ms.len()), (2, 1));
    story.report(&mut agent, &old, TaskState::TaskKilled);
    assert_eq!(story.driver().generation(), 2, "its end is not another one");
    assert!(!story.renew(&old).valid());
}

#[test]
fn a_driver_without_lease_is_left_alone_until_its_agent_is_given_up() {
    let spec = DriverSpec { lease_ms: Some(0), ..under(Policy::OnFailure) };
    let (mut story, agent, _) = Story::running(spec);
    story.quiet(&agent, 120_000);
    assert_eq!(story.state(), DriverState::DriverRunning);
    let mut second = story.harness.agent("cpus:4;mem:1024");
    story.lose(&agent);
    story.quiet(&second, 120_000);
    let next = story.take_launch(&mut second);
    assert_eq!(next.generation, 2);
}

#[test]
fn under_never_an_unreachable_driver_is_waited_for() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::Never));
    story.lose(&agent);
    let other = story.harness.agent("cpus:4;mem:1024");
    story.no_launch(&other, LEASE_MS + 1_000);
    assert_eq!(story.state(), DriverState::DriverUnreachable);
    story.harness.register(&mut agent);
    story.harness.advance(1_000);
    assert_eq!(story.kills(&agent), Vec::<String>::new());
    assert!(story.renew(&launched).valid());
    assert_eq!(story.state(), DriverState::DriverRunning);
}

/// Rule 7: what is wrong by itself is not tried again.
#[test]
fn an_invalid_task_is_final() {
    let (mut story, mut agent, launched) = Story::launched(under(Policy::Always));
    story.report(&mut agent, &launched, TaskState::TaskError);
    assert_eq!(story.state(), DriverState::DriverFailed);
    story.no_launch(&agent, 100_000);
}

/// Rule 7, SPARK-15555: a driver that was killed on purpose came back.
#[test]
fn a_driver_killed_on_request_stays_dead() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::Always));
    assert!(matches!(story.kill(), Some(Reply::Operator(_))));
    let order = story.harness.orders(&agent).into_iter().find_map(|order| order.kill_task).unwrap();
    let grace = order.kill_policy.unwrap().grace_period.unwrap().nanoseconds();
    assert_eq!(grace, 1_500_000_000);
    story.report(&mut agent, &launched, TaskState::TaskKilled);
    assert_eq!(story.state(), DriverState::DriverKilled);
    assert!(matches!(story.kill(), Some(Reply::Operator(_))), "once more does no harm");
    story.no_launch(&agent, 100_000);
}

#[test]
fn a_waiting_driver_is_killed_at_once() {
    let mut story = Story::new();
    story.submit(under(Policy::Always));
    story.kill();
    assert_eq!(story.state(), DriverState::DriverKilled);
    let agent = story.harness.agent("cpus:4;mem:1024");
    story.no_launch(&agent, 10_000);
}

#[test]
fn an_unreachable_driver_that_is_to_die_is_not_launched_again() {
    let (mut story, mut agent, old) = Story::running(under(Policy::Always));
    story.lose(&agent);
    let other = story.harness.agent("cpus:4;mem:1024");
    story.kill();
    story.no_launch(&other, LEASE_MS + 2_000);
    assert_eq!(story.state(), DriverState::DriverKilled);
    story.harness.register(&mut agent);
    story.harness.advance(1_000);
    assert!(story.kills(&agent).contains(&old.task_id));
}

#[test]
fn an_ended_driver_takes_its_framework_along() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::OnFailure));
    let peer = story.subscribe(&launched);
    story.harness.events(&peer);
    story.report(&mut agent, &launched, TaskState::TaskFinished);
    story.harness.advance(1_000);
    assert!(!story.harness.registry.frameworks.contains_key(&peer.id));
    assert!(story.harness.is_closed(peer.connection));
    let late = story.subscribe(&launched);
    assert!(story.harness.error(&late).contains("has ended"));
}

#[test]
fn a_driver_waits_for_an_agent_that_is_large_enough() {
    let mut story = Story::new();
    let small = story.harness.agent("cpus:0.5;mem:1024");
    story.submit(under(Policy::OnFailure));
    story.no_launch(&small, 10_000);
    assert_eq!(story.state(), DriverState::DriverQueued);
    let mut large = story.harness.agent("cpus:2;mem:1024");
    assert_eq!(story.take_launch(&mut large).generation, 1);
}

#[test]
fn a_refused_launch_is_tried_again_later() {
    let mut story = Story::new();
    let agent = story.harness.agent("cpus:4;mem:1024");
    story.harness.hold();
    let request = OperatorCall::SubmitDriver(under(Policy::OnFailure));
    assert_eq!(story.harness.operator(request, None), None);
    story.harness.commit();
    // The launch is proposed, but before it is committed the agent leaves: `apply` refuses it.
    story.harness.hold();
    story.harness.advance(50);
    assert_eq!(story.harness.queue.len(), 1);
    let launch = story.harness.queue.pop_front().unwrap();
    story.lose(&agent);
    story.harness.queue.push_back(launch);
    story.harness.commit();
    assert_eq!((story.state(), story.driver().generation()), (DriverState::DriverQueued, 0));
    let mut other = story.harness.agent("cpus:4;mem:1024");
    story.quiet(&other, 2_000);
    assert_eq!(story.take_launch(&mut other).generation, 1);
}

#[test]
fn offers_that_stand_in_the_way_are_taken_back_after_a_while() {
    let mut story = Story::new();
    let mut agent = story.harness.agent("cpus:4;mem:1024");
    let idle = story.harness.framework("idle");
    let offer = story.harness.offer(&idle);
    story.submit(under(Policy::OnFailure));
    story.no_launch(&agent, 800);
    story.quiet(&agent, 400);
    assert_eq!(story.take_launch(&mut agent).generation, 1);
    let events = story.harness.events(&idle);
    assert_eq!(events[0].rescind.as_ref().unwrap().offer_id, offer.id);
    let rest = &events[1].offers.as_ref().unwrap().offers[0].resources;
    let rest = tepui_proto::resources::Resources::from_proto(rest).unwrap();
    assert_eq!(rest.to_string(), "cpus:3;mem:896");
    // One for which there is no room anywhere disturbs nobody.
    let large = DriverSpec { name: Some("large".into()), ..crate::testing::driver_spec("large", "cpus:64") };
    story.submit(large);
    story.quiet(&agent, 10_000);
    assert!(story.harness.events(&idle).is_empty());
}

/// Its whole host may stand still, and would take the next generation with it.
#[test]
fn a_driver_that_falls_silent_is_replaced_on_another_agent_if_there_is_room() {
    let (mut story, _first, _) = Story::running(under(Policy::OnFailure));
    let mut second = story.harness.agent("cpus:4;mem:1024");
    story.quiet(&second, LEASE_MS + 200);
    assert_eq!(story.take_launch(&mut second).generation, 2);

    let (mut story, mut first, _) = Story::running(under(Policy::OnFailure));
    let small = story.harness.agent("cpus:0.1;mem:32");
    story.quiet(&first, LEASE_MS);
    story.no_launch(&small, super::super::ELSEWHERE_MS - 500);
    story.quiet(&first, 1_000);
    assert_eq!(story.take_launch(&mut first).generation, 2);
}
