//! What agents are told so that they can show it. That it is what the leader knows is checked by the harness after every input of
//! every story.

use tepui_proto::tepui::agent_link::event::Type as News;
use tepui_proto::tepui::agent_link::{Event, event};
use tepui_proto::v1::scheduler::call;
use tepui_proto::v1::{self, OperationState, TaskState};

use super::drains::order;
use super::operations::{story, told};
use super::running;
use crate::master::FleetCall;
use crate::testing::{AgentPeer, FrameworkPeer, Harness, named, reserve, reserved, uuid};

/// Reserves a processor for `web` under this id, and takes what the framework is told.
fn reserve_named(harness: &mut Harness, peer: &FrameworkPeer, id: &str) -> v1::OperationStatus {
    let offer = harness.offer(peer);
    let operation = named(id, reserve(reserved("cpus:1", &["web"])));
    assert_eq!(harness.accept_with(peer, &[&offer], vec![operation], Some(0.0)), 202);
    let mut told = told(harness, peer);
    told.retain(|status| status.operation_id.as_ref().is_some_and(|known| known.value() == id));
    told.pop().expect("an end")
}

/// Acknowledges it, and lets the news of that reach the agent.
fn acknowledge(harness: &mut Harness, peer: &FrameworkPeer, status: &v1::OperationStatus) {
    super::operations::acknowledge(harness, peer, status);
    harness.advance(200);
}

