//! ATTACH: who stands as he is known is back with next to nothing said; who does not tells everything, and is believed.

use tepui_proto::tepui::agent_link::event::Type as Order;
use tepui_proto::v1::TaskState;

use super::running;
use crate::ids::TaskKey;
use crate::master::{Input, OperatorCall};
use crate::registry::{Operation, decode_envelope};
use crate::testing::{AgentPeer, Harness, amount_to, uuid};

/// Entries of the log by which agents came back: how many each, and whether with their whole word.
fn returns(harness: &Harness) -> Vec<(usize, bool)> {
    let operations = harness.log.iter().filter_map(|bytes| decode_envelope(bytes.clone()).ok()?.operation);
    let returns = operations.filter_map(|operation| match operation {
        Operation::AttachAgents(attach) => Some((attach.agents.len(), false)),
        Operation::ReregisterAgent(_) => Some((1, true)),
        _ => None,
    });
    returns.collect()
}

fn attach(harness: &mut Harness, agent: &mut AgentPeer) {
    let standing = agent.standing();
    harness.attach(agent, standing);
}

#[test]
fn an_agent_that_stands_as_it_is_known_is_back_without_telling_anything() {
    let (mut harness, mut agent, peer) = running();
    harness.elect();
    let peer = harness.resubscribe(&peer);
    let before = returns(&harness);
    attach(&mut harness, &mut agent);
    assert_eq!(harness.order_types(&agent), [Order::Registered]);
    assert_eq!(returns(&harness)[before.len()..], [(1, false)]);
    assert!(harness.registry.agent_connected(&harness.registry.agents[&agent.id]));
    let offer = harness.offer(&peer);
    assert!(amount_to(&offer.resources, "cpus:3;mem:960"), "its task is charged, the rest is offered");
    assert_eq!(harness.events(&peer), [], "no spurious update");
    for _ in 0..24 {
        harness.advance(5_000);
        harness.pong(&agent);
    }
    assert!(harness.registry.agents[&agent.id].unreachable_ms.is_none(), "it is not awaited any more");
}

#[test]
fn one_that_stands_otherwise_tells_everything_and_is_believed() {
    let (mut harness, mut agent, peer) = running();
    harness.elect();
    let peer = harness.resubscribe(&peer);
    agent.tasks[0].state = Some(TaskState::TaskKilling as i32);
    attach(&mut harness, &mut agent);
    assert_eq!(harness.order_types(&agent), [Order::TellAll]);
    assert!(!harness.registry.agent_connected(&harness.registry.agents[&agent.id]));
    assert_eq!(harness.offers(&peer), [], "nothing is offered of what nobody is sure of");
    assert_eq!(harness.tell(&agent), 202);
    assert_eq!(harness.order_types(&agent), [Order::Registered]);
    assert_eq!(harness.registry.tasks[&TaskKey::new(peer.id.clone(), "t")].state(), TaskState::TaskKilling);
    assert_eq!(harness.tell(&agent), 400, "nobody asked");
}

#[test]
fn what_is_committed_between_the_comparison_and_the_entry_counts() {
    let (mut harness, mut agent, peer) = running();
    harness.elect();
    harness.hold();
    assert!(harness.operator(OperatorCall::Teardown(peer.id.clone()), None).is_none());
    attach(&mut harness, &mut agent);
    harness.commit();
    assert_eq!(harness.order_types(&agent), [Order::TellAll], "its framework is gone by now");
    harness.tell(&agent);
    assert_eq!(harness.order_types(&agent), [Order::Registered, Order::ShutdownFramework]);
}

#[test]
fn one_that_was_given_up_or_never_known_tells_everything() {
    let (mut harness, mut agent, peer) = running();
    harness.elect();
    let peer = harness.resubscribe(&peer);
    harness.advance(62_000);
    harness.events(&peer);
    attach(&mut harness, &mut agent);
    assert_eq!(harness.order_types(&agent), [Order::TellAll]);
    harness.tell(&agent);
    assert_eq!(harness.order_types(&agent), [Order::Registered]);
    assert_eq!(harness.updates(&peer), [("t".to_owned(), TaskState::TaskRunning)]);
    harness.break_stream(agent.connection);
    agent.id = "stranger-S0".into();
    attach(&mut harness, &mut agent);
    assert_eq!(harness.order_types(&agent), [Order::TellAll]);
}

