//! Leaders change: nothing committed is lost, nobody is punished for the silence.

use tepui_proto::v1::TaskState;
use tepui_proto::v1::scheduler::call;

use super::running;
use crate::master::{Input, Master, Now, OperatorCall, Reply};
use crate::registry::{Envelope, Operation, TakeLead};
use crate::testing::{Harness, amount_to, framework_info, uuid};

#[test]
fn a_new_leader_knows_everything_and_nobody_is_connected() {
    let (mut harness, mut agent, peer) = running();
    harness.elect();
    assert!(harness.master.serving());
    assert_eq!(harness.registry.epoch, 2);
    assert_eq!(harness.registry.tasks.len(), 1);
    assert!(!harness.registry.agent_connected(harness.registry.agents.values().next().unwrap()));
    let peer = harness.resubscribe(&peer);
    assert_eq!(harness.offers(&peer), [], "an agent is offered when it is back");
    harness.register(&mut agent);
    let offer = harness.offer(&peer);
    assert!(amount_to(&offer.resources, "cpus:3;mem:960"), "its task is charged from the first moment");
    assert_eq!(offer.id.as_ref().unwrap().value(), "m2-O0");
    assert_eq!(harness.events(&peer), [], "no spurious update");
}

#[test]
fn a_state_that_was_acknowledged_but_not_committed_is_learned_from_the_agent() {
    let mut harness = Harness::new();
    let (mut agent, peer) = super::launched(&mut harness);
    harness.take_launch(&mut agent);
    harness.hold();
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    let status = harness.update(&peer);
    harness.acknowledge(&peer, &status);
    harness.held = false;
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.register(&mut agent);
    harness.events(&peer);
    harness.reconcile(&peer, &[]);
    assert_eq!(
        harness.updates(&peer),
        [("t".to_owned(), TaskState::TaskRunning)],
        "the agent repeats nothing"
    );
}

#[test]
fn a_state_that_nobody_acknowledged_is_not_yet_known_to_the_framework() {
    let (mut harness, mut agent, peer) = running();
    harness.hold();
    harness.report(&mut agent, "t", TaskState::TaskKilling, uuid(2));
    agent.tasks[0].unacknowledged = agent.tasks[0].latest_status.clone();
    harness.held = false;
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.register(&mut agent);
    harness.events(&peer);
    harness.reconcile(&peer, &[]);
    assert_eq!(harness.updates(&peer), [("t".to_owned(), TaskState::TaskRunning)]);
}

#[test]
fn orders_carry_the_new_epoch() {
    let (mut harness, mut agent, _) = running();
    harness.elect();
    harness.send_register(&mut agent);
    assert_eq!(harness.order(&agent).epoch, Some(2));
}

#[test]
fn agents_get_a_minute_after_a_leader_change() {
    let (mut harness, _, peer) = running();
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.advance(59_000);
    assert_eq!(harness.events(&peer), []);
    harness.advance(2_000);
    assert_eq!(harness.events(&peer).len(), 2, "the task is lost, the agent failed");
}

#[test]
fn an_agent_that_left_just_before_the_leader_did_may_still_come_back() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:1;mem:64");
    let peer = harness.framework("f");
    // That it left is the last thing that the former leader logged.
    harness.break_stream(agent.connection);
    harness.elect();
    let record = harness.registry.agents.values().next().unwrap();
    assert!(record.disconnected_ms.is_some() && harness.registry.agent_awaited(record));
    let peer = harness.resubscribe(&peer);
    harness.reconcile(&peer, &[("x", Some(agent.id.as_str()))]);
    assert_eq!(harness.events(&peer), [], "nobody knows yet whether it runs");
    harness.advance(59_000);
    assert!(harness.registry.agents.values().all(|record| record.unreachable_ms.is_none()), "a full grace");
    harness.advance(2_000);
    assert!(harness.registry.agents.values().all(|record| record.unreachable_ms.is_some()));
}

#[test]
fn a_framework_that_left_just_before_the_leader_did_gets_ten_seconds() {
    let mut harness = Harness::new();
    let mut info = framework_info("f");
    info.failover_timeout = Some(1.0);
    let peer = harness.framework_with(info);
    harness.break_stream(peer.connection);
    harness.elect();
    harness.advance(9_500);
    assert!(harness.registry.frameworks.contains_key(&peer.id));
    harness.advance(1_000);
    assert!(harness.registry.completed(&peer.id).is_some());
}