fn operations(event: &Event) -> event::UpdateOperations {
    assert_eq!(event.r#type(), News::UpdateOperations, "{event:?}");
    event.update_operations.clone().unwrap()
}

fn ids(update: &event::UpdateOperations) -> Vec<&str> {
    let infos = update.operations.iter().filter_map(|operation| operation.info.as_ref());
    infos.map(|info| info.id.as_ref().unwrap().value()).collect()
}

fn drain(harness: &mut Harness, agent: &AgentPeer, max_grace_ms: Option<u64>) {
    let call = FleetCall::Drain { agent: agent.id.clone(), max_grace_ms, mark_gone: false };
    assert_eq!(order(harness, call), 200);
}

fn draining(event: &Event) -> event::UpdateDrain {
    assert_eq!(event.r#type(), News::UpdateDrain, "{event:?}");
    event.update_drain.unwrap()
}

#[test]
fn an_agent_hears_of_operations_until_they_are_acknowledged() {
    let (mut harness, agent, peer) = story();
    assert_eq!(harness.news(&agent), [], "there is nothing to say to a new agent");
    let status = reserve_named(&mut harness, &peer, "one");
    let news = harness.news(&agent);
    let update = operations(&news[0]);
    assert_eq!((news.len(), update.reset, ids(&update)), (1, None, vec!["one"]));
    let shown = &update.operations[0];
    assert_eq!(
        shown.latest_status.as_ref().map(v1::OperationStatus::state),
        Some(OperationState::OperationFinished)
    );
    assert_eq!(shown.latest_status, Some(status.clone()));
    assert_eq!((shown.statuses.len(), shown.statuses.first()), (1, Some(&status)));
    assert_eq!(shown.framework_id, Some(peer.id.to_proto()));
    assert_eq!(shown.agent_id, Some(agent.id.to_proto()));
    assert_eq!(shown.uuid.as_ref().and_then(|uuid| uuid.value.as_ref()).map(|uuid| uuid.len()), Some(16));

    acknowledge(&mut harness, &peer, &status);
    let news = harness.news(&agent);
    let update = operations(&news[0]);
    assert_eq!((news.len(), update.reset, ids(&update).len()), (1, None, 0));
    assert_eq!(update.settled[0].operation_id, status.operation_id);
    assert_eq!(update.settled[0].framework_id, Some(peer.id.to_proto()));
    assert!(harness.shown(&agent).operations.is_empty());
}

#[test]
fn an_agent_does_not_hear_of_the_operations_of_others() {
    let (mut harness, agent, peer) = story();
    let other = harness.agent("cpus:4;mem:1024;disk:1000");
    for offer in harness.offers(&peer) {
        let operation =
            named(offer.agent_id.as_ref().unwrap().value(), reserve(reserved("cpus:1", &["web"])));
        assert_eq!(harness.accept_with(&peer, &[&offer], vec![operation], Some(1e6)), 202);
    }
    for agent in [&agent, &other] {
        let news = harness.news(agent);
        assert_eq!((news.len(), ids(&operations(&news[0]))), (1, vec![agent.id.as_str()]));
    }
}

#[test]
fn an_agent_hears_that_operations_ended_with_their_framework() {
    let (mut harness, agent, peer) = story();
    reserve_named(&mut harness, &peer, "one");
    harness.news(&agent);
    harness.bare(&peer, call::Type::Teardown);
    let news = harness.news(&agent);
    assert_eq!(operations(&news[0]).settled.len(), 1);
}

#[test]
fn an_agent_that_is_back_is_told_all_of_it_anew() {
    let (mut harness, mut agent, peer) = story();
    let status = reserve_named(&mut harness, &peer, "one");
    reserve_named(&mut harness, &peer, "two");
    harness.take_resources(&mut agent);
    harness.orders(&agent);
    harness.news(&agent);
    // Its process starts again.
    harness.break_stream(agent.connection);
    harness.forget_shown(&agent);
    harness.register(&mut agent);
    let news = harness.news(&agent);
    assert_eq!(draining(&news[0]), event::UpdateDrain::default());
    let update = operations(&news[1]);
    assert_eq!((news.len(), update.reset, ids(&update)), (2, Some(true), vec!["one", "two"]));
    assert_eq!(harness.shown(&agent).operations.len(), 2);
    // What was acknowledged while it was away is void.
    harness.break_stream(agent.connection);
    acknowledge(&mut harness, &peer, &status);
    harness.register(&mut agent);
    let news = harness.news(&agent);
    assert_eq!(ids(&operations(&news[1])), ["two"]);
    assert_eq!(harness.shown(&agent).operations.len(), 1);
}

#[test]
fn a_new_leader_tells_an_agent_what_the_registry_holds() {
    let (mut harness, mut agent, peer) = story();
    let status = reserve_named(&mut harness, &peer, "one");
    harness.take_resources(&mut agent);
    drain(&mut harness, &agent, Some(5_000));
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.events(&peer);
    acknowledge(&mut harness, &peer, &status);
    harness.register(&mut agent);
    let news = harness.news(&agent);
    assert_eq!(ids(&operations(&news[1])).len(), 0);
    assert_eq!(operations(&news[1]).reset, Some(true), "it still shows the one of the former leader");
    assert!(harness.shown(&agent).operations.is_empty());
    assert!(news.iter().all(|event| event.epoch == Some(2)));
}

#[test]
fn an_agent_hears_of_its_drain_until_nothing_is_left_on_it() {
    let (mut harness, mut agent, peer) = running();
    harness.news(&agent);
    drain(&mut harness, &agent, None);
    let news = harness.news(&agent);
    assert_eq!(news.len(), 1);
    let told = draining(&news[0]);
    assert_eq!(told.config, Some(v1::DrainConfig { max_grace_period: None, mark_gone: Some(false) }));
    assert_eq!(told.start_wall_ms, Some(harness.now.wall_ms));
    drain(&mut harness, &agent, Some(5_000));
    let shortened = draining(&harness.news(&agent)[0]).config.unwrap();
    assert_eq!(shortened.max_grace_period.and_then(|grace| grace.nanoseconds), Some(5_000_000_000));
    // A restart of the agent and a change of leader tell it again.
    harness.break_stream(agent.connection);
    harness.register(&mut agent);
    assert_eq!(draining(&harness.news(&agent)[0]).config, Some(shortened));
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.register(&mut agent);
    assert_eq!(draining(&harness.news(&agent)[0]).config, Some(shortened));

    harness.events(&peer);
    harness.report(&mut agent, "t", TaskState::TaskKilled, uuid(2));
    let status = harness.update(&peer);
    assert_eq!(harness.news(&agent), [], "the end is not acknowledged");
    harness.acknowledge(&peer, &status);
    harness.advance(200);
    let news = harness.news(&agent);
    assert_eq!((news.len(), draining(&news[0])), (1, event::UpdateDrain::default()), "drained");
    assert_eq!(order(&mut harness, FleetCall::Reactivate(agent.id.clone())), 200);
    assert_eq!(harness.news(&agent), [], "it does not call itself draining");
}

#[test]
fn an_agent_that_was_away_hears_of_its_drain_when_it_is_back() {
    let (mut harness, mut agent, _) = running();
    harness.break_stream(agent.connection);
    drain(&mut harness, &agent, None);
    harness.register(&mut agent);
    assert!(draining(&harness.news(&agent)[0]).config.is_some());
    assert!(harness.shown(&agent).drain.is_some());
}

#[test]
fn a_drain_that_is_committed_although_nobody_was_told_begins() {
    let (mut harness, mut agent, peer) = running();
    harness.hold();
    let call = FleetCall::Drain { agent: agent.id.clone(), max_grace_ms: None, mark_gone: false };
    assert_eq!(harness.operator(crate::master::OperatorCall::Fleet(call), None), None);
    let waiting: Vec<_> = harness.queue.iter().map(|(proposal, _)| *proposal).collect();
    for proposal in waiting {
        let reason = "timed out".to_owned();
        harness.input(crate::master::Input::ProposalFailed { proposal, unknown: true, reason });
    }
    assert!(harness.shown(&agent).drain.is_none());
    harness.commit();
    assert!(harness.shown(&agent).drain.is_some());
    assert!(harness.orders(&agent).iter().any(|order| order.kill_task.is_some()), "its task is killed");
    harness.report(&mut agent, "t", TaskState::TaskKilled, uuid(2));
    let status = harness.update(&peer);
    harness.acknowledge(&peer, &status);
    harness.advance(200);
    assert!(harness.registry.agents[&agent.id].drain.as_ref().is_some_and(|drain| drain.drained));
}
