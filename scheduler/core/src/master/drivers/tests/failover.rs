//! A new leader goes on where the old one stopped.

use super::*;

fn launches(story: &mut Story, agent: &AgentPeer) -> usize {
    story.harness.orders(agent).iter().filter(|order| order.run_task.is_some()).count()
}

/// Rule 5: a change of leaders alone launches nothing.
#[test]
fn a_running_driver_is_left_alone() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::OnFailure));
    let spare = story.harness.agent("cpus:4;mem:1024");
    story.harness.elect();
    let mut spare = spare;
    story.harness.register(&mut spare);
    // Its agent has not come back yet.
    story.no_launch(&spare, LEASE_MS - 2_000);
    story.harness.register(&mut agent);
    assert!(story.renew(&launched).valid());
    story.no_launch(&spare, LEASE_MS - 2_000);
    assert_eq!((story.state(), story.driver().generation()), (DriverState::DriverRunning, 1));
    assert_eq!(launches(&mut story, &agent), 0);
    assert_eq!(story.kills(&agent), Vec::<String>::new());
}

#[test]
fn a_new_leader_grants_a_full_lease() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::OnFailure));
    story.quiet(&agent, LEASE_MS - 500);
    story.harness.elect();
    story.harness.register(&mut agent);
    story.no_launch(&agent, LEASE_MS - 1_000);
    assert!(story.renew(&launched).valid());
    assert_eq!(story.state(), DriverState::DriverRunning);
}

#[test]
fn a_driver_whose_agent_does_not_come_back_is_replaced_when_the_lease_is_over() {
    let (mut story, _, _) = Story::running(under(Policy::OnFailure));
    story.harness.elect();
    let mut spare = story.harness.agent("cpus:4;mem:1024");
    story.no_launch(&spare, LEASE_MS - 1_000);
    story.quiet(&spare, 2_000);
    assert_eq!(story.take_launch(&mut spare).generation, 2);
    assert!(
        story.harness.registry.driver("d").unwrap().failed_at_ms.is_empty(),
        "a lost agent costs nothing"
    );
}

/// Rule 4: the deadline is absolute, a new leader does not start the back-off anew.
#[test]
fn back_off_goes_on() {
    let spec = DriverSpec {
        supervise: Some(Supervise {
            backoff_initial_ms: Some(20_000),
            backoff_max_ms: Some(60_000),
            ..under(Policy::OnFailure).supervise.unwrap()
        }),
        ..under(Policy::OnFailure)
    };
    let (mut story, mut agent, launched) = Story::running(spec);
    story.report(&mut agent, &launched, TaskState::TaskFailed);
    let deadline_ms = story.harness.registry.driver("d").unwrap().next_launch_ms;
    story.quiet(&agent, 12_000);
    story.harness.elect();
    story.harness.register(&mut agent);
    assert_eq!(story.harness.registry.driver("d").unwrap().next_launch_ms, deadline_ms);
    let left_ms = deadline_ms - story.harness.now.cluster_ms;
    assert!(left_ms < 10_000, "{left_ms}");
    story.no_launch(&agent, left_ms - 200);
    story.quiet(&agent, 300);
    assert_eq!(story.take_launch(&mut agent).generation, 2);
}

#[test]
fn an_end_that_was_not_concluded_is_concluded_by_the_next_leader() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::OnFailure));
    // The leader hears of the end, but nothing of it is committed.
    story.harness.hold();
    story.harness.report(&mut agent, &launched.task_id, TaskState::TaskFailed, uuid(99));
    story.harness.advance(200);
    story.harness.held = false;
    story.harness.elect();
    assert_eq!(story.state(), DriverState::DriverRunning);
    agent.tasks[0].unacknowledged = agent.tasks[0].latest_status.clone();
    story.harness.register(&mut agent);
    story.report(&mut agent, &launched, TaskState::TaskFailed);
    assert_eq!(story.state(), DriverState::DriverBackoff);
    assert_eq!(story.harness.registry.driver("d").unwrap().failed_at_ms.len(), 1, "counted once");
}

#[test]
fn a_launch_that_was_committed_and_not_sent_is_delivered_by_the_next_leader() {
    let mut story = Story::new();
    let mut agent = story.harness.agent("cpus:4;mem:1024");
    story.submit(under(Policy::OnFailure));
    story.harness.hold();
    story.harness.advance(50);
    let (_, envelope) = story.harness.queue.pop_front().unwrap();
    story.harness.registry.apply(&envelope);
    story.harness.held = false;
    story.harness.elect();
    assert_eq!((story.state(), story.driver().generation()), (DriverState::DriverStaging, 1));
    story.harness.register(&mut agent);
    let launched = story.take_launch(&mut agent);
    assert_eq!(launched.generation, 1);
    story.report(&mut agent, &launched, TaskState::TaskRunning);
    assert_eq!(story.state(), DriverState::DriverRunning);
    let peer = story.subscribe(&launched);
    assert_eq!(story.harness.event(&peer).r#type(), v1::scheduler::event::Type::Subscribed);
}

/// Rule 8: history and ended drivers survive.
#[test]
fn history_survives() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::OnFailure));
    story.report(&mut agent, &launched, TaskState::TaskFinished);
    let before = story.driver();
    story.harness.elect();
    assert_eq!(story.driver(), before);
    story.harness.register(&mut agent);
    story.no_launch(&agent, 60_000);
    assert_eq!(story.state(), DriverState::DriverFinished);
}

/// Time without a leader counts against nobody.
#[test]
fn nothing_fires_while_nobody_leads() {
    let (mut story, mut agent, launched) = Story::running(under(Policy::OnFailure));
    story.harness.now.wall_ms += 3_600_000;
    story.harness.elect();
    story.harness.register(&mut agent);
    assert!(story.renew(&launched).valid());
    story.no_launch(&agent, LEASE_MS - 1_000);
    assert_eq!(story.state(), DriverState::DriverRunning);
}