#[test]
fn a_leader_change_gives_lost_agents_up_one_by_one() {
    let mut harness = Harness::new();
    for _ in 0..5 {
        harness.agent("cpus:1;mem:64");
    }
    harness.elect();
    harness.advance(60_001);
    let lost = |harness: &Harness| {
        harness.registry.agents.values().filter(|record| record.unreachable_ms.is_some()).count()
    };
    assert_eq!(lost(&harness), 1);
    harness.advance(100);
    assert_eq!(lost(&harness), 2);
    harness.advance(1_000);
    assert_eq!(lost(&harness), 5);
}

#[test]
fn a_leader_change_alone_kills_no_framework() {
    let mut harness = Harness::new();
    let mut info = framework_info("f");
    info.failover_timeout = None;
    let peer = harness.framework_with(info);
    harness.elect();
    harness.advance(29_000);
    assert!(harness.registry.frameworks.contains_key(&peer.id));
    harness.advance(2_000);
    assert!(harness.registry.completed(&peer.id).is_some(), "thirty seconds are enough");
}

#[test]
fn a_framework_that_was_away_keeps_its_deadline_but_gets_ten_seconds() {
    for (failover_timeout, left_ms, survives_ms) in [(12.0, 11_000, 9_000), (100.0, 50_000, 49_000)] {
        let mut harness = Harness::new();
        let mut info = framework_info("f");
        info.failover_timeout = Some(failover_timeout);
        let peer = harness.framework_with(info);
        harness.break_stream(peer.connection);
        harness.advance(left_ms);
        harness.elect();
        harness.advance(survives_ms);
        assert!(harness.registry.frameworks.contains_key(&peer.id), "{failover_timeout}");
        harness.advance(2_500);
        assert!(harness.registry.completed(&peer.id).is_some(), "{failover_timeout}");
    }
}

#[test]
fn time_without_a_leader_counts_against_nobody() {
    let mut harness = Harness::new();
    let mut info = framework_info("f");
    info.failover_timeout = Some(60.0);
    let peer = harness.framework_with(info);
    harness.break_stream(peer.connection);
    harness.advance(20_000);
    let committed = harness.registry.cluster_ms;
    assert!(committed >= 19_000, "time is committed while a deadline is armed: {committed}");
    // A year passes with all masters down.
    harness.now.wall_ms += 365 * 24 * 3600 * 1000;
    harness.elect();
    assert_eq!(harness.now.cluster_ms, committed);
    harness.advance(35_000);
    assert!(harness.registry.frameworks.contains_key(&peer.id));
    harness.advance(10_000);
    assert!(harness.registry.completed(&peer.id).is_some());
}

#[test]
fn an_idle_cluster_writes_nothing() {
    let mut harness = Harness::new();
    let agent = harness.agent("cpus:1;mem:64");
    harness.framework("f");
    harness.advance(100);
    let before = harness.log.len();
    for _ in 0..10 {
        harness.advance(10_000);
        harness.pong(&agent);
    }
    assert_eq!(harness.log.len(), before, "no entry for heartbeats, pings or offers");
}

#[test]
fn time_need_not_be_committed_for_who_is_back() {
    let mut harness = Harness::new();
    let mut agent = harness.agent("cpus:1;mem:64");
    let peer = harness.framework("f");
    harness.break_stream(peer.connection);
    harness.break_stream(agent.connection);
    harness.advance(3_000);
    harness.resubscribe(&peer);
    harness.register(&mut agent);
    harness.advance(1_000);
    let before = harness.log.len();
    for _ in 0..5 {
        harness.advance(10_000);
        harness.pong(&agent);
    }
    assert_eq!(harness.log.len(), before);
}

#[test]
fn two_leaderships_in_one_batch_are_not_confused() {
    let mut harness = Harness::new();
    harness.hold();
    harness.elect();
    let (proposal, envelope) = harness.queue.pop_front().unwrap();
    let (first, _) = harness.registry.apply(&envelope);
    harness.registry.apply(&envelope);
    harness.input(Input::Applied { registry: harness.registry.clone(), outcomes: vec![(proposal, first)] });
    assert!(!harness.master.serving(), "the other one leads");
}