#[test]
fn one_that_comes_on_another_stream_and_leaves_without_a_word_is_away() {
    let (mut harness, mut agent, _) = running();
    agent.tasks[0].state = Some(TaskState::TaskKilling as i32);
    attach(&mut harness, &mut agent);
    assert_eq!(harness.order_types(&agent), [Order::TellAll]);
    harness.break_stream(agent.connection);
    assert!(!harness.registry.agent_connected(&harness.registry.agents[&agent.id]));
}

#[test]
fn one_that_is_asked_and_says_nothing_does_not_stay_known_for_ever() {
    let (mut harness, mut agent, _) = running();
    harness.elect();
    agent.tasks.clear();
    harness.advance(40_000);
    attach(&mut harness, &mut agent);
    harness.advance(25_000);
    assert!(!harness.is_closed(agent.connection), "the grace is over, but it is here");
    harness.advance(10_000);
    assert!(harness.is_closed(agent.connection));
    harness.advance(2_000);
    assert!(harness.registry.agents[&agent.id].unreachable_ms.is_some());
}

#[test]
fn an_entry_that_fails_makes_agents_come_again() {
    let (mut harness, mut agent, _) = running();
    harness.elect();
    harness.hold();
    attach(&mut harness, &mut agent);
    harness.lose(false);
    assert!(harness.is_closed(agent.connection));
    attach(&mut harness, &mut agent);
    assert_eq!(harness.order_types(&agent), [Order::Registered]);
}

#[test]
fn a_storm_of_agents_takes_few_entries_and_no_turn_welcomes_many() {
    let mut harness = Harness::new();
    let mut agents: Vec<AgentPeer> = (0..200).map(|_| harness.agent("cpus:1;mem:64")).collect();
    harness.elect();
    let before = returns(&harness).len();
    harness.hold();
    for agent in &mut agents {
        attach(&mut harness, agent);
    }
    let mut welcomed = 0;
    let mut longest = 0;
    let mut turns = 0;
    while welcomed < agents.len() {
        turns += 1;
        assert!(turns < 100, "{welcomed} after {turns} turns");
        match harness.queue.len() {
            0 => harness.advance(1),
            count => harness.commit_first(count),
        }
        let answered = agents.iter().filter(|agent| !harness.order_types(agent).is_empty()).count();
        longest = longest.max(answered);
        welcomed += answered;
    }
    assert!(longest <= 64, "{longest} in one turn");
    let counts: Vec<usize> = returns(&harness)[before..].iter().map(|(count, _)| *count).collect();
    assert_eq!(counts, [1, 64, 64, 64, 7]);
}

#[test]
fn agents_hear_where_the_masters_are_when_they_come_and_when_that_changes() {
    let mut harness = Harness::new();
    harness.input(Input::Masters(vec!["a:1".to_owned(), "b:2".to_owned()]));
    let mut agent = harness.agent("cpus:1;mem:64");
    harness.break_stream(agent.connection);
    harness.send_register(&mut agent);
    let told = harness.order(&agent).registered.unwrap().masters;
    assert_eq!(told, ["a:1", "b:2"]);
    harness.input(Input::Masters(vec!["a:1".to_owned(), "b:2".to_owned()]));
    assert_eq!(harness.order_types(&agent), [], "they know");
    harness.input(Input::Masters(vec!["b:2".to_owned(), "c:3".to_owned()]));
    let told = harness.order(&agent);
    assert_eq!(told.r#type(), Order::UpdateMasters);
    assert_eq!(told.update_masters.unwrap().masters, ["b:2", "c:3"]);
    harness.reelect();
    harness.send_register(&mut agent);
    assert_eq!(harness.order(&agent).registered.unwrap().masters, ["b:2", "c:3"]);
}

#[test]
fn a_launch_that_the_agent_took_and_nobody_heard_of_is_settled_by_its_standing() {
    let mut harness = Harness::new();
    let (mut agent, peer) = super::launched(&mut harness);
    harness.take_launch(&mut agent);
    harness.hold();
    harness.report(&mut agent, "t", TaskState::TaskRunning, uuid(1));
    harness.held = false;
    agent.tasks[0].state = Some(TaskState::TaskStaging as i32);
    agent.tasks[0].latest_status = None;
    harness.elect();
    let _peer = harness.resubscribe(&peer);
    attach(&mut harness, &mut agent);
    assert_eq!(harness.order_types(&agent), [Order::Registered], "it is not sent again");
    harness.advance(200);
    assert!(harness.registry.tasks.values().all(|record| record.info.is_none()), "the agent has it");
}