#[test]
fn an_election_without_a_word_of_the_end_closes_the_old_streams() {
    let (mut harness, agent, peer) = running();
    let (registry, identity) = (harness.registry.clone(), Default::default());
    harness.input(Input::Elected { registry, identity, seed: [9; 32] });
    assert!(harness.is_closed(agent.connection) && harness.is_closed(peer.connection));
    assert!(harness.master.serving());
}

#[test]
fn reports_that_were_not_committed_come_again_from_the_agent() {
    let (mut harness, mut agent, peer) = running();
    harness.hold();
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let status = harness.update(&peer);
    harness.acknowledge(&peer, &status);
    harness.held = false;
    harness.elect();
    harness.register(&mut agent);
    let peer = harness.resubscribe(&peer);
    assert!(harness.registry.charges.is_empty());
    harness.report(&mut agent, "t", TaskState::TaskFinished, uuid(2));
    let events = harness.events(&peer);
    let again = events.into_iter().find_map(|event| event.update).unwrap().status.unwrap();
    harness.acknowledge(&peer, &again);
    harness.advance(200);
    assert!(harness.registry.tasks.is_empty());
}

#[test]
fn the_deposed_close_everything_and_answer_everyone() {
    let (mut harness, agent, peer) = running();
    harness.hold();
    let call = OperatorCall::Teardown(peer.id.clone());
    let request = harness.next_id();
    harness.input(Input::Operator { request, call, principal: None, driver_token: None });
    assert_eq!(harness.reply(request), None);
    harness.input(Input::Deposed);
    assert!(matches!(harness.reply(request), Some(Reply::Rejected { status: 503, .. })));
    assert!(harness.is_closed(agent.connection) && harness.is_closed(peer.connection));
    assert!(!harness.master.serving());
    assert_eq!(harness.bare(&peer, call::Type::Revive), 503);
}

#[test]
fn whoever_is_superseded_stops_deciding() {
    let (mut harness, agent, peer) = running();
    harness.orders(&agent);
    // Another leadership began in the log.
    let take = TakeLead { node_id: 9, master_id: "other".to_owned(), ..Default::default() };
    let envelope = Envelope { operation: Some(Operation::TakeLead(take)), ..Default::default() };
    harness.registry.apply(&envelope);
    harness.kill(&peer, "t");
    assert!(!harness.master.serving());
    assert_eq!(harness.bare(&peer, call::Type::Revive), 503);
}

#[test]
fn the_lead_is_taken_again_if_the_first_attempt_is_lost() {
    let mut harness = Harness::new();
    harness.hold();
    harness.elect();
    harness.lose(false);
    assert!(!harness.master.serving());
    harness.advance(200);
    assert!(harness.master.serving());
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let (mut harness, mut agent, peer) = running();
        harness.kill(&peer, "t");
        harness.elect();
        harness.register(&mut agent);
        harness.resubscribe(&peer);
        harness.advance(90_000);
        (harness.log, harness.registry)
    };
    assert_eq!(run(), run());
}

#[test]
fn an_idle_core_is_safe_against_everything() {
    let mut master = Master::new(crate::Config::default());
    let mut effects = Vec::new();
    let inputs = [
        Input::Deposed,
        Input::Tick,
        Input::ConnectionClosed { connection: 1 },
        Input::ProposalFailed { proposal: 1, unknown: true, reason: String::new() },
        Input::Applied { registry: crate::Registry::default(), outcomes: Vec::new() },
        Input::AgentRegister { connection: 2, stream_id: String::new(), call: Default::default() },
        Input::AgentCall { request: 3, stream_id: None, call: Default::default() },
    ];
    for input in inputs {
        master.handle(Now { cluster_ms: 5, wall_ms: 5 }, input, &mut effects);
        master.check_invariants();
    }
    assert_eq!(effects.len(), 2, "a stream closed, a request answered: {effects:?}");
}

#[test]
fn a_subscription_that_could_not_be_committed_shortens_no_grace() {
    let mut harness = Harness::new();
    let mut info = framework_info("f");
    info.failover_timeout = None;
    let peer = harness.framework_with(info);
    harness.elect();
    harness.hold();
    let again = harness.subscribe(peer.info.clone(), None);
    harness.lose(false);
    assert!(harness.is_closed(again.connection), "it should try again");
    harness.advance(29_000);
    assert!(harness.registry.frameworks.contains_key(&peer.id));
    harness.advance(2_000);
    assert!(harness.registry.completed(&peer.id).is_some());
}
